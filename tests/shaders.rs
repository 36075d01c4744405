//! The WGSL files against the plans that launch them. Nothing here needs a GPU.
//!
//! Names of parameters, bindings and overrides are written twice: in the shader, and in the Rust plan. So are the features
//! that a shader needs. These tests take the place of "keep in sync" comments.

mod plans;

use std::collections::{BTreeMap, BTreeSet};

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, CooperativeRole, CooperativeSize, Expression, Function, MathFunction, Module, TypeInner};
use supernode_bench::kernels::{
    Launch, MATRICES, MATRIX_WEIGHTS, Need, Plan, Role, SHADERS, STORAGE, StorageType, WEIGHTS, wgsl,
};

fn parse(shader: &str, element: StorageType) -> Module {
    parse_source(shader, &wgsl(shader, element).expect("the shader exists"))
}

fn parse_launch(launch: &Launch) -> Module {
    parse_source(launch.shader, &launch.wgsl().expect("the shader exists"))
}

fn parse_source(shader: &str, source: &str) -> Module {
    naga::front::wgsl::parse_str(source).unwrap_or_else(|error| panic!("{shader}: {}", error.emit_to_string(source)))
}

/// One plan of each kind: shapes change numbers in a plan, not its names.
fn plans() -> Vec<Plan> {
    let mut plans = plans::every_plan();
    let mut seen = BTreeSet::new();
    plans.retain(|plan| {
        let kind = |launch: &Launch| format!("{} {} {:?}", launch.shader, launch.element, launch.constants);
        seen.insert(plan.launches.iter().map(kind).collect::<Vec<_>>())
    });
    plans
}

fn launches() -> Vec<Launch> {
    plans().into_iter().flat_map(|plan| plan.launches).collect()
}

fn validate(shader: &str, element: StorageType) -> (Module, ModuleInfo) {
    let module = parse(shader, element);
    let info = validate_module(&module).unwrap_or_else(|error| panic!("{shader} {element}: {error}"));
    (module, info)
}

fn validate_module(module: &Module) -> Result<ModuleInfo, String> {
    // The second allows packing and unpacking two f16 in a word. Every adapter has it except some of OpenGL's.
    let allowed = Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX;
    Validator::new(ValidationFlags::all(), allowed).validate(module).map_err(|error| format!("{error:?}"))
}

#[test]
fn every_shader_is_valid_wgsl_as_it_stands_and_in_f16() {
    for (shader, _) in SHADERS {
        validate(shader, StorageType::F32);
        validate(shader, StorageType::F16);
    }
}

#[test]
fn every_shader_that_reads_through_widen_is_valid_wgsl_in_bf16() {
    let mut found = 0;
    for (shader, text) in SHADERS {
        if STORAGE.iter().all(|lines| text.contains(lines[0])) {
            validate(shader, StorageType::Bf16);
            found += 1;
        }
    }
    assert!(found >= 5, "{found}");
}

/// `OpCooperativeMatrixMulAddKHR` of SPIR-V.
const MATRIX_MUL_ADD: u32 = 4459;

#[test]
fn cooperative_matrices_of_either_size_can_be_written_as_spirv() {
    let mut written = BTreeMap::new();
    for launch in launches().iter().filter(|launch| has_matrices(launch)) {
        let module = parse_launch(launch);
        let info = validate_module(&module).unwrap_or_else(|error| panic!("{}: {error}", launch.shader));
        let constants = naga::back::PipelineConstants::default();
        let entry = Some((naga::ShaderStage::Compute, "main"));
        let (module, info) = naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants)
            .expect("overrides have defaults");
        let options = naga::back::spv::Options { lang_version: (1, 6), ..Default::default() };
        let words = naga::back::spv::write_vec(&module, &info, &options, None).expect("writes");
        assert!(words.iter().any(|word| word & 0xFFFF == MATRIX_MUL_ADD), "{}", launch.shader);
        written.insert(format!("{}_{}", launch.shader, launch.constants["SIZE"]), words);
    }
    let names: Vec<&str> = written.keys().map(String::as_str).collect();
    let shaders = [
        "attention_decode_mla_matrix",
        "attention_prefill_matrix",
        "matmul_int8_matrix",
        "matmul_int8_matrix_streamed",
        "matmul_matrix",
        "matmul_matrix_streamed",
        "probe_matrix",
    ];
    let wanted: Vec<String> =
        shaders.iter().flat_map(|shader| [16, 8].map(|size| format!("{shader}_{size}"))).collect();
    assert_eq!(names, wanted);
    if let Some(folder) = std::env::var_os("SPIRV_FOLDER") {
        for (name, words) in &written {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.spv")), bytes).expect("writes");
        }
    }
}

fn has_matrices(launch: &Launch) -> bool {
    launch.has_matrices()
}

/// The features and units that a module uses, as naga sees it.
fn used(module: &Module) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    let needs_capability = |capability| {
        let others = Capabilities::all().difference(capability);
        Validator::new(ValidationFlags::all(), others).validate(module).is_err()
    };
    if needs_capability(Capabilities::SHADER_FLOAT16) {
        needs.insert(Need::ShaderF16);
    }
    if needs_capability(Capabilities::SUBGROUP) {
        needs.insert(Need::Subgroup);
    }
    for (_, declared) in module.types.iter() {
        if let TypeInner::CooperativeMatrix { columns, rows, scalar, role } = declared.inner {
            assert_eq!(columns, rows, "matrices are square");
            match (role, rows, scalar.width) {
                (CooperativeRole::C, ..) => assert_eq!(scalar.width, 4, "sums are f32"),
                (_, CooperativeSize::Eight, 4) => drop(needs.insert(Need::Matrix8F32)),
                (_, CooperativeSize::Eight, _) => drop(needs.insert(Need::Matrix8)),
                (_, CooperativeSize::Sixteen, _) => drop(needs.insert(Need::Matrix16)),
            }
        }
    }
    let entries = module.entry_points.iter().map(|entry| &entry.function);
    let mut functions = module.functions.iter().map(|(_, function)| function).chain(entries);
    let is_dot = |expression: &Expression| {
        matches!(expression, Expression::Math { fun: MathFunction::Dot4I8Packed | MathFunction::Dot4U8Packed, .. })
    };
    let has_dot = |function: &Function| function.expressions.iter().any(|(_, expression)| is_dot(expression));
    if functions.any(has_dot) {
        needs.insert(Need::PackedDot);
    }
    needs
}

#[test]
fn every_launch_declares_exactly_the_needs_that_naga_finds_in_its_module() {
    let mut found = BTreeSet::new();
    for launch in launches() {
        let needs = used(&parse_launch(&launch));
        assert_eq!(launch.needs, needs, "{} {}", launch.shader, launch.element);
        found.extend(needs);
    }
    // The search finds what it is for.
    let all = [Need::ShaderF16, Need::Subgroup, Need::Matrix8, Need::Matrix8F32, Need::Matrix16, Need::PackedDot];
    assert_eq!(found, BTreeSet::from(all));
}

#[test]
fn every_launch_finds_the_lines_that_its_type_and_constants_replace() {
    for launch in launches() {
        let (_, text) = SHADERS.iter().find(|(name, _)| *name == launch.shader).expect("the shader exists");
        let lines = match launch.element {
            StorageType::F16 if text.contains("enable f16;") => 0,
            StorageType::F16 => 1, // one line for shader_f16, all of them for packed storage
            StorageType::Bf16 => STORAGE.len(),
            _ => 0,
        };
        for [line, ..] in &STORAGE[..lines] {
            assert!(text.contains(line), "{} {} has no line {line}", launch.shader, launch.element);
        }
        if launch.element.weight_group().is_some() && launch.has_matrices() {
            for [declaration, ..] in MATRIX_WEIGHTS {
                assert!(text.contains(declaration), "{} has no {declaration}", launch.shader);
            }
        } else if launch.element.weight_group().is_some() {
            let has = |[declaration, ..]: &&[&str; 4]| text.contains(declaration);
            assert_eq!(WEIGHTS[..4].iter().filter(has).count(), 4, "{} declares its types", launch.shader);
            assert_eq!(WEIGHTS[4..6].iter().filter(has).count(), 1, "{} reads codes in one way", launch.shader);
            assert_eq!(WEIGHTS[6..].iter().filter(has).count(), 1, "{} decodes in one way", launch.shader);
        }
        for [line, _] in MATRICES.iter().filter(|_| has_matrices(&launch)) {
            assert!(text.contains(line), "{} has no line {line}", launch.shader);
        }
        for name in launch.constants.keys() {
            assert!(text.contains(&format!("const {name}: u32 = ")), "{} has no constant {name}", launch.shader);
        }
    }
}

#[test]
fn params_have_the_names_and_the_order_that_the_plans_write() {
    for launch in launches() {
        let module = parse_launch(&launch);
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
            // A layer has its own names for buffers. Each of its parts is compared in a plan of its own.
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
    for launch in launches() {
        let module = parse_launch(&launch);
        let declared: BTreeSet<&str> =
            module.overrides.iter().filter_map(|(_, constant)| constant.name.as_deref()).collect();
        for name in launch.overrides.keys() {
            assert!(declared.contains(name), "{} has no override {name}", launch.shader);
        }
    }
}

/// Declarations `var name: type;` of functions. Those of a module have an address space, as in `var<workgroup>`.
fn bare_variables(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let statements = code.split(['{', '}', ';', '(']).map(str::trim);
    let bare = statements.filter(|statement| {
        statement.strip_prefix("var").is_some_and(|rest| rest.starts_with(char::is_whitespace) && !rest.contains('='))
    });
    bare.map(str::to_owned).collect()
}

/// Tint zeroes a variable without an initial value only where the function begins, not in each turn of a loop around it.
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

/// The functions of a file: name and whole text, head included.
fn functions_of(text: &str) -> Vec<(String, String)> {
    let mut functions = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\nfn ") {
        rest = &rest[at + 1..];
        let name = rest["fn ".len()..].split('(').next().unwrap_or_default().to_owned();
        // A function ends with the first closing brace at the start of a line, or is one line.
        let line = rest.lines().next().unwrap_or_default();
        let end = if line.ends_with('}') { line.len() } else { rest.find("\n}").map_or(rest.len(), |end| end + 2) };
        functions.push((name, rest[..end].to_owned()));
    }
    functions
}

/// Functions that may differ inside a family, with the reason.
const DIFFERENT: &[(&str, &str)] = &[
    ("main", "the entry points are the kernels"),
    ("widen", "a file reads its own storage type"),
    ("narrow", "a file writes its own storage type"),
    ("decode", "int4 is decoded in the way that is cheap where the kernel runs"),
    ("add_up", "sums are int32 in int8 kernels and f32 in the others"),
];

#[test]
fn functions_of_one_name_in_a_family_are_the_same_text() {
    let mut known: BTreeMap<(&str, String), (&str, String)> = BTreeMap::new();
    let mut shared = BTreeSet::new();
    for (shader, text) in SHADERS {
        let family = shader.split('_').next().unwrap_or_default();
        for (name, text) in functions_of(text) {
            if DIFFERENT.iter().any(|(different, _)| *different == name) {
                continue;
            }
            let (first, same) = known.entry((family, name.clone())).or_insert((shader, text.clone()));
            if *first != *shader {
                assert_eq!(*same, text, "{name} in {first} and {shader}");
                shared.insert(name);
            }
        }
    }
    // The search finds what it is for.
    for name in ["source", "silu", "store", "add_four_products", "row_of"] {
        assert!(shared.contains(name), "{name} of {shared:?}");
    }
}

#[test]
fn the_search_for_functions_finds_heads_over_several_lines_and_bodies_of_one_line() {
    let text = "x\nfn a(y: f32) -> f32 { return y; }\n\nfn b(\n    y: f32,\n) -> f32 {\n    if y > 0.0 {\n    }\n    return y;\n}\n";
    let names: Vec<String> = functions_of(text).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(functions_of(text)[1].1.ends_with("return y;\n}"));
}
