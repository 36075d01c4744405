//! `supernode fabric`: the network model on its own.

mod bench;
mod options;
mod show;

use clap::{Args, Subcommand};

use super::{Error, print};
use crate::projection::fabric::fit::{Fitted, fit};
use crate::projection::validation::{Row, fabric::cases, summary};
use crate::report::validation;
use crate::specs::{Fabric, SpecError};

const EXAMPLES: &str = "\
Examples:
  supernode fabric show                                       the fabrics that come with the program
  supernode fabric show cloudmatrix384                        one fabric with the source of each value
  supernode fabric check mine.toml                            whether a file of your own is right
  supernode fabric bench --fabric cloudmatrix384 --op dispatch --ep 8,16,32,64,128,256
  supernode fabric bench --fabric cloudmatrix384 --op combine --ep 256 --load power:0.8 --fault plane=3
  supernode fabric bench --fabric cloudmatrix384 --compare h800-ib,roce-cluster --op dispatch --ep 32,256
  supernode fabric bench --fabric nvl72 --op all-reduce --ep 8,72 --bytes 64e6 --json
  supernode fabric fit                                        fit the free parameters again, with residuals";

/// The network: show, check, run collectives on it, fit it on published figures
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FabricArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::ShowArgs),
    Check(show::CheckArgs),
    Bench(Box<bench::BenchArgs>),
    Fit(FitArgs),
}

/// Fit each fabric's few free parameters on the published rows that its file names, and show the residuals.
#[derive(Debug, Args)]
struct FitArgs {
    /// Fabrics by name or file [default: all with a [fit]]
    #[arg(value_name = "NAME|FILE")]
    fabrics: Vec<String>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Runs `supernode fabric`.
///
/// # Errors
/// [`Error::Input`] for what cannot be read or does not fit; [`Error::Negative`] where faults cut ranks off.
pub(super) fn run(args: &FabricArgs) -> Result<(), Error> {
    match &args.command {
        Command::Show(args) => show::show(args),
        Command::Check(args) => show::check(args),
        Command::Bench(args) => bench::run(args),
        Command::Fit(args) => run_fit(args),
    }
}

fn input(error: SpecError) -> Error {
    Error::Input(error.to_string())
}

fn run_fit(args: &FitArgs) -> Result<(), Error> {
    let names: Vec<String> = if args.fabrics.is_empty() {
        let all = Fabric::builtin_names().into_iter().map(str::to_owned);
        all.filter(|name| Fabric::load(name).is_ok_and(|fabric| fabric.fit.is_some())).collect()
    } else {
        args.fabrics.clone()
    };
    let cases = cases();
    let mut fits = Vec::new();
    for name in &names {
        let fabric = Fabric::load(name).map_err(input)?;
        fits.push(fit(&fabric, &cases).map_err(|error| Error::Input(error.to_string()))?);
    }
    if args.json {
        let list: Vec<_> = fits.iter().map(fit_json).collect();
        return super::print_json(&list);
    }
    let mut out = String::new();
    for fitted in &fits {
        out.push_str(&fit_text(fitted));
    }
    print(&out)
}

fn fit_json(fitted: &Fitted) -> serde_json::Value {
    let parameters = fitted.parameters.iter().map(|parameter| {
        serde_json::json!({ "key": parameter.key, "in_file": parameter.stands, "fitted": parameter.fitted })
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
        fitted.parameters.iter().map(|parameter| (&*parameter.key, parameter.stands, parameter.fitted)).collect();
    let rows: Vec<Row> = fitted.on.iter().chain(&fitted.unseen).cloned().collect();
    validation::fit(&fitted.fabric.name, &parameters, &rows)
}
