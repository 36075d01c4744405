//! Fleet documents in and out of files, and whichever of the two kinds of document a file holds.

use std::path::Path;

use super::super::document::Record;
use super::super::error::RecordError;
use super::super::io::{
    Kind, MAX_BYTES as MAX_DEVICE_BYTES, kind_of, parse_versioned, read_document, write_atomically,
};
use super::document::{FLEET_SCHEMA_VERSION, FleetRecord};
use super::validate;

/// The largest fleet document that is read: a thousand records with all of their samples.
const MAX_BYTES: u64 = 1 << 30;

/// A document of either kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// Of one device.
    Device(Box<Record>),
    /// Of many.
    Fleet(Box<FleetRecord>),
}

/// The JSON Schema (2020-12) of a [`FleetRecord`], as `supernode schema --fleet` prints it.
pub fn fleet_schema() -> serde_json::Value {
    schemars::schema_for!(FleetRecord).to_value()
}

/// Reads a fleet document from bytes. `origin` is named in errors and not opened. Spread, outliers and completeness are
/// worked out anew.
///
/// # Errors
/// Any reading variant of [`RecordError`].
pub fn parse_fleet(bytes: &[u8], origin: &Path) -> Result<FleetRecord, RecordError> {
    let mut fleet: FleetRecord = parse_versioned(bytes, origin, Kind::Fleet, FLEET_SCHEMA_VERSION, MAX_BYTES)?;
    fleet.fleet_schema_version = FLEET_SCHEMA_VERSION;
    validate::check(&fleet).map_err(|problem| problem.found_in(origin))?;
    Ok(fleet.worked_out())
}

/// Reads a fleet document from a file of at most 1 GiB.
///
/// # Errors
/// See [`RecordError`].
pub fn load_fleet(path: &Path) -> Result<FleetRecord, RecordError> {
    parse_fleet(&read_document(path, MAX_BYTES)?, path)
}

/// Reads a document of either kind from bytes.
///
/// # Errors
/// Any reading variant of [`RecordError`].
pub fn parse_document(bytes: &[u8], origin: &Path) -> Result<Document, RecordError> {
    // One that is cut off has no head that can be read; only a fleet's is longer than a device's may be.
    let is_fleet = kind_of(bytes).map_or(bytes.len() as u64 > MAX_DEVICE_BYTES, |kind| kind == Kind::Fleet);
    if is_fleet {
        return Ok(Document::Fleet(Box::new(parse_fleet(bytes, origin)?)));
    }
    Ok(Document::Device(Box::new(super::super::io::parse(bytes, origin)?)))
}

/// Reads a document of either kind from a file.
///
/// # Errors
/// See [`RecordError`].
pub fn load_document(path: &Path) -> Result<Document, RecordError> {
    parse_document(&read_document(path, MAX_BYTES)?, path)
}

/// Writes a fleet document, so that whoever looks at `path` sees the old content or the new, never a part.
///
/// # Errors
/// [`RecordError::Unsound`] for a document that [`load_fleet`] would refuse, [`RecordError::Write`].
pub fn save_fleet(path: &Path, fleet: &FleetRecord) -> Result<(), RecordError> {
    validate::check(fleet).map_err(|problem| problem.kept_from(path))?;
    let failed = |error: serde_json::Error| RecordError::Write { path: path.to_path_buf(), source: error.into() };
    write_atomically(path, (serde_json::to_string_pretty(fleet).map_err(failed)? + "\n").as_bytes())
}
