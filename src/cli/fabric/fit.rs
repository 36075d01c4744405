//! `supernode fabric fit`: the few free parameters of a fabric, on published rows or on a network of the user's own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::fabric::fit_fleet::{self, FleetFitArgs};
use crate::cli::fabric::options::CollectiveFlag;
use crate::cli::output::{print, print_json};
use crate::files::read_at_most;
use crate::projection::calibration::import::{self, Hints, Measured};
use crate::projection::calibration::{Fitted, MeasuredFit, TierValue, fit, fit_measured};
use crate::projection::validation::{PublishedRow, fabric::cases, summary};
use crate::record;
use crate::report::terminal::{fabric as tables, validation};
use crate::specs::{Chip, Fabric, Sourced};

/// Fit each fabric's few free parameters on the published rows that its file names, and show the residuals; fit one fabric's
/// tiers on a measured network; or make a fabric of the network that a fleet measured
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("measured").args(["nccl", "fleet"]))]
pub(super) struct Args {
    /// Fabrics by name or file [default: all with a [fit]]; with --nccl one, whose tiers the measured network has
    #[arg(value_name = "NAME|FILE")]
    fabrics: Vec<String>,
    /// Output of nccl-tests or rccl-tests (text, or JSON of `-J FILE`) or of OSU latency benchmarks, of one or several runs:
    /// fixed cost and reached bandwidth of the tiers that they cross are fitted
    #[arg(long, value_name = "FILE", num_args = 1..)]
    nccl: Vec<PathBuf>,
    /// A document of `supernode fleet`: its tiers are found from the times between pairs of ranks, and what collectives cost
    /// on them is fitted
    #[arg(long, value_name = "FLEET.json", conflicts_with = "fabrics")]
    fleet: Option<PathBuf>,
    /// Chips that the outermost tier of a fleet joins, as if there were more of what was measured [default: the ranks]
    #[arg(long, value_name = "N", requires = "fleet", value_parser = clap::value_parser!(u64).range(2..=10_000_000))]
    chips: Option<u64>,
    /// The collective of files that do not name it
    #[arg(long, value_enum, requires = "nccl")]
    op: Option<CollectiveFlag>,
    /// Ranks of files that do not say it (OSU)
    #[arg(long, value_name = "N", requires = "nccl", value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    ranks: Option<u32>,
    /// The chip whose links serve tiers without a bandwidth of their own
    #[arg(long, value_name = "NAME|FILE", default_value = "ascend-910c")]
    chip: String,
    /// Write the fabric with the fitted values, to be used as --fabric
    #[arg(short, long, value_name = "FILE.toml", requires = "measured")]
    output: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Fits and prints.
///
/// # Errors
/// [`Error::Input`] for what cannot be read or does not fit.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    if let Some(fleet) = &args.fleet {
        let output = args.output.as_deref();
        return fit_fleet::run(&FleetFitArgs { fleet, output, chips: args.chips, json: args.json });
    }
    if args.nccl.is_empty() { on_published(args) } else { on_measured(args) }
}

fn on_published(args: &Args) -> Result<(), Error> {
    let names: Vec<String> = if args.fabrics.is_empty() {
        let all = Fabric::builtin_names().into_iter().map(str::to_owned);
        all.filter(|name| Fabric::load(name).is_ok_and(|fabric| fabric.fit.is_some())).collect()
    } else {
        args.fabrics.clone()
    };
    let cases = cases();
    let mut fits = Vec::new();
    for name in &names {
        let fabric = Fabric::load(name)?;
        fits.push(fit(&fabric, &cases).map_err(|error| Error::Input(error.to_string()))?);
    }
    if args.json {
        let list: Vec<_> = fits.iter().map(fit_json).collect();
        return print_json(&list);
    }
    let mut out = String::new();
    for fitted in &fits {
        out.push_str(&fit_text(fitted));
    }
    print(&out)
}

fn fit_json(fitted: &Fitted) -> serde_json::Value {
    let parameters = fitted.parameters.iter().map(|parameter| {
        serde_json::json!({ "key": parameter.key, "in_file": parameter.in_file, "fitted": parameter.fitted })
    });
    serde_json::json!({
        "fabric": fitted.fabric.name,
        "parameters": parameters.collect::<Vec<_>>(),
        "fitted_on": fitted.on,
        "unseen": fitted.unseen,
        "fitted_on_summary": summary(&fitted.on),
        "unseen_summary": summary(&fitted.unseen),
    })
}

fn fit_text(fitted: &Fitted) -> String {
    let parameters: Vec<_> =
        fitted.parameters.iter().map(|parameter| (&*parameter.key, parameter.in_file, parameter.fitted)).collect();
    let rows: Vec<PublishedRow> = fitted.on.iter().chain(&fitted.unseen).cloned().collect();
    validation::fit(&fitted.fabric.name, &parameters, &rows)
}

/// A network of the user's own.
fn on_measured(args: &Args) -> Result<(), Error> {
    let [name] = args.fabrics.as_slice() else {
        let remedy =
            "name the one fabric whose tiers the network has, e.g. supernode fabric fit roce-cluster --nccl FILE";
        return Err(Error::Input(format!("--nccl: {remedy}")));
    };
    let fabric = Fabric::load(name)?;
    let scale_up = Chip::load(&args.chip)?.links.scale_up_bytes_per_s;
    let rows = read_all(args)?;
    let files: Vec<String> = args.nccl.iter().map(|path| file_name(path)).collect();
    let source = format!("`supernode fabric fit` on {} measured rows of {}", rows.len(), files.join(", "));
    let fitted = fit_measured(&fabric, &scale_up, &rows, &source)
        .map_err(|error| Error::Input(format!("{}: {error}", fabric.name)))?;
    if let Some(path) = &args.output {
        write(name, &fitted, &source, path)?;
    }
    if args.json {
        return print_json(&serde_json::json!({
            "fabric": fabric.name,
            "values": fitted.values,
            "rows": fitted.rows,
            "mean_absolute_error": tables::mean_error(&fitted.rows),
        }));
    }
    let mut text = tables::measured_fit(&fabric.name, &fitted);
    if let Some(path) = &args.output {
        let _ = writeln!(text, "\nwrote {}: use it as --fabric {0}", path.display());
    }
    print(&text)
}

fn read_all(args: &Args) -> Result<Vec<Measured>, Error> {
    let collective = match args.op.map(|op| (op, op.bulk())) {
        Some((op, None)) => {
            return Err(Error::Input(format!("--op {}: nccl-tests and OSU have none; give a collective", op.name())));
        }
        Some((_, collective)) => collective,
        None => None,
    };
    let hints = Hints { collective, ranks: args.ranks.map(|ranks| ranks as usize) };
    let mut rows = Vec::new();
    for path in &args.nccl {
        let fail = |reason: String| Error::Input(format!("--nccl {}: {reason}", path.display()));
        let bytes = read_at_most(path, import::MAX_BYTES as u64 + 1).map_err(|error| fail(error.to_string()))?;
        rows.extend(import::read(&bytes, hints).map_err(|error| fail(error.to_string()))?);
    }
    Ok(rows)
}

fn file_name(path: &Path) -> String {
    crate::printable::printable(&path.file_name().unwrap_or_default().to_string_lossy(), 80)
}

fn write(name: &str, fitted: &MeasuredFit, source: &str, path: &Path) -> Result<(), Error> {
    let mut fabric = fitted.fabric.clone();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let own_name = crate::printable::printable(&stem, 60);
    let found = fitted.values.iter().filter_map(|TierValue { tier, key, .. }| {
        let value = fabric.value_mut(&format!("{tier}.{key}"))?.clone();
        Some((tier.as_str(), *key, value))
    });
    let values: Vec<(&str, &str, Sourced)> = found.collect();
    let title = format!("{}; {source}", fabric.title);
    let text = Fabric::rewritten(name, &own_name, &title, &values)?;
    record::write_atomically(path, text.as_bytes()).map_err(|error| Error::Input(error.to_string()))
}
