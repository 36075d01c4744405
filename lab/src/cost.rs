//! What a pipeline costs by its compiler's figures, for the order in which variants are tried: `specs/compilers.json`.
//!
//! The cost is in cycles of a unit that does one multiply-add per lane and cycle, per multiply-add; 1 is the peak without a
//! matrix unit. It is an estimate from counts, and no measurement.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::row::Figures;
use crate::tables::Named;
use crate::vulkan::Facts;

/// A pipeline that compiles longer is not offered.
const SLOW_S: f64 = 2.0;

/// Cycles that a matrix instruction keeps its unit busy, per subgroup. RDNA3: 4096 multiply-adds at 128 per SIMD and cycle.
/// Ampere: 2048 at 128 per scheduler and cycle.
const AMD_MATRIX_CYCLES: f64 = 32.0;
const NVIDIA_MATRIX_CYCLES: f64 = 16.0;
/// Bytes of workgroup memory per cycle and SIMD or scheduler: 128 per cycle and compute unit of two (AMD) or four (NVIDIA).
const AMD_LDS_BYTES: f64 = 64.0;
const NVIDIA_LDS_BYTES: f64 = 32.0;
/// Schedulers among which the subgroups of a multiprocessor are divided (NVIDIA).
const SCHEDULERS: f64 = 4.0;
/// Lanes that a unit works on per cycle.
const UNIT_LANES: f64 = 32.0;

/// What is known of a pipeline on a class of devices.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Verdict {
    /// Its cost.
    Cost(f64),
    /// Why it is not offered.
    Unfit(String),
}

/// The pipelines of a class of devices, with the compilers that said so.
#[derive(Debug, Default, Serialize)]
struct Class {
    driver: String,
    source: String,
    pipelines: BTreeMap<String, Verdict>,
}

/// The class of a device by its driver: the names that `Target` knows.
fn class(facts: &Facts) -> &'static str {
    match facts.driver.as_str() {
        "radv" => "amd",
        "NVK" => "nvidia",
        "Honeykrisp" => "apple",
        _ => "qualcomm",
    }
}

/// The verdict on figures of one device; `None` where the driver shows no loop that multiplies.
pub fn verdict(facts: &Facts, figures: &Figures) -> Option<Verdict> {
    let unfit = |why: String| Some(Verdict::Unfit(why));
    if figures.spills > 0.0 {
        return unfit(format!("spills {} registers", figures.spills));
    }
    if figures.scratch_bytes > 0.0 {
        return unfit(format!("keeps {} bytes per invocation in memory", figures.scratch_bytes));
    }
    if figures.seconds > SLOW_S {
        return unfit(format!("compiles for {:.0} s", figures.seconds));
    }
    let hot = figures.hot.as_ref().filter(|hot| hot.multiply_adds >= 1.0)?;
    let lanes = f64::from(figures.lanes);
    let cycles = match class(facts) {
        "amd" => {
            let issue = (hot.instructions - hot.matrix) * lanes / UNIT_LANES + hot.matrix * AMD_MATRIX_CYCLES;
            issue.max(hot.lds_load_bytes * lanes / AMD_LDS_BYTES)
        }
        "nvidia" => {
            // Other subgroups of the same scheduler issue while one waits.
            let subgroups = figures.occupancy.unwrap_or(SCHEDULERS) / SCHEDULERS;
            let issue = hot.instructions - hot.matrix + hot.matrix * NVIDIA_MATRIX_CYCLES;
            issue.max(hot.lds_load_bytes * lanes / NVIDIA_LDS_BYTES).max(hot.cycles / subgroups.max(1.0))
        }
        _ => hot.cycles.max(hot.instructions * 0.5) * lanes / UNIT_LANES,
    };
    let idle = (lanes / f64::from(figures.invocations.max(1))).max(1.0);
    let cost = cycles * UNIT_LANES / lanes * idle / hot.multiply_adds;
    Some(Verdict::Cost((cost * 1e3).round() / 1e3))
}

/// The file for `specs/compilers.json`: for each class the mean cost over its devices, and unfit where one finds it so.
pub fn file(documents: &[Named]) -> Result<String> {
    let mut classes: BTreeMap<&str, Class> = BTreeMap::new();
    let mut costs: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for (_, document) in documents {
        let name = class(&document.device);
        let class = classes.entry(name).or_default();
        let separator = if class.source.is_empty() { "" } else { "; " };
        let Facts { device, driver, driver_version, .. } = &document.device;
        class.driver = document.device.driver.to_lowercase();
        if class.driver.contains("turnip") {
            "turnip".clone_into(&mut class.driver);
        }
        class.source += &format!("{separator}{device}: {driver}, {driver_version}");
        for row in &document.pipelines {
            let is_lack = row.why.as_deref().is_some_and(|why| {
                ["the device has no", "the driver", "not offered"].iter().any(|lack| why.starts_with(lack))
            });
            let verdict = match &row.figures {
                Some(figures) => verdict(&document.device, figures),
                None if is_lack => None,
                None => Some(Verdict::Unfit(row.why.clone().unwrap_or_default())),
            };
            match verdict {
                None => {}
                Some(Verdict::Cost(cost)) => costs.entry((name, &row.name)).or_default().push(cost),
                Some(unfit) => {
                    class.pipelines.insert(row.name.clone(), unfit);
                }
            }
        }
    }
    for ((class, name), costs) in costs {
        let mean = costs.iter().sum::<f64>() / costs.len() as f64;
        let pipelines = &mut classes.get_mut(class).context("a class with costs")?.pipelines;
        pipelines.entry(name.to_owned()).or_insert(Verdict::Cost((mean * 1e3).round() / 1e3));
    }
    Ok(serde_json::to_string_pretty(&classes)? + "\n")
}
