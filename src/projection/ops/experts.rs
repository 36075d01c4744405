//! Feed-forward networks: dense ones, and experts with their gate.

use crate::projection::op::{Class, MeasuredShape, Op};
use crate::projection::ops::scope::{LayerOps, Product, Scope, Stored};
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::tabled::TabledOperator;
use crate::projection::terms::Term;
use crate::specs::{Model, Moe};
use crate::units::{Bytes, Flop};

/// A dense FFN of this inner width after its norm: gate and up, SwiGLU, down.
pub fn dense_ffn(scope: &Scope<'_>, width: u64) -> Vec<Op> {
    let part = scope.widths.dense;
    let mut list = Vec::with_capacity(5);
    list.push(scope.norm("ffn norm", part));
    ffn(scope, &mut list, part, scope.pass.tokens(), width as f64 / scope.tp());
    list
}

/// Matrices before the activation: gate and up, or up alone.
fn inputs(scope: &Scope<'_>) -> f64 {
    scope.model.ffn_matrices as f64 - 1.0
}

/// The kernel of the products before the activation.
fn up_kernel(scope: &Scope<'_>, experts: f64, product: Product) -> MeasuredShape {
    let Product { rows, k, n } = product;
    let name = if inputs(scope) > 1.0 { "gate_up" } else { "down" };
    MeasuredShape::Matmul { name, experts, rows, k, n }
}

fn ffn(scope: &Scope<'_>, list: &mut Vec<Op>, part: Stored, rows: f64, width: f64) {
    let hidden = scope.model.hidden as f64;
    let product = Product { rows, k: hidden, n: inputs(scope) * width };
    let mut up = scope.matmul("gate and up", part, product);
    up.kernel = Some(up_kernel(scope, 1.0, Product { n: width, ..product }));
    list.push(up);
    list.push(Scope::stream("swiglu", rows * width * (inputs(scope) * scope.act() + part.operand)));
    list.push(scope.matmul("down", part, Product { rows, k: width, n: hidden }));
}

/// Expert slots per rank: `ceil(experts / ep)`. An uneven split leaves slots for replicas of hot experts.
pub fn expert_slots(moe: &Moe, plan: &ParallelPlan) -> f64 {
    (moe.experts as f64 / f64::from(plan.ep)).ceil()
}

/// Whether shared experts lie on ranks of their own, since there are more ranks than routed experts. CloudMatrix384
/// does so at EP 320: 256 experts, 32 replicas, 32 copies of the shared expert (arXiv:2506.12708). Tokens then travel
/// to the shared expert too. Where routed experts work in a width of their own, shared ones stay.
pub fn shared_elsewhere(moe: &Moe, plan: &ParallelPlan) -> bool {
    moe.shared_experts > 0 && moe.latent.is_none() && u64::from(plan.ep) > moe.experts
}

/// Whether shared experts lie with the routed ones where attention has ranks of its own, so that tokens travel to them. They
/// stay where routed experts work in a width of their own.
pub fn shared_apart(model: &Model) -> bool {
    model.moe.is_some_and(|moe| moe.shared_experts > 0 && moe.latent.is_none())
}

/// Copies of a token that are dispatched.
pub fn copies(moe: &Moe, plan: &ParallelPlan) -> f64 {
    let shared = if shared_elsewhere(moe, plan) { moe.shared_experts } else { 0 };
    (moe.top_k + shared) as f64
}

/// What sums the copies of a token that come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopySum {
    /// The combine does, as it receives them.
    Combine,
    /// An op of its own does, after the combine.
    Op,
}

/// Adds the experts' blocks to a layer. `load` is that of the hottest rank over the mean.
pub fn experts(scope: &Scope<'_>, moe: &Moe, load: f64, sum: CopySum, layer: &mut LayerOps) {
    let (routed, gathered) = (scope.routed_tokens(), scope.gathered());
    let (hidden, act) = (scope.model.expert_width(moe), scope.act());
    let part = scope.widths.experts;
    gate(scope, moe, &mut layer.gate);
    if moe.shared_experts > 0 && !shared_elsewhere(moe, scope.plan) {
        // Ranks hold the shared experts whole, but those that gather tokens split them.
        let width = (moe.shared_experts * moe.intermediate) as f64 / scope.plan.gathering();
        ffn(scope, &mut layer.shared, scope.widths.shared, routed * gathered, width);
    }
    let copies = copies(moe, scope.plan);
    let rows = routed * copies * load;
    let slots = expert_slots(moe, scope.plan);
    // The weights of a slot that no row visits are not read.
    let touched = slots * (1.0 - (-rows / slots).exp());
    let width = moe.intermediate as f64 / f64::from(scope.plan.moe_tp);
    let grouped = |name, product: Product, kernel: MeasuredShape| {
        let Product { rows, k, n } = product;
        let weights = touched * k * n * part.weight;
        let bytes = Bytes::new(weights + rows * (k * part.operand + n * act));
        let (flop, term, class) = (Flop::new(product.flop()), Term::ExpertMatmul, Class::Expert);
        Op { name, term, class, flop, bytes, peak: part.peak, kernel: Some(kernel), tabled: None, module: None }
    };
    let matrices = inputs(scope) + 1.0;
    let of_experts = |op: Op, share| Op { tabled: of_experts(scope, moe, rows, share), ..op };
    let up = Product { rows, k: hidden, n: inputs(scope) * width };
    let kernel = up_kernel(scope, slots, Product { n: width, ..up });
    layer.ffn.push(of_experts(grouped("expert gate and up", up, kernel), 1.0 - 1.0 / matrices));
    let swiglu = Scope::stream("expert swiglu", rows * width * (inputs(scope) * act + part.operand));
    layer.ffn.push(of_experts(Op { term: Term::ExpertMatmul, ..swiglu }, 0.0));
    let down = Product { rows, k: width, n: hidden };
    let kernel = MeasuredShape::Matmul { name: "down", experts: slots, rows, k: width, n: hidden };
    layer.ffn.push(of_experts(grouped("expert down", down, kernel), 1.0 / matrices));
    if sum == CopySum::Op {
        let sum = Scope::stream("weighted sum", routed * (copies + gathered) * hidden * act);
        layer.after.push(of_experts(Op { term: Term::ExpertMatmul, ..sum }, 0.0));
    }
    if moe.latent.is_some() {
        // Every rank holds these projections whole: tokens are gathered, and sums scattered, in full width.
        let (rows, full, part) = (routed * gathered, scope.model.hidden as f64, scope.widths.shared);
        layer.gate.push(scope.matmul("to experts' width", part, Product { rows, k: full, n: hidden }));
        layer.after.push(scope.matmul("to full width", part, Product { rows, k: hidden, n: full }));
    }
}

/// The measured operator of the experts, of which an op is this share. It spans all from the layout of the copies to their sum.
fn of_experts(scope: &Scope<'_>, moe: &Moe, rows: f64, share: f64) -> Option<TabledOperator> {
    let (hidden, slots) = (scope.model.expert_width(moe), expert_slots(moe, scope.plan));
    let width = moe.intermediate as f64 / f64::from(scope.plan.moe_tp);
    let is_gated = inputs(scope) > 1.0;
    is_gated.then(|| TabledOperator::experts(scope.widths.experts.asked(), [rows, hidden, width, slots], share))
}

/// Layout of the copies: casts them and writes them where the wire, or the experts, read them.
pub fn pack(scope: &Scope<'_>, moe: &Moe) -> Op {
    let (routed, hidden) = (scope.routed_tokens(), scope.model.expert_width(moe));
    let copied = copies(moe, scope.plan) * scope.widths.experts.operand;
    let bytes = routed * hidden * (scope.gathered() * scope.act() + copied);
    let tabled = of_experts(scope, moe, routed * copies(moe, scope.plan), 0.0);
    Op { term: Term::Gating, tabled, ..Scope::stream("pack", bytes) }
}

fn gate(scope: &Scope<'_>, moe: &Moe, list: &mut Vec<Op>) {
    let (own, hidden, act) = (scope.own_tokens(), scope.model.hidden as f64, scope.act());
    let (experts, top_k) = (moe.experts as f64, moe.top_k as f64);
    list.push(scope.norm("ffn norm", scope.widths.experts));
    let gating = |name, flop, bytes, kernel: &'static str| {
        let kernel = Some(MeasuredShape::Gating { name: kernel, tokens: own, experts });
        let (flop, bytes) = (Flop::new(flop), Bytes::new(bytes));
        Op {
            name,
            term: Term::Gating,
            class: Class::Gating,
            flop,
            bytes,
            peak: 1.0,
            kernel,
            tabled: None,
            module: None,
        }
    };
    let bytes = own * (hidden * act + 4.0 * experts) + hidden * experts * act;
    list.push(gating("router", 2.0 * own * hidden * experts, bytes, "router_logits"));
    list.push(gating("top-k", 0.0, own * (8.0 * experts + 16.0 * top_k), "topk"));
    let sort = gating("sort", 0.0, own * top_k * 24.0, "sort");
    list.push(Op { tabled: of_experts(scope, moe, scope.routed_tokens() * top_k, 0.0), ..sort });
}
