//! Every pipeline that the suite, the presets and the probes launch, once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use supernode_bench::kernels::cases::{Capacity, CaseSpec, Preset, preset_cases, preset_models, verification_cases};
use supernode_bench::kernels::{DeviceClass, Launch, Target};
use supernode_bench::specs::Model;

use crate::row::Pipeline;

/// All cases of the suite and the presets.
pub fn cases() -> Result<Vec<CaseSpec>> {
    let mut cases = verification_cases();
    for preset in [Preset::Smoke, Preset::Quick, Preset::Full] {
        let models: Result<Vec<Model>, _> = preset_models(preset).iter().map(|name| Model::load(name)).collect();
        cases.extend(preset_cases(preset, &models?, &Capacity::unlimited()));
    }
    Ok(cases)
}

/// The different pipelines among them, by name.
pub fn pipelines() -> Result<Vec<Pipeline>> {
    let mut found: BTreeMap<String, Pipeline> = BTreeMap::new();
    let wide = Target { class: DeviceClass::Discrete, lanes: Some(32), ..Target::default() };
    let wider = Target { lanes: Some(64), ..wide.clone() };
    for case in cases()? {
        let offers = |target| case.kernel.candidates(target, case.kernel.variants()).contains(&case.variant);
        let is_for_wide = offers(&wide) || offers(&wider);
        for launch in case.case().plan().launches {
            let pipeline = pipeline(launch);
            let known = found.entry(pipeline.key.clone()).or_insert(pipeline);
            known.users.insert((case.kernel.name(), case.variant));
            known.is_for_wide |= is_for_wide;
        }
    }
    let mut pipelines: Vec<Pipeline> = found.into_values().collect();
    pipelines.sort_by(|a, b| (&a.name, &a.key).cmp(&(&b.name, &b.key)));
    Ok(pipelines)
}

/// A launch with its key and its name.
pub fn pipeline(launch: Launch) -> Pipeline {
    Pipeline { key: launch.fingerprint(), name: launch.name(), launch, users: BTreeSet::new(), is_for_wide: false }
}
