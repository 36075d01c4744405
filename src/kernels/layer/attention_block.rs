//! Attention with its projections: queries, keys and values from the hidden states, and the output projection.

use std::collections::BTreeMap;

use crate::kernels::attention::{Decode, Heads, Prefill, shown, sink_logits, visible};
use crate::kernels::kernel::{BestVariant, Kernel};
use crate::kernels::kernel_case::KernelCase;
use crate::kernels::layer::append::{append, floats_of, take};
use crate::kernels::matmul::{Matmul, MatmulRole};
use crate::kernels::plan::{Output, Plan, Role};
use crate::kernels::routing::Load;
use crate::kernels::target::Target;
use crate::kernels::tensor::Tensors;
use crate::kernels::twin;
use crate::kernels::types::{Extent, StorageType, Work, named};
use crate::kernels::verification::{Deviation, Verification, sample, tolerance, worst_of};
use crate::units::Bytes;

/// One attention block. In prefill, attention reads the projected keys and values. In decode, the projected key and value
/// of the new token are outputs, and attention reads an existing cache.
#[derive(Debug, Clone)]
pub struct AttentionBlock {
    /// Heads.
    pub heads: Heads,
    /// Hidden size, a multiple of 4.
    pub hidden: usize,
    /// Prefill or decode.
    pub phase: BlockPhase,
    /// Keys that a query sees, the last ones; `None`: all.
    pub window: Option<usize>,
    /// Whether each query head has a sink.
    pub sinks: bool,
    /// Variant of all four projections, which share one tiling of the rows. `None`: the first that suits.
    pub projection: Option<&'static str>,
}

/// The size of the prompt, or of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockPhase {
    /// A prompt.
    Prefill {
        /// Its tokens.
        tokens: usize,
    },
    /// One token per sequence.
    Decode {
        /// Sequences.
        sequences: usize,
        /// Keys per sequence.
        kv_len: usize,
    },
}

impl BlockPhase {
    /// Its sizes by name.
    pub(super) fn shape(self) -> BTreeMap<String, u64> {
        match self {
            Self::Prefill { tokens } => named(&[("tokens", tokens)]),
            Self::Decode { sequences, kv_len } => named(&[("sequences", sequences), ("kv_len", kv_len)]),
        }
    }

    /// Half of the tokens or sequences; `None` if there is only one.
    pub(super) fn halved(self) -> Option<Self> {
        match self {
            Self::Prefill { tokens } if tokens > 1 => Some(Self::Prefill { tokens: tokens / 2 }),
            Self::Decode { sequences, kv_len } if sequences > 1 => {
                Some(Self::Decode { sequences: sequences / 2, kv_len })
            }
            _ => None,
        }
    }
}

/// The weights of the projections of queries, keys and values.
const WEIGHTS: [&str; 3] = ["wq", "wk", "wv"];

impl AttentionBlock {
    fn tokens(&self) -> usize {
        match self.phase {
            BlockPhase::Prefill { tokens } => tokens,
            BlockPhase::Decode { sequences, .. } => sequences,
        }
    }

    fn attention(&self) -> Box<dyn Kernel> {
        let Self { heads, window, sinks, .. } = *self;
        match self.phase {
            BlockPhase::Prefill { tokens } => {
                Box::new(Prefill { window, sinks, ..Prefill::causal(heads, tokens, tokens) })
            }
            BlockPhase::Decode { sequences, kv_len } => {
                Box::new(Decode { window, sinks, ..Decode::new(heads, sequences, kv_len) })
            }
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

    /// The projection of queries (0), keys (1) or values (2).
    fn projection(&self, index: usize) -> Matmul {
        self.dense(self.hidden, if index == 0 { self.q_columns() } else { self.kv_columns() })
    }

    fn out_projection(&self) -> Matmul {
        self.dense(self.q_columns(), self.hidden)
    }

    fn projection_variant(&self) -> &'static str {
        self.projection.unwrap_or_else(|| self.projection(0).default_variant(&Target::default()))
    }

    fn projected_case<'a>(&self, kernel: &'a Matmul, storage: StorageType) -> KernelCase<'a> {
        KernelCase { kernel, variant: self.projection_variant(), storage }
    }

    /// Buffers of the projected queries, keys and values.
    fn projected(&self) -> [&'static str; 3] {
        match self.phase {
            BlockPhase::Prefill { .. } => ["q", "k", "v"],
            BlockPhase::Decode { .. } => ["q", "k_new", "v_new"],
        }
    }

    /// The least work: weights, hidden states, cache and outputs are moved once.
    fn work(&self, plan: &Plan, element: StorageType) -> Work {
        let size = element.size_bytes() as f64;
        let (hidden, tokens) = (self.hidden as f64, self.tokens() as f64);
        let (q, kv) = (self.q_columns() as f64, self.kv_columns() as f64);
        let cache = match self.phase {
            BlockPhase::Prefill { .. } => 0.0,
            BlockPhase::Decode { sequences, kv_len } => 2.0 * (sequences * visible(kv_len, self.window)) as f64 * kv,
        };
        Work {
            flop: plan.parts.iter().map(|part| part.work.flop).sum(),
            bytes_read: Bytes::new(size * (tokens * hidden + 2.0 * hidden * (q + kv) + cache)),
            bytes_written: Bytes::new(size * tokens * (hidden + 2.0 * kv)),
        }
    }
}

impl Kernel for AttentionBlock {
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
        shape.extend(self.phase.shape());
        shape.extend(shown(self.window, self.sinks));
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        self.attention().variants()
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32, StorageType::F16]
    }

    fn variant_elements(&self, variant: &str) -> &'static [StorageType] {
        floats_of(self.attention().variant_elements(variant))
    }

    fn suits(&self, variant: &str) -> bool {
        self.attention().suits(variant)
    }

    /// A trial runs its attention alone, since its variants are those of the attention.
    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        let attention = self.attention();
        let work = self.plan(self.default_variant(&Target::default()), StorageType::F32).work;
        attention.smaller(most).or_else(|| most.is_exceeded_by(&work).then_some(attention))
    }

    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        self.phase.halved().map(|phase| Box::new(Self { phase, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        self.heads.halved().map(|heads| Box::new(Self { heads, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn with_parts(&self, element: StorageType, best: &BestVariant) -> Option<Box<dyn Kernel>> {
        Some(Box::new(Self { projection: best(&self.projection(0), element), ..self.clone() }))
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        use Role::{Input, Output, Scratch};
        let mut plan = Plan::new(Work::default());
        let tile = [("block_expert", "block_expert", Input), ("slot_of_row", "slot_of_row", Input)];
        for (index, name) in self.projected().into_iter().enumerate() {
            let buffers = [("a", "x", Input), ("b", WEIGHTS[index], Input), ("c", name, Output), tile[0], tile[1]];
            append(&mut plan, self.projected_case(&self.projection(index), element), &buffers);
        }
        let [key, value] = match self.phase {
            BlockPhase::Prefill { .. } => [("k", "k", Output), ("v", "v", Output)],
            BlockPhase::Decode { .. } => [("k", "k_cache", Input), ("v", "v_cache", Input)],
        };
        let buffers = [
            ("q", "q", Output),
            key,
            value,
            ("part_state", "part_state", Scratch),
            ("part_out", "part_out", Scratch),
            ("sinks", "sinks", Input),
            ("out", "attended", Output),
        ];
        let attention = self.attention();
        append(&mut plan, KernelCase { kernel: &*attention, variant, storage: element }, &buffers);
        let buffers = [("a", "attended", Output), ("b", "wo", Input), ("c", "out", Output), tile[0], tile[1]];
        append(&mut plan, self.projected_case(&self.out_projection(), element), &buffers);
        plan.work = self.work(&plan, element);
        plan
    }

    fn inputs(&self, variant: &str, element: StorageType, seed: u64) -> Tensors {
        let mut inputs = Tensors::new();
        for (index, weights) in WEIGHTS.into_iter().enumerate() {
            let projection = self.projection(index);
            let mut from = projection.inputs(self.projection_variant(), element, seed ^ (0x100 * (index as u64 + 1)));
            if index == 0 {
                take(&mut inputs, &mut from, "a", "x");
                take(&mut inputs, &mut from, "block_expert", "block_expert");
                take(&mut inputs, &mut from, "slot_of_row", "slot_of_row");
            }
            take(&mut inputs, &mut from, "b", weights);
        }
        let out = self.out_projection();
        take(&mut inputs, &mut out.inputs(self.projection_variant(), element, seed ^ 0x400), "b", "wo");
        inputs.insert("sinks", sink_logits(self.heads.heads, self.sinks, seed ^ 0x500));
        if let BlockPhase::Decode { .. } = self.phase {
            let mut cache = self.attention().inputs(variant, element, seed ^ 0x500);
            take(&mut inputs, &mut cache, "k", "k_cache");
            take(&mut inputs, &mut cache, "v", "v_cache");
        }
        inputs
    }

    fn outputs(&self, _variant: &str, element: StorageType) -> Vec<Output> {
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

    /// Compares each step with its twin on the outputs of the step before it, so that every step is compared.
    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        // Five outputs share the effort.
        let effort = effort / 5;
        let mut compared: Vec<(Deviation, usize)> =
            (0..WEIGHTS.len()).map(|index| self.compare_projection(index, inputs, outputs, effort)).collect();
        compared.push(self.compare_attended(inputs, outputs, effort));
        compared.push(self.compare_out(inputs, outputs, effort));
        let relative = |(deviation, total): (Deviation, usize)| deviation.relative(tolerance(element), total);
        worst_of(compared.into_iter().map(relative).collect())
    }
}

/// Deviations of single outputs. Each returns the deviation, and the elements of the output.
impl AttentionBlock {
    fn compare_projection(&self, index: usize, inputs: &Tensors, outputs: &Tensors, effort: u64) -> (Deviation, usize) {
        let (name, head_dim) = (self.projected()[index], self.heads.head_dim);
        let columns = self.projection(index).n;
        let total = self.tokens() * columns;
        let mut deviation = Deviation::of(name);
        for item in sample(total, self.hidden, effort) {
            let (row, column) = (item / columns, item % columns);
            let want = twin::matmul::product(&inputs["x"], &inputs[WEIGHTS[index]], row, 0, column);
            let at = [row, column / head_dim, column % head_dim];
            deviation.pair(&at, outputs[name].at(&at), want);
        }
        (deviation, total)
    }

    fn compare_attended(&self, inputs: &Tensors, outputs: &Tensors, effort: u64) -> (Deviation, usize) {
        let Heads { heads, head_dim, .. } = self.heads;
        let keys = match self.phase {
            BlockPhase::Prefill { tokens } => tokens,
            BlockPhase::Decode { kv_len, .. } => kv_len,
        };
        let rows = self.tokens() * heads;
        let mut deviation = Deviation::of("attended");
        for item in sample(rows, 2 * keys * head_dim, effort) {
            let (row, head) = (item / heads, item % heads);
            for (d, want) in self.attended(inputs, outputs, row, head).into_iter().enumerate() {
                deviation.pair(&[row, head, d], outputs["attended"].at(&[row, head, d]), want);
            }
        }
        (deviation, rows * head_dim)
    }

    /// The twin's attention [head_dim] of one head in one row, on the projected queries.
    fn attended(&self, inputs: &Tensors, outputs: &Tensors, row: usize, head: usize) -> Vec<f64> {
        let sinks = self.sinks.then(|| &inputs["sinks"]);
        let seen = twin::attention::Seen { window: self.window, sinks };
        match self.phase {
            BlockPhase::Prefill { .. } => {
                let keys = twin::attention::Keys { k: &outputs["k"], v: &outputs["v"], causal: true, seen };
                twin::attention::prefill(&outputs["q"], &keys, row, head)
            }
            BlockPhase::Decode { .. } => {
                let cache = twin::attention::Cache { k: &inputs["k_cache"], v: &inputs["v_cache"], seen };
                twin::attention::decode(&outputs["q"], &cache, row, head)
            }
        }
    }

    fn compare_out(&self, inputs: &Tensors, outputs: &Tensors, effort: u64) -> (Deviation, usize) {
        let head_dim = self.heads.head_dim;
        let total = self.tokens() * self.hidden;
        let mut deviation = Deviation::of("out");
        for item in sample(total, self.q_columns(), effort) {
            let (row, column) = (item / self.hidden, item % self.hidden);
            let want = (0..self.q_columns())
                .map(|i| outputs["attended"].at(&[row, i / head_dim, i % head_dim]) * inputs["wo"].at(&[0, i, column]))
                .sum();
            deviation.pair(&[row, column], outputs["out"].at(&[row, column]), want);
        }
        (deviation, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_steps_that_are_equally_wrong_the_first_is_named() {
        let compared = ["q", "attended", "out"].map(|name| {
            let mut deviation = Deviation::of(name);
            deviation.pair(&[0], if name == "q" { 1.0 } else { f64::NAN }, 1.0);
            deviation.relative(1e-5, 1)
        });
        assert_eq!(worst_of(compared.to_vec()).worst.unwrap().output, "attended");
    }
}
