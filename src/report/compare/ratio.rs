//! Ratios of medians and their means, with intervals.

use serde::Serialize;

use crate::record::Timing;
use crate::units::Seconds;

/// Below this many samples the extremes do not enclose the median with 95 % confidence.
pub(super) const FEWEST_SAMPLES: usize = 6;

/// How much faster the other side is, and what the samples say about it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The base's median time over the other's: above 1 the other is faster.
    pub speedup: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end; `None` where it is unbounded, because an interval begins at zero.
    pub high: Option<f64>,
    /// What the interval says.
    pub verdict: RatioVerdict,
}

/// What the interval of a ratio says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RatioVerdict {
    /// The interval lies above 1.
    Faster,
    /// The interval lies below 1.
    Slower,
    /// The interval holds 1.
    NoDifferenceShown,
}

/// A geometric mean of ratios.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// The geometric mean.
    pub mean: f64,
    /// Lower end of the 95 % interval: the noise of these cases, and not what other kernels or shapes would give.
    pub low: f64,
    /// Upper end; `None` where it is unbounded.
    pub high: Option<f64>,
    /// Ratios in it.
    pub count: usize,
}

impl Ratio {
    /// From two medians with 95 % intervals of their own. The intervals of the logarithms are combined as variance
    /// estimates recovered from confidence limits (Zou and Donner, Statistics in Medicine 27 (2008), 1693-1702, equation
    /// 4 for a difference): each end of the ratio's interval uses the distances to the ends that pull that way, so lopsided
    /// intervals stay lopsided, and swapping the sides gives the reciprocal.
    pub(super) fn of(base: &Timing, other: &Timing) -> Self {
        let ([base_low, base_high], [other_low, other_high]) = (base.ci95_s, other.ci95_s);
        let speedup = base.median_s / other.median_s;
        let down = distance(base_low, base.median_s).hypot(distance(other.median_s, other_high));
        let up = distance(base.median_s, base_high).hypot(distance(other_low, other.median_s));
        let (low, high) = ends(speedup, down, up);
        Self { speedup, low, high, verdict: RatioVerdict::of(low, high) }
    }
}

impl RatioVerdict {
    fn of(low: f64, high: Option<f64>) -> Self {
        if low > 1.0 {
            Self::Faster
        } else if high.is_some_and(|high| high < 1.0) {
            Self::Slower
        } else {
            Self::NoDifferenceShown
        }
    }
}

impl Mean {
    /// Of ratios whose noise is independent; `None` of none. A drift that is common to a whole run is not in the interval.
    pub(super) fn of(ratios: &[&Ratio]) -> Option<Self> {
        if ratios.is_empty() {
            return None;
        }
        let count = ratios.len() as f64;
        let mean = (ratios.iter().map(|ratio| ratio.speedup.ln()).sum::<f64>() / count).exp();
        let joined = |distances: &mut dyn Iterator<Item = f64>| distances.map(|d| d * d).sum::<f64>().sqrt() / count;
        let down = joined(&mut ratios.iter().map(|ratio| (ratio.speedup / ratio.low).ln()));
        let up = joined(&mut ratios.iter().map(|r| r.high.map_or(f64::INFINITY, |high| (high / r.speedup).ln())));
        let (low, high) = ends(mean, down, up);
        Some(Self { mean, low, high, count: ratios.len() })
    }
}

/// From the smaller time to the larger, in logarithms; infinite from zero.
fn distance(smaller: Seconds, larger: Seconds) -> f64 {
    // A median between two samples may round to just outside its interval.
    (larger / smaller).ln().max(0.0)
}

fn ends(middle: f64, down: f64, up: f64) -> (f64, Option<f64>) {
    let high = middle * up.exp();
    (middle * (-down).exp(), high.is_finite().then_some(high))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::record::Clock;

    fn timing(low: f64, median: f64, high: f64) -> Timing {
        Timing {
            clock: Clock::Device,
            runs_per_sample: 1,
            buffer_sets: 1,
            warmup_runs: 1,
            samples_s: vec![Seconds::new(median)],
            median_s: Seconds::new(median),
            mad_s: Seconds::ZERO,
            ci95_s: [Seconds::new(low), Seconds::new(high)],
            wall_median_s: Seconds::new(median),
            cpu_median_s: None,
        }
    }

    #[test]
    fn two_equal_symmetric_intervals_widen_by_the_root_of_two() {
        let half = 0.1f64;
        let one = timing((-half).exp(), 1.0, half.exp());
        let ratio = Ratio::of(&one, &one);
        assert!((ratio.low.ln() + half * 2f64.sqrt()).abs() < 1e-12, "{ratio:?}");
        assert!((ratio.high.unwrap().ln() - half * 2f64.sqrt()).abs() < 1e-12, "{ratio:?}");
    }

    #[test]
    fn an_interval_that_begins_at_zero_leaves_the_ratio_unbounded_above() {
        let ratio = Ratio::of(&timing(2.0, 2.0, 2.0), &timing(0.0, 1.0, 1.5));
        assert_eq!((ratio.high, ratio.verdict), (None, RatioVerdict::Faster));
        let turned = Ratio::of(&timing(0.0, 1.0, 1.5), &timing(2.0, 2.0, 2.0));
        assert_eq!((turned.low, turned.verdict), (0.0, RatioVerdict::Slower));
        let mean = Mean::of(&[&ratio, &turned]).unwrap();
        assert_eq!((mean.low, mean.high), (0.0, None));
        assert!((mean.mean - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_interval_of_a_mean_of_equal_cases_narrows_by_the_root_of_their_number() {
        let one = Ratio::of(&timing(0.9, 1.0, 1.1), &timing(0.45, 0.5, 0.55));
        let mean = Mean::of(&[&one; 4]).unwrap();
        assert!((mean.mean - 2.0).abs() < 1e-12);
        assert!(((one.speedup / one.low).ln() / (mean.mean / mean.low).ln() - 2.0).abs() < 1e-9);
    }

    /// Both sides draw from the same skewed distribution with true ratio `truth`; how often the interval holds it.
    fn coverage(truth: f64, samples: usize) -> (f64, f64) {
        const TRIALS: usize = 4000;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        // Order statistics 1-based (Conover): 95 % interval of the median for these counts.
        let rank = if samples == 20 { 5 } else { 9 };
        let (mut held, mut mean_held) = (0, 0);
        for _ in 0..TRIALS {
            let mut side = |scale: f64| {
                let mut drawn: Vec<f64> =
                    (0..samples).map(|_| scale * (1.0 - 0.1 * (1.0 - rng.random::<f64>()).ln())).collect();
                drawn.sort_unstable_by(f64::total_cmp);
                let median = (drawn[samples / 2 - 1] + drawn[samples / 2]) / 2.0;
                timing(drawn[rank], median, drawn[samples - 1 - rank])
            };
            let ratios: Vec<Ratio> = (0..3).map(|_| Ratio::of(&side(truth), &side(1.0))).collect();
            let holds = |low: f64, high: Option<f64>| low <= truth && high.is_some_and(|high| truth <= high);
            held += usize::from(holds(ratios[0].low, ratios[0].high));
            let mean = Mean::of(&ratios.iter().collect::<Vec<_>>()).unwrap();
            mean_held += usize::from(holds(mean.low, mean.high));
        }
        (held as f64 / TRIALS as f64, mean_held as f64 / TRIALS as f64)
    }

    #[test]
    fn intervals_hold_the_true_ratio_in_about_ninety_five_of_a_hundred_runs() {
        for (truth, samples) in [(1.0, 20), (1.3, 30)] {
            let (one, mean) = coverage(truth, samples);
            assert!((0.94..0.995).contains(&one), "{samples} samples: {one}");
            assert!((0.94..0.995).contains(&mean), "mean, {samples} samples: {mean}");
        }
    }
}
