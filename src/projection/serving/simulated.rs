//! A deployment that was chosen, request by request: its engines and its load as a simulation takes them.

use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::phases::tokens_per_step;
use crate::projection::serving::deployment::{Deployment, ServingPoint};
use crate::projection::serving::disaggregated::{DecodeWorker, Pair, PrefillWorker, transfer_s};
use crate::projection::serving::engine::Engine;
use crate::projection::serving::load::ServingLoad;
use crate::projection::serving::question::ServingRequest;
use crate::projection::serving::search::SearchScope;
use crate::projection::serving::simulate::{Arrivals, EngineKind, Fleet, Run, SeenTimes, SimulatedRequest, simulate};
use crate::projection::serving::step_table::StepTable;
use crate::projection::serving::trace::TraceRequest;
use crate::projection::serving::watch::SimulationWatch;

/// The fewest and the most requests that are counted.
const COUNTED: (f64, f64) = (500.0, 20_000.0);
/// Steps of an engine that are aimed at.
const STEPS: f64 = 2e6;

/// What was seen of the requests, and how many times as much all chips do.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// Of the requests that count.
    pub seen: SeenTimes,
    /// Rates of the deployment over those that were seen.
    pub scale: f64,
    /// Requests per second that the deployment answers at most, in closed form.
    pub most_requests_per_s: f64,
}

/// Simulates the deployment of a point.
///
/// Aggregated engines do the same on average, so that one of them stands for all unless there is a trace.
/// `watch` hears what happens.
pub fn simulated(
    asked: &ServingRequest,
    scope: &SearchScope<'_>,
    point: &ServingPoint,
    watch: &mut impl SimulationWatch,
) -> Simulated {
    let mut simulated = match &point.deployment {
        Deployment::Aggregated { plan } => aggregated(asked, &scope.engine(plan), point, watch),
        Deployment::Disaggregated { prefill_workers, prefill, decode_workers, .. }
        | Deployment::AttentionFfn { prefill_workers, prefill, decode_workers, .. } => {
            with_workers(asked, scope, point, (*prefill_workers, prefill), *decode_workers, watch)
        }
    };
    simulated.seen.ttft_s.iter_mut().for_each(|ttft_s| *ttft_s += asked.on.chip.request_s());
    simulated
}

fn aggregated(
    asked: &ServingRequest,
    engine: &Engine<'_>,
    point: &ServingPoint,
    watch: &mut impl SimulationWatch,
) -> Simulated {
    let engines = engine.count();
    let table = Table::new(asked, engine, asked.lengths.reserved());
    let all = !asked.trace.is_empty();
    let prompts = table.kind(asked, if all { engines } else { 1.0 });
    let tokens_per_step = tokens_per_step(&asked.on);
    let fleet = Fleet { prompts, decode: None, transfer_s_per_token: 0.0, tokens_per_step };
    let share = if all { 1.0 } else { 1.0 / engines };
    let most_requests_per_s = engine.capacity(&asked.lengths);
    let (seen, scale) = run(asked, &fleet, point, share, watch);
    Simulated { seen, scale, most_requests_per_s }
}

fn with_workers(
    asked: &ServingRequest,
    scope: &SearchScope<'_>,
    point: &ServingPoint,
    (prefill_workers, prefill): (u32, &ParallelPlan),
    decode_workers: u32,
    watch: &mut impl SimulationWatch,
) -> Simulated {
    let (decode, experts) = point.deployment.answering();
    let (of_prompts, of_answers) = (scope.engine(prefill), scope.engine_of((decode, experts)));
    let (lengths, tokens_per_step) = (&asked.lengths, tokens_per_step(&asked.on));
    let transfer_s = transfer_s(&of_prompts, decode, lengths);
    let prompts = Table::new(asked, &of_prompts, lengths.reserved());
    let answers = Table::new(asked, &of_answers, lengths.reserved());
    let fleet = Fleet {
        prompts: prompts.kind(asked, of_prompts.count() * f64::from(prefill_workers)),
        decode: Some(answers.kind(asked, of_answers.count() * f64::from(decode_workers))),
        transfer_s_per_token: transfer_s / lengths.prompt,
        tokens_per_step,
    };
    let (seen, scale) = run(asked, &fleet, point, 1.0, watch);
    let workers = PrefillWorker::new(&of_prompts, lengths).zip(DecodeWorker::new(&of_answers, lengths));
    let most_requests_per_s = workers.map_or(0.0, |(prefill, decode)| {
        Pair { prefill: &prefill, prefill_workers, decode: &decode, decode_workers, transfer_s }.capacity()
    });
    Simulated { seen, scale, most_requests_per_s }
}

/// Steps of a kind of engine, and how much it holds.
struct Table {
    steps: StepTable,
    most: usize,
    cache_tokens: f64,
}

impl Table {
    fn new(asked: &ServingRequest, engine: &Engine<'_>, length: f64) -> Self {
        let most = whole(engine.most(length).max(1.0));
        Self { steps: StepTable::new(engine, &asked.lengths, most), most, cache_tokens: most as f64 * length }
    }

    fn kind(&self, asked: &ServingRequest, count: f64) -> EngineKind<'_> {
        EngineKind {
            count: whole(count).max(1),
            steps: &self.steps,
            chunk: asked.chunk,
            most: self.most,
            cache_tokens: self.cache_tokens,
        }
    }
}

/// Runs a share of the load. Returns what was seen, and all over the share.
fn run(
    asked: &ServingRequest,
    fleet: &Fleet<'_>,
    point: &ServingPoint,
    share: f64,
    watch: &mut impl SimulationWatch,
) -> (SeenTimes, f64) {
    let lengths = &asked.lengths;
    let like = SimulatedRequest {
        arrival_s: 0.0,
        cached: lengths.before(),
        computed: lengths.computed(),
        output: lengths.output,
    };
    let of_trace: Vec<SimulatedRequest> = asked.trace.iter().map(|request| as_seen(asked, request)).collect();
    let (arrivals, scale) = match asked.load.unwrap_or_else(|| point.load()) {
        _ if !of_trace.is_empty() => (Arrivals::Trace(&of_trace), 1.0),
        ServingLoad::Concurrency(clients) => {
            // The fullest engine sets the pace.
            let clients = clients * share;
            let simulated = (clients - 1e-6).ceil().max(1.0);
            (Arrivals::Clients(whole(simulated)), clients / simulated / share)
        }
        ServingLoad::RequestRate(rate) => (Arrivals::Rate(rate * share), 1.0 / share),
    };
    let inside = (point.concurrency * share).max(1.0);
    let engines = fleet.decode.map_or(fleet.prompts.count, |decode| decode.count) as f64;
    let counted = (STEPS * inside / engines / lengths.output).clamp(COUNTED.0, COUNTED.1).max(4.0 * inside);
    let warm_up = whole((3.0 * inside).max(counted / 10.0));
    let run = Run { arrivals, like, spread: lengths.spread, warm_up, counted: whole(counted) };
    (simulate(fleet, &run, watch), scale)
}

fn as_seen(asked: &ServingRequest, request: &TraceRequest) -> SimulatedRequest {
    let share = (request.prompt * asked.lengths.cached).min(request.prompt - 1.0);
    let cached = if asked.caches_repeats { request.repeated } else { share };
    SimulatedRequest { arrival_s: request.arrival_s, cached, computed: request.prompt - cached, output: request.output }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number that is no NaN")]
fn whole(value: f64) -> usize {
    value.max(0.0) as usize
}
