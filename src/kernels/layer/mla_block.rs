//! Multi-head latent attention with its projections (DeepSeek-V2, arXiv:2405.04434, section 2.1).
//!
//! The norms of query and latent and the rotation of the rotary parts are left out, as in [`AttentionBlock`]: they move
//! little beside the projections.
//!
//! [`AttentionBlock`]: crate::kernels::layer::AttentionBlock

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::kernels::attention::{HeadMatmul, Heads, JoinKeys, MlaDecode, Prefill, sink_logits};
use crate::kernels::kernel::{BestVariant, Kernel};
use crate::kernels::kernel_case::KernelCase;
use crate::kernels::layer::append::{append, floats_of, take};
use crate::kernels::layer::attention_block::BlockPhase;
use crate::kernels::matmul::{Matmul, MatmulRole};
use crate::kernels::plan::{Output, Plan, Role};
use crate::kernels::routing::Load;
use crate::kernels::target::Target;
use crate::kernels::tensor::{Tensor, Tensors};
use crate::kernels::twin;
use crate::kernels::types::{Extent, StorageType, Work, named};
use crate::kernels::verification::{Deviation, Verification, sample, tolerance, worst_of};
use crate::units::Bytes;

/// One block of latent attention. In prefill the latent is expanded into keys and values of every head. In decode it is
/// not: queries and outputs are projected per head, and attention reads an existing cache of latents.
#[derive(Debug, Clone)]
pub struct MlaBlock {
    /// Heads.
    pub heads: usize,
    /// Hidden size, a multiple of 4.
    pub hidden: usize,
    /// Rank of the query's latent, a multiple of 4.
    pub q_rank: usize,
    /// Rank of the latent that is cached.
    pub latent_dim: usize,
    /// Width of the rotary part of a key, which all heads share.
    pub rope_dim: usize,
    /// Width of the other part of a key.
    pub nope_dim: usize,
    /// Width of a value.
    pub value_dim: usize,
    /// Prefill or decode.
    pub phase: BlockPhase,
    /// Variant of all dense projections, which share one tiling of the rows. `None`: the first that suits.
    pub projection: Option<&'static str>,
}

/// A projection: the buffer that it reads, its weights and its output.
struct Step {
    kernel: Projection,
    from: &'static str,
    weights: &'static str,
    to: &'static str,
}

enum Projection {
    /// One matrix for all heads.
    Dense(Matmul),
    /// A matrix per head.
    PerHead(HeadMatmul),
}

impl MlaBlock {
    fn tokens(&self) -> usize {
        match self.phase {
            BlockPhase::Prefill { tokens } => tokens,
            BlockPhase::Decode { sequences, .. } => sequences,
        }
    }

    fn key_dim(&self) -> usize {
        self.nope_dim + self.rope_dim
    }

    fn attention(&self) -> Box<dyn Kernel> {
        let Self { heads, latent_dim, rope_dim, value_dim, .. } = *self;
        match self.phase {
            BlockPhase::Prefill { tokens } => {
                let heads = Heads { heads, kv_heads: heads, head_dim: self.key_dim() };
                Box::new(Prefill { value_dim, ..Prefill::causal(heads, tokens, tokens) })
            }
            BlockPhase::Decode { sequences, kv_len } => {
                Box::new(MlaDecode { heads, latent_dim, rope_dim, key_dim: self.key_dim(), sequences, kv_len })
            }
        }
    }

    fn join_keys(&self) -> JoinKeys {
        JoinKeys { tokens: self.tokens(), heads: self.heads, own: self.nope_dim, rotary: self.rope_dim }
    }

    fn dense(&self, k: usize, n: usize) -> Matmul {
        Matmul { role: MatmulRole::Dense, experts: 1, tokens: self.tokens(), top_k: 1, k, n, load: Load::Uniform }
    }

    /// The projections in order: those before attention, and those after it.
    fn steps(&self) -> [Vec<Step>; 2] {
        let Self { heads, hidden, q_rank, latent_dim, rope_dim, nope_dim, value_dim, .. } = *self;
        let dense = |from, weights, to, k, n| Step { kernel: Projection::Dense(self.dense(k, n)), from, weights, to };
        let per_head = |from, weights, to, k, n, rest| {
            let kernel = HeadMatmul { tokens: self.tokens(), heads, k, n, rest };
            Step { kernel: Projection::PerHead(kernel), from, weights, to }
        };
        let mut before = vec![
            dense("x", "wq_down", "q_latent", hidden, q_rank),
            dense("q_latent", "wq_up", "q", q_rank, heads * self.key_dim()),
        ];
        let out = |from| dense(from, "wo", "out", heads * value_dim, hidden);
        match self.phase {
            BlockPhase::Prefill { .. } => {
                before.extend([
                    dense("x", "wkv_down", "latent", hidden, latent_dim),
                    dense("x", "wk_rotary", "k_rotary", hidden, rope_dim),
                    dense("latent", "wk_up", "k_own", latent_dim, heads * nope_dim),
                    dense("latent", "wv_up", "v", latent_dim, heads * value_dim),
                ]);
                [before, vec![out("attended")]]
            }
            BlockPhase::Decode { .. } => {
                before.extend([
                    dense("x", "wkv_down", "entry_new", hidden, latent_dim + rope_dim),
                    per_head("q", "wk_up", "q_absorbed", nope_dim, latent_dim, rope_dim),
                ]);
                [before, vec![per_head("attended", "wv_up", "values", latent_dim, value_dim, 0), out("values")]]
            }
        }
    }

    fn projection_variant(&self) -> &'static str {
        let first = self.dense(self.hidden, self.q_rank);
        self.projection.unwrap_or_else(|| first.default_variant(&Target::default()))
    }

    /// Dimensions of a projected output.
    fn dims(&self, name: &str) -> Vec<usize> {
        let Self { heads, latent_dim, rope_dim, value_dim, .. } = *self;
        let per_head = |dim| vec![self.tokens(), heads, dim];
        match name {
            "q" | "k" => per_head(self.key_dim()),
            "k_own" => per_head(self.nope_dim),
            "v" | "values" => per_head(value_dim),
            "q_absorbed" => per_head(latent_dim + rope_dim),
            "attended" => per_head(if self.is_decode() { latent_dim } else { value_dim }),
            "q_latent" => vec![self.tokens(), self.q_rank],
            "latent" => vec![self.tokens(), latent_dim],
            "k_rotary" => vec![self.tokens(), rope_dim],
            "entry_new" => vec![self.tokens(), latent_dim + rope_dim],
            _ => vec![self.tokens(), self.hidden],
        }
    }

    fn is_decode(&self) -> bool {
        matches!(self.phase, BlockPhase::Decode { .. })
    }

    fn append_step(&self, plan: &mut Plan, step: &Step, element: StorageType) {
        use Role::{Input, Output};
        let from = if step.from == "x" { Input } else { Output };
        match &step.kernel {
            Projection::Dense(kernel) => {
                let buffers = [
                    ("a", step.from, from),
                    ("b", step.weights, Input),
                    ("c", step.to, Output),
                    ("block_expert", "block_expert", Input),
                    ("slot_of_row", "slot_of_row", Input),
                ];
                append(plan, KernelCase { kernel, variant: self.projection_variant(), storage: element }, &buffers);
            }
            Projection::PerHead(kernel) => {
                let buffers = [("a", step.from, from), ("b", step.weights, Input), ("out", step.to, Output)];
                let variant = kernel.default_variant(&Target::default());
                append(plan, KernelCase { kernel, variant, storage: element }, &buffers);
            }
        }
    }

    fn append_attention(&self, plan: &mut Plan, variant: &str, element: StorageType) {
        use Role::{Input, Output, Scratch};
        let attention = self.attention();
        let case = KernelCase { kernel: &*attention, variant, storage: element };
        if self.is_decode() {
            let buffers = [
                ("q", "q_absorbed", Output),
                ("cache", "cache", Input),
                ("block_table", "block_table", Input),
                ("part_state", "part_state", Scratch),
                ("part_out", "part_out", Scratch),
                ("sinks", "sinks", Input),
                ("out", "attended", Output),
            ];
            append(plan, case, &buffers);
            return;
        }
        let join = self.join_keys();
        let buffers = [("own", "k_own", Output), ("rotary", "k_rotary", Output), ("out", "k", Output)];
        let copy = join.default_variant(&Target::default());
        append(plan, KernelCase { kernel: &join, variant: copy, storage: element }, &buffers);
        let buffers = [
            ("q", "q", Output),
            ("k", "k", Output),
            ("v", "v", Output),
            ("sinks", "sinks", Input),
            ("out", "attended", Output),
        ];
        append(plan, case, &buffers);
    }

    /// The least work: weights, hidden states, cache, new entries and outputs are moved once.
    fn work(&self, plan: &Plan, element: StorageType) -> Work {
        let size = element.size_bytes() as f64;
        let Self { heads, hidden, q_rank, latent_dim, rope_dim, nope_dim, value_dim, .. } = *self;
        let weights = hidden * (q_rank + latent_dim + rope_dim)
            + heads * (q_rank * self.key_dim() + latent_dim * (nope_dim + value_dim) + value_dim * hidden);
        let entry = latent_dim + rope_dim;
        let cache = match self.phase {
            BlockPhase::Prefill { .. } => 0,
            BlockPhase::Decode { sequences, kv_len } => sequences * kv_len * entry,
        };
        Work {
            flop: plan.parts.iter().map(|part| part.work.flop).sum(),
            bytes_read: Bytes::new(size * (self.tokens() * hidden + weights + cache) as f64),
            bytes_written: Bytes::new(size * (self.tokens() * (hidden + entry)) as f64),
        }
    }
}

impl Kernel for MlaBlock {
    fn name(&self) -> &'static str {
        if self.is_decode() { "mla_block_decode" } else { "mla_block_prefill" }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let mut shape = named(&[
            ("heads", self.heads),
            ("hidden", self.hidden),
            ("q_rank", self.q_rank),
            ("latent_dim", self.latent_dim),
            ("rope_dim", self.rope_dim),
            ("nope_dim", self.nope_dim),
            ("value_dim", self.value_dim),
        ]);
        shape.extend(self.phase.shape());
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
        (self.heads > 1).then(|| Box::new(Self { heads: self.heads / 2, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn with_parts(&self, element: StorageType, best: &BestVariant) -> Option<Box<dyn Kernel>> {
        let projection = best(&self.dense(self.hidden, self.q_rank), element);
        Some(Box::new(Self { projection, ..self.clone() }))
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        let mut plan = Plan::new(Work::default());
        let [before, after] = self.steps();
        before.iter().for_each(|step| self.append_step(&mut plan, step, element));
        self.append_attention(&mut plan, variant, element);
        after.iter().for_each(|step| self.append_step(&mut plan, step, element));
        plan.work = self.work(&plan, element);
        plan.issued_flop = plan.issued_flop.max(plan.work.flop);
        plan
    }

    fn inputs(&self, variant: &str, element: StorageType, seed: u64) -> Tensors {
        let mut inputs = Tensors::new();
        for (salt, step) in (1..).zip(self.steps().iter().flatten()) {
            let seed = seed ^ (0x100 * salt);
            let mut from = match &step.kernel {
                Projection::Dense(kernel) => kernel.inputs(self.projection_variant(), element, seed),
                Projection::PerHead(kernel) => kernel.inputs(kernel.default_variant(&Target::default()), element, seed),
            };
            if salt == 1 {
                take(&mut inputs, &mut from, "a", "x");
                take(&mut inputs, &mut from, "block_expert", "block_expert");
                take(&mut inputs, &mut from, "slot_of_row", "slot_of_row");
            }
            take(&mut inputs, &mut from, "b", step.weights);
        }
        inputs.insert("sinks", sink_logits(self.heads, false, seed));
        if self.is_decode() {
            let mut attention = self.attention().inputs(variant, element, seed ^ 0x1000);
            take(&mut inputs, &mut attention, "cache", "cache");
            take(&mut inputs, &mut attention, "block_table", "block_table");
        }
        inputs
    }

    fn outputs(&self, _variant: &str, element: StorageType) -> Vec<Output> {
        let [before, after] = self.steps();
        let joined = if self.is_decode() { None } else { Some("k") };
        let names = before.iter().map(|step| step.to).chain(joined).chain(["attended"]);
        let output = |name: &'static str| {
            let dims = self.dims(name);
            let mut padded = dims.clone();
            padded.last_mut().into_iter().for_each(|columns| *columns = columns.next_multiple_of(4));
            Output::new(name, &dims, &padded, element)
        };
        names.chain(after.iter().map(|step| step.to)).map(output).collect()
    }

    /// Compares each step with its twin on the outputs of the step before it, so that every step is compared.
    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let steps = self.steps();
        // The outputs share the effort.
        let effort = effort / (steps.iter().flatten().count() as u64 + 2);
        let mut compared: Vec<(Deviation, usize)> =
            steps.iter().flatten().map(|step| self.compare_step(step, inputs, outputs, effort)).collect();
        if !self.is_decode() {
            compared.push(self.compare_rows("k", self.key_dim(), outputs, effort, |token, head| {
                twin::attention::join_keys(&outputs["k_own"], &outputs["k_rotary"], token, head)
            }));
        }
        compared.push(self.compare_attended(inputs, outputs, effort));
        let relative = |(deviation, total): (Deviation, usize)| deviation.relative(tolerance(element), total);
        worst_of(compared.into_iter().map(relative).collect())
    }
}

/// Deviations of single outputs. Each returns the deviation, and the elements of the output.
impl MlaBlock {
    fn compare_step(&self, step: &Step, inputs: &Tensors, outputs: &Tensors, effort: u64) -> (Deviation, usize) {
        let a = inputs.get(step.from).unwrap_or_else(|| &outputs[step.from]);
        let (weights, out) = (&inputs[step.weights], &outputs[step.to]);
        let matmul = match &step.kernel {
            Projection::Dense(matmul) => matmul,
            Projection::PerHead(kernel) => {
                let cost = kernel.k * kernel.n;
                return self.compare_rows(step.to, cost, outputs, effort, |token, head| {
                    twin::attention::head_matmul(a, weights, token, head)
                });
            }
        };
        let total = matmul.tokens * matmul.n;
        let items: Vec<usize> = sample(total, matmul.k, effort).collect();
        let want = |&item: &usize| {
            let (row, column) = (item / matmul.n, item % matmul.n);
            let products = (0..matmul.k).map(|i| a.at(&place(a, row, i)) * weights.at(&[0, i, column]));
            (place(out, row, column), products.sum())
        };
        let wanted: Vec<(Vec<usize>, f64)> = items.par_iter().map(want).collect();
        let mut deviation = Deviation::of(step.to);
        for (at, want) in wanted {
            deviation.pair(&at, out.at(&at), want);
        }
        (deviation, total)
    }

    fn compare_attended(&self, inputs: &Tensors, outputs: &Tensors, effort: u64) -> (Deviation, usize) {
        let Self { latent_dim, value_dim, .. } = *self;
        match self.phase {
            BlockPhase::Prefill { tokens } => {
                let seen = twin::attention::Seen::default();
                let keys = twin::attention::Keys { k: &outputs["k"], v: &outputs["v"], causal: true, seen };
                let cost = tokens * (self.key_dim() + value_dim);
                self.compare_rows("attended", cost, outputs, effort, |token, head| {
                    twin::attention::prefill(&outputs["q"], &keys, token, head)
                })
            }
            BlockPhase::Decode { kv_len, .. } => {
                let entries = &inputs["cache"];
                let cache = twin::attention::LatentCache { entries, latent_dim, key_dim: self.key_dim() };
                let cost = kv_len * (2 * latent_dim + self.rope_dim);
                self.compare_rows("attended", cost, outputs, effort, |token, head| {
                    twin::attention::mla_decode(&outputs["q_absorbed"], &cache, token, head)
                })
            }
        }
    }

    /// Compares rows of an output [tokens, heads, dim] with `want` of (token, head), each of which takes `cost`.
    fn compare_rows(
        &self,
        name: &'static str,
        cost: usize,
        outputs: &Tensors,
        effort: u64,
        want: impl Fn(usize, usize) -> Vec<f64> + Sync,
    ) -> (Deviation, usize) {
        let out = &outputs[name];
        let rows: Vec<usize> = sample(self.tokens() * self.heads, cost, effort).collect();
        let wanted: Vec<Vec<f64>> = rows.par_iter().map(|row| want(row / self.heads, row % self.heads)).collect();
        let mut deviation = Deviation::of(name);
        for (row, want) in rows.into_iter().zip(wanted) {
            for (d, want) in want.into_iter().enumerate() {
                let at = [row / self.heads, row % self.heads, d];
                deviation.pair(&at, out.at(&at), want);
            }
        }
        (deviation, out.dims().iter().product())
    }
}

/// The index of a column in a row of [tokens, columns], or of [tokens, heads, columns per head].
fn place(tensor: &Tensor, row: usize, column: usize) -> Vec<usize> {
    match *tensor.dims() {
        [_, _, of_head] => vec![row, column / of_head, column % of_head],
        _ => vec![row, column],
    }
}
