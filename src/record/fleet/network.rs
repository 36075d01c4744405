//! What was seen of the network between the ranks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::statistics::{Summary, summarise};
use crate::units::Seconds;

/// The network between the ranks of a fleet. Every transfer's data was checked before it was timed, and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetNetwork {
    /// Where the messages lay.
    pub memory: MessageMemory,
    /// Whether `pairs` has every pair of ranks; else a sample of them.
    pub all_pairs: bool,
    /// Point to point, one pair at a time while all others waited.
    pub pairs: Vec<PairTime>,
    /// Collectives of consecutive ranks.
    pub collectives: Vec<CollectiveTime>,
    /// Transfers that brought wrong data: never timed.
    pub refused: Vec<RefusedTransfer>,
}

/// Where messages lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageMemory {
    /// The computers' main memory: the way from and to the devices is not in the times.
    Host,
}

/// A message from one rank to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairTime {
    /// The rank that sends first.
    pub from: u32,
    /// The rank that answers with a message of the same size.
    pub to: u32,
    /// Size of one message.
    pub bytes: u64,
    /// Time of one message one way: half of a round trip.
    pub timing: TransferTiming,
}

/// The collectives that a projection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FleetCollective {
    /// Sum over all members, everywhere.
    AllReduce,
    /// All members' shards, everywhere.
    AllGather,
    /// Sum over all members, a shard each.
    ReduceScatter,
    /// Each token once to every rank that holds one of its experts (all-to-allv).
    Dispatch,
    /// The experts' outputs back to the tokens' ranks: the dispatch turned round, with wider elements (all-to-allv).
    Combine,
}

impl FleetCollective {
    /// The name shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllReduce => "all-reduce",
            Self::AllGather => "all-gather",
            Self::ReduceScatter => "reduce-scatter",
            Self::Dispatch => "dispatch",
            Self::Combine => "combine",
        }
    }
}

/// A collective of some ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectiveTime {
    /// Which.
    pub collective: FleetCollective,
    /// The first of the ranks that took part; the others follow it without a gap.
    pub first_rank: u32,
    /// How many took part.
    pub ranks: u32,
    /// What is counted: of an all-reduce a member's buffer, of an all-gather the gathered whole, of a reduce-scatter the
    /// whole before it is scattered; of dispatch and combine the most that one rank sends to others, or receives from them.
    pub bytes: u64,
    /// The tokens of a dispatch or a combine; absent for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TokenTraffic>,
    /// From a barrier to the end on the last rank.
    pub timing: TransferTiming,
}

/// Tokens on their way to experts, which lie on the ranks in order and in equal numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenTraffic {
    /// How tokens spread over experts.
    pub load: TokenLoad,
    /// The model whose experts and width were taken.
    pub model: String,
    /// Tokens of each rank.
    pub tokens: u32,
    /// Routed experts.
    pub experts: u32,
    /// Experts per token.
    pub top_k: u32,
    /// Size of one token on this way.
    pub token_bytes: u64,
    /// The most bytes that one rank sends to others.
    pub most_sent: u64,
    /// The most bytes that one rank receives from others.
    pub most_received: u64,
}

/// How tokens spread over experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenLoad {
    /// Each expert is equally likely.
    Uniform,
    /// Expert `e` is as likely as `1 / (e + 1)`.
    PowerLaw,
    /// As the gate of the first rank routed in its record.
    Measured,
}

impl TokenLoad {
    /// The name shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::PowerLaw => "power law",
            Self::Measured => "as measured",
        }
    }
}

/// Samples of a transfer. All times are of ONE transfer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferTiming {
    /// Transfers inside one sample; its time is divided by this.
    pub repeats: u32,
    /// Every sample, in order, each that of the slowest rank.
    pub samples_s: Vec<Seconds>,
    /// Median of the samples.
    pub median_s: Seconds,
    /// Median absolute deviation from the median.
    pub mad_s: Seconds,
    /// 95 % confidence interval of the median, from order statistics.
    pub ci95_s: [Seconds; 2],
}

impl TransferTiming {
    /// The statistics of some samples; `None` where there are none.
    pub fn of(repeats: u32, samples_s: Vec<Seconds>) -> Option<Self> {
        let Summary { median, mad, ci95 } = summarise(&samples_s)?;
        Some(Self { repeats, samples_s, median_s: median, mad_s: mad, ci95_s: ci95 })
    }
}

/// A transfer that brought wrong data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefusedTransfer {
    /// Which transfer, in words.
    pub what: String,
    /// The rank that received it.
    pub rank: u32,
    /// What was wrong.
    pub reason: String,
}
