//! The plans of decode that may be the best, found without a schedule of the others.
//!
//! A batch has a bound: a time that its step does not take less than, far cheaper than the step itself. Plans that differ
//! in the batch alone make a series, in which memory and time only grow. So one bound holds for all larger batches, and
//! whole parts of a series are left out at once. What looks best is looked at first (best-first branch and bound).

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use crate::ordering::by_rising;
use crate::projection::machine::Machine;
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::phases::{optimistic, over_bytes};
use crate::projection::plan::scored::{ScoredPlan, judge};
use crate::projection::request::Request;

/// Plans so close to the best are kept, whatever rounding did to their bounds.
const CLOSE: f64 = 1e-6;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The highest throughput within the latency limit.
    Throughput,
    /// The shortest latency, limit or not.
    Latency,
}

/// A part of a series, and how good its plans are at most.
struct Part {
    /// Tokens per second and chip, or seconds per token below zero: more is better.
    most: f64,
    /// Which of the series.
    series: usize,
    /// Which of its plans.
    plans: Range<usize>,
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Part {}

impl PartialOrd for Part {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Part {
    fn cmp(&self, other: &Self) -> Ordering {
        self.most.total_cmp(&other.most)
    }
}

/// The plans that the best one is among, in their order; none where no plan fits.
pub(super) fn promising(tree: &Tree<'_>, goal: Goal) -> Vec<ScoredPlan> {
    let mut parts: BinaryHeap<Part> = tree.whole(goal);
    let (mut found, mut best): (Vec<(usize, ScoredPlan)>, f64) = (Vec::new(), f64::NEG_INFINITY);
    while let Some(part) = parts.pop() {
        if part.most < best - best.abs() * CLOSE {
            break;
        }
        if part.plans.len() > 1 {
            parts.extend(tree.halves(&part, goal));
            continue;
        }
        let index = tree.series[part.series][part.plans.start];
        if let Some(scored) = judge(tree.request, &tree.plans[index], tree.machine) {
            best = best.max(tree.worth(&scored, goal));
            found.push((index, scored));
        }
    }
    by_rising(found, |(index, _)| [*index as f64, 0.0]).into_iter().map(|(_, scored)| scored).collect()
}

/// Indices of plans that differ in the batch alone, the smallest batch first, as far as they fit into memory.
pub(super) fn series(request: &Request, plans: &[ParallelPlan], machine: &Machine) -> Vec<Vec<usize>> {
    let mut all: BTreeMap<[u32; 6], Vec<usize>> = BTreeMap::new();
    for (index, plan) in plans.iter().enumerate() {
        all.entry([plan.tp, plan.pp, plan.ep, plan.dp, plan.cp, plan.microbatches]).or_default().push(index);
    }
    let mut all: Vec<Vec<usize>> = all.into_values().collect();
    for one in &mut all {
        *one = by_rising(std::mem::take(one), |index| [plans[*index].batch_per_chip, 0.0]);
        one.truncate(one.partition_point(|index| over_bytes(request, &plans[*index], machine) <= 0.0));
    }
    all
}

/// All plans by series, with the bounds that were asked for so far.
pub(super) struct Tree<'a> {
    request: &'a Request,
    plans: &'a [ParallelPlan],
    machine: &'a Machine,
    series: Vec<Vec<usize>>,
    /// Of each plan.
    bounds: Vec<OnceCell<Bound>>,
}

/// What a plan delivers at most.
#[derive(Debug, Clone, Copy)]
struct Bound {
    /// Tokens per second and chip.
    throughput: f64,
    /// Seconds per token.
    latency_s: f64,
}

impl<'a> Tree<'a> {
    pub(super) fn new(request: &'a Request, plans: &'a [ParallelPlan], machine: &'a Machine) -> Self {
        let series = series(request, plans, machine);
        Self { request, plans, machine, series, bounds: vec![OnceCell::new(); plans.len()] }
    }

    /// The parts to begin with: whole series. Measured kernels may be faster with more rows, so that each plan is a part.
    fn whole(&self, goal: Goal) -> BinaryHeap<Part> {
        let step = if self.machine.costs.is_none() { usize::MAX } else { 1 };
        let starts = |length: usize| (0..length).step_by(step).map(move |at| at..at.saturating_add(step).min(length));
        let lengths = self.series.iter().map(Vec::len).enumerate();
        let ranges = lengths.flat_map(|(series, length)| starts(length).map(move |range| (series, range)));
        ranges.filter_map(|(series, range)| self.part(series, range, goal)).collect()
    }

    fn halves(&self, part: &Part, goal: Goal) -> impl Iterator<Item = Part> {
        let Range { start, end } = part.plans;
        let middle = start.midpoint(end);
        let series = part.series;
        [start..middle, middle..end].into_iter().filter_map(move |plans| self.part(series, plans, goal))
    }

    /// A part, if a plan of it can keep a latency limit that counts.
    fn part(&self, series: usize, plans: Range<usize>, goal: Goal) -> Option<Part> {
        let of_series = self.series[series].get(plans.clone())?;
        let index = *of_series.first()?;
        let (first, last) = (&self.plans[index], &self.plans[*of_series.last()?]);
        let bound = self.bounds[index].get_or_init(|| {
            let outcome = optimistic(self.request, first, self.machine);
            Bound { throughput: outcome.throughput(first), latency_s: outcome.per_token() }
        });
        let most = match goal {
            Goal::Throughput if bound.latency_s > self.request.workload.tpot_limit_s * (1.0 + CLOSE) => return None,
            Goal::Throughput => bound.throughput * (last.batch_per_chip / first.batch_per_chip),
            Goal::Latency => -bound.latency_s,
        };
        Some(Part { most, series, plans })
    }

    /// How good a plan is, as [`Part::most`] has it.
    fn worth(&self, plan: &ScoredPlan, goal: Goal) -> f64 {
        match goal {
            Goal::Throughput if plan.latency_s > self.request.workload.tpot_limit_s => f64::NEG_INFINITY,
            Goal::Throughput => plan.tokens_per_s_per_chip,
            Goal::Latency => -plan.latency_s,
        }
    }
}
