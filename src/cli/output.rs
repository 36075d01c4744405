//! Standard output and files: text, JSON, and what is read from a file.

use serde::Serialize;

use crate::cli::error::Error;
use crate::report::terminal;

/// Writes to standard output.
pub(super) fn print(text: &str) -> Result<(), Error> {
    terminal::print(text).map_err(|error| Error::Input(format!("standard output: {error}")))
}

/// Writes a value as indented JSON to standard output.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    print(&to_json(value)?)
}

/// A value as indented JSON.
pub(super) fn to_json(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Input(format!("a figure cannot be written as JSON: {error}; check the inputs")))?;
    Ok(text + "\n")
}
