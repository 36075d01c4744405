//! `supernode verify --compile-only`: every pipeline through the driver's compiler.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::device::DeviceArgs;
use crate::cli::error::Error;
use crate::cli::output::{print, print_json};
use crate::cli::progress::{Progress, Shown};
use crate::kernels::cases::CaseSpec;
use crate::measure::compile::{self, Compilation, CompilationResult, SLOW, ShaderPipeline};
use crate::measure::gpu::Gpu;
use crate::record::Device;
use crate::report::terminal::compile::{CompileOutcome, CompiledPipeline, compilations};
use crate::units::Seconds;

/// What was asked for, apart from the cases.
pub(super) struct Asked<'a> {
    pub(super) device: &'a DeviceArgs,
    /// No pipeline begins after so many seconds.
    pub(super) limit_s: Option<u64>,
    pub(super) json: bool,
}

/// Everything that is known after a pass, for `--json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    device: &'a Device,
    tool_version: &'static str,
    /// Whether wgpu's bounds and loop checks were in the shaders.
    runtime_checks: bool,
    /// All pipelines together.
    seconds: Seconds,
    /// What counts as slow.
    slow_s: Seconds,
    pipelines: &'a [Compilation],
}

/// Compiles every pipeline of some cases and prints what became of them.
///
/// # Errors
/// [`Error::Negative`] where one is refused.
pub(super) fn run(args: &Asked<'_>, cases: &[CaseSpec], interrupted: &AtomicBool) -> Result<(), Error> {
    let pipelines = compile::pipelines(cases);
    let gpu = args.device.open()?;
    let progress = Progress::new(pipelines.len(), if args.json { Shown::Never } else { Shown::UnlessQuiet });
    let limit = args.limit_s.map(|limit| (limit, Instant::now() + Duration::from_secs(limit)));
    let stop = || {
        if interrupted.load(Ordering::Relaxed) {
            return Some("interrupted".to_owned());
        }
        limit
            .filter(|(_, end)| Instant::now() >= *end)
            .map(|(limit, _)| format!("the time limit of {limit} s was over"))
    };
    let done = compile_all(&gpu, &pipelines, &progress, stop);
    progress.finish();
    if args.json {
        print_json(&Document {
            device: &gpu.info,
            tool_version: env!("CARGO_PKG_VERSION"),
            runtime_checks: args.device.runtime_checks,
            seconds: done.iter().filter_map(|compilation| compilation.seconds).sum(),
            slow_s: SLOW,
            pipelines: &done,
        })?;
    } else {
        let shown: Vec<CompiledPipeline> = done.iter().map(shown).collect();
        print(&compilations(&gpu.info, &shown, SLOW))?;
    }
    if interrupted.load(Ordering::Relaxed) {
        return Err(Error::Interrupted("interrupted".to_owned()));
    }
    match done.iter().filter(|compilation| compilation.outcome == CompilationResult::Refused).count() {
        0 => Ok(()),
        refused => {
            Err(Error::Negative(format!("{refused} of {} pipelines are refused on {}", done.len(), gpu.info.name)))
        }
    }
}

/// Compiles one after the other, until `stop` says why not, or the device is lost.
fn compile_all(
    gpu: &Gpu,
    pipelines: &[ShaderPipeline],
    progress: &Progress,
    stop: impl Fn() -> Option<String>,
) -> Vec<Compilation> {
    let mut done = Vec::with_capacity(pipelines.len());
    let mut end = None;
    for pipeline in pipelines {
        end = end.or_else(&stop);
        let compilation = match &end {
            Some(why) => Compilation::not_tried(pipeline, why),
            None => {
                progress.begin(&pipeline.name);
                compile::compile(gpu, pipeline).unwrap_or_else(|error| {
                    end = Some(error.to_string());
                    Compilation {
                        outcome: CompilationResult::Refused,
                        ..Compilation::not_tried(pipeline, &error.to_string())
                    }
                })
            }
        };
        done.push(compilation);
        progress.step_silently();
    }
    done
}

/// A pipeline as the report shows it.
fn shown(compilation: &Compilation) -> CompiledPipeline {
    CompiledPipeline {
        name: compilation.pipeline.name.clone(),
        family: compilation.pipeline.family,
        outcome: match compilation.outcome {
            CompilationResult::Compiled => CompileOutcome::Compiled,
            CompilationResult::Refused => CompileOutcome::Refused,
            CompilationResult::LeftOut => CompileOutcome::LeftOut,
            CompilationResult::NotTried => CompileOutcome::NotTried,
        },
        seconds: compilation.seconds,
        why: compilation.why.clone(),
    }
}
