//! A file that is written whole or not at all, by a writer that may fail for reasons of its own.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::cli::error::Error;
use crate::files::replace_with;

/// Replaces `output` by what `write` writes.
///
/// # Errors
/// The error of `write`, or the system's.
pub(super) fn write_whole(output: &Path, write: impl FnOnce(&mut File) -> Result<(), Error>) -> Result<(), Error> {
    let mut failed = None;
    let written = replace_with(output, |file| {
        write(file).map_err(|error| {
            failed = Some(error);
            io::ErrorKind::Other.into()
        })
    });
    written.map_err(|error| failed.unwrap_or_else(|| cannot(output, &error)))
}

/// The error of a file that cannot be read or written.
pub(super) fn cannot(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Input(format!("{}: {error}", path.display()))
}
