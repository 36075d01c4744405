//! A value that says where it comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Type of weights and activations in the matrix units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// 8-bit float.
    Fp8,
    /// 8-bit integer.
    Int8,
    /// 4-bit float (e2m1) with one e4m3 scale per 16 elements.
    Nvfp4,
    /// 4-bit float (e2m1) with one e8m0 scale per 32 elements (OCP Microscaling).
    Mxfp4,
}

impl NumberType {
    /// All of them, the widest first.
    pub const ALL: [Self; 7] = [Self::F32, Self::F16, Self::Bf16, Self::Fp8, Self::Int8, Self::Nvfp4, Self::Mxfp4];

    /// The type of this name, as files and flags write it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|number_type| number_type.name() == name)
    }

    /// Bytes of one element; of the 4-bit types with its share of a scale.
    pub const fn size_bytes(self) -> f64 {
        match self {
            Self::F32 => 4.0,
            Self::F16 | Self::Bf16 => 2.0,
            Self::Fp8 | Self::Int8 => 1.0,
            Self::Nvfp4 => 0.5 + 1.0 / 16.0,
            Self::Mxfp4 => 0.5 + 1.0 / 32.0,
        }
    }

    /// Whether a chip without a unit for this type can still serve weights that are stored in it: it widens them to 16
    /// bits as it multiplies, as Marlin's kernels do on Hopper.
    pub const fn widens(self) -> bool {
        matches!(self, Self::Nvfp4 | Self::Mxfp4)
    }

    /// The name used in files, flags and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Int8 => "int8",
            Self::Nvfp4 => "nvfp4",
            Self::Mxfp4 => "mxfp4",
        }
    }
}

/// Where a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// Read from a record of this tool.
    Measured,
    /// Somebody else's figure, with its source.
    Published,
    /// Nobody's figure: chosen, and said so.
    Assumed,
    /// Arithmetic on the others.
    Derived,
}

/// How far a published figure was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checked {
    /// Read in the source itself.
    Yes,
    /// Read in somebody's account of the source.
    Secondary,
    /// Well known, but not looked up: confirm before quoting.
    Memory,
    /// Arithmetic on other figures.
    Derived,
}

/// A value with its source; `low` and `high` where it is uncertain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sourced {
    /// The value, in the unit that its key names.
    pub value: f64,
    /// The smallest value that it may be.
    pub low: Option<f64>,
    /// The largest value that it may be.
    pub high: Option<f64>,
    /// Kind of source.
    pub provenance: Provenance,
    /// The source in words.
    pub source: String,
    /// How far it was checked; absent for an assumption.
    pub checked: Option<Checked>,
    /// Whether the announcement that the claims judge states the value, so that a claim cannot be derived from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
}

impl Sourced {
    /// An assumption with its band.
    pub fn assumed(value: f64, low: f64, high: f64, source: &str) -> Self {
        Self {
            value,
            low: Some(low),
            high: Some(high),
            provenance: Provenance::Assumed,
            source: source.to_owned(),
            checked: None,
            claimed: false,
        }
    }

    /// The source, marked where the figure was not looked up.
    pub fn source_with_mark(&self) -> String {
        match self.checked {
            Some(Checked::Memory) => format!("{} [from memory, unconfirmed]", self.source),
            Some(Checked::Secondary) => format!("{} [second hand]", self.source),
            _ => self.source.clone(),
        }
    }

    /// What is wrong with the numbers, if anything: finite, `low <= value <= high`, positive unless zero is allowed.
    pub(super) fn problem(&self, zero_allowed: bool) -> Option<&'static str> {
        let all = [Some(self.value), self.low, self.high];
        let bad = |v: f64| !v.is_finite() || v < 0.0 || (v == 0.0 && !zero_allowed);
        if all.into_iter().flatten().any(bad) {
            Some(if zero_allowed { "give a finite number of at least 0" } else { "give a finite number above 0" })
        } else if self.low.is_some_and(|low| low > self.value) || self.high.is_some_and(|high| high < self.value) {
            Some("give low <= value <= high")
        } else if self.source.trim().is_empty() {
            Some("name its source")
        } else if self.provenance == Provenance::Published && self.checked.is_none() {
            Some("a published value needs `checked` (yes, secondary, memory or derived)")
        } else {
            None
        }
    }
}

/// Which end of every band a computation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// The slowest.
    Pessimistic,
    /// The central value.
    Nominal,
    /// The fastest.
    Optimistic,
}

impl Scenario {
    /// A rate, size or share: more is better.
    pub fn rate(self, value: &Sourced) -> f64 {
        match self {
            Self::Pessimistic => value.low.unwrap_or(value.value),
            Self::Nominal => value.value,
            Self::Optimistic => value.high.unwrap_or(value.value),
        }
    }

    /// A time, or a factor on one: less is better.
    pub fn time(self, value: &Sourced) -> f64 {
        match self {
            Self::Pessimistic => value.high.unwrap_or(value.value),
            Self::Nominal => value.value,
            Self::Optimistic => value.low.unwrap_or(value.value),
        }
    }
}
