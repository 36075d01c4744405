//! Values of the flags of `supernode fabric bench`.

use std::path::Path;

use clap::ValueEnum;

use crate::cli::expert_load::Counts;
use crate::cli::parse::flag_enum;
use crate::projection::ExpertLoad;
use crate::projection::fabric::Collective;
use crate::projection::fabric::Mode;
use crate::projection::fabric::exchange::Payload;
use crate::projection::fabric::placement::Placement;

/// What is run on a fabric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CollectiveFlag {
    Dispatch,
    Combine,
    AllReduce,
    AllGather,
    ReduceScatter,
    AllToAll,
    Send,
}

impl CollectiveFlag {
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

flag_enum! {
    /// Kernels for few or for many tokens.
    ModeFlag => Mode {
        /// For few tokens: each copy straight to its expert
        LowLatency,
        /// For many: once to each rank, once to each node where that is faster
        Normal,
    }
}

flag_enum! {
    /// Type of the elements on the wire.
    PayloadFlag => Payload { Fp8, Int8, Bf16 }
}

flag_enum! {
    /// Where experts live.
    PlacementFlag => Placement { InOrder, Balanced }
}

/// `uniform`, `power:EXPONENT`, or the path of a histogram or of a result document, whose gating case over `experts`
/// experts is taken (the one with the most token slots where `None`); and the case that it was.
pub(super) fn load(text: &str, seed: u64, experts: Option<u32>) -> Result<(ExpertLoad, Option<String>), String> {
    let named = ExpertLoad::named(text, seed).map_err(|reason| format!("--load power: {reason}"))?;
    // `replicated` is an average over experts, and says nothing about single ones.
    if let Some(load) = named.filter(|load| *load != ExpertLoad::Replicated) {
        return Ok((load, None));
    }
    let help = "give uniform, power:EXPONENT, a JSON file with a list of token counts by expert, or a result document";
    let experts = experts.map(|experts| experts as usize);
    let read = Counts::read(Path::new(text)).map_err(|reason| format!("--load {reason}; {help}"))?;
    let (counts, source) = read.over(experts).map_err(|reason| format!("--load {reason}"))?;
    Ok((ExpertLoad::counted(counts, source.clone()), source))
}
