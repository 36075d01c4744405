//! Where the document of a run is kept: in a file, or with whoever asked for the run.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::document::Record;
use super::error::RecordError;
use super::io::{as_text, load, parse, write_atomically};

/// Takes the document's text; an error is shown to a person.
pub type Receiver = Box<dyn FnMut(&str) -> Result<(), String>>;

/// Where a document grows.
pub enum JournalPlace {
    /// A file, which is replaced in one step at each change.
    File(PathBuf),
    /// Nowhere on this computer: a page of a browser has no files.
    Handed {
        /// The document to go on with, as it was handed over before.
        before: Option<String>,
        /// Takes the whole document at each change.
        to: Receiver,
    },
}

/// What errors call a document that is in no file.
const UNFINISHED: &str = "the unfinished record";

impl JournalPlace {
    /// The document that is there, if there is one.
    ///
    /// # Errors
    /// [`RecordError`] for one that cannot be read.
    pub fn found(&self) -> Result<Option<Record>, RecordError> {
        match self {
            Self::File(path) => path.exists().then(|| load(path)).transpose(),
            Self::Handed { before, .. } => {
                before.as_ref().map(|text| parse(text.as_bytes(), Path::new(UNFINISHED))).transpose()
            }
        }
    }

    /// What errors call the place.
    pub(super) fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Handed { .. } => Path::new(UNFINISHED),
        }
    }

    /// Puts the document there, in place of what was there.
    ///
    /// # Errors
    /// [`RecordError::Unsound`], [`RecordError::Write`]; what was there before stays.
    pub(super) fn keep(&mut self, record: &Record) -> Result<(), RecordError> {
        let text = as_text(self.name(), record)?;
        match self {
            Self::File(path) => write_atomically(path, text.as_bytes()),
            Self::Handed { to, .. } => to(&text).map_err(|problem| RecordError::Write {
                path: PathBuf::from(UNFINISHED),
                source: io::Error::other(problem),
            }),
        }
    }
}

impl fmt::Debug for JournalPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JournalPlace").field(&self.name()).finish()
    }
}

impl From<&Path> for JournalPlace {
    fn from(path: &Path) -> Self {
        Self::File(path.to_path_buf())
    }
}

impl From<&PathBuf> for JournalPlace {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}
