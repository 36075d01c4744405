//! The shared expert of a mixture-of-experts layer: a dense feed-forward network that every token visits.

use rayon::prelude::*;

use crate::kernels::gating::Gate;
use crate::kernels::kernel::{BestVariant, Kernel};
use crate::kernels::kernel_case::KernelCase;
use crate::kernels::layer::append::{append, stored, take};
use crate::kernels::matmul::{Combine, CombineShared, Matmul, MatmulRole};
use crate::kernels::plan::{Plan, Role};
use crate::kernels::routing::Load;
use crate::kernels::target::Target;
use crate::kernels::tensor::{Tensor, Tensors};
use crate::kernels::twin;
use crate::kernels::types::StorageType;

/// A shared expert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedExpert {
    /// Intermediate size.
    pub intermediate: usize,
    /// Whether its output is multiplied by the sigmoid of a logit per token (Qwen3-Next).
    pub gated: bool,
    /// Variant of its matmuls. `None`: that of the expert matmuls if it suits as many rows, otherwise the first that does.
    pub variant: Option<&'static str>,
}

impl SharedExpert {
    /// The name of its size among those of a layer.
    pub(super) fn size_name(self) -> &'static str {
        if self.gated { "gated_shared" } else { "shared" }
    }
}

/// The kernels of a shared expert inside a layer.
pub(super) struct SharedParts {
    expert: SharedExpert,
    /// The gate's logit: one column, in f32. Its operands share the layout of the router's.
    logit: Matmul,
    gate_up: Matmul,
    down: Matmul,
    combine: CombineShared,
}

impl SharedParts {
    pub(super) fn new(expert: SharedExpert, gate: &Gate, tokens: usize, hidden: usize) -> Self {
        let matmul = |role, k, n| Matmul { role, experts: 1, tokens, top_k: 1, k, n, load: Load::Uniform };
        let routed = Combine { tokens, top_k: gate.top_k, hidden, experts: gate.experts };
        Self {
            expert,
            logit: matmul(MatmulRole::RouterLogits, hidden, 1),
            gate_up: matmul(MatmulRole::GateUp, hidden, expert.intermediate),
            down: matmul(MatmulRole::Down, expert.intermediate, hidden),
            combine: CombineShared { routed, gated: expert.gated },
        }
    }

    /// The expert with the variant that `best` knows for its matmuls.
    pub(super) fn with_best(&self, element: StorageType, best: &BestVariant) -> SharedExpert {
        SharedExpert { variant: best(&self.gate_up, element), ..self.expert }
    }

    /// The variant of its matmuls in a layer whose expert matmuls have the variant `of_experts`.
    fn variant<'a>(&self, of_experts: &'a str) -> &'a str {
        let first = || self.gate_up.default_variant(&Target::default());
        self.expert.variant.unwrap_or_else(|| if self.gate_up.suits(of_experts) { of_experts } else { first() })
    }

    /// Appends the launches of the expert, and the combine of its output with those of the routed experts.
    pub(super) fn append(
        &self,
        plan: &mut Plan,
        variant: &str,
        element: StorageType,
        x: [&'static str; 2],
        router: &str,
    ) {
        use Role::{Input, Output, Scratch};
        let [x, x_router] = x;
        if self.expert.gated {
            let buffers = [
                ("a", x_router, Input),
                ("b", "shared_logit_b", Input),
                ("block_expert", "router_block_expert", Input),
                ("slot_of_row", "router_slot_of_row", Input),
                ("c", "shared_weight", Scratch),
            ];
            append(plan, KernelCase { kernel: &self.logit, variant: router, storage: StorageType::F32 }, &buffers);
        }
        let routing = [("block_expert", "shared_block_expert", Input), ("slot_of_row", "shared_slot_of_row", Input)];
        let own = |kernel| KernelCase { kernel, variant: self.variant(variant), storage: element };
        let buffers =
            [("a", x, Input), ("b", "shared_gate_up_b", Input), ("c", "shared_h", Scratch), routing[0], routing[1]];
        append(plan, own(&self.gate_up), &buffers);
        let buffers = [
            ("a", "shared_h", Scratch),
            ("b", "shared_down_b", Input),
            ("c", "shared_y", Scratch),
            routing[0],
            routing[1],
        ];
        append(plan, own(&self.down), &buffers);
        let weight = if self.expert.gated { Scratch } else { Input };
        let buffers = [
            ("y", "y", Scratch),
            ("weight", "weight", Scratch),
            ("row_of_slot", "row_of_slot", Scratch),
            ("shared_y", "shared_y", Scratch),
            ("shared_weight", "shared_weight", weight),
            ("out", "out", Output),
        ];
        let first = self.combine.default_variant(&Target::default());
        append(plan, KernelCase { kernel: &self.combine, variant: first, storage: element }, &buffers);
    }

    /// Adds its operands to those of the layer.
    pub(super) fn inputs(&self, inputs: &mut Tensors, variant: &str, element: StorageType, seed: u64, router: &str) {
        let variant = self.variant(variant);
        let mut gate_up = self.gate_up.inputs(variant, element, seed ^ 0x500);
        take(inputs, &mut gate_up, "b", "shared_gate_up_b");
        take(inputs, &mut gate_up, "block_expert", "shared_block_expert");
        take(inputs, &mut gate_up, "slot_of_row", "shared_slot_of_row");
        take(inputs, &mut self.down.inputs(variant, element, seed ^ 0x600), "b", "shared_down_b");
        if self.expert.gated {
            take(inputs, &mut self.logit.inputs(router, StorageType::F32, seed ^ 0x700), "b", "shared_logit_b");
        } else {
            inputs.insert("shared_weight", CombineShared::ones(self.logit.tokens));
        }
    }

    /// Adds the expert's output for one token to `out` [hidden]. Each step is stored as the kernels store it.
    pub(super) fn add_twin(
        &self,
        out: &mut [f64],
        token: usize,
        inputs: &Tensors,
        x_router: &Tensor,
        element: StorageType,
    ) {
        let logit = match inputs.get("shared_logit_b") {
            Some(b) => stored(twin::matmul::product(x_router, b, token, 0, 0), StorageType::F32),
            None => 0.0,
        };
        let weight = twin::matmul::shared_weight(logit, self.expert.gated);
        let h: Vec<f64> = (0..self.gate_up.n)
            .into_par_iter()
            .map(|i| stored(twin::matmul::swiglu(&inputs["x"], &inputs["shared_gate_up_b"], token, 0, i), element))
            .collect();
        let down = &inputs["shared_down_b"];
        out.par_iter_mut().enumerate().for_each(|(column, out)| {
            let y: f64 = h.iter().enumerate().map(|(i, h)| h * down.at(&[0, i, column])).sum();
            *out += weight * stored(y, element);
        });
    }
}
