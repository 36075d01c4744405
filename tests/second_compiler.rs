//! The shaders under compilers other than the one that runs them here: naga's translations for Metal, Direct3D 12 and
//! Vulkan (with `spirv-val`, if it is installed), and Tint, the compiler of Dawn and Chromium. Cooperative matrices are left
//! out for HLSL and for Tint's WGSL, which have none.

mod plans;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use naga::back::{hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags};
use naga::{Module, ShaderStage};
use serde::Serialize;
use supernode_bench::kernels::{Launch, Need, StorageType};

/// A shader with the constants of one launch: what a driver compiles.
#[derive(Debug, Clone, Serialize)]
struct Pipeline {
    name: String,
    wgsl: String,
    constants: BTreeMap<&'static str, f64>,
    #[serde(skip)]
    needs: BTreeSet<Need>,
}

fn pipeline(launch: &Launch) -> Pipeline {
    let overrides: Vec<String> = launch.overrides.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Pipeline {
        name: format!("{} {} {}", launch.shader, launch.element, overrides.join(" ")),
        wgsl: launch.wgsl().expect("the shader exists").into_owned(),
        constants: launch.overrides.clone(),
        needs: launch.needs.clone(),
    }
}

/// Every different pipeline of the suite, the presets and the probes.
fn pipelines() -> Vec<Pipeline> {
    let mut found = BTreeMap::new();
    for launch in plans::every_plan().iter().flat_map(|plan| &plan.launches) {
        let pipeline = pipeline(launch);
        found.insert((pipeline.wgsl.clone(), pipeline.name.clone()), pipeline);
    }
    assert!(found.len() >= 50, "{} pipelines", found.len());
    found.into_values().collect()
}

/// Whether the shader has cooperative matrices. They are WGSL of wgpu alone: no other front end knows them, and naga cannot
/// write them as HLSL.
fn has_matrices(pipeline: &Pipeline) -> bool {
    [Need::Matrix8, Need::Matrix8F32, Need::Matrix16].iter().any(|need| pipeline.needs.contains(need))
}

fn validated(pipeline: &Pipeline) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(&pipeline.wgsl)
        .unwrap_or_else(|error| panic!("{}: {}", pipeline.name, error.emit_to_string(&pipeline.wgsl)));
    let info = naga::valid::Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}: {error:?}", pipeline.name));
    (module, info)
}

/// Runs `translate` on every pipeline with its constants set, and returns the errors.
fn translate_all(translate: impl Fn(&Module, &ModuleInfo, &Pipeline) -> Result<(), String>) -> Vec<String> {
    let mut problems = Vec::new();
    for pipeline in &pipelines() {
        let (module, info) = validated(pipeline);
        let constants = pipeline.constants.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let entry = Some((ShaderStage::Compute, "main"));
        let result = match process_overrides(&module, &info, entry, &constants) {
            Ok((module, info)) => translate(&module, &info, pipeline),
            Err(error) => Err(error.to_string()),
        };
        problems.extend(result.err().map(|error| format!("{}: {error}", pipeline.name)));
    }
    problems
}

#[test]
fn every_pipeline_translates_to_metal() {
    // wgpu asks for 2.4 on macOS 12 and later.
    let options = msl::Options { lang_version: (2, 4), ..Default::default() };
    let problems = translate_all(|module, info, _| {
        msl::write_string(module, info, &options, &msl::PipelineOptions::default())
            .map(|_| ())
            .map_err(|error| error.to_string())
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_pipeline_translates_to_direct3d() {
    // 6.2 has 16-bit types and wave operations.
    let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_2, ..Default::default() };
    let pipeline_options = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".to_owned())) };
    let problems = translate_all(|module, info, pipeline| {
        if has_matrices(pipeline) {
            return Ok(());
        }
        let mut text = String::new();
        let translated = hlsl::Writer::new(&mut text, &options, &pipeline_options)
            .write(module, info, None)
            .map_err(|error| error.to_string())?;
        translated.entry_point_names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        if text.contains("main") { Ok(()) } else { Err("no entry point was written".to_owned()) }
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A version of SPIR-V, the Vulkan that takes it, and whether the shader has wgpu's runtime checks. Kernels are timed without
/// these checks.
struct Target {
    version: (u8, u8),
    vulkan: &'static str,
    checks: bool,
}

const TARGETS: [Target; 2] = [
    Target { version: (1, 3), vulkan: "vulkan1.1", checks: true },
    Target { version: (1, 6), vulkan: "vulkan1.3", checks: false },
];

impl Target {
    fn options(&self) -> spv::Options<'static> {
        let options = spv::Options { lang_version: self.version, ..Default::default() };
        if self.checks {
            return options;
        }
        let zero_initialize_workgroup_memory = spv::ZeroInitializeWorkgroupMemoryMode::None;
        spv::Options { force_loop_bounding: false, zero_initialize_workgroup_memory, ..options }
    }
}

/// The validator accepts every pipeline, also those with cooperative matrices, so no finding is excused here. There is one
/// fault that it cannot see. Matrices bring the Vulkan memory model, under which accesses to workgroup memory need
/// NonPrivatePointer, and barriers need availability and visibility. naga 30 writes neither (wgpu#8805).
#[test]
fn every_pipeline_translates_to_spirv_that_the_validator_accepts_where_it_is_installed() {
    let validator = Validator::find();
    let too_old = Cell::new(0);
    for target in TARGETS {
        let options = target.options();
        let entry_point = "main".to_owned();
        let pipeline_options = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point };
        let problems = translate_all(|module, info, pipeline| {
            let words = spv::write_vec(module, info, &options, Some(&pipeline_options)).map_err(|e| e.to_string())?;
            let Some(validator) = &validator else { return Ok(()) };
            match validator.says(&words, target.vulkan) {
                Err(said) if has_matrices(pipeline) && said.contains(UNKNOWN_CAPABILITY) => {
                    too_old.set(too_old.get() + 1);
                    Ok(())
                }
                result => result,
            }
        });
        assert!(problems.is_empty(), "{}: {}", target.vulkan, problems.join("\n"));
    }
    if validator.is_none() {
        tell("spirv-val: NOT RUN, it is not installed (Debian: spirv-tools; or `make spirv-val`)");
    } else if too_old.get() > 0 {
        tell("spirv-val: NOT RUN on cooperative matrices, which the installed one does not know (`make spirv-val`)");
    }
}

/// The message of a validator that is older than cooperative matrices.
const UNKNOWN_CAPABILITY: &str = "Invalid capability operand: 6022";

/// Prints a line that is visible even if the test passes.
fn tell(line: &str) {
    // The test harness keeps what goes through `println`; nothing is lost where standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// `spirv-val`: the one of a current Mesa in target/, which is newer than most, or the installed one.
struct Validator {
    command: Vec<OsString>,
}

impl Validator {
    fn find() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("current-mesa");
        let run = root.join("tests/current-mesa/run.sh").into_os_string();
        let current = vec!["sh".into(), run, "llvmpipe".into(), folder.join("usr/bin/spirv-val").into()];
        let candidates = [current, vec!["spirv-val".into()]].map(|command| Self { command });
        candidates
            .into_iter()
            .find(|candidate| candidate.command().arg("--version").output().is_ok_and(|output| output.status.success()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("current-mesa");
        command.args(&self.command[1..]).env("CURRENT_MESA", folder);
        command
    }

    fn says(&self, words: &[u32], vulkan: &str) -> Result<(), String> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut child = self
            .command()
            .args(["--target-env", vulkan, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        child.stdin.take().expect("piped").write_all(&bytes).map_err(|error| error.to_string())?;
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }
}

/// `make second-compiler` installs what this needs and runs it.
#[test]
#[ignore = "needs node and an npm package: `make second-compiler`"]
fn every_pipeline_compiles_under_tint() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/second-compiler");
    let (exceptions, ours): (Vec<_>, Vec<_>) = pipelines().into_iter().partition(has_matrices);
    for exception in &exceptions {
        println!("not compiled, wgpu's own WGSL: {}", exception.name);
    }
    // Tint requires this line; naga refuses it.
    let for_tint: Vec<Pipeline> = ours
        .into_iter()
        .map(|pipeline| {
            let front = if pipeline.needs.contains(&Need::Subgroup) { "enable subgroups;\n" } else { "" };
            Pipeline { wgsl: format!("{front}{}", pipeline.wgsl), ..pipeline }
        })
        .collect();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipelines.json");
    std::fs::write(&file, serde_json::to_vec(&for_tint).expect("plain data")).expect("target/ can be written");
    let status = Command::new("node").arg(folder.join("check.mjs")).arg(&file).status().expect("node starts");
    assert!(status.success(), "Tint refused a shader or a pipeline; see its messages above");
}

#[test]
fn the_pipelines_cover_every_shader_file() {
    let pipelines = pipelines();
    let missing: Vec<&str> = supernode_bench::kernels::SHADERS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !pipelines.iter().any(|pipeline| pipeline.name.starts_with(&format!("{name} "))))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(pipelines.iter().any(|pipeline| pipeline.name.contains(&format!(" {} ", StorageType::F16))));
}
