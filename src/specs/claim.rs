//! Claims: figures that somebody announced, and the readings under which they may be meant.

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::specs::error::SpecError;
use crate::specs::grid::{Grid, KeyKind};
use crate::specs::sourced::{Checked, Provenance};
use crate::specs::toml_file::{Builtin, bad, find, parse};

const BUILTIN: &Builtin = &[
    ("size", include_str!("../../specs/claims/size.toml")),
    ("peak", include_str!("../../specs/claims/peak.toml")),
    ("memory", include_str!("../../specs/claims/memory.toml")),
    ("bandwidth", include_str!("../../specs/claims/bandwidth.toml")),
    ("latency", include_str!("../../specs/claims/latency.toml")),
    ("latency-before", include_str!("../../specs/claims/latency-before.toml")),
    ("llama3", include_str!("../../specs/claims/llama3.toml")),
    ("moe", include_str!("../../specs/claims/moe.toml")),
    ("scale", include_str!("../../specs/claims/scale.toml")),
];

/// Keys of a reading in addition to those of a question.
const MORE: &[(&str, KeyKind)] = &[
    ("serving", KeyKind::Word(&["decode_only", "with_prefill"])),
    ("baseline_chip", KeyKind::Text),
    ("baseline_plan", KeyKind::Word(&["its own best", "the supernode's", "split over two nodes"])),
    ("baseline_overlap", KeyKind::Word(&["hidden", "exposed"])),
    ("mfu", KeyKind::Number(0.01, 1.0)),
    ("baseline_mfu", KeyKind::Number(0.01, 1.0)),
    ("flop_are", KeyKind::Word(&["six a weight", "with attention"])),
    ("tier", KeyKind::Text),
    ("baseline_tier", KeyKind::Text),
    ("bandwidth_is", KeyKind::Word(&["of the link", "reached by collectives"])),
    ("latency_is", KeyKind::Word(&["from chip to chip", "an equal share of each hop", "of a hop more"])),
    ("units", KeyKind::Word(&["decimal", "binary"])),
    ("global_batch", KeyKind::Word(&["grows with the machine", "stays"])),
];

/// What a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimQuantity {
    /// Throughput of one chip by the projection.
    TokensPerSPerChip,
    /// That over the baseline's.
    Speedup,
    /// The most chips of a series at which a chip keeps a share of its throughput.
    ChipsAtScale,
    /// Chips in a tier.
    Chips,
    /// Chips times peak.
    PeakFlopPerS,
    /// Chips times memory.
    MemoryBytes,
    /// Bandwidth of a tier over that of a tier of the baseline.
    BandwidthRatio,
    /// Latency of a tier.
    LatencyS,
    /// Latency of a tier of the baseline.
    BaselineLatencyS,
}

impl ClaimQuantity {
    /// Whether the projection is asked, rather than the files of chips and fabrics alone.
    pub const fn is_projected(self) -> bool {
        matches!(self, Self::TokensPerSPerChip | Self::Speedup | Self::ChipsAtScale)
    }
}

/// One figure as announced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What it is of.
    pub of: ClaimQuantity,
    /// The figure in words, as announced.
    pub said: String,
    /// The smallest value that it covers, in SI units: rounding, or the lower end of a range.
    pub low: f64,
    /// The largest value that it covers; absent for "at least".
    pub high: Option<f64>,
    /// The unit of `low` and `high`.
    pub unit: String,
    /// Kind of source.
    pub provenance: Provenance,
    /// The source in words.
    pub source: String,
    /// How far it was checked.
    pub checked: Checked,
}

/// How a series over growing machines is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalingRule {
    /// Numbers of chips, growing. The others are compared with the first.
    pub chips: Vec<u32>,
    /// The share of the first machine's throughput per chip that still counts as scaling.
    pub keeps: f64,
    /// Where that share comes from.
    pub source: String,
}

/// A claim: figures that hold together, and how they may be meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Short name.
    pub name: String,
    /// In words.
    pub title: String,
    /// The figures; a reading fits if all of them do.
    pub figures: Vec<Figure>,
    /// All readings.
    pub readings: Grid,
    /// How a series is judged, for a figure of [`ClaimQuantity::ChipsAtScale`].
    pub scaling: Option<ScalingRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    title: String,
    figures: Vec<Figure>,
    readings: Table,
    scaling: Option<ScalingRule>,
}

impl Claim {
    /// The names of the embedded claims, in the order of the announcement.
    pub fn builtin_names() -> Vec<&'static str> {
        BUILTIN.iter().map(|(name, _)| *name).collect()
    }

    /// An embedded claim by name, else the TOML file at this path.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn load(name_or_path: &str) -> Result<Self, SpecError> {
        let (file, text) = find("claim", BUILTIN, name_or_path)?;
        Self::parse(&file, &text)
    }

    /// A claim from TOML; `file` is named in errors.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        let File { name, title, figures, readings, scaling } = parse(file, text)?;
        let readings = Grid::from_table(file, &readings, MORE)?;
        let claim = Self { name, title, figures, readings, scaling };
        claim.validate(file)?;
        Ok(claim)
    }

    fn validate(&self, file: &str) -> Result<(), SpecError> {
        if self.figures.is_empty() {
            return Err(bad(file, "figures", "empty", "give at least one [[figures]]"));
        }
        let projected = self.is_projected();
        for figure in &self.figures {
            let positive = |value: f64| value.is_finite() && value > 0.0;
            if !positive(figure.low) || !figure.high.is_none_or(|high| positive(high) && high >= figure.low) {
                return Err(bad(file, "figures.low", figure.low, "give 0 < low <= high"));
            }
            if figure.source.trim().is_empty() {
                return Err(bad(file, "figures.source", "empty", "name its source"));
            }
            if figure.of.is_projected() != projected {
                return Err(bad(file, "figures.of", &figure.said, "a claim is projected or arithmetic, not both"));
            }
            if (figure.of == ClaimQuantity::ChipsAtScale) != self.scaling.is_some() {
                return Err(bad(
                    file,
                    "scaling",
                    "in the wrong place",
                    "give it with a figure of chips_at_scale, only",
                ));
            }
        }
        if let Some(scaling) = &self.scaling {
            let growing = scaling.chips.windows(2).all(|pair| pair[0] < pair[1]);
            if scaling.chips.len() < 2 || !growing || scaling.chips.first() == Some(&0) {
                return Err(bad(
                    file,
                    "scaling.chips",
                    "not growing",
                    "give at least two numbers, each above the last",
                ));
            }
            if !(0.0..=1.0).contains(&scaling.keeps) {
                return Err(bad(file, "scaling.keeps", scaling.keeps, "give a share from 0 to 1"));
            }
        }
        Ok(())
    }

    /// Whether the projection answers it.
    pub fn is_projected(&self) -> bool {
        self.figures.first().is_some_and(|figure| figure.of.is_projected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_claim_loads_under_its_own_name() {
        for name in Claim::builtin_names() {
            let claim = Claim::load(name).unwrap();
            assert_eq!(claim.name, name);
            assert!(!claim.readings.is_empty());
        }
    }

    #[test]
    fn a_bad_claim_file_is_one_line_that_names_file_and_key() {
        let good = BUILTIN.iter().find(|(name, _)| *name == "scale").unwrap().1;
        let cases = [
            (good.replace("keeps = 0.8", "keeps = 1.8"), "scaling.keeps"),
            (good.replace("chips = [384,", "chips = [999999,"), "scaling.chips"),
            (good.replace("low = 20000", "low = -1"), "figures.low"),
            (good.replace("said =", "sayed ="), "sayed"),
            (good.replace("phase =", "phaze ="), "phaze"),
            (good.replace("chips_at_scale", "speedup"), "scaling"),
            ("[".to_owned(), "line 1"),
        ];
        for (text, expected) in cases {
            assert_ne!(text, good, "{expected}: nothing was changed");
            let message = Claim::parse("my.toml", &text).unwrap_err().to_string();
            assert!(message.starts_with("my.toml") && message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
