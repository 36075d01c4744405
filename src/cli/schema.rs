//! `supernode schema`: the layout of a result document or of a fleet document, and whether a file has it.

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::cli::output::print;
use crate::record::{self, Document};

/// Print the JSON Schema of a result document or of a fleet document, or check a document of either kind
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check this document instead: says ok, or the first problem
    #[arg(long, value_name = "FILE", conflicts_with = "fleet")]
    check: Option<PathBuf>,
    /// That of fleet documents
    #[arg(long)]
    fleet: bool,
}

/// Prints the schema, or the verdict on a document.
///
/// # Errors
/// [`Error::Input`] for a document that has a problem, or a pipe that is closed.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let text = match &args.check {
        None if args.fleet => format!("{:#}\n", record::fleet_schema()),
        None => format!("{:#}\n", record::schema()),
        Some(path) => {
            let found = record::load_document(path).map_err(|error| Error::Input(error.to_string()))?;
            let (what, complete) = match &found {
                Document::Device(record) => (format!("{} cases", record.cases.len()), record.complete),
                Document::Fleet(fleet) => (
                    format!("a fleet of {} ranks, {} of them there", fleet.plan.ranks, fleet.ranks.len()),
                    fleet.complete,
                ),
            };
            let state = if complete { "complete" } else { "not complete" };
            format!("{}: ok, {what}, {state}\n", path.display())
        }
    };
    print(&text)
}
