//! The preset of a run where the user names none.

use super::estimate::Estimate;
use super::planning::PlanError;
use crate::record::{Device, DeviceType, Preset};
use crate::units::{FlopPerSecond, Seconds};

/// The longest run by default: on a device at least as fast as [`LEAST_FOR_FULL`], and on a slower one.
const PATIENCE_WITH_FAST: Seconds = Seconds::new(300.0);
const PATIENCE: Seconds = Seconds::new(480.0);
/// A slower adapter is a CPU, or no faster than one.
const LEAST_FOR_QUICK: FlopPerSecond = FlopPerSecond::new(200e9);
/// The least rate and memory for all models at their true sizes.
const LEAST_FOR_FULL: FlopPerSecond = FlopPerSecond::new(30e12);
const MEMORY_FOR_FULL: u64 = 16_000_000_000;

/// A preset, the reason for it, and the estimated cost.
pub(super) struct ChosenPreset {
    pub(super) preset: Preset,
    pub(super) reason: String,
    pub(super) estimate: Estimate,
}

/// The largest preset that the device has the speed and the memory for and that ends within minutes, unless one is asked
/// for. `f32_roof` is the measured rate of f32 arithmetic in FLOP/s; `estimated` gives what a preset will take.
///
/// # Errors
/// As `estimated`.
pub(super) fn choose_preset(
    asked: Option<Preset>,
    device: &Device,
    f32_roof: Option<f64>,
    estimated: &dyn Fn(Preset) -> Result<Estimate, PlanError>,
) -> Result<ChosenPreset, PlanError> {
    if let Some(preset) = asked {
        return Ok(ChosenPreset { preset, reason: "asked for".to_owned(), estimate: estimated(preset)? });
    }
    let Some(f32_rate) = f32_roof.map(FlopPerSecond::new) else {
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
