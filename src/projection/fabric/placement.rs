//! Placement of experts and their replicas on ranks, and the load of each rank.

use crate::ordering::by_rising;
use crate::projection::expert_load::ExpertLoad;

/// Where experts and their replicas live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In order, `slots / ranks` each; redundant ones repeat the first experts.
    InOrder,
    /// Replicas go to the most loaded experts, then longest first onto the rank with the least load (as EPLB does).
    Balanced,
}

/// Experts on ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experts {
    /// Different routed experts.
    pub experts: usize,
    /// Further slots for replicas.
    pub redundant: usize,
    /// Experts that a token picks.
    pub top_k: usize,
    /// Ranks that hold them.
    pub ranks: usize,
    /// Where.
    pub placement: Placement,
}

/// Why there is no such placement.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// Slots that do not divide.
    #[error(
        "experts: {slots} expert slots ({experts} experts, {redundant} redundant) do not divide over {ranks} ranks; give \
         --redundant-experts {remedy}"
    )]
    Divide {
        /// All slots.
        slots: usize,
        /// Experts.
        experts: usize,
        /// Replicas.
        redundant: usize,
        /// Ranks.
        ranks: usize,
        /// The next number that works.
        remedy: usize,
    },
    /// More picks than experts, or none.
    #[error("top-k: {top_k} of {experts} experts cannot be picked; give 1 to {experts}")]
    TopK {
        /// Picks.
        top_k: usize,
        /// Experts.
        experts: usize,
    },
    /// Counts of another length, entries that are no counts, or a load without shares by expert.
    #[error("expert load: {0}")]
    Shares(String),
}

/// Load by rank: expected copies of one token.
#[derive(Debug, Clone, PartialEq)]
pub struct RankLoad {
    /// Copies of a token to each rank; they add up to top-k.
    pub copies: Vec<f64>,
    /// Share of the tokens that the most loaded expert gets, over the mean.
    pub hottest_expert: f64,
}

impl RankLoad {
    /// The most loaded rank and its load over the mean.
    pub fn hottest(&self) -> (usize, f64) {
        let mean = self.copies.iter().sum::<f64>() / self.copies.len().max(1) as f64;
        let all = self.copies.iter().copied().enumerate();
        let (rank, most) = all.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))).unwrap_or((0, mean));
        (rank, if mean > 0.0 { most / mean } else { 1.0 })
    }
}

/// Expected copies of a token to each rank.
///
/// # Errors
/// [`LoadError`].
pub fn rank_load(experts: &Experts, load: &ExpertLoad) -> Result<RankLoad, LoadError> {
    let Experts { experts: count, redundant, top_k, ranks, placement } = *experts;
    let slots = count + redundant;
    if top_k == 0 || top_k > count {
        return Err(LoadError::TopK { top_k, experts: count });
    }
    if ranks == 0 || !slots.is_multiple_of(ranks) {
        let remedy = count.next_multiple_of(ranks.max(1)) - count;
        return Err(LoadError::Divide { slots, experts: count, redundant, ranks, remedy });
    }
    let picked = inclusion(&shares(count, load)?, top_k as f64);
    let mean = top_k as f64 / count as f64;
    let hottest_expert = picked.iter().copied().fold(0.0, f64::max) / mean;
    let copies = match placement {
        Placement::InOrder => in_order(&picked, redundant, ranks),
        Placement::Balanced => balanced(&picked, redundant, ranks),
    };
    Ok(RankLoad { copies, hottest_expert })
}

/// Shares of token slots by expert, adding up to 1.
fn shares(count: usize, load: &ExpertLoad) -> Result<Vec<f64>, LoadError> {
    let weights = match load {
        ExpertLoad::Replicated => {
            let reason = "`replicated` says how hot the hottest rank is, not which expert is; give uniform, power:EXPONENT or counts";
            return Err(LoadError::Shares(reason.to_owned()));
        }
        ExpertLoad::Uniform => vec![1.0; count],
        ExpertLoad::PowerLaw { exponent, seed } => {
            let ranked = (1..=count).map(|rank| (rank as f64).powf(-exponent));
            let mut weights: Vec<f64> = ranked.collect();
            shuffle(&mut weights, *seed);
            weights
        }
        ExpertLoad::Counted { visits: counts, .. } => {
            if counts.len() != count {
                let reason = format!("the histogram has {} entries for {count} experts", counts.len());
                return Err(LoadError::Shares(reason));
            }
            if counts.iter().any(|count| !count.is_finite() || *count < 0.0) {
                return Err(LoadError::Shares("an entry is negative or not a number".to_owned()));
            }
            counts.to_vec()
        }
    };
    let sum: f64 = weights.iter().sum();
    if sum.is_finite() && sum > 0.0 {
        Ok(weights.into_iter().map(|weight| weight / sum).collect())
    } else {
        Err(LoadError::Shares("the loads add up to nothing".to_owned()))
    }
}

fn shuffle(weights: &mut [f64], seed: u64) {
    use rand::seq::SliceRandom as _;
    use rand_chacha::rand_core::SeedableRng as _;
    weights.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
}

/// Chance that a token picks each expert: in proportion to the shares, at most once each; together top-k.
fn inclusion(shares: &[f64], top_k: f64) -> Vec<f64> {
    let share = |place: usize| shares.get(place).copied().unwrap_or(0.0);
    let order = by_rising((0..shares.len()).collect(), |&place| [-share(place), 0.0]);
    let mut chances = vec![0.0; shares.len()];
    let (mut picks, mut rest) = (top_k, shares.iter().sum::<f64>());
    for place in order {
        let chance = if rest > 0.0 { (picks * share(place) / rest).min(1.0) } else { 0.0 };
        picks -= chance;
        rest -= share(place);
        if let Some(slot) = chances.get_mut(place) {
            *slot = chance;
        }
    }
    chances
}

fn in_order(picked: &[f64], redundant: usize, ranks: usize) -> Vec<f64> {
    let count = picked.len();
    let slots = count + redundant;
    let each = slots / ranks;
    let replicas = |expert: usize| ((slots - expert - 1) / count + 1) as f64;
    let mut copies = vec![0.0; ranks];
    for slot in 0..slots {
        let expert = slot % count;
        if let (Some(copies), Some(chance)) = (copies.get_mut(slot / each), picked.get(expert)) {
            *copies += chance / replicas(expert);
        }
    }
    copies
}

/// Greedy twice. Each further replica goes to the expert with the most load per replica. Then the heaviest replica goes
/// first, to the rank with the least load that has a free slot.
fn balanced(picked: &[f64], redundant: usize, ranks: usize) -> Vec<f64> {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;
    let each = (picked.len() + redundant) / ranks;
    let mut replicas = vec![1u32; picked.len()];
    let key = |load: f64| load.to_bits(); // Loads are not negative: their bits are ordered as they are.
    let mut heap: BinaryHeap<_> = picked.iter().enumerate().map(|(e, &load)| (key(load), Reverse(e))).collect();
    for _ in 0..redundant {
        let Some((_, Reverse(expert))) = heap.pop() else { break };
        let (Some(number), Some(&load)) = (replicas.get_mut(expert), picked.get(expert)) else { break };
        *number += 1;
        heap.push((key(load / f64::from(*number)), Reverse(expert)));
    }
    let mut slots: Vec<(f64, usize)> = Vec::with_capacity(picked.len() + redundant);
    for (expert, (&load, &number)) in picked.iter().zip(&replicas).enumerate() {
        slots.extend((0..number).map(|_| (load / f64::from(number), expert)));
    }
    let slots = by_rising(slots, |&(load, expert)| [-load, expert as f64]);
    let mut copies = vec![0.0; ranks];
    let mut free = vec![each; ranks];
    let mut heap: BinaryHeap<_> = (0..ranks).map(|rank| Reverse((key(0.0), rank))).collect();
    for (load, _) in slots {
        let Some(Reverse((_, rank))) = heap.pop() else { break };
        let (Some(sum), Some(left)) = (copies.get_mut(rank), free.get_mut(rank)) else { break };
        *sum += load;
        *left -= 1;
        if *left > 0 {
            heap.push(Reverse((key(*sum), rank)));
        }
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experts(experts: usize, redundant: usize, ranks: usize, placement: Placement) -> Experts {
        Experts { experts, redundant, top_k: 8, ranks, placement }
    }

    fn power(exponent: f64) -> ExpertLoad {
        ExpertLoad::PowerLaw { exponent, seed: 7 }
    }

    #[test]
    fn uniform_load_is_the_same_on_every_rank() {
        let load = rank_load(&experts(256, 0, 32, Placement::InOrder), &ExpertLoad::Uniform).unwrap();
        assert!(load.copies.iter().all(|copies| (copies - 0.25).abs() < 1e-12));
    }

    #[test]
    fn copies_add_up_to_top_k_and_no_expert_gets_a_token_twice() {
        for exponent in [0.0, 0.6, 1.2, 3.0] {
            for placement in [Placement::InOrder, Placement::Balanced] {
                let load = rank_load(&experts(256, 64, 320, placement), &power(exponent)).unwrap();
                assert!((load.copies.iter().sum::<f64>() - 8.0).abs() < 1e-9);
                assert!(load.copies.iter().all(|copies| *copies <= 1.0 + 1e-12));
            }
        }
    }

    #[test]
    fn replicas_and_placement_take_load_off_the_hottest_rank() {
        let hottest =
            |redundant, placement| rank_load(&experts(256, redundant, 32, placement), &power(0.8)).unwrap().hottest().1;
        assert!(hottest(0, Placement::Balanced) < hottest(0, Placement::InOrder));
        assert!(hottest(32, Placement::Balanced) < hottest(0, Placement::Balanced));
        assert!(hottest(32, Placement::Balanced) < 1.1);
    }

    #[test]
    fn what_does_not_divide_is_refused_with_the_number_that_does() {
        let error = rank_load(&experts(256, 0, 48, Placement::InOrder), &ExpertLoad::Uniform).unwrap_err();
        assert!(error.to_string().contains("--redundant-experts 32"), "{error}");
        let counts = ExpertLoad::counted(vec![1.0; 255], None);
        assert!(rank_load(&experts(256, 0, 32, Placement::InOrder), &counts).is_err());
        let nan = ExpertLoad::counted(vec![f64::NAN; 256], None);
        assert!(rank_load(&experts(256, 0, 32, Placement::InOrder), &nan).is_err());
    }
}
