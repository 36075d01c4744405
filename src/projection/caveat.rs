//! What a reader must keep in mind about a projection, an explanation or a claim.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kernels::Family;
use crate::projection::expert_load::ExpertLoad;
use crate::projection::parallel_plan::Recompute;
use crate::record::Caveat;
use crate::specs::NumberType;
use crate::units::Seconds;

/// One caveat. Its text is made by `Display`; JSON holds that text.
#[derive(Debug, Clone, PartialEq)]
pub enum ProjectionCaveat {
    /// It is a projection.
    Projected,
    /// Degrees count dies, of which the chip has several.
    DegreesCountDies {
        /// Dies of a package.
        dies: f64,
        /// The chip.
        chip: String,
    },
    /// A step waits for the slowest of its ranks.
    SlowestRank {
        /// Ranks.
        ranks: f64,
        /// Its time over the mean: expected, and the ends of its interval.
        factor: [f64; 3],
        /// Where the spread of devices comes from.
        source: String,
    },
    /// Times of ops are measured ones of others.
    MeasuredOperators {
        /// Whose.
        source: String,
        /// Half-width of the 90 % band of interpolated times, as a share.
        spread: f64,
    },
    /// A framework's fixed times are part of the answer.
    ServedWith {
        /// What it is.
        framework: String,
    },
    /// Measured operators of one chip tell the shares of another one's roofs.
    OperatorsOfOther {
        /// Their system.
        system: String,
        /// The chip.
        chip: String,
    },
    /// The chip has no unit for the type of the weights, and widens them as it multiplies.
    Widened {
        /// The type that the weights are stored in.
        stored: NumberType,
        /// The type that the products run in.
        multiplied: NumberType,
        /// The chip.
        chip: String,
    },
    /// A caveat of the record that the chip comes from.
    Record(Caveat),
    /// The record is not complete.
    IncompleteRecord,
    /// A record knows neither memory size nor links.
    AssumedMemoryAndLinks,
    /// Some measured layers were scaled down.
    ScaledLayers,
    /// Dense layers take the expert matmul's share of the roofs.
    DenseAsExperts,
    /// The record has too few cases of a family.
    FewCases(Family),
    /// How evenly experts are visited is assumed.
    ExpertLoad(ExpertLoad),
    /// Which activations the backward pass computes again.
    Recomputed(Recompute),
    /// A mixture is trained by no framework.
    NoFramework,
    /// The framework that trains.
    Framework(String),
    /// Ops whose shapes lie outside the record.
    Extrapolated(Vec<&'static str>),
    /// Tokens are speculated.
    Speculation {
        /// Speculated tokens per step.
        tokens: u32,
        /// Chance that one is kept.
        acceptance: f64,
    },
    /// Parts of the model that are neither counted nor timed.
    LeftOut(Vec<&'static str>),
    /// Parts of layers whose work no measured kernel covers.
    DerivedWork(Vec<&'static str>),
    /// Weights of four bits stay as the checkpoint has them, whatever the number type.
    FourBitWeights,
    /// No plan keeps the latency limit, so that this one ignores it.
    LimitIgnored {
        /// The limit of the time per output token.
        limit: Seconds,
        /// The shortest time that any plan takes.
        fastest: Seconds,
    },
    /// Serving: one engine stands for all.
    EnginesAlike,
    /// Serving: attention and experts lie on different chips.
    ExpertsApart,
    /// Requests of a trace come faster than the deployment answers them.
    TraceAboveCapacity {
        /// Mean rate of the trace, per second.
        rate: f64,
        /// What the deployment answers, per second.
        most: f64,
    },
    /// Figures of serving are those of the closed form.
    ClosedForm,
    /// Hybrid fabrics only share out a ratio.
    HybridFabrics,
    /// Hybrids keep the baseline's plan until the topology changes.
    HybridPlans,
    /// The latency limit of hybrids.
    HybridLimit {
        /// The limit of the time per output token.
        limit: Seconds,
        /// Sequences per chip of the baseline's plan.
        batch_per_chip: f64,
    },
    /// A reading of a claim rests on the claim itself.
    CircularReading {
        /// The claim's title.
        claim: String,
    },
    /// One of the others in words, of a chip that came as JSON.
    Worded(String),
    /// What counts as scaling.
    ScalingRule {
        /// Share of the smallest machine's rate per chip.
        keeps: f64,
        /// Where that share comes from.
        source: String,
    },
}

impl fmt::Display for ProjectionCaveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Projected => {
                f.write_str("a projection, not a measurement: one schedule of average layers, no faults")
            }
            Self::DegreesCountDies { dies, chip } => {
                write!(f, "degrees (tp, pp, ep, dp, cp) count dies, {dies} to one {chip}")
            }
            Self::SlowestRank { ranks, factor: [expected, low, high], source } => write!(
                f,
                "a step waits for the slowest of {ranks} ranks, which takes {expected:.3} ({low:.3} to {high:.3}) times as long as the mean: {source}"
            ),
            Self::MeasuredOperators { source, spread } => write!(
                f,
                "times of ops are those of measured operators ({source}) where these cover a shape, within {:.0} % between shapes",
                spread * 100.0
            ),
            Self::ServedWith { framework } => {
                write!(f, "with fixed times of {framework}, fitted on measured deployments")
            }
            Self::OperatorsOfOther { system, chip } => {
                write!(f, "no operator was measured on {chip}: the shares of the roofs are those that {system} reaches")
            }
            Self::Widened { stored, multiplied, chip } => {
                let (stored, multiplied) = (stored.name(), multiplied.name());
                write!(f, "{chip} has no unit for {stored}: its weights are read as {stored}, but multiplied in {multiplied}")
            }
            Self::Record(caveat) => write!(f, "{caveat}"),
            Self::IncompleteRecord => f.write_str("the record is not complete: some planned cases are missing"),
            Self::AssumedMemoryAndLinks => f.write_str(
                "a record knows neither memory size nor links: 128 GB and the supernode's links are assumed (--chip-memory-gb)",
            ),
            Self::ScaledLayers => {
                f.write_str("some measured layers were scaled down: large ones may run nearer the roofs")
            }
            Self::DenseAsExperts => {
                f.write_str("dense layers take the share of the roofs that the expert matmul reaches")
            }
            Self::FewCases(family) => write!(
                f,
                "the record has too few cases of {family}: part of its share of the roofs is carried over or assumed"
            ),
            Self::ExpertLoad(load) => write!(
                f,
                "expert load {load}, as even as whole slots allow; further skew is in the band only (up to a quarter more)"
            ),
            Self::Recomputed(recompute) => {
                let what = if *recompute == Recompute::Full { "layers" } else { "norms and activations" };
                write!(f, "{what} are computed again in the backward pass, to fit in memory")
            }
            Self::NoFramework => f.write_str(
                "training takes what kernels and wires take: mixtures take Megatron-Core up to four times as long (--framework)",
            ),
            Self::Framework(title) => {
                write!(f, "{title}: its figures were fitted on NVIDIA's published runs (supernode validate training)")
            }
            Self::Extrapolated(ops) => write!(
                f,
                "outside the measured shapes, so extrapolated at the nearest utilisation: {}",
                ops.join(", ")
            ),
            Self::Speculation { tokens, acceptance } => {
                write!(f, "{tokens} speculated token(s) a step at an assumed acceptance of {acceptance}")
            }
            Self::LeftOut(parts) => write!(f, "the projection is of the model without {}", parts.join(" and ")),
            Self::DerivedWork(parts) => {
                let parts = parts.join(", ");
                write!(f, "no kernel was measured for {parts}: derived work at attention's share of the roofs")
            }
            Self::FourBitWeights => f.write_str(
                "weights of four bits stay as the checkpoint has them; kernels are assumed to expand them at no cost",
            ),
            Self::LimitIgnored { limit, fastest } => write!(
                f,
                "no plan keeps {:.0} ms a token (the fastest takes {fastest}): this one ignores the limit",
                limit.get() * 1e3
            ),
            Self::EnginesAlike => {
                f.write_str("all replicas are taken to compute as many prompts and tokens at the same time")
            }
            Self::ExpertsApart => f.write_str(
                "chips with attention and with experts are taken to be mixed evenly over the nodes; one published deployment of the kind is known, second hand",
            ),
            Self::TraceAboveCapacity { rate, most } => write!(
                f,
                "{rate:.2} requests/s come on average, and no more than {most:.2} are answered: those that wait add up"
            ),
            Self::ClosedForm => f.write_str(
                "means in closed form: `supernode project --phase serving` runs the deployment request by request",
            ),
            Self::HybridFabrics => {
                f.write_str("hybrid fabrics cannot be bought: they only share out the ratio between its causes")
            }
            Self::HybridPlans => {
                f.write_str("until the topology changes, a hybrid keeps the plan and batch of the baseline")
            }
            Self::HybridLimit { limit, batch_per_chip } => write!(
                f,
                "that plan is held to no time per token; those that are searched keep {:.0} ms, which the baseline reaches with {batch_per_chip} sequences a chip",
                limit.get() * 1e3
            ),
            Self::CircularReading { claim } => {
                write!(f, "{claim}: a reading whose inputs come from the announcement itself does not count")
            }
            Self::Worded(text) => f.write_str(text),
            Self::ScalingRule { keeps, source } => {
                write!(f, "to scale is to keep {:.0} % of the smallest machine's rate a chip: {source}", keeps * 100.0)
            }
        }
    }
}

impl Serialize for ProjectionCaveat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProjectionCaveat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::Worded)
    }
}

/// Adds those of `more` that `list` does not have yet.
pub fn add_new(list: &mut Vec<ProjectionCaveat>, more: &[ProjectionCaveat]) {
    for caveat in more {
        if !list.contains(caveat) {
            list.push(caveat.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_the_text() {
        let caveats = [
            (ProjectionCaveat::Record(Caveat::SoftwareAdapter), Caveat::SoftwareAdapter.to_string()),
            (
                ProjectionCaveat::DegreesCountDies { dies: 2.0, chip: "x".to_owned() },
                "degrees (tp, pp, ep, dp, cp) count dies, 2 to one x".to_owned(),
            ),
            (
                ProjectionCaveat::Extrapolated(vec!["router", "sort"]),
                "outside the measured shapes, so extrapolated at the nearest utilisation: router, sort".to_owned(),
            ),
            (
                ProjectionCaveat::LimitIgnored { limit: Seconds::new(0.05), fastest: Seconds::new(0.1234) },
                "no plan keeps 50 ms a token (the fastest takes 123 ms): this one ignores the limit".to_owned(),
            ),
        ];
        for (caveat, text) in caveats {
            assert_eq!(caveat.to_string(), text);
            assert_eq!(serde_json::to_value(&caveat).unwrap(), serde_json::Value::String(text));
        }
    }
}
