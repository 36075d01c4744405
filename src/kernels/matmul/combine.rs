//! The weighted combine: expert outputs back in token order.

use std::collections::BTreeMap;

use super::{operands, tolerance};
use crate::kernels::compare::{Comparison, Verification, sample};
use crate::kernels::routing::{self, Load};
use crate::kernels::tensor::{Tensor, Tensors};
use crate::kernels::{Element, Family, Kernel, Output, Plan, Role, Work, named, twin, word};
use crate::units::{Bytes, Flop};

/// Rows an expert are padded to a multiple of this, as the sort leaves them for the widest matmul tile.
const ROW_TILE: usize = 64;

/// The weighted sum of expert outputs back in token order.
#[derive(Debug, Clone)]
pub struct Combine {
    /// Tokens.
    pub tokens: usize,
    /// Experts a token.
    pub top_k: usize,
    /// Columns.
    pub hidden: usize,
    /// Experts that the slots came from.
    pub experts: usize,
}

impl Combine {
    fn row_of_slot(&self, seed: u64) -> Vec<u32> {
        let slots = routing::experts_of_slots(self.tokens, self.top_k, self.experts, Load::Uniform, seed);
        routing::layout(&slots, self.experts, ROW_TILE).row_of_slot
    }

    fn rows(&self) -> usize {
        routing::most_row_blocks(self.tokens * self.top_k, self.experts, ROW_TILE) * ROW_TILE
    }
}

impl Kernel for Combine {
    fn family(&self) -> Family {
        Family::ExpertMatmul
    }

    fn name(&self) -> &'static str {
        "combine"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("tokens", self.tokens), ("top_k", self.top_k), ("hidden", self.hidden), ("experts", self.experts)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["gather"]
    }

    fn elements(&self) -> &'static [Element] {
        &[Element::F32, Element::F16, Element::Bf16]
    }

    fn plan(&self, _variant: &str, element: Element) -> Plan {
        let (slots, n4) = (self.tokens * self.top_k, self.hidden.div_ceil(4));
        let size = operands::bytes(element);
        let mut plan = Plan::new(Work {
            flop: Flop::new(2.0 * (slots * self.hidden) as f64),
            bytes_read: Bytes::new((slots * (self.hidden * size + 8)) as f64),
            bytes_written: Bytes::new((self.tokens * self.hidden * size) as f64),
        });
        let bindings = vec![
            plan.buffer("y", Role::Input, self.rows() * n4 * 4 * size),
            plan.buffer("weight", Role::Input, slots * 4),
            plan.buffer("row_of_slot", Role::Input, slots * 4),
            plan.buffer("out", Role::Output, self.tokens * n4 * 4 * size),
        ];
        let grid = [word(n4.div_ceil(64)), word(self.tokens), 1];
        plan.launch("combine", element, BTreeMap::from([("WORKGROUP", 64.0)]), bindings, grid).params =
            vec![("tokens", word(self.tokens)), ("n4", word(n4)), ("top_k", word(self.top_k))];
        plan
    }

    fn inputs(&self, _variant: &str, element: Element, seed: u64) -> Tensors {
        let padded = self.hidden.next_multiple_of(4);
        Tensors::from([
            ("y", Tensor::random(&[self.rows(), self.hidden], &[self.rows(), padded], element, 1.0, seed ^ 0xA)),
            (
                "weight",
                Tensor::random(&[self.tokens, self.top_k], &[self.tokens, self.top_k], Element::F32, 0.3, seed ^ 0xB),
            ),
            ("row_of_slot", Tensor::indices(&self.row_of_slot(seed))),
        ])
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let total = self.tokens * self.hidden;
        let mut comparison = Comparison::of("out");
        for item in sample(total, self.top_k, effort) {
            let (token, column) = (item / self.hidden, item % self.hidden);
            let want = twin::matmul::combine(&inputs["y"], &inputs["weight"], &inputs["row_of_slot"], token, column);
            comparison.pair(&[token, column], outputs["out"].at(&[token, column]), want);
        }
        comparison.relative(tolerance(element), total)
    }

    fn outputs(&self, _variant: &str, element: Element) -> Vec<Output> {
        vec![Output::new("out", &[self.tokens, self.hidden], &[self.tokens, self.hidden.next_multiple_of(4)], element)]
    }
}
