//! The routing of token slots to experts, as a gate and a sort would leave it: the operands of a grouped GEMM.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::kernels::tensor::Tensor;

/// How slots spread over experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// Each expert is equally likely, the aim of balanced training. Counts still scatter as they do in practice.
    Uniform,
    /// The same count per expert, tokens in order: a batched GEMM.
    Even,
    /// A power law (Zipf's, exponent 1): expert `e` as likely as `1 / (e + 1)`.
    PowerLaw,
    /// Expert 0 takes half of the tokens in addition to its even share.
    HotExpert,
    /// All slots to expert 0.
    OneExpert,
    /// Only experts of even index have tokens.
    EvenExperts,
}

impl Load {
    /// The name in case ids.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Even => "even",
            Self::PowerLaw => "power-law",
            Self::HotExpert => "hot-expert",
            Self::OneExpert => "one-expert",
            Self::EvenExperts => "even-experts",
        }
    }

    /// The probability of an expert, up to a common factor.
    fn weight(self, expert: usize) -> f64 {
        match self {
            Self::Uniform | Self::Even | Self::HotExpert => 1.0,
            Self::PowerLaw => 1.0 / (expert as f64 + 1.0),
            Self::OneExpert => f64::from(u8::from(expert == 0)),
            Self::EvenExperts => f64::from(u8::from(expert.is_multiple_of(2))),
        }
    }
}

/// Token slots that a gate routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenSlots {
    /// Tokens.
    pub tokens: usize,
    /// Slots per token.
    pub top_k: usize,
    /// Experts.
    pub experts: usize,
    /// How the slots spread over experts.
    pub load: Load,
}

/// The expert of each of `tokens * top_k` slots. The slots of one token go to different experts if the load allows it.
pub fn experts_of_slots(routed: &TokenSlots, seed: u64) -> Vec<u32> {
    let TokenSlots { tokens, top_k, experts, load } = *routed;
    if load == Load::Even {
        let slots = tokens * top_k;
        return (0..slots).filter_map(|slot| u32::try_from(slot * experts / slots).ok()).collect();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let pool: Vec<(u32, f64)> = (0u32..)
        .zip(0..experts)
        .map(|(expert, index)| (expert, load.weight(index)))
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    let mut slots = Vec::with_capacity(tokens * top_k);
    let mut left = Vec::with_capacity(pool.len());
    for _ in 0..tokens {
        left.clone_from(&pool);
        for slot in 0..top_k {
            if left.is_empty() {
                left.clone_from(&pool);
            }
            let hot = load == Load::HotExpert && slot == 0 && rng.random_bool(0.5);
            let pick = if hot { 0 } else { weighted(&left, &mut rng) };
            slots.push(left.swap_remove(pick).0);
        }
    }
    slots
}

/// The expert of each of `tokens * top_k` slots, where expert `e` is as likely as `weights[e]`. The slots of one token go to
/// different experts if enough of them have a weight.
pub fn experts_by_weight(weights: &[f64], tokens: usize, top_k: usize, seed: u64) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let pool: Vec<(u32, f64)> = (0u32..).zip(weights.iter().copied()).filter(|(_, weight)| *weight > 0.0).collect();
    let mut slots = Vec::with_capacity(tokens * top_k);
    let mut left = Vec::with_capacity(pool.len());
    for _ in 0..tokens {
        left.clone_from(&pool);
        for _ in 0..top_k {
            if left.is_empty() {
                left.clone_from(&pool);
            }
            if !left.is_empty() {
                slots.push(left.swap_remove(weighted(&left, &mut rng)).0);
            }
        }
    }
    slots
}

/// Slots per expert in an output of expert indices [tokens, top_k]; `None` if an index is no expert.
pub fn counts(expert_of_slot: &Tensor, experts: usize) -> Option<Vec<u32>> {
    let [tokens, top_k] = *expert_of_slot.dims() else { return None };
    let mut counts = vec![0; experts];
    for token in 0..tokens {
        for slot in 0..top_k {
            *counts.get_mut(expert_of_slot.index_at(&[token, slot]) as usize)? += 1;
        }
    }
    Some(counts)
}

fn weighted(left: &[(u32, f64)], rng: &mut ChaCha8Rng) -> usize {
    let total: f64 = left.iter().map(|(_, weight)| weight).sum();
    let mut point = rng.random::<f64>() * total;
    for (index, (_, weight)) in left.iter().enumerate() {
        if point < *weight {
            return index;
        }
        point -= weight;
    }
    left.len() - 1
}

/// The value of padding: no row, no expert.
pub const NONE: u32 = u32::MAX;

/// Slots sorted by expert and padded, as `sort_*.wgsl` writes them.
#[derive(Debug, Clone)]
pub struct RowLayout {
    /// Expert of each block of rows; [`NONE`] beyond the last.
    pub block_expert: Vec<u32>,
    /// Slot of each row; [`NONE`] is padding.
    pub slot_of_row: Vec<u32>,
    /// Row of each slot.
    pub row_of_slot: Vec<u32>,
}

/// The most row blocks that `slots` can need under any load: the full ones, and one partly filled per expert.
pub fn most_row_blocks(slots: usize, experts: usize, row_tile: usize) -> usize {
    slots / row_tile + experts.min(slots)
}

/// Sorts slots by expert: a stable counting sort.
pub fn layout(expert_of_slot: &[u32], experts: usize, row_tile: usize) -> RowLayout {
    let blocks = most_row_blocks(expert_of_slot.len(), experts, row_tile);
    let mut count = vec![0; experts];
    for &expert in expert_of_slot {
        count[expert as usize] += 1;
    }
    let mut layout = RowLayout {
        block_expert: vec![NONE; blocks],
        slot_of_row: vec![NONE; blocks * row_tile],
        row_of_slot: vec![NONE; expert_of_slot.len()],
    };
    let mut next = vec![0usize; experts];
    let mut block = 0;
    for (expert, &rows) in (0u32..).zip(&count) {
        next[expert as usize] = block * row_tile;
        for _ in 0..usize::div_ceil(rows, row_tile) {
            layout.block_expert[block] = expert;
            block += 1;
        }
    }
    for (slot, &expert) in (0u32..).zip(expert_of_slot) {
        let row = &mut next[expert as usize];
        layout.slot_of_row[*row] = slot;
        #[expect(clippy::cast_possible_truncation, reason = "rows are indexed by u32 on the device")]
        {
            layout.row_of_slot[slot as usize] = *row as u32;
        }
        *row += 1;
    }
    layout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_never_mixes_experts_in_a_block_and_keeps_slot_order() {
        let routed = TokenSlots { tokens: 37, top_k: 3, experts: 10, load: Load::EvenExperts };
        let slots = experts_of_slots(&routed, 5);
        let layout = layout(&slots, 10, 8);
        let mut last = None;
        for (row, &slot) in layout.slot_of_row.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            let expert = slots[slot as usize];
            assert_eq!(layout.block_expert[row / 8], expert);
            assert_eq!(layout.row_of_slot[slot as usize] as usize, row);
            assert!(last < Some((expert, slot)), "rows are in order of expert, then slot");
            last = Some((expert, slot));
        }
        assert!(slots.iter().all(|e| e % 2 == 0));
    }

    #[test]
    fn the_slots_of_a_token_go_to_different_experts() {
        let routed = TokenSlots { tokens: 50, top_k: 8, experts: 16, load: Load::Uniform };
        for token in experts_of_slots(&routed, 1).chunks(8) {
            let mut seen = token.to_vec();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 8);
        }
    }
}
