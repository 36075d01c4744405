//! The result documents that were named, or that lie in folders.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::cli::error::Error;
use crate::cli::progress;
use crate::record::{self, Record, RecordError};

/// The most documents that are taken from one folder.
const MAX_FILES: usize = 1000;

/// Each document with the name it was given by. A folder gives the documents in it. One of a folder that
/// cannot be read is passed over with a warning; one that was named is an error.
///
/// # Errors
/// [`Error::Input`] for a named document or a folder that cannot be read.
pub(super) fn load_all(given: &[PathBuf]) -> Result<Vec<(String, Record)>, Error> {
    let mut files: Vec<(PathBuf, bool)> = Vec::new();
    for path in given {
        if path.is_dir() {
            files.extend(documents_in(path)?.into_iter().map(|file| (file, true)));
        } else {
            files.push((path.clone(), false));
        }
    }
    let loaded: Vec<(PathBuf, bool, Result<Record, RecordError>)> =
        files.into_par_iter().map(|(path, found)| (path.clone(), found, record::load(&path))).collect();
    let mut records = Vec::with_capacity(loaded.len());
    for (path, found, outcome) in loaded {
        match outcome {
            Ok(record) => records.push((path.display().to_string(), record)),
            Err(error) if found => progress::warning(&format!("passed over: {error}")),
            Err(error) => return Err(Error::Input(error.to_string())),
        }
    }
    Ok(records)
}

/// The `.json` files of a folder and of its subfolders, by name.
fn documents_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_document = |path: &Path| path.is_file() && path.extension().is_some_and(|ending| ending == "json");
    let mut files = Vec::new();
    for path in entries(folder)? {
        if is_document(&path) {
            files.push(path);
        } else if path.is_dir() {
            files.extend(entries(&path)?.into_iter().filter(|inner| is_document(inner)));
        }
    }
    match files.len() {
        0 => Err(Error::Input(format!("{}: no .json file in it or one level down", folder.display()))),
        1..=MAX_FILES => Ok(files),
        many => Err(Error::Input(format!("{}: {many} .json files, where {MAX_FILES} are the most", folder.display()))),
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error: std::io::Error| Error::Input(format!("{}: cannot be listed ({error})", folder.display()));
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}
