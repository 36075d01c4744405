//! Values of the flags of `supernode fabric bench`.

use std::path::Path;

use clap::ValueEnum;

use crate::projection::fabric::Collective;
use crate::projection::fabric::exchange::Payload;
use crate::projection::fabric::load::{ExpertLoad, Placement};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Op {
    Dispatch,
    Combine,
    AllReduce,
    AllGather,
    ReduceScatter,
    AllToAll,
    Send,
}

impl Op {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Combine => "combine",
            Self::AllReduce => "all-reduce",
            Self::AllGather => "all-gather",
            Self::ReduceScatter => "reduce-scatter",
            Self::AllToAll => "all-to-all",
            Self::Send => "send",
        }
    }

    /// The bulk collective; `None` for dispatch and combine.
    pub(super) const fn bulk(self) -> Option<Collective> {
        match self {
            Self::Dispatch | Self::Combine => None,
            Self::AllReduce => Some(Collective::AllReduce),
            Self::AllGather => Some(Collective::AllGather),
            Self::ReduceScatter => Some(Collective::ReduceScatter),
            Self::AllToAll => Some(Collective::AllToAll),
            Self::Send => Some(Collective::Send),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ModeName {
    /// For few tokens: each copy straight to its expert
    LowLatency,
    /// For many: once to each rank, once to each node where that is faster
    Normal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PayloadName {
    Fp8,
    Int8,
    Bf16,
}

impl From<PayloadName> for Payload {
    fn from(name: PayloadName) -> Self {
        match name {
            PayloadName::Fp8 => Self::Fp8,
            PayloadName::Int8 => Self::Int8,
            PayloadName::Bf16 => Self::Bf16,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PlacementName {
    InOrder,
    Balanced,
}

impl From<PlacementName> for Placement {
    fn from(name: PlacementName) -> Self {
        match name {
            PlacementName::InOrder => Self::InOrder,
            PlacementName::Balanced => Self::Balanced,
        }
    }
}

/// `uniform`, `power:EXPONENT`, or the path of a histogram.
pub(super) fn load(text: &str, seed: u64) -> Result<ExpertLoad, String> {
    if text == "uniform" {
        return Ok(ExpertLoad::Uniform);
    }
    if let Some(exponent) = text.strip_prefix("power:") {
        let exponent = number(exponent, 0.0, 20.0).map_err(|reason| format!("--load power: {reason}"))?;
        return Ok(ExpertLoad::PowerLaw { exponent, seed });
    }
    histogram(Path::new(text)).map(ExpertLoad::Histogram)
}

/// Counts by expert from JSON: a list, or an object with the list as `tokens_per_expert`, as a gating kernel counts them.
fn histogram(path: &Path) -> Result<Vec<f64>, String> {
    const MOST_BYTES: u64 = 64 << 20;
    let shown = path.display();
    let help = "give uniform, power:EXPONENT, or a JSON file with a list of token counts by expert";
    let size = std::fs::metadata(path).map_err(|error| format!("--load {shown}: {error}; {help}"))?;
    if !size.is_file() || size.len() > MOST_BYTES {
        return Err(format!("--load {shown}: not a file of at most 64 MiB; {help}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("--load {shown}: {error}; {help}"))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("--load {shown}: {error}; {help}"))?;
    let list = value.get("tokens_per_expert").unwrap_or(&value).as_array();
    let counts: Option<Vec<f64>> = list.and_then(|list| list.iter().map(serde_json::Value::as_f64).collect());
    counts.filter(|counts| !counts.is_empty()).ok_or_else(|| format!("--load {shown}: no list of numbers; {help}"))
}

pub(super) fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    // A NaN is in no range.
    if (least..=most).contains(&value) { Ok(value) } else { Err(format!("give a number from {least} to {most}")) }
}

pub(super) fn count(text: &str) -> Result<f64, String> {
    number(text, 1.0, 1e9)
}

pub(super) fn bytes(text: &str) -> Result<f64, String> {
    number(text, 1.0, 1e15)
}
