//! One batch of prompts.

use super::{Outcome, add, stage_send, streams};
use crate::projection::machine::Machine;
use crate::projection::memory;
use crate::projection::ops::{Context, Pass, model_flop_per_token};
use crate::projection::pass::{Repeats, Setting, Stage, scope, stage_time};
use crate::projection::request::Request;
use crate::projection::result::{Memory, Plan, Recompute, Terms};
use crate::units::Seconds;

/// Chunks of a prompt.
fn chunks(request: &Request) -> f64 {
    (request.workload.prompt_len / request.workload.chunk_tokens).ceil().max(1.0)
}

/// The pass of a micro-batch: one chunk of its prompts, with the average of the chunks before it in reach.
pub(super) fn pass(request: &Request, plan: &Plan, machine: &Machine) -> (Pass, Setting) {
    let workload = &request.workload;
    let group = f64::from(plan.tp) * f64::from(plan.cp) * f64::from(plan.pp);
    let sequences = plan.batch_per_chip / machine.dies * group / f64::from(plan.microbatches);
    let chunks = chunks(request);
    let tokens = workload.prompt_len / chunks;
    let context = Context::Causal { tokens, before: (chunks - 1.0) / 2.0 * tokens };
    let setting =
        Setting { streams: streams(plan), forward: true, load: workload.expert_load, repeats: Repeats::FORWARD };
    (Pass { sequences, queries: tokens / f64::from(plan.cp), context }, setting)
}

/// Memory of one chip.
pub(super) fn memory_of(request: &Request, plan: &Plan, machine: &Machine) -> Memory {
    let (pass, _) = pass(request, plan, machine);
    memory::serving(&request.model, plan, machine, request.workload.prompt_len, pass.tokens(), 0.0)
}

/// The batch is cut into `microbatches` passes a chunk. Stages fill and drain once.
pub(super) fn step(request: &Request, plan: &Plan, machine: &Machine) -> Outcome {
    let (model, workload) = (&request.model, &request.workload);
    let (pass, setting) = pass(request, plan, machine);
    let scope = scope(model, plan, machine, &pass);
    let (passes, pp) = (f64::from(plan.microbatches) * chunks(request), f64::from(plan.pp));
    let mut terms = Terms::default();
    add(&mut terms, &stage_time(&scope, &Stage::slowest(model, plan), &setting), passes / setting.streams as f64);
    terms.bubble = terms.total() / passes * (pp - 1.0);
    terms.other_collectives += stage_send(&scope) * (passes + pp - 1.0);
    terms.launch += Seconds::new(machine.step);
    let tokens = plan.batch_per_chip * workload.prompt_len * f64::from(plan.chips);
    Outcome {
        terms,
        tokens,
        tokens_per_sequence: 1.0,
        model_flop: tokens * model_flop_per_token(model, workload.prompt_len / 2.0, false),
        memory: memory_of(request, plan, machine),
        recompute: Recompute::None,
    }
}
