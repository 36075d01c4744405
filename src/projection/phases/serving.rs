//! One step of an engine that serves: sequences in decode, and chunks of prompts beside them.
//!
//! An engine schedules the sequences of a tensor-parallel group. Each replica of attention is one, and so is each
//! pipeline stage's share of the batch, so that a plan has `dp * pp` engines.

use crate::projection::fabric::Mode;
use crate::projection::machine::Machine;
use crate::projection::memory::{self, Served};
use crate::projection::ops::{Context, Pass, Prompts};
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::pass::{PassSetting, stage_time};
use crate::projection::phases::decode;
use crate::projection::request::Request;
use crate::projection::result::MemoryUse;
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

/// Memory of one chip.
pub fn serving_memory(request: &Request, plan: &ParallelPlan, machine: &Machine, held: &Held) -> MemoryUse {
    let mtp_modules = f64::from(request.workload.mtp_tokens.min(1));
    let served = Served { length: held.length, pass_tokens: held.pass_tokens, mtp_modules };
    memory::serving(&request.model, &with_sequences(plan, held.sequences), machine, served)
}

/// Sequences for which an engine has memory beside the weights and the buffers, whatever `held.sequences` is; negative
/// where not even these fit.
pub fn room(request: &Request, plan: &ParallelPlan, machine: &Machine, held: &Held) -> f64 {
    let memory = serving_memory(request, plan, machine, &Held { sequences: 1.0, ..*held });
    (memory.capacity - memory.used() + memory.kv_cache) / memory.kv_cache
}
