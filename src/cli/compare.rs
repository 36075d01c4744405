//! `supernode compare`: documents side by side, case by case against one of them.

use std::path::{Path, PathBuf};

use crate::cli::documents::load_all;
use crate::cli::error::Error;
use crate::cli::output::print;
use crate::cli::progress;
use crate::files::read_at_most;
use crate::record::{self, Record};
use crate::report::compare::{self, LlamaBench, RecordComparison};

const EXAMPLES: &str = "\
Examples:
  supernode compare before.json after.json
  supernode compare results/ mine.json --baseline mine.json
  supernode compare results/ --baseline llvmpipe --format markdown
  supernode compare main.json branch.json --threshold 5%     exit code 1 if something got slower, for CI
  supernode compare mine.json --llama-bench lb.json          llama.cpp's figures next to the ceilings

A is the baseline, B each other document. A ratio above 1 says that B is faster. A regression is a kernel, type and shape
whose best variant is slower by more than the threshold with its whole 95 % interval, or a case that B rejects as wrong.

Exit codes: 0 done; 1 a regression (with --threshold); 2 bad input.";

/// Compare result documents case by case: ratios with intervals, a verdict, and each device's share of its own roofline
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Result documents, fleet documents (a record per rank), or folders of them (subfolders one level down included)
    #[arg(required = true, value_name = "RESULT|FOLDER")]
    files: Vec<PathBuf>,
    /// What the others are compared with: a file, or part of the name of one given file or device [default: the first]
    #[arg(long, value_name = "FILE|NAME")]
    baseline: Option<String>,
    /// Fail (exit code 1) when something is slower by more than this, e.g. 5%
    #[arg(long, value_name = "PERCENT", value_parser = threshold)]
    threshold: Option<f64>,
    /// Only cases whose id contains this (may be repeated)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t, conflicts_with = "json")]
    format: Format,
    /// Print JSON, as --format json does
    #[arg(long)]
    json: bool,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Figures of llama.cpp (`llama-bench -o json`) to show next to the baseline's
    #[arg(long, value_name = "FILE")]
    llama_bench: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Aligned columns for a terminal
    #[default]
    Table,
    /// Tables for a README or an issue
    Markdown,
    /// One pair per line
    Csv,
    /// Everything
    Json,
    /// One self-contained page
    Html,
}

/// Loads all documents and prints their comparison.
///
/// # Errors
/// [`Error::Input`] for a document that cannot be read, [`Error::Negative`] for a regression.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let mut records = gather(args)?;
    for (_, record) in &mut records {
        keep_only(record, &args.only);
    }
    let named: Vec<(&str, &Record)> = records.iter().map(|(name, record)| (&**name, record)).collect();
    let Some((base, others)) = named.split_first() else {
        return Err(Error::Input("no result document was given; name one, or a folder that has some".to_owned()));
    };
    if others.is_empty() && args.llama_bench.is_none() {
        return Err(Error::Input(format!("{}: compare needs a second document", base.0)));
    }
    let mut comparison = compare::compare(*base, others);
    if let Some(path) = &args.llama_bench {
        comparison.llama_bench = Some(llama_bench(path, base.1)?);
    }
    write(args, &comparison)?;
    args.threshold.map_or(Ok(()), |threshold| judge(&comparison, threshold))
}

fn write(args: &Args, comparison: &RecordComparison) -> Result<(), Error> {
    let failed = |error: &dyn std::error::Error| Error::Input(error.to_string());
    let text = match if args.json { Format::Json } else { args.format } {
        Format::Table => compare::text(comparison),
        Format::Markdown => compare::markdown(comparison),
        Format::Csv => compare::csv(comparison).map_err(|error| failed(&error))?,
        Format::Json => serde_json::to_string_pretty(comparison).map_err(|error| failed(&error))? + "\n",
        Format::Html => compare::html(comparison),
    };
    match &args.output {
        // A file has no styles.
        Some(path) => record::write_atomically(path, anstream::adapter::strip_str(&text).to_string().as_bytes())
            .map_err(|error| failed(&error)),
        None => print(&text),
    }
}

/// Reports regressions as an error; without any, notes that there are none.
fn judge(comparison: &RecordComparison, threshold: f64) -> Result<(), Error> {
    let pairs: usize = comparison.against.iter().map(|against| against.best.len()).sum();
    let percent = threshold * 100.0;
    if let Some(empty) = comparison.against.iter().find(|against| against.best.is_empty()) {
        return Err(Error::Negative(format!("{}: no case in common, so nothing was checked", empty.other.file)));
    }
    let found = comparison.regressions(threshold);
    if found.is_empty() {
        progress::note(&format!("no regression beyond {percent} % in {pairs} comparisons"));
        return Ok(());
    }
    let lines: Vec<String> = found.iter().map(|one| format!("\n  {}: {}: {}", one.file, one.id, one.what)).collect();
    Err(Error::Negative(format!("{} regressions beyond {percent} %:{}", found.len(), lines.concat())))
}

/// `5%` or `0.05`.
fn threshold(text: &str) -> Result<f64, String> {
    let (digits, scale) = match text.trim().strip_suffix('%') {
        Some(digits) => (digits.trim(), 0.01),
        None => (text.trim(), 1.0),
    };
    let value = digits.parse::<f64>().map_err(|_| "give a percentage such as 5%".to_owned())? * scale;
    match value {
        v if scale == 1.0 && v >= 1.0 => Err(format!("is that {text}%? then write the percent sign")),
        v if (0.0..=100.0).contains(&v) => Ok(v),
        _ => Err("give a percentage of zero or more, such as 5%".to_owned()),
    }
}

fn keep_only(record: &mut Record, parts: &[String]) {
    let keep = |id: &str| parts.is_empty() || parts.iter().any(|part| id.contains(part));
    record.planned.retain(|id| keep(id));
    record.cases.retain(|case| keep(&case.id));
    record.left_out.retain(|case| keep(&case.id));
    record.rejected.retain(|case| keep(&case.id));
}

fn llama_bench(path: &Path, base: &Record) -> Result<LlamaBench, Error> {
    let name = path.display().to_string();
    // One byte more than is accepted, so that a larger file is refused and not cut.
    let bytes = read_at_most(path, (16 << 20) + 1)
        .map_err(|error| Error::Input(format!("{name}: cannot be read ({error})")))?;
    LlamaBench::read(&name, &bytes, base).map_err(|error| Error::Input(format!("{name}: {error}")))
}

/// Every document that was named or found, the baseline first.
fn gather(args: &Args) -> Result<Vec<(String, Record)>, Error> {
    let mut records = load_all(&args.files)?;
    let Some(wanted) = &args.baseline else { return Ok(records) };
    let at = match position(&records, wanted)? {
        Some(at) => at,
        None => {
            let record = record::load(Path::new(wanted)).map_err(|error| Error::Input(error.to_string()))?;
            records.push((wanted.clone(), record));
            records.len() - 1
        }
    };
    let base = records.remove(at);
    records.insert(0, base);
    Ok(records)
}

/// Which of the documents is meant, by path, else by part of a file's name, else of a device's; `None` for another file.
fn position(records: &[(String, Record)], wanted: &str) -> Result<Option<usize>, Error> {
    let same_file = |name: &str| match (std::fs::canonicalize(name), std::fs::canonicalize(wanted)) {
        (Ok(one), Ok(other)) => one == other,
        _ => name == wanted,
    };
    if let Some(at) = records.iter().position(|(name, _)| same_file(name)) {
        return Ok(Some(at));
    }
    if Path::new(wanted).exists() {
        return Ok(None);
    }
    let part = wanted.to_lowercase();
    let stem = |name: &str| Path::new(name).file_stem().map_or(String::new(), |s| s.to_string_lossy().to_lowercase());
    let fitting = |fits: &dyn Fn(&(String, Record)) -> bool| -> Vec<usize> {
        records.iter().enumerate().filter(|(_, one)| fits(one)).map(|(at, _)| at).collect()
    };
    let mut named = fitting(&|(name, _)| stem(name).contains(&part));
    if named.is_empty() {
        named = fitting(&|(_, record)| record.device.name.to_lowercase().contains(&part));
    }
    match named.as_slice() {
        [one] => Ok(Some(*one)),
        [] => Err(Error::Input(format!("--baseline {wanted}: no such file, and no document or device is called so"))),
        several => {
            let names: Vec<&str> = several.iter().filter_map(|at| Some(records.get(*at)?.0.as_str())).collect();
            Err(Error::Input(format!("--baseline {wanted}: fits several ({}); give one of them", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::threshold;

    #[test]
    fn a_threshold_is_a_percentage_or_a_fraction() {
        assert_eq!(
            [threshold("5%"), threshold("2.5 %"), threshold("0.05"), threshold("0%")].map(|t| t.ok()),
            [Some(0.05), Some(0.025), Some(0.05), Some(0.0)]
        );
        for bad in ["5", "-1%", "", "%", "NaN", "inf%", "five"] {
            assert!(threshold(bad).is_err(), "{bad}");
        }
    }
}
