//! How a run was made, and what was seen of the run as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::timing::Clock;
use crate::kernels::cases::Preset;
use crate::units::Seconds;

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
    /// By how much the clocks move at once, measured at the start of the run; absent in documents of versions 1 to 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_steps: Option<ClockSteps>,
    /// Whether the shaders ran with wgpu's bounds and loop checks, or with a browser's.
    pub runtime_checks: RuntimeChecks,
    /// Inputs rotate over buffer sets until at least this much memory is touched between two uses of one set.
    pub rotation_bytes: u64,
    /// A case stops when the 95 % interval of its median is within this fraction of the median on either side ...
    pub target_relative_ci: f64,
    /// ... or when this much time went into its samples.
    pub sample_budget_s: Seconds,
}

/// Bounds and loop checks in the shaders, in a document `true`, `false` or `"browser"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "WrittenChecks", into = "WrittenChecks")]
pub enum RuntimeChecks {
    /// Without any.
    Off,
    /// With wgpu's.
    On,
    /// With those of the browser, which nobody can turn off.
    Browser,
}

impl RuntimeChecks {
    /// wgpu's checks, where they were asked for.
    pub const fn native(asked: bool) -> Self {
        if asked { Self::On } else { Self::Off }
    }
}

/// [`RuntimeChecks`] in a document. Versions 1 to 4 knew a flag alone.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "true, false or \"browser\"")]
enum WrittenChecks {
    Native(bool),
    Foreign(ForeignChecks),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ForeignChecks {
    Browser,
}

impl From<WrittenChecks> for RuntimeChecks {
    fn from(written: WrittenChecks) -> Self {
        match written {
            WrittenChecks::Native(asked) => Self::native(asked),
            WrittenChecks::Foreign(ForeignChecks::Browser) => Self::Browser,
        }
    }
}

impl From<RuntimeChecks> for WrittenChecks {
    fn from(checks: RuntimeChecks) -> Self {
        match checks {
            RuntimeChecks::Off => Self::Native(false),
            RuntimeChecks::On => Self::Native(true),
            RuntimeChecks::Browser => Self::Foreign(ForeignChecks::Browser),
        }
    }
}

/// The steps of the clocks: every time that they show is a multiple of it. Steps below 40 ns are not told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockSteps {
    /// Of the device's timestamps; absent where it has none, or where they did not show a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_s: Option<Seconds>,
    /// Of the host's clock; absent where it did not show a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_s: Option<Seconds>,
}

impl ClockSteps {
    /// The step of one of the clocks.
    pub const fn of(self, clock: Clock) -> Option<Seconds> {
        match clock {
            Clock::Device => self.device_s,
            Clock::Wall => self.wall_s,
        }
    }
}

/// Which variants of a kernel are timed in full.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Selection {
    /// The fastest of a brief trial of all; [`Case::tuning`](crate::record::Case::tuning) holds the trial.
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
    /// A case is run again when the reading after it differs by more than this factor from the median of all before.
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
