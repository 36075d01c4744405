//! Why one deployment serves faster than another: the ratio of two throughputs, and of two times per token, as products of
//! causes.
//!
//! Both deployments are the best for their question, in closed form. A step of decode alone takes what the chip, the
//! fabric and the plan make of its sequences. Prompts beside it, and sequences that come unevenly, stretch it:
//!
//! - time per token = step of decode alone x stretch
//! - tokens/s/chip = share of the chips that compute answers x sequences in decode per chip / time per token
//!
//! The second line is Little's law, so that nothing is left over. Between the ends lie hybrids, which have some of these
//! from the one deployment and the others from the other. A cause's factor is its Shapley value in logarithms, as in
//! [`explain`](super::explain).

use serde::Serialize;

use crate::projection::caveat::{ProjectionCaveat, add_new};
use crate::projection::machine::Machine;
use crate::projection::parallel_plan::{ExpertWorker, ParallelPlan};
use crate::projection::phases::{ServingStep, apart_step, serving_step};
use crate::projection::questions::hybrid_fabric::{FabricParts, mixed};
use crate::projection::questions::shapley::{ChangeOverOrders, PropertySet, owen, shapley};
use crate::projection::request::{Infeasible, Request};
use crate::projection::serving::answer::chosen;
use crate::projection::serving::deployment::{Deployment, ServingPoint, per_token};
use crate::projection::serving::{Lengths, ServingRefusal, ServingRequest};
use crate::specs::Scenario;

const CHIP: PropertySet = 1;
const BANDWIDTH: PropertySet = 2;
const LATENCY: PropertySet = 4;
const TIERS: PropertySet = 8;
const PLAN: PropertySet = 16;
const BATCH: PropertySet = 32;
const FRAMEWORK: PropertySet = 64;
const STRETCH: PropertySet = 128;
const SHARE: PropertySet = 256;
/// All of them.
#[cfg(test)]
const EVERY: PropertySet = 511;

/// The causes in the order in which they are shown.
pub const SERVING_CAUSES: [&str; 7] =
    ["kernels", "framework", "fabric", "plan", "batch", "prompts beside", "chips for answers"];
/// The properties that each of them changes.
const CHANGES: [PropertySet; 7] = [CHIP, FRAMEWORK, BANDWIDTH | LATENCY | TIERS, PLAN, BATCH, STRETCH, SHARE];
/// The cause that has parts, and these.
const FABRIC: usize = 2;
const FABRIC_PARTS: [(&str, PropertySet); 3] =
    [("bandwidth", BANDWIDTH), ("latency", LATENCY), ("tiers and ports", TIERS)];

/// A factor on a figure, over all orders in which the causes can take effect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FactorOverOrders {
    /// The geometric mean, which multiplies to the ratio.
    pub mean: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl From<ChangeOverOrders> for FactorOverOrders {
    fn from(log: ChangeOverOrders) -> Self {
        Self { mean: log.mean.exp(), least: log.least.exp(), most: log.most.exp() }
    }
}

/// What one cause gives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServingCause {
    /// One of [`SERVING_CAUSES`].
    pub cause: &'static str,
    /// What changes, in words.
    pub what: String,
    /// On tokens per second and chip.
    pub tokens_per_s_per_chip: FactorOverOrders,
    /// On the time per output token.
    pub tpot: FactorOverOrders,
    /// What the cause is made of, where it has parts.
    pub parts: Vec<ServingCausePart>,
}

/// A part of a cause. Parts multiply to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServingCausePart {
    /// Its name.
    pub name: &'static str,
    /// Its factor on tokens per second and chip.
    pub tokens_per_s_per_chip: f64,
    /// Its factor on the time per output token.
    pub tpot: f64,
}

/// A deployment, with what the causes are made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServingEnd {
    /// Chip name.
    pub chip: String,
    /// Fabric name.
    pub fabric: String,
    /// What it delivers, in closed form.
    pub point: ServingPoint,
    /// Sequences in decode per chip that computes answers.
    pub sequences_per_chip: f64,
    /// Seconds of a step of decode alone with as many.
    pub step_s: f64,
    /// Factor on it by prompts beside and by uneven arrivals.
    pub stretch: f64,
    /// Share of the chips that compute answers.
    pub answering_share: f64,
}

/// From the baseline to the other deployment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServingExplanation {
    /// `serving`.
    pub phase: &'static str,
    /// Model name.
    pub model: String,
    /// Lengths of a request.
    pub lengths: Lengths,
    /// What is compared with.
    pub baseline: ServingEnd,
    /// What is explained.
    pub on: ServingEnd,
    /// Its tokens per second and chip over those of the baseline.
    pub tokens_per_s_per_chip_ratio: f64,
    /// Its time per output token over that of the baseline.
    pub tpot_ratio: f64,
    /// The causes in the order of [`SERVING_CAUSES`].
    pub causes: Vec<ServingCause>,
    /// What the reader must keep in mind.
    pub caveats: Vec<ProjectionCaveat>,
}

/// No explanation without both ends.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("on {chip}, {fabric}: {reason}")]
pub struct NoServingEnd {
    /// Chip of the end that has no deployment.
    pub chip: String,
    /// Its fabric.
    pub fabric: String,
    /// Why.
    pub reason: ServingRefusal,
}

/// The plan of what computes answers, or their attention, and the experts where these lie elsewhere.
type AnsweringPlan<'a> = (&'a ParallelPlan, Option<&'a ExpertWorker>);

/// An end while it is taken apart.
struct End<'a> {
    request: &'a Request,
    lengths: &'a Lengths,
    plan: AnsweringPlan<'a>,
    /// Ranks of a chip.
    dies: f64,
    /// Sequences in decode per rank that computes answers.
    per_rank: f64,
    shown: ServingEnd,
}

impl<'a> End<'a> {
    fn new(asked: &'a ServingRequest, point: &'a ServingPoint) -> Result<Self, Infeasible> {
        let (request, lengths) = (&asked.on, &asked.lengths);
        let (plan, dies) = (point.deployment.answering(), request.chip.dies.value.max(1.0));
        let answering = answering_chips(&point.deployment);
        // Little's law: each sequence is in decode from its first token to its last.
        let decoding = point.request_rate * (lengths.output - 1.0) * point.tpot_s;
        let mut end = Self {
            request,
            lengths,
            plan,
            dies,
            per_rank: decoding / (answering * dies),
            shown: ServingEnd {
                chip: request.chip.name.clone(),
                fabric: request.fabric.name.clone(),
                point: *point,
                sequences_per_chip: decoding / answering,
                step_s: 0.0,
                stretch: 1.0,
                answering_share: answering / point.deployment.chips(),
            },
        };
        end.shown.step_s = step_s(request, plan, end.per_rank, dies, lengths)?;
        end.shown.stretch = point.tpot_s / per_token(request, lengths, end.shown.step_s);
        Ok(end)
    }
}

/// Explains the deployment of `asked` by that of `baseline`: another chip, fabric or mode under the same load.
///
/// # Errors
/// [`NoServingEnd`]: one of the two has no deployment.
pub fn explain_serving(asked: &ServingRequest, baseline: &ServingRequest) -> Result<ServingExplanation, NoServingEnd> {
    let fail = |asked: &ServingRequest, reason: ServingRefusal| NoServingEnd {
        chip: asked.on.chip.name.clone(),
        fabric: asked.on.fabric.name.clone(),
        reason,
    };
    let best = |asked: &ServingRequest| chosen(asked).map_err(|reason| fail(asked, reason));
    let ((on_point, on_caveats), (below_point, below_caveats)) = (best(asked)?, best(baseline)?);
    let failed = |reason: Infeasible| fail(asked, reason.into());
    let on = End::new(asked, &on_point).map_err(failed)?;
    let below = End::new(baseline, &below_point).map_err(failed)?;
    let hybrids = Hybrids::new(&on, &below).map_err(failed)?;
    let causes = (0..SERVING_CAUSES.len()).map(|cause| hybrids.cause(cause)).collect();
    let mut caveats = vec![ProjectionCaveat::Projected, ProjectionCaveat::ClosedForm, ProjectionCaveat::HybridFabrics];
    for more in [&on_caveats, &below_caveats, &asked.on.chip.caveats, &baseline.on.chip.caveats] {
        add_new(&mut caveats, more);
    }
    Ok(ServingExplanation {
        phase: "serving",
        model: asked.on.model.name.clone(),
        lengths: asked.lengths,
        tokens_per_s_per_chip_ratio: on_point.tokens_per_s_per_chip / below_point.tokens_per_s_per_chip,
        tpot_ratio: on_point.tpot_s / below_point.tpot_s,
        causes,
        caveats,
        baseline: below.shown,
        on: on.shown,
    })
}

/// Chips that compute answers.
fn answering_chips(deployment: &Deployment) -> f64 {
    match deployment {
        Deployment::Aggregated { plan } => f64::from(plan.chips),
        Deployment::Disaggregated { decode_workers, decode, .. } => {
            f64::from(*decode_workers) * f64::from(decode.chips)
        }
        Deployment::AttentionFfn { decode_workers, attention, experts, .. } => {
            f64::from(*decode_workers) * f64::from(attention.chips + experts.chips)
        }
    }
}

/// Seconds of a step of decode alone, with so many sequences per rank.
fn step_s(
    request: &Request,
    (plan, experts): AnsweringPlan<'_>,
    per_rank: f64,
    dies: f64,
    lengths: &Lengths,
) -> Result<f64, Infeasible> {
    let ranks = plan.tp * plan.cp * plan.pp * plan.dp;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "chips of a plan")]
    let chips = (f64::from(ranks) / dies).ceil() as u32;
    let plan = ParallelPlan { chips, ..*plan };
    let machine = Machine::new(request, Scenario::Nominal)?;
    // Ranks with experts alone hold no sequences.
    let all_ranks = f64::from(ranks) + experts.map_or(0.0, ExpertWorker::ranks);
    let per_attention_rank = per_rank * all_ranks / f64::from(ranks);
    // An engine that decodes has a sequence at least.
    let sequences = (per_attention_rank * f64::from(plan.tp)).max(1.0);
    let step = ServingStep { sequences, kv_len: lengths.in_decode(), prompts: None };
    Ok(match experts {
        Some(experts) => apart_step(request, &plan, experts, &machine, &step).terms.total().get(),
        None => serving_step(request, &plan, &machine, &step).get(),
    })
}

/// Steps of decode alone for each set of properties, and the two ends.
struct Hybrids<'a> {
    on: &'a End<'a>,
    below: &'a End<'a>,
    /// Seconds by set of the properties below [`STRETCH`].
    steps: Vec<f64>,
}

impl<'a> Hybrids<'a> {
    fn new(on: &'a End<'a>, below: &'a End<'a>) -> Result<Self, Infeasible> {
        let mut all = Self { on, below, steps: Vec::new() };
        all.steps = (0..STRETCH).map(|set| all.step(set)).collect::<Result<_, _>>()?;
        Ok(all)
    }

    /// The end that a set has a property from.
    fn of(&self, set: PropertySet, property: PropertySet) -> &End<'a> {
        if set & property != 0 { self.on } else { self.below }
    }

    /// The end whose plan a set has. Degrees count dies, so that chips with different numbers of them bring their plans.
    fn of_plan(&self, set: PropertySet) -> &End<'a> {
        self.of(set, if self.plans_are_of_chips() { CHIP } else { PLAN })
    }

    fn plans_are_of_chips(&self) -> bool {
        (self.on.dies - self.below.dies).abs() > f64::EPSILON
    }

    fn step(&self, set: PropertySet) -> Result<f64, Infeasible> {
        let has = |property| set & property != 0;
        let parts = FabricParts { bandwidth: has(BANDWIDTH), latency: has(LATENCY), tiers: has(TIERS) };
        let of_chip = self.of(set, CHIP);
        let fabric = mixed(&self.on.request.fabric, &self.below.request.fabric, self.on.request.chips, parts);
        let (plan, per_rank) = (self.of_plan(set).plan, self.of(set, BATCH).per_rank);
        let mut request = of_chip.request.on(fabric);
        request.chip = request.chip.served_as(&self.of(set, FRAMEWORK).request.chip);
        step_s(&request, plan, per_rank, of_chip.dies, of_chip.lengths)
    }

    /// Time per token but for what both ends have in common.
    fn time(&self, set: PropertySet) -> f64 {
        self.steps[usize::from(set & (STRETCH - 1))] * self.of(set, STRETCH).shown.stretch
    }

    /// Tokens per second and chip, likewise.
    fn rate(&self, set: PropertySet) -> f64 {
        let sequences = self.of(set, CHIP).dies * self.of(set, BATCH).per_rank;
        self.of(set, SHARE).shown.answering_share * sequences / self.time(set)
    }

    fn cause(&self, cause: usize) -> ServingCause {
        let (log_rate, log_time) = (|set| self.rate(set).ln(), |set| self.time(set).ln());
        let parts = FABRIC_PARTS.map(|(_, properties)| properties);
        let part = |number: usize| ServingCausePart {
            name: FABRIC_PARTS[number].0,
            tokens_per_s_per_chip: owen(&CHANGES, cause, (&parts, number), log_rate).exp(),
            tpot: owen(&CHANGES, cause, (&parts, number), log_time).exp(),
        };
        ServingCause {
            cause: SERVING_CAUSES[cause],
            what: self.what(CHANGES[cause]),
            tokens_per_s_per_chip: shapley(&CHANGES, cause, log_rate).into(),
            tpot: shapley(&CHANGES, cause, log_time).into(),
            parts: if cause == FABRIC { (0..parts.len()).map(part).collect() } else { Vec::new() },
        }
    }

    /// What the framework changes of a step of decode; what it changes of prompts is in the stretch.
    fn framework_words(&self) -> String {
        let of = |end: &End<'_>| {
            let chip = &end.request.chip;
            (chip.served_with().unwrap_or("no framework").to_owned(), chip.step.value * 1e3)
        };
        let ((below, before), (on, after)) = (of(self.below), of(self.on));
        if below == on {
            return format!("it is the same: {on}");
        }
        format!("{below} becomes {on}, with {before:.2} ms of a step of decode that become {after:.2} ms")
    }

    /// What a cause changes, in words.
    fn what(&self, changed: PropertySet) -> String {
        let (below, on) = (&self.below.shown, &self.on.shown);
        let plan = |end: &End<'_>| {
            let ParallelPlan { tp, pp, ep, dp, .. } = end.plan.0;
            format!("tp{tp} pp{pp} ep{ep} dp{dp}")
        };
        let plans = format!("{} becomes {}", plan(self.below), plan(self.on));
        match changed {
            CHIP if self.plans_are_of_chips() => {
                format!("{} becomes {}, and its plan {plans}: they have different numbers of dies", below.chip, on.chip)
            }
            CHIP => format!("{} becomes {}", below.chip, on.chip),
            FRAMEWORK => self.framework_words(),
            PLAN if self.plans_are_of_chips() => "it changes with the chip".to_owned(),
            PLAN => format!("for answers, {plans}"),
            BATCH => format!(
                "{:.2} sequences in decode per chip for answers become {:.2}",
                below.sequences_per_chip, on.sequences_per_chip
            ),
            STRETCH => format!(
                "prompts and uneven arrivals stretch the steps of answers x {:.3}, then x {:.3}",
                below.stretch, on.stretch
            ),
            SHARE => format!(
                "{:.1} % of the chips compute answers, then {:.1} %",
                below.answering_share * 100.0,
                on.answering_share * 100.0
            ),
            _ => format!("{} becomes {}", below.fabric, on.fabric),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_change_every_property_once() {
        assert_eq!(CHANGES.into_iter().fold(0, |all, change| all | change), EVERY);
        assert_eq!(CHANGES.into_iter().map(PropertySet::count_ones).sum::<u32>(), EVERY.count_ones());
        assert_eq!(FABRIC_PARTS.into_iter().fold(0, |all, (_, part)| all | part), CHANGES[FABRIC]);
    }

    #[test]
    fn the_stretch_is_what_prompts_add_and_the_share_that_of_workers_for_answers() {
        use crate::projection::parallel_plan::Phase;
        use crate::projection::serving::{ServiceLimits, ServingLoad, ServingMode, WorkerPins};
        use crate::projection::{ChipModel, Pins};
        use crate::specs::{Chip, Fabric, Model};

        let lengths = Lengths { prompt: 2000.0, output: 256.0, cached: 0.0, spread: 0.0 };
        let chip = ChipModel::from_spec(&Chip::load("h200").unwrap());
        let (model, fabric) = (Model::load("llama-3.1-70b").unwrap(), Fabric::load("hgx-400g").unwrap());
        let mut on = Request::new(model, chip, fabric, 8, Phase::Decode);
        on.workload.kv_len = lengths.in_decode();
        on.pins = Pins { pp: Some(1), ..Pins::default() };
        let aggregated = ServingRequest {
            on,
            load: Some(ServingLoad::Concurrency(32.0)),
            lengths,
            trace: Vec::new(),
            caches_repeats: false,
            limits: ServiceLimits::NONE,
            limits_bind: false,
            chunk: 8192.0,
            mode: ServingMode::Aggregated,
        };
        let pins = WorkerPins { workers: Some(1), tp: Some(4), dp: Some(1), ep: None };
        let apart =
            ServingRequest { mode: ServingMode::Disaggregated { prefill: pins, decode: pins }, ..aggregated.clone() };
        let told = explain_serving(&apart, &aggregated).unwrap();
        assert!(told.baseline.stretch > 1.05 && told.baseline.answering_share == 1.0, "{:?}", told.baseline);
        assert!((told.on.stretch - 1.0).abs() < 0.01 && told.on.answering_share == 0.5, "{:?}", told.on);
        let factor = |cause: &str| told.causes.iter().find(|one| one.cause == cause).unwrap();
        assert!((factor("prompts beside").tpot.mean * told.baseline.stretch / told.on.stretch - 1.0).abs() < 1e-9);
        assert!((factor("chips for answers").tokens_per_s_per_chip.mean - 0.5).abs() < 1e-9);
        assert!((factor("chips for answers").tpot.mean - 1.0).abs() < 1e-9);
        assert!((factor("kernels").tokens_per_s_per_chip.mean - 1.0).abs() < 1e-9);
    }
}
