//! The weighted combine with a shared expert: the routed experts' sum plus the output of an expert that every token visits.

use std::collections::BTreeMap;

use crate::kernels::kernel::Kernel;
use crate::kernels::matmul::combine::Combine;
use crate::kernels::matmul::operands;
use crate::kernels::plan::{Output, Plan, Role};
use crate::kernels::tensor::{Random, Tensor, Tensors};
use crate::kernels::twin;
use crate::kernels::types::{StorageType, Work};
use crate::kernels::verification::{Deviation, Verification, sample, tolerance};
use crate::units::{Bytes, Flop};

/// [`Combine`], plus the output of a shared expert.
#[derive(Debug, Clone)]
pub struct CombineShared {
    /// The combine of the routed experts.
    pub routed: Combine,
    /// Whether the shared expert's weight is the sigmoid of a logit per token (Qwen3-Next). Otherwise it is 1 (DeepSeek-V3).
    pub gated: bool,
}

/// The logit in a row of [`CombineShared`]'s `shared_weight`; the rest is padding, as a matmul with one column leaves it.
const WEIGHT_COLUMNS: usize = 4;

impl CombineShared {
    /// The weights of a shared expert without a gate.
    pub(in crate::kernels) fn ones(tokens: usize) -> Tensor {
        Tensor::floats(&[tokens, 1], &vec![1.0; tokens]).widened(tokens, WEIGHT_COLUMNS)
    }
}

impl Kernel for CombineShared {
    fn name(&self) -> &'static str {
        if self.gated { "combine_gated_shared" } else { "combine_shared" }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        self.routed.shape()
    }

    fn variants(&self) -> &'static [&'static str] {
        self.routed.variants()
    }

    fn elements(&self) -> &'static [StorageType] {
        self.routed.elements()
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        let Combine { tokens, hidden, .. } = self.routed;
        let routed = self.routed.plan(variant, element);
        let (size, shared) = (operands::bytes(element), tokens * hidden);
        let mut plan = Plan::new(
            routed.work
                + Work {
                    flop: Flop::new(2.0 * shared as f64),
                    bytes_read: Bytes::new((shared * size + 4 * tokens) as f64),
                    bytes_written: Bytes::ZERO,
                },
        );
        let [launch] = &routed.launches[..] else { return plan };
        plan.buffers.clone_from(&routed.buffers);
        let mut bindings = launch.bindings.clone();
        let out = bindings.pop();
        bindings.push(plan.buffer("shared_y", Role::Input, tokens * hidden.next_multiple_of(4) * size));
        bindings.push(plan.buffer("shared_weight", Role::Input, tokens * WEIGHT_COLUMNS * 4));
        bindings.extend(out);
        let mut launch = launch.clone();
        (launch.shader, launch.bindings) = ("combine_shared", bindings);
        plan.launch(launch.overrides([("GATED", f64::from(u8::from(self.gated)))]));
        plan
    }

    fn inputs(&self, variant: &str, element: StorageType, seed: u64) -> Tensors {
        let Combine { tokens, hidden, .. } = self.routed;
        let random = |columns: usize, element: StorageType, salt: u64| {
            let random = Random { sigma: 1.0, seed: seed ^ salt };
            Tensor::random(&[tokens, columns], &[tokens, columns.next_multiple_of(4)], element, random)
        };
        let mut inputs = self.routed.inputs(variant, element, seed);
        inputs.insert("shared_y", random(hidden, element, 0xC));
        let weight = if self.gated { random(1, StorageType::F32, 0xD) } else { Self::ones(tokens) };
        inputs.insert("shared_weight", weight);
        inputs
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let Combine { tokens, hidden, top_k, .. } = self.routed;
        let total = tokens * hidden;
        let mut deviation = Deviation::of("out");
        for item in sample(total, top_k + 1, effort) {
            let (token, column) = (item / hidden, item % hidden);
            let routed = twin::matmul::combine(&inputs["y"], &inputs["weight"], &inputs["row_of_slot"], token, column);
            let weight = twin::matmul::shared_weight(inputs["shared_weight"].at(&[token, 0]), self.gated);
            let want = routed + weight * inputs["shared_y"].at(&[token, column]);
            deviation.pair(&[token, column], outputs["out"].at(&[token, column]), want);
        }
        deviation.relative(tolerance(element), total)
    }

    fn outputs(&self, variant: &str, element: StorageType) -> Vec<Output> {
        self.routed.outputs(variant, element)
    }
}
