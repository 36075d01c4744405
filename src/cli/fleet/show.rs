//! `supernode fleet show`: a fleet document on the terminal.

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::cli::output::{print, print_json};
use crate::record;
use crate::report::terminal;

/// Show a fleet document: its ranks, outliers, spread and network
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The document
    #[arg(value_name = "FLEET")]
    file: PathBuf,
    /// Every case and every collective in a line
    #[arg(long, conflicts_with = "json")]
    details: bool,
    /// Print spread, outliers and network as JSON, without the records
    #[arg(long)]
    json: bool,
}

/// Reads and prints.
///
/// # Errors
/// [`Error::Input`] for a document that cannot be read.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let fleet = record::load_fleet(&args.file).map_err(|error| Error::Input(error.to_string()))?;
    if args.json {
        return print_json(&serde_json::json!({
            "complete": fleet.complete,
            "plan": fleet.plan,
            "hosts": fleet.hosts,
            "lacking": fleet.lacking(),
            "spread": fleet.spread,
            "outliers": fleet.outliers,
            "network": fleet.network,
            "caveats": fleet.caveats,
        }));
    }
    print(&terminal::fleet::fleet(&fleet, args.details))
}
