//! Time of one pass of a micro-batch through one pipeline stage, by terms.

use super::fabric::{AllToAll, Group, all_reduce, all_to_all};
use super::layers::{self, Pass};
use super::machine::Machine;
use super::result::Plan;
use crate::specs::{Attention, Model, Moe};
use crate::units::Seconds;

/// How many layers of each kind, and how much of the LM head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Layers with a dense FFN.
    pub dense_layers: f64,
    /// Layers with experts.
    pub moe_layers: f64,
    /// Share of the LM head.
    pub head: f64,
}

/// The pass by terms, communication unhidden.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PassTime {
    /// Attention.
    pub attention: Seconds,
    /// Routed experts.
    pub expert_matmul: Seconds,
    /// Router.
    pub gating: Seconds,
    /// All other matrix products, and elementwise work.
    pub dense: Seconds,
    /// Launches.
    pub launch: Seconds,
    /// All-to-all out.
    pub dispatch: Seconds,
    /// All-to-all back.
    pub combine: Seconds,
    /// All-reduces of tensor parallelism.
    pub tensor: Seconds,
}

impl PassTime {
    /// Everything that keeps the chip's cores busy.
    pub fn compute(&self) -> Seconds {
        self.attention + self.expert_matmul + self.gating + self.dense + self.launch
    }

    /// The all-to-all.
    pub fn all_to_all(&self) -> Seconds {
        self.dispatch + self.combine
    }
}

impl Stage {
    /// The stage that sets the pace: `ceil(layers / pp)` layers of the model's mix. Where layers do not divide, the last
    /// stage has fewer, and the LM head fills the gap as far as it fits.
    pub fn slowest(model: &Model, plan: &Plan) -> Self {
        let (layers, pp) = (model.layers as f64, f64::from(plan.pp));
        let most = (layers / pp).ceil();
        let gap = most - (layers - (pp - 1.0) * most).max(0.0);
        let average_layer = (model.active_parameters() - 2.0 * model.embedding_parameters()).max(1.0) / layers;
        let head_in_layers = model.embedding_parameters() / average_layer;
        let dense_share = model.dense_layers as f64 / layers;
        Self {
            dense_layers: most * dense_share,
            moe_layers: most * (1.0 - dense_share),
            head: (1.0 - gap / head_in_layers).max(0.0),
        }
    }
}

/// Launches of a layer when common fusions are made: norm and projections, attention with its reduce, output
/// projection, and either a fused FFN in three or router, top-k, sort, experts in two and the weighted sum.
fn launches_per_layer(model: &Model, has_experts: bool) -> f64 {
    let attention = match model.attention {
        Attention::Gqa { .. } => 6.0,
        Attention::Mla { .. } => 8.0,
    };
    attention + if has_experts { 9.0 } else { 3.0 }
}

/// The pass through a stage. `forward`: many tokens, so that dispatch and combine may forward inside a node.
pub fn pass_time(model: &Model, plan: &Plan, machine: &Machine, pass: &Pass, stage: &Stage, forward: bool) -> PassTime {
    let layers = stage.dense_layers + stage.moe_layers;
    let roofs = &machine.roofs;
    let mut time = PassTime {
        attention: layers::attention(model, plan, machine, pass).time(&roofs.attention) * layers,
        ..PassTime::default()
    };
    for op in layers::projections(model, plan, machine, pass) {
        time.dense += op.time(&roofs.dense) * layers;
    }
    time.dense += layers::dense_ffn(model, plan, machine, pass).time(&roofs.dense) * stage.dense_layers;
    time.dense += layers::head(model, plan, machine, pass).time(&roofs.dense) * stage.head;
    let launches = stage.dense_layers * launches_per_layer(model, false)
        + stage.head
        + stage.moe_layers * launches_per_layer(model, true);
    time.launch = Seconds::new(launches * machine.launch);
    // Attention's output always, the FFN's where it is split over the group too.
    let reduces = 2.0 * stage.dense_layers + stage.moe_layers;
    time.tensor = tensor_all_reduce(model, plan, machine, pass) * reduces;
    if let Some(moe) = &model.moe {
        add_experts(&mut time, model, moe, plan, machine, pass, stage.moe_layers, forward);
    }
    time
}

fn tensor_all_reduce(model: &Model, plan: &Plan, machine: &Machine, pass: &Pass) -> Seconds {
    let group = Group { size: f64::from(plan.tp), stride: 1.0 };
    all_reduce(&machine.links, group, pass.tokens() * model.hidden as f64 * machine.activation_bytes)
}

#[expect(clippy::too_many_arguments, reason = "one call; each argument is a different type")]
fn add_experts(
    time: &mut PassTime,
    model: &Model,
    moe: &Moe,
    plan: &Plan,
    machine: &Machine,
    pass: &Pass,
    layers: f64,
    forward: bool,
) {
    let tokens = layers::routed_tokens(plan, pass);
    let load = machine.scenario.imbalance(layers::uniform_imbalance(moe, plan, tokens)).min(f64::from(plan.ep));
    let roofs = &machine.roofs;
    time.gating = layers::gating(model, moe, plan, machine, pass).time(&roofs.gating) * layers;
    time.expert_matmul = layers::experts(model, moe, plan, machine, pass, load).time(&roofs.expert) * layers;
    time.dense += layers::shared_experts(model, moe, plan, machine, pass).time(&roofs.dense) * layers;
    let group = Group { size: f64::from(plan.ep), stride: 1.0 };
    let most_groups = (moe.groups > 1).then_some(moe.kept_groups as f64);
    let traffic = |bytes| AllToAll { tokens: tokens * load, copies: moe.top_k as f64, bytes, forward, most_groups };
    let hidden = model.hidden as f64;
    let dispatch = traffic(dispatch_bytes(hidden, machine));
    time.dispatch = all_to_all(&machine.links, group, &dispatch) * layers;
    time.combine = all_to_all(&machine.links, group, &traffic(hidden * machine.activation_bytes)) * layers;
}

/// A token on its way out: 8-bit elements carry 512 B of scales (7.5 KB for a hidden size of 7168: arXiv:2506.12708).
fn dispatch_bytes(hidden: f64, machine: &Machine) -> f64 {
    if machine.weight_bytes < 2.0 { hidden + 512.0 } else { hidden * machine.activation_bytes }
}
