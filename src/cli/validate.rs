//! `supernode validate`: published figures beside the model's.

use clap::{Args, ValueEnum};

use super::{Error, print, print_json};
use crate::projection::validation::{self, PublishedRow};
use crate::report::validation as tables;

/// Print published figures beside what the model says, with the error of each row
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Only these rows [default: all]
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Group {
    /// Collectives and links
    Fabric,
    /// Single matrix products
    Operators,
    /// Decode, prefill and training
    Serving,
}

impl Group {
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
pub(super) fn run(args: &ValidateArgs) -> Result<(), Error> {
    let mut groups = if args.groups.is_empty() { Group::value_variants().to_vec() } else { args.groups.clone() };
    groups.sort_unstable();
    groups.dedup();
    let rows: Vec<PublishedRow> = groups.into_iter().flat_map(Group::rows).collect();
    if args.json {
        let list: Vec<_> = rows.iter().map(Shown::new).collect();
        return print_json(&list);
    }
    print(&tables::rows(&rows))
}

/// A row with its error.
#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    row: &'a PublishedRow,
    relative_error: Option<f64>,
}

impl<'a> Shown<'a> {
    fn new(row: &'a PublishedRow) -> Self {
        Self { row, relative_error: row.relative_error() }
    }
}
