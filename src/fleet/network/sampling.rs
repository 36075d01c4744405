//! A transfer is checked, timed until enough samples are taken, and checked again.

use std::time::Instant;

use super::super::communicator::Communicator;
use crate::record::TransferTiming;
use crate::units::Seconds;

/// A sample is at least this long, so that the clock and the barrier before it do not show.
const SHORTEST_SAMPLE: Seconds = Seconds::new(200e-6);
/// The most transfers in a sample.
const MOST_REPEATS: f64 = 200.0;
/// Samples of a transfer: at least these, and as many as the budget allows up to those.
const FEWEST_SAMPLES: f64 = 7.0;
const MOST_SAMPLES: f64 = 41.0;

/// A collective with its buffers.
pub(super) trait Transfer {
    /// Makes what was received before unrecognisable.
    fn poison(&mut self);

    /// Does it once.
    fn run(&mut self, ranks: &dyn Communicator);

    /// Whether what was received is right.
    ///
    /// # Errors
    /// One line.
    fn check(&self, ranks: &dyn Communicator) -> Result<(), String>;
}

/// What became of a transfer, the same on all its ranks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SampledTransfer {
    /// Right before and after it was timed.
    Timed(TransferTiming),
    /// Wrong, so its times are not kept.
    Wrong {
        /// The first rank that received something wrong.
        rank: u32,
        /// What.
        reason: String,
    },
}

/// Checks, times and checks again. A sample is the time from a barrier to the end of the slowest rank.
pub(super) fn sample(ranks: &dyn Communicator, transfer: &mut dyn Transfer, budget: Seconds) -> SampledTransfer {
    transfer.poison();
    if let Some(wrong) = checked_run(ranks, transfer) {
        return wrong;
    }
    // The first run has warmed the connections up; the second tells how long one takes.
    let mut trial = [once(ranks, transfer, 1)];
    ranks.largest(&mut trial);
    let counts = SampleCounts::of(Seconds::new(trial[0]), budget);
    transfer.poison();
    let mut samples: Vec<f64> = (0..counts.samples).map(|_| once(ranks, transfer, counts.repeats)).collect();
    ranks.largest(&mut samples);
    if let Some(wrong) = verdict(ranks, transfer) {
        return wrong;
    }
    let samples = samples.into_iter().map(Seconds::new).collect();
    TransferTiming::of(counts.repeats, samples).map_or_else(nothing, SampledTransfer::Timed)
}

fn nothing() -> SampledTransfer {
    SampledTransfer::Wrong { rank: 0, reason: "no sample".to_owned() }
}

/// Samples, and transfers in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SampleCounts {
    pub(super) samples: u32,
    pub(super) repeats: u32,
}

impl SampleCounts {
    /// From the time of one transfer.
    pub(super) fn of(one: Seconds, budget: Seconds) -> Self {
        let one = one.max(Seconds::new(1e-9));
        let repeats = (SHORTEST_SAMPLE / one).ceil().clamp(1.0, MOST_REPEATS);
        let samples = (budget / (one * repeats)).floor().clamp(FEWEST_SAMPLES, MOST_SAMPLES);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped above")]
        Self { samples: samples as u32, repeats: repeats as u32 }
    }
}

/// Seconds of one transfer on this rank.
fn once(ranks: &dyn Communicator, transfer: &mut dyn Transfer, repeats: u32) -> f64 {
    ranks.barrier();
    let begin = Instant::now();
    for _ in 0..repeats {
        transfer.run(ranks);
    }
    begin.elapsed().as_secs_f64() / f64::from(repeats)
}

fn checked_run(ranks: &dyn Communicator, transfer: &mut dyn Transfer) -> Option<SampledTransfer> {
    transfer.run(ranks);
    verdict(ranks, transfer)
}

/// The first rank with wrong data, if there is one.
fn verdict(ranks: &dyn Communicator, transfer: &dyn Transfer) -> Option<SampledTransfer> {
    let own = transfer.check(ranks).err().unwrap_or_default();
    let all = ranks.share(own.as_bytes());
    let (rank, reason) = (0u32..).zip(all).find(|(_, reason)| !reason.is_empty())?;
    Some(SampledTransfer::Wrong { rank, reason: String::from_utf8_lossy(&reason).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_transfers_are_repeated_and_long_ones_are_sampled_a_few_times() {
        let counts = |one: f64| SampleCounts::of(Seconds::new(one), Seconds::new(0.3));
        assert_eq!(counts(1e-6), SampleCounts { samples: 41, repeats: 200 });
        assert_eq!(counts(1e-3), SampleCounts { samples: 41, repeats: 1 });
        assert_eq!(counts(0.02), SampleCounts { samples: 15, repeats: 1 });
        assert_eq!(counts(5.0), SampleCounts { samples: 7, repeats: 1 });
        assert_eq!(counts(0.0), SampleCounts { samples: 41, repeats: 200 });
    }
}
