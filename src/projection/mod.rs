//! What 384 of them would deliver: pure functions over values, no GPU, no clock, no file.
//!
//! [`project`] answers one [`Request`]; [`compare`] sets it beside the same on another fabric; [`search`] finds the front of
//! latency against throughput. A plan becomes passes of one or two micro-batches through a pipeline stage; a layer becomes
//! ops with measured or published costs, and collectives; a list schedule over the lanes of a rank gives its time, and the
//! phases add layers up to named terms. Draws of the uncertain inputs give the interval.

mod binding;
pub mod chip;
pub mod claims;
pub mod costs;
pub mod explain;
pub mod fabric;
pub mod flows;
pub mod load;
pub mod machine;
pub mod memory;
pub mod ops;
pub mod outlook;
pub mod pass;
pub mod phases;
pub mod plan;
mod provenance;
pub mod request;
mod result;
pub mod schedule;
pub mod surface;
pub mod sweep;
pub mod trace;
pub mod uncertainty;
pub mod validation;

pub use chip::ChipModel;
pub use load::ExpertLoad;
pub use plan::{Candidate, Search};
pub use request::{Infeasible, Pins, Pipeline, Request, Workload};
pub use result::*;

use crate::specs::Fabric;
use machine::Machine;
use phases::Outcome;
use uncertainty::Scenario;

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
            let workload = request.workload.without_limit();
            let mut projection = project_within_limit(&Request { workload, ..request.clone() })?;
            projection.caveats.push(format!(
                "no plan keeps {:.0} ms a token (the fastest takes {}): this one ignores the limit",
                limit_s * 1e3,
                crate::units::Seconds::new(best_s)
            ));
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
pub fn estimate(request: &Request) -> Result<(Plan, Outcome), Infeasible> {
    plan::best(request, &Machine::new(request, Scenario::Nominal)?)
}

/// The schedule of a few layers of a plan as a Chrome trace, which Perfetto opens.
///
/// # Errors
/// [`Infeasible::NoSuchType`].
pub fn trace_of(request: &Request, plan: &Plan) -> Result<serde_json::Value, Infeasible> {
    Ok(trace::chrome_trace(request, plan, &Machine::new(request, Scenario::Nominal)?))
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
    let other = Request { fabric: baseline.clone(), ..request.clone() };
    let below = project(&other);
    let rate = |projection: &Projection| projection.tokens_per_s_per_chip.median;
    let speedup = on.as_ref().ok().zip(below.as_ref().ok()).map(|(on, below)| rate(on) / rate(below));
    let same_plan_speedup = on.as_ref().ok().and_then(|on| {
        let pinned = with_plan(&other, &on.plan);
        Some(rate(on) / rate(&project(&pinned).ok()?))
    });
    Comparison { on, baseline: below, speedup, same_plan_speedup }
}

fn with_plan(request: &Request, plan: &Plan) -> Request {
    let workload = request.workload.without_limit();
    Request { pins: plan.into(), workload, ..request.clone() }
}

fn answer(request: &Request, plan: Plan, machine: &Machine, outcome: &Outcome) -> Projection {
    let (rate, intervals, tornado) = uncertainty::spread(request, &plan, outcome);
    let operators = trace::operators(request, &plan, machine);
    let step = outcome.terms.total();
    let peak = machine.peak * f64::from(plan.chips);
    Projection {
        model: request.model.name.clone(),
        phase: request.phase,
        chip: request.chip.name.clone(),
        fabric: request.fabric.name.clone(),
        number_type: machine.number_type,
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
        provenance: provenance::sources(request, machine.number_type),
        intervals,
        tornado,
        operators,
    }
}

fn caveats(request: &Request, plan: &Plan, outcome: &Outcome, operators: &[Operator]) -> Vec<String> {
    let mut list = vec!["a projection, not a measurement: one schedule of average layers, no faults".to_owned()];
    list.extend(request.chip.caveats.iter().cloned());
    if request.model.moe.is_some() && plan.ep > 1 {
        list.push(format!(
            "expert load {}, as even as whole slots allow; further skew is in the band only (up to a quarter more)",
            request.workload.expert_load
        ));
    }
    match outcome.recompute {
        Recompute::None => {}
        Recompute::Selective => {
            list.push("norms and activations are computed again in the backward pass, to fit in memory".to_owned());
        }
        Recompute::Full => list.push("layers are computed again in the backward pass, to fit in memory".to_owned()),
    }
    if let Some(extrapolated) = trace::extrapolated(operators) {
        list.push(extrapolated);
    }
    if request.phase == Phase::Decode && request.workload.mtp_tokens > 0 {
        let (tokens, acceptance) = (request.workload.mtp_tokens, request.workload.mtp_acceptance);
        list.push(format!("{tokens} speculated token(s) a step at an assumed acceptance of {acceptance}"));
    }
    list
}
