//! What a framework adds to a layer in training: the host that issues its ops, the ways of tokens to their experts, and casts.

use crate::projection::op::{Class, MeasuredShape, Op};
use crate::projection::ops::{LayerOps, Scope, Widths, copies, expert_slots};
use crate::specs::{Ffn, Scenario, TrainingFramework};
use crate::units::{Bytes, Seconds};

/// Grouped products of an expert layer: those before the activation count as one.
const GROUPED_PRODUCTS: f64 = 2.0;

/// Bytes per logit of a loss in 32 bits: read in 16, written in 32, read for the maximum and for the sum, read for the
/// gradient, which is written in 16.
const LOSS_BYTES: f64 = 2.0 + 4.0 + 4.0 + 4.0 + 4.0 + 2.0;

/// The figures of a [`TrainingFramework`] at one end of their bands, in its units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameworkCosts {
    op_host_s: f64,
    expert_host_s: f64,
    sync_s: f64,
    routing_passes: f64,
    cast_bytes: f64,
    /// Time of matrix products over what the chip's share of its peak says.
    pub product_factor: f64,
    graphs: bool,
}

impl FrameworkCosts {
    /// The figures of a framework.
    pub fn new(framework: &TrainingFramework, scenario: Scenario) -> Self {
        Self {
            op_host_s: scenario.time(&framework.op_host_s),
            expert_host_s: scenario.time(&framework.expert_host_s),
            sync_s: scenario.time(&framework.sync_s),
            routing_passes: scenario.time(&framework.routing_passes),
            cast_bytes: scenario.time(&framework.cast_bytes),
            product_factor: scenario.time(&framework.product_factor),
            graphs: framework.graphs,
        }
    }

    /// Traffic of the casts of a product's operands to 8 bits, all passes of a step together.
    ///
    /// The forward product casts its input, the backward ones cast the gradient of its output. A maximum over the tensor
    /// comes first, and each is written by rows and by columns: products of the backward pass read it transposed.
    pub fn casts(&self, op: &Op, widths: &Widths) -> Bytes {
        let is_product = matches!(op.class, Class::Dense | Class::Expert);
        if !is_product || widths.in_use.operand >= 2.0 || op.peak < 1.0 {
            return Bytes::ZERO;
        }
        let Some(MeasuredShape::Matmul { name, rows, k, n, .. }) = op.kernel else { return Bytes::ZERO };
        // The key of gate and up has the columns of one of them.
        let columns = if name == "gate_up" { 2.0 * n } else { n };
        Bytes::new(self.cast_bytes * rows * (k + columns))
    }

    /// Traffic of what an expert takes in, computes and gives out of each copy, all passes of a step together: layouts for
    /// the wire and for the experts, activations and their gradients, sums. `load` is that of the hottest rank over the mean.
    pub fn routing(&self, scope: &Scope<'_>, load: f64) -> Bytes {
        let (Ffn::Experts, Some(moe)) = (scope.layer.ffn, &scope.model.moe) else { return Bytes::ZERO };
        let inner = moe.intermediate as f64 / f64::from(scope.plan.moe_tp);
        // In and out; gate, up and their product.
        let of_copy = 2.0 * scope.model.expert_width(moe) + 3.0 * inner;
        let elements = scope.routed_tokens() * copies(moe, scope.plan) * load * of_copy;
        Bytes::new(self.routing_passes * elements * scope.widths.activation)
    }

    /// Traffic of the loss over so many rows of logits.
    pub fn loss(&self, scope: &Scope<'_>, rows: f64) -> Bytes {
        Bytes::new(LOSS_BYTES * rows * scope.model.vocab as f64 / f64::from(scope.plan.tp))
    }

    /// Time in which the host issues a layer's ops, `passes` times each.
    ///
    /// An expert's share of a grouped product is one launch, and two more where its operands are cast to 8 bits.
    pub fn host(&self, ops: &LayerOps, scope: &Scope<'_>, passes: f64) -> Seconds {
        let count = |blocks: &[&[Op]]| blocks.iter().map(|block| block.len() as f64).sum::<f64>();
        let graphed = if self.graphs { count(&[&ops.attention, &ops.gate]) } else { 0.0 };
        let experts = match (scope.layer.ffn, &scope.model.moe) {
            (Ffn::Experts, Some(moe)) => expert_slots(moe, scope.plan) * GROUPED_PRODUCTS,
            _ => 0.0,
        };
        let launches = if scope.widths.in_use.operand < 2.0 { 3.0 } else { 1.0 };
        let issued = count(&ops.blocks()) - graphed;
        Seconds::new(passes * (issued * self.op_host_s + experts * launches * self.expert_host_s))
    }

    /// Time in which the device waits for the host at a layer.
    pub fn waits(&self, scope: &Scope<'_>) -> Seconds {
        Seconds::new(if scope.layer.ffn == Ffn::Experts { self.sync_s } else { 0.0 })
    }
}
