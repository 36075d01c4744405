//! What is asked of a deployment, and why there may be no answer.

use crate::projection::request::{Infeasible, Request};
use crate::projection::serving::load::{Lengths, ServiceLimits, ServingLoad, ServingMode};
use crate::projection::serving::trace::TraceRequest;

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct ServingRequest {
    /// Model, chip, fabric, chips, speculation and pins; its phase is decode.
    pub on: Request,
    /// The load; the one with the highest throughput within the limits if there is none.
    pub load: Option<ServingLoad>,
    /// Lengths of a request.
    pub lengths: Lengths,
    /// Requests as they were seen, instead of a load and lengths.
    pub trace: Vec<TraceRequest>,
    /// Whether the beginnings that a trace's prompts share are cached.
    pub caches_repeats: bool,
    /// Limits, for the choice of a deployment and for goodput.
    pub limits: ServiceLimits,
    /// Whether a deployment beyond the limits is refused.
    pub limits_bind: bool,
    /// The most prompt tokens of a step.
    pub chunk: f64,
    /// Which chips compute what.
    pub mode: ServingMode,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ServingRefusal {
    /// No plan exists or fits.
    #[error(transparent)]
    Infeasible(#[from] Infeasible),
    /// More requests come than any deployment answers.
    #[error(
        "unstable above {most:.3} requests/s, {asked} were asked for; use more chips or --request-rate {most:.3} at most"
    )]
    Unstable {
        /// Asked for, per second.
        asked: f64,
        /// What the deployment with the highest throughput answers, per second.
        most: f64,
    },
    /// No deployment keeps the limits.
    #[error(
        "no deployment keeps the limits; the nearest has {:.1} ms to the first token and {:.2} ms a token: raise --ttft-limit-ms or --tpot-limit-ms, or lower the load",
        ttft_s * 1e3, tpot_s * 1e3
    )]
    Limits {
        /// Time to the first token of the nearest, seconds.
        ttft_s: f64,
        /// Its time per output token, seconds.
        tpot_s: f64,
    },
    /// Context parallelism is not modelled beside continuous batching.
    #[error("cp {0} is not modelled in serving; leave out --cp")]
    ContextParallel(u32),
}
