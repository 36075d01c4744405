//! One step of decode.

use super::{Outcome, add, stage_send, streams};
use crate::projection::machine::Machine;
use crate::projection::memory;
use crate::projection::ops::{Context, Pass, model_flop_per_token};
use crate::projection::pass::{Repeats, Setting, Stage, scope, stage_time};
use crate::projection::request::Request;
use crate::projection::result::{Memory, Plan, Recompute, Terms};
use crate::units::Seconds;

/// The pass of a micro-batch: `1 + k` tokens a sequence with k speculated ones.
pub(super) fn pass(request: &Request, plan: &Plan, machine: &Machine) -> (Pass, Setting) {
    let workload = &request.workload;
    let sequences = plan.batch_per_chip / machine.dies * f64::from(plan.tp) / f64::from(plan.microbatches);
    let queries = 1.0 + f64::from(workload.mtp_tokens);
    let setting =
        Setting { streams: streams(plan), forward: false, load: workload.expert_load, repeats: Repeats::FORWARD };
    (Pass { sequences, queries, context: Context::Cache(workload.kv_len) }, setting)
}

/// Memory of one chip.
pub(super) fn memory_of(request: &Request, plan: &Plan, machine: &Machine) -> Memory {
    let (pass, _) = pass(request, plan, machine);
    let modules = f64::from(request.workload.mtp_tokens.min(1));
    memory::serving(&request.model, plan, machine, request.workload.kv_len, pass.tokens(), modules)
}

/// The batch runs as `pp * microbatches` passes that keep all stages busy. Speculation runs one extra layer with the head
/// for each speculated token; a chain of k tokens of acceptance a yields `1 + a + ... + a^k`.
pub(super) fn step(request: &Request, plan: &Plan, machine: &Machine) -> Outcome {
    let (model, workload) = (&request.model, &request.workload);
    let (pass, setting) = pass(request, plan, machine);
    let speculated = f64::from(workload.mtp_tokens);
    let groups = f64::from(plan.microbatches) / setting.streams as f64;
    let main = scope(model, plan, machine, &pass);
    let mut terms = Terms::default();
    add(&mut terms, &stage_time(&main, &Stage::slowest(model, plan), &setting), groups * f64::from(plan.pp));
    if speculated > 0.0 {
        let (dense_layers, moe_layers) = if model.moe.is_some() { (0.0, speculated) } else { (speculated, 0.0) };
        let module = Stage { dense_layers, moe_layers, head: speculated };
        let one = Pass { queries: 1.0, ..pass };
        add(&mut terms, &stage_time(&scope(model, plan, machine, &one), &module, &setting), groups);
    }
    terms.other_collectives += stage_send(&main) * (f64::from(plan.pp) * f64::from(plan.microbatches));
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
        memory: memory_of(request, plan, machine),
        recompute: Recompute::None,
    }
}
