//! A fabric: the tiers that chips hang off, from the node outwards.

#[cfg(test)]
mod tests;
mod value;

use serde::{Deserialize, Serialize};

use crate::specs::error::SpecError;
use crate::specs::sourced::Sourced;
use crate::specs::toml_file::{Builtin, SpecFacts, bad, embedded, parse};

const BUILTIN: &Builtin = embedded!(
    "fabrics",
    [
        "cloudmatrix384",
        "cloudmatrix384-announced",
        "roce-cluster",
        "h800-ib",
        "h800-ib-rdma",
        "h100-ib",
        "nvl72",
        "ub-mesh-pod",
        "supercluster",
        "hgx-400g",
        "hgx-800g",
        "nvl72-800g",
        "pcie8-400g",
        "xgmi8",
        "xgmi8-400g"
    ]
);

const MOST_CHIPS: u64 = 10_000_000;
const MOST_PLANES: u64 = 64;
const MOST_TIERS: usize = 8;
/// Beyond these limits a value is a slip of the pen. The fastest rate is far higher: it may mean "endless".
const FASTEST_BYTES_PER_S: f64 = 1e30;
const SLOWEST_BYTES_PER_S: f64 = 1.0;
const LONGEST_S: f64 = 10.0;

/// A fabric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fabric {
    /// Short name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Power of the whole system at most over that of its packages: hosts, switches, optics, conversion and fans beside
    /// them. Without it, answers leave energy out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_over_chips: Option<Sourced>,
    /// How the members of a tier are joined.
    #[serde(default)]
    pub topology: Topology,
    /// The dies of a chip where each is a rank of its own, as on CloudMatrix; absent where a rank is a chip.
    pub dies: Option<Dies>,
    /// From the innermost outwards.
    pub tiers: Vec<Tier>,
    /// Time in which a rank's cores quantise and issue one copy of a token in a dispatch, without its transfer.
    pub dispatch_copy_s: Option<Sourced>,
    /// Which values `supernode fabric fit` fits, and on which published rows.
    pub fit: Option<Fit>,
}

/// How the members of a tier are joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// Through switches: any two at the rate of their ports.
    #[default]
    Switched,
    /// A direct link between any two members that differ in this tier's coordinate alone (an n-dimensional full mesh).
    FullMesh,
}

/// Dies of a package that communicate as ranks of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dies {
    /// Dies per chip. Each has its share of the chip's ports.
    pub per_chip: u64,
    /// Bandwidth between dies of a package, per die and direction.
    pub bandwidth_bytes_per_s: Sourced,
    /// Latency between dies of a package.
    pub latency_s: Sourced,
}

/// One tier of a fabric: the links between two of its chips that share no inner tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Node, supernode, scale-out.
    pub name: String,
    /// Chips in one tier of this kind, all inner tiers included.
    pub chips: u64,
    /// Tiers with the same port share the chip's injection bandwidth.
    pub port: String,
    /// Bandwidth per chip and direction; absent where the chip's own scale-up links serve the tier.
    pub bandwidth_bytes_per_s: Option<Sourced>,
    /// Share of the bandwidth that collectives reach.
    pub link_efficiency: Sourced,
    /// Share that dispatch and combine reach, where their kernels reach another.
    pub all_to_all_efficiency: Option<Sourced>,
    /// Latency of what `latency_is` says.
    pub latency_s: Sourced,
    /// What `latency_s` covers.
    pub latency_is: LatencyIs,
    /// Switches on the way between two chips of this tier; only used if `latency_is` is `hop`.
    pub hops: u64,
    /// Time to issue one message of a ring, tree or send.
    pub message_overhead_s: Sourced,
    /// Fixed cost of an all-reduce, all-gather or send: software, synchronisation.
    pub collective_fixed_s: Sourced,
    /// Fixed cost of a dispatch or combine whose peers are all on this tier: launch, exchange of counts, completion
    /// flags. With peers on several tiers the cost is the mean, weighted by the peers on each.
    pub all_to_all_fixed_s: Sourced,
    /// Parallel switch planes over which a chip's traffic is spread.
    #[serde(default = "one")]
    pub planes: u64,
    /// How traffic is spread over the planes.
    #[serde(default)]
    pub spread: Spread,
    /// Switches of a plane at this tier, each an equal share of the plane.
    #[serde(default = "one")]
    pub switches_per_plane: u64,
    /// Bandwidth of the members of an inner tier over that of their uplink; 1 where absent.
    pub oversubscription: Option<Sourced>,
    /// Whether the switches of this tier reduce (NVLink SHARP and its kin).
    #[serde(default)]
    pub in_switch_reduce: bool,
}

/// How traffic is spread over planes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// Each message uses all planes that join its ends, in proportion to what is left of each.
    #[default]
    Spray,
    /// Each pair of ranks uses one plane, chosen by a hash (ECMP).
    Hash,
}

/// What a latency covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyIs {
    /// One switch.
    Hop,
    /// From chip to chip, software included.
    EndToEnd,
}

/// The free parameters of a fabric, and the published rows that they are fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Keys such as `node.all_to_all_fixed_s`, at most four.
    pub free: Vec<String>,
    /// Ids of rows in specs/validation/fabric.toml.
    pub rows: Vec<String>,
}

const fn one() -> u64 {
    1
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
        let facts = Self::facts(name_or_path)?;
        facts.parse::<Self>()?.checked(&facts.file)
    }

    /// What the file says.
    pub(super) fn facts(name_or_path: &str) -> Result<SpecFacts, SpecError> {
        SpecFacts::find("fabric", BUILTIN, name_or_path)
    }

    /// A fabric from TOML; `file` is named in errors.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        parse::<Self>(file, text)?.checked(file)
    }

    fn checked(self, file: &str) -> Result<Self, SpecError> {
        self.validate(file)?;
        Ok(self)
    }

    /// Whether the values can be; `file` is named in errors.
    ///
    /// # Errors
    /// [`SpecError::Value`] with file and key.
    pub fn validate(&self, file: &str) -> Result<(), SpecError> {
        if self.name.trim().is_empty() || self.name.chars().any(char::is_control) {
            return Err(bad(file, "name", "empty or has control characters", "give a short name"));
        }
        if self.tiers.is_empty() || self.tiers.len() > MOST_TIERS {
            let value = if self.tiers.is_empty() { "empty".to_owned() } else { self.tiers.len().to_string() };
            return Err(bad(file, "tiers", value, "give 1 to 8 [[tiers]]"));
        }
        let mut inner = 1;
        for (place, tier) in self.tiers.iter().enumerate() {
            tier.validate(file, inner)?;
            if self.tiers.iter().take(place).any(|other| other.name == tier.name) {
                return Err(bad(file, &format!("tiers.{}", tier.name), "there twice", "give each tier its own name"));
            }
            if self.topology == Topology::FullMesh && (tier.planes > 1 || tier.oversubscription.is_some()) {
                let key = format!("tiers.{}.planes", tier.name);
                return Err(bad(
                    file,
                    &key,
                    tier.planes,
                    "a full mesh has no switches: leave planes and oversubscription out",
                ));
            }
            inner = tier.chips;
        }
        if let Some(dies) = &self.dies {
            dies.validate(file)?;
            if self.topology == Topology::FullMesh {
                return Err(bad(file, "dies", "given", "dies as ranks work on switched fabrics only: leave it out"));
            }
        }
        if let Some(copy) = &self.dispatch_copy_s {
            check(file, "dispatch_copy_s", copy, ValueKind::Time)?;
        }
        if let Some(ratio) = &self.power_over_chips {
            check(file, "power_over_chips", ratio, ValueKind::Factor)?;
        }
        if let Some(fit) = &self.fit
            && (fit.free.len() > 4 || fit.free.len() > fit.rows.len())
        {
            return Err(bad(file, "fit.free", fit.free.len(), "give at most four, and no more than rows"));
        }
        Ok(())
    }

    /// The innermost tier that joins so many chips; the outermost where none does.
    pub fn tier_joining(&self, chips: u64) -> Option<&Tier> {
        self.tiers.iter().find(|tier| tier.chips >= chips).or(self.tiers.last())
    }

    /// The most chips that it joins.
    pub fn max_chips(&self) -> u64 {
        self.tiers.last().map_or(0, |tier| tier.chips)
    }

    /// What published expert-parallel degrees of this fabric count.
    pub fn rank_unit(&self) -> &'static str {
        if self.ranks_per_chip() > 1 { "die" } else { "chip" }
    }

    /// Ranks of a chip: its dies where they are ranks of their own.
    pub fn ranks_per_chip(&self) -> u64 {
        self.dies.as_ref().map_or(1, |dies| dies.per_chip)
    }

    /// The most ranks that it joins.
    pub fn max_ranks(&self) -> u64 {
        self.max_chips() * self.ranks_per_chip()
    }
}

impl Dies {
    fn validate(&self, file: &str) -> Result<(), SpecError> {
        if !(2..=16).contains(&self.per_chip) {
            return Err(bad(file, "dies.per_chip", self.per_chip, "give 2 to 16, or leave [dies] out"));
        }
        check(file, "dies.bandwidth_bytes_per_s", &self.bandwidth_bytes_per_s, ValueKind::Rate)?;
        check(file, "dies.latency_s", &self.latency_s, ValueKind::Time)
    }
}

/// What a value is, hence what range it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Rate,
    Time,
    Share,
    Factor,
}

fn check(file: &str, key: &str, value: &Sourced, kind: ValueKind) -> Result<(), SpecError> {
    if let Some(remedy) = value.problem(kind == ValueKind::Time) {
        return Err(bad(file, key, value.value, remedy));
    }
    let ends = [value.low.unwrap_or(value.value), value.value, value.high.unwrap_or(value.value)];
    let (least, most, remedy) = match kind {
        ValueKind::Rate => (SLOWEST_BYTES_PER_S, FASTEST_BYTES_PER_S, "give bytes per second, from 1 to 1e30"),
        ValueKind::Time => (0.0, LONGEST_S, "give seconds, at most 10"),
        ValueKind::Share => (1e-6, 1.0, "a share is above 0 and at most 1"),
        ValueKind::Factor => (1.0, 1e6, "give a ratio from 1 to 1e6"),
    };
    match ends.into_iter().find(|end| !(least..=most).contains(end)) {
        Some(end) => Err(bad(file, key, end, remedy)),
        None => Ok(()),
    }
}

impl Tier {
    fn validate(&self, file: &str, inner: u64) -> Result<(), SpecError> {
        let key = |field: &str| format!("tiers.{}.{field}", self.name);
        if self.name.is_empty()
            || self.name.chars().any(|c| c == '.' || c == '=' || c.is_control() || c.is_whitespace())
        {
            return Err(bad(
                file,
                "tiers.name",
                format!("`{}`", self.name.escape_debug()),
                "give one word without dots",
            ));
        }
        if self.chips <= inner || self.chips > MOST_CHIPS || !self.chips.is_multiple_of(inner) {
            let remedy =
                format!("it must be a multiple of the {inner} of the tier inside it, greater than that, at most 1e7");
            return Err(bad(file, &key("chips"), self.chips, &remedy));
        }
        for (field, value, most) in [
            ("hops", self.hops, 100),
            ("planes", self.planes, MOST_PLANES),
            ("switches_per_plane", self.switches_per_plane, 10_000),
        ] {
            if value == 0 || value > most {
                return Err(bad(file, &key(field), value, &format!("give 1 to {most}")));
            }
        }
        let values = [
            ("bandwidth_bytes_per_s", self.bandwidth_bytes_per_s.as_ref(), ValueKind::Rate),
            ("link_efficiency", Some(&self.link_efficiency), ValueKind::Share),
            ("all_to_all_efficiency", self.all_to_all_efficiency.as_ref(), ValueKind::Share),
            ("latency_s", Some(&self.latency_s), ValueKind::Time),
            ("message_overhead_s", Some(&self.message_overhead_s), ValueKind::Time),
            ("collective_fixed_s", Some(&self.collective_fixed_s), ValueKind::Time),
            ("all_to_all_fixed_s", Some(&self.all_to_all_fixed_s), ValueKind::Time),
            ("oversubscription", self.oversubscription.as_ref(), ValueKind::Factor),
        ];
        for (field, value, kind) in values {
            if let Some(value) = value {
                check(file, &key(field), value, kind)?;
            }
        }
        Ok(())
    }
}
