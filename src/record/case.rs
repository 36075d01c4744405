//! What was seen of one kernel at one shape.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::caveat::Caveat;
use super::ceiling::CeilingKind;
use super::timing::Timing;
use crate::kernels::{Family, KernelPhase, Operation, StorageType, Verification, Work};
use crate::units::{Bytes, BytesPerSecond, Flop, FlopPerSecond, Seconds};

/// One kernel at one shape: verified, then timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Unique in the document and stable between runs: `family/kernel/variant/element/model/phase/shape`, where the
    /// variant is `best` if it was chosen by a trial, and with `/warm` at the end of a warm case.
    pub id: String,
    /// Kernel family.
    pub family: Family,
    /// What is computed, e.g. `gate_up`.
    pub kernel: String,
    /// How it is computed, e.g. `tiled`.
    pub variant: String,
    /// Storage type of the operands; accumulation is f32.
    pub element: StorageType,
    /// The model that the shape comes from.
    pub model: String,
    /// The phase of serving that the shape comes from.
    pub phase: KernelPhase,
    /// The layer's sizes were divided by this; 1 means true sizes.
    pub scale_divisor: u32,
    /// Named sizes, e.g. `hidden`, `rows`.
    pub shape: BTreeMap<String, u64>,
    /// Whether the inputs came from memory or from a cache.
    #[serde(default)]
    pub cache: CacheState,
    /// What one run of the case must do at least.
    pub work: Work,
    /// The arithmetic of `work`, by the unit that does it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operations: BTreeMap<Operation, Flop>,
    /// The arithmetic that was issued, padding rows of the routing included; `None` where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_flop: Option<Flop>,
    /// Token slots by expert, as the timed kernel routed them (gates and whole layers) or found them (the sort); together
    /// tokens times top-k. Empty for kernels that do not route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens_per_expert: Vec<u32>,
    /// That the result was right, on the inputs that were then timed.
    pub verification: Verification,
    /// Samples and statistics.
    pub timing: Timing,
    /// Rates, and how far below the roofline.
    pub achieved: Achieved,
    /// The trial that chose the variant, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Tuning>,
    /// The kernels that a whole layer is made of, each timed alone in the same run and on the same buffers; empty for a
    /// single kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<LayerPart>,
    /// What to keep in mind about this figure.
    pub caveats: Vec<Caveat>,
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
    /// The achieved rate over each ceiling that the case loads. Above 1 is a finding, and flagged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fractions: BTreeMap<CeilingKind, f64>,
}

/// Where the inputs of a case are when a run begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheState {
    /// In memory: runs rotate over more inputs than the caches hold.
    #[default]
    Cold,
    /// Where the run before left them: every run takes the same inputs.
    Warm,
}

/// A brief trial of all variants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// Every variant that suits the shape, in the order tried.
    pub candidates: Vec<Candidate>,
    /// The variant that is taken without a trial.
    pub default_variant: String,
    /// What the default would have cost: its time in the trial over the winner's, less 1; `None` where it was not timed.
    pub regret: Option<f64>,
    /// Sizes that the trial was made at, where a run of the case itself would take long; empty where it was made at those of
    /// the case. A layer may be tried by one of its kernels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub smaller_shape: BTreeMap<String, u64>,
    /// Wall time of the whole trial: shaders, inputs, verification, timing.
    pub cost_s: Seconds,
    /// CPU time of this process in it, where the host reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_cpu_s: Option<Seconds>,
    /// Whether an earlier run made the trial.
    pub cached: bool,
    /// The two best of the trial timed again in turn, at the sizes of the case; absent where there was one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Second>,
}

/// The variant that lost to the measured one when the two best of a trial were timed in turn at the sizes of the case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Second {
    /// Its name. If it was the best of the trial, the trial was wrong by `time_ratio`.
    pub variant: String,
    /// Its time over that of the measured variant, from laps in turn.
    pub time_ratio: f64,
    /// Pairs of laps.
    pub pairs: u32,
    /// The whole outputs of both, compared element by element on the same operands.
    pub agreement: Verification,
}

/// One variant in a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Its name.
    pub variant: String,
    /// Time of one run; `None` where it was not timed.
    pub time_s: Option<Seconds>,
    /// What the driver took to compile it (CPU time on a software adapter); `None` where it was not compiled, or had been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compilation_s: Option<Seconds>,
    /// Why it was not timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One kernel of a whole layer, timed alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Part")]
pub struct LayerPart {
    /// What it computes.
    pub kernel: String,
    /// How.
    pub variant: String,
    /// Launches.
    pub launches: u32,
    /// What one run of it must do at least.
    pub work: Work,
    /// Median time of one run.
    pub median_s: Seconds,
    /// 95 % confidence interval of the median.
    pub ci95_s: [Seconds; 2],
    /// The time that the measured ceilings allow at best.
    pub roofline_s: Seconds,
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

impl Case {
    /// Bytes read plus bytes written by one run.
    pub fn bytes(&self) -> Bytes {
        self.work.bytes()
    }

    /// Useful arithmetic over the CPU time of this process: the steady figure on a software adapter.
    pub fn flop_per_cpu_s(&self) -> Option<FlopPerSecond> {
        let cpu = self.timing.cpu_median_s.filter(|cpu| cpu.is_positive())?;
        Some(self.work.flop / cpu)
    }

    /// Issued over useful arithmetic: 1 without padding.
    pub fn padding(&self) -> Option<f64> {
        self.issued_flop.filter(|_| self.work.flop.is_positive()).map(|issued| issued / self.work.flop)
    }

    /// The times of the parts of a layer together; `None` for a single kernel.
    pub fn parts_sum_s(&self) -> Option<Seconds> {
        self.parts.iter().map(|part| part.median_s).reduce(|sum, part| sum + part)
    }
}
