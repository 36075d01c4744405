//! One step of decode.

use crate::projection::fabric::Mode;
use crate::projection::machine::Machine;
use crate::projection::memory::{self, Served};
use crate::projection::ops::{AttentionForm, Context, Pass, model_flop_per_token};
use crate::projection::parallel_plan::{ParallelPlan, Recompute};
use crate::projection::pass::{PassSetting, Rank, Repeats, Stage, StageTime, least_stage_time, stage_time};
use crate::projection::phases::outcome::PlanOutcome;
use crate::projection::request::{Request, Workload};
use crate::projection::result::MemoryUse;
use crate::projection::terms::Terms;
use crate::projection::wire::stage_send;

/// The pass of a micro-batch: `1 + k` tokens per sequence with `k` speculated ones.
pub(super) fn pass<'a>(request: &'a Request, plan: &ParallelPlan, machine: &Machine) -> (Pass, PassSetting<'a>) {
    let workload = &request.workload;
    let sequences = plan.batch_per_chip / machine.dies * f64::from(plan.tp) / f64::from(plan.microbatches);
    let queries = 1.0 + f64::from(workload.mtp_tokens);
    let setting = PassSetting {
        streams: plan.streams(),
        mode: Mode::LowLatency,
        load: &workload.expert_load,
        repeats: Repeats::FORWARD,
    };
    (Pass { sequences, queries, context: Context::Cache(workload.kv_len), prompts: None }, setting)
}

/// Memory of one chip.
pub(super) fn memory_of(request: &Request, plan: &ParallelPlan, machine: &Machine) -> MemoryUse {
    let (pass, _) = pass(request, plan, machine);
    let served = Served {
        length: request.workload.kv_len,
        pass_tokens: pass.tokens(),
        mtp_modules: f64::from(request.workload.mtp_tokens.min(1)),
    };
    memory::serving(&request.model, plan, machine, served)
}

/// The batch runs as `pp * microbatches` passes that keep all stages busy. Speculation runs one extra layer with the
/// head per speculated token. A chain of `k` tokens with acceptance `a` yields `1 + a + ... + a^k` tokens.
pub(super) fn step(request: &Request, plan: &ParallelPlan, machine: &Machine) -> PlanOutcome {
    step_of_stages(request, plan, machine, stage_time)
}

/// As if the step took a time that it does not take less than.
pub(super) fn optimistic(request: &Request, plan: &ParallelPlan, machine: &Machine) -> PlanOutcome {
    step_of_stages(request, plan, machine, least_stage_time)
}

fn step_of_stages(request: &Request, plan: &ParallelPlan, machine: &Machine, stage_time: StageTime) -> PlanOutcome {
    let (model, workload) = (&request.model, &request.workload);
    let (pass, setting) = pass(request, plan, machine);
    let kept: f64 = kept_tokens(workload);
    let all_sequences = plan.batch_per_chip * f64::from(plan.chips);
    PlanOutcome {
        terms: step_of_pass(request, plan, machine, (pass, setting), stage_time),
        tokens: all_sequences * kept,
        tokens_per_sequence: kept,
        model_flop: all_sequences * kept * model_flop_per_token(model, workload.kv_len, AttentionForm::Absorbed),
        memory: memory_of(request, plan, machine),
        recompute: Recompute::None,
    }
}

/// Output tokens of a sequence per step.
pub(super) fn kept_tokens(workload: &Workload) -> f64 {
    (0..=workload.mtp_tokens.min(64))
        .map(|index| workload.mtp_acceptance.powi(i32::try_from(index).unwrap_or(64)))
        .sum()
}

/// One step of all stages, by terms.
pub(super) fn step_of_pass(
    request: &Request,
    plan: &ParallelPlan,
    machine: &Machine,
    (pass, setting): (Pass, PassSetting<'_>),
    stage_time: StageTime,
) -> Terms {
    let (model, workload) = (&request.model, &request.workload);
    let speculated = f64::from(workload.mtp_tokens);
    let groups = f64::from(plan.microbatches) / setting.streams as f64;
    let main = Rank { model, plan, machine, pass: &pass };
    let mut terms = Terms::default();
    terms.add(&stage_time(&main, &Stage::slowest(model, plan), &setting), groups * f64::from(plan.pp));
    if speculated > 0.0 {
        let module = Stage { kinds: vec![(model.mtp, speculated)], head: speculated };
        let one = Pass { queries: 1.0, ..pass };
        terms.add(&stage_time(&Rank { pass: &one, ..main }, &module, &setting), groups);
    }
    terms.other_collectives +=
        stage_send(model, plan, &pass, machine) * (f64::from(plan.pp) * f64::from(plan.microbatches));
    terms.launch += machine.step;
    terms
}
