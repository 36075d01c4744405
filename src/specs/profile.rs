//! A device that is not here: what its driver would tell, and how fast, how large and how patient it is.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::specs::error::SpecError;
use crate::specs::sourced::Sourced;
use crate::specs::toml_file::{Builtin, bad, find, parse};

const BUILTIN: &Builtin = &[
    ("rtx-4090", include_str!("../../specs/devices/rtx-4090.toml")),
    ("rtx-3060", include_str!("../../specs/devices/rtx-3060.toml")),
    ("rtx-2060", include_str!("../../specs/devices/rtx-2060.toml")),
    ("h200", include_str!("../../specs/devices/h200.toml")),
    ("rx-7900-xtx", include_str!("../../specs/devices/rx-7900-xtx.toml")),
    ("rx-9070-xt", include_str!("../../specs/devices/rx-9070-xt.toml")),
    ("arc-a770", include_str!("../../specs/devices/arc-a770.toml")),
    ("apple-m1", include_str!("../../specs/devices/apple-m1.toml")),
    ("apple-m2", include_str!("../../specs/devices/apple-m2.toml")),
    ("apple-m2-max", include_str!("../../specs/devices/apple-m2-max.toml")),
    ("adreno-740", include_str!("../../specs/devices/adreno-740.toml")),
];

/// One device as the tool would find it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceProfile {
    /// Short name.
    pub(crate) name: String,
    /// Maker and product.
    pub(crate) title: String,
    /// The adapter's name as its driver reports it.
    pub(crate) adapter: String,
    /// The vendor's name.
    pub(crate) vendor: String,
    /// PCI vendor id.
    pub(crate) vendor_id: u32,
    /// PCI device id.
    pub(crate) device_id: u32,
    /// The driver's name.
    pub(crate) driver: String,
    /// The driver's version.
    pub(crate) driver_info: String,
    /// Graphics API.
    pub(crate) backend: String,
    /// `discrete` or `integrated`.
    pub(crate) device_type: String,
    /// Features, as in a record.
    pub(crate) features: Vec<String>,
    /// Subgroup sizes that a dispatch would see.
    pub(crate) subgroup_sizes_seen: Vec<u32>,
    /// Where features, limits and subgroup sizes are from.
    pub(crate) limits_source: String,
    /// Limits, as in a record.
    pub(crate) limits: BTreeMap<String, u64>,
    /// What it reaches.
    pub(crate) rates: Rates,
    /// What it holds.
    pub(crate) memory: ProfileMemory,
    /// How it clocks.
    pub(crate) clock: ClockRamp,
    /// What its driver takes and bears.
    pub(crate) driver_behaviour: DriverBehaviour,
    /// A typical machine around it.
    pub(crate) host: ProfileHost,
}

/// Peaks of a device, as its roofs would be measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rates {
    /// Multiply-adds in f32.
    pub(crate) fma_f32_flop_per_s: Sourced,
    /// Multiply-adds in f16, matrices aside.
    pub(crate) fma_f16_flop_per_s: Sourced,
    /// Cooperative matrices of f16 with f32 sums.
    pub(crate) matrix_f16_flop_per_s: Option<Sourced>,
    /// Packed int8 dot products; 8 operations each.
    pub(crate) dot_i8_op_per_s: Sourced,
    /// Memory.
    pub(crate) memory_bytes_per_s: Sourced,
    /// The last-level cache.
    pub(crate) cache_bytes_per_s: Sourced,
    /// Device time of an empty launch in a batch.
    pub(crate) launch_s: Sourced,
    /// Wall time of an empty launch, submitted and waited for.
    pub(crate) submit_s: Sourced,
}

/// Memory of a device.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileMemory {
    /// Size; the host's where it is shared.
    pub(crate) capacity_bytes: Sourced,
    /// The last-level cache.
    pub(crate) last_level_cache_bytes: Sourced,
}

/// How a device clocks up under load.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClockRamp {
    /// Share of the full clock after some idle time.
    pub(crate) idle_share: Sourced,
    /// Busy time until the full clock.
    pub(crate) rise_s: Sourced,
    /// Idle time until it is lost.
    pub(crate) fall_s: Sourced,
}

/// What a driver takes and bears.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriverBehaviour {
    /// To compile one pipeline.
    pub(crate) compilation_s: Sourced,
    /// To compile the worst of our pipelines.
    pub(crate) slow_compilation_s: Sourced,
    /// The longest submission before the system resets the device; absent where it has no such limit.
    pub(crate) watchdog_s: Option<Sourced>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileHost {
    /// Cores.
    pub(crate) cores: Sourced,
    /// Main memory.
    pub(crate) memory_bytes: Sourced,
    /// From host to device.
    pub(crate) upload_bytes_per_s: Sourced,
}

impl DeviceProfile {
    /// An embedded profile by name, or a file.
    ///
    /// # Errors
    /// [`SpecError`], one line: unknown name, unreadable file, an unknown key, a value out of range.
    pub(crate) fn load(name_or_path: &str) -> Result<Self, SpecError> {
        let (file, text) = find("device", BUILTIN, name_or_path)?;
        let profile: Self = parse(&file, &text)?;
        profile.check(&file)?;
        Ok(profile)
    }

    /// Names of the embedded profiles.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    fn check(&self, file: &str) -> Result<(), SpecError> {
        if !["discrete", "integrated"].contains(&&*self.device_type) {
            return Err(bad(file, "device_type", &self.device_type, "give discrete or integrated"));
        }
        if self.limits_source.trim().is_empty() {
            return Err(bad(file, "limits_source", "", "name the driver and its version"));
        }
        for (field, value) in self.values() {
            if let Some(remedy) = value.problem(false) {
                return Err(bad(file, field, value.value, remedy));
            }
        }
        Ok(())
    }

    /// Every value with its source.
    fn values(&self) -> Vec<(&'static str, &Sourced)> {
        let Self { rates, memory, clock, driver_behaviour: driver, host, .. } = self;
        let mut values = vec![
            ("rates.fma_f32_flop_per_s", &rates.fma_f32_flop_per_s),
            ("rates.fma_f16_flop_per_s", &rates.fma_f16_flop_per_s),
            ("rates.dot_i8_op_per_s", &rates.dot_i8_op_per_s),
            ("rates.memory_bytes_per_s", &rates.memory_bytes_per_s),
            ("rates.cache_bytes_per_s", &rates.cache_bytes_per_s),
            ("rates.launch_s", &rates.launch_s),
            ("rates.submit_s", &rates.submit_s),
            ("memory.capacity_bytes", &memory.capacity_bytes),
            ("memory.last_level_cache_bytes", &memory.last_level_cache_bytes),
            ("clock.idle_share", &clock.idle_share),
            ("clock.rise_s", &clock.rise_s),
            ("clock.fall_s", &clock.fall_s),
            ("driver_behaviour.compilation_s", &driver.compilation_s),
            ("driver_behaviour.slow_compilation_s", &driver.slow_compilation_s),
            ("host.cores", &host.cores),
            ("host.memory_bytes", &host.memory_bytes),
            ("host.upload_bytes_per_s", &host.upload_bytes_per_s),
        ];
        values.extend(rates.matrix_f16_flop_per_s.as_ref().map(|value| ("rates.matrix_f16_flop_per_s", value)));
        values.extend(driver.watchdog_s.as_ref().map(|value| ("driver_behaviour.watchdog_s", value)));
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_sound_and_names_the_source_of_each_figure() {
        assert!(DeviceProfile::names().count() >= 8);
        for name in DeviceProfile::names() {
            let profile = DeviceProfile::load(name).unwrap();
            assert_eq!(profile.name, name);
            assert!(profile.values().iter().all(|(_, value)| value.source.len() > 3), "{name}");
        }
    }

    #[test]
    fn a_profile_with_an_unknown_kind_of_device_says_what_to_give() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let text = BUILTIN[0].1.replace("\"discrete\"", "\"quantum\"");
        std::fs::write(&path, text).unwrap();
        let message = DeviceProfile::load(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(message.contains("device_type") && message.contains("discrete or integrated"), "{message}");
    }
}
