//! Every plan that the tool can make from its suite, its presets and its probes, for the tests that need no GPU.

use supernode_bench::kernels::cases::{Capacity, Preset, preset_cases, verification_cases};
use supernode_bench::kernels::probes::{
    CACHE_INVOCATIONS, CacheProbe, CopyProbe, DotProbe, FmaForm, LaunchProbe, MIN_CACHE_BYTES, MatrixProbe, ReadProbe,
    WriteProbe, subgroup,
};
use supernode_bench::kernels::{Kernel, Plan};
use supernode_bench::specs::Model;

/// Plans of all cases and probes, in every variant and type.
pub(crate) fn every_plan() -> Vec<Plan> {
    let mut cases = verification_cases();
    for preset in [Preset::Smoke, Preset::Full] {
        let models: Vec<Model> =
            Model::builtin_names().iter().map(|name| Model::load(name).expect("built in")).collect();
        cases.extend(preset_cases(preset, &models, &Capacity::unlimited()));
    }
    let mut plans: Vec<Plan> = cases.iter().map(|case| case.case().plan()).collect();
    for probe in probes() {
        for &variant in probe.variants() {
            plans.extend(probe.elements().iter().map(|element| probe.plan(variant, *element)));
        }
    }
    plans.push(subgroup::plan());
    plans
}

/// Every probe of a roof, in a small size.
fn probes() -> Vec<Box<dyn Kernel>> {
    let cache = CacheProbe { bytes: MIN_CACHE_BYTES, passes: 1, invocations: CACHE_INVOCATIONS[0] };
    let mut probes: Vec<Box<dyn Kernel>> = vec![
        Box::new(LaunchProbe),
        Box::new(ReadProbe { bytes: 1 }),
        Box::new(CopyProbe { bytes: 1 }),
        Box::new(WriteProbe { bytes: 1 }),
        Box::new(cache),
        Box::new(DotProbe { invocations: 64, rounds: 1 }),
    ];
    for form in FmaForm::ALL {
        probes.push(Box::new(form.probe(256, 1)));
    }
    for size in [8, 16] {
        probes.push(Box::new(MatrixProbe { size, workgroups: 1, subgroup: 32, rounds: 1 }));
    }
    probes
}
