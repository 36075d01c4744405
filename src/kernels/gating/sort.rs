//! The sort of token slots by expert: a counting sort in three launches.

use std::collections::BTreeMap;

use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Output, Plan, Role};
use crate::kernels::routing::{self, Load, TokenSlots};
use crate::kernels::tensor::{Tensor, TensorType, Tensors};
use crate::kernels::twin;
use crate::kernels::types::{StorageType, Work, named, word};
use crate::kernels::verification::{Deviation, Verification, worst_of};
use crate::units::{Bytes, Flop};

/// The sort of `tokens * top_k` slots by expert. The rows of each expert are padded to a multiple of `row_tile`.
#[derive(Debug, Clone)]
pub struct Sort {
    /// Tokens.
    pub tokens: usize,
    /// Slots per token.
    pub top_k: usize,
    /// Experts, at most 512.
    pub experts: usize,
    /// Rows that must belong to one expert.
    pub row_tile: usize,
    /// How the slots spread over experts.
    pub load: Load,
}

/// Slots per workgroup of the first and the last launch.
const CHUNK: usize = 256;
/// Invocations of the only workgroup of the second launch.
const SCAN_WORKGROUP: usize = 256;

impl Sort {
    fn slots(&self) -> usize {
        self.tokens * self.top_k
    }

    fn row_blocks(&self) -> usize {
        routing::most_row_blocks(self.slots(), self.experts, self.row_tile)
    }
}

impl Kernel for Sort {
    fn name(&self) -> &'static str {
        "sort"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("tokens", self.tokens), ("top_k", self.top_k), ("experts", self.experts), ("row_tile", self.row_tile)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["counting"]
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32]
    }

    fn plan(&self, _variant: &str, element: StorageType) -> Plan {
        let (slots, row_blocks) = (self.slots(), self.row_blocks());
        let rows = row_blocks * self.row_tile;
        let chunks = slots.div_ceil(CHUNK);
        // Integer work only: it has no arithmetic roof.
        let mut plan = Plan::new(Work {
            flop: Flop::ZERO,
            bytes_read: Bytes::new(4.0 * slots as f64),
            bytes_written: Bytes::new(4.0 * (rows + slots + row_blocks + self.experts) as f64),
        });
        let expert_of_slot = plan.buffer("expert_of_slot", Role::Input, slots * 4);
        let chunk_count = plan.buffer("chunk_count", Role::Scratch, chunks * self.experts * 4);
        let expert_rows = plan.buffer("expert_rows", Role::Output, self.experts * 4);
        let block_expert = plan.buffer("block_expert", Role::Output, row_blocks * 4);
        let slot_of_row = plan.buffer("slot_of_row", Role::Output, rows * 4);
        let row_of_slot = plan.buffer("row_of_slot", Role::Output, slots * 4);

        let chunked = |shader, bindings: &[usize]| {
            Launch::of(shader, element)
                .overrides([("WORKGROUP", CHUNK as f64)])
                .params([("slots", word(slots)), ("experts", word(self.experts))])
                .bindings(bindings.iter().copied())
                .grid([word(chunks), 1, 1])
        };
        plan.launch(chunked("sort_count", &[expert_of_slot, chunk_count]));
        plan.launch(
            Launch::of("sort_scan", element)
                .overrides([("WORKGROUP", SCAN_WORKGROUP as f64)])
                .params([
                    ("experts", word(self.experts)),
                    ("chunks", word(chunks)),
                    ("row_tile", word(self.row_tile)),
                    ("row_blocks", word(row_blocks)),
                ])
                .bindings([chunk_count, expert_rows, block_expert, slot_of_row]),
        );
        plan.launch(chunked("sort_scatter", &[expert_of_slot, chunk_count, slot_of_row, row_of_slot]));
        plan
    }

    fn inputs(&self, _variant: &str, _element: StorageType, seed: u64) -> Tensors {
        let Self { tokens, top_k, experts, load, .. } = *self;
        let slots = routing::experts_of_slots(&TokenSlots { tokens, top_k, experts, load }, seed);
        Tensors::from([("expert_of_slot", Tensor::indices(&slots))])
    }

    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        let flat = |name, length: usize| Output::new(name, &[length], &[length], TensorType::Index);
        vec![
            flat("expert_rows", self.experts),
            flat("block_expert", self.row_blocks()),
            flat("slot_of_row", self.row_blocks() * self.row_tile),
            flat("row_of_slot", self.slots()),
        ]
    }

    fn tokens_per_expert(&self, outputs: &Tensors) -> Option<Vec<u32>> {
        Some((0..self.experts).map(|expert| outputs["expert_rows"].index_at(&[expert])).collect())
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: StorageType, _effort: u64) -> Verification {
        let slots: Vec<usize> =
            (0..self.slots()).map(|slot| inputs["expert_of_slot"].index_at(&[slot]) as usize).collect();
        let want = twin::gating::sort(&slots, self.experts, self.row_tile);
        let none = routing::NONE as usize;
        let rows = self.row_blocks() * self.row_tile;
        let slot_of_row = want.slot_of_row.into_iter().map(|slot| slot.unwrap_or(none)).collect();
        let expected: [(&'static str, Vec<usize>); 4] = [
            ("expert_rows", want.expert_rows),
            ("block_expert", padded(want.block_expert, self.row_blocks(), none)),
            ("slot_of_row", padded(slot_of_row, rows, none)),
            ("row_of_slot", want.row_of_slot),
        ];
        let compared = expected.map(|(name, want)| {
            let mut deviation = Deviation::of(name);
            for (at, &value) in want.iter().enumerate() {
                deviation.pair(&[at], f64::from(outputs[name].index_at(&[at])), value as f64);
            }
            deviation.exact(want.len())
        });
        worst_of(compared.to_vec())
    }
}

/// `values` with `none` behind them, up to `length`.
fn padded(mut values: Vec<usize>, length: usize, none: usize) -> Vec<usize> {
    values.resize(length, none);
    values
}
