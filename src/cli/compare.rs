//! `supernode compare`: documents side by side, case by case against the first.

use std::path::PathBuf;

use super::{Error, print};
use crate::record::{self, Record};
use crate::report::compare;

/// Which documents, and how to print.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Result documents; the first is what the others are held against
    #[arg(required = true, num_args = 2.., value_name = "RESULT")]
    files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Loads all documents and prints their comparison.
///
/// # Errors
/// [`Error::Input`] for a document that cannot be read.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let records = load_all(&args.files)?;
    let named: Vec<(&str, &Record)> = records.iter().map(|(name, record)| (&**name, record)).collect();
    let Some((base, others)) = named.split_first() else {
        return Err(Error::Input("compare needs two result documents".to_owned()));
    };
    let comparison = compare::compare(*base, others);
    let text = if args.json {
        let json = serde_json::to_string_pretty(&comparison).map_err(|error| Error::Input(error.to_string()))?;
        json + "\n"
    } else {
        compare::text(&comparison)
    };
    print(&text)
}

/// Each document with the name it was given by.
pub(super) fn load_all(files: &[PathBuf]) -> Result<Vec<(String, Record)>, Error> {
    let load = |path: &PathBuf| record::load(path).map(|record| (path.display().to_string(), record));
    files.iter().map(load).collect::<Result<_, _>>().map_err(|error| Error::Input(error.to_string()))
}
