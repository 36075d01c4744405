//! `supernode explain`: from the conventional cluster to the bus, cause by cause.

use crate::cli::error::Error;
use crate::cli::output::{print, to_json};
use crate::cli::question::{PhaseFlag, QuestionArgs, serve_with};
use crate::cli::serving::{ModeFlag, ServingArgs};
use crate::projection::ChipModel;
use crate::projection::explain_serving::explain_serving;
use crate::projection::explain_slowest::explain_with_slowest_rank;
use crate::projection::serving::ServingRequest;
use crate::report::terminal::explain::text;
use crate::report::terminal::explain_serving as tables;
use crate::report::words;
use crate::specs::{Chip, Model};

const DEFAULT_MODEL: &str = "deepseek-v3";

const EXAMPLES: &str = "\
Examples:
  supernode explain --model deepseek-v3 --phase decode
  supernode explain --model qwen3-235b-a22b --fabric cloudmatrix384-announced --baseline roce-cluster
  supernode explain --model llama-3.1-405b --phase training --baseline-chip ascend-910b
  supernode explain --record mine.json --phase decode --json
  supernode explain --model deepseek-v3 --phase serving --concurrency 4096 --prompt-len 4000 --output-len 1000
  supernode explain --model llama-3.1-70b --phase serving --concurrency 64 --prompt-len 4000 --output-len 500 --chips 8 \
    --chip b200 --fabric hgx-400g --baseline-chip h200 --baseline hgx-400g
  supernode explain --model llama-3.1-70b --phase serving --concurrency 64 --prompt-len 4000 --output-len 500 --chips 8 \
    --chip h200 --fabric hgx-400g --baseline hgx-400g --framework vllm --baseline-framework none

A factor is the mean over all orders in which the causes can take effect (Shapley), so the factors multiply to the
ratio and the steps add up to the difference, whatever the order. The range shows how much the order matters.
In serving, the baseline is another fabric, chip (--baseline-chip), mode (--baseline-mode) or framework (--baseline-framework)
under the same load, and the causes are kernels, framework, fabric, plan, batch, prompts beside the answers, and chips for
answers.
A model that is left out is deepseek-v3; a phase that is left out is all three but serving.";

/// Explain why a fabric is faster than another: bandwidth, latency, topology, overlap, and the chip where it differs; or a
/// deployment that serves
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    question: QuestionArgs,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    serving: ServingArgs,
    /// The chip on the fabric that is compared with: a name or the path of a TOML file [default: the same]
    #[arg(long, value_name = "NAME|FILE")]
    baseline_chip: Option<String>,
    /// The mode to compare with, its workers searched [default: the same mode]
    #[arg(long, value_enum, value_name = "MODE")]
    baseline_mode: Option<ModeFlag>,
    /// The framework to compare with in serving: vllm, sglang, trtllm, the path of a TOML file, or none [default: the same]
    #[arg(long, value_name = "NAME|FILE")]
    baseline_framework: Option<String>,
}

/// Prints one explanation per phase.
///
/// # Errors
/// [`Error::Input`] for what cannot be read; [`Error::Negative`] where one of the two fabrics has no plan.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let question = &args.question;
    if question.phase == Some(PhaseFlag::Serving) {
        return serve(args);
    }
    let of_baseline = args.baseline_mode.map(|_| "--baseline-mode");
    let of_baseline = of_baseline.or(args.baseline_framework.as_ref().map(|_| "--baseline-framework"));
    if let Some(flag) = args.serving.given().or(of_baseline) {
        return Err(Error::Input(format!("{flag} is a question about serving: add --phase serving, or leave it out")));
    }
    let chip = question.chip_model()?;
    let (fabric, baseline) = question.fabrics()?;
    let named = args.baseline_chip.as_deref().map(Chip::load).transpose()?;
    let mut baseline_chip = named.as_ref().map_or_else(|| chip.clone(), ChipModel::from_spec);
    if named.is_some() {
        question.serve_on(&mut baseline_chip)?;
        question.spread_devices(&mut baseline_chip);
    }
    let model = Model::load(question.model.as_deref().unwrap_or(DEFAULT_MODEL))?;
    let phases = question.step_phases();
    let mut explanations = Vec::new();
    for phase in phases {
        let request = question.request(model.clone(), chip.clone(), fabric.clone(), phase)?;
        let explanation = explain_with_slowest_rank(&request, &baseline, &baseline_chip)
            .map_err(|none| Error::Negative(format!("{} {} {none}", model.name, words::phase(phase))))?;
        explanations.push((request, explanation));
    }
    let text = match explanations.as_slice() {
        [(_, one)] if args.json => to_json(one)?,
        all if args.json => to_json(&all.iter().map(|(_, one)| one).collect::<Vec<_>>())?,
        all => all.iter().map(|(request, one)| text(request, one)).collect::<Vec<_>>().join("\n"),
    };
    print(&text)
}

/// Explains a deployment under a load by that of the baseline.
fn serve(args: &Args) -> Result<(), Error> {
    let question = &args.question;
    if question.batch_per_chip.is_some() {
        return Err(Error::Input(
            "the batch follows from the load: give --concurrency instead of --batch-per-chip".to_owned(),
        ));
    }
    let asked = args.serving.request(question, false)?;
    if !asked.trace.is_empty() {
        return Err(Error::Input(
            "a trace is served request by request, in no closed form: give --concurrency or --request-rate to explain"
                .to_owned(),
        ));
    }
    let mut baseline = ServingRequest { on: asked.on.on(question.fabrics()?.1), ..asked.clone() };
    if args.baseline_chip.is_some() || args.baseline_framework.is_some() {
        baseline.on.chip = match &args.baseline_chip {
            Some(name) => ChipModel::from_spec(&Chip::load(name)?),
            None => question.bare_chip()?,
        };
        question.spread_devices(&mut baseline.on.chip);
        match &args.baseline_framework {
            Some(framework) => serve_with(&mut baseline.on.chip, framework)?,
            None => question.serve_on(&mut baseline.on.chip)?,
        }
    }
    if let Some(mode) = args.baseline_mode {
        baseline.mode = mode.searched();
    }
    let told = explain_serving(&asked, &baseline)
        .map_err(|none| Error::Negative(format!("{} serving {none}", asked.on.model.name)))?;
    print(&if args.json { to_json(&told)? } else { tables::text(&asked, &told) })
}
