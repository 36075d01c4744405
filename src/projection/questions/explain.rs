//! Why one fabric is faster than another: the ratio of two throughputs as a product of causes.
//!
//! Between the baseline and the fabric lie hybrids: they have some of the fabric's properties and not the others. A
//! cause's factor is its Shapley value in log throughput (Shapley, 1953). That is the mean, over all orders in which
//! the properties can change, of the change that this cause makes at its turn.
//!
//! - The factors multiply to the ratio whatever the order.
//! - The spread over the orders says how far a cause depends on the others.
//! - The steps in tokens per second are the same mean of differences. They add up to the difference.
//! - The two parts of the topology share its value as Owen's does: the two orders inside it count the same (Owen,
//!   1977).
//!
//! `shapley` has the means, `hybrid_fabric` the hybrids. [`explain_serving`](super::explain_serving) does the same for
//! deployments under a load.

use rayon::prelude::*;
use serde::Serialize;

use crate::projection::answer::project;
use crate::projection::caveat::ProjectionCaveat;
use crate::projection::parallel_plan::{ParallelPlan, Phase};
use crate::projection::questions::hybrid_fabric::{FabricParts, mixed, same_reach};
use crate::projection::questions::shapley::{PropertySet, owen, shapley};
use crate::projection::request::{Infeasible, Request, Workload};
use crate::projection::result::{Interval, Projection};
use crate::specs::{Fabric, LatencyIs, Tier};
use crate::units::Seconds;

/// The causes of a fabric in the order in which they are shown.
pub const CAUSES: [&str; 4] = ["bandwidth", "latency", "topology", "overlap"];

/// A set of properties of a fabric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Properties(PropertySet);

impl Properties {
    const BANDWIDTH: Self = Self(1);
    const LATENCY: Self = Self(2);
    const TIERS: Self = Self(4);
    const PLANS: Self = Self(8);
    const OVERLAP: Self = Self(16);
    const TOPOLOGY: Self = Self(4 | 8);
    /// How many sets there are.
    const SETS: PropertySet = 32;
    /// Each property by itself, with its name.
    const NAMED: [(Self, &str); 5] = [
        (Self::BANDWIDTH, "bandwidth"),
        (Self::LATENCY, "latency"),
        (Self::TIERS, "tiers"),
        (Self::PLANS, "plans"),
        (Self::OVERLAP, "overlap"),
    ];

    /// All sets, in the order of [`Corners`].
    fn all_sets() -> impl Iterator<Item = Self> {
        (0..Self::SETS).map(Self)
    }

    /// All sets without the overlap.
    fn sets_without_overlap() -> impl IndexedParallelIterator<Item = Self> {
        (0..Self::OVERLAP.0).into_par_iter().map(Self)
    }

    const fn of_fabric(self) -> FabricParts {
        FabricParts {
            bandwidth: self.has(Self::BANDWIDTH),
            latency: self.has(Self::LATENCY),
            tiers: self.has(Self::TIERS),
        }
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn names(self) -> Vec<String> {
        let own = Self::NAMED.into_iter().filter(|(property, _)| self.has(*property));
        own.map(|(_, name)| name.to_owned()).collect()
    }
}

/// The properties that each of [`CAUSES`] changes.
const CHANGES: [Properties; 4] =
    [Properties::BANDWIDTH, Properties::LATENCY, Properties::TOPOLOGY, Properties::OVERLAP];

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
pub struct CauseStep {
    /// One of [`CAUSES`], or `chip`.
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
    pub parts: Vec<CausePart>,
}

/// A part of a cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CausePart {
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
    pub plan: ParallelPlan,
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
    /// The chip where it differs, then the causes in the order of [`CAUSES`].
    pub steps: Vec<CauseStep>,
    /// Everything the steps are computed from.
    pub hybrids: Vec<Hybrid>,
    /// What the reader must keep in mind besides the projections' own caveats.
    pub caveats: Vec<ProjectionCaveat>,
}

/// Both ends of an explanation, and throughput and plan of every hybrid.
struct Ends<'a> {
    request: &'a Request,
    baseline: &'a Fabric,
    /// On the baseline.
    below: Projection,
    /// On the fabric.
    on: Projection,
}

/// Explains the request's throughput over that on `baseline`.
///
/// # Errors
/// [`NoEnd`]: one of the two fabrics has no plan.
pub fn explain(request: &Request, baseline: &Fabric) -> Result<Explanation, NoEnd> {
    let end =
        |request: &Request| project(request).map_err(|reason| NoEnd { fabric: request.fabric.name.clone(), reason });
    let (below, on) = rayon::join(|| end(&request.on(baseline.clone())), || end(request));
    let ends = Ends { request, baseline, below: below?, on: on? };
    let (corners, overlap_gain) = corners(&ends)?;
    let mut steps: Vec<CauseStep> = (0..CAUSES.len()).map(|cause| ends.step(cause, &corners)).collect();
    if let Some(overlap) = steps.last_mut() {
        let [before, after] = overlap_gain;
        let hiding = if request.phase == Phase::Training {
            "hiding communication behind another micro-batch, and gradients behind the last backward pass,"
        } else {
            "a second micro-batch to hide communication behind"
        };
        overlap.what = format!("{hiding} gives x {before:.3}, then x {after:.3}");
    }
    let hybrids = Properties::all_sets().map(|set| {
        let (rate, plan) = corners.at(set);
        Hybrid { has: set.names(), tokens_per_s_per_chip: rate, plan }
    });
    let hybrids = hybrids.collect();
    let caveats = caveats(&ends);
    let Ends { below, on, .. } = ends;
    let ratio = on.tokens_per_s_per_chip.paired_ratio(&below.tokens_per_s_per_chip);
    Ok(Explanation { caveats, baseline: below, on, ratio, overlap_gain, steps, hybrids })
}

/// Throughput and plan of each set of properties.
struct Corners(Vec<(Interval, ParallelPlan)>);

impl Corners {
    fn at(&self, set: Properties) -> (Interval, ParallelPlan) {
        self.0[usize::from(set.0)]
    }
}

/// The corners, and what overlap gives at both ends.
fn corners(ends: &Ends<'_>) -> Result<(Corners, [f64; 2]), NoEnd> {
    // A limit that binds would leave some hybrids without a plan.
    let workload = Workload { tpot_limit_binds: false, ..ends.request.workload.clone() };
    let request = Request { workload, ..ends.request.clone() };
    let evaluate = |set: Properties| {
        let mut asked = request.on(mixed(&request.fabric, ends.baseline, request.chips, set.of_fabric()));
        if !set.has(Properties::PLANS) {
            asked = asked.with_plan(&ends.below.plan);
        }
        let answer = project(&asked).map_err(|reason| NoEnd { fabric: asked.fabric.name.clone(), reason })?;
        let gain = overlap_gain(&asked, &answer);
        Ok((answer.tokens_per_s_per_chip, answer.plan, gain))
    };
    let corners = Properties::sets_without_overlap().map(evaluate).collect::<Result<Vec<_>, NoEnd>>()?;
    let (before, after) = (corners[0].2, corners[corners.len() - 1].2);
    // Without the fabric's overlap, a hybrid gains from overlap what the baseline gains from it.
    let without = corners.iter().map(|(rate, plan, gain)| {
        let factor = before / gain;
        (Interval { median: rate.median * factor, low: rate.low * factor, high: rate.high * factor }, *plan)
    });
    let with = corners.iter().map(|(rate, plan, _)| (*rate, *plan));
    Ok((Corners(without.chain(with).collect()), [before, after]))
}

/// What overlap gives: throughput of the plan over that of the same plan without overlap.
///
/// - In serving, a second micro-batch computes while the communication of the first runs. Without overlap the plan runs
///   in one piece. The gain is 1 where the plan does not interleave, or where stages need several micro-batches anyway.
/// - In training, the plan keeps its micro-batches, and its schedule hides nothing.
fn overlap_gain(request: &Request, answer: &Projection) -> f64 {
    let plan = &answer.plan;
    let without = if request.phase == Phase::Training {
        let workload = Workload { overlap: false, ..request.workload.clone() };
        Request { workload, ..request.clone() }.with_plan(plan)
    } else if plan.pp > 1 || plan.microbatches <= 1 {
        return 1.0;
    } else {
        request.with_plan(&ParallelPlan { microbatches: 1, ..*plan })
    };
    // If the batch fits in memory only as two micro-batches, there is no one-piece plan to compare with: no gain.
    project(&without).map_or(1.0, |other| answer.throughput() / other.throughput())
}

impl Ends<'_> {
    fn step(&self, cause: usize, corners: &Corners) -> CauseStep {
        let rate = |set: PropertySet| corners.at(Properties(set)).0;
        let causes = CHANGES.map(|properties| properties.0);
        let log = shapley(&causes, cause, |set| rate(set).median.ln());
        let difference = shapley(&causes, cause, |set| rate(set).median);
        let low = shapley(&causes, cause, |set| rate(set).low.ln()).mean;
        let high = shapley(&causes, cause, |set| rate(set).high.ln()).mean;
        let of_topology = [Properties::TIERS.0, Properties::PLANS.0];
        let part = |name: &str, part: usize| CausePart {
            name: name.to_owned(),
            factor: owen(&causes, cause, (&of_topology, part), |set| rate(set).median.ln()).exp(),
            tokens_per_s_per_chip: owen(&causes, cause, (&of_topology, part), |set| rate(set).median),
        };
        let parts = if CHANGES[cause] == Properties::TOPOLOGY {
            vec![part("tiers and ports", 0), part("plans", 1)]
        } else {
            Vec::new()
        };
        CauseStep {
            cause: CAUSES[cause].to_owned(),
            what: self.what(CHANGES[cause]),
            factor: Interval {
                median: log.mean.exp(),
                low: log.mean.min(low).min(high).exp(),
                high: log.mean.max(low).max(high).exp(),
            },
            factor_over_orders: [log.least.exp(), log.most.exp()],
            tokens_per_s_per_chip: difference.mean,
            tokens_per_s_per_chip_over_orders: [difference.least, difference.most],
            parts,
        }
    }

    /// What a change of properties changes, from the tier that joins the chips in use.
    fn what(&self, changed: Properties) -> String {
        let Self { request, baseline, below, on } = self;
        let chips = u64::from(request.chips);
        let tiers = same_reach(baseline, chips, request.chips).zip(same_reach(&request.fabric, chips, request.chips));
        let Some((before, after)) = tiers else { return String::new() };
        match changed {
            Properties::BANDWIDTH => {
                let reached = |tier: &Tier| {
                    let bandwidth = tier.bandwidth_bytes_per_s.as_ref().unwrap_or(&request.chip.scale_up).value;
                    format!("{:.0} of {:.0} GB/s", bandwidth * tier.link_efficiency.value / 1e9, bandwidth / 1e9)
                };
                format!("{} a chip and direction become {}", reached(before), reached(after))
            }
            Properties::LATENCY => format!("{} become {}", latencies(before), latencies(after)),
            Properties::TOPOLOGY => {
                let sizes = |fabric: &Fabric| {
                    let tiers = fabric.tiers.iter().map(|tier| format!("{} {}", tier.name, tier.chips));
                    tiers.collect::<Vec<_>>().join(", ")
                };
                let plan = |plan: &ParallelPlan| format!("tp{} pp{} ep{} dp{}", plan.tp, plan.pp, plan.ep, plan.dp);
                let (old, new) = (sizes(baseline), sizes(&request.fabric));
                format!("{old} become {new}; plan {} becomes {}", plan(&below.plan), plan(&on.plan))
            }
            _ => String::new(),
        }
    }
}

fn latencies(tier: &Tier) -> String {
    let hops = if tier.latency_is == LatencyIs::Hop { tier.hops as f64 } else { 1.0 };
    format!(
        "{:.2} us from chip to chip, {:.2} us a message, {:.0} us an all-to-all",
        hops * tier.latency_s.value * 1e6,
        tier.message_overhead_s.value * 1e6,
        tier.all_to_all_fixed_s.value * 1e6
    )
}

fn caveats(ends: &Ends<'_>) -> Vec<ProjectionCaveat> {
    let mut list = vec![ProjectionCaveat::HybridFabrics, ProjectionCaveat::HybridPlans];
    let limit = Seconds::new(ends.request.workload.tpot_limit_s);
    if ends.request.phase == Phase::Decode && limit.is_finite() {
        list.push(ProjectionCaveat::HybridLimit { limit, batch_per_chip: ends.below.plan.batch_per_chip });
    }
    list
}
