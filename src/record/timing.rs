//! Samples and their statistics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::statistics::{Summary, summarise};
use crate::units::Seconds;

/// Samples and their statistics. All times are of ONE run of the case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// What the samples were timed with.
    pub clock: Clock,
    /// Runs of the case inside one sample (its time is divided by this).
    pub runs_per_sample: u32,
    /// Buffer sets that the runs rotate over.
    pub buffer_sets: u32,
    /// Runs before the first sample.
    pub warmup_runs: u32,
    /// Every sample, in order.
    pub samples_s: Vec<Seconds>,
    /// Median of the samples.
    pub median_s: Seconds,
    /// Median absolute deviation from the median.
    pub mad_s: Seconds,
    /// 95 % confidence interval of the median, from order statistics.
    pub ci95_s: [Seconds; 2],
    /// Median wall time of a run, submission and wait included, for comparison with the device's clock.
    pub wall_median_s: Seconds,
    /// Median CPU time of this process per run, all threads; on a software adapter the steadiest figure. `None` where
    /// the host does not tell.
    pub cpu_median_s: Option<Seconds>,
}

/// What a sample was timed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Timestamp queries on the device's own clock.
    Device,
    /// The host's clock around a batch of launches, submission and wait included.
    Wall,
}

impl Timing {
    /// Half the width of the median's interval over the median.
    pub fn relative_ci(&self) -> f64 {
        (self.ci95_s[1] - self.ci95_s[0]) / self.median_s / 2.0
    }

    /// Samples by the device's clock, one run each, on one set of buffers. The wall time is taken to be the same; whoever
    /// knows better replaces these fields. Without a sample, all times are zero.
    pub fn of(samples: Vec<Seconds>) -> Self {
        let nothing = Summary { median: Seconds::ZERO, mad: Seconds::ZERO, ci95: [Seconds::ZERO; 2] };
        let Summary { median, mad, ci95 } = summarise(&samples).unwrap_or(nothing);
        Self {
            clock: Clock::Device,
            runs_per_sample: 1,
            buffer_sets: 1,
            warmup_runs: 1,
            samples_s: samples,
            median_s: median,
            mad_s: mad,
            ci95_s: ci95,
            wall_median_s: median,
            cpu_median_s: None,
        }
    }
}
