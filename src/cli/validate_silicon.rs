//! `supernode validate silicon`: measured deployments compared with what the model says of them.

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::cli::output::{print, print_json};
use crate::projection::validation::silicon::{self, FrameworkChoice};
use crate::report::terminal::silicon as tables;

/// Compare measured serving deployments with the model: errors of the times to first token and per token
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// CSV file in the columns of aiconfigurator's silicon tables
    file: PathBuf,
    /// Whose fixed times and factors rows have: vllm, sglang, trtllm, a TOML file, or none [default: each row's own]
    #[arg(long)]
    framework: Option<String>,
    /// Fit the frameworks on these rows, and judge each system and model by fits that have not seen it
    #[arg(long, conflicts_with = "framework")]
    fit: bool,
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
    let framework = args.framework.as_deref().map_or(Ok(FrameworkChoice::OfRow), FrameworkChoice::named)?;
    let report = silicon::evaluate(&rows, &framework);
    if args.fit {
        let fit = silicon::fit(&report.each);
        return if args.json { print_json(&fit) } else { print(&tables::fit(&fit)) };
    }
    if args.json { print_json(&report) } else { print(&tables::report(&report)) }
}
