//! Serving under a load as tables for a terminal.

use std::fmt::Write as _;

use crate::projection::serving::answer::RequestTimes;
use crate::projection::serving::deployment::{Deployment, ServingPoint};
use crate::projection::serving::{ServingAnswer, ServingLoad, ServingRequest};
use crate::projection::{ExpertWorker, Interval, MemoryUse};
use crate::report::numbers::{batch_text, four_digits, low_to_high, plan_text};
use crate::report::terminal::layout::{align_right, new_table};
use crate::report::terminal::projection::notes_of;
use crate::report::token_costs::{CostQuestion, lines};

/// One answer in full. `rate` is its throughput with the interval.
pub fn single(asked: &ServingRequest, answer: &ServingAnswer, rate: &Interval, costs: &CostQuestion) -> String {
    let mut text = format!("{}, type {}\n", title(asked), answer.number_type.name());
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<22}{value}");
    };
    line("load", load_text(asked, answer.load));
    line("tokens/s/chip", format!("{} ({})", four_digits(rate.median), low_to_high(rate)));
    for (name, value) in lines(&costs.over(rate), &costs.prices) {
        line(name, value);
    }
    line("tokens/s/user", four_digits(answer.tokens_per_s_per_user));
    line("requests/s", format!("{:.3} of {:.3} at most", answer.request_rate, answer.most_requests_per_s));
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
    let mut table = new_table(&["time", "mean", "p50", "p99", "mean in closed form"]);
    let closed = &answer.closed_form;
    for (name, times, closed) in [
        ("to the first token, ms", &answer.ttft_s, closed.ttft_s),
        ("per output token, ms", &answer.tpot_s, closed.tpot_s),
    ] {
        let RequestTimes { mean, p50, p99 } = times;
        let of = |seconds: f64| format!("{:.2}", seconds * 1e3);
        let closed = if asked.trace.is_empty() { of(closed) } else { "-".to_owned() };
        table.add_row([name.to_owned(), of(*mean), of(*p50), of(*p99), closed]);
    }
    align_right(&mut table, &[1, 2, 3, 4]);
    let _ = writeln!(text, "\n{}", table.trim_fmt());
    let _ = writeln!(text, "Simulated: {} requests, seed {}", answer.simulated_requests, answer.seed);
    let power = costs.power.iter().flat_map(|power| &power.sources);
    let sources: Vec<_> = answer.provenance.iter().chain(power).collect();
    text.push_str(&notes_of(&answer.caveats.iter().collect::<Vec<_>>(), &sources));
    text
}

fn memory_text(memory: &MemoryUse) -> String {
    let gb = |bytes: f64| format!("{:.1}", bytes / 1e9);
    let (weights, cache, buffers) = (gb(memory.weights), gb(memory.kv_cache), gb(memory.activations));
    let cache = if memory.kv_cache > 0.0 { format!(", KV cache {cache}") } else { String::new() };
    format!("{} of {} GB usable: weights {weights}{cache}, buffers {buffers}", gb(memory.used()), gb(memory.capacity))
}

/// Deployments that no other beats in both tokens per second of a user and of a chip.
pub fn front(asked: &ServingRequest, front: &[ServingPoint], costs: &CostQuestion) -> String {
    let mut text = format!("{}: {} deployments are beaten by no other in both\n", title(asked), front.len());
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

fn title(asked: &ServingRequest) -> String {
    let on = &asked.on;
    format!("{} serving on {} x {}, {}", on.model.name, on.chips, on.chip.name, on.fabric.name)
}

pub(super) fn load_text(asked: &ServingRequest, load: Option<ServingLoad>) -> String {
    let lengths = &asked.lengths;
    let each = format!("prompts of {:.0}, answers of {:.0} tokens", lengths.prompt, lengths.output);
    let cached = if lengths.cached > 0.0 { format!(", {:.0} % cached", lengths.cached * 100.0) } else { String::new() };
    let how = match load {
        _ if !asked.trace.is_empty() => format!("{} requests of a trace, means:", asked.trace.len()),
        Some(ServingLoad::Concurrency(clients)) => format!("{clients:.0} clients,"),
        Some(ServingLoad::RequestRate(rate)) => format!("{rate} requests/s,"),
        None => "every number of clients,".to_owned(),
    };
    let spread =
        if lengths.spread > 0.0 { format!(", which vary by {:.0} %", lengths.spread * 100.0) } else { String::new() };
    format!("{how} {each}{spread}{cached}")
}

fn limits_text(asked: &ServingRequest) -> String {
    let (ttft, tpot) = (asked.limits.ttft_s * 1e3, asked.limits.tpot_s * 1e3);
    let first = if ttft.is_finite() { format!("{ttft:.0} ms to the first token and ") } else { String::new() };
    format!("{first}{tpot:.0} ms a token")
}

/// The mode of a deployment.
pub(super) const fn mode_word(deployment: &Deployment) -> &'static str {
    match deployment {
        Deployment::Aggregated { .. } => "aggregated",
        Deployment::Disaggregated { .. } => "disaggregated",
        Deployment::AttentionFfn { .. } => "attention-ffn",
    }
}

pub(super) fn plans(deployment: &Deployment) -> Vec<(&'static str, String)> {
    match deployment {
        Deployment::Aggregated { plan } => vec![("plan", plan_text(plan))],
        Deployment::Disaggregated { prefill_workers, prefill, decode_workers, decode } => vec![
            ("prefill", format!("{prefill_workers} x {} chips, {}", prefill.chips, plan_text(prefill))),
            ("decode", format!("{decode_workers} x {} chips, {}", decode.chips, plan_text(decode))),
        ],
        Deployment::AttentionFfn { prefill_workers, prefill, decode_workers, attention, experts } => {
            let ExpertWorker { chips, ep, moe_tp, attention_workers } = experts;
            let split = if *moe_tp > 1 { format!(" tp{moe_tp}") } else { String::new() };
            let turns = if *attention_workers > 1 { format!(", {attention_workers} in turns") } else { String::new() };
            vec![
                ("prefill", format!("{prefill_workers} x {} chips, {}", prefill.chips, plan_text(prefill))),
                (
                    "attention",
                    format!(
                        "{decode_workers} x {} chips{turns}, tp{} dp{} m{} b{}",
                        attention.chips,
                        attention.tp,
                        attention.dp,
                        attention.microbatches,
                        batch_text(attention)
                    ),
                ),
                ("experts", format!("{decode_workers} x {chips} chips, ep{ep}{split}")),
            ]
        }
    }
}
