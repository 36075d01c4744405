//! What is asked of a network, and what it answers.

use serde::Serialize;

use crate::projection::expert_load::ExpertLoad;
use crate::projection::fabric::direction::Direction;
use crate::projection::fabric::mode::Mode;
use crate::projection::fabric::network::NetworkError;
use crate::projection::fabric::placement::{Experts, LoadError};

/// Elements of a token on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// 8-bit floats, a 4-byte scale for each 128 and 16 bytes of metadata (DeepEP).
    Fp8,
    /// 8-bit integers and 512 bytes of scale (arXiv:2506.12708, 4.2.1: 7.5 KB for a hidden size of 7168).
    Int8,
    /// Two bytes an element.
    Bf16,
}

impl Payload {
    /// Bytes of one token of `hidden` elements.
    pub fn bytes(self, hidden: f64) -> f64 {
        match self {
            Self::Fp8 => hidden + 4.0 * (hidden / 128.0).ceil() + 16.0,
            Self::Int8 => hidden + 512.0,
            Self::Bf16 => 2.0 * hidden,
        }
    }
}

/// A dispatch or combine.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Which way.
    pub direction: Direction,
    /// Which kernels run.
    pub mode: Mode,
    /// Tokens per rank.
    pub tokens: f64,
    /// Elements per token.
    pub hidden: f64,
    /// What travels.
    pub payload: Payload,
    /// Experts on ranks.
    pub experts: Experts,
    /// How tokens are spread.
    pub load: ExpertLoad,
    /// The most nodes per token, where the router limits them.
    pub most_groups: Option<f64>,
}

/// Time of a collective, its parts, and what sets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// From the first byte's issue to the last one's arrival.
    pub latency_s: f64,
    /// Bytes per rank over the latency, counted as the published tables do: each copy, those that stay included; with
    /// two levels, one copy per node.
    pub bandwidth_bytes_per_s: f64,
    /// How it is carried out.
    pub algorithm: &'static str,
    /// The busiest resource.
    pub hottest_link: String,
    /// The rank with the most traffic through its ports.
    pub hottest_rank: usize,
    /// Its load over the mean.
    pub hottest_rank_load: f64,
    /// The most loaded expert over the mean.
    pub hottest_expert_load: f64,
    /// Latency over that with uniform load.
    pub slowdown: f64,
    /// What faults cost: latency over that of the whole fabric.
    pub fault_slowdown: f64,
    /// Parts that add up to the latency.
    pub parts: Parts,
}

/// Parts of a latency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Parts {
    /// Latency of the outermost tier in use.
    pub path_s: f64,
    /// Fixed cost: launch, counts, flags.
    pub fixed_s: f64,
    /// Issue of copies by the sender's cores.
    pub copies_s: f64,
    /// Bytes over bandwidth of the busiest resource.
    pub transfer_s: f64,
}

impl Parts {
    /// The latency.
    pub fn total(&self) -> f64 {
        self.path_s + self.fixed_s + self.copies_s + self.transfer_s
    }
}

/// Why a collective has no time.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExchangeError {
    /// Ranks or faults that do not fit.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Experts that do not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Faults leave no way.
    #[error(
        "cut off: {faults} leaves no way for {pairs} of {of} pairs of ranks, e.g. {from} to {to}; {served:.1} % of the pairs are served"
    )]
    CutOff {
        /// Which faults.
        faults: String,
        /// Ordered pairs without a way.
        pairs: usize,
        /// All ordered pairs.
        of: usize,
        /// One of them.
        from: usize,
        /// One of them.
        to: usize,
        /// Share of the pairs that remain, in percent.
        served: f64,
    },
}
