//! Robust statistics of a handful of samples: median, deviation, interval, quantile, drift.

use crate::units::Seconds;

/// Median, spread and interval of some samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The middle sample, or the mean of the two.
    pub median: Seconds,
    /// Median absolute deviation from the median.
    pub mad: Seconds,
    /// Interval that holds the true median in at least 95 % of repetitions, whatever the distribution.
    pub ci95: [Seconds; 2],
}

impl Summary {
    /// Half the interval's width over the median.
    pub fn relative_ci(&self) -> f64 {
        (self.ci95[1] - self.ci95[0]) / self.median / 2.0
    }
}

/// Summarises samples; `None` where there are none.
pub fn summarise(samples: &[Seconds]) -> Option<Summary> {
    let mut sorted: Vec<f64> = samples.iter().map(|sample| sample.get()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = median(&sorted)?;
    let mut deviations: Vec<f64> = sorted.iter().map(|sample| (sample - middle).abs()).collect();
    deviations.sort_unstable_by(f64::total_cmp);
    let rank = interval_rank(sorted.len());
    Some(Summary {
        median: Seconds::new(middle),
        mad: Seconds::new(median(&deviations)?),
        ci95: [Seconds::new(sorted[rank]), Seconds::new(sorted[sorted.len() - 1 - rank])],
    })
}

/// The median of sorted numbers; `None` where there are none.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let upper = upper_median(sorted)?;
    Some(if sorted.len().is_multiple_of(2) { (sorted[sorted.len() / 2 - 1] + upper) / 2.0 } else { upper })
}

/// The middle one of sorted numbers, and of two middle ones the upper: always a number of the list.
pub fn upper_median(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len() / 2).copied()
}

/// The quantile at `share` (0 to 1) of sorted numbers, linear between two neighbours; `None` where there are none.
/// Definition 7 of Hyndman and Fan, Sample Quantiles in Statistical Packages (1996).
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = share.clamp(0.0, 1.0) * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the list")]
    let below = at.floor() as usize;
    let (low, high) = (sorted.get(below)?, sorted.get((below + 1).min(last))?);
    Some(low + (high - low) * at.fract())
}

/// The number of a sorted list that is nearest to its quantile at `share` (0 to 1); `None` where there are none.
pub fn nearest_rank(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the list")]
    let at = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
    sorted.get(at).copied()
}

/// Index of the order statistic that bounds the median from below with 97.5 % confidence: the largest r with
/// P(Binomial(n, 1/2) <= r) <= 2.5 %, counted from 0 (Conover, Practical Nonparametric Statistics, section 3.2). For
/// fewer than six samples no such bound exists, and the extremes are taken.
fn interval_rank(n: usize) -> usize {
    let mut probability = 0.5f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut cumulative = 0.0;
    let mut rank = 0;
    for r in 0..n / 2 {
        cumulative += probability;
        if cumulative > 0.025 {
            break;
        }
        rank = r;
        probability *= (n - r) as f64 / (r + 1) as f64;
    }
    rank
}

/// The quantile of the standard normal distribution at `share`, between 0 and 1, to nine digits: Acklam's rational
/// approximations (2003), one for the middle and one for the tails.
pub fn normal_quantile(share: f64) -> f64 {
    const A: [f64; 6] = [
        -39.69683028665376,
        220.9460984245205,
        -275.9285104469687,
        138.357751867269,
        -30.66479806614716,
        2.506628277459239,
    ];
    const B: [f64; 6] =
        [-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572, 1.0];
    const C: [f64; 6] = [
        -0.007784894002430293,
        -0.3223964580411365,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 5] = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1.0];
    const TAIL: f64 = 0.02425;
    let polynomial = |factors: &[f64], x: f64| factors.iter().fold(0.0, |sum, factor| sum * x + factor);
    let tail = |share: f64| {
        let x = (-2.0 * share.ln()).sqrt();
        polynomial(&C, x) / polynomial(&D, x)
    };
    let share = share.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0);
    if share < TAIL {
        tail(share)
    } else if share > 1.0 - TAIL {
        -tail(1.0 - share)
    } else {
        let x = share - 0.5;
        polynomial(&A, x * x) * x / polynomial(&B, x * x)
    }
}

/// Median of the second half over that of the first: above 1 where the device slows down.
pub fn drift(samples: &[Seconds]) -> Option<f64> {
    let half = samples.len() / 2;
    if half < 5 {
        return None;
    }
    let first = summarise(&samples[..half])?;
    let second = summarise(&samples[samples.len() - half..])?;
    // Only a shift that the intervals cannot explain is one.
    let apart = second.ci95[0] > first.ci95[1] || second.ci95[1] < first.ci95[0];
    apart.then(|| second.median / first.median)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(values: &[f64]) -> Vec<Seconds> {
        values.iter().copied().map(Seconds::new).collect()
    }

    #[test]
    fn the_median_of_none_is_none_and_of_one_is_itself() {
        assert_eq!(summarise(&[]), None);
        let summary = summarise(&seconds(&[3.0])).unwrap();
        assert_eq!((summary.median.get(), summary.mad.get()), (3.0, 0.0));
        assert_eq!(summary.ci95, [Seconds::new(3.0); 2]);
    }

    #[test]
    fn quantiles_are_linear_between_neighbours_and_the_nearest_rank_is_a_number_of_the_list() {
        let list = [1.0, 2.0, 4.0, 8.0];
        assert_eq!([0.0, 0.5, 1.0].map(|share| quantile(&list, share)), [Some(1.0), Some(3.0), Some(8.0)]);
        assert_eq!([0.0, 0.4, 1.0].map(|share| nearest_rank(&list, share)), [Some(1.0), Some(2.0), Some(8.0)]);
        assert_eq!((median(&list), upper_median(&list)), (Some(3.0), Some(4.0)));
        assert_eq!((quantile(&[], 0.5), nearest_rank(&[], 0.5), median(&[])), (None, None, None));
    }

    #[test]
    fn normal_quantiles_are_those_of_the_tables() {
        for (share, expected) in
            [(0.5, 0.0), (0.841_344_746, 1.0), (0.975, 1.959_963_985), (0.01, -2.326_347_874), (0.999, 3.090_232_306)]
        {
            assert!((normal_quantile(share) - expected).abs() < 1e-7, "{share}: {}", normal_quantile(share));
        }
        assert!(normal_quantile(0.0).is_finite() && normal_quantile(1.0).is_finite());
    }

    #[test]
    fn interval_ranks_match_the_binomial_table() {
        // n: rank from 1 of the lower bound, from tables of the sign test at 95 %.
        for (n, from_one) in [(6, 1), (9, 2), (12, 3), (15, 4), (20, 6), (25, 8), (40, 14), (100, 40)] {
            assert_eq!(interval_rank(n) + 1, from_one, "n = {n}");
        }
    }

    #[test]
    fn one_outlier_moves_neither_median_nor_mad_much() {
        let summary = summarise(&seconds(&[1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 50.0])).unwrap();
        assert!((summary.median.get() - 1.0).abs() < 1e-12);
        assert!(summary.mad.get() < 0.06);
    }

    #[test]
    fn slowing_down_is_drift_and_noise_is_not() {
        let slowing: Vec<f64> =
            (0..20).map(|i| if i < 10 { 1.0 + i as f64 * 1e-3 } else { 1.2 + i as f64 * 1e-3 }).collect();
        assert!((drift(&seconds(&slowing)).unwrap() - 1.2).abs() < 0.02);
        let noisy: Vec<f64> = (0..20).map(|i| 1.0 + f64::from(i % 3) * 0.1).collect();
        assert_eq!(drift(&seconds(&noisy)), None);
    }

    proptest! {
        #[test]
        fn the_interval_contains_the_median(values in proptest::collection::vec(1e-6f64..1e3, 1..200)) {
            let summary = summarise(&seconds(&values)).unwrap();
            prop_assert!(summary.ci95[0] <= summary.median && summary.median <= summary.ci95[1]);
            prop_assert!(summary.mad.get() >= 0.0);
        }
    }
}
