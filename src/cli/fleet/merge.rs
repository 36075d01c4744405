//! `supernode fleet merge`: fleets that were measured one after the other, as one.

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::cli::output::print;
use crate::record;
use crate::report::terminal;

/// Put fleets of different devices into one document; the ranks are numbered on
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fleet documents, in the order of their ranks
    #[arg(value_name = "FLEET", num_args = 2.., required = true)]
    files: Vec<PathBuf>,
    /// Where to write the document
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Merges, writes and prints.
///
/// # Errors
/// [`Error::Input`] for documents that cannot be read, that overlap or differ, and a place that cannot be written.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let mut merged: Option<record::FleetRecord> = None;
    for path in &args.files {
        let fleet = record::load_fleet(path).map_err(|error| Error::Input(error.to_string()))?;
        merged = Some(match merged {
            None => fleet,
            Some(first) => {
                record::merge(first, fleet).map_err(|error| Error::Input(format!("{}: {error}", path.display())))?
            }
        });
    }
    let Some(fleet) = merged else { return Ok(()) };
    record::save_fleet(&args.output, &fleet).map_err(|error| Error::Input(error.to_string()))?;
    print(&terminal::fleet::fleet(&fleet, false))?;
    print(&format!("\nfleet   {}\n", args.output.display()))
}
