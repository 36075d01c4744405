//! Point to point: one pair of ranks at a time, there and back.

use std::collections::BTreeSet;
use std::time::Instant;

use super::super::communicator::Communicator;
use super::payload::{self, POISON};
use super::sampling::SampleCounts;
use crate::record::{FleetNetwork, PairTime, RefusedTransfer, TransferTiming};
use crate::units::Seconds;

/// The pairs that are measured, the lower rank first: all of them where there are no more than `most`. Else, in this order
/// and without repetition: each rank and the one at a distance of 1, 2, 4 and so on, until there are `most`.
pub(super) fn chosen(size: u32, most: usize) -> Vec<(u32, u32)> {
    let count = u64::from(size) * u64::from(size.saturating_sub(1)) / 2;
    if count <= most as u64 {
        return (0..size).flat_map(|from| (from + 1..size).map(move |to| (from, to))).collect();
    }
    let distances = std::iter::successors(Some(1u32), |distance| distance.checked_mul(2));
    let mut seen = BTreeSet::new();
    let mut pairs = Vec::new();
    for distance in distances.take_while(|distance| *distance < size) {
        for rank in 0..size {
            let other = (rank + distance) % size;
            let pair = (rank.min(other), rank.max(other));
            if pairs.len() < most && seen.insert(pair) {
                pairs.push(pair);
            }
        }
    }
    pairs
}

/// Whether these are all pairs of so many ranks.
pub(super) fn is_all(pairs: &[(u32, u32)], size: u32) -> bool {
    pairs.len() as u64 == u64::from(size) * u64::from(size.saturating_sub(1)) / 2
}

/// Measures a pair at all sizes; only its two ranks do something. The first keeps the times.
pub(super) fn measure(
    ranks: &dyn Communicator,
    (from, to): (u32, u32),
    sizes: &[u64],
    budget: Seconds,
    own: &mut FleetNetwork,
) {
    for &bytes in sizes {
        let Ok(length) = usize::try_from(bytes) else { continue };
        if ranks.rank() == from {
            match ask(ranks, to, length, budget) {
                Ok(Some(timing)) => own.pairs.push(PairTime { from, to, bytes, timing }),
                Ok(None) => {}
                Err(refused) => own.refused.push(refused),
            }
        } else if ranks.rank() == to {
            answer(ranks, from, length);
        }
    }
}

/// What a rank has found of the other's message.
const RIGHT: u64 = 1;

/// The side that sends first and keeps the time.
fn ask(
    ranks: &dyn Communicator,
    to: u32,
    length: usize,
    budget: Seconds,
) -> Result<Option<TransferTiming>, RefusedTransfer> {
    let from = ranks.rank();
    let refused = |rank, reason| RefusedTransfer {
        what: format!("a message of {length} bytes between rank {from} and rank {to}"),
        rank,
        reason,
    };
    let mut out = vec![0; length];
    payload::fill(&mut out, from, to);
    let mut into = vec![POISON; length];
    let round = |into: &mut Vec<u8>| {
        ranks.send(to, &out);
        ranks.receive(to, into);
    };
    round(&mut into);
    let mut trial = Instant::now();
    round(&mut into);
    let one = Seconds::new(trial.elapsed().as_secs_f64());
    let counts = if payload::check(&into, to, from).is_ok() { SampleCounts::of(one, budget) } else { NONE };
    ranks.tell(to, u64::from(counts.samples) * u64::from(counts.repeats));
    into.fill(POISON);
    let mut samples = Vec::new();
    for _ in 0..counts.samples {
        trial = Instant::now();
        for _ in 0..counts.repeats {
            round(&mut into);
        }
        samples.push(Seconds::new(trial.elapsed().as_secs_f64() / f64::from(counts.repeats) / 2.0));
    }
    let answer = ranks.hear(to);
    if counts == NONE {
        return Err(refused(from, format!("what rank {to} sent is wrong")));
    }
    payload::check(&into, to, from).map_err(|reason| refused(from, reason))?;
    if answer != RIGHT {
        return Err(refused(to, format!("what rank {from} sent is wrong")));
    }
    Ok(TransferTiming::of(counts.repeats, samples))
}

/// No round at all: the first was wrong.
const NONE: SampleCounts = SampleCounts { samples: 0, repeats: 0 };

/// The side that answers.
fn answer(ranks: &dyn Communicator, from: u32, length: usize) {
    let to = ranks.rank();
    let mut out = vec![0; length];
    payload::fill(&mut out, to, from);
    let mut into = vec![POISON; length];
    let round = |into: &mut Vec<u8>| {
        ranks.receive(from, into);
        ranks.send(from, &out);
    };
    round(&mut into);
    round(&mut into);
    let first = payload::check(&into, from, to);
    let rounds = ranks.hear(from);
    let mut verdict = first;
    if rounds > 0 {
        into.fill(POISON);
        (0..rounds).for_each(|_| round(&mut into));
        verdict = verdict.and_then(|()| payload::check(&into, from, to));
    }
    ranks.tell(from, if verdict.is_ok() { RIGHT } else { 0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_ranks_have_all_pairs_and_many_a_sample_that_reaches_every_distance() {
        assert_eq!(chosen(3, 100), [(0, 1), (0, 2), (1, 2)]);
        assert!(is_all(&chosen(64, 2016), 64));
        let sample = chosen(384, 2016);
        assert!(!is_all(&sample, 384) && sample.len() <= 2016);
        assert!(sample.iter().all(|(from, to)| from < to && *to < 384));
        let distances: BTreeSet<u32> = sample.iter().map(|(from, to)| to - from).collect();
        assert!([1, 2, 4, 8, 16].iter().all(|distance| distances.contains(distance)), "{distances:?}");
        assert_eq!(chosen(1, 10), []);
    }
}
