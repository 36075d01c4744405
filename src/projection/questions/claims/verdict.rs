//! From readings to a verdict: which fit, in words.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::projection::questions::claims::reading::ClaimReading;
use crate::projection::result::Interval;
use crate::specs::Point;
use crate::specs::claim::{Claim, Figure};
use crate::specs::grid::{GridAxis, GridValue};
use crate::units::with_prefix;

/// What the readings say about a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Verdict {
    /// Every reading that can be evaluated fits.
    Consistent {
        /// How many.
        readings: usize,
    },
    /// Some fit.
    OnlyIf {
        /// The readings that fit, in words: any of these; the one that covers most first.
        any_of: Vec<String>,
        /// How many fit.
        fitting: usize,
        /// Of how many.
        readings: usize,
    },
    /// None fits.
    NotReproduced {
        /// The one that comes nearest, if any has a value.
        nearest: Option<Nearest>,
        /// Of how many.
        readings: usize,
    },
}

/// The reading that comes nearest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Nearest {
    /// The reading in words.
    pub reading: String,
    /// The model's values of all figures.
    pub values: Vec<Interval>,
    /// How they came about.
    pub how: String,
    /// The model's central value over the nearest end of the figure's range; of several figures, the one furthest off.
    pub off_by: f64,
}

/// Whether a reading fits one figure, or all.
fn fits(reading: &ClaimReading, figure: Option<usize>) -> bool {
    match figure {
        None => reading.fits,
        Some(index) => !reading.circular && reading.values.get(index).is_some_and(|value| value.fits),
    }
}

/// The verdict on one figure, or on all together.
pub(super) fn verdict(claim: &Claim, readings: &[ClaimReading], figure: Option<usize>) -> Verdict {
    let counted = readings.iter().filter(|reading| !reading.values.is_empty() && !reading.circular).count();
    let fitting = readings.iter().filter(|reading| fits(reading, figure)).count();
    if fitting == 0 {
        Verdict::NotReproduced { nearest: nearest(claim, readings, figure), readings: counted }
    } else if fitting == counted {
        Verdict::Consistent { readings: counted }
    } else {
        Verdict::OnlyIf { any_of: words_of_fits(claim, readings, figure), fitting, readings: counted }
    }
}

/// The reading whose central value comes nearest in ratio.
pub(super) fn nearest(claim: &Claim, readings: &[ClaimReading], figure: Option<usize>) -> Option<Nearest> {
    let distance = |off_by: f64| off_by.ln().abs();
    let off = |reading: &ClaimReading| -> Option<f64> {
        let counted =
            reading.values.iter().enumerate().filter(|(index, _)| figure.is_none_or(|wanted| wanted == *index));
        counted.map(|(_, value)| value.off_by).max_by(|a, b| distance(*a).total_cmp(&distance(*b)))
    };
    let candidates = readings.iter().filter(|reading| !reading.circular);
    // Of those inside the range, the one nearest to its middle, or to its end where it has one only.
    let aside = |reading: &ClaimReading| -> f64 {
        let counted = claim.figures.iter().zip(&reading.values).enumerate();
        let counted = counted.filter(|(index, _)| figure.is_none_or(|wanted| wanted == *index));
        counted.map(|(_, (figure, value))| (value.value.median / middle(figure)).ln().abs()).sum()
    };
    let best = candidates.filter_map(|reading| Some((reading, off(reading)?)));
    let (reading, off_by) = best
        .min_by(|(a, x), (b, y)| distance(*x).total_cmp(&distance(*y)).then_with(|| aside(a).total_cmp(&aside(b))))?;
    let values = reading.values.iter().map(|value| value.value).collect();
    Some(Nearest { reading: point_words(claim, &reading.point), values, how: reading.how.clone(), off_by })
}

fn middle(figure: &Figure) -> f64 {
    figure.high.map_or(figure.low, |high| (figure.low * high).sqrt())
}

/// Products of values that hold only fitting readings, and together hold all of them: greedily, the largest first.
fn words_of_fits(claim: &Claim, readings: &[ClaimReading], figure: Option<usize>) -> Vec<String> {
    let mut boxes: Vec<(usize, String)> = Vec::new();
    let mut start = 0;
    for axes in claim.readings.parts() {
        let len: usize = axes.iter().map(|axis| axis.values.len()).product();
        let part = readings.get(start..start + len).unwrap_or_default();
        start += len;
        let fitting: BTreeSet<usize> =
            part.iter().enumerate().filter(|(_, reading)| fits(reading, figure)).map(|(index, _)| index).collect();
        let mut left = fitting.clone();
        while let Some(first) = left.first().copied() {
            let found = grow(axes, first, &fitting);
            for index in members(axes, &found) {
                left.remove(&index);
            }
            let size = members(axes, &found).len();
            boxes.push((size, box_words(claim, axes, &found)));
        }
    }
    boxes.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    boxes.into_iter().map(|(_, words)| words).collect()
}

/// The values of each axis, by index, that make up a product of readings.
type Product = Vec<BTreeSet<usize>>;

/// The largest product around a reading that the greedy order of axes finds inside `fitting`.
fn grow(axes: &[GridAxis], first: usize, fitting: &BTreeSet<usize>) -> Product {
    let mut product: Product = coordinates(axes, first).into_iter().map(|at| BTreeSet::from([at])).collect();
    for (axis, values) in axes.iter().enumerate() {
        for value in 0..values.values.len() {
            let mut wider = product.clone();
            if wider[axis].insert(value) && members(axes, &wider).iter().all(|index| fitting.contains(index)) {
                product = wider;
            }
        }
    }
    product
}

/// Index of each axis's value; the last axis varies fastest.
fn coordinates(axes: &[GridAxis], mut index: usize) -> Vec<usize> {
    let mut at: Vec<usize> = axes
        .iter()
        .rev()
        .map(|axis| {
            let value = index % axis.values.len();
            index /= axis.values.len();
            value
        })
        .collect();
    at.reverse();
    at
}

fn members(axes: &[GridAxis], product: &Product) -> Vec<usize> {
    let mut all = vec![0];
    for (axis, values) in axes.iter().zip(product) {
        all = all.iter().flat_map(|base| values.iter().map(move |value| base * axis.values.len() + value)).collect();
    }
    all
}

/// A product of readings in words: the axes that it restricts, and the values that only its part of the grid has.
fn box_words(claim: &Claim, axes: &[GridAxis], product: &Product) -> String {
    let mut words = Vec::new();
    for (axis, chosen) in axes.iter().zip(product) {
        let restricted = chosen.len() < axis.values.len();
        let only_here = axis.values.len() == 1 && !shared(claim, axis) && names_its_part(&axis.key);
        if restricted || only_here {
            let values: Vec<String> = chosen
                .iter()
                .filter_map(|index| axis.values.get(*index))
                .map(|value| value_words(&axis.key, value))
                .collect();
            words.push(phrase(&axis.key, &values.join(" or ")));
        }
    }
    if words.is_empty() { "any reading".to_owned() } else { words.join(", ") }
}

/// Whether a key says in a word which part of a grid a reading is of.
fn names_its_part(key: &str) -> bool {
    matches!(key, "phase" | "global_batch")
}

/// Whether all parts of the grid have this axis as it is.
fn shared(claim: &Claim, axis: &GridAxis) -> bool {
    claim.readings.parts().iter().all(|axes| axes.contains(axis))
}

/// A reading in words: its values on axes with several values, and those that only its part of the grid has.
fn point_words(claim: &Claim, point: &Point) -> String {
    let holds = |axes: &&Vec<GridAxis>| {
        let has = |axis: &GridAxis| point.get(&axis.key).is_some_and(|value| axis.values.contains(value));
        axes.len() == point.0.len() && axes.iter().all(has)
    };
    // The chip of a record takes the place of the named one, and then no grid holds the point as it is.
    let axes = claim.readings.parts().iter().find(holds);
    let varies = |key: &str| match axes.and_then(|axes| axes.iter().find(|axis| axis.key == key)) {
        Some(axis) => axis.values.len() > 1 || (names_its_part(&axis.key) && !shared(claim, axis)),
        None => matches!(key, "model" | "phase" | "fabric" | "type" | "serving" | "plan.mode" | "baseline_plan"),
    };
    let words = point.0.iter().filter(|(key, _)| varies(key));
    let words: Vec<String> = words.map(|(key, value)| phrase(key, &value_words(key, value))).collect();
    if words.is_empty() { "the one reading".to_owned() } else { words.join(", ") }
}

/// A key with its values, as said.
fn phrase(key: &str, values: &str) -> String {
    match key {
        "model" | "phase" | "plan.mode" => values.to_owned(),
        "serving" => values.replace("decode_only", "decode alone").replace("with_prefill", "prefill on the same chips"),
        "baseline_plan" => format!("the baseline at {values} plan")
            .replace("at split over two nodes plan", "with tensor parallelism over two nodes"),
        "baseline_chip" => format!("the baseline of {values}"),
        "baseline_overlap" => format!("the baseline's communication {values}"),
        "mfu" => format!("{values} of the peak reached"),
        "baseline_mfu" => format!("{values} on the baseline"),
        "flop_are" => format!("FLOP counted {}", values.replace("six a weight", "as six a weight")),
        "workload.tpot_limit_ms" => format!("{values} ms a token"),
        "workload.sequence_len" => format!("sequences of {values}"),
        "workload.global_batch_tokens" => format!("{values} tokens a step"),
        "bandwidth_is" => format!("bandwidth {values}"),
        "latency_is" => format!("latency {values}"),
        "units" => format!("{values} units"),
        "chips" => format!("{values} chips"),
        key if key.starts_with("set.chip.peak_flop_per_s.") => format!("a peak of {values}"),
        "global_batch" => format!("the global batch {values}"),
        key if key.starts_with("set.") => {
            format!("{} {values}", key.trim_start_matches("set.").replace(".tiers.", " ").replace("_bytes_per_s", ""))
        }
        key => format!("{} {values}", key.rsplit('.').next().unwrap_or(key).replace('_', " ")),
    }
}

fn value_words(key: &str, value: &GridValue) -> String {
    match value.number() {
        Some(number) if key.ends_with("bytes_per_s") => with_prefix(number, "B/s"),
        Some(number) if key.ends_with("_s") => with_prefix(number, "s"),
        Some(number) if key.ends_with("mfu") => format!("{:.0} %", number * 100.0),
        Some(number) if key.ends_with("flop_per_s") || key.contains("peak_flop_per_s") => with_prefix(number, "FLOP/s"),
        Some(number) if key == "workload.global_batch_tokens" => format!("{:.1} M", number / 1e6),
        _ => value.to_string(),
    }
}
