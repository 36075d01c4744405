//! Why one fabric is faster than another: the ratio of two throughputs as a product of causes.
//!
//! Between the baseline and the fabric stand hybrids that have some of the fabric's properties and not the others. Each
//! cause's factor is its Shapley value in log throughput: the mean, over all orders in which the properties can change
//! hands, of what the change gives at its turn. Factors therefore multiply to the ratio whatever the order, and the
//! spread over the orders says how far a cause depends on the others (Shapley, 1953). The steps in tokens per second
//! are the same mean of differences, and add up to the difference. The two parts of the topology share its value as
//! Owen's does: the two orders inside it count the same (Owen, 1977).

use rayon::prelude::*;
use serde::Serialize;

use super::sweep::paired_ratio;
use super::{Infeasible, Interval, Phase, Plan, Projection, Request, Workload, project, with_plan};
use crate::specs::{Fabric, Tier};

/// The causes in the order in which they are shown.
pub const CAUSES: [&str; 4] = ["bandwidth", "latency", "topology", "overlap"];

const BANDWIDTH: usize = 1;
const LATENCY: usize = 2;
const TIERS: usize = 4;
const PLANS: usize = 8;
const OVERLAP: usize = 16;
const ALL: usize = 31;
/// The bits that each cause changes.
const BITS: [usize; 4] = [BANDWIDTH, LATENCY, TIERS | PLANS, OVERLAP];

/// No explanation without both ends.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("on {fabric}: {reason}")]
pub struct NoEnd {
    /// The fabric that has no plan.
    pub fabric: String,
    /// Why.
    pub reason: Infeasible,
}

/// What one cause gives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// One of [`CAUSES`].
    pub cause: String,
    /// What changes, in words.
    pub what: String,
    /// Mean factor on the throughput; low and high with all inputs at an end of their bands.
    pub factor: Interval,
    /// Least and greatest factor over the orders.
    pub factor_over_orders: [f64; 2],
    /// Mean difference of tokens per second and chip.
    pub tokens_per_s_per_chip: f64,
    /// Least and greatest difference over the orders.
    pub tokens_per_s_per_chip_over_orders: [f64; 2],
    /// What the cause is made of, where it has parts.
    pub parts: Vec<Part>,
}

/// A part of a cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its share of the cause's factor; shares multiply to it.
    pub factor: f64,
    /// Its share of the difference; shares add up to it.
    pub tokens_per_s_per_chip: f64,
}

/// Throughput with some properties of the fabric and the others of the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hybrid {
    /// Properties of the fabric.
    pub has: Vec<String>,
    /// Its throughput.
    pub tokens_per_s_per_chip: Interval,
    /// Its plan.
    pub plan: Plan,
}

/// From the baseline to the fabric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// At its best plan.
    pub baseline: Projection,
    /// At its best plan.
    pub on: Projection,
    /// Throughput of the fabric over that of the baseline, paired at the ends of the bands.
    pub ratio: Interval,
    /// What a second micro-batch gives, to hide communication behind: on the baseline, on the fabric.
    pub overlap_gain: [f64; 2],
    /// The causes in the order of [`CAUSES`].
    pub steps: Vec<Step>,
    /// Everything the steps are computed from.
    pub hybrids: Vec<Hybrid>,
    /// What the reader must keep in mind beside the projections' own caveats.
    pub caveats: Vec<String>,
}

/// Explains the request's throughput over that on `baseline`.
///
/// # Errors
/// [`NoEnd`]: one of the two fabrics has no plan.
pub fn explain(request: &Request, baseline: &Fabric) -> Result<Explanation, NoEnd> {
    let below_request = Request { fabric: baseline.clone(), ..request.clone() };
    let end =
        |request: &Request| project(request).map_err(|reason| NoEnd { fabric: request.fabric.name.clone(), reason });
    let (below, on) = rayon::join(|| end(&below_request), || end(request));
    let (below, on) = (below?, on?);
    let (corners, overlap_gain) = corners(request, baseline, &below)?;
    let rates: Vec<Interval> = corners.iter().map(|(rate, _)| *rate).collect();
    let ratio = paired_ratio(&on.tokens_per_s_per_chip, &below.tokens_per_s_per_chip);
    let mut steps: Vec<Step> =
        (0..CAUSES.len()).map(|cause| step(cause, &rates, request, baseline, &below, &on)).collect();
    if let Some(overlap) = steps.last_mut() {
        let [before, after] = overlap_gain;
        let hiding = if request.phase == Phase::Training {
            "hiding communication behind another micro-batch, and gradients behind the last backward pass,"
        } else {
            "a second micro-batch to hide communication behind"
        };
        overlap.what = format!("{hiding} gives x {before:.3}, then x {after:.3}");
    }
    let hybrids = corners.iter().enumerate().map(|(bits, (rate, plan))| hybrid(bits, *rate, *plan)).collect();
    Ok(Explanation { caveats: caveats(request, &below), baseline: below, on, ratio, overlap_gain, steps, hybrids })
}

/// Rate and plan of each set of properties.
type Corners = Vec<(Interval, Plan)>;

/// The corners, and what overlap gives at both ends.
fn corners(request: &Request, baseline: &Fabric, below: &Projection) -> Result<(Corners, [f64; 2]), NoEnd> {
    // A limit that binds would leave some hybrids without a plan.
    let workload = Workload { tpot_limit_binds: false, ..request.workload };
    let request = Request { workload, ..request.clone() };
    let evaluate = |bits: usize| {
        let mut asked = Request { fabric: mixed(&request.fabric, baseline, request.chips, bits), ..request.clone() };
        if bits & PLANS == 0 {
            asked = with_plan(&asked, &below.plan);
        }
        let answer = project(&asked).map_err(|reason| NoEnd { fabric: asked.fabric.name.clone(), reason })?;
        let gain = overlap_gain(&asked, &answer);
        Ok((answer.tokens_per_s_per_chip, answer.plan, gain))
    };
    let corners = (0..OVERLAP).into_par_iter().map(evaluate).collect::<Result<Vec<_>, NoEnd>>()?;
    let (before, after) = (corners[0].2, corners[ALL & !OVERLAP].2);
    // Without the fabric's overlap a hybrid gains from overlap what the baseline gains from it.
    let without = corners.iter().map(|(rate, plan, gain)| {
        let factor = before / gain;
        (Interval { median: rate.median * factor, low: rate.low * factor, high: rate.high * factor }, *plan)
    });
    let with = corners.iter().map(|(rate, plan, _)| (*rate, *plan));
    Ok((without.chain(with).collect(), [before, after]))
}

/// What a second micro-batch gives, behind whose compute the communication of the first hides: throughput of the plan over
/// that of the same plan in one piece; 1 where the plan does not interleave or stages need the pieces anyway. In training
/// the plan keeps its pieces, and its schedule hides nothing.
fn overlap_gain(request: &Request, answer: &Projection) -> f64 {
    let plan = &answer.plan;
    let without = if request.phase == Phase::Training {
        let workload = Workload { overlap: false, ..request.workload };
        with_plan(&Request { workload, ..request.clone() }, plan)
    } else if plan.pp > 1 || plan.microbatches <= 1 {
        return 1.0;
    } else {
        with_plan(request, &Plan { microbatches: 1, ..*plan })
    };
    let rate = |projection: &Projection| projection.tokens_per_s_per_chip.median;
    // A batch whose activations fit in two pieces only leaves nothing to compare with.
    project(&without).map_or(1.0, |other| rate(answer) / rate(&other))
}

/// The fabric with the properties in `bits`, the rest from the baseline. A tier takes values from the other fabric's tier
/// that joins as many chips, of those in use.
fn mixed(fabric: &Fabric, baseline: &Fabric, chips: u32, bits: usize) -> Fabric {
    let of = |bit: usize| if bits & bit == 0 { baseline } else { fabric };
    let mut mix = of(TIERS).clone();
    mix.name = format!("{} with properties {bits} of {}", baseline.name, fabric.name);
    mix.dispatch_copy_s.clone_from(&of(LATENCY).dispatch_copy_s);
    for tier in &mut mix.tiers {
        if let Some(source) = same_reach(of(BANDWIDTH), tier.chips, chips) {
            tier.bandwidth_bytes_per_s.clone_from(&source.bandwidth_bytes_per_s);
            tier.link_efficiency = source.link_efficiency.clone();
            tier.all_to_all_efficiency.clone_from(&source.all_to_all_efficiency);
        }
        if let Some(source) = same_reach(of(LATENCY), tier.chips, chips) {
            tier.latency_s = source.latency_s.clone();
            tier.latency_is = source.latency_is;
            tier.hops = source.hops;
            tier.message_overhead_s = source.message_overhead_s.clone();
            tier.collective_fixed_s = source.collective_fixed_s.clone();
            tier.all_to_all_fixed_s = source.all_to_all_fixed_s.clone();
        }
    }
    mix
}

/// The innermost tier that joins `reach` chips, or as many of them as are in use.
fn same_reach(fabric: &Fabric, reach: u64, chips: u32) -> Option<&Tier> {
    fabric.tier_joining(reach.min(u64::from(chips)))
}

/// The weight of each set of the other causes in a Shapley mean of four: `|S|! (3 - |S|)! / 4!`.
const WEIGHTS: [f64; 4] = [6.0 / 24.0, 2.0 / 24.0, 2.0 / 24.0, 6.0 / 24.0];

/// All sets of causes without this one: their bits, and their weight.
fn others(cause: usize) -> impl Iterator<Item = (usize, f64)> {
    (0..16usize).filter(move |set| set & (1 << cause) == 0).map(|set| {
        let members: Vec<usize> = (0..BITS.len()).filter(|member| set & (1 << member) != 0).collect();
        let weight = WEIGHTS.get(members.len()).copied().unwrap_or(0.0);
        (members.into_iter().map(|member| BITS[member]).sum(), weight)
    })
}

/// Mean, least and greatest change of `value` when `bits` are added to each set of the other causes.
fn shapley(cause: usize, value: impl Fn(usize) -> f64) -> (f64, [f64; 2]) {
    let mut mean = 0.0;
    let mut spread = [f64::INFINITY, f64::NEG_INFINITY];
    for (set, weight) in others(cause) {
        let change = value(set | BITS[cause]) - value(set);
        mean += weight * change;
        spread = [spread[0].min(change), spread[1].max(change)];
    }
    (mean, spread)
}

/// Mean change by the first part of a cause: once before the other part, once after it.
fn part(cause: usize, first: usize, second: usize, value: impl Fn(usize) -> f64) -> f64 {
    let change = |set: usize| {
        let before = value(set | first) - value(set);
        let after = value(set | first | second) - value(set | second);
        f64::midpoint(before, after)
    };
    others(cause).map(|(set, weight)| weight * change(set)).sum()
}

fn step(
    cause: usize,
    rates: &[Interval],
    request: &Request,
    baseline: &Fabric,
    below: &Projection,
    on: &Projection,
) -> Step {
    let (log, log_spread) = shapley(cause, |set| rates[set].median.ln());
    let (difference, difference_spread) = shapley(cause, |set| rates[set].median);
    let (low, _) = shapley(cause, |set| rates[set].low.ln());
    let (high, _) = shapley(cause, |set| rates[set].high.ln());
    let parts = if BITS[cause] == TIERS | PLANS {
        [("tiers and ports", TIERS, PLANS), ("plans", PLANS, TIERS)]
            .map(|(name, first, second)| Part {
                name: name.to_owned(),
                factor: part(cause, first, second, |set| rates[set].median.ln()).exp(),
                tokens_per_s_per_chip: part(cause, first, second, |set| rates[set].median),
            })
            .into()
    } else {
        Vec::new()
    };
    Step {
        cause: CAUSES[cause].to_owned(),
        what: what(cause, request, baseline, below, on),
        factor: Interval { median: log.exp(), low: log.min(low).min(high).exp(), high: log.max(low).max(high).exp() },
        factor_over_orders: log_spread.map(f64::exp),
        tokens_per_s_per_chip: difference,
        tokens_per_s_per_chip_over_orders: difference_spread,
        parts,
    }
}

/// What a cause changes, from the tier that joins the chips in use.
fn what(cause: usize, request: &Request, baseline: &Fabric, below: &Projection, on: &Projection) -> String {
    let chips = u64::from(request.chips);
    let tiers = same_reach(baseline, chips, request.chips).zip(same_reach(&request.fabric, chips, request.chips));
    let Some((before, after)) = tiers else { return String::new() };
    match BITS[cause] {
        BANDWIDTH => {
            let reached = |tier: &Tier| {
                let bandwidth = tier.bandwidth_bytes_per_s.as_ref().unwrap_or(&request.chip.scale_up).value;
                format!("{:.0} of {:.0} GB/s", bandwidth * tier.link_efficiency.value / 1e9, bandwidth / 1e9)
            };
            format!("{} a chip and direction become {}", reached(before), reached(after))
        }
        LATENCY => {
            let times = |tier: &Tier| {
                let hops = if tier.latency_is == crate::specs::LatencyIs::Hop { tier.hops as f64 } else { 1.0 };
                format!(
                    "{:.2} us from chip to chip, {:.2} us a message, {:.0} us an all-to-all",
                    hops * tier.latency_s.value * 1e6,
                    tier.message_overhead_s.value * 1e6,
                    tier.all_to_all_fixed_s.value * 1e6
                )
            };
            format!("{} become {}", times(before), times(after))
        }
        OVERLAP => String::new(),
        _ => {
            let sizes = |fabric: &Fabric| {
                fabric.tiers.iter().map(|tier| format!("{} {}", tier.name, tier.chips)).collect::<Vec<_>>().join(", ")
            };
            let plan = |plan: &Plan| format!("tp{} pp{} ep{} dp{}", plan.tp, plan.pp, plan.ep, plan.dp);
            format!(
                "{} become {}; plan {} becomes {}",
                sizes(baseline),
                sizes(&request.fabric),
                plan(&below.plan),
                plan(&on.plan)
            )
        }
    }
}

fn hybrid(bits: usize, rate: Interval, plan: Plan) -> Hybrid {
    let names =
        [(BANDWIDTH, "bandwidth"), (LATENCY, "latency"), (TIERS, "tiers"), (PLANS, "plans"), (OVERLAP, "overlap")];
    let has = names.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name.to_owned()).collect();
    Hybrid { has, tokens_per_s_per_chip: rate, plan }
}

fn caveats(request: &Request, below: &Projection) -> Vec<String> {
    let mut list = vec![
        "hybrid fabrics cannot be bought: they only share out the ratio between its causes".to_owned(),
        "until the topology changes, a hybrid keeps the plan and batch of the baseline".to_owned(),
    ];
    let limit = request.workload.tpot_limit_s;
    if request.phase == Phase::Decode && limit.is_finite() {
        list.push(format!(
            "that plan is held to no time per token; those that are searched keep {:.0} ms, which the baseline reaches with {} sequences a chip",
            limit * 1e3,
            below.plan.batch_per_chip
        ));
    }
    list
}
