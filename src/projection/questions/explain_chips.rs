//! Why one machine is faster than another where the chips differ too: the chip is one more cause.
//!
//! The causes of the fabric stay together (Owen, 1977): the chip changes before all of them or after all of them. So a
//! cause of the fabric counts with the mean of what it gives on either chip, and the chip with the mean of what it gives
//! on either fabric. Factors still multiply to the ratio, and differences add up.

use crate::projection::chip::ChipModel;
use crate::projection::questions::explain::{CauseStep, Explanation, Hybrid, NoEnd, explain};
use crate::projection::request::Request;
use crate::projection::result::{Interval, Projection};
use crate::specs::Fabric;

/// The cause beside those of the fabric.
pub const CHIP: &str = "chip";

/// Explains the request's throughput over that of `baseline_chip` on `baseline`. The chip comes first; it is left out where
/// both are the same.
///
/// # Errors
/// [`NoEnd`]: one of the two chips has no plan on one of the fabrics.
pub fn explain_with_chips(
    request: &Request,
    baseline: &Fabric,
    baseline_chip: &ChipModel,
) -> Result<Explanation, NoEnd> {
    if *baseline_chip == request.chip {
        return explain(request, baseline);
    }
    let before = Request { chip: baseline_chip.clone(), ..request.clone() };
    let (before, after) = rayon::join(|| explain(&before, baseline), || explain(request, baseline));
    Ok(joined(before?, after?))
}

/// One explanation of two: the fabrics' causes on the old chip, and on the new one.
fn joined(before: Explanation, after: Explanation) -> Explanation {
    let mut steps = vec![chip_step(&before, &after)];
    steps.extend(before.steps.iter().zip(&after.steps).map(|(old, new)| mean(old, new)));
    let ratio = after.on.tokens_per_s_per_chip.paired_ratio(&before.baseline.tokens_per_s_per_chip);
    let on_new = after.hybrids.into_iter().map(|hybrid| {
        let has = std::iter::once(CHIP.to_owned()).chain(hybrid.has).collect();
        Hybrid { has, ..hybrid }
    });
    Explanation {
        baseline: before.baseline,
        on: after.on,
        ratio,
        overlap_gain: [before.overlap_gain[0], after.overlap_gain[1]],
        steps,
        hybrids: before.hybrids.into_iter().chain(on_new).collect(),
        caveats: after.caveats,
    }
}

/// What the chip gives: on the baseline, and on the fabric.
fn chip_step(before: &Explanation, after: &Explanation) -> CauseStep {
    let rate = |projection: &Projection| projection.tokens_per_s_per_chip;
    let ends = [(rate(&before.baseline), rate(&after.baseline)), (rate(&before.on), rate(&after.on))];
    let factor = |end: fn(&Interval) -> f64| ends.map(|(old, new)| end(&new) / end(&old));
    let [factors, low, high] = [factor(|rate| rate.median), factor(|rate| rate.low), factor(|rate| rate.high)];
    let differences = ends.map(|(old, new)| new.median - old.median);
    let (median, low, high) = (geometric(factors), geometric(low), geometric(high));
    CauseStep {
        cause: CHIP.to_owned(),
        what: format!("{} becomes {}", before.baseline.chip, after.on.chip),
        factor: Interval { median, low: median.min(low).min(high), high: median.max(low).max(high) },
        factor_over_orders: ordered(factors),
        tokens_per_s_per_chip: f64::midpoint(differences[0], differences[1]),
        tokens_per_s_per_chip_over_orders: ordered(differences),
        parts: Vec::new(),
    }
}

/// The mean of a cause on both chips.
fn mean(old: &CauseStep, new: &CauseStep) -> CauseStep {
    let widest = |one: [f64; 2], other: [f64; 2]| [one[0].min(other[0]), one[1].max(other[1])];
    let parts = old.parts.iter().zip(&new.parts).map(|(old, new)| {
        let mut part = new.clone();
        part.factor = geometric([old.factor, new.factor]);
        part.tokens_per_s_per_chip = f64::midpoint(old.tokens_per_s_per_chip, new.tokens_per_s_per_chip);
        part
    });
    CauseStep {
        cause: new.cause.clone(),
        what: new.what.clone(),
        factor: Interval {
            median: geometric([old.factor.median, new.factor.median]),
            low: geometric([old.factor.low, new.factor.low]),
            high: geometric([old.factor.high, new.factor.high]),
        },
        factor_over_orders: widest(old.factor_over_orders, new.factor_over_orders),
        tokens_per_s_per_chip: f64::midpoint(old.tokens_per_s_per_chip, new.tokens_per_s_per_chip),
        tokens_per_s_per_chip_over_orders: widest(
            old.tokens_per_s_per_chip_over_orders,
            new.tokens_per_s_per_chip_over_orders,
        ),
        parts: parts.collect(),
    }
}

fn geometric([one, other]: [f64; 2]) -> f64 {
    (one * other).sqrt()
}

fn ordered([one, other]: [f64; 2]) -> [f64; 2] {
    [one.min(other), one.max(other)]
}
