//! The JSON document: what was seen on one device, in one run.
//!
//! One struct is the schema ([`Record`]); `supernode schema` prints it as JSON Schema. Left of this module a GPU is
//! needed, right of it everything works from files. A stored [`Case`] always carries its [`Verification`]: there is no
//! way to write down a speed without saying that the result was right.

mod caveat;
mod io;
mod journal;
mod validate;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use caveat::Caveat;
pub use io::{RecordError, load, parse, save, schema, write_atomically};
pub use journal::{Journal, ResumeError};
pub(crate) use validate::printable;

use crate::kernels::{Element, Family, Phase, Work};
pub use crate::kernels::{Metric, Verification, Worst};
use crate::units::{Bytes, BytesPerSecond, FlopPerSecond, Seconds};

/// The version of the document's layout. A reader refuses a newer one.
pub const SCHEMA_VERSION: u32 = 1;

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
    /// Ids of all cases of this preset on this device, in order of measurement.
    pub planned: Vec<String>,
    /// Verified and timed kernel cases.
    pub cases: Vec<Case>,
    /// Cases that this device cannot run, and why.
    pub left_out: Vec<LeftOut>,
    /// Cases whose result was wrong or whose launch failed: never timed.
    pub rejected: Vec<Rejected>,
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

/// The device as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
}

/// What kind of device an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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

/// A set of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Layers scaled down: what a software adapter finishes in minutes.
    Smoke,
    /// True layer sizes of three models, few points.
    Quick,
    /// True layer sizes of all models.
    Full,
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

/// The kinds of measured roof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CeilingKind {
    /// Independent fused multiply-adds in registers, f32; FLOP/s.
    FmaF32,
    /// The same in f16; FLOP/s.
    FmaF16,
    /// Streaming reads; byte/s.
    MemoryRead,
    /// Streaming copy, bytes read plus bytes written; byte/s.
    MemoryCopy,
    /// Device time of one empty launch inside a batch; seconds.
    Launch,
    /// Wall time from submission to completion of one empty launch; seconds.
    Submit,
}

/// One measured roof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ceiling {
    /// FLOP/s, byte/s or seconds, by its kind.
    pub value: f64,
    /// What one launch did.
    pub work: Work,
    /// That the probe computed what it should.
    pub verification: Verification,
    /// The samples behind the value.
    pub timing: Timing,
}

/// One kernel at one shape: verified, then timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Unique in the document and stable between runs: `family/kernel/variant/element/model/phase/shape`.
    pub id: String,
    /// Kernel family.
    pub family: Family,
    /// What is computed, e.g. `gate_up`.
    pub kernel: String,
    /// How it is computed, e.g. `tiled`.
    pub variant: String,
    /// Storage type of the operands; accumulation is f32.
    pub element: Element,
    /// The model that the shape comes from.
    pub model: String,
    /// The phase of serving that the shape comes from.
    pub phase: Phase,
    /// The layer's sizes were divided by this; 1 means true sizes.
    pub scale_divisor: u32,
    /// Named sizes, e.g. `hidden`, `rows`.
    pub shape: BTreeMap<String, u64>,
    /// What one run of the case must do at least.
    pub work: Work,
    /// That the result was right, on the inputs that were then timed.
    pub verification: Verification,
    /// Samples and statistics.
    pub timing: Timing,
    /// Rates, and how far below the roofline.
    pub achieved: Achieved,
    /// What to keep in mind about this figure.
    pub caveats: Vec<Caveat>,
}

/// Samples and their statistics. All times are of ONE run of the case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// What the samples were timed with.
    pub clock: Clock,
    /// Runs of the case inside one sample (its time is divided by this).
    pub runs_per_sample: u32,
    /// Buffer sets that the runs rotate over.
    pub buffer_sets: u32,
    /// Runs before the first sample.
    pub warmup_runs: u32,
    /// Every sample, in order.
    pub samples_s: Vec<Seconds>,
    /// Median of the samples.
    pub median_s: Seconds,
    /// Median absolute deviation from the median.
    pub mad_s: Seconds,
    /// 95 % confidence interval of the median, from order statistics.
    pub ci95_s: [Seconds; 2],
    /// Median wall time of a run, submission and wait included, for comparison with the device's clock.
    pub wall_median_s: Seconds,
    /// Median CPU time of this process per run, all threads; on a software adapter the steadiest figure. `None` where
    /// the host does not tell.
    pub cpu_median_s: Option<Seconds>,
}

/// Rates of a case, and its place under the roofline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Achieved {
    /// Useful arithmetic over the median time.
    pub flop_per_s: FlopPerSecond,
    /// Least traffic over the median time.
    pub bytes_per_s: BytesPerSecond,
    /// The time that the measured ceilings allow at best.
    pub roofline_s: Seconds,
    /// `roofline_s / median_s`. Above 1 is a finding (a cached input, say), not an error.
    pub fraction_of_roofline: f64,
    /// Which ceiling sets `roofline_s`.
    pub bound_by: Bound,
}

/// Which ceiling binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The arithmetic rate.
    Compute,
    /// The memory bandwidth.
    Memory,
    /// The cost of a launch.
    Launch,
}

/// A case that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// The case.
    pub id: String,
    /// The missing feature, the limit that is too small, or the time that it would take.
    pub reason: String,
}

/// A case that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rejected {
    /// The case.
    pub id: String,
    /// What went wrong.
    pub reason: String,
    /// The comparison, where the launch itself went through.
    pub verification: Option<Verification>,
}

impl CeilingKind {
    /// Its name for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::FmaF32 => "FMA f32",
            Self::FmaF16 => "FMA f16",
            Self::MemoryRead => "memory read",
            Self::MemoryCopy => "memory copy",
            Self::Launch => "launch",
            Self::Submit => "submit and wait",
        }
    }
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

impl Case {
    /// Bytes read plus bytes written by one run.
    pub fn bytes(&self) -> Bytes {
        self.work.bytes()
    }
}
