//! The gate of a model as plain data. The gating kernels and their twin both read it; they share nothing else but operands.

use crate::specs::Scoring;

/// How a model turns router logits into experts and weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Routed experts.
    pub experts: usize,
    /// Experts per token, at most 32.
    pub top_k: usize,
    /// How logits become scores. Only scores by themselves (sigmoid, square root of softplus) have groups.
    pub scoring: Scoring,
    /// Groups of experts, at most 32; 1 for no group limit.
    pub groups: usize,
    /// Groups whose experts may be chosen.
    pub kept_groups: usize,
    /// Whether the weights of a token are divided by their sum.
    pub renormalise: bool,
    /// Factor on the weights.
    pub scale: f64,
}
