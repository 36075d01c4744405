//! `supernode export`: a record's cases for other tools.

use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use crate::cli::documents::load_all;
use crate::cli::error::Error;
use crate::cli::output::print;
use crate::cli::progress;
use crate::files::write_atomically;
use crate::record::{self, Record};
use crate::report::export;

const EXAMPLES: &str = "\
Examples:
  supernode export mine.json --format csv -o mine.csv
  supernode export results/ --format jsonl | jq .median_s
  supernode export mine.json --format openmetrics -o /var/lib/node_exporter/supernode.prom
  supernode export mine.json --format criterion -o target/criterion --baseline mine     then: critcmp mine other
  supernode export results/ --format parquet -o cases.parquet    (needs a build with the feature `parquet`)";

/// Write the cases of result documents as CSV, JSON lines, Parquet, OpenMetrics text or criterion's folders
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Result documents, fleet documents (a record per rank), or folders of them
    #[arg(required = true, value_name = "RESULT|FOLDER")]
    files: Vec<PathBuf>,
    /// What to write
    #[arg(long, value_enum)]
    format: Format,
    /// Where to [default: standard output; criterion needs a folder, parquet a file or a pipe]
    #[arg(short, long, value_name = "FILE|FOLDER")]
    output: Option<PathBuf>,
    /// Criterion's name for these figures [default: the file's name without its ending]
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One case per line, for spreadsheets
    Csv,
    /// One JSON object per line, with all samples
    Jsonl,
    /// Columns for pandas, DuckDB, Polars
    Parquet,
    /// Headline figures for Prometheus
    Openmetrics,
    /// Folders that criterion and critcmp read
    Criterion,
}

/// Loads the documents and writes them.
///
/// # Errors
/// [`Error::Input`] for a document that cannot be read or a place that cannot be written.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    if args.baseline.is_some() && args.format != Format::Criterion {
        return Err(Error::Input("--baseline names figures for --format criterion only; leave it out".to_owned()));
    }
    let records = load_all(&args.files)?;
    let failed = |error: &dyn std::error::Error| Error::Input(error.to_string());
    let bytes = match args.format {
        Format::Csv => export::csv(&records).map_err(|error| failed(&error))?.into_bytes(),
        Format::Jsonl => export::jsonl(&records).map_err(|error| failed(&error))?.into_bytes(),
        Format::Openmetrics => export::openmetrics(&records).into_bytes(),
        Format::Parquet => parquet(&records)?,
        Format::Criterion => return criterion(args, &records),
    };
    match &args.output {
        Some(path) => record::write_atomically(path, &bytes).map_err(|error| failed(&error)),
        None if args.format == Format::Parquet => to_pipe(&bytes),
        None => print(&String::from_utf8_lossy(&bytes)),
    }
}

#[cfg(feature = "parquet")]
fn parquet(records: &[(String, Record)]) -> Result<Vec<u8>, Error> {
    export::parquet(records).map_err(|error| Error::Input(error.to_string()))
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &[(String, Record)]) -> Result<Vec<u8>, Error> {
    Err(Error::Input(
        "this build cannot write Parquet; install with `cargo install supernode-bench --features parquet`, or use \
         --format csv"
            .to_owned(),
    ))
}

fn to_pipe(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    if stdout.is_terminal() {
        return Err(Error::Input("Parquet is not text; give a file with -o, or a pipe".to_owned()));
    }
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::Input(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn criterion(args: &Args, records: &[(String, Record)]) -> Result<(), Error> {
    let Some(folder) = &args.output else {
        return Err(Error::Input(
            "criterion's layout is a folder; give one with -o, e.g. -o target/criterion".to_owned(),
        ));
    };
    if args.baseline.is_some() && records.len() > 1 {
        return Err(Error::Input("--baseline names one document, and several were given; leave it out".to_owned()));
    }
    let mut names = std::collections::BTreeSet::new();
    for (file, record) in records {
        let stem = Path::new(file).file_stem().map_or("record".into(), |stem| stem.to_string_lossy());
        let name = args.baseline.clone().unwrap_or_else(|| stem.into_owned());
        if name == "change" || !names.insert(name.to_lowercase()) {
            return Err(Error::Input(format!(
                "{file}: `{name}` cannot name it in criterion's layout; rename the file"
            )));
        }
        for one in export::criterion(record, &name) {
            place(&folder.join(&one.path), one.text.as_bytes())?;
        }
        progress::note(&format!("{}: {} cases as baseline {name}", folder.display(), record.cases.len()));
    }
    Ok(())
}

/// Writes a file whole or not at all, in a folder that is made if it is missing.
fn place(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Input(format!("{}: cannot be written ({error})", path.display()));
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    write_atomically(path, bytes).map_err(failed)
}
