//! One plan in one phase: its step by terms and its memory.

mod decode;
mod prefill;
mod training;

use super::fabric::{Group, all_reduce, send};
use super::machine::Machine;
use super::memory;
use super::ops::{Context, Scope, cache_elements, flop_per_pair};
use super::pass::{Setting, book};
use super::request::Request;
use super::result::{Memory, Phase, Plan, Recompute, Terms};
use super::schedule::Books;
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
    /// Which activations are computed again in the backward pass.
    pub recompute: Recompute,
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

    /// Time per output token of a sequence; the step's outside decode.
    pub fn per_token(&self) -> f64 {
        self.terms.total().get() / self.tokens_per_sequence
    }
}

/// Evaluates a plan; for training, the faster of keeping and recomputing activations that fits.
pub fn evaluate(request: &Request, plan: &Plan, machine: &Machine) -> Outcome {
    match request.phase {
        Phase::Decode => decode::step(request, plan, machine),
        Phase::Prefill => prefill::step(request, plan, machine),
        Phase::Training => training::step(request, plan, machine),
    }
}

/// Memory of one chip of a plan: what [`evaluate`] finds, without its time.
pub fn over_bytes(request: &Request, plan: &Plan, machine: &Machine) -> f64 {
    let memory = match request.phase {
        Phase::Decode => decode::memory_of(request, plan, machine),
        Phase::Prefill => prefill::memory_of(request, plan, machine),
        Phase::Training => memory::training(request, plan, machine, Recompute::Full),
    };
    memory.used() - memory.capacity
}

/// The pass that sets the pace of a plan: for a trace and a list of its ops.
pub fn typical(request: &Request, plan: &Plan, machine: &Machine) -> (super::ops::Pass, Setting) {
    match request.phase {
        Phase::Decode => decode::pass(request, plan, machine),
        Phase::Prefill => prefill::pass(request, plan, machine),
        Phase::Training => training::pass(request, plan),
    }
}

/// Micro-batches that are interleaved on a rank.
fn streams(plan: &Plan) -> usize {
    if plan.microbatches > 1 { 2 } else { 1 }
}

/// Adds the time of passes, by booking.
fn add(terms: &mut Terms, books: &Books, factor: f64) {
    let part = |index: usize| Seconds::new(books[index] * factor);
    terms.attention += part(book::ATTENTION);
    terms.expert_matmul += part(book::EXPERT);
    terms.gating += part(book::GATING);
    terms.dense += part(book::DENSE);
    terms.dispatch += part(book::DISPATCH);
    terms.combine += part(book::COMBINE);
    terms.other_collectives += part(book::OTHER);
    terms.launch += part(book::LAUNCH);
}

/// All-reduce of a block's output over the tensor-parallel group; with sequence parallelism a reduce-scatter and an
/// all-gather, which move the same.
pub(super) fn tensor_all_reduce(scope: &Scope<'_>) -> f64 {
    if scope.plan.tp <= 1 {
        return 0.0;
    }
    let group = Group { size: f64::from(scope.plan.tp), stride: 1.0 };
    let bytes = scope.pass.tokens() * scope.model.hidden as f64 * scope.machine.activation_bytes;
    all_reduce(&scope.machine.links, group, bytes).get()
}

/// What context parallelism moves around attention. Prefill and training gather keys and values of the whole sequence
/// (an all-gather is half an all-reduce); decode reduces the outputs over parts of the cache.
pub(super) fn context_exchange(scope: &Scope<'_>) -> f64 {
    let (plan, machine) = (scope.plan, scope.machine);
    if plan.cp <= 1 {
        return 0.0;
    }
    let group = Group { size: f64::from(plan.cp), stride: f64::from(plan.tp) };
    let tp = f64::from(plan.tp);
    match scope.pass.context {
        Context::Causal { tokens, .. } => {
            let bytes = scope.pass.sequences * tokens * cache_elements(scope.model, tp) * machine.activation_bytes;
            all_reduce(&machine.links, group, bytes).get() / 2.0
        }
        Context::Cache(_) => {
            // An output element for each query and head: half of a score's FLOP are a product with the values.
            let elements = flop_per_pair(scope.model, true) / 4.0 / tp;
            let tokens = scope.pass.tokens() * f64::from(plan.cp);
            all_reduce(&machine.links, group, tokens * elements * machine.activation_bytes).get()
        }
    }
}

/// A stage's output on its way to the next; the tensor-parallel group sends a slice each.
fn stage_send(scope: &Scope<'_>) -> Seconds {
    let plan = scope.plan;
    if plan.pp <= 1 {
        return Seconds::ZERO;
    }
    let bytes = scope.own_tokens() * scope.model.hidden as f64 * scope.machine.activation_bytes;
    send(&scope.machine.links, f64::from(plan.tp) * f64::from(plan.cp) * f64::from(plan.dp), bytes)
}
