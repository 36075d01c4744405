//! The layout of a fleet document.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::device::{Host, Tool};
use super::super::document::Record;
use super::super::protocol::Selection;
use super::network::FleetNetwork;
use super::outlier::{CaseSpread, DeviceOutlier, OutlierCriterion};
use crate::kernels::cases::Preset;
use crate::units::{BytesPerSecond, FlopPerSecond};

/// The version of the layout of a fleet document. A reader refuses a newer one. The records in it have a version of their
/// own, [`SCHEMA_VERSION`](crate::record::SCHEMA_VERSION).
pub const FLEET_SCHEMA_VERSION: u32 = 1;

/// A fleet document: one record per rank, one rank per device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetRecord {
    /// [`FLEET_SCHEMA_VERSION`] of the writer.
    pub fleet_schema_version: u32,
    /// Whether everything that was planned is in it: a complete record of each rank, those taken alone, and the network.
    pub complete: bool,
    /// When the document was begun, RFC 3339, UTC.
    pub created_at: String,
    /// What measured; the same on every rank.
    pub tool: Tool,
    /// The MPI library as it names itself; absent where the document was gathered from files of ranks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mpi_library: Option<String>,
    /// What every rank was asked for.
    pub plan: FleetPlan,
    /// The sizes that all cases stayed within, so that all ranks measured the same ones; absent where the ranks did not come
    /// so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<FleetCapacity>,
    /// The computers, in the order of their first rank.
    pub hosts: Vec<FleetHost>,
    /// What each rank measured, ascending by rank. A rank that left nothing is not in the list.
    pub ranks: Vec<FleetRank>,
    /// The network between the ranks; absent where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<FleetNetwork>,
    /// When a device counts as an outlier.
    pub criterion: OutlierCriterion,
    /// Each case over all ranks that measured it, in the order of measurement. A reader works it out anew.
    pub spread: Vec<CaseSpread>,
    /// Devices that differ from the others, the farthest first. A reader works them out anew.
    pub outliers: Vec<DeviceOutlier>,
    /// What to keep in mind about the whole.
    pub caveats: Vec<FleetCaveat>,
}

/// What every rank was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetPlan {
    /// Ranks that were started, each of which was to measure one device.
    pub ranks: u32,
    /// The set of shapes.
    pub preset: Preset,
    /// Seed of all inputs.
    pub seed: u64,
    /// Only cases whose id contains one of these; all where empty.
    pub only: Vec<String>,
    /// Which variants were timed in full.
    pub selection: Selection,
    /// Whether shaders kept wgpu's checks.
    pub runtime_checks: bool,
    /// Whether several ranks of a computer could take one device.
    pub share_devices: bool,
    /// Cases whose id contains one of these were measured a second time, while no neighbour on the same computer measured.
    /// Empty where that was not asked for.
    pub alone: Vec<String>,
    /// Whether the network was to be measured.
    pub network: bool,
}

/// How large a case could be: the least of all ranks in each value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetCapacity {
    /// The roof of f32 arithmetic; absent for no limit of its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arithmetic_flop_per_s: Option<FlopPerSecond>,
    /// The roof of memory; absent for no limit of its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes_per_s: Option<BytesPerSecond>,
    /// Bytes of all buffers of a case together.
    pub case_bytes: u64,
    /// Bytes of one buffer.
    pub buffer_bytes: u64,
}

/// A computer with some of the ranks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetHost {
    /// Its name in the network, as MPI gives it.
    pub name: String,
    /// The computer.
    pub host: Host,
}

/// What one rank measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetRank {
    /// Its number among all ranks.
    pub rank: u32,
    /// Index of its computer in [`FleetRecord::hosts`].
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

/// What to keep in mind about a fleet document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum FleetCaveat {
    /// Several ranks of a computer measured one device at the same time.
    SharedDevices {
        /// Ranks that had a device together with another rank.
        ranks: u32,
    },
    /// A test made the times of a rank longer than they were.
    InjectedSlowdown {
        /// The rank.
        rank: u32,
        /// Factor on its times.
        factor: f64,
    },
    /// Two fleets were put together: nothing was measured between them.
    Merged {
        /// Ranks below this number are those of the first.
        first_of_second: u32,
    },
}

impl fmt::Display for FleetCaveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedDevices { ranks } => write!(
                f,
                "shared devices: {ranks} ranks had no device of their own, so their times are those of a device that did \
                 the work of several"
            ),
            Self::InjectedSlowdown { rank, factor } => {
                write!(
                    f,
                    "a test: the times of rank {rank} were multiplied by {factor}, so they say nothing of its device"
                )
            }
            Self::Merged { first_of_second } => write!(
                f,
                "merged: ranks from {first_of_second} on are of a second run, and nothing was measured between the two"
            ),
        }
    }
}

impl FleetRecord {
    /// Ranks of which something that was planned is missing, ascending.
    pub fn lacking(&self) -> Vec<u32> {
        let whole = |rank: &FleetRank| {
            let alone = self.plan.alone.is_empty() || rank.alone.as_ref().is_some_and(|alone| alone.complete);
            rank.record.as_ref().is_some_and(|record| record.complete) && alone
        };
        (0..self.plan.ranks).filter(|&rank| !self.rank(rank).is_some_and(whole)).collect()
    }

    /// What this rank left; `None` where it left nothing.
    pub fn rank(&self, rank: u32) -> Option<&FleetRank> {
        let at = self.ranks.binary_search_by_key(&rank, |one| one.rank).ok()?;
        self.ranks.get(at)
    }

    /// The name of the computer of a rank; empty where the rank left nothing.
    pub fn host_of(&self, rank: u32) -> &str {
        let host = self.rank(rank).and_then(|rank| self.hosts.get(rank.host as usize));
        host.map_or("", |host| host.name.as_str())
    }

    /// The complete and the partial records, each with its rank.
    pub fn records(&self) -> impl Iterator<Item = (&FleetRank, &Record)> {
        self.ranks.iter().filter_map(|rank| Some((rank, rank.record.as_ref()?)))
    }
}
