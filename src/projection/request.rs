//! What is asked, and why there may be no answer.

use serde::Serialize;

use crate::projection::chip::ChipModel;
use crate::projection::expert_load::ExpertLoad;
use crate::projection::parallel_plan::{ExpertExchange, ParallelPlan, Phase};
use crate::specs::{Fabric, Model, NumberType, TrainingFramework};

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The model.
    pub model: Model,
    /// The chip.
    pub chip: ChipModel,
    /// The fabric.
    pub fabric: Fabric,
    /// Chips in use.
    pub chips: u32,
    /// The phase.
    pub phase: Phase,
    /// Type of weights and matrix products ([`Request::product_type`] where the chip widens it); the chip's default for
    /// the phase where `None`.
    pub number_type: Option<NumberType>,
    /// Type of the KV cache in serving; the checkpoint's where `None`, which is 16 bits where it names none. Arithmetic of
    /// attention has 16 bits all the same.
    pub cache_type: Option<NumberType>,
    /// Lengths, limits and speculation.
    pub workload: Workload,
    /// What is not to be searched.
    pub pins: Pins,
    /// What trains; nothing but kernels and wires where `None`. Other phases do not read it.
    pub framework: Option<TrainingFramework>,
}

/// Lengths, limits and speculation.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Tokens of a prompt.
    pub prompt_len: f64,
    /// Tokens in the KV cache at a decode step.
    pub kv_len: f64,
    /// The longest acceptable time per output token, seconds.
    pub tpot_limit_s: f64,
    /// Whether a plan beyond the limit is refused. Otherwise it is given with a caveat where no plan keeps the limit: a
    /// slow chip has a throughput too.
    pub tpot_limit_binds: bool,
    /// Speculated tokens per sequence and step.
    pub mtp_tokens: u32,
    /// Chance that a speculated token is kept, given that the one before it was.
    pub mtp_acceptance: f64,
    /// Tokens of a training sequence.
    pub sequence_len: f64,
    /// Tokens of a training step.
    pub global_batch_tokens: f64,
    /// Training: sequences of a micro-batch.
    pub microbatch_sequences: f64,
    /// Training: stages of a pipeline that each rank holds in the interleaved schedule; as many as four where `None`.
    pub virtual_stages: Option<f64>,
    /// Tokens of a prefill chunk; infinite for whole prompts.
    pub chunk_tokens: f64,
    /// How tokens spread over the experts.
    pub expert_load: ExpertLoad,
    /// Factor on the load of the hottest rank that `expert_load` gives: 1, except where uncertainty is drawn.
    pub skew: f64,
    /// Training: whether replicas share weights and gradients too, and gather them layer by layer (ZeRO stage 3, FSDP).
    pub sharded_weights: bool,
    /// Schedule of the training pipeline.
    pub pipeline: PipelineSchedule,
    /// Training: whether communication hides behind compute. Tokens travel during another micro-batch's compute,
    /// gradients during the last backward pass.
    pub overlap: bool,
}

/// Schedule of a training pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineSchedule {
    /// One forward, one backward.
    OneForwardOneBackward,
    /// The same with up to four virtual stages per rank.
    Interleaved,
    /// Weight gradients fill the bubble.
    ZeroBubble,
}

impl PipelineSchedule {
    /// The schedule of this name, one of [`PIPELINES`](crate::specs::grid::PIPELINES).
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "1f1b" => Some(Self::OneForwardOneBackward),
            "interleaved" => Some(Self::Interleaved),
            "zero-bubble" => Some(Self::ZeroBubble),
            _ => None,
        }
    }
}

impl Request {
    /// A question with nothing pinned, at the default lengths and limits.
    pub fn new(model: Model, chip: ChipModel, fabric: Fabric, chips: u32, phase: Phase) -> Self {
        let (workload, pins) = (Workload::default(), Pins::default());
        Self { model, chip, fabric, chips, phase, number_type: None, cache_type: None, workload, pins, framework: None }
    }

    /// The same question on another fabric.
    #[must_use]
    pub fn on(&self, fabric: Fabric) -> Self {
        Self { fabric, ..self.clone() }
    }

    /// The same question without a limit on the time per output token.
    #[must_use]
    pub fn without_limit(&self) -> Self {
        Self { workload: Workload { tpot_limit_s: f64::INFINITY, ..self.workload.clone() }, ..self.clone() }
    }

    /// The same question with this plan alone, whatever its latency.
    #[must_use]
    pub fn with_plan(&self, plan: &ParallelPlan) -> Self {
        Self { pins: plan.into(), ..self.without_limit() }
    }

    /// The type of weights, and of matrix products where the chip has units for it: the one asked for, or the chip's
    /// default.
    pub fn type_in_use(&self) -> NumberType {
        self.number_type.unwrap_or_else(|| self.chip.default_type(self.phase))
    }

    /// The type that matrix products run in. Serving may widen weights that the chip has no unit for; training updates
    /// them, so that it would be training in the wider type.
    pub fn product_type(&self) -> NumberType {
        let stored = self.type_in_use();
        if self.phase == Phase::Training { stored } else { self.chip.product_type(stored) }
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            prompt_len: 4096.0,
            kv_len: 4096.0,
            tpot_limit_s: 0.05,
            tpot_limit_binds: false,
            mtp_tokens: 0,
            mtp_acceptance: 0.7,
            sequence_len: 4096.0,
            global_batch_tokens: 4.0 * 1024.0 * 1024.0,
            microbatch_sequences: 1.0,
            virtual_stages: None,
            chunk_tokens: f64::INFINITY,
            expert_load: ExpertLoad::Replicated,
            skew: 1.0,
            sharded_weights: false,
            pipeline: PipelineSchedule::Interleaved,
            overlap: true,
        }
    }
}

/// Parts of the plan that are given; the others are searched.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pins {
    /// Tensor-parallel degree.
    pub tp: Option<u32>,
    /// PipelineSchedule stages.
    pub pp: Option<u32>,
    /// Groups of ranks that share the experts.
    pub ep: Option<u32>,
    /// Ranks that split each expert; 1 unless given.
    pub moe_tp: Option<u32>,
    /// How tokens reach the experts; by all-to-all unless given.
    pub moe_exchange: Option<ExpertExchange>,
    /// Replicas of attention.
    pub dp: Option<u32>,
    /// Context-parallel degree; 1 unless given.
    pub cp: Option<u32>,
    /// Decode context parallel degree; 1 unless given.
    pub dcp: Option<u32>,
    /// Micro-batches.
    pub microbatches: Option<u32>,
    /// Sequences or prompts per chip and step.
    pub batch_per_chip: Option<f64>,
}

impl From<&ParallelPlan> for Pins {
    /// Nothing is left to search.
    fn from(plan: &ParallelPlan) -> Self {
        Self {
            tp: Some(plan.tp),
            pp: Some(plan.pp),
            ep: Some(plan.ep),
            moe_tp: Some(plan.moe_tp),
            moe_exchange: Some(plan.moe_exchange),
            dp: Some(plan.dp),
            cp: Some(plan.cp),
            dcp: Some(plan.dcp),
            microbatches: Some(plan.microbatches),
            batch_per_chip: Some(plan.batch_per_chip),
        }
    }
}

/// Why no plan answers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Infeasible {
    /// More chips than the fabric joins.
    #[error("{fabric} joins at most {most} chips, {asked} were asked for; give --chips {most} or fewer")]
    TooManyChips {
        /// The fabric.
        fabric: String,
        /// Asked for.
        asked: u32,
        /// What it joins.
        most: u64,
    },
    /// The chip has no unit for this type.
    #[error("{chip} does not compute in {asked}; give --type {offered}")]
    NoSuchType {
        /// The chip.
        chip: String,
        /// Asked for.
        asked: &'static str,
        /// What it computes in.
        offered: String,
    },
    /// The degrees do not go together.
    #[error("no plan on {chips} chips: {reason}")]
    Split {
        /// Chips in use.
        chips: u32,
        /// Which degrees clash, and what would do.
        reason: String,
    },
    /// Even the plan that comes nearest does not fit.
    #[error(
        "not enough memory: the plan that comes nearest (tp {} pp {} ep {} dp {}) needs {:.1} GB a chip, {:.1} GB more than there are; use more chips or a smaller type or batch",
        plan.tp, plan.pp, plan.ep, plan.dp, needed_bytes / 1e9, over_bytes / 1e9
    )]
    Memory {
        /// The plan that comes nearest.
        plan: ParallelPlan,
        /// What it needs per chip.
        needed_bytes: f64,
        /// By how much that is too much.
        over_bytes: f64,
    },
    /// No plan keeps the time per token.
    #[error(
        "no plan keeps {:.1} ms a token; the fastest takes {:.1} ms: raise --tpot-limit-ms",
        limit_s * 1e3, best_s * 1e3
    )]
    Latency {
        /// The limit.
        limit_s: f64,
        /// The fastest plan's time.
        best_s: f64,
    },
}
