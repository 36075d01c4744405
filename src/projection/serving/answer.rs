//! What is asked of a deployment, and the answer: the best deployment under the load, and how requests fare on it.

use serde::Serialize;

use crate::projection::caveat::ProjectionCaveat;
use crate::projection::inputs;
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::phases::tokens_per_step;
use crate::projection::request::{Infeasible, Request};
use crate::projection::result::{CostSource, MemoryUse};
use crate::projection::serving::deployment::{self, Deployment, ServingPoint};
use crate::projection::serving::engine::{Engine, ServingMachines};
use crate::projection::serving::load::{Lengths, Load, ServiceLimits};
use crate::projection::serving::search::{SearchScope, pareto};
use crate::projection::serving::simulate::{
    Arrivals, EngineKind, Fleet, Run, SEED, Seen, SimulatedRequest, simulate,
};
use crate::projection::serving::step_table::StepTable;
use crate::projection::serving::trace::TraceRequest;
use crate::specs::NumberType;
use crate::statistics::quantile;
use crate::units::Seconds;

/// The fewest and the most requests that a simulation counts.
const COUNTED: (f64, f64) = (500.0, 20_000.0);
/// Steps of an engine that a simulation aims at.
const STEPS: f64 = 2e6;

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct ServingRequest {
    /// Model, chip, fabric, chips, speculation and pins; its phase is decode.
    pub on: Request,
    /// The load; the one with the highest throughput within the limits if there is none.
    pub load: Option<Load>,
    /// Lengths of a request.
    pub lengths: Lengths,
    /// Requests as they were seen, instead of a load and lengths.
    pub trace: Vec<TraceRequest>,
    /// Whether the beginnings that a trace's prompts share are cached.
    pub caches_repeats: bool,
    /// Limits, for the choice of a deployment and for goodput.
    pub limits: ServiceLimits,
    /// Whether a deployment beyond the limits is refused.
    pub limits_bind: bool,
    /// The most prompt tokens of a step.
    pub chunk: f64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ServingRefusal {
    /// No plan exists or fits.
    #[error(transparent)]
    Infeasible(#[from] Infeasible),
    /// More requests come than any deployment answers.
    #[error("unstable above {most:.3} requests/s, {asked} were asked for; use more chips or --request-rate {most:.3} at most")]
    Unstable {
        /// Asked for, per second.
        asked: f64,
        /// What the deployment with the highest throughput answers, per second.
        most: f64,
    },
    /// No deployment keeps the limits.
    #[error(
        "no deployment keeps the limits; the nearest has {:.1} ms to the first token and {:.2} ms a token: raise --ttft-limit-ms or --tpot-limit-ms, or lower the load",
        ttft_s * 1e3, tpot_s * 1e3
    )]
    Limits {
        /// Time to the first token of the nearest, seconds.
        ttft_s: f64,
        /// Its time per output token, seconds.
        tpot_s: f64,
    },
    /// Context parallelism is not modelled beside continuous batching.
    #[error("cp {0} is not modelled in serving; leave out --cp")]
    ContextParallel(u32),
}

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
    /// The load; that of the best point where none was given, `None` for a trace.
    pub load: Option<Load>,
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
    /// Memory of one chip, bytes.
    pub memory_bytes_per_chip: MemoryUse,
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
    let machines = machines(asked)?;
    let scope = asked.scope(&machines);
    let (point, caveats) = best(asked, &scope)?;
    let Deployment::Aggregated { plan } = point.deployment else { unreachable!("only aggregated plans are searched") };
    let engine = scope.engine(&plan);
    let simulated = asked.simulated(&engine, &point);
    Ok(asked.answered(&engine, point, &simulated, caveats))
}

/// The front of tokens per second of a chip against those of a user, over all deployments, and loads if none is given.
///
/// # Errors
/// [`ServingRefusal`]: no plan, or too much load.
pub fn front(asked: &ServingRequest) -> Result<Vec<ServingPoint>, ServingRefusal> {
    let machines = machines(asked)?;
    let scope = asked.scope(&machines);
    let points = pareto(scope.aggregated()?);
    if points.is_empty() { Err(refused(&scope)?) } else { Ok(points) }
}

fn machines(asked: &ServingRequest) -> Result<ServingMachines, ServingRefusal> {
    match asked.on.pins.cp {
        Some(cp) if cp != 1 => Err(ServingRefusal::ContextParallel(cp)),
        _ => Ok(ServingMachines::new(&asked.on)?),
    }
}

/// Why no deployment answers: too much load, or too little memory.
fn refused(scope: &SearchScope<'_>) -> Result<ServingRefusal, ServingRefusal> {
    let (most, _) = scope.most_requests()?;
    let asked = if let Some(Load::RequestRate(rate)) = scope.load { rate } else { 0.0 };
    Ok(ServingRefusal::Unstable { asked, most })
}

/// The best deployment: the highest throughput within the limits; at a given rate, the soonest answer.
fn best(
    asked: &ServingRequest,
    scope: &SearchScope<'_>,
) -> Result<(ServingPoint, Vec<ProjectionCaveat>), ServingRefusal> {
    let points = scope.aggregated()?;
    let late = |point: &ServingPoint| point.ttft_s + (asked.lengths.output - 1.0) * point.tpot_s;
    let worth = |point: &ServingPoint| match scope.load {
        Some(Load::RequestRate(_)) => -late(point),
        _ => point.tokens_per_s_per_chip,
    };
    let within = points.iter().filter(|point| asked.limits.keep(point.ttft_s, point.tpot_s));
    if let Some(point) = within.max_by(|a, b| worth(a).total_cmp(&worth(b))) {
        return Ok((*point, Vec::new()));
    }
    let Some(nearest) = points.iter().min_by(|a, b| asked.limits.excess(a).total_cmp(&asked.limits.excess(b))) else {
        // A trace is finite: what cannot keep up with it answers late.
        return match refused(scope)? {
            ServingRefusal::Unstable { most, asked: rate } if !asked.trace.is_empty() => {
                let (_, plan) = scope.most_requests()?;
                let calm = Load::RequestRate(most * 0.9);
                let point = deployment::aggregated(&scope.engine(&plan), calm, &asked.lengths);
                point.map(|point| (point, vec![ProjectionCaveat::TraceAboveCapacity { rate, most }]))
                    .ok_or(ServingRefusal::Unstable { asked: rate, most })
            }
            other => Err(other),
        };
    };
    if asked.limits_bind {
        return Err(ServingRefusal::Limits { ttft_s: nearest.ttft_s, tpot_s: nearest.tpot_s });
    }
    let (limit, fastest) = (Seconds::new(asked.limits.tpot_s), Seconds::new(nearest.tpot_s));
    Ok((*nearest, vec![ProjectionCaveat::LimitIgnored { limit, fastest }]))
}

impl ServiceLimits {
    /// By which factor a point misses the limit that it misses most; below 1 where it keeps both.
    fn excess(&self, point: &ServingPoint) -> f64 {
        (point.ttft_s / self.ttft_s).max(point.tpot_s / self.tpot_s)
    }
}

impl ServingRequest {
    fn scope<'a>(&'a self, machines: &'a ServingMachines) -> SearchScope<'a> {
        SearchScope { request: &self.on, machines, lengths: &self.lengths, load: self.load, chunk: self.chunk }
    }

    /// Requests on one engine of the plan, or of a trace on all of them.
    fn simulated(&self, engine: &Engine<'_>, point: &ServingPoint) -> Simulated {
        let lengths = &self.lengths;
        let most = whole(engine.most(lengths.reserved()).max(1.0));
        let steps = StepTable::new(engine, lengths, most);
        let count = if self.trace.is_empty() { 1 } else { whole(engine.count()) };
        let cache_tokens = most as f64 * lengths.reserved();
        let kind = EngineKind { count, steps: &steps, chunk: self.chunk, most, cache_tokens };
        let tokens_per_step = tokens_per_step(&self.on);
        let fleet = Fleet { prompts: kind, decode: None, transfer_s_per_token: 0.0, tokens_per_step };
        let like = SimulatedRequest {
            arrival_s: 0.0,
            cached: lengths.before(),
            computed: lengths.computed(),
            output: lengths.output,
        };
        let of_trace: Vec<SimulatedRequest> = self.trace.iter().map(|request| self.of_trace(request)).collect();
        let load = self.load.unwrap_or(Load::Concurrency(point.concurrency));
        let (arrivals, mean, simulated) = match load {
            _ if !of_trace.is_empty() => (Arrivals::Trace(&of_trace), 1.0, 1.0),
            Load::Concurrency(clients) => {
                let mean = clients / engine.count();
                let fullest = whole((mean - 1e-6).ceil().max(1.0));
                (Arrivals::Clients(fullest), mean, fullest as f64)
            }
            Load::RequestRate(rate) => (Arrivals::Rate(rate / engine.count()), 1.0, 1.0),
        };
        let inside = (point.concurrency / engine.count()).max(1.0);
        let counted = (STEPS * inside / lengths.output).clamp(COUNTED.0, COUNTED.1).max(4.0 * inside);
        let run = Run { arrivals, like, warm_up: whole((3.0 * inside).max(counted / 10.0)), counted: whole(counted) };
        let seen = simulate(&fleet, &run);
        let scale = if of_trace.is_empty() { engine.count() * mean / simulated } else { 1.0 };
        Simulated { seen, scale }
    }

    fn of_trace(&self, request: &TraceRequest) -> SimulatedRequest {
        let share = self.lengths.cached;
        let cached = if self.caches_repeats { request.repeated } else { (request.prompt * share).min(request.prompt - 1.0) };
        SimulatedRequest {
            arrival_s: request.arrival_s,
            cached,
            computed: request.prompt - cached,
            output: request.output,
        }
    }

    fn answered(
        &self,
        engine: &Engine<'_>,
        point: ServingPoint,
        simulated: &Simulated,
        mut caveats: Vec<ProjectionCaveat>,
    ) -> ServingAnswer {
        let request = &self.on;
        let Simulated { seen, scale } = simulated;
        let chips = point.deployment.chips();
        let count = seen.ttft_s.len();
        let request_rate = count as f64 / seen.span_s * scale;
        let tokens_per_s_per_chip = seen.output_tokens / seen.span_s * scale / chips;
        let kept = seen.ttft_s.iter().zip(&seen.tpot_s).filter(|(ttft, tpot)| self.limits.keep(**ttft, **tpot)).count();
        let share = kept as f64 / count.max(1) as f64;
        let tpot_s = times(&seen.tpot_s);
        caveats.insert(0, ProjectionCaveat::Projected);
        caveats.extend(request.chip.caveats.iter().cloned());
        if engine.count() > 1.0 {
            caveats.push(ProjectionCaveat::EnginesAlike);
        }
        if request.model.moe.is_some() && engine.plan.ep > 1 {
            caveats.push(ProjectionCaveat::ExpertLoad(request.workload.expert_load.clone()));
        }
        ServingAnswer {
            model: request.model.name.clone(),
            phase: "serving",
            chip: request.chip.name.clone(),
            fabric: request.fabric.name.clone(),
            number_type: request.type_in_use(),
            load: if self.trace.is_empty() { self.load.or(Some(Load::Concurrency(point.concurrency.round()))) } else { None },
            lengths: self.lengths,
            chunk_tokens: self.chunk,
            deployment: point.deployment,
            ttft_s: times(&seen.ttft_s),
            tpot_s,
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
            most_requests_per_s: engine.capacity(&self.lengths),
            memory_bytes_per_chip: self.memory(engine, engine.plan),
            caveats,
            provenance: inputs::sources(request),
        }
    }

    fn memory(&self, engine: &Engine<'_>, plan: &ParallelPlan) -> MemoryUse {
        let sequences = plan.batch_per_chip * f64::from(plan.chips) / engine.count();
        engine.memory(sequences, self.lengths.in_decode())
    }
}

/// What was seen, and how many times as much all chips do.
struct Simulated {
    seen: Seen,
    scale: f64,
}

fn times(all: &[f64]) -> RequestTimes {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share| quantile(&sorted, share).unwrap_or(0.0);
    RequestTimes { mean: sorted.iter().sum::<f64>() / sorted.len().max(1) as f64, p50: at(0.5), p99: at(0.99) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number that is no NaN")]
fn whole(value: f64) -> usize {
    value.max(0.0) as usize
}
