//! A plan and what it delivers.

use serde::Serialize;

use crate::projection::machine::Machine;
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::phases::{evaluate, over_bytes};
use crate::projection::request::Request;

/// A plan of a search and what it delivers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScoredPlan {
    /// The plan.
    pub plan: ParallelPlan,
    /// Tokens per second and chip.
    pub tokens_per_s_per_chip: f64,
    /// Time per output token (decode), to the first token (prefill) or of a step (training), seconds.
    pub latency_s: f64,
    /// Memory of a chip, bytes.
    pub memory_bytes_per_chip: f64,
}

/// What a plan delivers, if it fits into memory.
pub(super) fn judge(request: &Request, plan: &ParallelPlan, machine: &Machine) -> Option<ScoredPlan> {
    if over_bytes(request, plan, machine) > 0.0 {
        return None;
    }
    let outcome = evaluate(request, plan, machine);
    Some(ScoredPlan {
        plan: *plan,
        tokens_per_s_per_chip: outcome.throughput(plan),
        latency_s: outcome.per_token(),
        memory_bytes_per_chip: outcome.memory.used(),
    })
}
