//! The layout of what is worked out from the records of a fleet: the spread of each case, and devices that differ.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::ceiling::CeilingKind;
use crate::kernels::{Family, KernelPhase};
use crate::units::Seconds;

/// When a device counts as an outlier: both its score and its share are reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutlierCriterion {
    /// The least modified z-score: `0.6745 * |x - median| / MAD` over the ranks (Iglewicz and Hoaglin, 1993).
    pub least_score: f64,
    /// The least distance from the median, as a share of it.
    pub least_share: f64,
    /// With fewer ranks than this, none is an outlier.
    pub fewest_ranks: u32,
}

impl Default for OutlierCriterion {
    fn default() -> Self {
        Self { least_score: 3.5, least_share: 0.05, fewest_ranks: 3 }
    }
}

/// One case over all ranks that measured it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseSpread {
    /// The case.
    pub id: String,
    /// Ranks that measured it.
    pub ranks: u32,
    /// Median over the ranks of their median times.
    pub median_s: Seconds,
    /// Median absolute deviation of their median times.
    pub mad_s: Seconds,
    /// The fastest rank.
    pub fastest: RankTime,
    /// The slowest rank.
    pub slowest: RankTime,
    /// The time among measuring neighbours over the time alone, its median over the ranks that measured both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together_over_alone: Option<f64>,
}

/// A rank's median time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RankTime {
    /// The rank.
    pub rank: u32,
    /// Its median time.
    pub median_s: Seconds,
}

/// A device that differs from the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceOutlier {
    /// The rank that measured it.
    pub rank: u32,
    /// In what it differs.
    pub subject: OutlierSubject,
    /// Its time over the median of all ranks: above 1 it is slower. For several cases the median of these ratios.
    pub time_ratio: f64,
    /// Its modified z-score.
    pub score: f64,
    /// Why, as far as its record tells.
    pub cause: SlowCause,
}

/// In what a device differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum OutlierSubject {
    /// The cases of a family in a phase.
    Kernels {
        /// The family.
        family: Family,
        /// The phase.
        phase: KernelPhase,
    },
    /// A measured roof.
    Ceiling {
        /// Which.
        ceiling: CeilingKind,
    },
}

/// Why a device differs, from what its record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SlowCause {
    /// Its rate of arithmetic differs as much, and its memory does not: its clocks.
    Clocks,
    /// Its memory's bandwidth differs as much, and its arithmetic does not.
    Memory,
    /// Its arithmetic and its memory differ as much: the whole device, or who else uses it.
    Device,
    /// Measured alone, it does not differ as much: its neighbours.
    Neighbours,
    /// Another variant of the kernels was chosen on it.
    Variant,
    /// Its record does not tell.
    Unknown,
}
