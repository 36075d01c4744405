//! The result documents that were named, or that lie in folders.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::cli::error::Error;
use crate::cli::progress;
use crate::record::{self, Document, FleetRecord, Record, RecordError};

/// The most documents that are taken from one folder.
const MAX_FILES: usize = 1000;

/// Each record with the name it was given by. A folder gives the documents in it, a fleet document the record of each of its
/// ranks. One of a folder that cannot be read is passed over with a warning; one that was named is an error.
///
/// # Errors
/// [`Error::Input`] for a named document or a folder that cannot be read.
pub(super) fn load_all(given: &[PathBuf]) -> Result<Vec<(String, Record)>, Error> {
    let mut records = Vec::new();
    for (name, document) in load_documents(given)? {
        match document {
            Document::Device(record) => records.push((name, *record)),
            Document::Fleet(fleet) => records.extend(records_of(&name, *fleet)),
        }
    }
    Ok(records)
}

/// The records of a fleet, as if they lay in a folder of its name.
fn records_of(name: &str, fleet: FleetRecord) -> impl Iterator<Item = (String, Record)> {
    let of = move |rank: record::FleetRank| Some((format!("{name}/rank-{:05}.json", rank.rank), rank.record?));
    fleet.ranks.into_iter().filter_map(of)
}

/// The same without taking fleets apart.
///
/// # Errors
/// As [`load_all`].
pub(super) fn load_documents(given: &[PathBuf]) -> Result<Vec<(String, Document)>, Error> {
    let mut files: Vec<(PathBuf, bool)> = Vec::new();
    for path in given {
        if path.is_dir() {
            files.extend(documents_in(path)?.into_iter().map(|file| (file, true)));
        } else {
            files.push((path.clone(), false));
        }
    }
    let loaded: Vec<(PathBuf, bool, Result<Document, RecordError>)> =
        files.into_par_iter().map(|(path, found)| (path.clone(), found, record::load_document(&path))).collect();
    let mut documents = Vec::with_capacity(loaded.len());
    for (path, found, outcome) in loaded {
        match outcome {
            Ok(document) => documents.push((path.display().to_string(), document)),
            Err(error) if found => progress::warning(&format!("passed over: {error}")),
            Err(error) => return Err(Error::Input(error.to_string())),
        }
    }
    Ok(documents)
}

/// The `.json` files of a folder and of its subfolders, by name.
fn documents_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_document = |path: &Path| path.is_file() && path.extension().is_some_and(|ending| ending == "json");
    let mut files = Vec::new();
    for path in entries(folder)? {
        if is_document(&path) {
            files.push(path);
        } else if path.is_dir() && path.extension().is_none_or(|ending| ending != "ranks") {
            // The journals of a fleet's ranks are in the fleet document beside them.
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
