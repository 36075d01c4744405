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
    /// The central estimate: every input at its central value.
    pub median: f64,
    /// The 5th percentile over draws of all uncertain inputs.
    pub low: f64,
    /// The 95th percentile.
    pub high: f64,
}

/// How a model is split over the chips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Plan {
    /// Packages.
    pub chips: u32,
    /// Tensor-parallel degree. All degrees count ranks: dies, of which a package may have several.
    pub tp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Ranks that share the routed experts of one layer; 1 for a dense model.
    pub ep: u32,
    /// Replicas of the attention and dense part: `tp * cp * pp * dp` is the number of ranks.
    pub dp: u32,
    /// Context-parallel degree: ranks that share a sequence.
    pub cp: u32,
    /// Micro-batches in flight per step.
    pub microbatches: u32,
    /// Sequences (decode, training) or prompts (prefill) per chip and step.
    pub batch_per_chip: f64,
}

/// What the backward pass computes again instead of keeping it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing.
    None,
    /// Norms and activations: what is cheap.
    Selective,
    /// Whole layers from their input.
    Full,
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
    /// Step, time per token or to the first token, and MFU over the draws: 90 % bands.
    pub intervals: Intervals,
    /// What moves the throughput most, the largest first.
    pub tornado: Vec<Swing>,
    /// The ops of the layer that sets the pace, of one micro-batch.
    pub operators: Vec<Operator>,
}

/// Bands of the other headline figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Intervals {
    /// Draws behind the bands.
    pub draws: u32,
    /// Seed of the draws.
    pub seed: u64,
    /// Of the step, seconds.
    pub step_s: Option<Interval>,
    /// Of the time per output token, seconds.
    pub tpot_s: Option<Interval>,
    /// Of the time to the first token, seconds.
    pub ttft_s: Option<Interval>,
    /// Of the MFU.
    pub mfu: Option<Interval>,
    /// The median over the draws of the throughput: where bands are lopsided it is not the central estimate.
    pub median_over_draws: Option<f64>,
}

/// Throughput with one input at either end of its band.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Swing {
    /// Which input.
    pub what: String,
    /// Tokens per second and chip with the input at its lower end.
    pub at_low: f64,
    /// With the input at its upper end.
    pub at_high: f64,
}

/// One op of a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operator {
    /// Its name.
    pub name: String,
    /// Its time on one rank.
    pub time_s: Seconds,
    /// FLOP on one rank.
    pub flop: f64,
    /// Bytes of memory traffic on one rank.
    pub bytes: f64,
    /// `compute`, `memory`, `launch` or `fabric`.
    pub bound_by: &'static str,
    /// Where its cost comes from.
    pub cost: String,
}
