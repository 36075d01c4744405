//! What one rank of a fleet measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::document::Record;

/// What one rank measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetRank {
    /// Its number among all ranks.
    pub rank: u32,
    /// Index of its computer in the list of `hosts`.
    pub host: u32,
    /// Its number among the ranks of its computer; it decides which device the rank takes.
    pub local_rank: u32,
    /// The device measured while all others measured; absent where the rank ended before its first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// The device measured while its neighbours waited; absent where that was not asked for or not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<Record>,
    /// Why the rank has no complete record, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
