//! The document of a run before its first case.

use std::collections::BTreeMap;

use super::estimate::Estimate;
use super::host;
use super::planning::rotation_bytes;
use super::session::{Options, SessionError};
use crate::record::{
    Caveat, Ceiling, CeilingKind, Clock, Device, DeviceType, Preset, Protocol, Record, Reference, SCHEMA_VERSION,
    Selection, Tool,
};
use crate::units::{FlopPerSecond, Seconds};

/// The longest first run that nobody asked to be longer: on a device as fast as [`LEAST_FOR_FULL`], and on a slower one.
const PATIENCE_WITH_FAST: Seconds = Seconds::new(300.0);
const PATIENCE: Seconds = Seconds::new(480.0);
/// Below this an adapter is a CPU, or as slow as one.
const LEAST_FOR_QUICK: FlopPerSecond = FlopPerSecond::new(200e9);
/// What all models at their true sizes ask for.
const LEAST_FOR_FULL: FlopPerSecond = FlopPerSecond::new(30e12);
const MEMORY_FOR_FULL: u64 = 16_000_000_000;

/// A preset, why it, and what it will take.
pub(super) struct ChosenPreset {
    pub(super) preset: Preset,
    pub(super) reason: String,
    pub(super) estimate: Estimate,
}

/// The largest preset that the device has the speed and the memory for and that ends within minutes, unless one is asked
/// for. `estimated` gives what a preset will take.
pub(super) fn choose_preset(
    asked: Option<Preset>,
    device: &Device,
    f32_rate: Option<FlopPerSecond>,
    estimated: &dyn Fn(Preset) -> Result<Estimate, SessionError>,
) -> Result<ChosenPreset, SessionError> {
    if let Some(preset) = asked {
        return Ok(ChosenPreset { preset, reason: "asked for".to_owned(), estimate: estimated(preset)? });
    }
    let Some(f32_rate) = f32_rate else {
        let reason = "chosen because the f32 rate could not be measured".to_owned();
        return Ok(ChosenPreset { preset: Preset::Smoke, reason, estimate: estimated(Preset::Smoke)? });
    };
    let patience = if f32_rate >= LEAST_FOR_FULL { PATIENCE_WITH_FAST } else { PATIENCE };
    let is_gpu = device.device_type != DeviceType::Software && f32_rate >= LEAST_FOR_QUICK;
    let is_large = is_gpu
        && f32_rate >= LEAST_FOR_FULL
        && device.own_memory_bytes().or(device.memory_bytes).is_none_or(|memory| memory >= MEMORY_FOR_FULL);
    for (preset, possible) in [(Preset::Full, is_large), (Preset::Quick, is_gpu)] {
        if !possible {
            continue;
        }
        let estimate = estimated(preset)?;
        if estimate.wall <= patience {
            let reason = format!("the largest that ends within {patience} at the measured f32 rate, {f32_rate}");
            return Ok(ChosenPreset { preset, reason, estimate });
        }
    }
    let reason = format!("chosen from the measured f32 rate, {f32_rate}");
    Ok(ChosenPreset { preset: Preset::Smoke, reason, estimate: estimated(Preset::Smoke)? })
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
        tool: Tool::this(),
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
