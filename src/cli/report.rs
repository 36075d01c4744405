//! `supernode report`: one HTML page from result documents.

use std::path::{Path, PathBuf};

use super::claims;
use super::compare::load_all;
use super::progress::Progress;
use super::project::{Table, chip_of, input};
use super::{Error, print};
use crate::projection::claims::{Judged, judge};
use crate::projection::outlook::outlook;
use crate::projection::{ChipModel, Phase};
use crate::record::{self, DeviceType, Record};
use crate::report::{self, Page, ProjectionPair};
use crate::specs::Chip;

/// The chip of the Supernode.
const DEFAULT_CHIP: &str = "ascend-910c";
/// The model whose decode is shown in depth.
const DEFAULT_MODEL: &str = "deepseek-v3";
const EXAMPLES: &str = "\
Examples:
  supernode report mine.json --open             the page of one device, in the browser
  supernode report results/*.json -o page.html  several devices side by side
  supernode report --chip h800 --fabric h800-ib --chips 320    no record: a chip from published figures
  supernode report mine.json --measured-only    without projections

The page is one file: no network, charts and what-ifs included, the records embedded.";

/// Write one self-contained page: measured kernels, projections, what-ifs, claims
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Result documents [default: none, only what a chip would deliver]
    #[arg(value_name = "RESULT")]
    files: Vec<PathBuf>,
    /// Where to write the page [default: beside the first document, with the ending .html; else report.html]
    #[arg(short, long, value_name = "PAGE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    projected: Projected,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
}

/// What the page projects.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Projected {
    /// Models to project; the first is shown in depth [default: three, DeepSeek-V3 in depth]
    #[arg(long, value_name = "NAME|config.json", value_delimiter = ',')]
    model: Vec<String>,
    /// A chip to project in place of the measured devices [default: each measured device; ascend-910c without any]
    #[arg(long, value_name = "NAME|FILE")]
    chip: Option<String>,
    /// The fabric [default: cloudmatrix384]
    #[arg(long, value_name = "NAME|FILE")]
    fabric: Option<String>,
    /// The fabric to compare with [default: roce-cluster]
    #[arg(long, value_name = "NAME|FILE")]
    baseline: Option<String>,
    /// Chips in use (packages, not dies) [default: 384]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chips: Option<u32>,
    /// Only what was measured: no projections, what-ifs and claims
    #[arg(long, conflicts_with_all = ["model", "chip", "fabric", "baseline", "chips"])]
    measured_only: bool,
}

/// Writes the page and says where.
///
/// # Errors
/// [`Error::Input`] for a document that cannot be read or a page that cannot be written.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    if args.files.is_empty() && args.projected.measured_only {
        return Err(Error::Input("--measured-only needs a result document: name one".to_owned()));
    }
    let path = output(args);
    if args.files.contains(&path) {
        let name = path.display();
        return Err(Error::Input(format!("{name}: the page would replace its own record; name another with --output")));
    }
    let records = load_records(&args.files)?;
    write(&records, &args.projected, &path)?;
    print(&format!("wrote {}\n", path.display()))?;
    if args.open {
        open::that_detached(&path).map_err(|error| {
            Error::Input(format!("{}: no browser could be started ({error}); open it yourself", path.display()))
        })?;
    }
    Ok(())
}

fn load_records(files: &[PathBuf]) -> Result<Vec<Record>, Error> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    Ok(load_all(files)?.into_iter().map(|(_, record)| record).collect())
}

/// Writes the page of some records and of what they project to.
pub(super) fn write(records: &[Record], projected: &Projected, path: &Path) -> Result<(), Error> {
    let page = if projected.measured_only {
        report::page(&Page { records, ..Page::default() })
    } else {
        whole(records, projected)?
    };
    record::write_atomically(path, page.as_bytes()).map_err(|error| Error::Input(error.to_string()))
}

/// The page with all that is projected.
fn whole(records: &[Record], projected: &Projected) -> Result<String, Error> {
    let table =
        Table::load(&projected.model, projected.fabric.as_deref(), projected.baseline.as_deref(), projected.chips)?;
    let chips = chips(records, projected)?;
    let progress = Progress::new(chips.len() + 2, false);
    let mut pairs: Vec<ProjectionPair> = Vec::new();
    for chip in &chips {
        pairs.extend(table.pairs(chip));
        progress.step_silently();
    }
    let model = table.models.iter().find(|model| !projected.model.is_empty() || model.name == DEFAULT_MODEL);
    let chip = in_depth_chip(records, &chips)?;
    let in_depth = model.and_then(|model| outlook(&table.request(&chip, model, Phase::Decode), &table.baseline).ok());
    progress.step_silently();
    let claims = judged()?;
    progress.finish();
    Ok(report::page(&Page { records, projections: &pairs, outlook: in_depth.as_ref(), claims: &claims }))
}

/// The chips that are projected: the one that is named, else each measured device, else the Supernode's.
fn chips(records: &[Record], projected: &Projected) -> Result<Vec<ChipModel>, Error> {
    match &projected.chip {
        Some(name) => Ok(vec![from_spec(name)?]),
        None if records.is_empty() => Ok(vec![from_spec(DEFAULT_CHIP)?]),
        None => records.iter().map(chip_of).collect(),
    }
}

fn from_spec(name: &str) -> Result<ChipModel, Error> {
    Ok(ChipModel::from_spec(&Chip::load(name).map_err(input)?))
}

/// The chip that is shown in depth: the first, unless that is a software adapter, whose steps are so slow that no fabric
/// matters: then the Supernode's own.
fn in_depth_chip(records: &[Record], chips: &[ChipModel]) -> Result<ChipModel, Error> {
    let is_software = |record: &Record| record.device.device_type == DeviceType::Software;
    let from_records = chips.len() == records.len() && chips.iter().all(|chip| chip.costs.is_some());
    let chosen = if from_records {
        let real = records.iter().position(|record| !is_software(record));
        real.and_then(|index| chips.get(index)).cloned()
    } else {
        chips.first().cloned()
    };
    chosen.map_or_else(|| from_spec(DEFAULT_CHIP), Ok)
}

/// The announcement against the model, from published figures.
fn judged() -> Result<Vec<Judged>, Error> {
    judge(&claims::all()?, None, &|_| {}).map_err(|error| Error::Input(error.to_string()))
}

fn output(args: &Args) -> PathBuf {
    let beside_first = || args.files.first().map_or("report.html".into(), |first| first.with_extension("html"));
    args.output.clone().unwrap_or_else(beside_first)
}
