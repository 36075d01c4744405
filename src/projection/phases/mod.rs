//! One plan in one phase: its step by terms, and its memory.

mod decode;
mod outcome;
mod prefill;
mod serving;
mod training;

use crate::projection::machine::Machine;
use crate::projection::memory;
use crate::projection::ops::Pass;
use crate::projection::parallel_plan::{ParallelPlan, Phase, Recompute};
use crate::projection::pass::PassSetting;
use crate::projection::request::Request;

pub use outcome::PlanOutcome;
pub use serving::{
    ApartStep, Held, ServingStep, apart_exchange, apart_memory, apart_step, room, serving_memory, serving_step,
    tokens_per_step,
};

/// Evaluates a plan. In training it recomputes as little as fits.
pub fn evaluate(request: &Request, plan: &ParallelPlan, machine: &Machine) -> PlanOutcome {
    match request.phase {
        Phase::Decode => decode::step(request, plan, machine),
        Phase::Prefill => prefill::step(request, plan, machine),
        Phase::Training => training::step(request, plan, machine),
    }
}

/// What a plan of decode delivers at most: its throughput is no less than that of [`evaluate`], its time no more. Where
/// the ops' times are no measured ones, a larger batch does not take less time.
pub fn optimistic(request: &Request, plan: &ParallelPlan, machine: &Machine) -> PlanOutcome {
    decode::optimistic(request, plan, machine)
}

/// Bytes per chip by which a plan is too large: what [`evaluate`] finds, without the cost of its time.
pub fn over_bytes(request: &Request, plan: &ParallelPlan, machine: &Machine) -> f64 {
    let memory = match request.phase {
        Phase::Decode => decode::memory_of(request, plan, machine),
        Phase::Prefill => prefill::memory_of(request, plan, machine),
        Phase::Training => memory::training(request, plan, machine, Recompute::Full),
    };
    memory.used() - memory.capacity
}

/// The pass that sets the pace of a plan: for a trace and a list of its ops.
pub fn typical<'a>(request: &'a Request, plan: &ParallelPlan, machine: &Machine) -> (Pass, PassSetting<'a>) {
    match request.phase {
        Phase::Decode => decode::pass(request, plan, machine),
        Phase::Prefill => prefill::pass(request, plan, machine),
        Phase::Training => training::pass(request, plan),
    }
}
