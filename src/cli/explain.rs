//! `supernode explain`: from the conventional cluster to the bus, cause by cause.

use std::fmt::Write as _;

use super::project::show::{align_right, new_table, phase_name, plan_text, rate, to_json};
use super::project::{self, ProjectArgs, chip_model, input};
use super::{Error, print};
use crate::projection::explain::{CauseStep, Explanation, explain};
use crate::projection::{Phase, ProjectionCaveat, Request};
use crate::specs::{Fabric, Model};

const DEFAULT_MODEL: &str = "deepseek-v3";
const PHASES: [Phase; 3] = [Phase::Prefill, Phase::Decode, Phase::Training];
/// Characters of the longest bar.
const BAR_WIDTH: f64 = 60.0;

const EXAMPLES: &str = "\
Examples:
  supernode explain --model deepseek-v3 --phase decode
  supernode explain --model qwen3-235b-a22b --fabric cloudmatrix384-announced --baseline roce-cluster
  supernode explain --record mine.json --phase decode --json

A factor is the mean over all orders in which the causes can take effect (Shapley), so the factors multiply to the
ratio and the steps add up to the difference, whatever the order. The range shows how much the order matters.
A model that is left out is deepseek-v3; a phase that is left out is all three.";

/// Explain why a fabric is faster than another: bandwidth, latency, topology, overlap
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    asked: ProjectArgs,
}

/// Prints one explanation a phase.
///
/// # Errors
/// [`Error::Input`] for what cannot be read; [`Error::Negative`] where one of the two fabrics has no plan.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let asked = &args.asked;
    let chip = chip_model(asked)?;
    let fabric = Fabric::load(&asked.fabric).map_err(input)?;
    let baseline = Fabric::load(&asked.baseline).map_err(input)?;
    let model = Model::load(asked.model.as_deref().unwrap_or(DEFAULT_MODEL)).map_err(input)?;
    let phases = asked.phase.map_or_else(|| PHASES.to_vec(), |phase| vec![phase.into()]);
    let mut explanations = Vec::new();
    for phase in phases {
        let request = project::request(asked, model.clone(), chip.clone(), fabric.clone(), phase)?;
        let explanation = explain(&request, &baseline)
            .map_err(|none| Error::Negative(format!("{} {} {none}", model.name, phase_name(phase))))?;
        explanations.push((request, explanation));
    }
    let text = match explanations.as_slice() {
        [(_, one)] if asked.json => to_json(one)?,
        all if asked.json => to_json(&all.iter().map(|(_, one)| one).collect::<Vec<_>>())?,
        all => all.iter().map(|(request, one)| text(request, one)).collect::<Vec<_>>().join("\n"),
    };
    print(&text)
}

fn text(request: &Request, explanation: &Explanation) -> String {
    let Explanation { baseline, on, ratio, .. } = explanation;
    let (phase, chips) = (phase_name(request.phase), request.chips);
    let mut text = format!(
        "{} {phase} on {chips} x {}: {} is {:.2} times {} ({:.2}..{:.2})\n\n",
        on.model, on.chip, on.fabric, ratio.median, baseline.fabric, ratio.low, ratio.high
    );
    let _ = writeln!(text, "{}\n", table(explanation).trim_fmt());
    text.push_str(&picture(explanation));
    text.push_str("\nWhat changes\n");
    for step in &explanation.steps {
        let _ = writeln!(text, "  {}: {}", step.cause, step.what);
    }
    text.push_str("\nKeep in mind\n");
    let mut caveats: Vec<&ProjectionCaveat> = Vec::new();
    for caveat in explanation.caveats.iter().chain(&on.caveats).chain(&baseline.caveats) {
        if !caveats.contains(&caveat) {
            caveats.push(caveat);
        }
    }
    for caveat in caveats {
        let _ = writeln!(text, "  - {caveat}");
    }
    text
}

fn table(explanation: &Explanation) -> comfy_table::Table {
    let Explanation { baseline, on, ratio, steps, .. } = explanation;
    let mut table = new_table(&["cause", "factor", "over orders", "tok/s/chip", "over orders", "plan"]);
    let start = baseline.tokens_per_s_per_chip.median;
    let row = |name: &str, rate_text: String, plan: String| {
        [name.to_owned(), String::new(), String::new(), rate_text, String::new(), plan]
    };
    table.add_row(row(&baseline.fabric, rate(start), plan_text(&baseline.plan)));
    for step in steps {
        let [least, most] = step.factor_over_orders;
        let [smallest, largest] = step.tokens_per_s_per_chip_over_orders;
        table.add_row([
            step.cause.clone(),
            format!("x {:.3}", step.factor.median),
            format!("{least:.2}..{most:.2}"),
            signed(step.tokens_per_s_per_chip),
            format!("{}..{}", signed(smallest), signed(largest)),
            String::new(),
        ]);
        for part in &step.parts {
            let cells = [
                format!("  {}", part.name),
                format!("x {:.3}", part.factor),
                String::new(),
                signed(part.tokens_per_s_per_chip),
                String::new(),
                String::new(),
            ];
            table.add_row(cells);
        }
    }
    let mut last = row(&on.fabric, rate(on.tokens_per_s_per_chip.median), plan_text(&on.plan));
    last[1] = format!("x {:.3}", ratio.median);
    table.add_row(last);
    align_right(&mut table, &[1, 2, 3, 4]);
    table
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { '-' } else { '+' };
    format!("{sign}{}", rate(value.abs()))
}

/// The steps as bars of plain characters: each begins where the one before it ends.
fn picture(explanation: &Explanation) -> String {
    let Explanation { baseline, on, steps, .. } = explanation;
    let (start, end) = (baseline.tokens_per_s_per_chip.median, on.tokens_per_s_per_chip.median);
    let mut most = start.max(end);
    let mut level = start;
    for CauseStep { tokens_per_s_per_chip, .. } in steps {
        level += tokens_per_s_per_chip;
        most = most.max(level);
    }
    let at = |level: f64| column(level / most);
    let names = steps.iter().map(|step| step.cause.len()).chain([baseline.fabric.len(), on.fabric.len()]);
    let width = names.max().unwrap_or(0);
    let mut text = String::new();
    let _ = writeln!(text, "{:width$} |{}", baseline.fabric, "#".repeat(at(start)));
    let mut level = start;
    for step in steps {
        let next = level + step.tokens_per_s_per_chip;
        let (from, to) = (at(level.min(next)), at(level.max(next)));
        let mark = if next < level { "-" } else { "+" };
        let bar = if to == from { ".".to_owned() } else { mark.repeat(to - from) };
        let _ = writeln!(text, "{:width$} |{}{bar}", step.cause, " ".repeat(from));
        level = next;
    }
    let _ = writeln!(text, "{:width$} |{}", on.fabric, "#".repeat(at(end)));
    text
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a bar of 60 characters")]
fn column(share: f64) -> usize {
    (share.clamp(0.0, 1.0) * BAR_WIDTH).round() as usize
}
