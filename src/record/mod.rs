//! The JSON document: what was seen on one device, in one run.
//!
//! One struct is the schema ([`Record`]); `supernode schema` prints it as JSON Schema. Left of this module a GPU is
//! needed, right of it everything works from files. A stored [`Case`] always carries its [`Verification`]: there is no
//! way to write down a speed without saying that the result was right.

mod case;
mod caveat;
mod ceiling;
mod io;
mod journal;
mod lock;
mod routing;
mod validate;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use case::{Achieved, Bound, CacheState, Candidate, Case, LeftOut, Part, Rejected, Second, Timing, Tuning};
pub use caveat::Caveat;
pub use ceiling::{CachePoint, Ceiling, CeilingKind, LastLevelCache, Quantity};
pub use io::{RecordError, load, parse, save, schema, write_atomically};
pub use journal::{Journal, ResumeError};
pub use lock::{Lock, Locked};
pub(crate) use validate::printable;

pub use crate::kernels::cases::Preset;
pub use crate::kernels::probes::FmaForm;
use crate::kernels::{Element, Operation};
pub use crate::kernels::{Metric, Verification, Worst};
use crate::units::{Bytes, BytesPerSecond, FlopPerSecond, Seconds};

/// The version of the document's layout. A reader refuses a newer one.
///
/// Version 2 added, each with a default that says what version 1 meant: how variants were selected
/// ([`Protocol::selection`], all of them), the reference kernel ([`Record::reference`], none), and of a case its state
/// of caches (cold), typed operations, issued arithmetic, tuning, parts and the fraction of each ceiling (not told). A
/// document of version 1 is therefore read as it stands; when it is written again it is one of the newest version.
///
/// Version 4 added, each absent where it was not told: compilation times, the duel of the two best variants.
///
/// Version 3 added the routing of the cases that make one ([`Case::tokens_per_expert`]), empty where it was not told, and
/// where the time of the run went ([`Record::time_spent`]).
pub const SCHEMA_VERSION: u32 = 4;

/// A result document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// False until every planned case is measured, left out or rejected.
    pub complete: bool,
    /// Start of the run, RFC 3339, UTC.
    pub created_at: String,
    /// What wrote the document.
    pub tool: Tool,
    /// The machine around the device.
    pub host: Host,
    /// The device that was measured.
    pub device: Device,
    /// How it was measured.
    pub protocol: Protocol,
    /// What bounds the whole run, for better or worse.
    pub caveats: Vec<Caveat>,
    /// Measured roofs, by kind.
    pub ceilings: BTreeMap<CeilingKind, Ceiling>,
    /// The fixed kernel that was timed between the cases, to see the device slow down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// Where the time went; absent in documents of before it was told, and in those of runs that did not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_spent: Option<TimeSpent>,
    /// Ids of all cases of this preset on this device, in order of measurement.
    pub planned: Vec<String>,
    /// Verified and timed kernel cases.
    pub cases: Vec<Case>,
    /// Cases that this device cannot run, and why.
    pub left_out: Vec<LeftOut>,
    /// Cases whose result was wrong or whose launch failed: never timed.
    pub rejected: Vec<Rejected>,
}

/// Where the time of a run went. What is in no part is the tool's own: planning, statistics, writing the document.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeSpent {
    /// From the opened device to the last case.
    pub wall_s: Seconds,
    /// From submission to the end of the wait, of all runs: probes, trials, warm-up, samples.
    pub kernels_s: Seconds,
    /// Compilation, allocation and upload.
    pub preparation_s: Seconds,
    /// Making operands, reading results back, the twins and the comparisons.
    pub verification_s: Seconds,
}

impl TimeSpent {
    /// Share of the time, verification aside, that was not spent in kernels.
    pub fn overhead(&self) -> f64 {
        let rest = self.wall_s - self.verification_s;
        if rest.is_positive() { (rest - self.kernels_s) / rest } else { 0.0 }
    }
}

impl std::ops::Add for TimeSpent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            wall_s: self.wall_s + other.wall_s,
            kernels_s: self.kernels_s + other.kernels_s,
            preparation_s: self.preparation_s + other.preparation_s,
            verification_s: self.verification_s + other.verification_s,
        }
    }
}

/// Name, version and commit of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `supernode-bench`.
    pub name: String,
    /// Crate version.
    pub version: String,
    /// Short git commit of the build, `-dirty` where the tree had changes; `None` outside a git checkout.
    pub git_commit: Option<String>,
}

impl Tool {
    /// This program.
    pub fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: option_env!("SUPERNODE_GIT_COMMIT").map(str::to_owned),
        }
    }
}

/// The machine that the device sits in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Name and version of the operating system.
    pub os: String,
    /// The CPU's brand string.
    pub cpu: String,
    /// Logical CPUs.
    pub logical_cpus: u32,
    /// Main memory.
    pub memory_bytes: u64,
}

/// The device as its driver describes it. The default is one of which nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The adapter's name.
    pub name: String,
    /// PCI vendor name where known, else the id in hexadecimal.
    pub vendor: String,
    /// PCI vendor id.
    pub vendor_id: u32,
    /// PCI device id.
    pub device_id: u32,
    /// Driver name.
    pub driver: String,
    /// Driver version and build.
    pub driver_info: String,
    /// Graphics API.
    pub backend: String,
    /// Discrete, integrated, virtual, software or unknown.
    pub device_type: DeviceType,
    /// Features of the adapter that decide which variants exist, sorted.
    pub features: Vec<String>,
    /// Limits that decide which shapes and tiles fit.
    pub limits: BTreeMap<String, u64>,
    /// Sizes of subgroups, in invocations, that workgroups of 256 ran with when the device was opened, ascending. Empty
    /// where that was not measured: without subgroups, where the launch failed, and in documents of before it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subgroup_sizes_seen: Vec<u32>,
    /// Memory that the device computes in, in bytes; absent where neither driver nor system tells it, and in documents
    /// of before it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Which memory that is; absent with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_source: Option<MemorySource>,
    /// Address on the PCI bus, `domain:bus:device.function`, e.g. `0000:01:00.0`; absent for devices on no such bus,
    /// where the driver does not tell it, and in documents of before it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_bus_id: Option<String>,
}

impl Device {
    /// The least and the greatest size of a subgroup, in invocations: of those seen, else of those that the adapter says
    /// there may be. `None` where nothing is known.
    pub fn subgroup_sizes(&self) -> Option<(u64, u64)> {
        let limit = |name: &str| self.limits.get(name).copied();
        let seen = || self.subgroup_sizes_seen.iter().copied().map(u64::from);
        seen().min().zip(seen().max()).or_else(|| limit("min_subgroup_size").zip(limit("max_subgroup_size")))
    }

    /// The memory, where the device has it to itself: what tells two models of one name apart.
    pub fn own_memory_bytes(&self) -> Option<u64> {
        self.memory_bytes.filter(|_| self.memory_source == Some(MemorySource::DeviceHeap))
    }
}

/// Where a device's memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemorySource {
    /// The device's own: the largest heap that its driver calls local to the device.
    DeviceHeap,
    /// The host's main memory, shared with everything that runs there: an integrated GPU or a software adapter.
    HostMemory,
}

/// What kind of device an adapter is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceType {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU seen through virtualisation.
    Virtual,
    /// A CPU posing as a GPU: its figures say nothing about GPUs.
    Software,
    /// The driver does not say.
    #[default]
    Unknown,
}

/// How the run was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// The set of shapes.
    pub preset: Preset,
    /// Why this preset: asked for, or chosen from the device's speed.
    pub preset_reason: String,
    /// Which variants of a kernel were timed in full.
    #[serde(default)]
    pub selection: Selection,
    /// Seed of all inputs.
    pub seed: u64,
    /// What the samples were timed with.
    pub clock: Clock,
    /// Whether the shaders ran with wgpu's bounds and loop checks.
    pub runtime_checks: bool,
    /// Inputs rotate over buffer sets until at least this much memory is touched between two uses of one set.
    pub rotation_bytes: u64,
    /// A case stops when the 95 % interval of its median is within this fraction of the median on either side ...
    pub target_relative_ci: f64,
    /// ... or when this much time went into its samples.
    pub sample_budget_s: Seconds,
}

/// Which variants of a kernel are timed in full.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Selection {
    /// The fastest of a brief trial of all; [`Case::tuning`] holds the trial.
    Tuned,
    /// The one that the kernel takes without a trial.
    Default,
    /// Every one.
    #[default]
    AllVariants,
    /// The one that was asked for, where a kernel has it.
    Named {
        /// Its name.
        variant: String,
    },
}

/// A fixed kernel that was timed again and again between the cases. Where no clock can be read, its slowing down is how
/// throttling shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Threads of the f32 multiply-add probe.
    pub invocations: u32,
    /// Rounds of each thread.
    pub rounds: u32,
    /// A case is run again when a reading beside it is further than this factor from the median of all before.
    pub threshold: f64,
    /// In order of time.
    pub readings: Vec<Reading>,
}

/// One timing of the reference kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Since the run began or was taken up again.
    pub at_s: Seconds,
    /// Cases that were done by then.
    pub cases_done: u32,
    /// Median time of one run.
    pub median_s: Seconds,
}

/// What a sample was timed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Timestamp queries on the device's own clock.
    Device,
    /// The host's clock around a batch of launches, submission and wait included.
    Wall,
}

impl Record {
    /// The case with this id.
    pub fn case(&self, id: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.id == id)
    }

    /// The measured arithmetic roof for operands of this type. Operands in f16 are widened and accumulated in f32, or may
    /// be multiplied as they are: the faster of the two is the roof. Other narrow types are widened.
    pub fn fma_ceiling(&self, element: Element) -> Option<FlopPerSecond> {
        let kinds: &[CeilingKind] = match element {
            Element::F32 | Element::Bf16 | Element::Int8 => &[CeilingKind::FmaF32],
            Element::F16 | Element::Int4 => &[CeilingKind::FmaF32, CeilingKind::FmaF16],
        };
        kinds
            .iter()
            .filter_map(|kind| self.ceilings.get(kind))
            .map(|ceiling| FlopPerSecond::new(ceiling.value))
            .reduce(FlopPerSecond::max)
    }

    /// The measured roof of a typed operation, and which it is; `None` where the device has none. Operands in f16 may be
    /// multiplied as they are or widened first: the faster of the two is the roof.
    pub fn operation_ceiling(&self, operation: Operation) -> Option<(CeilingKind, FlopPerSecond)> {
        let found = self.fastest(CeilingKind::of_operation(operation));
        found.map(|(kind, value)| (kind, FlopPerSecond::new(value)))
    }

    /// The measured roof of traffic, and which it is: memory, streaming read or copy, whichever is faster; or the cache for
    /// a warm case that reads no more than fits it.
    pub fn traffic_ceiling(&self, cache: CacheState, input: Bytes) -> Option<(CeilingKind, BytesPerSecond)> {
        let memory = self.fastest(&[CeilingKind::MemoryRead, CeilingKind::MemoryCopy]);
        let memory = memory.map(|(kind, value)| (kind, BytesPerSecond::new(value)));
        let roof = self.ceilings.get(&CeilingKind::CacheRead).filter(|_| cache == CacheState::Warm);
        let rate = roof.and_then(|roof| roof.rate_of_working_set(input));
        // A cache that is slower than memory is no roof.
        let rate = rate.filter(|rate| memory.is_none_or(|(_, memory)| *rate > memory));
        rate.map(|rate| (CeilingKind::CacheRead, rate)).or(memory)
    }

    fn fastest(&self, kinds: &[CeilingKind]) -> Option<(CeilingKind, f64)> {
        kinds
            .iter()
            .filter_map(|kind| self.ceilings.get(kind).map(|ceiling| (*kind, ceiling.value)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The measured memory roof: the faster of streaming read and copy.
    pub fn memory_ceiling(&self) -> Option<BytesPerSecond> {
        [CeilingKind::MemoryRead, CeilingKind::MemoryCopy]
            .iter()
            .filter_map(|kind| self.ceilings.get(kind))
            .map(|ceiling| BytesPerSecond::new(ceiling.value))
            .reduce(BytesPerSecond::max)
    }

    /// The measured device time of an empty launch.
    pub fn launch_cost(&self) -> Option<Seconds> {
        self.ceilings.get(&CeilingKind::Launch).map(|ceiling| Seconds::new(ceiling.value))
    }

    /// Whether a CPU posed as the GPU.
    pub fn is_software(&self) -> bool {
        self.device.device_type == DeviceType::Software
    }
}
