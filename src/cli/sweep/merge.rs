//! `supernode sweep merge`: the files of all shards as the file of the whole sweep, row for row.

mod csv;
mod jsonl;
#[cfg(feature = "parquet")]
mod parquet;
mod parts;

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::cli::progress::note;
use crate::cli::sweep::format::SweepFormat;
use crate::cli::sweep::output::identity_of;
use parts::{check, open};

const EXAMPLES: &str = "\
Examples:
  supernode sweep merge part-*.parquet -o all.parquet
  supernode sweep merge part-*.jsonl -o all.jsonl

The files must have one configuration (grid, facts, program, record, expert load), and each point once. The result is the
file that one process would have written, row for row.";

/// Put the files of all shards of a sweep together, checked to be disjoint and complete
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The files of the shards, all JSON Lines, all CSV or all Parquet
    #[arg(value_name = "PART", required = true)]
    parts: Vec<PathBuf>,
    /// Where to write, in the format of the parts
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Checks the parts and writes the whole.
///
/// # Errors
/// [`Error::Input`] for parts that do not make one whole sweep, and an output that is there and is not it.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let mut parts = args.parts.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let whole = check(&mut parts)?;
    let (output, name) = (&args.output, args.output.display());
    if let Some(named) = SweepFormat::of_name(output).filter(|named| *named != whole.format) {
        let (parts, named) = (whole.format.name(), named.name());
        return Err(Error::Input(format!("{name}: the parts are {parts}, and the name says {named}; give another -o")));
    }
    if output.exists() {
        let there = identity_of(whole.format, output).is_ok_and(|found| found == whole);
        if !there {
            return Err(Error::Input(format!("{name} exists and is not what these parts make; give another -o")));
        }
        note(&format!("{name} has all {} points already", whole.points));
        return Ok(());
    }
    // A shard without a point has no columns and no row.
    parts.retain(|part| part.identity.points > 0);
    match whole.format {
        SweepFormat::Jsonl => jsonl::merge(&parts, output, &whole)?,
        SweepFormat::Csv => csv::merge(&parts, output, &whole)?,
        #[cfg(feature = "parquet")]
        SweepFormat::Parquet => parquet::merge(&parts, output, &whole)?,
        // The file of a part could not have been opened.
        #[cfg(not(feature = "parquet"))]
        SweepFormat::Parquet => {}
    }
    note(&format!("{name}: {} points of {} files", whole.points, args.parts.len()));
    Ok(())
}
