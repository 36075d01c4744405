//! Judges an output against a reference: the error as a norm, and the worst element.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernels::tensor::{TensorType, Tensors};
use crate::kernels::types::StorageType;

/// The result of comparing a kernel's output with its twin's.
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
    /// Elements of the output; more than `checked` if a large output was sampled.
    pub total: u64,
    /// The element with the largest error; `None` if all agree exactly.
    pub worst: Option<Worst>,
}

/// How an output is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Frobenius norm of the difference over that of the reference.
    RelativeFrobenius,
    /// Relative Frobenius error of the weights, or at least 1 if the chosen experts differ beyond rounding ties.
    TopkSet,
    /// Share of elements that differ at all.
    Exact,
}

/// The element with the largest error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Worst {
    /// Which output.
    pub output: String,
    /// Its place: one index per dimension.
    pub at: Vec<u64>,
    /// The value on the device; `None` if it was not a finite number.
    pub got: Option<f64>,
    /// The value of the twin.
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

    /// Whether both errors are within their tolerances. A NaN is not.
    pub fn passed(&self) -> bool {
        self.value <= self.tolerance && self.worst_error <= self.worst_tolerance
    }
}

/// What a variant was given and what it computed from it.
#[derive(Debug, Clone, Copy)]
pub struct Computed<'a> {
    /// Operands by buffer.
    pub inputs: &'a Tensors,
    /// Results by buffer.
    pub outputs: &'a Tensors,
}

/// The largest relative Frobenius error of a right kernel. It covers the rounding of the stored result (2^-11 in f16, 2^-8
/// in bf16) and half as much again for the f32 accumulation; in f32, some thousand additions.
pub(super) fn tolerance(element: StorageType) -> f64 {
    match element {
        StorageType::F32 => 1e-5,
        StorageType::F16 | StorageType::Int4 | StorageType::Fp8 | StorageType::Mxfp4 | StorageType::Nvfp4 => 7.5e-4,
        StorageType::Bf16 | StorageType::Int8 => 6e-3,
    }
}

/// The deviation of one output from its reference, collected element by element.
pub(super) struct Deviation {
    output: &'static str,
    difference_squared: f64,
    reference_squared: f64,
    worst_difference: f64,
    worst: Option<Worst>,
    checked: u64,
    mismatches: u64,
    not_finite: bool,
}

/// The error of an output that is not finite: JSON has no infinity.
const HOPELESS: f64 = f64::MAX;

impl Deviation {
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

    /// Adds the element at `at`: the value `got` and its reference `want`.
    pub(super) fn pair(&mut self, at: &[usize], got: f64, want: f64) {
        self.checked += 1;
        // A twin that read an output that is not finite gives no reference.
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

    /// The verdict on a floating-point output of `total` elements: the norm must be within `tolerance`, the worst element
    /// within 32 times that, relative to the root mean square.
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

    /// The verdict on an integer output of `total` elements: every element must be equal.
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

    /// The deviation over the elements of both.
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

    /// Adds a row of two outputs, whose place is `at` without its last index. A value that is not finite on either side
    /// counts as different.
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
        // 0 / 0 means that both sides are zero.
        if self.not_finite || value.is_infinite() {
            HOPELESS
        } else if value.is_nan() {
            0.0
        } else {
            value
        }
    }
}

/// Both sides round, so two right results differ by at most twice the tolerance of one.
const TWO_SIDES: f64 = 2.0;

/// Compares all rows of one output: `row` gives the place of a row and its values on both sides.
pub(super) fn whole(
    output: &'static str,
    kind: TensorType,
    element: StorageType,
    rows: usize,
    row: impl Fn(usize) -> (Vec<usize>, Vec<f64>, Vec<f64>) + Sync,
) -> Verification {
    let compared = (0..rows).into_par_iter().fold(
        || Deviation::of(output),
        |mut deviation, index| {
            let (at, ours, theirs) = row(index);
            deviation.rows(&at, &ours, &theirs);
            deviation
        },
    );
    let deviation = compared.reduce(|| Deviation::of(output), Deviation::and);
    let total = usize::try_from(deviation.checked).unwrap_or(usize::MAX);
    match kind {
        TensorType::Index => deviation.exact(total),
        TensorType::Float(_) | TensorType::Exponent => deviation.relative(TWO_SIDES * tolerance(element), total),
    }
}

/// Compares every output of two variants at the same places.
pub(super) fn agreement(ours: &Computed, theirs: &Computed, element: StorageType) -> Verification {
    let compared = ours.outputs.iter().filter_map(|(name, ours)| {
        let theirs = theirs.outputs.get(name)?;
        let rows = ours.rows().min(theirs.rows());
        Some(whole(name, ours.kind(), element, rows, |row| (ours.place(row), ours.row(row), theirs.row(row))))
    });
    worst_of(compared.collect())
}

/// Merges verifications: the counts add up, and the one furthest from passing gives the errors. Of equals the first is
/// taken, since later outputs may be computed from it.
pub(super) fn worst_of(compared: Vec<Verification>) -> Verification {
    let (checked, total) = compared.iter().fold((0, 0), |(c, t), v| (c + v.checked, t + v.total));
    let share = |value: f64, most: f64| if value <= most { value / most.max(f64::MIN_POSITIVE) } else { f64::MAX };
    let badness = |v: &Verification| share(v.value, v.tolerance).max(share(v.worst_error, v.worst_tolerance));
    let worst = compared.into_iter().rev().max_by(|a, b| badness(a).total_cmp(&badness(b)));
    let worst = worst.unwrap_or_else(|| Deviation::of("out").exact(0));
    Verification { checked, total, ..worst }
}

/// Which of `total` items to check, if each costs `cost` and `effort` may be spent. These are all items, or the first, the
/// last and evenly spread ones between. The stride is odd, so that they reach every lane of a tile.
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
        let mut deviation = Deviation::of("c");
        for i in 0..1_000_000 {
            deviation.pair(&[i], if i == 77 { 1.5 } else { 1.0 }, 1.0);
        }
        let verification = deviation.relative(1e-3, 1_000_000);
        assert!(verification.value < verification.tolerance);
        assert!(!verification.passed());
        assert_eq!(verification.worst.unwrap().at, [77]);
    }

    #[test]
    fn an_element_that_was_never_written_fails() {
        let mut deviation = Deviation::of("c");
        deviation.pair(&[0], 1.0, 1.0);
        deviation.pair(&[1], f64::NAN, 1.0);
        let verification = deviation.relative(1.0, 2);
        assert!(!verification.passed());
        assert_eq!(verification.worst.unwrap().got, None);
    }

    #[test]
    fn nothing_agrees_with_a_twin_that_is_not_finite() {
        let mut deviation = Deviation::of("c");
        deviation.pair(&[0], 1.0, f64::NAN);
        assert!(!deviation.relative(1.0, 1).passed());
    }

    #[test]
    fn a_sample_holds_the_first_and_the_last() {
        let picked: Vec<usize> = sample(1000, 10, 100).collect();
        assert_eq!((picked[0], picked[picked.len() - 1]), (0, 999));
        assert!(picked.len() <= 12);
        assert_eq!(sample(5, 1, 100).count(), 5);
    }
}
