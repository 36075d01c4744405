//! One batch of prompts.

use crate::projection::fabric::Mode;
use crate::projection::machine::Machine;
use crate::projection::memory::{self, Served};
use crate::projection::ops::{AttentionForm, Context, Pass, model_flop_per_token};
use crate::projection::parallel_plan::{ParallelPlan, Recompute};
use crate::projection::pass::{PassSetting, Rank, Repeats, Stage, stage_time};
use crate::projection::phases::outcome::PlanOutcome;
use crate::projection::request::Request;
use crate::projection::result::MemoryUse;
use crate::projection::terms::Terms;
use crate::projection::wire::stage_send;

/// Chunks per prompt.
fn chunks(request: &Request) -> f64 {
    (request.workload.prompt_len / request.workload.chunk_tokens).ceil().max(1.0)
}

/// The pass of a micro-batch: one chunk of its prompts, with the average of the chunks before it in reach.
pub(super) fn pass<'a>(request: &'a Request, plan: &ParallelPlan, machine: &Machine) -> (Pass, PassSetting<'a>) {
    let workload = &request.workload;
    let group = f64::from(plan.tp) * f64::from(plan.cp) * f64::from(plan.pp);
    let sequences = plan.batch_per_chip / machine.dies * group / f64::from(plan.microbatches);
    let chunks = chunks(request);
    let tokens = workload.prompt_len / chunks;
    let context = Context::Causal { tokens, before: (chunks - 1.0) / 2.0 * tokens };
    let setting = PassSetting {
        streams: plan.streams(),
        mode: Mode::Normal,
        load: &workload.expert_load,
        repeats: Repeats::FORWARD,
    };
    (Pass { sequences, queries: tokens / f64::from(plan.cp), context, prompts: None }, setting)
}

/// Memory of one chip.
pub(super) fn memory_of(request: &Request, plan: &ParallelPlan, machine: &Machine) -> MemoryUse {
    let (pass, _) = pass(request, plan, machine);
    let served = Served { length: request.workload.prompt_len, pass_tokens: pass.tokens(), mtp_modules: 0.0 };
    memory::serving(&request.model, plan, machine, served)
}

/// The batch is cut into `microbatches` passes per chunk. The pipeline fills and drains once.
pub(super) fn step(request: &Request, plan: &ParallelPlan, machine: &Machine) -> PlanOutcome {
    let (model, workload) = (&request.model, &request.workload);
    let (pass, setting) = pass(request, plan, machine);
    let rank = Rank { model, plan, machine, pass: &pass };
    let (passes, pp) = (f64::from(plan.microbatches) * chunks(request), f64::from(plan.pp));
    let mut terms = Terms::default();
    terms.add(&stage_time(&rank, &Stage::slowest(model, plan), &setting), passes / setting.streams as f64);
    terms.bubble = terms.total() / passes * (pp - 1.0);
    terms.other_collectives += stage_send(model, plan, &pass, machine) * (passes + pp - 1.0);
    terms.launch += machine.step;
    let tokens = plan.batch_per_chip * workload.prompt_len * f64::from(plan.chips);
    PlanOutcome {
        terms,
        tokens,
        tokens_per_sequence: 1.0,
        model_flop: tokens * model_flop_per_token(model, workload.prompt_len / 2.0, AttentionForm::Expanded),
        memory: memory_of(request, plan, machine),
        recompute: Recompute::None,
    }
}
