//! Every pipeline through the driver's compiler, and nothing more: which ones a device takes, how long each of them
//! compiles, and why one is refused. Nothing is submitted, so this also works where a driver opens a device that does not
//! execute.

use std::collections::BTreeMap;

use serde::Serialize;
use web_time::Instant;

use super::executor::LaunchError;
use super::gpu::Gpu;
use super::{features, launch};
use crate::kernels::cases::{Capacity, CaseSpec, preset_cases, preset_models, verification_cases};
use crate::kernels::{Family, Launch, Plan, StorageType};
use crate::record::Preset;
use crate::specs::{Model, SpecError};
use crate::units::Seconds;

/// A pipeline that takes longer is marked: a run compiles about ten per family.
pub const SLOW: Seconds = Seconds::new(2.0);

/// A shader's text with the constants of a launch: what a driver compiles.
#[derive(Debug, Clone, Serialize)]
pub struct ShaderPipeline {
    /// Shader, type, constants and overrides in one line.
    pub name: String,
    /// The family of the kernel it is part of; `layer` where no case of a kernel alone has it.
    pub family: Family,
    /// File under shaders/, without `.wgsl`.
    pub shader: &'static str,
    /// The type that the shader is specialised for.
    pub element: StorageType,
    /// Numbers of the shader's `const` lines that the launch changes.
    pub constants: BTreeMap<&'static str, u32>,
    /// Values of its `override` constants.
    pub overrides: BTreeMap<&'static str, f64>,
    /// How many cases launch it.
    pub cases: usize,
    /// This launch alone.
    #[serde(skip)]
    plan: Plan,
}

/// The result of one compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CompilationResult {
    /// The driver has compiled it.
    Compiled,
    /// wgpu or the driver refused it, although the device has what it needs.
    Refused,
    /// The device lacks what it needs.
    LeftOut,
    /// The time ended before its turn.
    NotTried,
}

/// A pipeline, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Compilation {
    /// Which.
    #[serde(flatten)]
    pub pipeline: ShaderPipeline,
    /// The result.
    pub outcome: CompilationResult,
    /// Wall time from the shader's text to the pipeline, wgpu's own share included; `None` where nothing was compiled.
    pub seconds: Option<Seconds>,
    /// Why it was refused, left out or not tried.
    pub why: Option<String>,
}

impl Compilation {
    /// A pipeline whose turn did not come.
    pub fn not_tried(pipeline: &ShaderPipeline, why: &str) -> Self {
        let (pipeline, why) = (pipeline.clone(), Some(why.to_owned()));
        Self { pipeline, outcome: CompilationResult::NotTried, seconds: None, why }
    }

    /// Whether it took longer than [`SLOW`].
    pub fn is_slow(&self) -> bool {
        self.seconds.is_some_and(|seconds| seconds > SLOW)
    }
}

/// The cases of a preset, or those of all presets and of the verification suite.
///
/// # Errors
/// Where a built-in model does not load.
pub fn cases(preset: Option<Preset>) -> Result<Vec<CaseSpec>, SpecError> {
    let mut cases = if preset.is_none() { verification_cases() } else { Vec::new() };
    for each in Preset::ALL {
        if preset.is_none_or(|preset| preset == each) {
            let models: Result<Vec<Model>, SpecError> =
                preset_models(each).iter().map(|name| Model::load(name)).collect();
            cases.extend(preset_cases(each, &models?, &Capacity::unlimited()));
        }
    }
    Ok(cases)
}

/// The different pipelines of some cases, by family. Within a family every shader comes once before one comes twice, so
/// that an early end leaves no shader out. Probes are not included.
pub fn pipelines<'a>(cases: impl IntoIterator<Item = &'a CaseSpec>) -> Vec<ShaderPipeline> {
    let mut found: BTreeMap<(String, String), ShaderPipeline> = BTreeMap::new();
    for case in cases {
        let family = case.family;
        let plan = case.kernel.plan(case.variant, case.element);
        for launch in &plan.launches {
            let key = (launch.wgsl().unwrap_or_default().into_owned(), format!("{:?}", launch.overrides));
            let known = found.entry(key).or_insert_with(|| ShaderPipeline::new(launch, &plan, family));
            known.cases += 1;
            known.family = known.family.min(family);
        }
    }
    let mut pipelines: Vec<ShaderPipeline> = found.into_values().collect();
    pipelines.sort_by(|a, b| a.name.cmp(&b.name));
    let mut seen: BTreeMap<(Family, &str), usize> = BTreeMap::new();
    let mut turns: Vec<(Family, usize, ShaderPipeline)> = Vec::with_capacity(pipelines.len());
    for pipeline in pipelines {
        let turn = seen.entry((pipeline.family, pipeline.shader)).or_default();
        turns.push((pipeline.family, *turn, pipeline));
        *turn += 1;
    }
    turns.sort_by_key(|(family, turn, _)| (*family, *turn));
    turns.into_iter().map(|(_, _, pipeline)| pipeline).collect()
}

impl ShaderPipeline {
    fn new(launch: &Launch, plan: &Plan, family: Family) -> Self {
        Self {
            name: launch.name(),
            family,
            shader: launch.shader,
            element: launch.element,
            constants: launch.constants.clone(),
            overrides: launch.overrides.clone(),
            cases: 0,
            plan: Plan { launches: vec![launch.clone()], parts: Vec::new(), ..plan.clone() },
        }
    }
}

/// Compiles a pipeline on a device, once per `Gpu`: a pipeline that was compiled there before takes no time.
///
/// # Errors
/// [`LaunchError::Device`] where the device is lost, and nothing more will compile.
pub fn compile(gpu: &Gpu, pipeline: &ShaderPipeline) -> Result<Compilation, LaunchError> {
    let with = |outcome, seconds, why| Compilation { pipeline: pipeline.clone(), outcome, seconds, why };
    if let Some(why) = features::missing(&pipeline.plan, &gpu.info) {
        return Ok(with(CompilationResult::LeftOut, None, Some(why)));
    }
    let start = Instant::now();
    let results = pipeline.plan.launches.iter().map(|launch| launch::compile(gpu, launch));
    let result: Result<Vec<_>, LaunchError> = results.collect();
    let seconds = Some(Seconds::new(start.elapsed().as_secs_f64()));
    match result {
        Ok(_) => Ok(with(CompilationResult::Compiled, seconds, None)),
        Err(error) if error.ends_the_device() => Err(error),
        Err(error) => Ok(with(CompilationResult::Refused, seconds, Some(error.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::measure::gpu::{AdapterChoice, select};

    #[test]
    fn pipelines_are_different_and_cover_every_shader_that_is_not_a_probe() {
        let cases = cases(None).unwrap();
        let pipelines = pipelines(&cases);
        let names: BTreeSet<&str> = pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
        assert_eq!(names.len(), pipelines.len());
        let shaders: BTreeSet<&str> = pipelines.iter().map(|pipeline| pipeline.shader).collect();
        let all = crate::kernels::SHADERS.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("probe_"));
        assert_eq!(shaders, all.collect());
        let launches: usize =
            cases.iter().map(|case| case.kernel.plan(case.variant, case.element).launches.len()).sum();
        assert_eq!(pipelines.iter().map(|pipeline| pipeline.cases).sum::<usize>(), launches);
        let of_layers = pipelines.iter().filter(|pipeline| pipeline.family == Family::Layer).count();
        assert!(
            of_layers < pipelines.len() / 10,
            "{of_layers}: most of a layer's launches are those of a kernel alone"
        );
    }

    #[test]
    fn every_shader_of_a_family_has_its_turn_before_one_has_its_second() {
        let pipelines = pipelines(&cases(None).unwrap());
        for family in [Family::Gating, Family::ExpertMatmul, Family::Attention] {
            let order: Vec<&str> = pipelines.iter().filter(|p| p.family == family).map(|p| p.shader).collect();
            let shaders: BTreeSet<&str> = order.iter().copied().collect();
            assert_eq!(order.iter().take(shaders.len()).copied().collect::<BTreeSet<_>>(), shaders, "{family}");
        }
    }

    #[test]
    fn a_preset_has_fewer_pipelines_than_all_of_them() {
        let count = |preset| pipelines(&cases(preset).unwrap()).len();
        let (smoke, all) = (count(Some(Preset::Smoke)), count(None));
        assert!(50 < smoke && smoke < all, "{smoke} of {all}");
    }

    #[test]
    fn what_a_device_lacks_is_left_out_and_what_it_refuses_is_said() {
        let mut gpu = select(&AdapterChoice::default()).unwrap().open(false).unwrap();
        let pipelines = pipelines(&cases(Some(Preset::Smoke)).unwrap());
        let mut pipeline = pipelines.iter().find(|pipeline| pipeline.shader == "matmul_subgroup").unwrap().clone();
        pipeline.plan.launches[0].overrides.insert("WORKGROUP", 1e6);
        let refused = compile(&gpu, &pipeline).unwrap();
        assert_eq!(refused.outcome, CompilationResult::Refused, "{refused:?}");
        assert!(refused.why.unwrap().contains("matmul_subgroup"));
        gpu.info.features.retain(|feature| feature != "subgroup");
        let left_out = compile(&gpu, &pipeline).unwrap();
        assert_eq!((left_out.outcome, left_out.seconds), (CompilationResult::LeftOut, None));
        gpu.destroy();
        let plain = pipelines.iter().find(|pipeline| pipeline.shader == "gate_token").unwrap();
        assert!(compile(&gpu, plain).is_err_and(|error| error.ends_the_device()));
    }
}
