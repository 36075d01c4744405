//! Serving under a load as tables for a terminal.

use std::fmt::Write as _;

use comfy_table::Table;

use crate::projection::serving::ServingRequest;
use crate::projection::serving::answer::RequestTimes;
use crate::projection::serving::deployment::ServingPoint;
use crate::report::numbers::{four_digits, low_to_high, types_text};
use crate::report::served::{
    ServedRow, limits_text, load_text, memory_text, plans, served_title, waiting, waiting_text,
};
use crate::report::terminal::layout::{align_right, new_table};
use crate::report::terminal::projection::notes_of;
use crate::report::token_costs::{CostQuestion, lines};

/// One answer in full.
pub fn single(served: &ServedRow) -> String {
    let ServedRow { asked, answer, intervals, costs } = served;
    let rate = &intervals.tokens_per_s_per_chip;
    let mut text = format!("{}, {}\n", served_title(asked), types_text(answer.number_type, answer.cache_type));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<22}{value}");
    };
    line("load", load_text(asked, answer.load));
    line("tokens/s/chip", format!("{} ({})", four_digits(rate.median), low_to_high(rate)));
    for (name, value) in lines(&served.token_costs(), &costs.prices) {
        line(name, value);
    }
    line("tokens/s/user", four_digits(answer.tokens_per_s_per_user));
    line("requests/s", format!("{:.3} of {:.3} at most", answer.request_rate, answer.most_requests_per_s));
    line("queueing", format!("{} before the first token, {}", waiting(answer), waiting_text(answer)));
    let goodput = &answer.goodput;
    line(
        "goodput",
        format!(
            "{} tokens/s/chip: {:.1} % of the requests keep {}",
            four_digits(goodput.tokens_per_s_per_chip),
            goodput.share * 100.0,
            limits_text(asked)
        ),
    );
    for (name, plan) in plans(&answer.deployment) {
        line(name, plan);
    }
    line("prompt tokens a step", format!("{:.0} at most", answer.chunk_tokens));
    if let Some(apart) = &answer.apart {
        let (attention, experts) = (apart.attention_busy * 100.0, apart.experts_busy * 100.0);
        line("busy in a step", format!("attention {attention:.0} %, experts {experts:.0} %"));
        line("memory per chip", format!("attention: {}", memory_text(&answer.memory_bytes_per_chip)));
        line("", format!("experts: {}", memory_text(&apart.memory_bytes_per_expert_chip)));
    } else {
        line("memory per chip", memory_text(&answer.memory_bytes_per_chip));
    }
    let _ = writeln!(text, "\n{}", times(served).trim_fmt());
    let _ = writeln!(text, "Simulated: {} requests, seed {}", answer.simulated_requests, answer.seed);
    let sources: Vec<_> = served.sources().collect();
    text.push_str(&notes_of(&answer.caveats.iter().collect::<Vec<_>>(), &sources));
    text
}

/// Both times over the requests, and the interval of their means over the uncertain inputs.
fn times(served: &ServedRow) -> Table {
    let ServedRow { asked, answer, intervals, .. } = served;
    let mut table = new_table(&["time", "mean", "low..high", "p50", "p99", "mean in closed form"]);
    let closed = &answer.closed_form;
    for (name, times, interval, closed) in [
        ("to the first token, ms", &answer.ttft_s, &intervals.ttft_s, closed.ttft_s),
        ("per output token, ms", &answer.tpot_s, &intervals.tpot_s, closed.tpot_s),
    ] {
        let RequestTimes { mean, p50, p99 } = times;
        let of = |seconds: f64| format!("{:.2}", seconds * 1e3);
        let band = format!("{}..{}", of(interval.low), of(interval.high));
        let closed = if asked.trace.is_empty() { of(closed) } else { "-".to_owned() };
        table.add_row([name.to_owned(), of(*mean), band, of(*p50), of(*p99), closed]);
    }
    align_right(&mut table, &[1, 2, 3, 4, 5]);
    table
}

/// Deployments that no other beats in both tokens per second of a user and of a chip.
pub fn front(asked: &ServingRequest, front: &[ServingPoint], costs: &CostQuestion) -> String {
    let mut text = format!("{}: {} deployments are beaten by no other in both\n", served_title(asked), front.len());
    let _ = writeln!(text, "  load                  {}", load_text(asked, asked.load));
    let mut header = vec!["tokens/s/user", "tokens/s/chip", "TTFT ms", "TPOT ms", "at once", "requests/s"];
    header.extend(costs.heads());
    let figures = header.len();
    header.push("deployment");
    let mut table = new_table(&header);
    for point in front {
        let deployment: Vec<String> = plans(&point.deployment).into_iter().map(|(_, plan)| plan).collect();
        let mut cells = vec![
            four_digits(point.tokens_per_s_per_user),
            four_digits(point.tokens_per_s_per_chip),
            format!("{:.1}", point.ttft_s * 1e3),
            format!("{:.2}", point.tpot_s * 1e3),
            format!("{:.0}", point.concurrency),
            format!("{:.2}", point.request_rate),
        ];
        cells.extend(costs.cells(&costs.at(point.tokens_per_s_per_chip)));
        cells.push(deployment.join("\n"));
        table.add_row(cells);
    }
    align_right(&mut table, &(0..figures).collect::<Vec<_>>());
    let _ = writeln!(text, "{}", table.trim_fmt());
    text
}
