//! `supernode validate silicon`: measured deployments compared with what the model says of them.

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::cli::output::{print, print_json};
use crate::projection::validation::silicon;
use crate::report::terminal::silicon as tables;

/// Compare measured serving deployments with the model: errors of the times to first token and per token
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// CSV file in the columns of aiconfigurator's silicon tables
    file: PathBuf,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Runs `supernode validate silicon`.
///
/// # Errors
/// [`Error::Input`]: the file cannot be read, or a cell of it is no good.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let shown = args.file.display();
    let text = std::fs::read_to_string(&args.file).map_err(|error| Error::Input(format!("{shown}: {error}")))?;
    let rows = silicon::parse(&text).map_err(|reason| Error::Input(format!("{shown}: {reason}")))?;
    let report = silicon::evaluate(&rows);
    if args.json { print_json(&report) } else { print(&tables::report(&report)) }
}
