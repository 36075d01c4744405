//! `supernode explain`: from the conventional cluster to the bus, cause by cause.

use crate::cli::error::Error;
use crate::cli::output::{print, to_json};
use crate::cli::question::QuestionArgs;
use crate::projection::ChipModel;
use crate::projection::explain_chips::explain_with_chips;
use crate::report::terminal::explain::text;
use crate::report::words;
use crate::specs::{Chip, Model};

const DEFAULT_MODEL: &str = "deepseek-v3";

const EXAMPLES: &str = "\
Examples:
  supernode explain --model deepseek-v3 --phase decode
  supernode explain --model qwen3-235b-a22b --fabric cloudmatrix384-announced --baseline roce-cluster
  supernode explain --model llama-3.1-405b --phase training --baseline-chip ascend-910b
  supernode explain --record mine.json --phase decode --json

A factor is the mean over all orders in which the causes can take effect (Shapley), so the factors multiply to the
ratio and the steps add up to the difference, whatever the order. The range shows how much the order matters.
A model that is left out is deepseek-v3; a phase that is left out is all three.";

/// Explain why a fabric is faster than another: bandwidth, latency, topology, overlap, and the chip where it differs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    question: QuestionArgs,
    /// The chip on the fabric that is compared with: a name or the path of a TOML file [default: the same]
    #[arg(long, value_name = "NAME|FILE")]
    baseline_chip: Option<String>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Prints one explanation per phase.
///
/// # Errors
/// [`Error::Input`] for what cannot be read; [`Error::Negative`] where one of the two fabrics has no plan.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let question = &args.question;
    let chip = question.chip_model()?;
    let (fabric, baseline) = question.fabrics()?;
    let named = args.baseline_chip.as_deref().map(Chip::load).transpose()?;
    let baseline_chip = named.map_or_else(|| chip.clone(), |named| ChipModel::from_spec(&named));
    let model = Model::load(question.model.as_deref().unwrap_or(DEFAULT_MODEL))?;
    let phases = question.step_phases()?;
    let mut explanations = Vec::new();
    for phase in phases {
        let request = question.request(model.clone(), chip.clone(), fabric.clone(), phase)?;
        let explanation = explain_with_chips(&request, &baseline, &baseline_chip)
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
