//! `supernode validate`: published figures compared with those of the model.

use clap::ValueEnum;

use crate::cli::error::Error;
use crate::cli::output::{print, print_json};
use crate::cli::validate_silicon;
use crate::projection::validation::{self, PublishedRow};
use crate::report::terminal::validation as tables;

/// Compare published figures with those of the model, with the error of each row
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    of: Option<Of>,
    /// Only these rows [default: all]
    #[arg(value_enum)]
    groups: Vec<RowGroup>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Of {
    Silicon(validate_silicon::Args),
    Training(TrainingArgs),
}

/// Compare published figures of training with the model, or fit the frameworks that train on them
#[derive(Debug, clap::Args)]
struct TrainingArgs {
    /// Fit the frameworks, and judge each model by a fit that has not seen it
    #[arg(long)]
    fit: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum RowGroup {
    /// Collectives and links
    Fabric,
    /// Single matrix products
    Operators,
    /// Decode, prefill and training
    Serving,
}

impl RowGroup {
    fn rows(self) -> Vec<PublishedRow> {
        match self {
            Self::Fabric => validation::fabric::rows(),
            Self::Operators => validation::operators::rows(),
            Self::Serving => validation::serving::rows(),
        }
    }
}

/// Runs `supernode validate`.
///
/// # Errors
/// [`Error::Input`] if standard output cannot be written.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    match &args.of {
        Some(Of::Silicon(args)) => return validate_silicon::run(args),
        Some(Of::Training(args)) if args.fit => {
            let fit = validation::training_fit::fit();
            return if args.json { print_json(&fit) } else { print(&tables::training_fit(&fit)) };
        }
        Some(Of::Training(args)) => {
            let training = |row: &PublishedRow| row.group == "training";
            return show(&validation::serving::rows().into_iter().filter(training).collect::<Vec<_>>(), args.json);
        }
        None => {}
    }
    let mut groups = if args.groups.is_empty() { RowGroup::value_variants().to_vec() } else { args.groups.clone() };
    groups.sort_unstable();
    groups.dedup();
    show(&groups.into_iter().flat_map(RowGroup::rows).collect::<Vec<_>>(), args.json)
}

fn show(rows: &[PublishedRow], json: bool) -> Result<(), Error> {
    if json {
        return print_json(&rows.iter().map(RowWithError::new).collect::<Vec<_>>());
    }
    print(&tables::published(rows))
}

/// A row with its error.
#[derive(serde::Serialize)]
struct RowWithError<'a> {
    #[serde(flatten)]
    row: &'a PublishedRow,
    relative_error: Option<f64>,
}

impl<'a> RowWithError<'a> {
    fn new(row: &'a PublishedRow) -> Self {
        Self { row, relative_error: row.relative_error() }
    }
}
