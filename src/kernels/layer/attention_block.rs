//! Attention between its projections: queries, keys and values from the hidden states, and the output projection.

use std::collections::BTreeMap;

use super::super::attention::{Decode, Heads, Prefill};
use super::super::compare::{Comparison, Verification, sample, worst_of};
use super::super::matmul::{Matmul, MatmulRole, tolerance};
use super::super::routing::Load;
use super::super::tensor::Tensors;
use super::super::{BestVariant, Element, Extent, Family, Kernel, Output, Plan, Role, Target, Work, named, twin};
use super::{append, floats_of};
use crate::units::Bytes;

/// One attention block. In prefill the keys and values are the projected ones; in decode the projected key and value of
/// the new token are an output, and attention reads a cache that is there already.
#[derive(Debug, Clone)]
pub struct AttentionBlock {
    /// Heads.
    pub heads: Heads,
    /// Hidden size, a multiple of 4.
    pub hidden: usize,
    /// Prefill or decode.
    pub phase: BlockPhase,
    /// Variant of all four projections, whose rows lie in the same tiles; where `None`, the first that suits.
    pub projection: Option<&'static str>,
}

/// What the block works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockPhase {
    /// A prompt.
    Prefill {
        /// Its tokens.
        tokens: usize,
    },
    /// One token of each of some sequences.
    Decode {
        /// Sequences.
        sequences: usize,
        /// Keys of each.
        kv_len: usize,
    },
}

const PROJECTIONS: [(&str, &str, &str); 3] = [("wq", "q", "query"), ("wk", "k", "key"), ("wv", "v", "value")];

impl AttentionBlock {
    fn tokens(&self) -> usize {
        match self.phase {
            BlockPhase::Prefill { tokens } => tokens,
            BlockPhase::Decode { sequences, .. } => sequences,
        }
    }

    fn attention(&self) -> Box<dyn Kernel> {
        let heads = self.heads;
        match self.phase {
            BlockPhase::Prefill { tokens } => Box::new(Prefill::causal(heads, tokens, tokens)),
            BlockPhase::Decode { sequences, kv_len } => Box::new(Decode { heads, sequences, kv_len }),
        }
    }

    fn dense(&self, k: usize, n: usize) -> Matmul {
        Matmul { role: MatmulRole::Dense, experts: 1, tokens: self.tokens(), top_k: 1, k, n, load: Load::Uniform }
    }

    fn q_columns(&self) -> usize {
        self.heads.heads * self.heads.head_dim
    }

    fn kv_columns(&self) -> usize {
        self.heads.kv_heads * self.heads.head_dim
    }

    /// Projection of the queries, keys or values.
    fn projection(&self, index: usize) -> Matmul {
        self.dense(self.hidden, if index == 0 { self.q_columns() } else { self.kv_columns() })
    }

    fn out_projection(&self) -> Matmul {
        self.dense(self.q_columns(), self.hidden)
    }

    fn projection_variant(&self) -> &'static str {
        self.projection.unwrap_or_else(|| self.projection(0).default_variant(&Target::default()))
    }

    /// Names of the projected query, key and value.
    fn projected(&self) -> [&'static str; 3] {
        match self.phase {
            BlockPhase::Prefill { .. } => ["q", "k", "v"],
            BlockPhase::Decode { .. } => ["q", "k_new", "v_new"],
        }
    }

    /// Weights, hidden states, cache and output, each once.
    fn work(&self, plan: &Plan, element: Element) -> Work {
        let size = element.size_bytes() as f64;
        let (hidden, tokens) = (self.hidden as f64, self.tokens() as f64);
        let (q, kv) = (self.q_columns() as f64, self.kv_columns() as f64);
        let cache = match self.phase {
            BlockPhase::Prefill { .. } => 0.0,
            BlockPhase::Decode { sequences, kv_len } => 2.0 * (sequences * kv_len) as f64 * kv,
        };
        Work {
            flop: plan.parts.iter().map(|part| part.work.flop).sum(),
            bytes_read: Bytes::new(size * (tokens * hidden + 2.0 * hidden * (q + kv) + cache)),
            bytes_written: Bytes::new(size * tokens * (hidden + 2.0 * kv)),
        }
    }
}

impl Kernel for AttentionBlock {
    fn family(&self) -> Family {
        Family::Layer
    }

    fn name(&self) -> &'static str {
        match self.phase {
            BlockPhase::Prefill { .. } => "attention_block_prefill",
            BlockPhase::Decode { .. } => "attention_block_decode",
        }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let Heads { heads, kv_heads, head_dim, .. } = self.heads;
        let mut shape =
            named(&[("heads", heads), ("kv_heads", kv_heads), ("head_dim", head_dim), ("hidden", self.hidden)]);
        shape.extend(match self.phase {
            BlockPhase::Prefill { tokens } => named(&[("tokens", tokens)]),
            BlockPhase::Decode { sequences, kv_len } => named(&[("sequences", sequences), ("kv_len", kv_len)]),
        });
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        self.attention().variants()
    }

    fn elements(&self) -> &'static [Element] {
        &[Element::F32, Element::F16]
    }

    fn variant_elements(&self, variant: &str) -> &'static [Element] {
        floats_of(self.attention().variant_elements(variant))
    }

    fn suits(&self, variant: &str) -> bool {
        self.attention().suits(variant)
    }

    /// Its variants are those of its attention, which is tried alone.
    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        let attention = self.attention();
        let work = self.plan(self.default_variant(&Target::default()), Element::F32).work;
        attention.smaller(most).or_else(|| most.is_exceeded_by(&work).then_some(attention))
    }

    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        let phase = match self.phase {
            BlockPhase::Prefill { tokens } if tokens > 1 => BlockPhase::Prefill { tokens: tokens / 2 },
            BlockPhase::Decode { sequences, kv_len } if sequences > 1 => {
                BlockPhase::Decode { sequences: sequences / 2, kv_len }
            }
            _ => return None,
        };
        Some(Box::new(Self { phase, ..self.clone() }))
    }

    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        self.heads.halved().map(|heads| Box::new(Self { heads, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn with_parts(&self, element: Element, best: &BestVariant) -> Option<Box<dyn Kernel>> {
        Some(Box::new(Self { projection: best(&self.projection(0), element), ..self.clone() }))
    }

    fn plan(&self, variant: &str, element: Element) -> Plan {
        use Role::{Input, Output, Scratch};
        let variant = self.variants().iter().copied().find(|known| *known == variant).unwrap_or_default();
        let mut plan = Plan::new(Work::default());
        let tile = [("block_expert", "block_expert", Input), ("slot_of_row", "slot_of_row", Input)];
        for (index, name) in self.projected().into_iter().enumerate() {
            let wires = [("a", "x", Input), ("b", PROJECTIONS[index].0, Input), ("c", name, Output), tile[0], tile[1]];
            let projection = self.projection(index);
            append(&mut plan, &projection, self.projection_variant(), element, &wires);
        }
        let [key, value] = match self.phase {
            BlockPhase::Prefill { .. } => [("k", "k", Output), ("v", "v", Output)],
            BlockPhase::Decode { .. } => [("k", "k_cache", Input), ("v", "v_cache", Input)],
        };
        append(
            &mut plan,
            &*self.attention(),
            variant,
            element,
            &[
                ("q", "q", Output),
                key,
                value,
                ("part_state", "part_state", Scratch),
                ("part_out", "part_out", Scratch),
                ("out", "attended", Output),
            ],
        );
        let out = self.out_projection();
        let wires = [("a", "attended", Output), ("b", "wo", Input), ("c", "out", Output), tile[0], tile[1]];
        append(&mut plan, &out, self.projection_variant(), element, &wires);
        plan.work = self.work(&plan, element);
        plan
    }

    fn inputs(&self, variant: &str, element: Element, seed: u64) -> Tensors {
        let mut inputs = Tensors::new();
        let mut take = |from: &mut Tensors, name: &'static str, to: &'static str| {
            if let Some(tensor) = from.remove(name) {
                inputs.insert(to, tensor);
            }
        };
        for (index, (weights, _, _)) in PROJECTIONS.into_iter().enumerate() {
            let projection = self.projection(index);
            let mut from = projection.inputs(self.projection_variant(), element, seed ^ (0x100 * (index as u64 + 1)));
            if index == 0 {
                take(&mut from, "a", "x");
                take(&mut from, "block_expert", "block_expert");
                take(&mut from, "slot_of_row", "slot_of_row");
            }
            take(&mut from, "b", weights);
        }
        let out = self.out_projection();
        take(&mut out.inputs(self.projection_variant(), element, seed ^ 0x400), "b", "wo");
        if let BlockPhase::Decode { .. } = self.phase {
            let mut cache = self.attention().inputs(variant, element, seed ^ 0x500);
            take(&mut cache, "k", "k_cache");
            take(&mut cache, "v", "v_cache");
        }
        inputs
    }

    fn outputs(&self, _variant: &str, element: Element) -> Vec<Output> {
        let (tokens, Heads { heads, kv_heads, head_dim, .. }) = (self.tokens(), self.heads);
        let [q, k, v] = self.projected();
        let split =
            |name, heads: usize| Output::new(name, &[tokens, heads, head_dim], &[tokens, heads, head_dim], element);
        let hidden = [tokens, self.hidden];
        vec![
            split(q, heads),
            split(k, kv_heads),
            split(v, kv_heads),
            split("attended", heads),
            Output::new("out", &hidden, &[tokens, self.hidden.next_multiple_of(4)], element),
        ]
    }

    /// Each step against its twin on what the step before it left, so that every link of the chain is compared.
    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let Heads { heads, head_dim, .. } = self.heads;
        let (tokens, effort) = (self.tokens(), effort / 5);
        let names = self.projected();
        let mut compared = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            let columns = self.projection(index).n;
            let mut comparison = Comparison::of(name);
            for item in sample(tokens * columns, self.hidden, effort) {
                let (row, column) = (item / columns, item % columns);
                let want = twin::matmul::product(&inputs["x"], &inputs[PROJECTIONS[index].0], row, 0, column);
                let at = [row, column / head_dim, column % head_dim];
                comparison.pair(&at, outputs[name].at(&at), want);
            }
            compared.push(comparison.relative(tolerance(element), tokens * columns));
        }
        let mut comparison = Comparison::of("attended");
        let keys = match self.phase {
            BlockPhase::Prefill { tokens } => tokens,
            BlockPhase::Decode { kv_len, .. } => kv_len,
        };
        for item in sample(tokens * heads, 2 * keys * head_dim, effort) {
            let (row, head) = (item / heads, item % heads);
            let want = match self.phase {
                BlockPhase::Prefill { .. } => {
                    twin::attention::prefill(&outputs["q"], &outputs["k"], &outputs["v"], row, head, true)
                }
                BlockPhase::Decode { .. } => {
                    twin::attention::decode(&outputs["q"], &inputs["k_cache"], &inputs["v_cache"], row, head)
                }
            };
            for (d, want) in want.into_iter().enumerate() {
                comparison.pair(&[row, head, d], outputs["attended"].at(&[row, head, d]), want);
            }
        }
        compared.push(comparison.relative(tolerance(element), tokens * heads * head_dim));
        let mut comparison = Comparison::of("out");
        for item in sample(tokens * self.hidden, self.q_columns(), effort) {
            let (row, column) = (item / self.hidden, item % self.hidden);
            let want = (0..self.q_columns())
                .map(|i| outputs["attended"].at(&[row, i / head_dim, i % head_dim]) * inputs["wo"].at(&[0, i, column]))
                .sum();
            comparison.pair(&[row, column], outputs["out"].at(&[row, column]), want);
        }
        compared.push(comparison.relative(tolerance(element), tokens * self.hidden));
        worst_of(compared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(tokens: usize) -> AttentionBlock {
        let heads = Heads { heads: 4, kv_heads: 2, head_dim: 32 };
        AttentionBlock { heads, hidden: 52, phase: BlockPhase::Prefill { tokens }, projection: None }
    }

    #[test]
    fn every_row_that_attention_reads_is_written_by_a_projection_or_is_padding() {
        for (tokens, variant) in [(1, "matrix_8"), (45, "matrix_8"), (64, "matrix_16"), (65, "matrix_16"), (45, "row")]
        {
            let block = block(tokens);
            let element = block.variant_elements(variant)[0];
            let (plan, operands) = (block.plan(variant, element), block.attention().inputs(variant, element, 1));
            for (index, name) in block.projected().into_iter().enumerate() {
                let written = (tokens * block.projection(index).n) as u64 * element.size_bytes();
                let read = operands[name].bytes().len() as u64;
                let buffer = plan.buffers.iter().find(|buffer| buffer.name == name).unwrap();
                assert!(buffer.size_bytes >= read, "{tokens} {variant} {name}");
                if read > written {
                    assert_eq!(buffer.padding, written..read, "{tokens} {variant} {name}");
                } else {
                    // Poison stays wherever a launch must write, and where none reads.
                    assert!(buffer.padding.is_empty(), "{tokens} {variant} {name}");
                }
            }
        }
    }

    #[test]
    fn of_links_that_are_equally_wrong_the_first_is_named() {
        let compared = ["q", "attended", "out"].map(|name| {
            let mut comparison = Comparison::of(name);
            comparison.pair(&[0], if name == "q" { 1.0 } else { f64::NAN }, 1.0);
            comparison.relative(1e-5, 1)
        });
        assert_eq!(worst_of(compared.to_vec()).worst.unwrap().output, "attended");
    }
}
