//! Robust statistics of a handful of samples.

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
    sorted.sort_by(f64::total_cmp);
    let middle = median(&sorted)?;
    let mut deviations: Vec<f64> = sorted.iter().map(|sample| (sample - middle).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    let rank = interval_rank(sorted.len());
    Some(Summary {
        median: Seconds::new(middle),
        mad: Seconds::new(median(&deviations)?),
        ci95: [Seconds::new(sorted[rank]), Seconds::new(sorted[sorted.len() - 1 - rank])],
    })
}

/// The median of sorted numbers.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len().is_multiple_of(2) { (sorted[sorted.len() / 2 - 1] + upper) / 2.0 } else { upper })
}

/// Index of the order statistic that bounds the median from below with 97.5 % confidence: the largest r with
/// P(Binomial(n, 1/2) <= r) <= 2.5 %, counted from 0 (Conover, Practical Nonparametric Statistics, section 3.2). For
/// fewer than six samples no such bound exists and the extremes stand in.
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
