//! What one plan delivers in one phase.

use crate::projection::parallel_plan::{ParallelPlan, Recompute};
use crate::projection::result::MemoryUse;
use crate::projection::terms::Terms;

/// What a plan delivers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanOutcome {
    /// The step by terms.
    pub terms: Terms,
    /// Tokens of all chips per step: prompt tokens, kept output tokens, or training tokens.
    pub tokens: f64,
    /// Output tokens of one sequence per step; 1 outside decode.
    pub tokens_per_sequence: f64,
    /// Useful FLOP of all chips per step.
    pub model_flop: f64,
    /// Memory of one chip.
    pub memory: MemoryUse,
    /// Which activations are computed again in the backward pass.
    pub recompute: Recompute,
}

impl PlanOutcome {
    /// Tokens per second and chip.
    pub fn throughput(&self, plan: &ParallelPlan) -> f64 {
        self.tokens / f64::from(plan.chips) / self.terms.total().get()
    }

    /// Bytes per chip by which the plan is too large; negative if it fits.
    pub fn over_bytes(&self) -> f64 {
        self.memory.used() - self.memory.capacity
    }

    /// Time per output token of a sequence, in seconds; that of the step outside decode.
    pub fn per_token(&self) -> f64 {
        self.terms.total().get() / self.tokens_per_sequence
    }
}
