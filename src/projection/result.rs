//! What a projection says. [`Projection`] is the JSON of `supernode project --json`.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::projection::caveat::ProjectionCaveat;
use crate::projection::costs::CostOrigin;
use crate::projection::parallel_plan::{ParallelPlan, Phase};
use crate::projection::terms::{Term, Terms};
use crate::specs::{NumberType, Provenance};
use crate::units::{Bytes, Flop, Seconds};

/// A headline figure with its band.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The central estimate: every input at its central value.
    pub median: f64,
    /// The 5th percentile over draws of all uncertain inputs.
    pub low: f64,
    /// The 95th percentile.
    pub high: f64,
}

impl Interval {
    /// A figure without a band.
    pub const fn exactly(value: f64) -> Self {
        Self { median: value, low: value, high: value }
    }

    /// The same band around another central estimate: both ends keep their ratio to it.
    #[must_use]
    pub fn around(&self, median: f64) -> Self {
        Self { median, low: median * (self.low / self.median), high: median * (self.high / self.median) }
    }

    /// The ratio of two rates. What is uncertain about the chip is uncertain in both, so that equal ends are paired.
    #[must_use]
    pub fn paired_ratio(&self, below: &Self) -> Self {
        let (ends, median) = ([self.low / below.low, self.high / below.high], self.median / below.median);
        Self { median, low: ends.into_iter().fold(median, f64::min), high: ends.into_iter().fold(median, f64::max) }
    }
}

/// A resource of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// FLOP/s.
    Arithmetic,
    /// Bandwidth of the memory.
    MemoryBandwidth,
    /// Bandwidth of the links.
    LinkBandwidth,
    /// Launches, fixed times and latencies.
    FixedCosts,
}

impl Resource {
    /// The name shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::MemoryBandwidth => "memory bandwidth",
            Self::LinkBandwidth => "link bandwidth",
            Self::FixedCosts => "fixed costs and latency",
        }
    }
}

/// What binds a step. Its text is made by `Display`; JSON holds that text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundBy {
    /// The resource that shortens the step most if there is twice as much of it; `None` if none does.
    pub resource: Option<Resource>,
    /// The largest term; `None` if the step takes no time.
    pub term: Option<Term>,
    /// That term's share of the step.
    pub share: f64,
}

impl BoundBy {
    /// The name of the resource.
    pub fn resource_name(&self) -> &'static str {
        self.resource.map_or("nothing", Resource::name)
    }
}

impl fmt::Display for BoundBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let term = self.term.map_or("nothing", Term::name);
        let (resource, percent) = (self.resource_name(), 100.0 * self.share);
        write!(f, "{resource}; the largest part is {term}, {percent:.0} % of the step")
    }
}

impl Serialize for BoundBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Memory of one chip by use, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct MemoryUse {
    /// Weights.
    pub weights: f64,
    /// KV cache.
    pub kv_cache: f64,
    /// Activations and communication buffers.
    pub activations: f64,
    /// Gradients and optimizer state.
    pub optimizer: f64,
    /// What the chip has.
    pub capacity: f64,
}

impl MemoryUse {
    /// Sum of all uses, in bytes.
    pub fn used(&self) -> f64 {
        self.weights + self.kv_cache + self.activations + self.optimizer
    }
}

/// One cost and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostSource {
    /// Which input of the model, e.g. `peak bf16` or `efficiency attention`.
    pub what: String,
    /// Its value with unit, for reading.
    pub value: String,
    /// Kind of source.
    pub provenance: Provenance,
    /// The source in words.
    pub source: String,
}

/// The projection of one model, phase, chip and fabric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Projection {
    /// Model name.
    pub model: String,
    /// Phase.
    pub phase: Phase,
    /// Chip name.
    pub chip: String,
    /// Fabric name.
    pub fabric: String,
    /// Type of weights and activations.
    #[serde(rename = "type")]
    pub number_type: NumberType,
    /// Type of the KV cache, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_type: Option<NumberType>,
    /// The split.
    pub plan: ParallelPlan,
    /// Throughput of one chip.
    pub tokens_per_s_per_chip: Interval,
    /// Time of one step.
    pub step_s: Seconds,
    /// Decode: time per output token.
    pub tpot_s: Option<Seconds>,
    /// Prefill: time to the first token.
    pub ttft_s: Option<Seconds>,
    /// Model FLOP over peak FLOP of the step.
    pub mfu: f64,
    /// The step by its parts.
    pub terms_s: Terms,
    /// What to improve first.
    pub bound_by: BoundBy,
    /// Memory of one chip, bytes.
    pub memory_bytes_per_chip: MemoryUse,
    /// What the reader must keep in mind.
    pub caveats: Vec<ProjectionCaveat>,
    /// Where each input comes from.
    pub provenance: Vec<CostSource>,
    /// Step, time per token or to the first token, and MFU over the draws: 90 % bands.
    pub intervals: Intervals,
    /// What moves the throughput most, the largest first.
    pub tornado: Vec<Swing>,
    /// The ops of the layer that sets the pace, of one micro-batch.
    pub operators: Vec<Operator>,
}

impl Projection {
    /// The central estimate of tokens per second and chip.
    pub fn throughput(&self) -> f64 {
        self.tokens_per_s_per_chip.median
    }
}

/// Bands of the other headline figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Intervals {
    /// Draws behind the bands.
    pub draws: u32,
    /// Seed of the draws.
    pub seed: u64,
    /// Of the step, seconds.
    pub step_s: Option<Interval>,
    /// Of the time per output token, seconds.
    pub tpot_s: Option<Interval>,
    /// Of the time to the first token, seconds.
    pub ttft_s: Option<Interval>,
    /// Of the MFU.
    pub mfu: Option<Interval>,
    /// Median of the throughput over the draws. Where bands are lopsided, it differs from the central estimate.
    pub median_over_draws: Option<f64>,
}

/// Throughput with one input at either end of its band.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Swing {
    /// Which input.
    pub what: String,
    /// Tokens per second and chip with the input at its lower end.
    pub at_low: f64,
    /// With the input at its upper end.
    pub at_high: f64,
}

/// What binds an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorBound {
    /// Arithmetic.
    Compute,
    /// Memory traffic.
    Memory,
    /// The launch.
    Launch,
    /// It is a collective.
    Fabric,
}

/// One op of a layer, on one rank.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operator {
    /// Its name.
    pub name: &'static str,
    /// Its time.
    pub time_s: Seconds,
    /// Its arithmetic.
    pub flop: Flop,
    /// Its memory traffic.
    pub bytes: Bytes,
    /// What binds it.
    pub bound_by: OperatorBound,
    /// Where its cost comes from.
    pub cost: CostOrigin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_pairs_the_ends() {
        let interval = |low, median, high| Interval { low, median, high };
        let ratio = interval(8.0, 20.0, 33.0).paired_ratio(&interval(4.0, 8.0, 11.0));
        assert_eq!((ratio.low, ratio.median, ratio.high), (2.0, 2.5, 3.0));
    }

    #[test]
    fn json_holds_the_text_of_what_binds_and_of_where_costs_come_from() {
        let bound = BoundBy { resource: Some(Resource::MemoryBandwidth), term: Some(Term::ExpertMatmul), share: 0.414 };
        let text = "memory bandwidth; the largest part is expert_matmul, 41 % of the step";
        assert_eq!(serde_json::to_value(bound).unwrap(), text);
        let nothing = BoundBy { resource: None, term: None, share: 0.0 };
        assert_eq!(nothing.to_string(), "nothing; the largest part is nothing, 0 % of the step");
        for (origin, text) in [
            (CostOrigin::Extrapolated, "extrapolated: roofline x nearest measured utilisation"),
            (CostOrigin::Fabric("roce-cluster".to_owned()), "fabric roce-cluster"),
            (CostOrigin::Roofline(crate::projection::op::Class::Vector), "roofline x share of elementwise"),
        ] {
            assert_eq!(serde_json::to_value(&origin).unwrap(), text);
        }
        assert_eq!(serde_json::to_value(OperatorBound::Compute).unwrap(), "compute");
    }
}
