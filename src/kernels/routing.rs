//! Where token slots go: the operands of a grouped GEMM that a gate and a sort would have produced.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tensor::Tensor;

/// How slots spread over experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// Each expert equally likely: what balanced training aims at. Counts still scatter as they do in practice.
    Uniform,
    /// The same count for each expert, tokens in order: a batched GEMM.
    Even,
    /// A power law (Zipf's, exponent 1): expert `e` as likely as `1 / (e + 1)`.
    PowerLaw,
    /// Expert 0 takes part in half of the tokens beside its even share.
    HotExpert,
    /// All slots to expert 0.
    OneExpert,
    /// Only even experts: every other one has no token.
    EvenExperts,
}

impl Load {
    /// As in case ids.
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

    /// How likely an expert is, up to a common factor.
    fn weight(self, expert: usize) -> f64 {
        match self {
            Self::Uniform | Self::Even | Self::HotExpert => 1.0,
            Self::PowerLaw => 1.0 / (expert as f64 + 1.0),
            Self::OneExpert => f64::from(u8::from(expert == 0)),
            Self::EvenExperts => f64::from(u8::from(expert.is_multiple_of(2))),
        }
    }
}

/// Expert of each slot. With `top_k` > 1 the slots of a token go to different experts (where the load allows).
pub fn experts_of_slots(tokens: usize, top_k: usize, experts: usize, load: Load, seed: u64) -> Vec<u32> {
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

/// Slots of each expert in an output of expert indices, [token, slot]; `None` where one is no expert.
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

/// No row, no expert: what padding holds.
pub const NONE: u32 = u32::MAX;

/// Slots sorted by expert and padded, as `sort_*.wgsl` leaves them.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Expert of each block of rows; [`NONE`] beyond the last.
    pub block_expert: Vec<u32>,
    /// Slot of each row; [`NONE`] is padding.
    pub slot_of_row: Vec<u32>,
    /// Row of each slot.
    pub row_of_slot: Vec<u32>,
}

/// The most row blocks that `slots` can need, whatever the load: full ones, and one begun by each expert.
pub fn most_row_blocks(slots: usize, experts: usize, row_tile: usize) -> usize {
    slots / row_tile + experts.min(slots)
}

/// Counting sort by expert, stable.
pub fn layout(expert_of_slot: &[u32], experts: usize, row_tile: usize) -> Layout {
    let blocks = most_row_blocks(expert_of_slot.len(), experts, row_tile);
    let mut count = vec![0; experts];
    for &expert in expert_of_slot {
        count[expert as usize] += 1;
    }
    let mut layout = Layout {
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
        let slots = experts_of_slots(37, 3, 10, Load::EvenExperts, 5);
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
        for token in experts_of_slots(50, 8, 16, Load::Uniform, 1).chunks(8) {
            let mut seen = token.to_vec();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 8);
        }
    }
}
