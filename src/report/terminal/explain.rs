//! Why one fabric is faster than another, as a table and as bars of characters.

use std::fmt::Write as _;

use comfy_table::Table;

use crate::projection::Request;
use crate::projection::explain::{CauseStep, Explanation};
use crate::report::numbers::{four_digits, plan_text};
use crate::report::terminal::layout::{align_right, new_table};
use crate::report::text::distinct;
use crate::report::words;

/// Characters of the longest bar.
const BAR_WIDTH: f64 = 60.0;

/// The answer in full: each cause with its factor, a picture, what changes, and caveats.
pub fn text(request: &Request, explanation: &Explanation) -> String {
    let Explanation { baseline, on, ratio, .. } = explanation;
    let (phase, chips) = (words::phase(request.phase), request.chips);
    let mut text = format!(
        "{} {phase} on {chips} x {}: {} is {:.2} times {}{} ({:.2}..{:.2})\n\n",
        on.model,
        on.chip,
        on.fabric,
        ratio.median,
        baseline.fabric,
        if baseline.chip == on.chip { String::new() } else { format!(" of {}", baseline.chip) },
        ratio.low,
        ratio.high
    );
    let _ = writeln!(text, "{}\n", table(explanation).trim_fmt());
    text.push_str(&picture(explanation));
    text.push_str("\nWhat changes\n");
    for step in &explanation.steps {
        let _ = writeln!(text, "  {}: {}", step.cause, step.what);
    }
    text.push_str("\nKeep in mind\n");
    for caveat in distinct(explanation.caveats.iter().chain(&on.caveats).chain(&baseline.caveats)) {
        let _ = writeln!(text, "  - {caveat}");
    }
    text
}

fn table(explanation: &Explanation) -> Table {
    let Explanation { baseline, on, ratio, steps, .. } = explanation;
    let mut table = new_table(&["cause", "factor", "over orders", "tok/s/chip", "over orders", "plan"]);
    let start = baseline.tokens_per_s_per_chip.median;
    let row = |name: &str, rate_text: String, plan: String| {
        [name.to_owned(), String::new(), String::new(), rate_text, String::new(), plan]
    };
    table.add_row(row(&baseline.fabric, four_digits(start), plan_text(&baseline.plan)));
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
    let mut last = row(&on.fabric, four_digits(on.tokens_per_s_per_chip.median), plan_text(&on.plan));
    last[1] = format!("x {:.3}", ratio.median);
    table.add_row(last);
    align_right(&mut table, &[1, 2, 3, 4]);
    table
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { '-' } else { '+' };
    format!("{sign}{}", four_digits(value.abs()))
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
