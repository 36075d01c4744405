//! `supernode report`: one HTML page from result documents, and one screen or all tables on the terminal.

use std::path::{Path, PathBuf};

use crate::cli::claims;
use crate::cli::documents::load_documents;
use crate::cli::error::Error;
use crate::cli::output::print;
use crate::cli::progress::{Progress, Shown};
use crate::cli::question::chip_of;
use crate::files::read_within;
use crate::projection::claims::{Judged, judge};
use crate::projection::model_table::{DEFAULT_CHIP, IN_DEPTH, ModelTable};
use crate::projection::outlook::{Outlook, outlook};
use crate::projection::{ChipModel, Phase, Request};
use crate::record::{self, Document, FleetRecord, Record};
use crate::report::terminal::summary::{RunSummary, summary};
use crate::report::{self, EmbeddedModel, MOST_WITH_MODEL, Page, ProjectedRow, ProjectionPair, terminal};
use crate::specs::Chip;

/// The most bytes of a file of the module.
const MOST_OF_MODULE: u64 = 4 << 20;
/// Where `make web` puts the module.
const BUILT: &str = "out/web";
const EXAMPLES: &str = "\
Examples:
  supernode report mine.json --open             the page of one device, in the browser
  supernode report results/*.json -o page.html  several devices side by side
  supernode report fleet.json                   a fleet: a strip of its devices, outliers, the network
  supernode report --chip h800 --fabric h800-ib --chips 320    no record: a chip from published figures
  supernode report mine.json --measured-only    without projections
  supernode report mine.json --module out/web   what-ifs by the model itself, which `make web` has built
  supernode report mine.json --details          all tables of the record and its projections on the terminal

The page is one file: no network, charts and what-ifs included, the records embedded.";

/// Write one HTML page from result documents, and print one screen about a single one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Result documents or fleet documents [default: none, only what a chip would deliver]
    #[arg(value_name = "RESULT")]
    files: Vec<PathBuf>,
    /// Where to write the page [default: next to the first document, with the ending .html; else report.html]
    #[arg(short, long, value_name = "PAGE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    projected: ProjectedArgs,
    /// The folder in which `make web` put the model; from it, the page's what-ifs are answered [default: out/web, if it is there]
    #[arg(long, value_name = "FOLDER", conflicts_with = "measured_only")]
    module: Option<PathBuf>,
    /// Print all tables instead of one screen: cases, ceilings, trials, caveats, projections
    #[arg(long)]
    details: bool,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
}

/// What is projected.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ProjectedArgs {
    /// Models to project; the first is shown in depth [default: three, DeepSeek-V3 in depth]
    #[arg(long, value_name = "NAME|config.json", value_delimiter = ',')]
    model: Vec<String>,
    /// The only chip to project [default: each measured device; ascend-910c without one, and before software adapters]
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

/// Writes the page, and prints one screen about one record, or all tables.
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
    let (records, fleets) = load(&args.files)?;
    let report = Report { fleets: &fleets, ..Report::new(&records, &args.projected)? };
    let answered = report.write_with_model(&path, args.module.as_deref())?;
    for fleet in &fleets {
        print(&terminal::fleet::fleet(fleet, args.details))?;
    }
    match (records.as_slice(), args.files.as_slice()) {
        _ if args.details => {
            report.print_details()?;
            print(&format!("\nwrote {}\n", path.display()))?;
        }
        ([_], [file]) if fleets.is_empty() => report.print_summary(file, &path)?,
        _ => print(&format!("wrote {}\n", path.display()))?,
    }
    if let Some(answered) = answered {
        print(&format!("what-ifs: {answered}\n"))?;
    }
    if args.open {
        open::that_detached(&path).map_err(|error| {
            Error::Input(format!("{}: no browser could be started ({error}); open it yourself", path.display()))
        })?;
    }
    Ok(())
}

/// The records and the fleets that were named. Of a fleet, the record of the typical device is among the records: the pages
/// of all devices would be too large to be read.
fn load(files: &[PathBuf]) -> Result<(Vec<Record>, Vec<FleetRecord>), Error> {
    let (mut records, mut fleets) = (Vec::new(), Vec::new());
    if files.is_empty() {
        return Ok((records, fleets));
    }
    for (_, document) in load_documents(files)? {
        match document {
            Document::Device(record) => records.push(*record),
            Document::Fleet(fleet) => {
                records.extend(fleet.typical().and_then(|rank| rank.record.clone()));
                fleets.push(*fleet);
            }
        }
    }
    Ok((records, fleets))
}

/// What the page and the terminal show, computed once.
pub(super) struct Report<'a> {
    records: &'a [Record],
    fleets: &'a [FleetRecord],
    /// Rows of each chip; the first chip is that of the headline.
    projected: Vec<Vec<ProjectedRow>>,
    /// What was asked, and its answer.
    outlook: Option<(Request, Outlook)>,
    claims: Vec<Judged>,
}

impl<'a> Report<'a> {
    /// Computes all that is asked for about some records.
    ///
    /// # Errors
    /// [`Error::Input`] for a name that cannot be read, or a record with too little for a chip.
    pub(super) fn new(records: &'a [Record], asked: &ProjectedArgs) -> Result<Self, Error> {
        if asked.measured_only {
            return Ok(Self { records, fleets: &[], projected: Vec::new(), outlook: None, claims: Vec::new() });
        }
        let table = ModelTable::load(&asked.model, asked.fabric.as_deref(), asked.baseline.as_deref(), asked.chips)?;
        let chips = chips(records, asked)?;
        let progress = Progress::new(chips.len() + 2, Shown::UnlessQuiet);
        let rows = |chip: &ChipModel| {
            let rows = ProjectedRow::table(&table, chip);
            progress.step_silently();
            rows
        };
        let projected = chips.iter().map(rows).collect();
        let model = table.models.iter().find(|model| !asked.model.is_empty() || model.name == IN_DEPTH);
        let request = model.zip(chips.first()).map(|(model, chip)| table.request(chip, model, Phase::Decode));
        let outlook = request.and_then(|request| outlook(&request, &table.baseline).ok().map(|found| (request, found)));
        progress.step_silently();
        let claims = judged()?;
        progress.finish();
        Ok(Self { records, fleets: &[], projected, outlook, claims })
    }

    /// Writes the page.
    ///
    /// # Errors
    /// [`Error::Input`] where it cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        write(path, &self.page(None))
    }

    /// The same with the model itself, where it is at hand and the page stays small. Returns what answers the what-ifs;
    /// `None` where the page has none.
    ///
    /// # Errors
    /// [`Error::Input`] where it cannot be written, or the folder that was named has no module.
    fn write_with_model(&self, path: &Path, folder: Option<&Path>) -> Result<Option<String>, Error> {
        let Some((request, _)) = &self.outlook else { return self.write(path).map(|()| None) };
        let grid = "interpolated, within 2 % of the model";
        let model = match embedded(folder.unwrap_or(BUILT.as_ref()), request) {
            Err(error) if folder.is_some() => return Err(error),
            Err(_) => {
                self.write(path)?;
                return Ok(Some(format!("{grid} (--module embeds the model)")));
            }
            Ok(model) => model,
        };
        let page = self.page(Some(&model));
        if page.len() < MOST_WITH_MODEL {
            write(path, &page)?;
            return Ok(Some("answered by the model itself, which lies in the page".to_owned()));
        }
        self.write(path)?;
        Ok(Some(format!("{grid}; with it the page exceeds 2 MB")))
    }

    fn page(&self, model: Option<&EmbeddedModel>) -> String {
        let projections: Vec<ProjectionPair> = self.projected.iter().flatten().filter_map(ProjectedRow::pair).collect();
        let outlook = self.outlook.as_ref().map(|(_, outlook)| outlook);
        let (records, fleets) = (self.records, self.fleets);
        report::page(&Page { records, fleets, projections: &projections, outlook, claims: &self.claims, model })
    }

    /// Prints one screen about the first record.
    ///
    /// # Errors
    /// [`Error::Input`] where standard output cannot be written.
    pub(super) fn print_summary(&self, record_file: &Path, page: &Path) -> Result<(), Error> {
        let Some(record) = self.records.first() else { return Ok(()) };
        let decode = |row: &&ProjectedRow| row.request.phase == Phase::Decode && row.request.model.name == IN_DEPTH;
        print(&summary(&RunSummary {
            record,
            projected: self.projected.first().map_or(&[][..], Vec::as_slice),
            measured_device: self.projected.get(1).and_then(|rows| rows.iter().find(decode)),
            record_file,
            page,
        }))
    }

    /// Prints the tables of each record and of each chip.
    ///
    /// # Errors
    /// [`Error::Input`] where standard output cannot be written.
    pub(super) fn print_details(&self) -> Result<(), Error> {
        let records = self.records.iter().map(terminal::table);
        let projected = self.projected.iter().map(|rows| terminal::projection::table(rows));
        print(&records.chain(projected).collect::<Vec<_>>().join("\n"))
    }
}

fn write(path: &Path, page: &str) -> Result<(), Error> {
    record::write_atomically(path, page.as_bytes()).map_err(|error| Error::Input(error.to_string()))
}

/// The model that `make web` put into a folder.
fn embedded(folder: &Path, request: &Request) -> Result<EmbeddedModel, Error> {
    let read = |name: &str| {
        let path = folder.join(name);
        read_within(&path, MOST_OF_MODULE).map_err(|error| {
            Error::Input(format!("{}: {error}; name the folder that `make web` has built", path.display()))
        })
    };
    let (loader, module) = (read("model.js")?, read("model_bg.wasm.gz")?);
    EmbeddedModel::new(&String::from_utf8_lossy(&loader), &module, request)
        .map_err(|reason| Error::Input(format!("the model in {}: {reason}", folder.display())))
}

/// The chips that are projected, that of the headline first: the one that is named; else the measured GPUs, and behind them
/// the software adapters. Where no GPU was measured, the Supernode's chip comes before them, since the figures of a CPU
/// that poses as a GPU help nobody.
fn chips(records: &[Record], asked: &ProjectedArgs) -> Result<Vec<ChipModel>, Error> {
    if let Some(name) = &asked.chip {
        return Ok(vec![from_spec(name)?]);
    }
    let (software, gpus): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.is_software());
    let supernode = if gpus.is_empty() { Some(from_spec(DEFAULT_CHIP)?) } else { None };
    let measured = gpus.into_iter().chain(software).map(chip_of).collect::<Result<Vec<_>, _>>()?;
    Ok(supernode.into_iter().chain(measured).collect())
}

fn from_spec(name: &str) -> Result<ChipModel, Error> {
    Ok(ChipModel::from_spec(&Chip::load(name)?))
}

/// The announcement against the model, from published figures.
fn judged() -> Result<Vec<Judged>, Error> {
    judge(&claims::all()?, None, &|_| {}).map_err(|error| Error::Input(error.to_string()))
}

fn output(args: &Args) -> PathBuf {
    let beside_first = || args.files.first().map_or("report.html".into(), |first| first.with_extension("html"));
    args.output.clone().unwrap_or_else(beside_first)
}
