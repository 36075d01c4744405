//! A chip: peaks by type, memory, links, and how much of its peaks kernels reach.

use serde::Deserialize;

use crate::specs::error::SpecError;
use crate::specs::sourced::{NumberType, Sourced};
use crate::specs::toml_file::{Builtin, SpecFacts, bad, embedded, parse};

const BUILTIN: &Builtin = embedded!(
    "chips",
    [
        "ascend-910c",
        "h100",
        "h200",
        "h800",
        "a100",
        "b200",
        "mi300x",
        "h20",
        "b300",
        "gb200",
        "gb300",
        "l40s",
        "rtx-pro-6000",
        "mi325x",
        "mi355x",
        "ascend-910b"
    ]
);

/// A chip as one package, whatever its number of dies.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chip {
    /// Short name.
    pub name: String,
    /// Maker and product.
    pub title: String,
    /// Dies of a package that programs see as devices of their own. Each is a rank: degrees of plans count them, as
    /// published expert-parallel degrees do.
    pub dies: Sourced,
    /// Power of the package at most, watts: thermal design or board power. Without it, answers leave energy out.
    pub power_w: Option<Sourced>,
    /// Whether two micro-batches may run side by side on a die, as on CloudMatrix384. In decode its cores are split
    /// between attention and experts. In prefill, vector cores lay out and sum the copies of one micro-batch while the
    /// other computes.
    #[serde(default)]
    pub splits_cores: bool,
    /// Dense arithmetic peak by type.
    pub peak_flop_per_s: Peaks,
    /// Memory of the package.
    pub memory: ChipMemory,
    /// Links of the package, bytes per second and direction.
    pub links: Links,
    /// Costs besides arithmetic and traffic.
    pub overhead: Overhead,
    /// Share of the peaks that kernels reach.
    pub efficiency: Efficiency,
}

/// Dense peaks; absent where the chip has no such unit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peaks {
    /// IEEE binary32.
    pub f32: Option<Sourced>,
    /// IEEE binary16.
    pub f16: Option<Sourced>,
    /// bfloat16.
    pub bf16: Option<Sourced>,
    /// 8-bit float.
    pub fp8: Option<Sourced>,
    /// 8-bit integer.
    pub int8: Option<Sourced>,
    /// 4-bit float with a scale per 16, both operands in it.
    pub nvfp4: Option<Sourced>,
    /// 4-bit float with a scale per 32, both operands in it.
    pub mxfp4: Option<Sourced>,
}

/// Memory of a chip.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChipMemory {
    /// Size.
    pub capacity_bytes: Sourced,
    /// Share of it that weights, cache and activations may fill.
    pub usable_fraction: Sourced,
    /// Peak bandwidth.
    pub bandwidth_bytes_per_s: Sourced,
    /// Share of the cores that reaches the whole bandwidth; used where micro-batches split the cores.
    pub saturating_cores: Option<Sourced>,
}

/// Links of a chip; a fabric may use them or bring its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// To the chips of a node.
    pub scale_up_bytes_per_s: Sourced,
    /// To the network.
    pub scale_out_bytes_per_s: Sourced,
}

/// Costs besides arithmetic and traffic.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overhead {
    /// Fixed time of a kernel launch.
    pub launch_s: Sourced,
    /// Share of the arithmetic peak that the clock keeps under the long load of prefill and training.
    pub sustained_clock: Sourced,
    /// Fixed time of a step: host scheduling, sampling, start of a graph.
    pub step_s: Sourced,
    /// Share of the cores that a dispatch or combine of many tokens (prefill, training) holds while compute runs too.
    pub communication_cores: Sourced,
    /// Share of the cores that the low-latency kernels of decode hold.
    pub decode_communication_cores: Sourced,
}

/// Share of a peak that kernels of a class reach.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Efficiency {
    /// Attention, of the arithmetic peak.
    pub attention_compute: Sourced,
    /// Causal attention of prefill and training, of the arithmetic peak; as `attention_compute` where it is not given.
    pub prefill_attention_compute: Option<Sourced>,
    /// Attention, of the memory peak.
    pub attention_memory: Sourced,
    /// Matrix products, of the arithmetic peak.
    pub gemm_compute: Sourced,
    /// Matrix products, of the memory peak.
    pub gemm_memory: Sourced,
    /// Router, top-k and sort, of the memory peak.
    pub gating_memory: Sourced,
    /// Norms, rotations, activations and casts, of the memory peak.
    pub vector_memory: Sourced,
}

impl Peaks {
    /// The peak for this type; f16 and bf16 run on the same units, so that either peak serves both.
    pub fn of(&self, number_type: NumberType) -> Option<&Sourced> {
        match number_type {
            NumberType::F32 => self.f32.as_ref(),
            NumberType::F16 => self.f16.as_ref().or(self.bf16.as_ref()),
            NumberType::Bf16 => self.bf16.as_ref().or(self.f16.as_ref()),
            NumberType::Fp8 => self.fp8.as_ref(),
            NumberType::Int8 => self.int8.as_ref(),
            NumberType::Nvfp4 => self.nvfp4.as_ref(),
            NumberType::Mxfp4 => self.mxfp4.as_ref(),
        }
    }
}

impl Chip {
    /// The names of the embedded chips.
    pub fn builtin_names() -> Vec<&'static str> {
        BUILTIN.iter().map(|(name, _)| *name).collect()
    }

    /// An embedded chip by name, else the TOML file at this path.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn load(name_or_path: &str) -> Result<Self, SpecError> {
        let facts = Self::facts(name_or_path)?;
        facts.parse::<Self>()?.checked(&facts.file)
    }

    /// What the file says.
    pub(super) fn facts(name_or_path: &str) -> Result<SpecFacts, SpecError> {
        SpecFacts::find("chip", BUILTIN, name_or_path)
    }

    /// A chip from TOML; `file` is named in errors.
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

    fn validate(&self, file: &str) -> Result<(), SpecError> {
        for (field, value) in self.values() {
            let is_share = field.starts_with("efficiency.")
                || field.ends_with("fraction")
                || field.ends_with("clock")
                || field.ends_with("_cores");
            let zero_allowed = field.starts_with("overhead.");
            if let Some(remedy) = value.problem(zero_allowed) {
                return Err(bad(file, field, value.value, remedy));
            }
            if is_share && value.high.unwrap_or(value.value).max(value.value) > 1.0 {
                return Err(bad(file, field, value.value, "a share is at most 1"));
            }
        }
        if self.peak_flop_per_s.of(NumberType::Bf16).is_none() && self.peak_flop_per_s.f32.is_none() {
            return Err(bad(file, "peak_flop_per_s", "without bf16, f16 or f32", "give at least one of these"));
        }
        Ok(())
    }

    fn values(&self) -> impl Iterator<Item = (&'static str, &Sourced)> {
        let (p, m, l, o, e) = (&self.peak_flop_per_s, &self.memory, &self.links, &self.overhead, &self.efficiency);
        [
            ("dies", Some(&self.dies)),
            ("power_w", self.power_w.as_ref()),
            ("peak_flop_per_s.f32", p.f32.as_ref()),
            ("peak_flop_per_s.f16", p.f16.as_ref()),
            ("peak_flop_per_s.bf16", p.bf16.as_ref()),
            ("peak_flop_per_s.fp8", p.fp8.as_ref()),
            ("peak_flop_per_s.int8", p.int8.as_ref()),
            ("peak_flop_per_s.nvfp4", p.nvfp4.as_ref()),
            ("peak_flop_per_s.mxfp4", p.mxfp4.as_ref()),
            ("memory.capacity_bytes", Some(&m.capacity_bytes)),
            ("memory.usable_fraction", Some(&m.usable_fraction)),
            ("memory.bandwidth_bytes_per_s", Some(&m.bandwidth_bytes_per_s)),
            ("memory.saturating_cores", m.saturating_cores.as_ref()),
            ("links.scale_up_bytes_per_s", Some(&l.scale_up_bytes_per_s)),
            ("links.scale_out_bytes_per_s", Some(&l.scale_out_bytes_per_s)),
            ("overhead.launch_s", Some(&o.launch_s)),
            ("overhead.step_s", Some(&o.step_s)),
            ("overhead.sustained_clock", Some(&o.sustained_clock)),
            ("overhead.communication_cores", Some(&o.communication_cores)),
            ("overhead.decode_communication_cores", Some(&o.decode_communication_cores)),
            ("efficiency.attention_compute", Some(&e.attention_compute)),
            ("efficiency.prefill_attention_compute", e.prefill_attention_compute.as_ref()),
            ("efficiency.attention_memory", Some(&e.attention_memory)),
            ("efficiency.gemm_compute", Some(&e.gemm_compute)),
            ("efficiency.gemm_memory", Some(&e.gemm_memory)),
            ("efficiency.gating_memory", Some(&e.gating_memory)),
            ("efficiency.vector_memory", Some(&e.vector_memory)),
        ]
        .into_iter()
        .filter_map(|(field, value)| value.map(|value| (field, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_chip_loads_under_its_own_name() {
        for name in Chip::builtin_names() {
            assert_eq!(Chip::load(name).unwrap().name, name);
        }
    }

    #[test]
    fn an_embedded_chip_is_what_its_file_says() {
        for name in Chip::builtin_names() {
            let path = format!("{}/specs/chips/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            assert_eq!(Chip::load(name).unwrap(), Chip::load(&path).unwrap());
        }
    }

    #[test]
    fn a_bad_chip_file_is_one_line_that_names_file_and_key() {
        let good = include_str!("../../specs/chips/ascend-910c.toml");
        let cases = [
            (good.replace("launch_s", "lunch_s"), "lunch_s"),
            (good.replace("power_w = ", "power = "), "power"),
            (good.replace("power_w = { value = 700.0, low = 620.0", "power_w = { value = -700.0"), "power_w"),
            (good.replace("value = 3.2e12", "value = -1.0"), "memory.bandwidth_bytes_per_s"),
            (good.replace("value = 3.2e12", "value = nan"), "memory.bandwidth_bytes_per_s"),
            (good.replace("value = 3.2e12", "value = \"fast\""), "line"),
            (good.replace("value = 0.841, low = 0.76, high = 0.88", "value = 1.5"), "efficiency.attention_memory"),
            (good.replace("value = 0.841, low = 0.76", "value = 0.841, low = 0.9"), "low <= value <= high"),
            ("[".to_owned(), "line 1"),
        ];
        for (text, expected) in cases {
            assert_ne!(text, good, "{expected}: nothing was changed");
            let message = Chip::parse("my.toml", &text).unwrap_err().to_string();
            assert!(message.starts_with("my.toml") && message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn an_unknown_chip_lists_the_known_ones() {
        let message = Chip::load("z80").unwrap_err().to_string();
        assert!(message.contains("ascend-910c") && message.contains("TOML"), "{message}");
    }
}
