//! Documents in and out of files: a reader that trusts nothing, a writer that never leaves half a file.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::document::{Record, SCHEMA_VERSION};
use super::error::{MAX_MESSAGE, RecordError};
use super::validate;
use crate::files::{self, ReadError};
use crate::printable::printable;

/// The largest document that is read. A full run with all samples stays under a tenth of it.
pub(in crate::record) const MAX_BYTES: u64 = 64 << 20;

/// The part of a document that is read before anything else, however the rest looks.
#[derive(Deserialize)]
struct Head {
    schema_version: Option<u64>,
    fleet_schema_version: Option<u64>,
}

/// The kinds of document that this tool writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::record) enum Kind {
    /// A [`Record`].
    Device,
    /// A fleet document, or a part of one.
    Fleet,
}

impl Kind {
    /// The version that a head has for this kind, and the key that holds it.
    fn version(self, head: &Head) -> (&'static str, Option<u64>) {
        match self {
            Self::Device => ("schema_version", head.schema_version),
            Self::Fleet => ("fleet_schema_version", head.fleet_schema_version),
        }
    }
}

/// The kind of a document, where its head tells.
pub(in crate::record) fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let head: Head = serde_json::from_slice(bytes).ok()?;
    if head.fleet_schema_version.is_some() { Some(Kind::Fleet) } else { head.schema_version.map(|_| Kind::Device) }
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
    let mut record: Record = parse_versioned(bytes, origin, Kind::Device, SCHEMA_VERSION, MAX_BYTES)?;
    // Every field that came after version 1 has a default that says what version 1 meant.
    record.schema_version = SCHEMA_VERSION;
    validate::check(&record).map_err(|problem| problem.found_in(origin))?;
    Ok(record)
}

/// Reads the types of a document of some kind, no newer than `newest` and no longer than `limit` bytes. What the values are
/// is not looked at.
///
/// # Errors
/// Any reading variant of [`RecordError`] but `Invalid`.
pub(in crate::record) fn parse_versioned<T: DeserializeOwned>(
    bytes: &[u8],
    origin: &Path,
    kind: Kind,
    newest: u32,
    limit: u64,
) -> Result<T, RecordError> {
    let path = || origin.to_path_buf();
    if bytes.len() as u64 > limit {
        return Err(RecordError::TooLarge { path: path(), limit });
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(RecordError::Empty { path: path() });
    }
    check_version(bytes, origin, kind, newest)?;
    serde_json::from_slice(bytes).map_err(|error| RecordError::Malformed {
        path: path(),
        line: error.line(),
        what: message(&error),
    })
}

/// Reads a document from a file of at most 64 MiB.
///
/// # Errors
/// See [`RecordError`].
pub fn load(path: &Path) -> Result<Record, RecordError> {
    parse(&read_document(path, MAX_BYTES)?, path)
}

/// The bytes of a document's file.
///
/// # Errors
/// [`RecordError::Read`], [`RecordError::TooLarge`].
pub(in crate::record) fn read_document(path: &Path, limit: u64) -> Result<Vec<u8>, RecordError> {
    files::read_within(path, limit).map_err(|error| match error {
        ReadError::Io(source) => RecordError::Read { path: path.to_path_buf(), source },
        ReadError::TooLarge { limit } => RecordError::TooLarge { path: path.to_path_buf(), limit },
    })
}

/// Writes a document, so that whoever looks at `path` sees the old content or the new, never a part.
///
/// # Errors
/// [`RecordError::Unsound`] for a document that [`load`] would refuse, [`RecordError::Write`] for a full or closed disk.
pub fn save(path: &Path, record: &Record) -> Result<(), RecordError> {
    write_atomically(path, as_text(path, record)?.as_bytes())
}

/// A document as a file holds it. `place` is named in errors and not opened.
///
/// # Errors
/// [`RecordError::Unsound`] for a document that [`parse`] would refuse.
pub(super) fn as_text(place: &Path, record: &Record) -> Result<String, RecordError> {
    validate::check(record).map_err(|problem| problem.kept_from(place))?;
    let text = serde_json::to_string_pretty(record)
        .map_err(|error| RecordError::Write { path: place.to_path_buf(), source: error.into() })?;
    Ok(text + "\n")
}

/// Replaces the content of `path` in one step that survives a crash. A device or pipe is written to.
///
/// # Errors
/// [`RecordError::Write`]; nothing is left behind, and what was at `path` is untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    files::write_atomically(path, bytes).map_err(|source| RecordError::Write { path: path.to_path_buf(), source })
}

/// Refuses what is not JSON, not ours, or newer than this tool, each with its own line.
fn check_version(bytes: &[u8], origin: &Path, kind: Kind, newest: u32) -> Result<(), RecordError> {
    let path = origin.to_path_buf();
    let foreign = |what: &str| RecordError::Foreign { path: path.clone(), what: what.to_owned() };
    // A list would be read as the head's fields in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(foreign("it is a list"));
    }
    let head = serde_json::from_slice::<Head>(bytes);
    match head.as_ref().map(|head| kind.version(head)) {
        Ok((_, Some(found))) if found > u64::from(newest) => Err(RecordError::Newer { path, found, reads: newest }),
        Ok((_, Some(1..))) => Ok(()),
        Ok((key, Some(_))) => Err(foreign(&format!("there never was such a {key}"))),
        Ok((key, None)) => Err(foreign(&missing(key, head.as_ref().ok()))),
        Err(error) => Err(match error.classify() {
            Category::Eof => RecordError::Truncated { path, line: error.line() },
            // A number cut after its point or sign is an error of syntax to the reader.
            Category::Syntax if is_at_end(error, bytes) => RecordError::Truncated { path, line: error.line() },
            Category::Data => foreign(&message(error)),
            Category::Syntax | Category::Io => {
                RecordError::NotJson { path, line: error.line(), column: error.column(), what: message(error) }
            }
        }),
    }
}

/// Why a head without this key is not that of the document.
fn missing(key: &str, head: Option<&Head>) -> String {
    let fleet = key == "schema_version" && head.is_some_and(|head| head.fleet_schema_version.is_some());
    let device = key != "schema_version" && head.is_some_and(|head| head.schema_version.is_some());
    match (fleet, device) {
        (true, _) => "it is that of a fleet, where one of a device is wanted".to_owned(),
        (_, true) => "it is that of a device, where one of a fleet is wanted".to_owned(),
        _ => format!("it has no {key}"),
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
