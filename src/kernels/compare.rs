//! Judges a kernel's output against its twin's: by how much it is off, and where most.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::matmul::tolerance;
use super::tensor::Kind;
use super::{Computed, Element};

/// The comparison of a kernel's output with its twin's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// What `value` means.
    pub metric: Metric,
    /// The metric's value; 0 is perfect.
    pub value: f64,
    /// The largest value that passes.
    pub tolerance: f64,
    /// The largest error of one element over the root mean square of the reference. A norm alone would hide one wrong
    /// element among millions.
    pub worst_error: f64,
    /// The largest `worst_error` that passes.
    pub worst_tolerance: f64,
    /// Elements compared.
    pub checked: u64,
    /// Elements of the output; more than `checked` where a large output was sampled.
    pub total: u64,
    /// The element that is furthest off; `None` where all agree exactly.
    pub worst: Option<Worst>,
}

/// How an output is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Frobenius norm of the difference over that of the reference.
    RelativeFrobenius,
    /// Relative Frobenius error of the weights, or 1 and more where the chosen experts differ beyond rounding ties.
    TopkSet,
    /// Share of elements that differ at all.
    Exact,
}

/// The element furthest off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Worst {
    /// Which output.
    pub output: String,
    /// Where: one index per dimension.
    pub at: Vec<u64>,
    /// What the device gave; `None` where it was not a finite number.
    pub got: Option<f64>,
    /// What the twin gave.
    pub want: f64,
}

impl Verification {
    /// A comparison of one element that came out exactly.
    pub fn exact() -> Self {
        Self {
            metric: Metric::Exact,
            value: 0.0,
            tolerance: 0.0,
            worst_error: 0.0,
            worst_tolerance: 0.0,
            checked: 1,
            total: 1,
            worst: None,
        }
    }

    /// Whether the output is right (a NaN is not).
    pub fn passed(&self) -> bool {
        self.value <= self.tolerance && self.worst_error <= self.worst_tolerance
    }
}

/// Collects pairs of elements.
pub(super) struct Comparison {
    output: &'static str,
    difference_squared: f64,
    reference_squared: f64,
    worst_difference: f64,
    worst: Option<Worst>,
    checked: u64,
    mismatches: u64,
    not_finite: bool,
}

/// What a non-finite output counts as: JSON has no infinity.
const HOPELESS: f64 = f64::MAX;

impl Comparison {
    pub(super) fn of(output: &'static str) -> Self {
        Self {
            output,
            difference_squared: 0.0,
            reference_squared: 0.0,
            worst_difference: 0.0,
            worst: None,
            checked: 0,
            mismatches: 0,
            not_finite: false,
        }
    }

    pub(super) fn pair(&mut self, at: &[usize], got: f64, want: f64) {
        self.checked += 1;
        // A twin that computed on an output that is not finite has nothing to compare with.
        let finite = got.is_finite() && want.is_finite();
        let difference = if finite { (got - want).abs() } else { HOPELESS };
        self.not_finite |= !finite;
        self.difference_squared += difference * difference;
        self.reference_squared += want * want;
        if difference > 0.0 {
            self.mismatches += 1;
        }
        if difference > self.worst_difference {
            self.worst_difference = difference;
            self.worst = Some(Worst {
                output: self.output.to_owned(),
                at: at.iter().map(|&i| i as u64).collect(),
                got: got.is_finite().then_some(got),
                want,
            });
        }
    }

    /// Floating-point outputs: norm within `tolerance`, worst element within 32 times that of the root mean square.
    pub(super) fn relative(self, tolerance: f64, total: usize) -> Verification {
        let norm = self.reference_squared.sqrt();
        let root_mean_square = (self.reference_squared / self.checked.max(1) as f64).sqrt();
        Verification {
            metric: Metric::RelativeFrobenius,
            value: self.bounded(self.difference_squared.sqrt() / norm),
            tolerance,
            worst_error: self.bounded(self.worst_difference / root_mean_square),
            worst_tolerance: 32.0 * tolerance,
            checked: self.checked,
            total: total as u64,
            worst: self.worst,
        }
    }

    /// Integer outputs: every element equal.
    pub(super) fn exact(self, total: usize) -> Verification {
        let share = self.mismatches as f64 / self.checked.max(1) as f64;
        Verification {
            metric: Metric::Exact,
            value: share,
            tolerance: 0.0,
            worst_error: share,
            worst_tolerance: 0.0,
            checked: self.checked,
            total: total as u64,
            worst: self.worst,
        }
    }

    /// Both together.
    fn and(mut self, other: Self) -> Self {
        self.difference_squared += other.difference_squared;
        self.reference_squared += other.reference_squared;
        self.checked += other.checked;
        self.mismatches += other.mismatches;
        self.not_finite |= other.not_finite;
        if other.worst_difference > self.worst_difference {
            self.worst_difference = other.worst_difference;
            self.worst = other.worst;
        }
        self
    }

    /// A row of two outputs, whose place is `at` without its last index. What is no number on either side differs.
    pub(super) fn rows(&mut self, at: &[usize], ours: &[f64], theirs: &[f64]) {
        let mut place = [at, &[0]].concat();
        let last = place.len() - 1;
        for (index, (&got, &want)) in ours.iter().zip(theirs).enumerate() {
            place[last] = index;
            if want.is_finite() {
                self.pair(&place, got, want);
            } else {
                self.pair(&place, f64::NAN, 0.0);
            }
        }
    }

    fn bounded(&self, value: f64) -> f64 {
        // 0 / 0 is agreement on an output of zeros.
        if self.not_finite || value.is_infinite() {
            HOPELESS
        } else if value.is_nan() {
            0.0
        } else {
            value
        }
    }
}

/// Rounding of either side may go another way, so two right results are within twice the tolerance of one.
const TWO_SIDES: f64 = 2.0;

/// Compares all rows of one output: `row` gives the place of each, and both sides of it.
pub(super) fn whole(
    output: &'static str,
    kind: Kind,
    element: Element,
    rows: usize,
    row: impl Fn(usize) -> (Vec<usize>, Vec<f64>, Vec<f64>) + Sync,
) -> Verification {
    let compared = (0..rows).into_par_iter().fold(
        || Comparison::of(output),
        |mut comparison, index| {
            let (at, ours, theirs) = row(index);
            comparison.rows(&at, &ours, &theirs);
            comparison
        },
    );
    let comparison = compared.reduce(|| Comparison::of(output), Comparison::and);
    let total = usize::try_from(comparison.checked).unwrap_or(usize::MAX);
    match kind {
        Kind::Index => comparison.exact(total),
        Kind::Float(_) => comparison.relative(TWO_SIDES * tolerance(element), total),
    }
}

/// Compares every output of two variants at the same places.
pub(super) fn agreement(ours: &Computed, theirs: &Computed, element: Element) -> Verification {
    let compared = ours.outputs.iter().filter_map(|(name, ours)| {
        let theirs = theirs.outputs.get(name)?;
        let rows = ours.rows().min(theirs.rows());
        Some(whole(name, ours.kind(), element, rows, |row| (ours.place(row), ours.row(row), theirs.row(row))))
    });
    worst_of(compared.collect())
}

/// The furthest from passing speaks for all, and elements add up. Of several, the first, since those after it may compute
/// on its result.
pub(super) fn worst_of(compared: Vec<Verification>) -> Verification {
    let (checked, total) = compared.iter().fold((0, 0), |(c, t), v| (c + v.checked, t + v.total));
    let share = |value: f64, most: f64| if value <= most { value / most.max(f64::MIN_POSITIVE) } else { f64::MAX };
    let badness = |v: &Verification| share(v.value, v.tolerance).max(share(v.worst_error, v.worst_tolerance));
    let worst = compared.into_iter().rev().max_by(|a, b| badness(a).total_cmp(&badness(b)));
    let worst = worst.unwrap_or_else(|| Comparison::of("out").exact(0));
    Verification { checked, total, ..worst }
}

/// Picks which of `total` items to check when each costs `cost` and `effort` may be spent: all, or the first, the last
/// and evenly spread ones between them (an odd stride, so that they fall on every lane of a tile).
pub(super) fn sample(total: usize, cost: usize, effort: u64) -> impl Iterator<Item = usize> {
    let affordable = usize::try_from(effort / cost.max(1) as u64).unwrap_or(usize::MAX).clamp(4, usize::MAX);
    let stride = if affordable >= total { 1 } else { (total / affordable).max(1) | 1 };
    (0..total).step_by(stride).chain((stride > 1 && total > 0).then(|| total - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_element_among_many_fails_although_the_norm_passes() {
        let mut comparison = Comparison::of("c");
        for i in 0..1_000_000 {
            comparison.pair(&[i], if i == 77 { 1.5 } else { 1.0 }, 1.0);
        }
        let verification = comparison.relative(1e-3, 1_000_000);
        assert!(verification.value < verification.tolerance);
        assert!(!verification.passed());
        assert_eq!(verification.worst.unwrap().at, [77]);
    }

    #[test]
    fn an_element_that_was_never_written_fails() {
        let mut comparison = Comparison::of("c");
        comparison.pair(&[0], 1.0, 1.0);
        comparison.pair(&[1], f64::NAN, 1.0);
        let verification = comparison.relative(1.0, 2);
        assert!(!verification.passed());
        assert_eq!(verification.worst.unwrap().got, None);
    }

    #[test]
    fn nothing_agrees_with_a_twin_that_is_not_finite() {
        let mut comparison = Comparison::of("c");
        comparison.pair(&[0], 1.0, f64::NAN);
        assert!(!comparison.relative(1.0, 1).passed());
    }

    #[test]
    fn a_sample_holds_the_first_and_the_last() {
        let picked: Vec<usize> = sample(1000, 10, 100).collect();
        assert_eq!((picked[0], picked[picked.len() - 1]), (0, 999));
        assert!(picked.len() <= 12);
        assert_eq!(sample(5, 1, 100).count(), 5);
    }
}
