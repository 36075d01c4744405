//! A step waits for the slowest of its ranks: by how much, from the spread of the devices.
//!
//! Times of devices are taken to be normally distributed, with the standard deviation `s` as a share of the mean. Of `n`
//! ranks, the slowest is expected to take `1 + s * m(n)` times the mean.
//!
//! - `m(n)` is the expected greatest of `n` draws of a standard normal distribution, by Blom's approximation
//!   `quantile((n - 0.375) / (n + 0.25))` (Blom, Statistical Estimates and Transformed Beta-Variables, 1958).
//! - The ends of the interval are the 5 % and the 95 % quantile of that greatest draw, `quantile(p^(1/n))`, at the ends of
//!   the 90 % interval of `s`.
//! - Of `k + 1` measured devices that interval is `s * sqrt(k / chi2)`, with the quantiles of chi2 by Wilson and Hilferty
//!   (The Distribution of Chi-Square, 1931).
//!
//! A spread that is wider than normal at its slow end, such as one bad device among good ones, makes `s` larger, and the
//! answer with it.

use serde::{Deserialize, Serialize};

use crate::specs::{Provenance, Scenario, Sourced};
use crate::statistics::normal_quantile;

/// The ends of an interval of 90 %.
const LOW: f64 = 0.05;
const HIGH: f64 = 0.95;
/// With fewer devices, a spread says nothing.
const FEWEST: usize = 3;

/// How far devices of one kind are apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpread {
    /// Standard deviation of their times, as a share of the mean.
    pub share: Sourced,
}

impl DeviceSpread {
    /// As the user says.
    pub fn stated(share: f64) -> Self {
        Self { share: Sourced::assumed(share, share, share, "given on the command line") }
    }

    /// Of measured devices: each one's time over that of the middle one. `None` for fewer than three.
    pub fn measured(ratios: &[f64]) -> Option<Self> {
        if ratios.len() < FEWEST {
            return None;
        }
        let count = ratios.len() as f64;
        let mean = ratios.iter().sum::<f64>() / count;
        let freedom = count - 1.0;
        let variance = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / freedom;
        let share = variance.sqrt() / mean;
        let end = |quantile: f64| share * (freedom / chi_squared(quantile, freedom)).sqrt();
        Some(Self {
            share: Sourced {
                value: share,
                low: Some(end(HIGH)),
                high: Some(end(LOW)),
                provenance: Provenance::Measured,
                source: format!("standard deviation over {} devices of the fleet", ratios.len()),
                checked: None,
                claimed: false,
            },
        })
    }

    /// The shares at which so many ranks would be expected to wait as long as at the ends of the interval; `None` where nobody
    /// waits.
    pub fn band(&self, ranks: f64) -> Option<(f64, f64)> {
        let expected = Self::greatest(ranks, Scenario::Nominal);
        let end =
            |scenario: Scenario| (scenario.time(&self.share) * Self::greatest(ranks, scenario) / expected).max(0.0);
        let (low, high) = (end(Scenario::Optimistic), end(Scenario::Pessimistic));
        (expected > 0.0 && low < high).then_some((low, high))
    }

    /// The slowest rank's time over the mean.
    pub fn factor(&self, ranks: f64, scenario: Scenario) -> f64 {
        // A device of a wild spread still takes some time.
        (1.0 + scenario.time(&self.share) * Self::greatest(ranks, scenario)).max(0.1)
    }

    /// The greatest of so many standard normal draws: expected, and the ends of its interval.
    fn greatest(ranks: f64, scenario: Scenario) -> f64 {
        let ranks = ranks.max(1.0);
        match scenario {
            Scenario::Nominal if ranks <= 1.0 => 0.0,
            Scenario::Nominal => normal_quantile((ranks - 0.375) / (ranks + 0.25)),
            Scenario::Pessimistic => normal_quantile(HIGH.powf(1.0 / ranks)),
            Scenario::Optimistic => normal_quantile(LOW.powf(1.0 / ranks)),
        }
    }
}

/// The quantile of chi-squared.
fn chi_squared(quantile: f64, freedom: f64) -> f64 {
    let step = 2.0 / (9.0 * freedom);
    freedom * (1.0 - step + normal_quantile(quantile) * step.sqrt()).max(0.05).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_many_is_what_the_tables_say() {
        // Expected greatest normal order statistics: Harter, Biometrika 48 (1961), tables 1 and 2.
        for (ranks, expected) in [(2.0, 0.56419), (10.0, 1.53875), (100.0, 2.50759), (400.0, 2.96818)] {
            let greatest = (DeviceSpread::stated(0.03).factor(ranks, Scenario::Nominal) - 1.0) / 0.03;
            assert!((greatest - expected).abs() < 0.03, "{ranks}: {greatest}");
        }
    }

    #[test]
    fn one_rank_waits_for_nobody_and_more_ranks_never_wait_less() {
        let spread = DeviceSpread::stated(0.05);
        assert_eq!(spread.factor(1.0, Scenario::Nominal), 1.0);
        assert_eq!((spread.band(1.0), DeviceSpread::stated(0.0).band(384.0)), (None, None));
        let (low, high) = spread.band(384.0).unwrap();
        for (share, end) in [(low, Scenario::Optimistic), (high, Scenario::Pessimistic)] {
            let drawn = DeviceSpread::stated(share).factor(384.0, Scenario::Nominal);
            assert!((drawn - spread.factor(384.0, end)).abs() < 1e-12);
        }
        let mut before = 0.0;
        for ranks in [1.0, 2.0, 8.0, 64.0, 384.0, 1e6] {
            let factor = spread.factor(ranks, Scenario::Nominal);
            assert!(factor > before, "{ranks}");
            assert!(
                spread.factor(ranks, Scenario::Optimistic) < factor
                    && factor < spread.factor(ranks, Scenario::Pessimistic)
            );
            before = factor;
        }
    }

    #[test]
    fn few_devices_leave_a_wide_interval_and_fewer_none() {
        assert_eq!(DeviceSpread::measured(&[1.0, 1.1]), None);
        let of = |count: usize| {
            let ratios: Vec<f64> = (0..count).map(|i| 1.0 + 0.05 * (i as f64 / (count - 1) as f64 - 0.5)).collect();
            DeviceSpread::measured(&ratios).unwrap().share
        };
        let width = |share: &Sourced| (share.high.unwrap() - share.low.unwrap()) / share.value;
        // chi2 with 3 degrees of freedom: 0.352 and 7.815.
        let four = of(4);
        assert!((four.high.unwrap() / four.value - (3.0f64 / 0.352).sqrt()).abs() < 0.15, "{four:?}");
        assert!((four.low.unwrap() / four.value - (3.0f64 / 7.815).sqrt()).abs() < 0.02, "{four:?}");
        assert!(width(&of(4)) > width(&of(64)));
        let same = DeviceSpread::measured(&[1.0; 8]).unwrap();
        assert_eq!(same.factor(384.0, Scenario::Pessimistic), 1.0);
    }
}
