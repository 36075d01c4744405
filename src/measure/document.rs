//! The document of a run before its first case.

use std::collections::BTreeMap;

use super::host;
use super::planning::rotation_bytes;
use super::session::Options;
use crate::record::{
    Caveat, Ceiling, CeilingKind, Clock, Device, DeviceType, Preset, Protocol, Record, Reference, SCHEMA_VERSION,
    Selection, Tool,
};
use crate::units::{FlopPerSecond, Seconds};

/// Smoke for what reaches less than an integrated GPU, full for what a discrete one reaches; smoke where nobody knows.
pub(super) fn choose_preset(f32_rate: Option<FlopPerSecond>) -> (Preset, String) {
    let Some(f32_rate) = f32_rate else {
        return (Preset::Smoke, "chosen because the f32 rate could not be measured".to_owned());
    };
    let preset = match f32_rate.get() {
        rate if rate < 200e9 => Preset::Smoke,
        rate if rate < 5e12 => Preset::Quick,
        _ => Preset::Full,
    };
    (preset, format!("chosen from the measured f32 rate, {f32_rate}"))
}

pub(super) fn protocol(
    preset: Preset,
    preset_reason: String,
    clock: Clock,
    device: &Device,
    ceilings: &BTreeMap<CeilingKind, Ceiling>,
    options: &Options,
) -> Protocol {
    let cache = ceilings.get(&CeilingKind::CacheRead).and_then(|roof| roof.last_level_cache?.bytes());
    let software = device.device_type == DeviceType::Software;
    Protocol {
        preset,
        preset_reason,
        selection: options.selection.clone(),
        seed: options.seed,
        clock,
        runtime_checks: options.runtime_checks,
        rotation_bytes: rotation_bytes(device, cache),
        target_relative_ci: if software { 0.05 } else { 0.01 },
        sample_budget_s: Seconds::new(match preset {
            // Many times as many cases in the same minutes.
            Preset::Smoke if options.selection == Selection::AllVariants => 0.12,
            Preset::Smoke => 0.4,
            Preset::Quick => 0.5,
            Preset::Full => 1.0,
        }),
    }
}

pub(super) fn document(
    device: &Device,
    protocol: Protocol,
    reference: Option<Reference>,
    planned: Vec<String>,
) -> Record {
    let mut caveats = Vec::new();
    if device.device_type == DeviceType::Software {
        caveats.push(Caveat::SoftwareAdapter);
    }
    if protocol.clock == Clock::Wall {
        caveats.push(Caveat::WallClock);
    }
    Record {
        schema_version: SCHEMA_VERSION,
        complete: false,
        created_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        tool: Tool {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: option_env!("SUPERNODE_GIT_COMMIT").map(str::to_owned),
        },
        host: host::describe(),
        device: device.clone(),
        protocol,
        caveats,
        ceilings: BTreeMap::new(),
        reference,
        time_spent: None,
        planned,
        cases: Vec::new(),
        left_out: Vec::new(),
        rejected: Vec::new(),
    }
}
