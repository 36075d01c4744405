//! Why a document was refused, in one line each.

use std::io;
use std::path::{Path, PathBuf};

use crate::printable::printable;

/// The longest message of a reader, and the longest path, that is passed on, in characters.
pub(super) const MAX_MESSAGE: usize = 200;

/// Why a document was not read or written: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields of an error are what its message shows")]
pub enum RecordError {
    /// The file is missing, a directory, or not readable.
    #[error("{}: cannot be read ({source}); check the path and its permissions", shown(path))]
    Read { path: PathBuf, source: io::Error },
    /// The directory is missing or closed, or the disk is full. What was there before is untouched.
    #[error("{}: cannot be written ({source}); choose another place or free some space", shown(path))]
    Write { path: PathBuf, source: io::Error },
    /// More bytes than any result document has.
    #[error("{}: larger than {} MiB, so not a result document of this tool; give a file that `supernode` wrote", shown(path), limit >> 20)]
    TooLarge { path: PathBuf, limit: u64 },
    /// No bytes, or blanks only.
    #[error("{}: empty; give a file that `supernode` wrote", shown(path))]
    Empty { path: PathBuf },
    /// The file ends in the middle of the document.
    #[error("{}: cut off at line {line}; copy it again in full, or measure again", shown(path))]
    Truncated { path: PathBuf, line: usize },
    /// Not JSON at all.
    #[error("{}: not JSON (line {line}, column {column}: {what}); give a file that `supernode` wrote", shown(path))]
    NotJson { path: PathBuf, line: usize, column: usize, what: String },
    /// JSON of something else.
    #[error(
        "{}: JSON, but not a result document of this tool ({what}); give a file that `supernode` wrote",
        shown(path)
    )]
    Foreign { path: PathBuf, what: String },
    /// Written by a newer tool.
    #[error("{}: has schema version {found}, and this tool reads version {reads}; update supernode-bench", shown(path))]
    Newer { path: PathBuf, found: u64, reads: u32 },
    /// A result document by its version, but a field is missing, unknown or of another type.
    #[error(
        "{}: line {line}: {what}; the file was edited or damaged, so measure again (`supernode schema` prints the layout)",
        shown(path)
    )]
    Malformed { path: PathBuf, line: usize, what: String },
    /// All fields are there, but a value cannot be.
    #[error("{}: {at}: {what}; the file was edited or damaged, so measure again", shown(path))]
    Invalid { path: PathBuf, at: String, what: String },
    /// About to be written with a value that cannot be.
    #[error("{}: not written: {at}: {what}; this is a fault of the measurement, so please report it", shown(path))]
    Unsound { path: PathBuf, at: String, what: String },
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string(), MAX_MESSAGE)
}
