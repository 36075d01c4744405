//! What a projection says. One struct is the JSON of `supernode project --json`.

use serde::Serialize;

pub use crate::specs::{NumberType, Provenance};
use crate::units::Seconds;

/// What is done with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Prompts in, first token out.
    Prefill,
    /// One token (or one plus speculated ones) a sequence and step.
    Decode,
    /// Forward, backward and optimizer.
    Training,
}

/// A headline figure with its band.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The central estimate.
    pub median: f64,
    /// With every uncertain input at its pessimistic end.
    pub low: f64,
    /// With every uncertain input at its optimistic end.
    pub high: f64,
}

/// How a model is split over the chips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Plan {
    /// Chips of one model replica times the replicas.
    pub chips: u32,
    /// Tensor-parallel degree.
    pub tp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Chips that share the routed experts of one layer; 1 for a dense model.
    pub ep: u32,
    /// Replicas of the attention and dense part.
    pub dp: u32,
    /// Micro-batches in flight per step.
    pub microbatches: u32,
    /// Sequences (decode, training) or prompts (prefill) per chip and step.
    pub batch_per_chip: f64,
}

/// The named parts of a step. They add up to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Terms {
    /// Attention over the KV cache or the sequence.
    pub attention: Seconds,
    /// Routed experts.
    pub expert_matmul: Seconds,
    /// Router, top-k and sort.
    pub gating: Seconds,
    /// Projections, shared experts, dense layers, embeddings and LM head.
    pub dense: Seconds,
    /// Exposed time of the all-to-all out.
    pub dispatch: Seconds,
    /// Exposed time of the all-to-all back.
    pub combine: Seconds,
    /// Exposed time of all-reduce, all-gather, point-to-point.
    pub other_collectives: Seconds,
    /// Pipeline stages that wait.
    pub bubble: Seconds,
    /// Launches and other fixed costs.
    pub launch: Seconds,
}

impl Terms {
    /// Name and value of each part, in the order of a layer.
    pub fn named(&self) -> [(&'static str, Seconds); 9] {
        [
            ("attention", self.attention),
            ("expert_matmul", self.expert_matmul),
            ("gating", self.gating),
            ("dense", self.dense),
            ("dispatch", self.dispatch),
            ("combine", self.combine),
            ("other_collectives", self.other_collectives),
            ("bubble", self.bubble),
            ("launch", self.launch),
        ]
    }

    /// The step time.
    pub fn total(&self) -> Seconds {
        self.named().into_iter().map(|(_, time)| time).sum()
    }
}

/// Memory of one chip by use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Weights.
    pub weights: f64,
    /// KV cache.
    pub kv_cache: f64,
    /// Activations and communication buffers.
    pub activations: f64,
    /// Gradients and optimizer state.
    pub optimizer: f64,
    /// What the chip has.
    pub capacity: f64,
}

impl Memory {
    /// Sum of all uses, in bytes.
    pub fn used(&self) -> f64 {
        self.weights + self.kv_cache + self.activations + self.optimizer
    }
}

/// One cost and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostSource {
    /// Which input of the model, e.g. `peak bf16` or `efficiency attention`.
    pub what: String,
    /// Its value with unit, for reading.
    pub value: String,
    /// Kind of source.
    pub provenance: Provenance,
    /// The source in words.
    pub source: String,
}

/// The projection of one model, phase, chip and fabric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Projection {
    /// Model name.
    pub model: String,
    /// Phase.
    pub phase: Phase,
    /// Chip name.
    pub chip: String,
    /// Fabric name.
    pub fabric: String,
    /// Type of weights and activations.
    #[serde(rename = "type")]
    pub number_type: NumberType,
    /// The split.
    pub plan: Plan,
    /// Throughput of one chip.
    pub tokens_per_s_per_chip: Interval,
    /// Time of one step.
    pub step_s: Seconds,
    /// Decode: time per output token.
    pub tpot_s: Option<Seconds>,
    /// Prefill: time to the first token.
    pub ttft_s: Option<Seconds>,
    /// Model FLOP over peak FLOP of the step.
    pub mfu: f64,
    /// The step by its parts.
    pub terms_s: Terms,
    /// The largest part, in words: what to improve first.
    pub bound_by: String,
    /// Memory of one chip, bytes.
    pub memory_bytes_per_chip: Memory,
    /// What the reader must keep in mind.
    pub caveats: Vec<String>,
    /// Where each input comes from.
    pub provenance: Vec<CostSource>,
}
