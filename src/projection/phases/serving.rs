//! One step of an engine that serves: sequences in decode, and chunks of prompts beside them.
//!
//! An engine schedules the sequences of a tensor-parallel group. Each replica of attention is one, and so is each
//! pipeline stage's share of the batch, so that a plan has `dp * pp` engines.

use crate::projection::experts_apart::{ApartRanks, exchange, stage_apart};
use crate::projection::fabric::Mode;
use crate::projection::machine::Machine;
use crate::projection::memory::{self, Served};
use crate::projection::ops::{Context, Pass, Prompts};
use crate::projection::parallel_plan::{ExpertWorker, ParallelPlan};
use crate::projection::pass::{PassSetting, Rank, Stage, stage_time};
use crate::projection::phases::decode;
use crate::projection::request::Request;
use crate::projection::result::MemoryUse;
use crate::projection::terms::Terms;
use crate::units::Seconds;

/// What an engine computes in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServingStep {
    /// Sequences in decode.
    pub sequences: f64,
    /// Tokens of each in the KV cache.
    pub kv_len: f64,
    /// Chunks of prompts.
    pub prompts: Option<Prompts>,
}

/// Time of a step where all engines of a plan do the same.
///
/// Without prompts it is a step of decode, without sequences one of prefill. Prompts are many tokens, so that dispatch and
/// combine use the kernels for many tokens where there are any.
pub fn serving_step(request: &Request, plan: &ParallelPlan, machine: &Machine, step: &ServingStep) -> Seconds {
    let plan = with_sequences(plan, step.sequences);
    let (pass, setting) = decode::pass(request, &plan, machine);
    let passes = f64::from(plan.microbatches);
    let prompts = step.prompts.map(|prompts| Prompts { count: prompts.count / passes, ..prompts });
    let mode = if prompts.is_some() { Mode::Normal } else { setting.mode };
    let pass = Pass { context: Context::Cache(step.kv_len), prompts, ..pass };
    let setting = PassSetting { mode, ..setting };
    decode::step_of_pass(request, &plan, machine, (pass, setting), stage_time).total()
}

/// The plan with so many sequences on each engine.
fn with_sequences(plan: &ParallelPlan, sequences: f64) -> ParallelPlan {
    let engines = f64::from(plan.dp) * f64::from(plan.pp);
    ParallelPlan { batch_per_chip: sequences * engines / f64::from(plan.chips), ..*plan }
}

/// A step of decode with attention and experts apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ApartStep {
    /// The step by terms.
    pub terms: Terms,
    /// Share of it in which an attention rank computes.
    pub attention_busy: f64,
    /// Share of it in which an expert rank computes.
    pub experts_busy: f64,
}

/// A step of decode where all engines of a plan do the same, with the experts on ranks of their own.
pub fn apart_step(
    request: &Request,
    plan: &ParallelPlan,
    experts: &ExpertWorker,
    machine: &Machine,
    step: &ServingStep,
) -> ApartStep {
    let plan = with_microbatches(plan, step.sequences);
    let (pass, setting) = apart_pass(request, &plan, machine, step.kv_len);
    let model = &request.model;
    let attention = Rank { model, plan: &plan, machine, pass: &pass };
    let mut times = stage_apart(&ApartRanks { attention, experts }, &Stage::slowest(model, &plan), &setting);
    let speculated = f64::from(request.workload.mtp_tokens);
    if speculated > 0.0 {
        let module = Stage { kinds: vec![(model.mtp, speculated)], head: speculated };
        let one = Pass { queries: 1.0, ..pass };
        let attention = Rank { pass: &one, ..attention };
        times.add_scaled(&stage_apart(&ApartRanks { attention, experts }, &module, &setting), 1.0);
    }
    let mut terms = Terms::default();
    terms.add(&times.terms, 1.0);
    terms.launch += machine.step;
    let all = terms.total().get();
    ApartStep { terms, attention_busy: times.attention_s / all, experts_busy: times.experts_s / all }
}

/// Times of the dispatch and the combine of one micro-batch of such a step, in a layer with experts; `None` without any.
pub fn apart_exchange(
    request: &Request,
    plan: &ParallelPlan,
    experts: &ExpertWorker,
    machine: &Machine,
    step: &ServingStep,
) -> Option<(Seconds, Seconds)> {
    let plan = with_microbatches(plan, step.sequences);
    let (pass, setting) = apart_pass(request, &plan, machine, step.kv_len);
    let attention = Rank { model: &request.model, plan: &plan, machine, pass: &pass };
    exchange(&ApartRanks { attention, experts }, &setting)
}

/// The plan with so many sequences on each engine, in micro-batches of one sequence at least.
fn with_microbatches(plan: &ParallelPlan, sequences: f64) -> ParallelPlan {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and a plan has a few")]
    let most = sequences.max(1.0) as u32;
    ParallelPlan { microbatches: plan.microbatches.min(most), ..with_sequences(plan, sequences) }
}

/// The pass of a micro-batch, all of which are under way at once.
fn apart_pass<'a>(
    request: &'a Request,
    plan: &ParallelPlan,
    machine: &Machine,
    kv_len: f64,
) -> (Pass, PassSetting<'a>) {
    let (pass, setting) = decode::pass(request, plan, machine);
    let streams = plan.microbatches as usize;
    (Pass { context: Context::Cache(kv_len), ..pass }, PassSetting { streams, ..setting })
}

/// Output tokens of a sequence per step: more than one where tokens are speculated.
pub fn tokens_per_step(request: &Request) -> f64 {
    decode::kept_tokens(&request.workload)
}

/// What an engine's step keeps in the memory of a chip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    /// Sequences of the engine.
    pub sequences: f64,
    /// Tokens of each.
    pub length: f64,
    /// The most tokens of a pass, for which there are buffers.
    pub pass_tokens: f64,
}

/// Memory of one chip with attention whose experts lie elsewhere, and of one with these experts. The latter has buffers for
/// the tokens of all attention workers.
pub fn apart_memory(
    request: &Request,
    plan: &ParallelPlan,
    experts: &ExpertWorker,
    machine: &Machine,
    held: &Held,
) -> (MemoryUse, MemoryUse) {
    let mtp_modules = f64::from(request.workload.mtp_tokens.min(1));
    let served = Served { length: held.length, pass_tokens: held.pass_tokens, mtp_modules };
    let received = Served { pass_tokens: held.pass_tokens * f64::from(plan.dp) / experts.ranks(), ..served };
    let attention = memory::attention_alone(&request.model, &with_sequences(plan, held.sequences), machine, served);
    (attention, memory::experts_alone(&request.model, experts, machine, received))
}

/// Memory of one chip.
pub fn serving_memory(request: &Request, plan: &ParallelPlan, machine: &Machine, held: &Held) -> MemoryUse {
    let mtp_modules = f64::from(request.workload.mtp_tokens.min(1));
    let served = Served { length: held.length, pass_tokens: held.pass_tokens, mtp_modules };
    memory::serving(&request.model, &with_sequences(plan, held.sequences), machine, served)
}

/// Sequences for which an engine has memory beside the weights and the buffers, from the memory with one of them; negative
/// where not even these fit.
pub fn room(with_one: &MemoryUse) -> f64 {
    (with_one.capacity - with_one.used() + with_one.kv_cache) / with_one.kv_cache
}
