//! All deployments of a request under its load, or under every load: the best, and the front.

use rayon::prelude::*;

use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::plan;
use crate::projection::request::{Infeasible, Pins, Request};
use crate::projection::serving::deployment::{self, ServingPoint};
use crate::projection::serving::engine::{Engine, MOST_SEQUENCES, ServingMachines};
use crate::projection::serving::load::{Lengths, ServingLoad};

/// Growth of the clients of an engine from one to the next that is searched.
const GROWTH: f64 = 1.25;

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
        Engine { request: self.request, plan, machines: self.machines, chunk: self.chunk }
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
        Ok(plans.par_iter().flat_map_iter(points).collect())
    }

    /// The most requests per second that any aggregated deployment answers, and its plan.
    ///
    /// # Errors
    /// [`Infeasible`]: no split exists, or none has memory for one request.
    pub fn most_requests(&self) -> Result<(f64, ParallelPlan), Infeasible> {
        let plans = splits(self.request)?;
        let capacities: Vec<f64> = plans.par_iter().map(|plan| self.engine(plan).capacity(self.lengths)).collect();
        let best = capacities.into_iter().zip(&plans).max_by(|a, b| a.0.total_cmp(&b.0));
        match best {
            Some((capacity, plan)) if capacity > 0.0 => Ok((capacity, *plan)),
            _ => Err(self.too_large(&plans)),
        }
    }

    /// The split that comes nearest to having memory for one request per engine.
    fn too_large(&self, plans: &[ParallelPlan]) -> Infeasible {
        let over = |plan: &ParallelPlan| {
            let memory = self.engine(plan).memory(1.0, self.lengths.reserved());
            (memory.used() - memory.capacity, memory.used())
        };
        let nearest = plans.iter().map(|plan| (over(plan), *plan)).min_by(|a, b| a.0.0.total_cmp(&b.0.0));
        match nearest {
            Some(((over_bytes, needed_bytes), plan)) => Infeasible::Memory { plan, needed_bytes, over_bytes },
            None => Infeasible::Split { chips: self.request.chips, reason: "no plan is left".to_owned() },
        }
    }
}

/// All splits of the chips, without a batch. What is not pinned is one micro-batch, as frameworks run it.
///
/// # Errors
/// [`Infeasible`]: none exists.
pub fn splits(request: &Request) -> Result<Vec<ParallelPlan>, Infeasible> {
    let microbatches = Some(request.pins.microbatches.unwrap_or(1));
    let pins = Pins { batch_per_chip: Some(MOST_SEQUENCES), microbatches, ..request.pins };
    plan::candidates(&Request { pins, ..request.clone() })
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
pub(super) fn front<T>(mut all: Vec<T>, cost_and_gain: impl Fn(&T) -> (f64, f64)) -> Vec<T> {
    all.sort_by(|a, b| {
        let ((cost, gain), (other_cost, other_gain)) = (cost_and_gain(a), cost_and_gain(b));
        cost.total_cmp(&other_cost).then(other_gain.total_cmp(&gain))
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
