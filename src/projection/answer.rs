//! Answers to requests: the best plan with its interval, a comparison with a baseline, the front of all plans.

use crate::projection::caveat::ProjectionCaveat;
use crate::projection::machine::Machine;
use crate::projection::parallel_plan::{ParallelPlan, Phase, Recompute};
use crate::projection::phases::PlanOutcome;
use crate::projection::plan::{self, Search};
use crate::projection::request::{Infeasible, Request};
use crate::projection::result::{Operator, Projection};
use crate::projection::{binding, inputs, operators, timeline, uncertainty};
use crate::specs::{Fabric, Mixer, Model, Reach, Scenario};
use crate::units::Seconds;

/// The same question on two fabrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// On the fabric of the request.
    pub on: Result<Projection, Infeasible>,
    /// On the baseline, at its own best plan.
    pub baseline: Result<Projection, Infeasible>,
    /// Tokens per second and chip over the baseline's, each at its own plan; `None` if either has none.
    pub speedup: Option<f64>,
    /// The same with the baseline at the plan of the request, whatever its latency; `None` where it does not fit.
    pub same_plan_speedup: Option<f64>,
}

/// Answers one request.
///
/// # Errors
/// [`Infeasible`]: no plan fits, and by how much.
pub fn project(request: &Request) -> Result<Projection, Infeasible> {
    match project_within_limit(request) {
        Err(Infeasible::Latency { limit_s, best_s }) if !request.workload.tpot_limit_binds => {
            let mut projection = project_within_limit(&request.without_limit())?;
            let (limit, fastest) = (Seconds::new(limit_s), Seconds::new(best_s));
            projection.caveats.push(ProjectionCaveat::LimitIgnored { limit, fastest });
            Ok(projection)
        }
        other => other,
    }
}

fn project_within_limit(request: &Request) -> Result<Projection, Infeasible> {
    let machine = Machine::new(request, Scenario::Nominal)?;
    let (plan, outcome) = plan::best(request, &machine)?;
    Ok(answer(request, plan, &machine, &outcome))
}

/// The plan that [`project`] would choose and what it delivers at the central values, without intervals: for sweeps.
///
/// # Errors
/// [`Infeasible`]: no plan fits, and by how much.
pub fn estimate(request: &Request) -> Result<(ParallelPlan, PlanOutcome), Infeasible> {
    plan::best(request, &Machine::new(request, Scenario::Nominal)?)
}

/// The schedule of a few layers of a plan as a Chrome trace, which Perfetto opens.
///
/// # Errors
/// [`Infeasible::NoSuchType`].
pub fn trace_of(request: &Request, plan: &ParallelPlan) -> Result<serde_json::Value, Infeasible> {
    Ok(timeline::chrome_trace(request, plan, &Machine::new(request, Scenario::Nominal)?))
}

/// All plans of a request: the front of latency against throughput. `done` hears how many more plans are done.
///
/// # Errors
/// [`Infeasible`]: no plan exists or fits.
pub fn search(request: &Request, done: &(dyn Fn(usize) + Sync)) -> Result<Search, Infeasible> {
    plan::search(request, &Machine::new(request, Scenario::Nominal)?, done)
}

/// Answers a request on its fabric and on a baseline.
pub fn compare(request: &Request, baseline: &Fabric) -> Comparison {
    let on = project(request);
    let other = request.on(baseline.clone());
    let below = project(&other);
    let speedup = on.as_ref().ok().zip(below.as_ref().ok()).map(|(on, below)| on.throughput() / below.throughput());
    let same_plan_speedup = on.as_ref().ok().and_then(|on| {
        let same_plan = project(&other.with_plan(&on.plan)).ok()?;
        Some(on.throughput() / same_plan.throughput())
    });
    Comparison { on, baseline: below, speedup, same_plan_speedup }
}

fn answer(request: &Request, plan: ParallelPlan, machine: &Machine, outcome: &PlanOutcome) -> Projection {
    let (rate, intervals, tornado) = uncertainty::spread(request, &plan, outcome);
    let operators = operators::operators(request, &plan, machine);
    let step = outcome.terms.total();
    let peak = machine.peak.get() * f64::from(plan.chips);
    Projection {
        model: request.model.name.clone(),
        phase: request.phase,
        chip: request.chip.name.clone(),
        fabric: request.fabric.name.clone(),
        number_type: machine.number_type,
        cache_type: request.cache_type,
        plan,
        tokens_per_s_per_chip: rate,
        step_s: step,
        tpot_s: (request.phase == Phase::Decode).then(|| step / outcome.tokens_per_sequence),
        ttft_s: (request.phase == Phase::Prefill).then_some(step),
        mfu: outcome.model_flop / step.get() / peak,
        terms_s: outcome.terms,
        bound_by: binding::bound_by(request, &plan, machine, outcome),
        memory_bytes_per_chip: outcome.memory,
        caveats: caveats(request, &plan, outcome, &operators),
        provenance: inputs::sources(request),
        intervals,
        tornado,
        operators,
    }
}

fn caveats(
    request: &Request,
    plan: &ParallelPlan,
    outcome: &PlanOutcome,
    operators: &[Operator],
) -> Vec<ProjectionCaveat> {
    let workload = &request.workload;
    let mut list = vec![ProjectionCaveat::Projected];
    list.extend(request.chip.caveats.iter().cloned());
    list.extend(slowest_rank(request));
    let (stored, multiplied) = (request.type_in_use(), request.product_type());
    if stored != multiplied {
        list.push(ProjectionCaveat::Widened { stored, multiplied, chip: request.chip.name.clone() });
    }
    if request.model.moe.is_some() && plan.ep > 1 {
        list.push(ProjectionCaveat::ExpertLoad(workload.expert_load.clone()));
    }
    if outcome.recompute != Recompute::None {
        list.push(ProjectionCaveat::Recomputed(outcome.recompute));
    }
    if request.phase == Phase::Training {
        match &request.framework {
            Some(framework) => list.push(ProjectionCaveat::Framework(framework.title.clone())),
            None if request.model.moe.is_some() => list.push(ProjectionCaveat::NoFramework),
            None => {}
        }
    }
    list.extend(of_model(&request.model, request.phase));
    let extrapolated = operators::extrapolated(operators);
    if !extrapolated.is_empty() {
        list.push(ProjectionCaveat::Extrapolated(extrapolated));
    }
    if request.phase == Phase::Decode && workload.mtp_tokens > 0 {
        let (tokens, acceptance) = (workload.mtp_tokens, workload.mtp_acceptance);
        list.push(ProjectionCaveat::Speculation { tokens, acceptance });
    }
    list
}

/// For whom a step waits.
fn slowest_rank(request: &Request) -> Option<ProjectionCaveat> {
    let Request { chip, chips, .. } = request;
    let spread = chip.spread.as_ref()?;
    let factor = [Scenario::Nominal, Scenario::Optimistic, Scenario::Pessimistic].map(|end| chip.slowest(*chips, end));
    Some(ProjectionCaveat::SlowestRank { ranks: chip.ranks(*chips), factor, source: spread.share.source.clone() })
}

/// What of the model is left out, derived, or stored in a type of its own.
fn of_model(model: &Model, phase: Phase) -> Vec<ProjectionCaveat> {
    let mut list = Vec::new();
    if !model.left_out.is_empty() {
        list.push(ProjectionCaveat::LeftOut(model.left_out.clone()));
    }
    let has = |test: fn(&Mixer) -> bool| model.kinds.iter().any(|kind| test(&kind.layer.mixer));
    let reaches = |mixer: &Mixer| if let Mixer::Attention(layer) = mixer { Some(layer.reach) } else { None };
    let chooses =
        model.kinds.iter().filter_map(|kind| reaches(&kind.layer.mixer)).any(|reach| reach.choice().is_some());
    let compressed =
        |mixer: &Mixer| matches!(mixer, Mixer::Attention(layer) if matches!(layer.reach, Reach::Compressed { .. }));
    let parts = [
        ("recurrences over a state", has(|mixer| matches!(mixer, Mixer::Linear(_)))),
        ("indexers and attention to chosen tokens", chooses),
        ("a compressed cache", has(compressed)),
    ];
    let parts: Vec<&'static str> = parts.into_iter().filter(|(_, is)| *is).map(|(part, _)| part).collect();
    if !parts.is_empty() {
        list.push(ProjectionCaveat::DerivedWork(parts));
    }
    if phase != Phase::Training && model.checkpoint.has_four_bits() {
        list.push(ProjectionCaveat::FourBitWeights);
    }
    list
}
