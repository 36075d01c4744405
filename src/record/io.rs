//! Documents in and out of files: a reader that trusts nothing, a writer that never leaves half a file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::error::Category;

use super::validate::{self, printable};
use super::{Record, SCHEMA_VERSION};

/// The largest document that is read. A full run with all samples stays under a tenth of it.
const MAX_BYTES: u64 = 64 << 20;

/// The longest message from the JSON reader that is passed on, in characters.
const MAX_MESSAGE: usize = 200;

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

/// The part of a document that is read before anything else, however the rest looks.
#[derive(Deserialize)]
struct Head {
    schema_version: Option<u64>,
}

/// The JSON Schema (2020-12) of a [`Record`], as `supernode schema` prints it.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Record).to_value()
}

/// Reads a document from bytes. `origin` is named in errors and not opened.
///
/// # Errors
/// Any reading variant of [`RecordError`]: bytes from a stranger are refused, never trusted.
pub fn parse(bytes: &[u8], origin: &Path) -> Result<Record, RecordError> {
    let path = || origin.to_path_buf();
    if bytes.len() as u64 > MAX_BYTES {
        return Err(RecordError::TooLarge { path: path(), limit: MAX_BYTES });
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(RecordError::Empty { path: path() });
    }
    check_version(bytes, origin)?;
    let mut record: Record = serde_json::from_slice(bytes).map_err(|error| RecordError::Malformed {
        path: path(),
        line: error.line(),
        what: message(&error),
    })?;
    // Every field that came after version 1 has a default that says what version 1 meant.
    record.schema_version = SCHEMA_VERSION;
    validate::check(&record).map_err(|problem| problem.found_in(origin))?;
    Ok(record)
}

/// Reads a document from a file of at most 64 MiB.
///
/// # Errors
/// See [`RecordError`].
pub fn load(path: &Path) -> Result<Record, RecordError> {
    let read = |source| RecordError::Read { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(read)?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a larger file shows: its reported size may be a lie.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
    parse(&bytes, path)
}

/// Writes a document, so that whoever looks at `path` sees the old content or the new, never a part.
///
/// # Errors
/// [`RecordError::Unsound`] for a document that [`load`] would refuse, [`RecordError::Write`] for a full or closed disk.
pub fn save(path: &Path, record: &Record) -> Result<(), RecordError> {
    validate::check(record).map_err(|problem| problem.kept_from(path))?;
    let mut bytes = serde_json::to_vec_pretty(record)
        .map_err(|error| RecordError::Write { path: path.to_path_buf(), source: error.into() })?;
    bytes.push(b'\n');
    write_atomically(path, &bytes)
}

/// Replaces the content of `path` in one step that survives a crash: a temporary file beside it, synced, then renamed.
/// A device or pipe cannot be replaced and is written to.
///
/// # Errors
/// [`RecordError::Write`]; nothing is left behind, and what was at `path` is untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let outcome = match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => write_through(path, bytes),
        Ok(_) => fs::canonicalize(path).and_then(|target| replace(&target, bytes)),
        Err(_) => replace(path, bytes),
    };
    outcome.map_err(|source| RecordError::Write { path: path.to_path_buf(), source })
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.write_all(bytes)?;
    file.flush()
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Dropping the temporary file removes it, so an early return leaves nothing behind.
    let mut file = new_file_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

#[cfg(unix)]
fn new_file_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    // As any file of the user's, less the umask; a temporary file would otherwise be closed to all others.
    let mode = fs::Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(".supernode-").permissions(mode).tempfile_in(folder)
}

#[cfg(not(unix))]
fn new_file_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".supernode-").tempfile_in(folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    // The file is in place already, and some file systems cannot sync a directory: that is no failure to write.
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(error),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Refuses what is not JSON, not ours, or newer than this tool, each with its own line.
fn check_version(bytes: &[u8], origin: &Path) -> Result<(), RecordError> {
    let path = origin.to_path_buf();
    let foreign = |what: &str| RecordError::Foreign { path: path.clone(), what: what.to_owned() };
    match serde_json::from_slice::<Head>(bytes) {
        Ok(Head { schema_version: Some(found) }) if found > u64::from(SCHEMA_VERSION) => {
            Err(RecordError::Newer { path, found, reads: SCHEMA_VERSION })
        }
        Ok(Head { schema_version: Some(1..) }) => Ok(()),
        Ok(Head { schema_version: Some(_) }) => Err(foreign("there never was such a schema_version")),
        Ok(Head { schema_version: None }) => Err(foreign("it has no schema_version")),
        Err(error) => Err(match error.classify() {
            Category::Eof => RecordError::Truncated { path, line: error.line() },
            // A number cut after its point or sign is an error of syntax to the reader.
            Category::Syntax if is_at_end(&error, bytes) => RecordError::Truncated { path, line: error.line() },
            Category::Data => foreign(&message(&error)),
            Category::Syntax | Category::Io => {
                RecordError::NotJson { path, line: error.line(), column: error.column(), what: message(&error) }
            }
        }),
    }
}

/// Whether an object was begun and all was well up to the last byte.
fn is_at_end(error: &serde_json::Error, bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| *byte == b'\n');
    let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
    is_object && lines.enumerate().last().is_some_and(|(i, last)| (i + 1, last.len()) == (error.line(), error.column()))
}

/// What the JSON reader says, without its position (which the error carries) and without what the file smuggled in.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    printable(&text[..end], MAX_MESSAGE)
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string(), MAX_MESSAGE)
}
