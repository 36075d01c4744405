//! The weighted combine of expert outputs.

use std::collections::BTreeMap;

use crate::kernels::kernel::Kernel;
use crate::kernels::matmul::operands;
use crate::kernels::plan::{Launch, Output, Plan, Role};
use crate::kernels::routing::{self, Load, TokenSlots};
use crate::kernels::tensor::{Random, Tensor, Tensors};
use crate::kernels::twin;
use crate::kernels::types::{StorageType, Work, named, word};
use crate::kernels::verification::{Deviation, Verification, sample, tolerance};
use crate::units::{Bytes, Flop};

/// Rows per expert are padded to a multiple of this, as the sort pads them for a matmul tile of 64 rows.
const ROW_TILE: usize = 64;
/// Invocations per workgroup.
const WORKGROUP: usize = 64;

/// The weighted sum of expert outputs back in token order.
#[derive(Debug, Clone)]
pub struct Combine {
    /// Tokens.
    pub tokens: usize,
    /// Experts per token.
    pub top_k: usize,
    /// Columns.
    pub hidden: usize,
    /// Experts among which the slots were routed.
    pub experts: usize,
}

impl Combine {
    fn row_of_slot(&self, seed: u64) -> Vec<u32> {
        let Self { tokens, top_k, experts, .. } = *self;
        let slots = routing::experts_of_slots(&TokenSlots { tokens, top_k, experts, load: Load::Uniform }, seed);
        routing::layout(&slots, self.experts, ROW_TILE).row_of_slot
    }

    fn rows(&self) -> usize {
        routing::most_row_blocks(self.tokens * self.top_k, self.experts, ROW_TILE) * ROW_TILE
    }
}

impl Kernel for Combine {
    fn name(&self) -> &'static str {
        "combine"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("tokens", self.tokens), ("top_k", self.top_k), ("hidden", self.hidden), ("experts", self.experts)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["gather"]
    }

    fn elements(&self) -> &'static [StorageType] {
        StorageType::FLOATS
    }

    fn plan(&self, _variant: &str, element: StorageType) -> Plan {
        let (slots, n4) = (self.tokens * self.top_k, self.hidden.div_ceil(4));
        let size = operands::bytes(element);
        let mut plan = Plan::new(Work {
            flop: Flop::new(2.0 * (slots * self.hidden) as f64),
            bytes_read: Bytes::new((slots * (self.hidden * size + 8)) as f64),
            bytes_written: Bytes::new((self.tokens * self.hidden * size) as f64),
        });
        let bindings = [
            plan.buffer("y", Role::Input, self.rows() * n4 * 4 * size),
            plan.buffer("weight", Role::Input, slots * 4),
            plan.buffer("row_of_slot", Role::Input, slots * 4),
            plan.buffer("out", Role::Output, self.tokens * n4 * 4 * size),
        ];
        plan.launch(
            Launch::of("combine", element)
                .overrides([("WORKGROUP", WORKGROUP as f64)])
                .params([("tokens", word(self.tokens)), ("n4", word(n4)), ("top_k", word(self.top_k))])
                .bindings(bindings)
                .grid([word(n4.div_ceil(WORKGROUP)), word(self.tokens), 1]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, element: StorageType, seed: u64) -> Tensors {
        let padded = self.hidden.next_multiple_of(4);
        Tensors::from([
            (
                "y",
                Tensor::random(
                    &[self.rows(), self.hidden],
                    &[self.rows(), padded],
                    element,
                    Random { sigma: 1.0, seed: seed ^ 0xA },
                ),
            ),
            (
                "weight",
                Tensor::random(
                    &[self.tokens, self.top_k],
                    &[self.tokens, self.top_k],
                    StorageType::F32,
                    Random { sigma: 0.3, seed: seed ^ 0xB },
                ),
            ),
            ("row_of_slot", Tensor::indices(&self.row_of_slot(seed))),
        ])
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let total = self.tokens * self.hidden;
        let mut deviation = Deviation::of("out");
        for item in sample(total, self.top_k, effort) {
            let (token, column) = (item / self.hidden, item % self.hidden);
            let want = twin::matmul::combine(&inputs["y"], &inputs["weight"], &inputs["row_of_slot"], token, column);
            deviation.pair(&[token, column], outputs["out"].at(&[token, column]), want);
        }
        deviation.relative(tolerance(element), total)
    }

    fn outputs(&self, _variant: &str, element: StorageType) -> Vec<Output> {
        vec![Output::new("out", &[self.tokens, self.hidden], &[self.tokens, self.hidden.next_multiple_of(4)], element)]
    }
}
