//! A mixture-of-experts layer on one chip: router, gate, sort, both expert matmuls, a shared expert if the model has one,
//! and the weighted sum.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::kernels::gate::Gate;
use crate::kernels::gating::{Logits, LogitsOf, Sort, TopK, TopkCheck, judge_topk};
use crate::kernels::kernel::{BestVariant, Kernel};
use crate::kernels::kernel_case::KernelCase;
use crate::kernels::layer::append::{append, floats_of, stored, take};
use crate::kernels::layer::shared_expert::{SharedExpert, SharedParts};
use crate::kernels::matmul::{Combine, Matmul, MatmulRole};
use crate::kernels::plan::{Output, Plan, Role};
use crate::kernels::routing::{self, Load};
use crate::kernels::target::Target;
use crate::kernels::tensor::{Tensor, TensorType, Tensors};
use crate::kernels::twin;
use crate::kernels::types::{Extent, StorageType, Work, named};
use crate::kernels::verification::{Deviation, Verification, sample, tolerance};
use crate::units::Bytes;

/// A layer with all of its experts on this chip. Its gate routes the tokens.
#[derive(Debug, Clone)]
pub struct MoeLayer {
    /// The gate; `experts` is a multiple of 4.
    pub gate: Gate,
    /// Tokens.
    pub tokens: usize,
    /// Hidden size.
    pub hidden: usize,
    /// Intermediate size of an expert.
    pub intermediate: usize,
    /// The shared expert, if there is one.
    pub shared: Option<SharedExpert>,
    /// Variant of the router. `None`: the first that suits.
    pub router: Option<&'static str>,
    /// Variant of the scoring with top-k. `None`: the first that suits.
    pub scoring: Option<&'static str>,
}

/// The kernels of a layer. The variant of the layer is that of its expert matmuls.
struct MoeParts {
    router: Matmul,
    top_k: TopK,
    sort: Sort,
    gate_up: Matmul,
    down: Matmul,
    combine: Combine,
    shared: Option<SharedParts>,
}

/// The least intermediate size: the width of the widest panel of weights.
const LEAST_INTERMEDIATE: usize = 256;

impl MoeLayer {
    /// A variant of the expert matmuls, for parts that do not depend on it.
    const ANY: &'static str = "";

    fn matmul(&self, role: MatmulRole, k: usize, n: usize) -> Matmul {
        let (experts, top_k) = match role {
            MatmulRole::RouterLogits => (1, 1),
            _ => (self.gate.experts, self.gate.top_k),
        };
        Matmul { role, experts, tokens: self.tokens, top_k, k, n, load: Load::Uniform }
    }

    fn parts(&self, variant: &str) -> MoeParts {
        let (tokens, top_k, experts) = (self.tokens, self.gate.top_k, self.gate.experts);
        let row_tile = Matmul::row_tile(variant);
        MoeParts {
            router: self.matmul(MatmulRole::RouterLogits, self.hidden, experts),
            top_k: TopK { gate: self.gate.clone(), tokens, logits: Logits::Random },
            sort: Sort { tokens, top_k, experts, row_tile, load: Load::Uniform },
            gate_up: self.matmul(MatmulRole::GateUp, self.hidden, self.intermediate),
            down: self.matmul(MatmulRole::Down, self.intermediate, self.hidden),
            combine: Combine { tokens, top_k, hidden: self.hidden, experts },
            shared: self.shared.map(|expert| SharedParts::new(expert, &self.gate, tokens, self.hidden)),
        }
    }

    fn router_variant(&self, parts: &MoeParts) -> &'static str {
        self.router.unwrap_or_else(|| parts.router.default_variant(&Target::default()))
    }

    fn scoring_variant(&self, parts: &MoeParts) -> &'static str {
        self.scoring.unwrap_or_else(|| parts.top_k.default_variant(&Target::default()))
    }

    /// The names of the hidden states in the storage type, and in the f32 that the router reads.
    fn x_names(element: StorageType) -> [&'static str; 2] {
        if element == StorageType::F32 { ["x", "x"] } else { ["x", "x_f32"] }
    }

    /// The least work: each operand from outside is read once, and the output is written once.
    fn work(&self, plan: &Plan, element: StorageType) -> Work {
        // All parts of this name together: a shared expert repeats those of the routed ones.
        let read = |kernel: &str| {
            let parts = plan.parts.iter().filter(|part| part.kernel == kernel);
            parts.map(|part| part.work.bytes_read.get()).sum::<f64>()
        };
        let size = element.size_bytes() as f64;
        let (tokens, hidden) = (self.tokens as f64, self.hidden as f64);
        let mut inner = size * tokens * (self.gate.top_k * self.intermediate) as f64 + 4.0 * tokens * hidden;
        if let Some(shared) = self.shared {
            // It reads the same hidden states again, in f32 for its gate.
            inner += size * tokens * (hidden + shared.intermediate as f64);
            inner += if shared.gated { 4.0 * tokens * hidden } else { 0.0 };
        }
        let operands = read("router_logits") + read("gate_up") + read("down") - inner;
        Work {
            flop: plan.parts.iter().map(|part| part.work.flop).sum(),
            bytes_read: Bytes::new(operands + 4.0 * self.gate.experts as f64),
            bytes_written: Bytes::new(size * tokens * hidden),
        }
    }
}

impl Kernel for MoeLayer {
    fn name(&self) -> &'static str {
        "moe_layer"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let mut shape = named(&[
            ("tokens", self.tokens),
            ("experts", self.gate.experts),
            ("top_k", self.gate.top_k),
            ("hidden", self.hidden),
            ("intermediate", self.intermediate),
        ]);
        shape.extend(self.shared.iter().flat_map(|shared| named(&[(shared.size_name(), shared.intermediate)])));
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        self.matmul(MatmulRole::GateUp, self.hidden, self.intermediate).variants()
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32, StorageType::F16]
    }

    fn variant_elements(&self, variant: &str) -> &'static [StorageType] {
        let matmul = self.matmul(MatmulRole::GateUp, self.hidden, self.intermediate);
        floats_of(matmul.variant_elements(variant))
    }

    fn suits(&self, variant: &str) -> bool {
        let parts = self.parts(variant);
        parts.gate_up.suits(variant) && parts.down.suits(variant)
    }

    /// A trial runs the larger of its expert matmuls alone, since its variants are those of the expert matmuls.
    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        self.matmul(MatmulRole::GateUp, self.hidden, self.intermediate).smaller(most)
    }

    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        (self.tokens > 1).then(|| Box::new(Self { tokens: self.tokens / 2, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        let intermediate = (self.intermediate / 2).next_multiple_of(4);
        (intermediate >= LEAST_INTERMEDIATE).then(|| Box::new(Self { intermediate, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn with_parts(&self, element: StorageType, best: &BestVariant) -> Option<Box<dyn Kernel>> {
        let parts = self.parts(Self::ANY);
        let (router, scoring) = (best(&parts.router, StorageType::F32), best(&parts.top_k, StorageType::F32));
        let shared = parts.shared.as_ref().map(|shared| shared.with_best(element, best));
        Some(Box::new(Self { router, scoring, shared, ..self.clone() }))
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        use Role::{Input, Output, Scratch};
        let parts = self.parts(variant);
        let [x, x_router] = Self::x_names(element);
        let mut plan = Plan::new(Work::default());
        let first = |kernel: &dyn Kernel| kernel.default_variant(&Target::default());
        let buffers = [
            ("a", x_router, Input),
            ("b", "router_b", Input),
            ("block_expert", "router_block_expert", Input),
            ("slot_of_row", "router_slot_of_row", Input),
            ("c", "logits", Scratch),
        ];
        append(&mut plan, case(&parts.router, self.router_variant(&parts), StorageType::F32), &buffers);
        let buffers = [
            ("logits", "logits", Scratch),
            ("bias", "bias", Input),
            ("expert_of_slot", "expert_of_slot", Output),
            ("weight", "weight", Scratch),
        ];
        append(&mut plan, case(&parts.top_k, self.scoring_variant(&parts), StorageType::F32), &buffers);
        let buffers = [
            ("expert_of_slot", "expert_of_slot", Output),
            ("expert_rows", "expert_rows", Scratch),
            ("block_expert", "block_expert", Scratch),
            ("slot_of_row", "slot_of_row", Scratch),
            ("row_of_slot", "row_of_slot", Scratch),
        ];
        append(&mut plan, case(&parts.sort, first(&parts.sort), StorageType::F32), &buffers);
        let routing = [("block_expert", "block_expert", Scratch), ("slot_of_row", "slot_of_row", Scratch)];
        let buffers = [("a", x, Input), ("b", "gate_up_b", Input), ("c", "h", Scratch), routing[0], routing[1]];
        append(&mut plan, case(&parts.gate_up, variant, element), &buffers);
        let buffers = [("a", "h", Scratch), ("b", "down_b", Input), ("c", "y", Scratch), routing[0], routing[1]];
        append(&mut plan, case(&parts.down, variant, element), &buffers);
        if let Some(shared) = &parts.shared {
            shared.append(&mut plan, variant, element, [x, x_router], self.router_variant(&parts));
        } else {
            let buffers = [
                ("y", "y", Scratch),
                ("weight", "weight", Scratch),
                ("row_of_slot", "row_of_slot", Scratch),
                ("out", "out", Output),
            ];
            append(&mut plan, case(&parts.combine, first(&parts.combine), element), &buffers);
        }
        plan.work = self.work(&plan, element);
        plan.issued_flop = plan.issued_flop.max(plan.work.flop);
        plan
    }

    fn inputs(&self, variant: &str, element: StorageType, seed: u64) -> Tensors {
        let parts = self.parts(variant);
        let mut router = parts.router.inputs(self.router_variant(&parts), StorageType::F32, seed ^ 0x100);
        let mut gate_up = parts.gate_up.inputs(variant, element, seed ^ 0x200);
        let mut down = parts.down.inputs(variant, element, seed ^ 0x300);
        let mut gate = parts.top_k.inputs(self.scoring_variant(&parts), StorageType::F32, seed ^ 0x400);
        let [x, x_router] = Self::x_names(element);
        let mut inputs = Tensors::new();
        take(&mut inputs, &mut router, "b", "router_b");
        take(&mut inputs, &mut router, "block_expert", "router_block_expert");
        take(&mut inputs, &mut router, "slot_of_row", "router_slot_of_row");
        take(&mut inputs, &mut gate, "bias", "bias");
        take(&mut inputs, &mut gate_up, "a", x);
        take(&mut inputs, &mut gate_up, "b", "gate_up_b");
        take(&mut inputs, &mut down, "b", "down_b");
        if let Some(shared) = &parts.shared {
            shared.inputs(&mut inputs, variant, element, seed, self.router_variant(&parts));
        }
        // The router reads whole tiles of rows; those beyond the tokens are padding.
        let rows = inputs["router_slot_of_row"].dims()[0].max(self.tokens);
        let widened = inputs[x].widened(rows, self.hidden.next_multiple_of(4));
        inputs.insert(x_router, widened);
        inputs
    }

    fn outputs(&self, _variant: &str, element: StorageType) -> Vec<Output> {
        let slots = [self.tokens, self.gate.top_k];
        vec![
            Output::new("expert_of_slot", &slots, &slots, TensorType::Index),
            Output::new("out", &[self.tokens, self.hidden], &[self.tokens, self.hidden.next_multiple_of(4)], element),
        ]
    }

    fn tokens_per_expert(&self, outputs: &Tensors) -> Option<Vec<u32>> {
        routing::counts(&outputs["expert_of_slot"], self.gate.experts)
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let mut sets = TopkCheck::new();
        let mut out = Deviation::of("out");
        let shared = self.shared.map_or(0, |shared| shared.intermediate);
        let cost = self.hidden * (3 * self.gate.top_k * self.intermediate + 3 * shared + self.gate.experts);
        let most = if cost as u64 > effort { 1 } else { self.tokens };
        for token in sample(self.tokens, cost, effort).take(most) {
            let (got, scores) = self.routing(token, inputs, outputs);
            if !judge_topk(&self.gate, &got, &scores, LogitsOf::OwnProduct) {
                sets.add_wrong(token, &got, &twin::gating::chosen(&self.gate, &scores));
                continue;
            }
            for (column, want) in self.chain(token, &got, &scores, inputs, element).into_iter().enumerate() {
                out.pair(&[token, column], outputs["out"].at(&[token, column]), want);
            }
        }
        // Four roundings follow one another; a single kernel has one.
        let verified = out.relative(2.0 * tolerance(element), self.tokens * self.hidden);
        sets.verdict(verified, self.tokens * self.gate.top_k)
    }
}

/// One part of the layer in one variant and type.
fn case<'a>(kernel: &'a dyn Kernel, variant: &'a str, storage: StorageType) -> KernelCase<'a> {
    KernelCase { kernel, variant, storage }
}

impl MoeLayer {
    /// The hidden states that the router reads.
    fn x_of_router(inputs: &Tensors) -> &Tensor {
        inputs.get("x_f32").unwrap_or_else(|| &inputs["x"])
    }

    /// The experts that the kernel chose for a token, and the twin's scores from logits of its own.
    fn routing(&self, token: usize, inputs: &Tensors, outputs: &Tensors) -> (Vec<usize>, twin::gating::Scores) {
        let x_router = Self::x_of_router(inputs);
        let logits: Vec<f32> = (0..self.gate.experts)
            .map(|expert| {
                let logit = twin::matmul::product(x_router, &inputs["router_b"], token, 0, expert);
                #[expect(clippy::cast_possible_truncation, reason = "the kernel stores f32")]
                let stored = logit as f32;
                stored
            })
            .collect();
        let logits = Tensor::floats(&[1, self.gate.experts], &logits);
        let scores = twin::gating::scores(&self.gate, &logits, &inputs["bias"], 0);
        let top_k = self.gate.top_k;
        let got = (0..top_k).map(|j| outputs["expert_of_slot"].index_at(&[token, j]) as usize).collect();
        (got, scores)
    }

    /// The layer's output [hidden] for one token with the experts `chosen`. Each step is stored as the kernels store it.
    fn chain(
        &self,
        token: usize,
        chosen: &[usize],
        scores: &twin::gating::Scores,
        inputs: &Tensors,
        element: StorageType,
    ) -> Vec<f64> {
        let mut out = vec![0.0; self.hidden];
        for &expert in chosen {
            let weight = twin::gating::weight(&self.gate, scores, chosen, expert);
            let h: Vec<f64> = (0..self.intermediate)
                .into_par_iter()
                .map(|i| stored(twin::matmul::swiglu(&inputs["x"], &inputs["gate_up_b"], token, expert, i), element))
                .collect();
            let down = &inputs["down_b"];
            out.par_iter_mut().enumerate().for_each(|(column, out)| {
                let y: f64 = h.iter().enumerate().map(|(i, h)| h * down.at(&[expert, i, column])).sum();
                *out += weight * stored(y, element);
            });
        }
        if let Some(expert) = self.shared {
            let shared = SharedParts::new(expert, &self.gate, self.tokens, self.hidden);
            shared.add_twin(&mut out, token, inputs, Self::x_of_router(inputs), element);
        }
        out
    }
}
