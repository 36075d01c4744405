//! What-ifs: the throughput of decode over a grid of bandwidth, latency, chips and batch. A page answers between its
//! points without the model.

use rayon::prelude::*;
use serde::Serialize;

use crate::projection::answer::estimate;
use crate::projection::parallel_plan::{ParallelPlan, Phase};
use crate::projection::request::{Infeasible, Pins, Request};
use crate::specs::{Fabric, Sourced};

/// Points of the bandwidth axis: a tenth to ten times.
const BANDWIDTHS: usize = 25;
/// Points of the latency axis: a twentieth to twenty times.
const LATENCIES: usize = 21;
const BANDWIDTH_REACH: f64 = 10.0;
const LATENCY_REACH: f64 = 20.0;
/// The most halvings of the number of chips.
const HALVINGS: usize = 6;
const FEWEST_CHIPS: u32 = 8;
const BATCHES: [f64; 9] = [4.0, 8.0, 16.0, 32.0, 64.0, 96.0, 128.0, 192.0, 256.0];

/// The axes of a [`Surface`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Axes {
    /// Factors on the bandwidth of every tier, rising, with even steps of the logarithm.
    pub bandwidth_factors: Vec<f64>,
    /// Factors on latencies, message overheads and fixed costs of every tier, likewise.
    pub latency_factors: Vec<f64>,
    /// Numbers of chips, rising.
    pub chips: Vec<u32>,
    /// Sequences per chip, rising.
    pub batches_per_chip: Vec<f64>,
}

impl Axes {
    /// The axes for a request: its chips and halves of them, with the plan's batch among the batches.
    pub fn of(request: &Request, plan: &ParallelPlan) -> Self {
        let halves = std::iter::successors(Some(request.chips), |chips| {
            (chips.is_multiple_of(2) && chips / 2 >= FEWEST_CHIPS).then_some(chips / 2)
        });
        let mut chips: Vec<u32> = halves.take(HALVINGS).collect();
        chips.reverse();
        let mut batches = BATCHES.to_vec();
        batches.push(plan.batch_per_chip);
        batches.sort_unstable_by(f64::total_cmp);
        batches.dedup();
        Self {
            bandwidth_factors: spread(BANDWIDTHS, BANDWIDTH_REACH),
            latency_factors: spread(LATENCIES, LATENCY_REACH),
            chips,
            batches_per_chip: batches,
        }
    }
}

/// `count` factors from `1 / reach` to `reach`, evenly in the logarithm.
fn spread(count: usize, reach: f64) -> Vec<f64> {
    let last = (count.max(2) - 1) as f64;
    (0..count).map(|i| reach.powf(2.0 * i as f64 / last - 1.0)).collect()
}

/// Throughput of decode over a grid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Surface {
    /// The axes.
    pub axes: Axes,
    /// Tensor-parallel degree and pipeline stages, which all points share; the rest of the plan is searched at each.
    pub tp: u32,
    /// See `tp`.
    pub pp: u32,
    /// Tokens per second and chip by chips, batch, bandwidth and latency, the last changing fastest; `None` where no
    /// plan fits. Empty where a page has the model itself.
    pub tokens_per_s_per_chip: Vec<Option<f64>>,
    /// The same on the baseline as it is, by chips and batch.
    pub baseline_tokens_per_s_per_chip: Vec<Option<f64>>,
    /// Bandwidth at factor 1 of the tier that joins all chips, bytes per second and chip.
    pub bandwidth_bytes_per_s: f64,
}

/// Evaluates the grid on all cores.
pub fn surface(request: &Request, plan: &ParallelPlan, baseline: &Fabric, axes: Axes) -> Surface {
    let settings = || axes.chips.iter().flat_map(|chips| axes.batches_per_chip.iter().map(|batch| (*chips, *batch)));
    let points: Vec<(u32, f64, f64, f64)> = settings()
        .flat_map(|(chips, batch)| {
            let latencies = |bandwidth: f64| axes.latency_factors.iter().map(move |latency| (bandwidth, *latency));
            let grid = axes.bandwidth_factors.iter().flat_map(move |bandwidth| latencies(*bandwidth));
            grid.map(move |(bandwidth, latency)| (chips, batch, bandwidth, latency))
        })
        .collect();
    let on = |point: &(u32, f64, f64, f64)| exact(request, plan, *point);
    let tokens_per_s_per_chip = points.par_iter().map(on).collect();
    Surface { tokens_per_s_per_chip, ..without_grid(request, plan, baseline, axes.clone()) }
}

/// The same without the grid itself, for a page in which the model answers.
pub fn without_grid(request: &Request, plan: &ParallelPlan, baseline: &Fabric, axes: Axes) -> Surface {
    let settings = || axes.chips.iter().flat_map(|chips| axes.batches_per_chip.iter().map(|batch| (*chips, *batch)));
    let below_request = request.on(baseline.clone());
    let below = |(chips, batch): (u32, f64)| exact(&below_request, plan, (chips, batch, 1.0, 1.0));
    let outer = request.fabric.tier_joining(u64::from(request.chips));
    let bandwidth = outer.and_then(|tier| tier.bandwidth_bytes_per_s.as_ref()).unwrap_or(&request.chip.scale_up).value;
    Surface {
        tokens_per_s_per_chip: Vec::new(),
        baseline_tokens_per_s_per_chip: settings().map(below).collect(),
        axes,
        tp: plan.tp,
        pp: plan.pp,
        bandwidth_bytes_per_s: bandwidth,
    }
}

/// What the model says at one point: chips, sequences per chip, factor on bandwidth, factor on latency.
pub fn exact(request: &Request, plan: &ParallelPlan, point: (u32, f64, f64, f64)) -> Option<f64> {
    let (plan, outcome) = estimate(&asked(request, plan, point)).ok()?;
    Some(outcome.throughput(&plan))
}

/// The request at a point, without a limit of latency.
fn asked(request: &Request, plan: &ParallelPlan, (chips, batch, bandwidth, latency): (u32, f64, f64, f64)) -> Request {
    Request {
        fabric: scaled(&request.fabric, &request.chip.scale_up, bandwidth, latency),
        chips,
        phase: Phase::Decode,
        pins: Pins { tp: Some(plan.tp), pp: Some(plan.pp), batch_per_chip: Some(batch), ..Pins::default() },
        ..request.without_limit()
    }
}

/// A fabric with factors on its tiers' bandwidths, and on their latencies, overheads and fixed costs: the properties
/// that `explain` calls bandwidth and latency.
pub fn scaled(fabric: &Fabric, scale_up: &Sourced, bandwidth: f64, latency: f64) -> Fabric {
    let mut fabric = fabric.clone();
    for tier in &mut fabric.tiers {
        times(tier.bandwidth_bytes_per_s.get_or_insert_with(|| scale_up.clone()), bandwidth);
        for value in [
            &mut tier.latency_s,
            &mut tier.message_overhead_s,
            &mut tier.collective_fixed_s,
            &mut tier.all_to_all_fixed_s,
        ] {
            times(value, latency);
        }
    }
    if let Some(copy) = &mut fabric.dispatch_copy_s {
        times(copy, latency);
    }
    fabric
}

fn times(value: &mut Sourced, factor: f64) {
    value.value *= factor;
    for end in [&mut value.low, &mut value.high].into_iter().flatten() {
        *end *= factor;
    }
}

impl Surface {
    /// The throughput between the points of the grid, at a number of chips and a batch of the axes (by index). It is
    /// bilinear in the logarithms of both factors and of the value. `None` where a point around it has no plan. The
    /// script of the page does the same.
    pub fn at(&self, chips: usize, batch: usize, bandwidth: f64, latency: f64) -> Option<f64> {
        let Axes { bandwidth_factors, latency_factors, batches_per_chip, .. } = &self.axes;
        let (columns, rows) = (latency_factors.len(), bandwidth_factors.len());
        let first = (chips * batches_per_chip.len() + batch) * rows * columns;
        let (row, down) = place(bandwidth_factors, bandwidth)?;
        let (column, right) = place(latency_factors, latency)?;
        let log = |row: usize, column: usize| {
            let value = self.tokens_per_s_per_chip.get(first + row * columns + column).copied().flatten()?;
            Some(value.ln())
        };
        let mix = |a: f64, b: f64, share: f64| a + (b - a) * share;
        let above = mix(log(row, column)?, log(row, column + 1)?, right);
        let below = mix(log(row + 1, column)?, log(row + 1, column + 1)?, right);
        Some(mix(above, below, down).exp())
    }
}

/// The interval of a logarithmic axis in which a value lies, and its position in it, from 0 to 1. Values beyond an end
/// count as that end.
fn place(axis: &[f64], value: f64) -> Option<(usize, f64)> {
    let last = axis.len().checked_sub(2)?;
    let index = axis.partition_point(|point| *point <= value).saturating_sub(1).min(last);
    let share = (value / axis[index]).ln() / (axis[index + 1] / axis[index]).ln();
    Some((index, share.clamp(0.0, 1.0)))
}

/// The plan that decode is best served with, whose `tp` and `pp` a surface keeps.
///
/// # Errors
/// [`Infeasible`]: there is none.
pub fn anchor(request: &Request) -> Result<ParallelPlan, Infeasible> {
    let limited = estimate(request);
    let unlimited = || estimate(&request.without_limit());
    limited.or_else(|_| unlimited()).map(|(plan, _)| plan)
}

#[cfg(test)]
mod tests;
