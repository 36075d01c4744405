//! Serving that is shown: a question with its answer, intervals and costs, for tables, JSON and the page.

use serde::Serialize;

use crate::projection::serving::answer::{RequestTimes, chosen};
use crate::projection::serving::band::{ServingIntervals, around, intervals};
use crate::projection::serving::deployment::{Deployment, ServingPoint};
use crate::projection::serving::watch::SimulationWatch;
use crate::projection::serving::{self, ServingAnswer, ServingLoad, ServingRefusal, ServingRequest};
use crate::projection::{CostSource, ExpertWorker, MemoryUse, Prices, SystemPower, TokenCosts};
use crate::report::numbers::{batch_text, grouped_digits, low_to_high_grouped, percent, plan_text};
use crate::report::projected::INTERVALS;
use crate::report::shown::{ShownAnswer, ShownFigure};
use crate::report::token_costs::{self, CostQuestion, priced_text};
use crate::report::words;
use crate::units::Seconds;

/// One question about serving with its answer.
#[derive(Debug)]
pub struct ServedRow {
    /// What was asked.
    pub asked: ServingRequest,
    /// The answer.
    pub answer: ServingAnswer,
    /// The intervals of its means.
    pub intervals: ServingIntervals,
    /// What is asked of energy and cost.
    pub costs: CostQuestion,
}

/// The JSON of one question: the fields of the answer, its intervals, and what its tokens draw and cost.
#[derive(Debug, Serialize)]
pub struct ServedJson<'a> {
    #[serde(flatten)]
    answer: &'a ServingAnswer,
    #[serde(flatten)]
    intervals: &'a ServingIntervals,
    #[serde(flatten)]
    costs: TokenCosts,
}

impl ServedRow {
    /// Asks a question. `watch` hears what happens in the simulation of the deployment.
    ///
    /// # Errors
    /// [`ServingRefusal`]: no plan, too much load, or limits that no deployment keeps.
    pub fn ask(
        asked: ServingRequest,
        prices: Prices,
        watch: &mut impl SimulationWatch,
    ) -> Result<Self, ServingRefusal> {
        let answer = serving::watched(&asked, watch)?;
        let intervals = around(&asked, &answer);
        let costs = CostQuestion { prices, power: SystemPower::of(&asked.on.chip, &asked.on.fabric) };
        Ok(Self { asked, answer, intervals, costs })
    }

    /// What `--json` prints.
    pub fn json(&self) -> ServedJson<'_> {
        ServedJson { answer: &self.answer, intervals: &self.intervals, costs: self.token_costs() }
    }

    /// What its tokens draw and cost.
    pub fn token_costs(&self) -> TokenCosts {
        self.costs.over(&self.intervals.tokens_per_s_per_chip)
    }

    /// Sources of the inputs, those of the power last.
    pub(super) fn sources(&self) -> impl Iterator<Item = &CostSource> {
        self.answer.provenance.iter().chain(self.costs.sources())
    }

    /// The answer in words.
    pub fn words(&self) -> ShownAnswer {
        let Self { asked, answer, intervals, .. } = self;
        let rate = &intervals.tokens_per_s_per_chip;
        let of_time = |times: &RequestTimes| {
            let [p50, p99] = [times.p50, times.p99].map(Seconds::new);
            (Seconds::new(times.mean).to_string(), format!("mean; p50 {p50}, p99 {p99}"))
        };
        let ((ttft, of_ttft), (tpot, of_tpot)) = (of_time(&answer.ttft_s), of_time(&answer.tpot_s));
        let used = percent(answer.request_rate / answer.most_requests_per_s);
        let goodput = grouped_digits(answer.goodput.tokens_per_s_per_chip);
        let kept = format!("{} keep {}", percent(answer.goodput.share), limits_text(asked));
        let capacity = format!("of {} at most: {used}", grouped_digits(answer.most_requests_per_s));
        let mut figures = vec![
            ShownFigure::new("rate", "tokens/s per chip", grouped_digits(rate.median), low_to_high_grouped(rate)),
            ShownFigure::new("user", "tokens/s per user", grouped_digits(answer.tokens_per_s_per_user), String::new()),
            ShownFigure::new("ttft", "time to first token", ttft, of_ttft),
            ShownFigure::new("queueing", "of it queueing", waiting(answer).to_string(), waiting_text(answer)),
            ShownFigure::new("tpot", "time per output token", tpot, of_tpot),
            ShownFigure::new("goodput", "goodput, tokens/s per chip", goodput, kept),
            ShownFigure::new("requests", "requests/s", grouped_digits(answer.request_rate), capacity),
        ];
        figures.extend(token_costs::figures(&self.token_costs(), &self.costs.prices));
        let (load, plans) = (load_text(asked, answer.load), deployment_text(&answer.deployment));
        let priced = priced_text(&self.costs.prices);
        ShownAnswer { figures, text: format!("{INTERVALS} Load: {load}. {plans}.{priced}") }
    }
}

/// The best deployment at the load that was asked for, or at its own, in closed form and in words: throughput, power, energy
/// and cost.
///
/// # Errors
/// [`ServingRefusal`]: no plan, too much load, or limits that no deployment keeps.
pub fn service_words(asked: &ServingRequest, prices: Prices) -> Result<ShownAnswer, ServingRefusal> {
    let (point, _) = chosen(asked)?;
    let rate = intervals(asked, &point).tokens_per_s_per_chip;
    let costs = CostQuestion { prices, power: SystemPower::of(&asked.on.chip, &asked.on.fabric) };
    let drawn = costs.over(&rate);
    let power = drawn.power_w_per_chip.map(|watts| {
        ShownFigure::new("power", "W per chip", grouped_digits(watts.median), low_to_high_grouped(&watts))
    });
    let user = format!("{} per user", grouped_digits(point.tokens_per_s_per_user));
    let of_rate = format!("{}; {user}", low_to_high_grouped(&rate));
    let mut figures = vec![ShownFigure::new("rate", "tokens/s per chip", grouped_digits(rate.median), of_rate)];
    figures.extend(power);
    figures.extend(token_costs::figures(&drawn, &prices));
    Ok(ShownAnswer { figures, text: deployment_text(&point.deployment) })
}

/// What runs where, in one line.
fn deployment_text(deployment: &Deployment) -> String {
    let plans = plans(deployment).into_iter().map(|(name, plan)| format!("{}: {plan}", words::capitalised(name)));
    plans.collect::<Vec<_>>().join(". ")
}

/// What the mean time to the first token is above that of a request alone.
pub(super) fn waiting(answer: &ServingAnswer) -> Seconds {
    Seconds::new((answer.ttft_s.mean - answer.ttft_alone_s).max(0.0))
}

/// What it is above.
pub(super) fn waiting_text(answer: &ServingAnswer) -> String {
    format!("beside {} of a request alone", Seconds::new(answer.ttft_alone_s))
}

/// Model, chips and fabric in one line.
pub fn served_title(asked: &ServingRequest) -> String {
    let on = &asked.on;
    format!("{} serving on {} x {}, {}", on.model.name, on.chips, on.chip.name, on.fabric.name)
}

/// A point of a front in words.
pub fn point_text(point: &ServingPoint) -> String {
    let plans: Vec<String> =
        plans(&point.deployment).into_iter().map(|(name, plan)| format!("{name} {plan}")).collect();
    let [rate, user] = [point.tokens_per_s_per_chip, point.tokens_per_s_per_user].map(grouped_digits);
    let [ttft, tpot] = [point.ttft_s, point.tpot_s].map(Seconds::new);
    let of = format!("{rate} tokens/s per chip, {user} per user\n{ttft} to the first token, {tpot} per token");
    format!("{of}\n{} requests at once\n{}", grouped_digits(point.concurrency), plans.join("\n"))
}

/// The load and the lengths of its requests.
pub(super) fn load_text(asked: &ServingRequest, load: Option<ServingLoad>) -> String {
    let lengths = &asked.lengths;
    let each = format!("prompts of {:.0}, answers of {:.0} tokens", lengths.prompt, lengths.output);
    let cached = if lengths.cached > 0.0 { format!(", {:.0} % cached", lengths.cached * 100.0) } else { String::new() };
    let how = match load {
        _ if !asked.trace.is_empty() => format!("{} requests of a trace, means:", asked.trace.len()),
        Some(ServingLoad::Concurrency(clients)) => format!("{clients:.0} clients,"),
        Some(ServingLoad::RequestRate(rate)) => format!("{} requests/s,", (rate * 1e3).round() / 1e3),
        None => "every number of clients,".to_owned(),
    };
    let spread =
        if lengths.spread > 0.0 { format!(", which vary by {:.0} %", lengths.spread * 100.0) } else { String::new() };
    format!("{how} {each}{spread}{cached}")
}

/// The limits that goodput counts.
pub(super) fn limits_text(asked: &ServingRequest) -> String {
    let (ttft, tpot) = (asked.limits.ttft_s * 1e3, asked.limits.tpot_s * 1e3);
    let first = if ttft.is_finite() { format!("{ttft:.0} ms to the first token and ") } else { String::new() };
    format!("{first}{tpot:.0} ms a token")
}

/// Memory of a chip.
pub(super) fn memory_text(memory: &MemoryUse) -> String {
    let gb = |bytes: f64| format!("{:.1}", bytes / 1e9);
    let (weights, cache, buffers) = (gb(memory.weights), gb(memory.kv_cache), gb(memory.activations));
    let cache = if memory.kv_cache > 0.0 { format!(", KV cache {cache}") } else { String::new() };
    format!("{} of {} GB usable: weights {weights}{cache}, buffers {buffers}", gb(memory.used()), gb(memory.capacity))
}

/// The mode of a deployment.
pub(super) const fn mode_word(deployment: &Deployment) -> &'static str {
    match deployment {
        Deployment::Aggregated { .. } => "aggregated",
        Deployment::Disaggregated { .. } => "disaggregated",
        Deployment::AttentionFfn { .. } => "attention-ffn",
    }
}

/// What runs where, a name and a plan each.
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
