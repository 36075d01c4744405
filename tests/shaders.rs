//! The WGSL files against the plans that launch them: nothing here needs a GPU.
//!
//! Names of parameters, bindings and overrides stand in the shader and in the Rust plan; these tests take the place of
//! "keep in sync" comments.

use std::collections::BTreeSet;

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, TypeInner};
use supernode_bench::kernels::cases::{Capacity, preset_cases, verification_cases};
use supernode_bench::kernels::probes::Probe;
use supernode_bench::kernels::unit_probes::{CACHE_INVOCATIONS, MIN_CACHE_BYTES, UnitProbe};
use supernode_bench::kernels::{Element, Kernel, Launch, Plan, Role, SHADERS, STORAGE, subgroup_probe, wgsl};
use supernode_bench::record::Preset;
use supernode_bench::specs::Model;

fn parse(shader: &str, element: Element) -> Module {
    parse_source(shader, &wgsl(shader, element).expect("the shader exists"))
}

fn parse_launch(launch: &Launch) -> Module {
    parse_source(launch.shader, &launch.wgsl().expect("the shader exists"))
}

fn parse_source(shader: &str, source: &str) -> Module {
    naga::front::wgsl::parse_str(source).unwrap_or_else(|error| panic!("{shader}: {}", error.emit_to_string(source)))
}

/// Every plan that the tool can make from its presets, its suite and its probes.
fn plans() -> Vec<Plan> {
    let mut cases = verification_cases();
    for preset in [Preset::Smoke, Preset::Full] {
        let models: Vec<Model> =
            Model::builtin_names().iter().map(|name| Model::load(name).expect("built in")).collect();
        cases.extend(preset_cases(preset, &models, &Capacity::unlimited()));
    }
    let probes = [
        Probe::Fma { invocations: 64, rounds: 1 },
        Probe::Outer { invocations: 64, rounds: 1 },
        Probe::Read { bytes: 1 },
        Probe::Copy { bytes: 1 },
        Probe::Launch,
    ];
    let probes = probes.iter().map(|probe| probe.plan("probe", Element::F32));
    let units = [
        UnitProbe::Dot { invocations: 64, rounds: 1 },
        UnitProbe::Matrix { size: 8, workgroups: 1, subgroup: 32, rounds: 1 },
        UnitProbe::Matrix { size: 16, workgroups: 1, subgroup: 32, rounds: 1 },
        UnitProbe::Write { bytes: 1 },
        UnitProbe::Cache { bytes: MIN_CACHE_BYTES, passes: 1, invocations: CACHE_INVOCATIONS[0] },
    ];
    let units = units.iter().map(|probe| probe.plan("probe", Element::F32));
    let cases = cases.iter().map(|case| case.kernel.plan(case.variant, case.element));
    let mut plans: Vec<Plan> = cases.chain(probes).chain(units).chain([subgroup_probe::plan()]).collect();
    // Shapes change numbers in a plan, not its names: one plan of each kind is enough.
    let mut seen = BTreeSet::new();
    plans.retain(|plan| {
        let kind = |launch: &Launch| format!("{} {} {:?}", launch.shader, launch.element, launch.constants);
        seen.insert(plan.launches.iter().map(kind).collect::<Vec<_>>())
    });
    plans
}

fn validate(shader: &str, element: Element) -> (Module, ModuleInfo) {
    let module = parse(shader, element);
    // The second is what packing and unpacking two f16 in a word takes: every adapter has it, but some of OpenGL's.
    let allowed = Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX;
    Validator::new(ValidationFlags::all(), allowed)
        .validate(&module)
        .map(|info| (module.clone(), info))
        .unwrap_or_else(|error| panic!("{shader} {element}: {error:?}"))
}

#[test]
fn every_shader_is_valid_wgsl_as_it_stands_and_in_f16() {
    for (shader, _) in SHADERS {
        validate(shader, Element::F32);
        validate(shader, Element::F16);
    }
}

#[test]
fn every_shader_that_reads_through_widen_is_valid_wgsl_in_bf16() {
    let mut found = 0;
    for (shader, text) in SHADERS {
        if STORAGE.iter().all(|lines| text.contains(lines[0])) {
            validate(shader, Element::Bf16);
            found += 1;
        }
    }
    assert!(found >= 5, "{found}");
}

#[test]
fn cooperative_matrices_can_be_written_as_spirv() {
    for shader in ["matmul_matrix_8", "matmul_matrix_16", "probe_matrix_8", "probe_matrix_16"] {
        let (module, info) = validate(shader, Element::F16);
        let constants = naga::back::PipelineConstants::default();
        let entry = Some((naga::ShaderStage::Compute, "main"));
        let (module, info) = naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants)
            .expect("overrides have defaults");
        let options = naga::back::spv::Options { lang_version: (1, 6), ..Default::default() };
        let words = naga::back::spv::write_vec(&module, &info, &options, None).expect("writes");
        // OpCooperativeMatrixMulAddKHR
        assert!(words.iter().any(|word| word & 0xFFFF == 4459), "{shader}");
        if let Some(folder) = std::env::var_os("SPIRV_FOLDER") {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            std::fs::write(std::path::Path::new(&folder).join(format!("{shader}.spv")), bytes).expect("writes");
        }
    }
}

#[test]
fn every_launch_finds_the_lines_that_its_type_and_constants_replace() {
    for launch in plans().iter().flat_map(|plan| &plan.launches) {
        let (_, text) = SHADERS.iter().find(|(name, _)| *name == launch.shader).expect("the shader exists");
        let lines = match launch.element {
            Element::F16 if text.contains("enable f16;") => 0,
            Element::F16 => 1, // one line for shader_f16, all of them for packed storage
            Element::Bf16 => STORAGE.len(),
            _ => 0,
        };
        for [line, ..] in &STORAGE[..lines] {
            assert!(text.contains(line), "{} {} has no line {line}", launch.shader, launch.element);
        }
        for name in launch.constants.keys() {
            assert!(text.contains(&format!("const {name}: u32 = ")), "{} has no constant {name}", launch.shader);
        }
    }
}

#[test]
fn params_have_the_names_and_the_order_that_the_plans_write() {
    for launch in plans().iter().flat_map(|plan| &plan.launches) {
        let module = parse_launch(launch);
        let uniform = module.global_variables.iter().find(|(_, variable)| variable.space == AddressSpace::Uniform);
        let members: Vec<String> = match uniform.map(|(_, variable)| &module.types[variable.ty].inner) {
            Some(TypeInner::Struct { members, .. }) => {
                for (index, member) in members.iter().enumerate() {
                    assert_eq!(member.offset as usize, index * 4, "{}: every field is one word", launch.shader);
                }
                members.iter().map(|member| member.name.clone().expect("named")).collect()
            }
            _ => Vec::new(),
        };
        let written: Vec<&str> = launch.params.iter().map(|(name, _)| *name).collect();
        assert_eq!(members, written, "{}", launch.shader);
    }
}

#[test]
fn bindings_have_the_names_order_and_access_that_the_plans_bind() {
    for plan in plans() {
        for launch in &plan.launches {
            let module = parse_launch(launch);
            let first = u32::from(!launch.params.is_empty());
            let mut storage: Vec<(u32, String, bool)> = module
                .global_variables
                .iter()
                .filter_map(|(_, variable)| match variable.space {
                    AddressSpace::Storage { access } => Some((
                        variable.binding.as_ref().expect("bound").binding,
                        variable.name.clone().expect("named"),
                        access.contains(naga::StorageAccess::STORE),
                    )),
                    _ => None,
                })
                .collect();
            storage.sort();
            let bound: Vec<(u32, String)> = (first..)
                .zip(&launch.bindings)
                .map(|(binding, &buffer)| (binding, plan.buffers[buffer].name.to_owned()))
                .collect();
            let declared: Vec<(u32, String)> = storage.iter().map(|(at, name, _)| (*at, name.clone())).collect();
            // A layer's buffers have names of their own; each of its parts is compared as a plan of its own.
            if plan.parts.is_empty() {
                assert_eq!(declared, bound, "{}", launch.shader);
            }
            assert_eq!(declared.len(), bound.len(), "{}", launch.shader);
            for ((_, name, writable), &buffer) in storage.iter().zip(&launch.bindings) {
                let input = plan.buffers[buffer].role == Role::Input;
                assert!(!(*writable && input), "{} writes its input {name}", launch.shader);
            }
        }
    }
}

#[test]
fn plans_set_only_overrides_that_the_shader_declares() {
    for launch in plans().iter().flat_map(|plan| &plan.launches) {
        let module = parse_launch(launch);
        let declared: BTreeSet<&str> =
            module.overrides.iter().filter_map(|(_, constant)| constant.name.as_deref()).collect();
        for name in launch.overrides.keys() {
            assert!(declared.contains(name), "{} has no override {name}", launch.shader);
        }
    }
}

/// Declarations `var name: type;` of functions; those of a module say where they live, as in `var<workgroup>`.
fn bare_variables(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let statements = code.split(['{', '}', ';', '(']).map(str::trim);
    let bare = statements.filter(|statement| {
        statement.strip_prefix("var").is_some_and(|rest| rest.starts_with(char::is_whitespace) && !rest.contains('='))
    });
    bare.map(str::to_owned).collect()
}

/// Tint zeroes a variable without an initial value where the function begins, not in each turn of a loop around it.
#[test]
fn every_variable_of_a_function_has_an_initial_value() {
    let text = "var<workgroup> a: u32;\nfn f() { // var no: u32;\n  loop {\n    var b: array<\n      f32, 4>;\n    var c = b;\n  }\n}";
    assert_eq!(bare_variables(text), ["var b: array<\n      f32, 4>"], "the search finds what it is for");
    for (shader, text) in SHADERS {
        let bare = bare_variables(text);
        assert!(bare.is_empty(), "{shader}: write `var x = T();` for {bare:?}");
    }
}

#[test]
fn no_file_under_shaders_is_left_out() {
    let listed: BTreeSet<String> = SHADERS.iter().map(|(name, _)| format!("{name}.wgsl")).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders");
    let present: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("shaders/ is there")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(listed, present);
}

#[test]
fn the_cooperative_matrix_shaders_differ_in_the_size_alone() {
    let text = |name: &str| SHADERS.iter().find(|(shader, _)| *shader == name).expect("the shader exists").1;
    let small = text("attention_prefill_matrix_16")
        .replace("16 x 16", "8 x 8")
        .replace("coop_mat16x16", "coop_mat8x8")
        .replace("const SIZE: u32 = 16u;", "const SIZE: u32 = 8u;");
    assert_eq!(small, text("attention_prefill_matrix_8"));
}
