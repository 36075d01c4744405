//! `supernode fleet gather`: a document of what the ranks of a run left.

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::cli::output::print;
use crate::record;
use crate::report::terminal;

/// Make a fleet document of the notes and journals that the ranks of a run left, and say which ranks lack
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder with the ranks' files: FLEET.ranks beside FLEET.json
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Where to write the document
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Gathers, writes and prints.
///
/// # Errors
/// [`Error::Input`] for files that cannot be read or are of several runs, and a place that cannot be written.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let fleet = record::gather(&args.folder).map_err(|error| Error::Input(error.to_string()))?;
    record::save_fleet(&args.output, &fleet).map_err(|error| Error::Input(error.to_string()))?;
    print(&terminal::fleet::fleet(&fleet, false))?;
    print(&format!("\nfleet   {}\n", args.output.display()))
}
