//! How a model is split over chips, and what the chips do with it.

use serde::{Deserialize, Serialize};

/// What is done with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Prompts in, first token out.
    Prefill,
    /// One step that adds a token to each sequence, or several where tokens are speculated.
    Decode,
    /// Forward pass, backward pass and optimizer.
    Training,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Prefill, Self::Decode, Self::Training];

    /// The name that files and flags use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Training => "training",
        }
    }

    /// The phase of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

/// How tokens reach the routed experts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpertExchange {
    /// Each copy of a token is sent to the ranks of its expert, and comes back.
    #[default]
    AllToAll,
    /// All ranks that share the experts gather the tokens of all, and reduce and scatter the sums: nothing is sent where
    /// it is needed alone. Beside tensor-parallel attention this is the all-reduce that a dense FFN has.
    AllGather,
}

impl ExpertExchange {
    /// The exchange of this name, one of [`EXCHANGES`](crate::specs::grid::EXCHANGES).
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "all-to-all" => Some(Self::AllToAll),
            "all-gather" => Some(Self::AllGather),
            _ => None,
        }
    }
}

/// How a model is split over the chips. Degrees count ranks: dies, of which a package may have several.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ParallelPlan {
    /// Packages.
    pub chips: u32,
    /// Tensor-parallel degree.
    pub tp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Groups of ranks that share the routed experts of one layer; 1 for a dense model.
    pub ep: u32,
    /// Ranks of such a group, which split each of its experts: `ep * moe_tp` ranks hold all experts of a layer once.
    pub moe_tp: u32,
    /// How tokens reach the experts.
    pub moe_exchange: ExpertExchange,
    /// Replicas of the attention and dense part: `tp * cp * pp * dp` is the number of ranks.
    pub dp: u32,
    /// Context-parallel degree: ranks that share a sequence.
    pub cp: u32,
    /// Decode: ranks of a tensor-parallel group that share the tokens of a KV cache which each would hold whole. It divides
    /// `tp` and takes no ranks of its own.
    pub dcp: u32,
    /// Micro-batches in flight per step.
    pub microbatches: u32,
    /// Sequences (decode, training) or prompts (prefill) per chip and step.
    pub batch_per_chip: f64,
}

impl ParallelPlan {
    /// Neighbours that gather their tokens before the experts: those that split each expert, or all that share them.
    pub fn gathering(&self) -> f64 {
        let split = f64::from(self.moe_tp);
        if self.moe_exchange == ExpertExchange::AllGather { split * f64::from(self.ep) } else { split }
    }

    /// Micro-batches that are interleaved on a rank in serving.
    pub const fn streams(&self) -> usize {
        if self.microbatches > 1 { 2 } else { 1 }
    }
}

/// Ranks that hold the routed experts alone, beside the ranks of a plan that run everything else (attention-FFN).
///
/// In the plan beside it, `ep` and `moe_tp` are 1, and `dp` counts the replicas of all its attention workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExpertWorker {
    /// Packages.
    pub chips: u32,
    /// Groups of ranks that share the experts of one layer.
    pub ep: u32,
    /// Ranks of such a group, which split each of its experts: `ep * moe_tp` is the number of ranks.
    pub moe_tp: u32,
    /// Attention workers around it, which take turns at it. It divides the plan's `dp`.
    pub attention_workers: u32,
}

impl ExpertWorker {
    /// Its ranks.
    pub fn ranks(&self) -> f64 {
        f64::from(self.ep) * f64::from(self.moe_tp)
    }

    /// Its experts as a plan: each rank has tokens of its own, and holds no attention.
    pub fn plan(&self) -> ParallelPlan {
        ParallelPlan {
            chips: self.chips,
            tp: 1,
            pp: 1,
            ep: self.ep,
            moe_tp: self.moe_tp,
            moe_exchange: ExpertExchange::AllToAll,
            dp: self.ep.saturating_mul(self.moe_tp),
            cp: 1,
            dcp: 1,
            microbatches: 1,
            batch_per_chip: 0.0,
        }
    }
}

/// Which activations the backward pass computes again instead of keeping them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// None.
    None,
    /// Norms and activations: what is cheap.
    Selective,
    /// Whole layers, from their input.
    Full,
}
