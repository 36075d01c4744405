//! `supernode validate silicon`: measured deployments compared with what the model says of them.

use std::path::{Path, PathBuf};

use crate::cli::error::Error;
#[cfg(not(feature = "parquet"))]
use crate::cli::operators_flag::cannot_read;
use crate::cli::output::{print, print_json};
#[cfg(feature = "parquet")]
use crate::operators::OperatorFile;
use crate::projection::validation::silicon::{self, DeploymentFacts, FrameworkChoice};
use crate::report::terminal::silicon as tables;

/// Compare measured serving deployments with the model: errors of the times to first token and per token
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// CSV file in the columns of aiconfigurator's silicon tables
    file: PathBuf,
    /// Whose fixed times and factors rows have: vllm, sglang, trtllm, a TOML file, or none [default: each row's own]
    #[arg(long)]
    framework: Option<String>,
    /// Measured operators of others, as `supernode operators import` writes them: each row takes those of its system
    #[arg(long, value_name = "FILE")]
    operators: Option<PathBuf>,
    /// Fit the frameworks on these rows, and judge each system and model by fits that have not seen it
    #[arg(long, conflicts_with = "framework")]
    fit: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// The built-in facts, with measured operators where they are given.
#[cfg(feature = "parquet")]
fn facts(operators: Option<&Path>) -> Result<DeploymentFacts, Error> {
    let mut facts = DeploymentFacts::new();
    if let Some(path) = operators {
        let fail = |error: String| Error::Input(format!("{}: {error}", path.display()));
        let file = OperatorFile::open(path).map_err(|error| fail(error.to_string()))?;
        facts.set_operators(&file).map_err(|error| fail(error.to_string()))?;
    }
    Ok(facts)
}

#[cfg(not(feature = "parquet"))]
fn facts(operators: Option<&Path>) -> Result<DeploymentFacts, Error> {
    match operators {
        None => Ok(DeploymentFacts::new()),
        Some(_) => Err(cannot_read()),
    }
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
    let facts = facts(args.operators.as_deref())?;
    let report = silicon::evaluate(&rows, &framework, &facts);
    if args.fit {
        let fit = silicon::fit(&report.each);
        return if args.json { print_json(&fit) } else { print(&tables::fit(&fit)) };
    }
    if args.json { print_json(&report) } else { print(&tables::report(&report)) }
}
