//! `supernode project`: what a chip would deliver on a fabric.

use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::output::{print, to_json};
use crate::cli::prices::PriceArgs;
use crate::cli::progress::Progress;
use crate::cli::question::{PhaseFlag, QuestionArgs};
use crate::cli::serving::{self, ServingArgs};
use crate::projection::fabric::exchange::ExchangeError;
use crate::projection::fabric::faults::FabricFault;
use crate::projection::model_table::TABLE_MODELS;
use crate::projection::on_network::{self, NetworkAnswer, OnNetworkError};
use crate::projection::{self, Comparison, Prices, Request, SystemPower};
use crate::record;
use crate::report::terminal::projection as tables;
use crate::report::{CostQuestion, ProjectedRow};
use crate::specs::{Model, SpecError};

const EXAMPLES: &str = "\
Examples:
  supernode project --model deepseek-v3 --phase decode --chip h800 --fabric h800-ib --chips 320
  supernode project --model deepseek-v3 --phase serving --concurrency 4096 --prompt-len 4000 --output-len 1000
  supernode project --model deepseek-v3 --phase serving --request-rate 20 --prompt-len 4000 --output-len 1000 --ttft-limit-ms 5000
  supernode project --model deepseek-v3 --phase serving --prompt-len 4000 --output-len 1000 --mode disaggregated --search
  supernode project --model deepseek-v3 --phase serving --prompt-len 3000 --output-len 1000 --mode attention-ffn --attention-workers 3 --ffn-ep 288
  supernode project --model deepseek-v3 --phase serving --requests trace.jsonl --prefix-cache trace
  supernode project --model deepseek-v3 --phase decode --price-per-chip-hour 2 --price-per-kwh 0.08";

/// Project tokens per second and chip of a model on a fabric, with the parts of the step and what binds it.
///
/// Without --model and --phase: three models in three phases. What is left out of the plan is searched.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    question: QuestionArgs,
    /// List the Pareto front of plans (latency against throughput) instead of the best plan under the limit
    #[arg(long, requires_all = ["model", "phase"])]
    search: bool,
    /// Write the schedule of a few layers as a trace for Perfetto or chrome://tracing; of serving, the steps of its engines and
    /// requests in them (20,000 spans and counts at most)
    #[arg(long, value_name = "OUT.json", requires_all = ["model", "phase"], conflicts_with = "search")]
    trace: Option<PathBuf>,
    /// Evaluate the plan once more with dispatch and combine over the network's ports and links instead of closed forms
    #[arg(long, requires_all = ["model", "phase"], conflicts_with = "search")]
    flows: bool,
    /// Something broken or slow in the fabric, e.g. plane=3, switch=0.6, link=12.3@0.5 (may be repeated; implies --flows):
    /// the plan stays, its dispatch and combine find other ways
    #[arg(long, value_name = "FAULT", requires_all = ["model", "phase"], conflicts_with = "search")]
    fault: Vec<FabricFault>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    prices: PriceArgs,
    #[command(flatten)]
    serving: ServingArgs,
}

/// Runs `supernode project`.
///
/// # Errors
/// [`Error::Input`] for what cannot be read or does not go together; [`Error::Negative`] if the one plan that was asked
/// for does not exist.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let question = &args.question;
    if question.phase == Some(PhaseFlag::Serving) {
        return serve(args);
    }
    if let Some(flag) = args.serving.given() {
        return Err(Error::Input(format!("{flag} is a question about serving: add --phase serving, or leave it out")));
    }
    let chip = question.chip_model()?;
    let (fabric, baseline) = question.fabrics()?;
    let models: Vec<Model> = match &question.model {
        Some(model) => vec![Model::load(model)?],
        None => TABLE_MODELS.iter().map(|name| Model::load(name)).collect::<Result<_, SpecError>>()?,
    };
    let phases = question.step_phases();
    let single = models.len() == 1 && phases.len() == 1;
    if let ([model], [phase]) = (models.as_slice(), phases.as_slice())
        && args.search
    {
        return search(&question.request(model.clone(), chip, fabric, *phase)?, args.prices.prices(), args.json);
    }
    let mut rows = Vec::new();
    for model in &models {
        for phase in phases.iter().copied() {
            let request = question.request(model.clone(), chip.clone(), fabric.clone(), phase)?;
            rows.push(ProjectedRow::ask(request, &baseline).priced(args.prices.prices()));
        }
    }
    match rows.as_slice() {
        [row] if single => {
            if let Some(path) = &args.trace {
                write_trace(row, path)?;
            }
            let flows = (args.flows || !args.fault.is_empty()).then(|| by_flows(row, &args.fault)).transpose()?;
            print_single(row, flows.as_ref(), args.json)
        }
        rows => print_table(rows, args.json),
    }
}

/// A deployment under a load. What shows one step has nothing to show of it.
fn serve(args: &Args) -> Result<(), Error> {
    let steps = [
        (args.flows, "--flows"),
        (!args.fault.is_empty(), "--fault"),
        (args.question.batch_per_chip.is_some(), "--batch-per-chip"),
    ];
    match steps.into_iter().find(|(given, _)| *given) {
        Some((_, "--batch-per-chip")) => Err(Error::Input(
            "the batch follows from the load: give --concurrency instead of --batch-per-chip".to_owned(),
        )),
        Some((_, flag)) => {
            Err(Error::Input(format!("{flag} is a question about one step: give --phase prefill or decode")))
        }
        None => {
            let prices = args.prices.prices();
            serving::run(&args.serving, &args.question, args.search, args.trace.as_deref(), prices, args.json)
        }
    }
}

/// All plans, and the front of latency against throughput.
fn search(request: &Request, prices: Prices, json: bool) -> Result<(), Error> {
    let progress = Progress::counting("plans");
    let found = projection::search(request, &|plans| progress.steps(plans as u64));
    progress.finish();
    let found = found.map_err(|reason| Error::Negative(format!("{}: {reason}", request.model.name)))?;
    let costs = CostQuestion { prices, power: SystemPower::of(&request.chip, &request.fabric) };
    print(&if json { to_json(&costs.beside_search(&found))? } else { tables::front(request, &found, &costs) })
}

fn write_trace(row: &ProjectedRow, path: &Path) -> Result<(), Error> {
    let on = row.comparison.on.as_ref().map_err(|reason| Error::Negative(format!("{}: {reason}", row.title())))?;
    let trace = projection::trace_of(&row.request, &on.plan).map_err(|reason| Error::Negative(reason.to_string()))?;
    record::write_atomically(path, to_json(&trace)?.as_bytes())
        .map_err(|error| Error::Input(format!("{}: {error}", path.display())))
}

/// The plan of a row on the ports and links of the network.
fn by_flows(row: &ProjectedRow, faults: &[FabricFault]) -> Result<NetworkAnswer, Error> {
    let negative = |reason: String| Error::Negative(format!("{}: {reason}", row.title()));
    let on = row.comparison.on.as_ref().map_err(|reason| negative(reason.to_string()))?;
    on_network::evaluate(&row.request, &on.plan, faults).map_err(|error| match error {
        OnNetworkError::NoExchange { .. } => Error::Input(error.to_string()),
        // Numbers that the fabric does not have are a slip; ranks that are cut off are an answer.
        OnNetworkError::Exchange(ExchangeError::Network(_)) => Error::Input(format!("--fault: {error}")),
        other => negative(other.to_string()),
    })
}

fn print_single(row: &ProjectedRow, flows: Option<&NetworkAnswer>, json: bool) -> Result<(), Error> {
    let Comparison { on, .. } = &row.comparison;
    let projection = on.as_ref().map_err(|reason| Error::Negative(format!("{}: {reason}", row.title())))?;
    let text = if json { to_json(&row.json_with(flows))? } else { tables::single(row, projection, flows) };
    print(&text)
}

fn print_table(rows: &[ProjectedRow], json: bool) -> Result<(), Error> {
    let list: Vec<_> = rows.iter().map(ProjectedRow::json).collect();
    let text = if json { to_json(&list)? } else { tables::table(rows) };
    print(&text)
}
