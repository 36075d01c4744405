//! All deployments of a request under its load, or under every load: the best, and the front.

use crate::ordering::by_rising;
use crate::projection::parallel;
use crate::projection::parallel_plan::{ExpertExchange, ExpertWorker, ParallelPlan};
use crate::projection::plan;
use crate::projection::request::{Infeasible, Pins, Request};
use crate::projection::result::MemoryUse;
use crate::projection::serving::deployment::{self, ServingPoint};
use crate::projection::serving::engine::{Engine, MOST_SEQUENCES, ServingMachines};
use crate::projection::serving::load::{Lengths, ServingLoad};

/// Growth of the clients of an engine from one to the next that is searched.
const GROWTH: f64 = 1.25;

/// Ranks that split an expert, and ranks that share a KV cache, which are searched.
const SMALL_DEGREES: [u32; 5] = [1, 2, 4, 8, 16];

/// A point of a front gains so many times as much as the one before it, at least.
const GAIN: f64 = 1.02;

/// What is searched on which chips.
#[derive(Debug, Clone, Copy)]
pub struct SearchScope<'a> {
    /// Model, chip, fabric, chips and pins; its phase is decode.
    pub request: &'a Request,
    /// Chip and fabric.
    pub machines: &'a ServingMachines,
    /// Lengths of a request.
    pub lengths: &'a Lengths,
    /// The load; every one if there is none.
    pub load: Option<ServingLoad>,
    /// The most prompt tokens of a step.
    pub chunk: f64,
}

impl<'a> SearchScope<'a> {
    /// The engine of a plan.
    pub fn engine<'b>(&self, plan: &'b ParallelPlan) -> Engine<'b>
    where
        'a: 'b,
    {
        Engine { request: self.request, plan, experts: None, machines: self.machines, chunk: self.chunk }
    }

    /// The engine of a plan's attention with its experts on other chips, if they are.
    pub fn engine_of<'b>(&self, (plan, experts): (&'b ParallelPlan, Option<&'b ExpertWorker>)) -> Engine<'b>
    where
        'a: 'b,
    {
        Engine { experts, ..self.engine(plan) }
    }

    /// Aggregated deployments: each split of the chips under each load.
    ///
    /// # Errors
    /// [`Infeasible`]: no split exists.
    pub fn aggregated(&self) -> Result<Vec<ServingPoint>, Infeasible> {
        let plans = splits(self.request)?;
        let points = |plan: &ParallelPlan| {
            let engine = self.engine(plan);
            let loads = self.load.map_or_else(|| every_load(&engine, self.lengths), |load| vec![load]);
            loads.into_iter().filter_map(|load| deployment::aggregated(&engine, load, self.lengths)).collect::<Vec<_>>()
        };
        Ok(parallel::map(&plans, || (), |(), plan| points(plan)).into_iter().flatten().collect())
    }

    /// The most requests per second that any aggregated deployment answers, and its plan.
    ///
    /// # Errors
    /// [`Infeasible`]: no split exists, or none has memory for one request.
    pub fn most_requests(&self) -> Result<(f64, ParallelPlan), Infeasible> {
        let plans = splits(self.request)?;
        let capacities = parallel::map(&plans, || (), |(), plan| self.engine(plan).capacity(self.lengths));
        let best = capacities.into_iter().zip(&plans).max_by(|a, b| a.0.total_cmp(&b.0));
        match best {
            Some((capacity, plan)) if capacity > 0.0 => Ok((capacity, *plan)),
            _ => Err(self.too_large(&plans.iter().map(|plan| (*plan, None)).collect::<Vec<_>>())),
        }
    }

    /// The plan that comes nearest to having memory for one request per engine. Of attention and experts on different
    /// chips, the side counts that lacks more.
    pub(super) fn too_large(&self, plans: &[(ParallelPlan, Option<ExpertWorker>)]) -> Infeasible {
        let excess = |memory: &MemoryUse| memory.used() - memory.capacity;
        let of = |(plan, experts): &(ParallelPlan, Option<ExpertWorker>)| {
            let engine = self.engine_of((plan, experts.as_ref()));
            let memory = engine.memory(1.0, self.lengths.reserved());
            match engine.experts_memory().zip(*experts) {
                Some((there, experts)) if excess(&there) > excess(&memory) => (there, experts.plan()),
                _ => (memory, *plan),
            }
        };
        let nearest = plans.iter().map(of).min_by(|a, b| excess(&a.0).total_cmp(&excess(&b.0)));
        match nearest {
            Some((memory, plan)) => {
                Infeasible::Memory { plan, needed_bytes: memory.used(), over_bytes: excess(&memory) }
            }
            None => Infeasible::Split { chips: self.request.chips, reason: "no plan is left".to_owned() },
        }
    }
}

/// All splits of the chips, without a batch. What is not pinned is one micro-batch, as frameworks run it.
///
/// Experts are split by tensor parallelism, their tokens gathered, and KV caches shared where nothing is pinned, without
/// pipeline stages and, for the first two, among the ranks of a node alone.
///
/// # Errors
/// [`Infeasible`]: none exists.
pub fn splits(request: &Request) -> Result<Vec<ParallelPlan>, Infeasible> {
    let microbatches = Some(request.pins.microbatches.unwrap_or(1));
    let of = |pins: Pins| plan::candidates(&Request { pins, ..request.clone() });
    let plain = Pins { batch_per_chip: Some(MOST_SEQUENCES), microbatches, ..request.pins };
    let plans = of(plain);
    let pinned = request.pins;
    let is_open = |plan: &ParallelPlan| {
        let experts_in_node = f64::from(plan.ep) * f64::from(plan.moe_tp) <= node_ranks(request);
        let gathers = plan.moe_exchange == ExpertExchange::AllGather;
        (pinned.dcp.is_some() || plan.dcp == 1 || plan.pp == 1)
            && (pinned.moe_tp.is_some() || plan.moe_tp == 1 || (plan.pp == 1 && experts_in_node))
            && (pinned.moe_exchange.is_some()
                || !gathers
                || (plan.pp == 1 && experts_in_node && plan.gathering() > 1.0))
    };
    let others = open_pins(request, plain).into_iter().filter_map(|pins| of(pins).ok()).flatten().filter(is_open);
    let all: Vec<ParallelPlan> = plans.iter().flatten().copied().chain(others).collect();
    if all.is_empty() { plans } else { Ok(all) }
}

/// The pins with each choice of what they leave open of `moe_tp`, the exchange and `dcp`, but for the plain choice.
fn open_pins(request: &Request, plain: Pins) -> Vec<Pins> {
    let degrees = |pinned: Option<u32>| pinned.map_or_else(|| SMALL_DEGREES.to_vec(), |degree| vec![degree]);
    let has_experts = request.model.moe.is_some();
    let splits = if has_experts { degrees(plain.moe_tp) } else { vec![1] };
    let exchanges = match plain.moe_exchange {
        Some(exchange) => vec![exchange],
        None if has_experts => vec![ExpertExchange::AllToAll, ExpertExchange::AllGather],
        None => vec![ExpertExchange::AllToAll],
    };
    let mut all = Vec::new();
    for moe_tp in splits {
        for moe_exchange in exchanges.iter().copied() {
            for dcp in degrees(plain.dcp) {
                let pins = Pins { moe_tp: Some(moe_tp), moe_exchange: Some(moe_exchange), dcp: Some(dcp), ..plain };
                let is_plain = moe_tp == plain.moe_tp.unwrap_or(1)
                    && moe_exchange == plain.moe_exchange.unwrap_or_default()
                    && dcp == plain.dcp.unwrap_or(1);
                all.extend((!is_plain).then_some(pins));
            }
        }
    }
    all
}

/// Ranks of a node.
fn node_ranks(request: &Request) -> f64 {
    let chips = request.fabric.tiers.first().map_or(1, |tier| tier.chips);
    chips as f64 * request.chip.dies.value.max(1.0)
}

/// From one client per engine to as many as there is memory for.
fn every_load(engine: &Engine<'_>, lengths: &Lengths) -> Vec<ServingLoad> {
    let most = engine.most(lengths.reserved());
    let next = |clients: &f64| Some((clients * GROWTH).floor().max(clients + 1.0));
    let clients = std::iter::successors(Some(1.0), next).take_while(|clients| *clients <= most);
    clients.map(|clients| ServingLoad::Concurrency(clients * engine.count())).collect()
}

/// The Pareto front: points that no other beats in both tokens per second of a user and of a chip, the fastest for a user
/// first.
pub fn pareto(points: Vec<ServingPoint>) -> Vec<ServingPoint> {
    front(points, |point| (-point.tokens_per_s_per_user, point.tokens_per_s_per_chip))
}

/// Those that no other beats in both what they cost and what they gain, the cheapest first.
pub(super) fn front<T>(all: Vec<T>, cost_and_gain: impl Fn(&T) -> (f64, f64)) -> Vec<T> {
    let mut all = by_rising(all, |one| {
        let (cost, gain) = cost_and_gain(one);
        [cost, -gain]
    });
    let mut best = 0.0;
    all.retain(|one| {
        let (_, gain) = cost_and_gain(one);
        let is_better = gain > best * GAIN;
        if is_better {
            best = gain;
        }
        is_better
    });
    all
}
