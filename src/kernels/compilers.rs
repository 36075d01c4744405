//! What compilers of GPUs that were not at hand say of the pipelines: the order in which variants are tried where nothing
//! was measured yet, and which ones a driver is not asked for.
//!
//! The figures are in `specs/compilers.json`, which `make lab` writes: for each vendor the cost of a pipeline, in cycles
//! per multiply-add of a unit that does one per lane and cycle, or the reason why it is unfit. They are Mesa's compilers'
//! estimates, not measurements: a trial on the device chooses.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Plan};
use crate::kernels::target::{DeviceClass, Target};
use crate::kernels::types::StorageType;

/// What is known of a pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Verdict {
    /// Cycles per multiply-add.
    Cost(f64),
    /// Why it is not offered to that compiler's driver.
    Unfit(String),
}

/// A vendor's pipelines, by the name of their launch.
#[derive(Debug, Deserialize)]
struct Vendor {
    /// The driver's name, in lower case.
    driver: String,
    pipelines: BTreeMap<String, Verdict>,
}

static VENDORS: LazyLock<BTreeMap<String, Vendor>> = LazyLock::new(|| {
    // A test reads the file, so that an error shows there and not in a run.
    serde_json::from_str(include_str!("../../specs/compilers.json")).unwrap_or_default()
});

fn verdict<'a>(vendor: &'a Vendor, launch: &Launch) -> Option<&'a Verdict> {
    vendor.pipelines.get(&launch.name())
}

/// Why the driver of this device is not asked for a plan: its compiler is known to spill registers there, or to take too
/// long. `None` where nothing of that kind is known.
pub fn unfit(target: &Target, plan: &Plan) -> Option<String> {
    let vendor = VENDORS.get(&target.vendor).filter(|vendor| target.driver.contains(&vendor.driver))?;
    plan.launches.iter().find_map(|launch| match verdict(vendor, launch)? {
        Verdict::Unfit(why) => Some(format!("the driver's compiler {why} for {}", launch.shader)),
        Verdict::Cost(_) => None,
    })
}

/// A variant that costs this many times the cheapest is not tried. Estimates may be wrong by a factor of two, and memory
/// may hide it: the cheapest few are tried all the same.
const HOPELESS: f64 = 4.0;
/// As many of the cheapest are tried, whatever they cost.
const ALWAYS: usize = 3;

/// `names` with the cheapest variant first, as the vendor's compiler sees them; for a GPU of another vendor, as all of them
/// do on average. Those without a figure come last in their order. Those that are unfit, or cost many times as much as the
/// cheapest, are left out if another is there.
pub fn cheapest_first(
    target: &Target,
    kernel: &dyn Kernel,
    storage: StorageType,
    mut names: Vec<&'static str>,
) -> Vec<&'static str> {
    let vendors: Vec<&Vendor> = match (target.class, VENDORS.get(&target.vendor)) {
        (DeviceClass::Software | DeviceClass::Unknown, _) => return names,
        (_, Some(vendor)) => vec![vendor],
        (_, None) => VENDORS.values().collect(),
    };
    let mean = |name: &str| {
        let plan = kernel.plan(name, storage);
        let costs: Vec<f64> = vendors.iter().filter_map(|vendor| cost(vendor, &plan)).collect();
        (!costs.is_empty()).then(|| costs.iter().sum::<f64>() / costs.len() as f64)
    };
    let costs: BTreeMap<&str, Option<f64>> = names.iter().map(|name| (*name, mean(name))).collect();
    let known = |name: &str| costs[name].unwrap_or(f64::INFINITY);
    names.sort_by(|a, b| known(a).total_cmp(&known(b)));
    let most = names.first().map_or(f64::INFINITY, |name| known(name) * HOPELESS);
    let mut place = 0;
    if most.is_finite() {
        names.retain(|name| {
            place += 1;
            costs[name].is_none_or(|cost| cost.is_finite() && (cost <= most || place <= ALWAYS))
        });
    }
    names
}

/// Estimated cycles of a plan: its issued operations, padding included, at the mean cost of its launches. `None` where no
/// launch has one.
fn cost(vendor: &Vendor, plan: &Plan) -> Option<f64> {
    let mut costs = Vec::new();
    for launch in &plan.launches {
        match verdict(vendor, launch) {
            Some(Verdict::Cost(cost)) => costs.push(*cost),
            Some(Verdict::Unfit(_)) => return Some(f64::INFINITY),
            None => {}
        }
    }
    (!costs.is_empty()).then(|| plan.issued_flop.get() * costs.iter().sum::<f64>() / costs.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::matmul::Matmul;

    fn target(vendor: &str, driver: &str) -> Target {
        Target { class: DeviceClass::Discrete, lanes: Some(32), driver: driver.to_owned(), vendor: vendor.to_owned() }
    }

    #[test]
    fn the_file_is_read_and_has_four_vendors_with_their_compilers() {
        let vendors: BTreeMap<String, Vendor> =
            serde_json::from_str(include_str!("../../specs/compilers.json")).unwrap();
        let names: Vec<&str> = vendors.keys().map(String::as_str).collect();
        assert_eq!(names, ["amd", "apple", "nvidia", "qualcomm"]);
        assert!(vendors.values().all(|vendor| vendor.pipelines.len() > 100));
    }

    #[test]
    fn the_order_follows_the_compiler_and_the_padding() {
        let prefill = Matmul::dense(1024, 1024, 1024);
        let names = cheapest_first(&target("amd", "radv"), &prefill, StorageType::F16, prefill.variants().to_vec());
        assert!(names[0].starts_with("matrix16"), "{names:?}");
        let decode = Matmul::dense(2, 1024, 1024);
        let names = cheapest_first(&target("nvidia", "nvk"), &decode, StorageType::F32, decode.variants().to_vec());
        assert!(names[0].starts_with("streamed_2"), "{names:?}");
        let unknown = cheapest_first(&Target::default(), &decode, StorageType::F32, decode.variants().to_vec());
        assert_eq!(unknown, decode.variants());
        let intel = cheapest_first(&target("intel", ""), &decode, StorageType::F32, decode.variants().to_vec());
        assert!(intel[0].starts_with("streamed_2"), "{intel:?}");
    }

    #[test]
    fn only_the_compiler_that_was_asked_refuses() {
        let vendor = &VENDORS["nvidia"];
        let unfits = vendor.pipelines.values().filter(|verdict| matches!(verdict, Verdict::Unfit(_))).count();
        for case in crate::kernels::cases::verification_cases() {
            let plan = case.case().plan();
            assert_eq!(unfit(&target("nvidia", "nvidia"), &plan), None);
            if unfits == 0 {
                assert_eq!(unfit(&target("nvidia", "nvk"), &plan), None);
            }
        }
    }
}
