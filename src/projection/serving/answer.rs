//! The best deployment under a load, and how requests fare on it.

use serde::Serialize;

use crate::projection::caveat::ProjectionCaveat;
use crate::projection::inputs;
use crate::projection::parallel_plan::{ExpertWorker, ParallelPlan};
use crate::projection::request::{Infeasible, Pins};
use crate::projection::result::{CostSource, MemoryUse};
use crate::projection::serving::deployment::{Deployment, ServingPoint};
use crate::projection::serving::engine::ServingMachines;
use crate::projection::serving::load::{ApartPins, Lengths, ServiceLimits, ServingLoad, ServingMode, WorkerPins};
use crate::projection::serving::pinned::pinned;
use crate::projection::serving::question::{ServingRefusal, ServingRequest};
use crate::projection::serving::search::{SearchScope, pareto};
use crate::projection::serving::simulate::SEED;
use crate::projection::serving::simulated::{Simulated, simulated};
use crate::projection::serving::watch::SimulationWatch;
use crate::projection::serving::worker_search::{AnswerPins, most_requests, with_workers};
use crate::specs::NumberType;
use crate::statistics::quantile;
use crate::units::Seconds;

/// A time over requests, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RequestTimes {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// What keeps both limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Goodput {
    /// Share of the requests.
    pub share: f64,
    /// Requests per second over all chips.
    pub request_rate: f64,
    /// Output tokens per second and chip.
    pub tokens_per_s_per_chip: f64,
}

/// How two kinds of chips share the steps of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ApartAnswer {
    /// Share of a step in which a chip with attention computes.
    pub attention_busy: f64,
    /// Share of it in which a chip with experts computes.
    pub experts_busy: f64,
    /// Memory of one chip with experts, bytes.
    pub memory_bytes_per_expert_chip: MemoryUse,
}

/// The projection of one deployment under a load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServingAnswer {
    /// Model name.
    pub model: String,
    /// `serving`.
    pub phase: &'static str,
    /// Chip name.
    pub chip: String,
    /// Fabric name.
    pub fabric: String,
    /// Type of weights.
    #[serde(rename = "type")]
    pub number_type: NumberType,
    /// Type of the KV cache, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_type: Option<NumberType>,
    /// The load; that of the best point where none was given, `None` for a trace.
    pub load: Option<ServingLoad>,
    /// Lengths of a request; means of a trace.
    pub lengths: Lengths,
    /// The most prompt tokens of a step.
    pub chunk_tokens: f64,
    /// What runs where.
    pub deployment: Deployment,
    /// Time to the first token.
    pub ttft_s: RequestTimes,
    /// Time per output token after the first.
    pub tpot_s: RequestTimes,
    /// Time to the first token of a request that has the deployment for itself, seconds, in closed form. What the mean is
    /// above it is waiting: in a queue, or in steps that are longer by the work of others.
    pub ttft_alone_s: f64,
    /// Requests per second over all chips.
    pub request_rate: f64,
    /// Output tokens per second and chip.
    pub tokens_per_s_per_chip: f64,
    /// Output tokens per second of a user.
    pub tokens_per_s_per_user: f64,
    /// What keeps the limits.
    pub goodput: Goodput,
    /// Requests behind the percentiles.
    pub simulated_requests: usize,
    /// Seed of their arrivals.
    pub seed: u64,
    /// The same averages in closed form, which chose the deployment.
    pub closed_form: ServingPoint,
    /// Requests per second that the deployment answers at most.
    pub most_requests_per_s: f64,
    /// Memory of one chip that computes answers, or their attention, bytes.
    pub memory_bytes_per_chip: MemoryUse,
    /// Attention and experts, where they lie on different chips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apart: Option<ApartAnswer>,
    /// What the reader must keep in mind.
    pub caveats: Vec<ProjectionCaveat>,
    /// Where each input comes from.
    pub provenance: Vec<CostSource>,
}

/// Answers a question.
///
/// # Errors
/// [`ServingRefusal`]: no plan, too much load, or limits that no deployment keeps.
pub fn answer(asked: &ServingRequest) -> Result<ServingAnswer, ServingRefusal> {
    watched(asked, &mut ())
}

/// Answers a question. `watch` hears what happens in the simulation of the deployment.
///
/// # Errors
/// Those of [`answer`].
pub fn watched(asked: &ServingRequest, watch: &mut impl SimulationWatch) -> Result<ServingAnswer, ServingRefusal> {
    let machines = machines(asked)?;
    let scope = scope(asked, &machines);
    let (point, caveats) = best(asked, &scope)?;
    let simulated = simulated(asked, &scope, &point, watch);
    Ok(answered(asked, &scope, point, &simulated, caveats))
}

/// The best deployment in closed form, as [`answer`] chooses it, and what the reader must keep in mind about the choice.
///
/// # Errors
/// Those of [`answer`].
pub fn chosen(asked: &ServingRequest) -> Result<(ServingPoint, Vec<ProjectionCaveat>), ServingRefusal> {
    let machines = machines(asked)?;
    best(asked, &scope(asked, &machines))
}

/// The front of tokens per second of a chip against those of a user, over all deployments within the limits that were
/// asked for, and all loads if none is given.
///
/// # Errors
/// [`ServingRefusal`]: no plan, or too much load.
pub fn front(asked: &ServingRequest) -> Result<Vec<ServingPoint>, ServingRefusal> {
    let machines = machines(asked)?;
    let scope = scope(asked, &machines);
    let all = points(&asked.mode, &scope)?;
    if all.is_empty() {
        return Err(refused(asked, &scope)?);
    }
    let limits = if asked.limits_bind { asked.limits } else { ServiceLimits::NONE };
    let nearest = all
        .iter()
        .copied()
        .min_by(|a, b| limits.excess(a.ttft_s, a.tpot_s).total_cmp(&limits.excess(b.ttft_s, b.tpot_s)));
    let front = pareto(all.into_iter().filter(|point| limits.keep(point.ttft_s, point.tpot_s)).collect());
    match nearest {
        Some(ServingPoint { ttft_s, tpot_s, .. }) if front.is_empty() => Err(ServingRefusal::Limits { ttft_s, tpot_s }),
        _ => Ok(front),
    }
}

fn machines(asked: &ServingRequest) -> Result<ServingMachines, ServingRefusal> {
    match asked.on.pins.cp {
        Some(cp) if cp != 1 => Err(ServingRefusal::ContextParallel(cp)),
        _ => Ok(ServingMachines::new(&asked.on)?),
    }
}

fn scope<'a>(asked: &'a ServingRequest, machines: &'a ServingMachines) -> SearchScope<'a> {
    SearchScope { request: &asked.on, machines, lengths: &asked.lengths, load: asked.load, chunk: asked.chunk }
}

/// All deployments of the mode.
fn points(mode: &ServingMode, scope: &SearchScope<'_>) -> Result<Vec<ServingPoint>, ServingRefusal> {
    Ok(match mode {
        ServingMode::Aggregated => scope.aggregated()?,
        ServingMode::Disaggregated { prefill, decode } => with_workers(scope, prefill, &AnswerPins::Whole(*decode))?,
        ServingMode::AttentionFfn { prefill, decode } => with_workers(scope, prefill, &AnswerPins::Apart(*decode))?,
        ServingMode::Any => of_every_mode(scope, |mode| points(mode, scope))?.concat(),
    })
}

/// What the modes say with nothing given of their workers. Not every model and number of chips has all of them: those
/// without are left out, unless none has any.
fn of_every_mode<T, E>(scope: &SearchScope<'_>, of: impl Fn(&ServingMode) -> Result<T, E>) -> Result<Vec<T>, E> {
    let Pins { moe_tp, microbatches, .. } = scope.request.pins;
    let (prefill, decode) = (WorkerPins::default(), WorkerPins::default());
    let sides = ApartPins { ffn_tp: moe_tp, microbatches, ..ApartPins::default() };
    let apart = ServingMode::AttentionFfn { prefill, decode: sides };
    let modes = [ServingMode::Aggregated, ServingMode::Disaggregated { prefill, decode }, apart];
    let mut found: Vec<Result<T, E>> = modes.iter().map(of).collect();
    if found.iter().any(Result::is_ok) {
        found.retain(Result::is_ok);
    }
    found.into_iter().collect()
}

/// Why no deployment answers: too much load, or too little memory.
fn refused(asked: &ServingRequest, scope: &SearchScope<'_>) -> Result<ServingRefusal, ServingRefusal> {
    let most = most(&asked.mode, scope)?;
    let rate = if let Some(ServingLoad::RequestRate(rate)) = scope.load { rate } else { 0.0 };
    Ok(ServingRefusal::Unstable { asked: rate, most })
}

/// Requests per second that the mode answers at most.
fn most(mode: &ServingMode, scope: &SearchScope<'_>) -> Result<f64, Infeasible> {
    match mode {
        ServingMode::Aggregated => Ok(scope.most_requests()?.0),
        ServingMode::Disaggregated { prefill, decode } => most_requests(scope, prefill, &AnswerPins::Whole(*decode)),
        ServingMode::AttentionFfn { prefill, decode } => most_requests(scope, prefill, &AnswerPins::Apart(*decode)),
        ServingMode::Any => {
            let all = of_every_mode(scope, |mode| most(mode, scope))?;
            Ok(all.into_iter().fold(0.0, f64::max))
        }
    }
}

/// The best deployment: the highest throughput within the limits; at a given rate, the soonest answer. A limit that was
/// not asked for is ignored where nothing keeps it.
fn best(
    asked: &ServingRequest,
    scope: &SearchScope<'_>,
) -> Result<(ServingPoint, Vec<ProjectionCaveat>), ServingRefusal> {
    let points = points(&asked.mode, scope)?;
    let late = |point: &ServingPoint| point.ttft_s + (asked.lengths.output - 1.0) * point.tpot_s;
    let worth = |point: &ServingPoint| match scope.load {
        Some(ServingLoad::RequestRate(_)) => -late(point),
        _ => point.tokens_per_s_per_chip,
    };
    let most = |a: &&ServingPoint, b: &&ServingPoint| worth(a).total_cmp(&worth(b));
    let within = points.iter().filter(|point| asked.limits.keep(point.ttft_s, point.tpot_s));
    if let Some(point) = within.max_by(most) {
        return Ok((*point, Vec::new()));
    }
    let excess = |point: &ServingPoint| asked.limits.excess(point.ttft_s, point.tpot_s);
    let nearest = points.iter().min_by(|a, b| excess(a).total_cmp(&excess(b)));
    let (Some(nearest), Some(best)) = (nearest, points.iter().max_by(most)) else {
        return above_capacity(asked, scope);
    };
    if asked.limits_bind {
        return Err(ServingRefusal::Limits { ttft_s: nearest.ttft_s, tpot_s: nearest.tpot_s });
    }
    let (limit, fastest) = (Seconds::new(asked.limits.tpot_s), Seconds::new(nearest.tpot_s));
    Ok((*best, vec![ProjectionCaveat::LimitIgnored { limit, fastest }]))
}

/// A trace is finite: what cannot keep up with it answers late. A rate never ends.
fn above_capacity(
    asked: &ServingRequest,
    scope: &SearchScope<'_>,
) -> Result<(ServingPoint, Vec<ProjectionCaveat>), ServingRefusal> {
    let refusal = refused(asked, scope)?;
    let ServingRefusal::Unstable { asked: rate, most } = refusal else { return Err(refusal) };
    if asked.trace.is_empty() {
        return Err(refusal);
    }
    let calm = SearchScope { load: Some(ServingLoad::RequestRate(0.9 * most)), ..*scope };
    let points = points(&asked.mode, &calm)?;
    let best = points.into_iter().min_by(|a, b| a.ttft_s.total_cmp(&b.ttft_s)).ok_or(refusal)?;
    Ok((best, vec![ProjectionCaveat::TraceAboveCapacity { rate, most }]))
}

fn answered(
    asked: &ServingRequest,
    scope: &SearchScope<'_>,
    point: ServingPoint,
    simulated: &Simulated,
    mut caveats: Vec<ProjectionCaveat>,
) -> ServingAnswer {
    let request = &asked.on;
    let Simulated { seen, scale, most_requests_per_s } = simulated;
    let count = seen.ttft_s.len();
    let request_rate = count as f64 / seen.span_s * scale;
    let tokens_per_s_per_chip = seen.output_tokens / seen.span_s * scale / point.deployment.chips();
    let keeps = |(ttft_s, tpot_s): &(&f64, &f64)| asked.limits.keep(**ttft_s, **tpot_s);
    let share = seen.ttft_s.iter().zip(&seen.tpot_s).filter(keeps).count() as f64 / count.max(1) as f64;
    let tpot_s = times(&seen.tpot_s);
    let (plan, experts) = point.deployment.answering();
    caveats.insert(0, ProjectionCaveat::Projected);
    caveats.extend(request.chip.caveats.iter().cloned());
    if plan.dp * plan.pp > 1 {
        caveats.push(ProjectionCaveat::EnginesAlike);
    }
    if experts.is_some() {
        caveats.push(ProjectionCaveat::ExpertsApart);
    }
    if request.model.moe.is_some() && experts.map_or(plan.ep, |experts| experts.ep) > 1 {
        caveats.push(ProjectionCaveat::ExpertLoad(request.workload.expert_load.clone()));
    }
    ServingAnswer {
        model: request.model.name.clone(),
        phase: "serving",
        chip: request.chip.name.clone(),
        fabric: request.fabric.name.clone(),
        number_type: request.type_in_use(),
        cache_type: request.cache_type,
        load: asked.trace.is_empty().then(|| asked.load.unwrap_or_else(|| point.load())),
        lengths: asked.lengths,
        chunk_tokens: asked.chunk,
        deployment: point.deployment,
        ttft_s: times(&seen.ttft_s),
        tpot_s,
        ttft_alone_s: alone_s(asked, &point),
        request_rate,
        tokens_per_s_per_chip,
        tokens_per_s_per_user: 1.0 / tpot_s.mean,
        goodput: Goodput {
            share,
            request_rate: share * request_rate,
            tokens_per_s_per_chip: share * tokens_per_s_per_chip,
        },
        simulated_requests: count,
        seed: SEED,
        closed_form: point,
        most_requests_per_s: *most_requests_per_s,
        memory_bytes_per_chip: memory(scope, (plan, experts)),
        apart: apart(scope, (plan, experts)),
        caveats,
        provenance: inputs::sources(request),
    }
}

/// The plan of answers, or of their attention, and the experts where these lie elsewhere.
type Answering<'a> = (&'a ParallelPlan, Option<&'a ExpertWorker>);

/// Memory of a chip that computes answers, with the mean number of sequences.
fn memory(scope: &SearchScope<'_>, answering: Answering<'_>) -> MemoryUse {
    let engine = scope.engine_of(answering);
    engine.memory(engine.sequences(), scope.lengths.in_decode())
}

fn apart(scope: &SearchScope<'_>, answering: Answering<'_>) -> Option<ApartAnswer> {
    let engine = scope.engine_of(answering);
    let step = engine.apart(engine.sequences(), scope.lengths.in_decode())?;
    Some(ApartAnswer {
        attention_busy: step.attention_busy,
        experts_busy: step.experts_busy,
        memory_bytes_per_expert_chip: engine.experts_memory()?,
    })
}

/// The time to the first token of a request that has the deployment of a point for itself, seconds.
fn alone_s(asked: &ServingRequest, point: &ServingPoint) -> f64 {
    let load = Some(ServingLoad::Concurrency(1.0));
    let alone = ServingRequest { load, trace: Vec::new(), ..pinned(asked, point) };
    chosen(&alone).map_or(point.ttft_s, |(point, _)| point.ttft_s)
}

fn times(all: &[f64]) -> RequestTimes {
    let mut sorted = all.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |share| quantile(&sorted, share).unwrap_or(0.0);
    RequestTimes { mean: sorted.iter().sum::<f64>() / sorted.len().max(1) as f64, p50: at(0.5), p99: at(0.99) }
}
