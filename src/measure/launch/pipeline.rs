//! Shaders and pipelines, each compiled once per device, and wgpu's errors as values.

use std::borrow::Cow;

use super::super::executor::LaunchError;
use super::super::gpu::Gpu;
use super::super::waiting;
use crate::kernels::{Launch, Need};

/// The pipeline of a launch, compiled at its first use.
///
/// # Errors
/// [`LaunchError::Shader`] where the driver refuses the shader; else as any call of the device.
pub(in crate::measure) fn compile(gpu: &Gpu, launch: &Launch) -> Result<wgpu::ComputePipeline, LaunchError> {
    let refuse = |message: String| LaunchError::Shader { shader: launch.shader, message: one_line(&message) };
    // Lost devices and full memory are not the shader's fault.
    let refused = |error| match error {
        LaunchError::Refused(message) => refuse(message),
        LaunchError::TooLarge(message) => LaunchError::TooLarge(format!("shader {}: {message}", launch.shader)),
        other => other,
    };
    let source = with_extensions(launch, launch.wgsl().ok_or_else(|| refuse("no such file".to_owned()))?);
    let key = format!("{:?}\n{source}", launch.overrides);
    if let Some(pipeline) = gpu.pipelines.lock().ok().and_then(|pipelines| pipelines.get(&key).cloned()) {
        return Ok(pipeline);
    }
    let scopes = Scopes::open(gpu);
    let module = shader_module(gpu, launch.shader, source);
    scopes.close().map_err(refused)?;
    let constants: Vec<(&str, f64)> = launch.overrides.iter().map(|(name, value)| (*name, *value)).collect();
    let scopes = Scopes::open(gpu);
    let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(launch.shader),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            zero_initialize_workgroup_memory: gpu.runtime_checks,
        },
        cache: None,
    });
    scopes.close().map_err(refused)?;
    if let Ok(mut pipelines) = gpu.pipelines.lock() {
        pipelines.insert(key, pipeline.clone());
    }
    Ok(pipeline)
}

/// WGSL wants subgroups to be enabled, and browsers insist; naga, which compiles natively, knows no such line.
fn with_extensions(launch: &Launch, source: Cow<'static, str>) -> Cow<'static, str> {
    if cfg!(target_arch = "wasm32") && launch.needs.contains(&Need::Subgroup) {
        return Cow::Owned(format!("enable subgroups;\n{source}"));
    }
    source
}

/// Runtime checks bound every index and every loop, which halves the rate of tight loops and is no part of a kernel.
#[expect(
    unsafe_code,
    reason = "the shaders are our own, and the tests run every one of them with all checks on and compares the results"
)]
fn shader_module(gpu: &Gpu, label: &str, source: Cow<'static, str>) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(source) };
    if gpu.runtime_checks {
        return gpu.device.create_shader_module(descriptor);
    }
    // SAFETY: indices stay inside the buffers that the plan sizes, and every loop ends; see the reason above.
    unsafe { gpu.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

/// Turns the errors of the calls inside into values; without it wgpu would panic.
pub(super) struct Scopes<'a> {
    gpu: &'a Gpu,
    guards: Vec<wgpu::ErrorScopeGuard>,
}

impl<'a> Scopes<'a> {
    pub(super) fn open(gpu: &'a Gpu) -> Self {
        let filters = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation];
        Self { gpu, guards: filters.into_iter().map(|filter| gpu.device.push_error_scope(filter)).collect() }
    }

    pub(super) fn close(self) -> Result<(), LaunchError> {
        // All are popped before the first is waited for: in a browser, each answer comes from another process.
        let popped: Vec<_> = self.guards.into_iter().rev().map(wgpu::ErrorScopeGuard::pop).collect();
        let mut first = None;
        for error in popped {
            first = first.or(waiting::block_on(error));
        }
        // A lost device refuses every later call, and its reasons name the call and not the loss.
        if let Some(why) = self.gpu.lost() {
            return Err(LaunchError::Device(one_line(&why)));
        }
        match first {
            None => Ok(()),
            Some(wgpu::Error::OutOfMemory { source }) => Err(LaunchError::OutOfMemory(one_line(&source.to_string()))),
            Some(error) => Err(refusal(one_line(&error.to_string()))),
        }
    }
}

/// wgpu says only in words that a limit of the device was met; this is the one place that reads them.
fn refusal(message: String) -> LaunchError {
    let is_limit = message.contains("Limits::") || message.contains(" limit") || message.contains("exceeds");
    if is_limit { LaunchError::TooLarge(message) } else { LaunchError::Refused(message) }
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wgpu_s_words_about_limits_are_told_from_other_refusals() {
        let too_large = [
            "Workgroup size [512, 1, 1] (512 total invocations) must be less or equal to the per-dimension limit \
             `Limits::max_compute_workgroup_size_{x,y,z}` of [256, 256, 64] and the total invocation limit \
             `Limits::max_compute_invocations_per_workgroup` of 256",
            "Buffer size 4294967296 is greater than the maximum buffer size (2147483648), see `Limits::max_buffer_size`",
            "workgroup storage exceeds the limit of 32768 bytes",
        ];
        for message in too_large {
            assert!(matches!(refusal(message.to_owned()), LaunchError::TooLarge(_)), "{message}");
        }
        let refused = "The global variable is not present in the pipeline layout";
        assert!(matches!(refusal(refused.to_owned()), LaunchError::Refused(_)));
    }
}
