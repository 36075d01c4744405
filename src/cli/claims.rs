//! `supernode claims`: what was announced, against what the model gives under each reading of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::progress::Progress;
use super::project::show::{align_right, new_table, to_json};
use super::project::{input, measured};
use super::{Error, print};
use crate::printable::printable;
use crate::projection::ProjectionCaveat;
use crate::projection::claims::{ClaimReading, Judged, Verdict, judge};
use crate::report::claims::{MOST_WORDS, NO_VALUE, Row, kind_and_count, nearest_cells, quantity, rows};
use crate::specs::Claim;

const EXAMPLES: &str = "\
Examples:
  supernode claims                       every figure of the announcement, from the files of chips and fabrics alone
  supernode claims llama3 --readings     one claim with all its readings
  supernode claims --record mine.json    the same with the measured device in place of the chip
  supernode claims --json | jq '.claims[].verdict'

consistent: every reading fits. only if: some do, and these they are. not reproduced: none does.
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
    Claim::load(name).map_err(input)
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
    let progress = Progress::new(readings, false);
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
        text(&judged, device.as_deref(), args.readings)
    })
}

/// All claims of the announcement.
///
/// # Errors
/// [`Error::Input`] for one that cannot be read.
pub(super) fn all() -> Result<Vec<Claim>, Error> {
    Claim::builtin_names().into_iter().map(Claim::load).collect::<Result<_, _>>().map_err(input)
}

fn text(judged: &[Judged], device: Option<&str>, readings: bool) -> String {
    let mut text = match device {
        Some(device) => format!(
            "The announcement against the model, with {device} in place of the chip where the projection is asked\n\n"
        ),
        None => "The announcement against the model\n\n".to_owned(),
    };
    let _ = writeln!(text, "{}", table(judged).trim_fmt());
    for claim in judged {
        let _ = writeln!(text, "\n{} ({})", claim.title, claim.name);
        for figure in &claim.figures {
            let _ = writeln!(text, "  {}: {}", figure.figure.said, verdict_words(&figure.verdict, "\n      "));
            if let Some(nearest) = &figure.nearest {
                let _ = writeln!(text, "    nearest: {}: {}", nearest.reading, nearest.how);
            }
        }
        if claim.figures.len() > 1 {
            let _ = writeln!(text, "  together: {}", verdict_words(&claim.verdict, "\n      "));
        }
        if readings {
            let _ = writeln!(text, "{}", all_readings(claim).trim_fmt());
        }
    }
    text.push_str("\nKeep in mind\n");
    for caveat in caveats(judged) {
        let _ = writeln!(text, "  - {caveat}");
    }
    text
}

fn table(judged: &[Judged]) -> comfy_table::Table {
    let mut table = new_table(&["announced", "model, nearest reading", "low..high", "off by", "verdict", "readings"]);
    for claim in judged {
        for figure in &claim.figures {
            let [value, band, off] = nearest_cells(figure);
            let (kind, count) = kind_and_count(&figure.verdict);
            table.add_row([figure.figure.said.clone(), value, band, off, kind.to_owned(), count]);
        }
        if claim.figures.len() > 1 {
            let (kind, count) = kind_and_count(&claim.verdict);
            let blank = String::new;
            table.add_row(["  together".to_owned(), blank(), blank(), blank(), kind.to_owned(), count]);
        }
    }
    align_right(&mut table, &[1, 2, 3, 5]);
    table
}

/// The verdict, and the readings that fit on lines of their own.
fn verdict_words(verdict: &Verdict, between: &str) -> String {
    match verdict {
        Verdict::Consistent { readings: 1 } => "consistent, in the one reading that there is".to_owned(),
        Verdict::Consistent { readings } => format!("consistent, in all {readings} readings"),
        Verdict::OnlyIf { any_of, fitting, readings } => {
            let shown = any_of.iter().take(MOST_WORDS).map(|words| format!("{between}{words}")).collect::<String>();
            let more = any_of.len().saturating_sub(MOST_WORDS);
            let more = if more > 0 { format!("{between}and {more} more") } else { String::new() };
            format!("only if ({fitting} of {readings} readings){shown}{more}")
        }
        Verdict::NotReproduced { nearest: None, .. } => NO_VALUE.to_owned(),
        Verdict::NotReproduced { nearest: Some(nearest), readings } => {
            let factor = nearest.off_by;
            let side = if factor == 1.0 {
                "whose central value would do, but not its circle".to_owned()
            } else if factor < 1.0 {
                format!("{:.2} times too little", 1.0 / factor)
            } else {
                format!("{factor:.2} times too much")
            };
            format!("not reproduced in {readings} readings; nearest, {side}: {}", nearest.reading)
        }
    }
}

fn all_readings(claim: &Judged) -> comfy_table::Table {
    let mut table = new_table(&["", "reading", "model", "low..high", "how"]);
    for reading in &claim.readings {
        let mark = if reading.fits { "fits" } else { "" };
        let point = point_text(claim, reading);
        let shown = claim.figures.iter().zip(&reading.values);
        let (mut values, mut bands) = (Vec::new(), Vec::new());
        for (figure, value) in shown {
            let show = |value: f64| quantity(&figure.figure, value);
            values.push(show(value.value.median));
            bands.push(format!("{}..{}", show(value.value.low), show(value.value.high)));
        }
        let how = reading.impossible.clone().unwrap_or_else(|| reading.how.clone());
        table.add_row([mark.to_owned(), point, values.join(", "), bands.join(", "), how]);
    }
    table
}

/// The keys that differ between readings.
fn point_text(claim: &Judged, reading: &ClaimReading) -> String {
    let mut seen: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for (key, value) in claim.readings.iter().flat_map(|reading| &reading.point.0) {
        let text = value.to_string();
        let entry = seen.entry(key).or_insert_with(|| Some(text.clone()));
        if entry.as_ref() != Some(&text) {
            *entry = None;
        }
    }
    let varies = |key: &str| seen.get(key).is_some_and(Option::is_none) || claim.readings.len() == 1;
    let words = reading.point.0.iter().filter(|(key, _)| varies(key));
    words.map(|(key, value)| format!("{}={value}", key.rsplit('.').next().unwrap_or(key))).collect::<Vec<_>>().join(" ")
}

fn caveats(judged: &[Judged]) -> Vec<&ProjectionCaveat> {
    let mut list: Vec<&ProjectionCaveat> = Vec::new();
    for caveat in judged.iter().flat_map(|claim| &claim.caveats) {
        if !list.contains(&caveat) {
            list.push(caveat);
        }
    }
    list
}

fn markdown(judged: &[Judged], device: Option<&str>) -> String {
    let mut text =
        String::from("| announced | model, nearest reading | verdict | readings that fit |\n|---|--:|---|---|\n");
    for row in rows(judged) {
        let Row { announced, model, kind, count, words } = row;
        let between = if model.is_empty() { "" } else { " " };
        let _ = writeln!(text, "| {announced} |{between}{model} | {kind} ({count}) | {words} |");
    }
    if let Some(device) = device {
        let _ = writeln!(text, "\nWith {device} in place of the chip where the projection is asked.");
    }
    text
}
