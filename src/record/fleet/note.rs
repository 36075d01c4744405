//! What each rank leaves beside its journals, so that a document can be made of a run that died.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::device::Tool;
use super::document::{FleetCapacity, FleetHost, FleetPlan};

/// Who a rank is: written before it measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RankNote {
    /// Version of the layout of fleet documents.
    pub fleet_schema_version: u32,
    /// When the run began, RFC 3339, UTC; the same on all ranks.
    pub created_at: String,
    /// What measures.
    pub tool: Tool,
    /// What every rank was asked for.
    pub plan: FleetPlan,
    /// The sizes that all cases stay within; absent until all ranks have measured their roofs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<FleetCapacity>,
    /// The rank.
    pub rank: u32,
    /// Its number among the ranks of its computer.
    pub local_rank: u32,
    /// Its computer.
    pub host: FleetHost,
}

/// The files of one rank, in the folder beside the fleet document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankFiles {
    /// Its [`RankNote`].
    pub note: PathBuf,
    /// The journal of the run with all others.
    pub record: PathBuf,
    /// The journal of the run alone.
    pub alone: PathBuf,
}

impl RankFiles {
    /// The folder of the ranks' files of a fleet document: `fleet.json` has `fleet.ranks`.
    pub fn folder(document: &Path) -> PathBuf {
        document.with_extension("ranks")
    }

    /// The files of a rank in this folder.
    pub fn of(folder: &Path, rank: u32) -> Self {
        let named = |kind: &str| folder.join(format!("rank-{rank:05}.{kind}.json"));
        Self { note: named("note"), record: named("record"), alone: named("alone") }
    }

    /// Whether a file of this name is one that a rank leaves.
    pub fn is_one(name: &str) -> bool {
        let Some(rest) = name.strip_prefix("rank-") else { return false };
        let Some((number, kind)) = rest.split_once('.') else { return false };
        number.chars().all(|c| c.is_ascii_digit()) && matches!(kind, "note.json" | "record.json" | "alone.json")
    }
}
