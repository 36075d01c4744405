//! Values of the flags of `supernode fabric bench`.

use std::path::Path;

use clap::ValueEnum;

use super::super::expert_load::Counts;
use crate::projection::ExpertLoad;
use crate::projection::fabric::Collective;
use crate::projection::fabric::exchange::Payload;
use crate::projection::fabric::placement::Placement;

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
        match (self, self.bulk()) {
            (_, Some(collective)) => collective.name(),
            (Self::Combine, None) => "combine",
            (_, None) => "dispatch",
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

/// `uniform`, `power:EXPONENT`, or the path of a histogram or of a result document, whose gating case over `experts`
/// experts is taken (the one with the most token slots where `None`); and the case that it was.
pub(super) fn load(text: &str, seed: u64, experts: Option<u32>) -> Result<(ExpertLoad, Option<String>), String> {
    let named = ExpertLoad::named(text, seed).map_err(|reason| format!("--load power: {reason}"))?;
    // What replication leaves of real traffic says nothing of single experts.
    if let Some(load) = named.filter(|load| *load != ExpertLoad::Replicated) {
        return Ok((load, None));
    }
    let help = "give uniform, power:EXPONENT, a JSON file with a list of token counts by expert, or a result document";
    let experts = experts.map(|experts| experts as usize);
    let read = Counts::read(Path::new(text)).map_err(|reason| format!("--load {reason}; {help}"))?;
    let (counts, source) = read.over(experts).map_err(|reason| format!("--load {reason}"))?;
    Ok((ExpertLoad::counted(counts, source.clone()), source))
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
