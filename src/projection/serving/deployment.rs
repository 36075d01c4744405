//! A deployment under a load: which engines there are, and what they deliver.

use serde::Serialize;

use crate::projection::parallel_plan::{ExpertWorker, ParallelPlan};
use crate::projection::phases::tokens_per_step;
use crate::projection::request::Request;
use crate::projection::serving::engine::Engine;
use crate::projection::serving::load::{Lengths, ServingLoad};

/// What runs on which chips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Deployment {
    /// All chips compute prompts and answers.
    Aggregated {
        /// How the model is split over them; its batch is the sequences in decode.
        plan: ParallelPlan,
    },
    /// Some chips compute prompts, the others answers.
    Disaggregated {
        /// Copies of the plan for prompts.
        prefill_workers: u32,
        /// That plan.
        prefill: ParallelPlan,
        /// Copies of the plan for answers.
        decode_workers: u32,
        /// That plan; its batch is the sequences in decode.
        decode: ParallelPlan,
    },
    /// The same with attention and experts of the latter on different chips.
    AttentionFfn {
        /// Copies of the plan for prompts.
        prefill_workers: u32,
        /// That plan.
        prefill: ParallelPlan,
        /// Copies of the plan for answers, each with its experts.
        decode_workers: u32,
        /// The plan of all its attention workers; its batch is the sequences in decode, per chip with attention.
        attention: ParallelPlan,
        /// Its experts.
        experts: ExpertWorker,
    },
}

impl Deployment {
    /// The plan of the chips that compute answers, or their attention, and the experts where these lie elsewhere.
    pub fn answering(&self) -> (&ParallelPlan, Option<&ExpertWorker>) {
        match self {
            Self::Aggregated { plan } | Self::Disaggregated { decode: plan, .. } => (plan, None),
            Self::AttentionFfn { attention, experts, .. } => (attention, Some(experts)),
        }
    }

    /// Chips in use.
    pub fn chips(&self) -> f64 {
        let product = |count: u32, chips: u32| f64::from(count) * f64::from(chips);
        match self {
            Self::Aggregated { plan } => f64::from(plan.chips),
            Self::Disaggregated { prefill_workers, prefill, decode_workers, decode } => {
                product(*prefill_workers, prefill.chips) + product(*decode_workers, decode.chips)
            }
            Self::AttentionFfn { prefill_workers, prefill, decode_workers, attention, experts } => {
                let answers = product(*decode_workers, attention.chips) + product(*decode_workers, experts.chips);
                product(*prefill_workers, prefill.chips) + answers
            }
        }
    }
}

/// A deployment and what it delivers on average, in closed form.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ServingPoint {
    /// The deployment.
    pub deployment: Deployment,
    /// Requests that are being answered or wait, over all chips.
    pub concurrency: f64,
    /// Requests per second over all chips.
    pub request_rate: f64,
    /// Time to the first token, seconds.
    pub ttft_s: f64,
    /// Time per output token after the first, seconds.
    pub tpot_s: f64,
    /// Output tokens per second and chip.
    pub tokens_per_s_per_chip: f64,
    /// Output tokens per second of a user while the answer comes: one over the time per token.
    pub tokens_per_s_per_user: f64,
}

/// Averages of the requests on a deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanTimes {
    /// Requests per second over all chips.
    pub request_rate: f64,
    /// Time to the first token, seconds.
    pub ttft_s: f64,
    /// Time per output token, seconds.
    pub tpot_s: f64,
}

impl ServingPoint {
    /// The load that was searched: clients of an aggregated deployment, a rate of others.
    pub fn load(&self) -> ServingLoad {
        match self.deployment {
            Deployment::Aggregated { .. } => ServingLoad::Concurrency(self.concurrency.round().max(1.0)),
            Deployment::Disaggregated { .. } | Deployment::AttentionFfn { .. } => {
                ServingLoad::RequestRate(self.request_rate)
            }
        }
    }

    /// The same with so many seconds more before the first token, in which no chip works on the request.
    #[must_use]
    pub fn later(self, seconds: f64) -> Self {
        Self { ttft_s: self.ttft_s + seconds, ..self }
    }

    /// The point of a deployment with these averages. Its concurrency follows from them (Little's law).
    pub fn new(deployment: Deployment, lengths: &Lengths, mean: MeanTimes) -> Self {
        let MeanTimes { request_rate, ttft_s, tpot_s } = mean;
        Self {
            deployment,
            concurrency: request_rate * (ttft_s + (lengths.output - 1.0) * tpot_s),
            request_rate,
            ttft_s,
            tpot_s,
            tokens_per_s_per_chip: request_rate * lengths.output / deployment.chips(),
            tokens_per_s_per_user: 1.0 / tpot_s,
        }
    }
}

/// The engines of one plan under a load; `None` if they cannot keep up, or have no memory for a request.
pub fn aggregated(engine: &Engine<'_>, load: ServingLoad, lengths: &Lengths) -> Option<ServingPoint> {
    let state = engine.steady(load, lengths)?;
    let plan = with_batch(engine.plan, state.decoding * engine.count());
    let mean = MeanTimes {
        request_rate: state.request_rate * engine.count(),
        ttft_s: state.ttft_s,
        tpot_s: per_token(engine.request, lengths, state.step_s),
    };
    Some(ServingPoint::new(Deployment::Aggregated { plan }, lengths, mean).later(engine.request.chip.request_s()))
}

/// Time per output token of a sequence whose steps take `step_s`. The last step of speculation may have tokens too many.
pub fn per_token(request: &Request, lengths: &Lengths, step_s: f64) -> f64 {
    let after = (lengths.output - 1.0).max(1.0);
    (after / tokens_per_step(request)).ceil() * step_s / after
}

/// A plan with so many sequences in decode on all its chips.
pub fn with_batch(plan: &ParallelPlan, sequences: f64) -> ParallelPlan {
    ParallelPlan { batch_per_chip: sequences / f64::from(plan.chips), ..*plan }
}
