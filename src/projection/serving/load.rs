//! What users ask of a deployment: how many at once or how often, how long, and how long they wait at most.

use serde::Serialize;

/// Tokens of prompts in one step where nothing else is said (assumed: the default of vLLM's server and of SGLang on
/// GPUs of 80 GB and more is 8192).
pub const DEFAULT_CHUNK_TOKENS: f64 = 8192.0;

/// How requests arrive, over all chips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServingLoad {
    /// So many clients, each of which asks again as soon as it is answered.
    Concurrency(f64),
    /// Requests per second, independent of each other (Poisson).
    RequestRate(f64),
}

/// Lengths of a request, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lengths {
    /// Of the prompt.
    pub prompt: f64,
    /// Of the answer; the first token comes from the prompt's pass.
    pub output: f64,
    /// Share of the prompt whose keys and values are cached already.
    pub cached: f64,
    /// Coefficient of variation of prompts and of answers, each log-normal with these means: 0 if all are the same.
    pub spread: f64,
}

impl Lengths {
    /// Tokens of the prompt that are computed: one at least.
    pub fn computed(&self) -> f64 {
        (self.prompt * (1.0 - self.cached)).max(1.0)
    }

    /// Tokens of the prompt that are in the cache already.
    pub fn before(&self) -> f64 {
        self.prompt - self.computed()
    }

    /// Mean tokens in the KV cache of a sequence in decode: long answers are met more often.
    pub fn in_decode(&self) -> f64 {
        self.prompt + self.output / 2.0 * (1.0 + self.spread * self.spread)
    }

    /// Tokens for which a request reserves memory, so that nothing has to be preempted (assumed).
    pub fn reserved(&self) -> f64 {
        self.prompt + self.output
    }
}

/// What a user accepts, in seconds; infinite for anything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServiceLimits {
    /// Time to the first token.
    pub ttft_s: f64,
    /// Time per output token after the first.
    pub tpot_s: f64,
}

impl ServiceLimits {
    /// Anything is accepted.
    pub const NONE: Self = Self { ttft_s: f64::INFINITY, tpot_s: f64::INFINITY };

    /// The factor by which the times miss the limit that they miss most; at most 1 where they keep both.
    pub fn excess(&self, ttft_s: f64, tpot_s: f64) -> f64 {
        (ttft_s / self.ttft_s).max(tpot_s / self.tpot_s)
    }

    /// Whether both times keep them.
    pub fn keep(&self, ttft_s: f64, tpot_s: f64) -> bool {
        ttft_s <= self.ttft_s && tpot_s <= self.tpot_s
    }
}

/// Which chips compute what.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum ServingMode {
    /// All chips compute prompts and answers.
    #[default]
    Aggregated,
    /// Workers for prompts and workers for answers.
    Disaggregated {
        /// What is given of the former.
        prefill: WorkerPins,
        /// What is given of the latter.
        decode: WorkerPins,
    },
    /// Workers for prompts, and workers for answers whose attention and experts lie on different chips.
    AttentionFfn {
        /// What is given of the former.
        prefill: WorkerPins,
        /// What is given of the latter.
        decode: ApartPins,
    },
    /// Each of these, with nothing given: in a search alone.
    Any,
}

/// What is given of a worker whose attention and experts lie on different chips; the rest is searched.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ApartPins {
    /// How many.
    pub workers: Option<u32>,
    /// Attention workers in each, which take turns at its experts.
    pub attention_workers: Option<u32>,
    /// Tensor-parallel degree of attention.
    pub attention_tp: Option<u32>,
    /// Replicas of attention in an attention worker.
    pub attention_dp: Option<u32>,
    /// Groups of ranks that share the experts.
    pub ffn_ep: Option<u32>,
    /// Ranks of such a group, which split each expert.
    pub ffn_tp: Option<u32>,
    /// Micro-batches of an attention worker.
    pub microbatches: Option<u32>,
}

/// What is given of a kind of worker; the rest is searched.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct WorkerPins {
    /// How many.
    pub workers: Option<u32>,
    /// Tensor-parallel degree.
    pub tp: Option<u32>,
    /// Replicas of attention.
    pub dp: Option<u32>,
    /// Ranks that share the experts.
    pub ep: Option<u32>,
}
