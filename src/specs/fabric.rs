//! A fabric: the tiers that chips hang off, from the node outwards.

use serde::Deserialize;

use super::error::SpecError;
use super::sourced::Sourced;
use super::toml_file::{Builtin, bad, find, parse};

const BUILTIN: &Builtin = &[
    ("cloudmatrix384", include_str!("../../specs/fabrics/cloudmatrix384.toml")),
    ("cloudmatrix384-announced", include_str!("../../specs/fabrics/cloudmatrix384-announced.toml")),
    ("roce-cluster", include_str!("../../specs/fabrics/roce-cluster.toml")),
];

/// A fabric.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fabric {
    /// Short name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// From the innermost outwards.
    pub tiers: Vec<Tier>,
}

/// One tier of a fabric: what two chips of it, that share no inner tier, talk over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Node, supernode, scale-out.
    pub name: String,
    /// Chips in one tier of this kind, all inner tiers included.
    pub chips: u64,
    /// Tiers with the same port share the chip's injection bandwidth.
    pub port: String,
    /// Bandwidth a chip and direction; absent where the chip's own scale-up links serve the tier.
    pub bandwidth_bytes_per_s: Option<Sourced>,
    /// Share of the bandwidth that collectives reach.
    pub link_efficiency: Sourced,
    /// Latency, of what `latency_is` says.
    pub latency_s: Sourced,
    /// What `latency_s` is of.
    pub latency_is: LatencyIs,
    /// Switches on the way between two chips of this tier; only used if `latency_is` is `hop`.
    pub hops: u64,
    /// Time to issue one message.
    pub message_overhead_s: Sourced,
    /// Fixed cost of an all-reduce, all-gather or send: software, synchronisation.
    pub collective_fixed_s: Sourced,
    /// Fixed cost of a dispatch or combine.
    pub all_to_all_fixed_s: Sourced,
}

/// What a latency is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyIs {
    /// One switch.
    Hop,
    /// From chip to chip, software included.
    EndToEnd,
}

impl Fabric {
    /// The names of the embedded fabrics.
    pub fn builtin_names() -> Vec<&'static str> {
        BUILTIN.iter().map(|(name, _)| *name).collect()
    }

    /// An embedded fabric by name, else the TOML file at this path.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn load(name_or_path: &str) -> Result<Self, SpecError> {
        let (file, text) = find("fabric", BUILTIN, name_or_path)?;
        Self::parse(&file, &text)
    }

    /// A fabric from TOML; `file` is named in errors.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        let fabric: Self = parse(file, text)?;
        if fabric.tiers.is_empty() {
            return Err(bad(file, "tiers", "empty", "give at least one [[tiers]]"));
        }
        let mut inner = 1;
        for tier in &fabric.tiers {
            tier.validate(file, inner)?;
            inner = tier.chips;
        }
        Ok(fabric)
    }

    /// The most chips that it joins.
    pub fn max_chips(&self) -> u64 {
        self.tiers.last().map_or(0, |tier| tier.chips)
    }
}

impl Tier {
    fn validate(&self, file: &str, inner: u64) -> Result<(), SpecError> {
        let key = |field: &str| format!("tiers.{}.{field}", self.name);
        if self.chips <= inner || self.chips > 10_000_000 || !self.chips.is_multiple_of(inner) {
            let remedy =
                format!("it must be a multiple of the {inner} of the tier inside it, greater than that, at most 1e7");
            return Err(bad(file, &key("chips"), self.chips, &remedy));
        }
        if self.hops == 0 || self.hops > 100 {
            return Err(bad(file, &key("hops"), self.hops, "give 1 to 100"));
        }
        let rates = [
            ("bandwidth_bytes_per_s", self.bandwidth_bytes_per_s.as_ref()),
            ("link_efficiency", Some(&self.link_efficiency)),
        ];
        let times = [
            ("latency_s", &self.latency_s),
            ("message_overhead_s", &self.message_overhead_s),
            ("collective_fixed_s", &self.collective_fixed_s),
            ("all_to_all_fixed_s", &self.all_to_all_fixed_s),
        ];
        let rates = rates.into_iter().filter_map(|(field, value)| value.map(|value| (field, value, false)));
        for (field, value, zero_allowed) in rates.chain(times.map(|(field, value)| (field, value, true))) {
            if let Some(remedy) = value.problem(zero_allowed) {
                return Err(bad(file, &key(field), value.value, remedy));
            }
        }
        if self.link_efficiency.high.unwrap_or(0.0).max(self.link_efficiency.value) > 1.0 {
            return Err(bad(file, &key("link_efficiency"), self.link_efficiency.value, "a share is at most 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_fabric_loads_under_its_own_name() {
        for name in Fabric::builtin_names() {
            assert_eq!(Fabric::load(name).unwrap().name, name);
        }
    }

    #[test]
    fn the_supernode_has_48_nodes_of_8() {
        let fabric = Fabric::load("cloudmatrix384").unwrap();
        assert_eq!(fabric.tiers[0].chips, 8);
        assert_eq!(fabric.tiers[1].chips, 48 * 8);
    }

    #[test]
    fn a_bad_fabric_file_is_one_line_that_names_file_and_key() {
        let good = BUILTIN[0].1;
        let cases = [
            (good.replace("chips = 384\n", "chips = 8\n"), "tiers.supernode.chips"),
            (good.replace("chips = 384\n", "chips = 0\n"), "tiers.supernode.chips"),
            (good.replace("chips = 384\n", "chips = 12\n"), "tiers.supernode.chips"),
            (good.replace("hops = 1", "hops = 0"), "tiers.node.hops"),
            (good.replace("value = 392e9", "value = inf"), "tiers.node.bandwidth_bytes_per_s"),
            (good.replace("latency_s", "delay_s"), "delay_s"),
            ("name = \"x\"\ntitle = \"y\"\ntiers = []\n".to_owned(), "`tiers` is empty"),
        ];
        for (text, expected) in cases {
            assert_ne!(text, good, "{expected}: nothing was changed");
            let message = Fabric::parse("my.toml", &text).unwrap_err().to_string();
            assert!(message.starts_with("my.toml") && message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
