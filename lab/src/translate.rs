//! WGSL to SPIR-V, with the options that wgpu takes for our kernels.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use naga::back::{pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, ShaderStage, TypeInner};

use crate::vulkan::Shader;

/// Translates a shader with the values of its `override` constants. `dots` says whether the device has packed dot products.
///
/// As with wgpu there are no bounds checks and no bounds of loops, and workgroup memory is not zeroed.
pub fn translate(wgsl: &str, overrides: &BTreeMap<String, f64>, f16: bool) -> Result<Shader> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| anyhow!("{}", error.emit_to_string(wgsl)))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|error| anyhow!("{}", error.emit_to_string(wgsl)))?;
    let values = overrides.iter().map(|(name, value)| (name.clone(), *value)).collect();
    let (module, info) = process_overrides(&module, &info, Some((ShaderStage::Compute, "main")), &values)?;
    let mut capabilities = Vec::from([
        spv::Capability::Shader,
        spv::Capability::Matrix,
        spv::Capability::GroupNonUniform,
        spv::Capability::GroupNonUniformVote,
        spv::Capability::GroupNonUniformArithmetic,
        spv::Capability::GroupNonUniformBallot,
        spv::Capability::GroupNonUniformShuffle,
        spv::Capability::GroupNonUniformShuffleRelative,
        spv::Capability::GroupNonUniformQuad,
        spv::Capability::Int8,
        spv::Capability::DotProductInputAllKHR,
        spv::Capability::DotProductInput4x8BitKHR,
        spv::Capability::DotProductInput4x8BitPackedKHR,
        spv::Capability::DotProductKHR,
        spv::Capability::CooperativeMatrixKHR,
        spv::Capability::VulkanMemoryModel,
    ]);
    if f16 {
        capabilities.push(spv::Capability::Float16);
    }
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::empty(),
        capabilities: Some(capabilities.into_iter().collect()),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        use_storage_input_output_16: false,
        ..Default::default()
    };
    let entry = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".to_owned() };
    let words = spv::write_vec(&module, &info, &options, Some(&entry)).context("SPIR-V")?;
    let mut bindings = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        if let Some(binding) = &variable.binding {
            bindings.push((binding.binding, variable.space == AddressSpace::Uniform));
        }
    }
    Ok(Shader { words, entry: "main".to_owned(), bindings, push_bytes: 0, constants: Vec::new(), subgroup: None })
}

/// Bytes of workgroup memory in a shader's text, and invocations of its workgroup, with its overrides set.
pub fn workgroup(wgsl: &str, overrides: &BTreeMap<String, f64>) -> Result<(u32, u32)> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| anyhow!("{}", error.emit_to_string(wgsl)))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module)?;
    let values = overrides.iter().map(|(name, value)| (name.clone(), *value)).collect();
    let (module, _) = process_overrides(&module, &info, Some((ShaderStage::Compute, "main")), &values)?;
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx())?;
    let bytes = module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| match module.types[variable.ty].inner {
            TypeInner::Atomic(scalar) => u32::from(scalar.width),
            _ => layouter[variable.ty].size,
        })
        .sum();
    let invocations = module.entry_points.iter().map(|entry| entry.workgroup_size.iter().product()).max().unwrap_or(1);
    Ok((bytes, invocations))
}
