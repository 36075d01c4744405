//! `supernode schema`: the layout of a result document, and whether a file has it.

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::cli::output::print;
use crate::record;

/// Print the JSON Schema of a result document, or check a document
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check this result document instead: says ok, or the first problem
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// Prints the schema, or the verdict on a document.
///
/// # Errors
/// [`Error::Input`] for a document that has a problem, or a pipe that is closed.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let text = match &args.check {
        None => format!("{:#}\n", record::schema()),
        Some(path) => {
            let found = record::load(path).map_err(|error| Error::Input(error.to_string()))?;
            let state = if found.complete { "complete" } else { "not complete" };
            format!("{}: ok, {} cases, {state}\n", path.display(), found.cases.len())
        }
    };
    print(&text)
}
