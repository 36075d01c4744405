//! Memory by use. It is computed per rank and reported per chip.

use crate::projection::machine::Machine;
use crate::projection::ops::{Widths, expert_slots, sequence_bytes, shared_apart, shared_elsewhere};
use crate::projection::parallel_plan::{ExpertWorker, ParallelPlan, Recompute};
use crate::projection::request::Request;
use crate::projection::result::MemoryUse;
use crate::specs::{Ffn, Layer, LayerKind, Model, Moe};

/// Number of weights of one rank, by part of the model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LocalParameters {
    /// Projections around attention and recurrences.
    pub mixer: f64,
    /// Dense feed-forward networks.
    pub ffn: f64,
    /// Embedding and LM head.
    pub tables: f64,
    /// Shared experts and routers.
    pub shared: f64,
    /// Routed experts.
    pub experts: f64,
}

impl LocalParameters {
    /// What every data-parallel replica holds: all but routed experts.
    pub fn dense(&self) -> f64 {
        self.mixer + self.ffn + self.tables + self.shared
    }

    /// All of them.
    pub fn all(&self) -> f64 {
        self.dense() + self.experts
    }

    /// Their bytes as they are stored.
    fn bytes(&self, widths: &Widths) -> f64 {
        self.mixer * widths.mixer.weight
            + self.ffn * widths.dense.weight
            + self.tables * widths.table
            + self.shared * widths.shared.weight
            + self.experts * widths.experts.weight
    }
}

/// The weights of one rank of the fullest stage. Each stage counts as if it held one of the two tables (embedding, LM
/// head), a single stage both.
pub fn local_parameters(model: &Model, plan: &ParallelPlan, mtp_modules: f64) -> LocalParameters {
    let (tp, pp) = (f64::from(plan.tp), f64::from(plan.pp));
    let stage_layers = (model.layers as f64 / pp).ceil();
    let tables = if pp == 1.0 && !model.tied_embeddings { 2.0 } else { 1.0 };
    let mut sum = LocalParameters { tables: tables * model.embedding_parameters() / tp, ..LocalParameters::default() };
    let share = |kind: &LayerKind| stage_layers * kind.count as f64 / model.layers as f64;
    let layers = model.kinds.iter().map(|kind| (&kind.layer, share(kind))).chain([(&model.mtp, mtp_modules)]);
    for (layer, count) in layers {
        let mixer = model.mixer_parameters(&layer.mixer);
        sum.mixer += count * (mixer.whole + mixer.split / tp);
        match (layer.ffn, &model.moe) {
            (Ffn::Dense(width), _) => sum.ffn += count * model.dense_parameters(width) / tp,
            (Ffn::Experts, Some(moe)) => {
                let shared =
                    if shared_elsewhere(moe, plan) { 0.0 } else { model.shared_parameters() / plan.gathering() };
                sum.shared += count * (shared + model.router_parameters());
                sum.experts += count * expert_slots(moe, plan) * model.expert_parameters() / f64::from(plan.moe_tp);
            }
            _ => {}
        }
    }
    sum
}

/// The weights of an attention rank whose experts lie elsewhere. Shared experts lie with the routed ones, unless those work
/// in a width of their own.
fn attention_parameters(model: &Model, plan: &ParallelPlan, mtp_modules: f64) -> LocalParameters {
    let all = local_parameters(model, plan, mtp_modules);
    let shared = if shared_apart(model) { 0.0 } else { model.shared_parameters() };
    let layers = expert_layers(model, mtp_modules);
    LocalParameters { shared: layers * (shared + model.router_parameters()), experts: 0.0, ..all }
}

/// The weights of a rank that holds experts alone.
fn expert_parameters(model: &Model, experts: &ExpertWorker, mtp_modules: f64) -> LocalParameters {
    let (plan, layers) = (experts.plan(), expert_layers(model, mtp_modules));
    let Some(moe) = &model.moe else { return LocalParameters::default() };
    let split = f64::from(plan.moe_tp);
    let holds_shared = shared_apart(model) && !shared_elsewhere(moe, &plan);
    LocalParameters {
        shared: if holds_shared { layers * model.shared_parameters() / split } else { 0.0 },
        experts: layers * expert_slots(moe, &plan) * model.expert_parameters() / split,
        ..LocalParameters::default()
    }
}

/// Layers with experts.
fn expert_layers(model: &Model, mtp_modules: f64) -> f64 {
    let has = |layer: &Layer| layer.ffn == Ffn::Experts;
    let of_kinds: f64 = model.kinds.iter().filter(|kind| has(&kind.layer)).map(|kind| kind.count as f64).sum();
    of_kinds + if has(&model.mtp) { mtp_modules } else { 0.0 }
}

/// What serving keeps in memory besides the weights of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// Tokens of a sequence in the KV cache.
    pub length: f64,
    /// Tokens of a tensor-parallel group in one pass, for which there are buffers.
    pub pass_tokens: f64,
    /// Multi-token-prediction modules.
    pub mtp_modules: f64,
}

/// Memory of serving: weights, KV cache with the states of recurrences, and buffers.
pub fn serving(model: &Model, plan: &ParallelPlan, machine: &Machine, served: Served) -> MemoryUse {
    serving_with(model, plan, machine, served, &local_parameters(model, plan, served.mtp_modules))
}

/// The same of attention whose experts lie elsewhere.
pub fn attention_alone(model: &Model, plan: &ParallelPlan, machine: &Machine, served: Served) -> MemoryUse {
    serving_with(model, plan, machine, served, &attention_parameters(model, plan, served.mtp_modules))
}

/// Memory of a chip that holds experts alone, with buffers for `pass_tokens` tokens per rank.
pub fn experts_alone(model: &Model, experts: &ExpertWorker, machine: &Machine, served: Served) -> MemoryUse {
    of_chip(
        machine,
        MemoryUse {
            weights: expert_parameters(model, experts, served.mtp_modules).bytes(&machine.widths),
            kv_cache: 0.0,
            activations: served.pass_tokens * pass_buffer_bytes(model, machine),
            optimizer: 0.0,
            capacity: machine.capacity.get(),
        },
    )
}

fn serving_with(
    model: &Model,
    plan: &ParallelPlan,
    machine: &Machine,
    served: Served,
    parameters: &LocalParameters,
) -> MemoryUse {
    let Served { length, pass_tokens, mtp_modules } = served;
    // A stage holds its layers for all sequences of its group, so the number of stages cancels. Context parallelism
    // cancels too: it splits each of as many times more sequences. That of decode splits those of its own group.
    let dcp = f64::from(plan.dcp);
    let sequences = plan.batch_per_chip / machine.dies * f64::from(plan.tp) / dcp;
    let split = [f64::from(plan.tp), f64::from(plan.cp) * dcp];
    let kept = |layer: &Layer| sequence_bytes(&layer.mixer, length, split, &machine.widths);
    let of_layers: f64 = model.kinds.iter().map(|kind| kind.count as f64 * kept(&kind.layer)).sum();
    let of_sequence = of_layers + mtp_modules * kept(&model.mtp);
    of_chip(
        machine,
        MemoryUse {
            weights: parameters.bytes(&machine.widths),
            kv_cache: sequences * of_sequence,
            activations: pass_tokens / f64::from(plan.tp) * pass_buffer_bytes(model, machine),
            optimizer: 0.0,
            capacity: machine.capacity.get(),
        },
    )
}

/// All ranks of a package together.
fn of_chip(machine: &Machine, rank: MemoryUse) -> MemoryUse {
    MemoryUse {
        weights: rank.weights * machine.dies,
        kv_cache: rank.kv_cache * machine.dies,
        activations: rank.activations * machine.dies,
        optimizer: rank.optimizer * machine.dies,
        capacity: rank.capacity * machine.dies,
    }
}

/// Bytes of buffers per token of a pass: a dozen hidden states, and its copies on the way to experts and back.
fn pass_buffer_bytes(model: &Model, machine: &Machine) -> f64 {
    let copies = model.moe.map_or(0.0, |moe| 2.0 * moe.top_k as f64);
    (12.0 + copies) * model.hidden as f64 * machine.widths.activation
}

/// Memory of training.
///
/// - Weights have 16 bits, gradients 32, or 16 as in the published recipes of frameworks. Adam's state (master weights and two moments) takes 12 bytes per weight, split
///   over the replicas (Rajbhandari et al., ZeRO, 2020, stage 1; weights and gradients too in stage 3).
/// - Without recomputation, a layer keeps 34 bytes per token and hidden element (Korthikanti et al., 2022, attention
///   matrix not stored). Layers with experts also keep each copy's input and inner activations.
/// - With selective recomputation it keeps the operands of matrix products, with full recomputation its input.
pub fn training(request: &Request, plan: &ParallelPlan, machine: &Machine, recompute: Recompute) -> MemoryUse {
    let model = &request.model;
    let parameters = local_parameters(model, plan, 0.0);
    let tp = f64::from(plan.tp);
    let replicas = f64::from(plan.dp) * f64::from(plan.cp);
    let expert_replicas = (tp * replicas / f64::from(plan.ep) / f64::from(plan.moe_tp)).max(1.0);
    let all = parameters.all();
    let hidden = model.hidden as f64;
    let share = parameters.dense() / replicas + parameters.experts / expert_replicas;
    // Where replicas share the weights, a rank has its own and those of the layer at work and the next one.
    let at_work = 2.0 * all * f64::from(plan.pp) / model.layers as f64;
    let (weights, gradients) = if request.workload.sharded_weights { (share + at_work, share) } else { (all, all) };
    let of_experts = |inputs: f64, inner: f64, width: f64| {
        // Ranks that split an expert hold its inputs whole, and each a slice of what is inside.
        let copy = |moe: Moe| inputs * hidden * f64::from(plan.moe_tp) + inner * moe.intermediate as f64;
        model.moe.map_or(0.0, |moe| moe.top_k as f64 * copy(moe) * width)
    };
    let activation = machine.widths.activation;
    // What is kept of experts' operands for the backward pass is what was multiplied.
    let operand = if request.framework.is_some() { machine.widths.in_use.operand } else { activation };
    let gradient = if request.framework.is_some() { 2.0 } else { 4.0 };
    let expert_bytes = of_experts(2.0, 3.0, activation);
    let kept = match recompute {
        Recompute::None => 34.0 * hidden + expert_bytes,
        Recompute::Selective => 21.0 * hidden + of_experts(1.0, 2.0, operand),
        Recompute::Full => 2.0 * hidden,
    };
    // The first stage of 1F1B has a micro-batch in flight for each stage: together, all layers of one micro-batch.
    let tokens = request.workload.microbatch_sequences * request.workload.sequence_len / tp / f64::from(plan.cp);
    let in_flight = model.layers as f64 * tokens * kept;
    let one_layer = tokens * (34.0 * hidden + expert_bytes);
    of_chip(
        machine,
        MemoryUse {
            // 8-bit products quantise from 16-bit weights, which stay.
            weights: weights * machine.widths.in_use.weight.max(2.0),
            kv_cache: 0.0,
            activations: in_flight + one_layer,
            optimizer: gradients * gradient + 12.0 * share,
            capacity: machine.capacity.get(),
        },
    )
}
