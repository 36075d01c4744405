//! `supernode claims`: what was announced, against what the model gives under each reading of it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::error::Error;
use crate::cli::output::{print, to_json};
use crate::cli::progress::{Progress, Shown};
use crate::cli::question::measured;
use crate::printable::printable;
use crate::projection::claims::{Judged, judge};
use crate::report::terminal::claims::{Readings, markdown, text};
use crate::specs::{Claim, SpecError};

const EXAMPLES: &str = "\
Examples:
  supernode claims                       every figure of the announcement, from the files of chips and fabrics alone
  supernode claims llama3 --readings     one claim with all its readings
  supernode claims --record mine.json    the same with the measured device in place of the chip
  supernode claims --json | jq '.claims[].verdict'

consistent: every reading fits. only if: the listed readings fit. not reproduced: none fits.
A reading fits if the model's interval and the range that the announced figure covers overlap, for all figures of the
claim under the same reading. Nothing in the model is fitted to a claim.";

/// Set the announced figures against the model, under every reading of them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Names or TOML files of claims [default: all of the announcement]
    #[arg(value_name = "CLAIM")]
    claims: Vec<String>,
    /// A record: its device takes the place of the chip wherever the projection is asked
    #[arg(long, value_name = "RECORD.json")]
    record: Option<PathBuf>,
    /// Show every reading
    #[arg(long)]
    readings: bool,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["markdown", "readings"])]
    json: bool,
    /// Print a Markdown table
    #[arg(long, conflicts_with = "readings")]
    markdown: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    record: Option<String>,
    claims: &'a [Judged],
}

/// A claim by name or file; a record in its place is a likely slip.
fn named(name: &str) -> Result<Claim, Error> {
    if Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) {
        let shown = printable(name, 200);
        return Err(Error::Input(format!(
            "{shown}: a claim is a name or a TOML file; give a record as `--record {shown}`"
        )));
    }
    Ok(Claim::load(name)?)
}

/// Judges the claims and prints them.
///
/// # Errors
/// [`Error::Input`] for a claim or record that cannot be read.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let claims: Vec<Claim> = if args.claims.is_empty() {
        all()?
    } else {
        args.claims.iter().map(|name| named(name)).collect::<Result<_, _>>()?
    };
    let chip = args.record.as_deref().map(measured).transpose()?;
    let readings = claims.iter().map(|claim| usize::try_from(claim.readings.len()).unwrap_or(usize::MAX)).sum();
    let progress = Progress::new(readings, Shown::UnlessQuiet);
    let judged = judge(&claims, chip.as_ref(), &|_| progress.step_silently());
    progress.finish();
    let judged = judged.map_err(|error| Error::Input(error.to_string()))?;
    if args.json {
        let record = args.record.as_ref().map(|path| path.display().to_string());
        return print(&to_json(&Document { record, claims: &judged })?);
    }
    let device = chip.map(|chip| chip.name);
    print(&if args.markdown {
        markdown(&judged, device.as_deref())
    } else {
        text(&judged, device.as_deref(), if args.readings { Readings::All } else { Readings::Fitting })
    })
}

/// All claims of the announcement.
///
/// # Errors
/// [`Error::Input`] for one that cannot be read.
pub(super) fn all() -> Result<Vec<Claim>, Error> {
    Ok(Claim::builtin_names().into_iter().map(Claim::load).collect::<Result<_, SpecError>>()?)
}
