//! Why one deployment serves faster than another, as a table.

use std::fmt::Write as _;

use crate::projection::explain_serving::{FactorOverOrders, ServingEnd, ServingExplanation};
use crate::projection::serving::ServingRequest;
use crate::report::numbers::four_digits;
use crate::report::served::{load_text, mode_word, plans};
use crate::report::terminal::layout::{align_right, new_table};
use crate::report::text::distinct;

/// The answer in full: each cause with its factors, what changes, and caveats.
pub fn text(asked: &ServingRequest, told: &ServingExplanation) -> String {
    let ServingExplanation { baseline, on, .. } = told;
    let [from, to] = names(told);
    let mut text = format!(
        "{} serving on {} chips: {to} gives {:.2} times the tokens/s/chip of {from}\n",
        told.model, asked.on.chips, told.tokens_per_s_per_chip_ratio
    );
    let _ = writeln!(text, "  load       {}", load_text(asked, asked.load));
    for (name, end) in [("baseline", baseline), ("deployment", on)] {
        let plans: Vec<String> =
            plans(&end.point.deployment).into_iter().map(|(kind, plan)| format!("{kind} {plan}")).collect();
        let _ = writeln!(text, "  {name:<10} {} at once; {}", four_digits(end.point.concurrency), plans.join("; "));
    }
    let _ = writeln!(text, "\n{}", table(told));
    text.push_str("\nWhat changes\n");
    for cause in &told.causes {
        let _ = writeln!(text, "  {}: {}", cause.cause, cause.what);
    }
    text.push_str("\nKeep in mind\n");
    for caveat in distinct(&told.caveats) {
        let _ = writeln!(text, "  - {caveat}");
    }
    text
}

/// What the ends are called: the mode only where it differs.
fn names(told: &ServingExplanation) -> [String; 2] {
    let modes = [&told.baseline, &told.on].map(|end| mode_word(&end.point.deployment));
    let mode = |at: usize| if modes[0] == modes[1] { String::new() } else { format!(", {}", modes[at]) };
    let name = |end: &ServingEnd, at: usize| format!("{} on {}{}", end.chip, end.fabric, mode(at));
    [name(&told.baseline, 0), name(&told.on, 1)]
}

fn table(told: &ServingExplanation) -> String {
    let [from, to] = names(told);
    let mut table = new_table(&["cause", "tokens/s/chip", "over orders", "time per token", "over orders"]);
    let end = |name: &str, end: &ServingEnd, ratios: [f64; 2]| {
        let of = |figure: String, ratio: f64| if ratio == 1.0 { figure } else { format!("x {ratio:.3} = {figure}") };
        let [rate, time] = ratios;
        [
            name.to_owned(),
            of(four_digits(end.point.tokens_per_s_per_chip), rate),
            String::new(),
            of(format!("{:.2} ms", end.point.tpot_s * 1e3), time),
            String::new(),
        ]
    };
    table.add_row(end(&from, &told.baseline, [1.0, 1.0]));
    for cause in &told.causes {
        let spread = |factor: &FactorOverOrders| format!("{:.2}..{:.2}", factor.least, factor.most);
        let (rate, time) = (&cause.tokens_per_s_per_chip, &cause.tpot);
        let (of_rate, of_time) = (format!("x {:.3}", rate.mean), format!("x {:.3}", time.mean));
        table.add_row([cause.cause.to_owned(), of_rate, spread(rate), of_time, spread(time)]);
        for part in &cause.parts {
            let (of_rate, of_time) = (format!("x {:.3}", part.tokens_per_s_per_chip), format!("x {:.3}", part.tpot));
            table.add_row([format!("  {}", part.name), of_rate, String::new(), of_time, String::new()]);
        }
    }
    table.add_row(end(&to, &told.on, [told.tokens_per_s_per_chip_ratio, told.tpot_ratio]));
    align_right(&mut table, &[1, 2, 3, 4]);
    table.trim_fmt()
}
