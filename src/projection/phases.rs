//! One plan in one phase: its step by terms and its memory.

use super::fabric::{Group, all_reduce, send};
use super::layers::{Context, Pass, model_flop_per_token};
use super::machine::Machine;
use super::memory;
use super::pass::{PassTime, Stage, pass_time};
use super::request::{Request, Workload};
use super::result::{Memory, Phase, Plan, Terms};
use crate::specs::Model;
use crate::units::Seconds;

/// A plan's outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The step by terms.
    pub terms: Terms,
    /// Tokens of all chips a step: prompt tokens, kept output tokens, or training tokens.
    pub tokens: f64,
    /// Output tokens of one sequence a step; 1 outside decode.
    pub tokens_per_sequence: f64,
    /// Useful FLOP of all chips a step.
    pub model_flop: f64,
    /// Memory of one chip.
    pub memory: Memory,
    /// Whether activations are computed again in the backward pass.
    pub recompute: bool,
}

impl Outcome {
    /// Tokens a second and chip.
    pub fn throughput(&self, plan: &Plan) -> f64 {
        self.tokens / f64::from(plan.chips) / self.terms.total().get()
    }

    /// Bytes by which the plan is too large; negative if it fits.
    pub fn over_bytes(&self) -> f64 {
        self.memory.used() - self.memory.capacity
    }
}

/// Evaluates a plan; for training, the faster of keeping and recomputing activations that fits.
pub fn evaluate(request: &Request, plan: &Plan, machine: &Machine) -> Outcome {
    let (model, workload) = (&request.model, &request.workload);
    match request.phase {
        Phase::Decode => decode(model, plan, machine, workload),
        Phase::Prefill => prefill(model, plan, machine, workload),
        Phase::Training => {
            let kept = training(model, plan, machine, workload, false);
            if kept.over_bytes() <= 0.0 { kept } else { training(model, plan, machine, workload, true) }
        }
    }
}

/// One step of decode. The batch runs as `pp * microbatches` passes that keep all stages busy. Speculation computes
/// `1 + k` tokens a sequence and runs one extra layer with the head for each speculated token; a chain of k tokens of
/// acceptance a yields `1 + a + ... + a^k`.
fn decode(model: &Model, plan: &Plan, machine: &Machine, workload: &Workload) -> Outcome {
    let speculated = f64::from(workload.mtp_tokens);
    let passes = f64::from(plan.pp) * f64::from(plan.microbatches);
    let sequences = plan.batch_per_chip * f64::from(plan.tp) / f64::from(plan.microbatches);
    let pass = Pass { sequences, queries: 1.0 + speculated, context: Context::Cache(workload.kv_len) };
    let stage = Stage::slowest(model, plan);
    let main = pass_time(model, plan, machine, &pass, &stage, false);
    let module = Stage { dense_layers: 0.0, moe_layers: speculated, head: speculated };
    let module =
        if model.moe.is_some() { module } else { Stage { dense_layers: speculated, moe_layers: 0.0, ..module } };
    let extra = pass_time(model, plan, machine, &Pass { queries: 1.0, ..pass }, &module, false);
    let overlapped = plan.microbatches > 1;
    let mut terms = Terms::default();
    add_pass(&mut terms, &main, passes, overlapped, machine);
    add_pass(&mut terms, &extra, f64::from(plan.microbatches), overlapped, machine);
    terms.other_collectives += stage_sends(model, plan, machine, &pass) * passes;
    terms.launch += Seconds::new(machine.step);
    let kept: f64 = (0..=workload.mtp_tokens.min(64))
        .map(|index| workload.mtp_acceptance.powi(i32::try_from(index).unwrap_or(64)))
        .sum();
    let all_sequences = plan.batch_per_chip * f64::from(plan.chips);
    Outcome {
        terms,
        tokens: all_sequences * kept,
        tokens_per_sequence: kept,
        model_flop: all_sequences * kept * model_flop_per_token(model, workload.kv_len, true),
        memory: memory::serving(model, plan, machine, workload.kv_len, pass.tokens(), speculated.min(1.0)),
        recompute: false,
    }
}

/// One batch of prompts, cut into `microbatches` passes. Stages fill and drain once.
fn prefill(model: &Model, plan: &Plan, machine: &Machine, workload: &Workload) -> Outcome {
    let passes = f64::from(plan.microbatches);
    let prompts = plan.batch_per_chip * f64::from(plan.tp) * f64::from(plan.pp);
    let pass = Pass { sequences: prompts / passes, queries: workload.prompt_len, context: Context::Causal };
    let stage = Stage::slowest(model, plan);
    let time = pass_time(model, plan, machine, &pass, &stage, true);
    let mut terms = Terms::default();
    add_pass(&mut terms, &time, passes, plan.microbatches > 1, machine);
    let one = terms.total() / passes;
    terms.bubble = one * (f64::from(plan.pp) - 1.0);
    terms.other_collectives += stage_sends(model, plan, machine, &pass) * (passes + f64::from(plan.pp) - 1.0);
    terms.launch += Seconds::new(machine.step);
    let tokens = plan.batch_per_chip * workload.prompt_len * f64::from(plan.chips);
    Outcome {
        terms,
        tokens,
        tokens_per_sequence: 1.0,
        model_flop: tokens * model_flop_per_token(model, workload.prompt_len / 2.0, false),
        memory: memory::serving(model, plan, machine, workload.prompt_len, pass.tokens(), 0.0),
        recompute: false,
    }
}

/// Virtual stages a chip of the interleaved 1F1B schedule, as far as layers allow (Narayanan et al., 2021).
const MOST_VIRTUAL_STAGES: f64 = 4.0;

/// One optimizer step over `dp * microbatches` sequences. A backward pass costs two forward passes in matrix products,
/// two and a half in attention (FlashAttention-2 recomputes the scores), and the same communication once more.
fn training(model: &Model, plan: &Plan, machine: &Machine, workload: &Workload, recompute: bool) -> Outcome {
    let passes = f64::from(plan.microbatches);
    let pp = f64::from(plan.pp);
    let pass = Pass { sequences: 1.0, queries: workload.sequence_len, context: Context::Causal };
    let forward = pass_time(model, plan, machine, &pass, &Stage::slowest(model, plan), true);
    let again = f64::from(u8::from(recompute));
    let time = PassTime {
        attention: forward.attention * (3.5 + again),
        expert_matmul: forward.expert_matmul * (3.0 + again),
        gating: forward.gating * (2.0 + again),
        dense: forward.dense * (3.0 + again),
        launch: forward.launch * (3.0 + again),
        dispatch: forward.dispatch * (2.0 + again),
        combine: forward.combine * (2.0 + again),
        tensor: forward.tensor * (2.0 + again),
    };
    let mut terms = Terms::default();
    add_pass(&mut terms, &time, passes, plan.microbatches > 1, machine);
    let virtual_stages = (model.layers as f64 / pp).floor().clamp(1.0, MOST_VIRTUAL_STAGES);
    terms.bubble = terms.total() / passes * ((pp - 1.0) / virtual_stages);
    terms.other_collectives += stage_sends(model, plan, machine, &pass) * (2.0 * virtual_stages * passes);
    let parameters = memory::local_parameters(model, plan, 0.0);
    let gradients = gradient_all_reduce(plan, machine, &parameters);
    terms.other_collectives += gradients - gradients.min(time.compute()) * machine.overlap;
    terms.dense += optimizer_step(plan, machine, &parameters);
    terms.launch += Seconds::new(machine.step);
    let tokens = f64::from(plan.dp) * passes * workload.sequence_len;
    Outcome {
        terms,
        tokens,
        tokens_per_sequence: 1.0,
        model_flop: 3.0 * tokens * model_flop_per_token(model, workload.sequence_len / 2.0, false),
        memory: memory::training(model, plan, machine, workload.sequence_len, recompute),
        recompute,
    }
}

/// Adds passes to the terms. With a second micro-batch a share of dispatch and combine hides behind compute: what stays
/// is `M - overlap * min(M, C)`. Tensor-parallel all-reduces sit between dependent ops and are taken as exposed.
fn add_pass(terms: &mut Terms, time: &PassTime, passes: f64, overlapped: bool, machine: &Machine) {
    let all_to_all = time.all_to_all();
    let hidden = if overlapped { all_to_all.min(time.compute()) * machine.overlap } else { Seconds::ZERO };
    let exposed = if all_to_all.is_positive() { 1.0 - hidden / all_to_all } else { 0.0 };
    terms.attention += time.attention * passes;
    terms.expert_matmul += time.expert_matmul * passes;
    terms.gating += time.gating * passes;
    terms.dense += time.dense * passes;
    terms.launch += time.launch * passes;
    terms.dispatch += time.dispatch * (passes * exposed);
    terms.combine += time.combine * (passes * exposed);
    terms.other_collectives += time.tensor * passes;
}

/// A stage's output on its way to the next; the tensor-parallel group sends a slice each.
fn stage_sends(model: &Model, plan: &Plan, machine: &Machine, pass: &Pass) -> Seconds {
    if plan.pp <= 1 {
        return Seconds::ZERO;
    }
    let bytes = pass.tokens() / f64::from(plan.tp) * model.hidden as f64 * machine.activation_bytes;
    send(&machine.links, f64::from(plan.tp) * f64::from(plan.dp), bytes)
}

/// Reduce-scatter of 16-bit gradients and all-gather of 16-bit weights: together an all-reduce of two bytes a weight.
/// Chips are numbered with tensor parallelism innermost, then data, then pipeline.
fn gradient_all_reduce(plan: &Plan, machine: &Machine, parameters: &memory::LocalParameters) -> Seconds {
    let (tp, dp, ep) = (f64::from(plan.tp), f64::from(plan.dp), f64::from(plan.ep));
    let dense = Group { size: dp, stride: tp };
    let experts = Group { size: (tp * dp / ep).max(1.0), stride: ep };
    let width = machine.activation_bytes;
    let mut time = all_reduce(&machine.links, dense, parameters.dense * width);
    if parameters.experts > 0.0 {
        time += all_reduce(&machine.links, experts, parameters.experts * width);
    }
    time
}

/// Adam reads gradient and state and writes state and weight: about 30 bytes a weight of this chip's share.
fn optimizer_step(plan: &Plan, machine: &Machine, parameters: &memory::LocalParameters) -> Seconds {
    let replicas = f64::from(plan.dp);
    let expert_replicas = (f64::from(plan.tp) * replicas / f64::from(plan.ep)).max(1.0);
    let share = parameters.dense / replicas + parameters.experts / expert_replicas;
    Seconds::new(30.0 * share / machine.streaming)
}
