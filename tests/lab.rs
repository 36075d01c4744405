//! The results of the laboratory (`make lab`) against the shaders of today, and the laws that they hold: what a device is
//! offered neither spills registers nor compiles for long, and something suits subgroups of 32 and 64.
#![cfg(feature = "gpu")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use supernode_bench::kernels::cases::CaseSpec;
use supernode_bench::kernels::{Family, StorageType, Target, compilers};
use supernode_bench::measure::{compile, features, planning};
use supernode_bench::record::Device;

/// The devices that are not there, as `tests/current-mesa/run.sh` names them.
const DEVICES: [&str; 6] = ["adreno-740", "apple-m1", "nvidia-ampere", "nvidia-turing", "rdna4", "rx-7900-xtx"];

/// The results of a device.
#[derive(Debug, Deserialize)]
struct Results {
    pipelines: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    key: String,
    name: String,
    figures: Option<Figures>,
    why: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Figures {
    seconds: f64,
    lanes: u32,
    invocations: u32,
    #[serde(default)]
    spills: f64,
    #[serde(default)]
    scratch_bytes: f64,
    hot: Option<Mix>,
}

#[derive(Debug, Deserialize)]
struct Mix {
    #[serde(default)]
    lds_loads: f64,
    #[serde(default)]
    lds_load_bytes: f64,
}

/// A device's facts and its results by fingerprint.
struct Seen {
    name: &'static str,
    device: Device,
    target: Target,
    rows: BTreeMap<String, Row>,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; `make lab` writes it", path.display()))
}

fn seen() -> Vec<Seen> {
    let one = |name: &'static str| {
        let listed: Vec<Device> =
            serde_json::from_str(&read(&format!("tests/data/devices/{name}.json"))).expect("devices");
        let mut device = listed.into_iter().next().expect("a device");
        let results: Results = serde_json::from_str(&read(&format!("lab/results/{name}.json"))).expect("results");
        // A device that is there would run a probe. RDNA's compiler takes 64 lanes for each full workgroup.
        let widths = results.pipelines.iter().filter_map(|row| row.figures.as_ref());
        device.subgroup_sizes_seen = widths.map(|figures| figures.lanes).max().into_iter().collect();
        let rows = results.pipelines.into_iter().map(|row| (row.key.clone(), row)).collect();
        Seen { name, target: planning::target(&device), device, rows }
    };
    DEVICES.map(one).into_iter().collect()
}

/// Those of all presets and of the verification suite.
fn cases() -> Vec<CaseSpec> {
    compile::cases(None).expect("built-in models")
}

/// Whether a case is offered on a device; whether a compiler finds it unfit is another question.
fn is_offered(case: &CaseSpec, among: &[&'static str], seen: &Seen) -> bool {
    let plan = case.case().plan();
    case.kernel.candidates(&seen.target, among).contains(&case.variant)
        && seen.target.refuses(case.kernel.name(), case.variant).is_none()
        && features::missing(&plan, &seen.device).is_none()
}

/// The cases of one kernel and type, which differ in the variant.
fn groups(cases: &[CaseSpec]) -> BTreeMap<String, Vec<&CaseSpec>> {
    let mut groups: BTreeMap<String, Vec<&CaseSpec>> = BTreeMap::new();
    cases.iter().for_each(|case| groups.entry(case.id_as("any")).or_default().push(case));
    groups
}

/// The results are of the shaders as they are: not one pipeline more or less, by the hash of its text.
#[test]
fn the_results_are_of_the_shaders_of_today() {
    let launches: BTreeMap<String, String> = cases()
        .iter()
        .flat_map(|case| case.case().plan().launches)
        .map(|launch| (launch.fingerprint(), launch.name()))
        .collect();
    for seen in seen() {
        let missing: Vec<&String> =
            launches.iter().filter(|(key, _)| !seen.rows.contains_key(*key)).map(|(_, name)| name).collect();
        let left: Vec<&String> =
            seen.rows.values().filter(|row| !launches.contains_key(&row.key)).map(|row| &row.name).collect();
        assert!(
            missing.is_empty() && left.is_empty(),
            "{}: run `make lab`; no results for {missing:#?}; results of what is gone: {left:#?}",
            seen.name
        );
    }
}

#[test]
fn what_a_device_is_offered_neither_spills_nor_compiles_for_long() {
    let cases = cases();
    let mut broken = BTreeSet::new();
    for seen in seen() {
        for group in groups(&cases).values() {
            let among: Vec<&'static str> = group.iter().map(|case| case.variant).collect();
            for case in group.iter().filter(|case| is_offered(case, &among, &seen)) {
                let plan = case.case().plan();
                if compilers::unfit(&seen.target, &plan).is_some() {
                    continue;
                }
                for launch in &plan.launches {
                    let row = &seen.rows[&launch.fingerprint()];
                    let is_fit = row.figures.as_ref().is_some_and(|figures| {
                        figures.spills == 0.0 && figures.scratch_bytes == 0.0 && figures.seconds <= 2.0
                    });
                    if !is_fit {
                        broken.insert(format!("{}: {} ({:?})", seen.name, row.name, row.why));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn each_kernel_type_and_shape_has_a_variant_for_wide_subgroups_on_each_device() {
    // A layer takes the variants of its parts, which are cases of their own.
    let alone: Vec<CaseSpec> = cases().into_iter().filter(|case| case.family != Family::Layer).collect();
    let mut without = BTreeSet::new();
    for seen in seen() {
        let (least, _) = seen.device.subgroup_sizes().unwrap_or((32, 32));
        for (id, group) in groups(&alone) {
            let among: Vec<&'static str> = group.iter().map(|case| case.variant).collect();
            let is_wide = |case: &&CaseSpec| {
                let plan = case.case().plan();
                let fills = |launch| {
                    let figures = seen.rows[&supernode_bench::kernels::Launch::fingerprint(launch)].figures.as_ref();
                    figures.is_some_and(|figures| u64::from(figures.invocations) >= least.min(32))
                };
                is_offered(case, &among, &seen)
                    && compilers::unfit(&seen.target, &plan).is_none()
                    && plan.launches.iter().all(fills)
            };
            if !group.iter().copied().any(|case| is_wide(&case)) {
                without.insert(format!("{}: {id}", seen.name));
            }
        }
    }
    assert!(without.is_empty(), "{} without: {without:#?}", without.len());
}

/// Tiles of vectors are read in vectors. Mesa's compiler for AMD splits every read of 16 bytes into two of 8.
#[test]
fn tiles_are_read_at_least_8_bytes_at_a_time() {
    let mut narrow = BTreeSet::new();
    for seen in seen().into_iter().filter(|seen| ["rx-7900-xtx", "rdna4"].contains(&seen.name)) {
        for row in seen.rows.values().filter(|row| row.name.starts_with("matmul_") && row.name.contains("tiled")) {
            let Some(hot) = row.figures.as_ref().and_then(|figures| figures.hot.as_ref()) else { continue };
            if hot.lds_loads > 0.0 && hot.lds_load_bytes / hot.lds_loads < 7.9 {
                narrow.insert(format!("{}: {}: {} bytes", seen.name, row.name, hot.lds_load_bytes / hot.lds_loads));
            }
        }
    }
    assert!(narrow.is_empty(), "{narrow:#?}");
}

/// The order of a device's variants is data with a source, and begins with a variant that its compiler finds fit.
#[test]
fn the_first_choice_of_each_device_is_fit_and_no_worse_than_the_others_by_the_compiler() {
    for seen in seen() {
        for case in
            cases().iter().filter(|case| case.family == Family::ExpertMatmul && case.element == StorageType::F32)
        {
            let kernel = case.kernel.as_ref();
            let names = kernel.candidates(&seen.target, kernel.variants());
            let names: Vec<_> =
                names.into_iter().filter(|name| kernel.variant_elements(name).contains(&case.element)).collect();
            let first = compilers::cheapest_first(&seen.target, kernel, case.element, names)[0];
            let plan = kernel.plan(first, case.element);
            assert_eq!(compilers::unfit(&seen.target, &plan), None, "{}: {} {first}", seen.name, case.id());
        }
    }
}
