//! Memory by use: worked out for a rank, reported for a chip.

use super::machine::Machine;
use super::ops::{cache_elements, expert_slots, shared_elsewhere};
use super::request::Request;
use super::result::{Memory, Plan, Recompute};
use crate::specs::Model;

/// Weights of one rank: count of those that all data-parallel replicas hold, and of routed experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalParameters {
    /// Attention, router, shared experts, dense FFN, embeddings.
    pub dense: f64,
    /// Routed experts.
    pub experts: f64,
}

/// The weights of one rank of the fullest stage. A stage with LM head or embedding is taken to hold one table each.
pub fn local_parameters(model: &Model, plan: &Plan, mtp_modules: f64) -> LocalParameters {
    let (tp, pp) = (f64::from(plan.tp), f64::from(plan.pp));
    let stage_layers = (model.layers as f64 / pp).ceil();
    let dense_share = model.dense_layers as f64 / model.layers as f64;
    let moe_layers = stage_layers * (1.0 - dense_share) + mtp_modules;
    let whole = model.attention_unsplit_parameters();
    let attention = (stage_layers + mtp_modules) * (whole + (model.attention_parameters() - whole) / tp);
    let ffn = stage_layers * dense_share * model.dense_ffn_parameters() / tp;
    let tables = if pp == 1.0 && !model.tied_embeddings { 2.0 } else { 1.0 };
    let embeddings = tables * model.embedding_parameters() / tp;
    let Some(moe) = &model.moe else {
        return LocalParameters { dense: attention + ffn + embeddings, experts: 0.0 };
    };
    let shared_here = if shared_elsewhere(moe, plan) { 0.0 } else { moe.shared_experts as f64 };
    let shared = moe_layers * (shared_here * model.expert_parameters() + model.router_parameters());
    LocalParameters {
        dense: attention + ffn + embeddings + shared,
        experts: moe_layers * expert_slots(moe, plan) * model.expert_parameters(),
    }
}

/// Memory of serving: weights, KV cache of the sequences at `length` tokens, and buffers for `pass_tokens` tokens of the
/// tensor-parallel group.
pub fn serving(
    model: &Model,
    plan: &Plan,
    machine: &Machine,
    length: f64,
    pass_tokens: f64,
    mtp_modules: f64,
) -> Memory {
    let parameters = local_parameters(model, plan, mtp_modules);
    // A stage holds its layers for all sequences of its group, so the number of stages cancels; so does context
    // parallelism, which splits sequences that are as many times more.
    let sequences = plan.batch_per_chip / machine.dies * f64::from(plan.tp);
    let cached_layers = model.layers as f64 + mtp_modules;
    let elements = cached_layers * cache_elements(model, f64::from(plan.tp));
    let cached = model.window.map_or(length, |_| super::ops::keys(model, length));
    of_chip(
        machine,
        Memory {
            weights: (parameters.dense + parameters.experts) * machine.weight_bytes,
            kv_cache: sequences * cached * elements * machine.cache_bytes,
            activations: pass_tokens / f64::from(plan.tp) * pass_buffer_bytes(model, machine),
            optimizer: 0.0,
            capacity: machine.capacity,
        },
    )
}

/// All ranks of a package together.
fn of_chip(machine: &Machine, rank: Memory) -> Memory {
    Memory {
        weights: rank.weights * machine.dies,
        kv_cache: rank.kv_cache * machine.dies,
        activations: rank.activations * machine.dies,
        optimizer: rank.optimizer * machine.dies,
        capacity: rank.capacity * machine.dies,
    }
}

/// Buffers of a token in a pass: a dozen hidden states, and its copies on the way to experts and back.
fn pass_buffer_bytes(model: &Model, machine: &Machine) -> f64 {
    let copies = model.moe.map_or(0.0, |moe| 2.0 * moe.top_k as f64);
    (12.0 + copies) * model.hidden as f64 * machine.activation_bytes
}

/// Memory of training with 16-bit weights, 32-bit gradients and Adam's state (master weights and two moments, 12 bytes
/// a weight) split over the replicas, as in Rajbhandari et al., ZeRO, 2020, stage 1. Without recomputation a layer keeps
/// 34 bytes a token and hidden element (Korthikanti et al., 2022, attention matrix not stored) and for experts each
/// copy's input and inner activations; selectively, the operands of matrix products alone; in full, its input alone.
pub fn training(request: &Request, plan: &Plan, machine: &Machine, recompute: Recompute) -> Memory {
    let model = &request.model;
    let parameters = local_parameters(model, plan, 0.0);
    let tp = f64::from(plan.tp);
    let replicas = f64::from(plan.dp) * f64::from(plan.cp);
    let expert_replicas = (tp * replicas / f64::from(plan.ep)).max(1.0);
    let all = parameters.dense + parameters.experts;
    let hidden = model.hidden as f64;
    let state = 12.0 * (parameters.dense / replicas + parameters.experts / expert_replicas);
    let of_experts = |inputs: f64, inner: f64| {
        let copy = |moe: crate::specs::Moe| inputs * hidden + inner * moe.intermediate as f64;
        model.moe.map_or(0.0, |moe| moe.top_k as f64 * copy(moe) * machine.activation_bytes)
    };
    let expert_bytes = of_experts(2.0, 3.0);
    let kept = match recompute {
        Recompute::None => 34.0 * hidden + expert_bytes,
        Recompute::Selective => 21.0 * hidden + of_experts(1.0, 2.0),
        Recompute::Full => 2.0 * hidden,
    };
    // The first stage of 1F1B has a micro-batch in flight for each stage, so it holds as much as all layers of one.
    let tokens = request.workload.sequence_len / tp / f64::from(plan.cp);
    let in_flight = model.layers as f64 * tokens * kept;
    let one_layer = tokens * (34.0 * hidden + expert_bytes);
    of_chip(
        machine,
        Memory {
            // Master weights stand in for what 8-bit products quantise from: two bytes a weight stay.
            weights: all * machine.weight_bytes.max(2.0),
            kv_cache: 0.0,
            activations: in_flight + one_layer,
            optimizer: all * 4.0 + state,
            capacity: machine.capacity,
        },
    )
}
