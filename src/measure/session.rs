//! A whole run: ceilings, choice of the preset, every case into the journal as soon as it is done.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::run::{self, RunError};
use super::sampling::Sampling;
use super::{Executor, ceilings, host, launch};
use crate::kernels::cases::{CaseSpec, preset_cases, preset_models};
use crate::kernels::{Element, Plan, Work};
use crate::record::{
    Achieved, Bound, Case, Caveat, CeilingKind, Clock, Device, DeviceType, Journal, LeftOut, Preset, Protocol, Record,
    RecordError, Rejected, ResumeError, SCHEMA_VERSION, Tool, load,
};
use crate::specs::{Model, SpecError};
use crate::units::{FlopPerSecond, Seconds};

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The set of shapes; chosen from the device's speed where `None`.
    pub preset: Option<Preset>,
    /// Seed of all inputs.
    pub seed: u64,
    /// Only cases whose id contains one of these; all where empty.
    pub only: Vec<String>,
    /// Whether shaders keep wgpu's checks.
    pub runtime_checks: bool,
    /// Go on with the document that is there.
    pub resume: bool,
}

/// What happens, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A roof is measured.
    Ceiling(CeilingKind, f64),
    /// The cases are known: how many, how many of them are done already, the preset and why.
    Planned {
        /// All cases.
        cases: usize,
        /// Those in the document already.
        done: usize,
        /// The preset.
        preset: Preset,
        /// Why this one.
        reason: &'a str,
    },
    /// A case begins.
    Started(&'a str),
    /// A case is in the document.
    Measured(&'a Case),
    /// A case cannot run here.
    LeftOut(&'a LeftOut),
    /// A case failed.
    Rejected(&'a Rejected),
}

/// Why a run ended early. What was done is in the document.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A probe of the roofs failed.
    #[error("the device's ceilings could not be measured: {0}")]
    Ceilings(RunError),
    /// The document could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The document is of another run.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// A built-in model is broken.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// `--only` fits no case.
    #[error("--only {0}: no case of this preset contains this; `supernode measure --list` shows them")]
    Nothing(String),
    /// The device is gone.
    #[error("{id}: {error}; finished cases are kept, go on with --resume")]
    Device {
        /// The case.
        id: String,
        /// What the driver said.
        error: String,
    },
    /// Ctrl-C.
    #[error("interrupted; finished cases are kept, go on with --resume")]
    Interrupted,
}

/// Multiply-adds of the twin that one verification may cost.
const EFFORT: u64 = 8_000_000;
/// A launch that the roofs say takes longer is not tried: at a third of the roof it would near a desktop's watchdog.
const LONGEST_LAUNCH: Seconds = Seconds::new(0.5);
/// All buffers of a case together; more than this and a small device would swap.
const MOST_BYTES: u64 = 16 << 30;
const MAX_SETS: u64 = 64;

/// Measures everything that is not in the document at `path` yet.
///
/// # Errors
/// [`SessionError`]; what was finished before is in the document.
pub fn run(
    executor: &dyn Executor,
    device: &Device,
    has_device_clock: bool,
    options: &Options,
    path: &Path,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<Record, SessionError> {
    let mut journal = open(executor, device, has_device_clock, options, path, interrupted, tell)?;
    for spec in specs(journal.record().protocol.preset, &options.only)? {
        let id = spec.id();
        if journal.done(&id) {
            continue;
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err(SessionError::Interrupted);
        }
        tell(Event::Started(&id));
        one_case(executor, &spec, &id, &mut journal, interrupted, tell)?;
    }
    journal.finish()?;
    Ok(journal.record().clone())
}

/// Ids of the cases of a preset that contain one of `only`.
///
/// # Errors
/// [`SessionError::Nothing`] where there is none, [`SessionError::Spec`].
pub fn specs(preset: Preset, only: &[String]) -> Result<Vec<CaseSpec>, SessionError> {
    let models: Vec<Model> = preset_models(preset).iter().map(|name| Model::load(name)).collect::<Result<_, _>>()?;
    let mut specs = preset_cases(preset, &models);
    if !only.is_empty() {
        specs.retain(|spec| {
            let id = spec.id();
            only.iter().any(|part| id.contains(part))
        });
    }
    if specs.is_empty() {
        return Err(SessionError::Nothing(only.join(" ")));
    }
    Ok(specs)
}

fn open(
    executor: &dyn Executor,
    device: &Device,
    has_device_clock: bool,
    options: &Options,
    path: &Path,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<Journal, SessionError> {
    let resuming = options.resume && path.exists();
    let before = if resuming { Some(load(path)?) } else { None };
    let ceilings = match &before {
        Some(record) if !record.ceilings.is_empty() => record.ceilings.clone(),
        _ => {
            let sampling = Sampling { target_relative_ci: 0.02, budget: Seconds::new(0.5), runs_per_sample: None };
            ceilings::measure(executor, device, options.seed, &sampling, interrupted, |kind, ceiling| {
                tell(Event::Ceiling(kind, ceiling.value));
            })
            .map_err(|error| match error {
                RunError::Interrupted => SessionError::Interrupted,
                other => SessionError::Ceilings(other),
            })?
        }
    };
    let f32_rate = ceilings.get(&CeilingKind::FmaF32).map_or(0.0, |ceiling| ceiling.value);
    let (preset, preset_reason) = match (options.preset, &before) {
        (Some(preset), _) => (preset, "asked for".to_owned()),
        (None, Some(record)) => (record.protocol.preset, record.protocol.preset_reason.clone()),
        (None, None) => choose_preset(FlopPerSecond::new(f32_rate)),
    };
    let planned: Vec<String> = specs(preset, &options.only)?.iter().map(CaseSpec::id).collect();
    let clock = if has_device_clock { Clock::Device } else { Clock::Wall };
    let mut fresh = document(device, protocol(preset, preset_reason.clone(), clock, device, options), planned);
    fresh.ceilings = ceilings;
    let journal = if resuming { Journal::resume(path, &fresh)? } else { Journal::create(path, fresh)? };
    let record = journal.record();
    let cases = record.planned.len();
    let done = record.planned.iter().filter(|id| journal.done(id)).count();
    tell(Event::Planned { cases, done, preset, reason: &preset_reason });
    Ok(journal)
}

/// Smoke for what reaches less than an integrated GPU, full for what a discrete one reaches.
fn choose_preset(f32_rate: FlopPerSecond) -> (Preset, String) {
    let preset = match f32_rate.get() {
        rate if rate < 200e9 => Preset::Smoke,
        rate if rate < 5e12 => Preset::Quick,
        _ => Preset::Full,
    };
    (preset, format!("chosen from the measured f32 rate, {f32_rate}"))
}

fn protocol(preset: Preset, preset_reason: String, clock: Clock, device: &Device, options: &Options) -> Protocol {
    let software = device.device_type == DeviceType::Software;
    Protocol {
        preset,
        preset_reason,
        seed: options.seed,
        clock,
        runtime_checks: options.runtime_checks,
        rotation_bytes: rotation_bytes(device),
        target_relative_ci: if software { 0.05 } else { 0.01 },
        sample_budget_s: Seconds::new(match preset {
            Preset::Smoke => 0.4,
            Preset::Quick => 0.5,
            Preset::Full => 1.0,
        }),
    }
}

fn document(device: &Device, protocol: Protocol, planned: Vec<String>) -> Record {
    let mut caveats = Vec::new();
    if device.device_type == DeviceType::Software {
        caveats.push(Caveat::SoftwareAdapter);
    }
    if protocol.clock == Clock::Wall {
        caveats.push(Caveat::WallClock);
    }
    Record {
        schema_version: SCHEMA_VERSION,
        complete: false,
        created_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        tool: Tool {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: option_env!("SUPERNODE_GIT_COMMIT").map(str::to_owned),
        },
        host: host::describe(),
        device: device.clone(),
        protocol,
        caveats,
        ceilings: std::collections::BTreeMap::new(),
        planned,
        cases: Vec::new(),
        left_out: Vec::new(),
        rejected: Vec::new(),
    }
}

fn one_case(
    executor: &dyn Executor,
    spec: &CaseSpec,
    id: &str,
    journal: &mut Journal,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<(), SessionError> {
    let plan = spec.kernel.plan(spec.variant, spec.element);
    if let Some(reason) = unfit(&plan, spec.element, journal.record()) {
        let left_out = LeftOut { id: id.to_owned(), reason };
        journal.push_left_out(left_out.clone())?;
        tell(Event::LeftOut(&left_out));
        return Ok(());
    }
    let protocol = &journal.record().protocol;
    let sets = buffer_sets(&plan, protocol.rotation_bytes);
    let sampling = Sampling {
        target_relative_ci: protocol.target_relative_ci,
        budget: protocol.sample_budget_s,
        runs_per_sample: None,
    };
    let kernel = spec.kernel.as_ref();
    let seed = protocol.seed;
    match run::verify_and_sample(
        executor,
        kernel,
        spec.variant,
        spec.element,
        seed,
        sets,
        EFFORT,
        &sampling,
        interrupted,
    ) {
        Ok(run) => {
            let case = case(spec, id, &plan, run, journal.record());
            journal.push_case(case.clone())?;
            tell(Event::Measured(&case));
            Ok(())
        }
        Err(RunError::Interrupted) => Err(SessionError::Interrupted),
        Err(RunError::Launch(super::LaunchError::Device(error))) => {
            Err(SessionError::Device { id: id.to_owned(), error })
        }
        Err(error) => {
            let reason = error.to_string();
            let verification = if let RunError::Wrong(verification) = error { Some(*verification) } else { None };
            let rejected = Rejected { id: id.to_owned(), reason, verification };
            journal.push_rejected(rejected.clone())?;
            tell(Event::Rejected(&rejected));
            Ok(())
        }
    }
}

/// Why the device cannot run this plan, if it cannot.
fn unfit(plan: &Plan, element: Element, record: &Record) -> Option<String> {
    let device = &record.device;
    if let Some(reason) = launch::missing(plan, device) {
        return Some(reason);
    }
    let limit = |name: &str| device.limits.get(name).copied().unwrap_or(u64::MAX);
    let largest = plan.largest_buffer_bytes();
    for name in ["max_storage_buffer_binding_size", "max_buffer_size"] {
        if largest > limit(name) {
            return Some(format!("needs a buffer of {largest} bytes, the adapter's {name} is {}", limit(name)));
        }
    }
    if plan.total_bytes() > MOST_BYTES {
        return Some(format!("needs {} bytes in all, this tool stops at {MOST_BYTES}", plan.total_bytes()));
    }
    let axis = u64::from(plan.largest_grid_axis());
    if axis > limit("max_compute_workgroups_per_dimension") {
        return Some(format!("needs {axis} workgroups along one axis, more than the adapter allows"));
    }
    let (best, _) = roofline(&plan.work, element, plan.launches.len(), record);
    (best > LONGEST_LAUNCH)
        .then(|| format!("would take {best} at this device's ceilings; runs beyond {LONGEST_LAUNCH} are not tried"))
}

/// Past the last-level cache of a server CPU, and of the largest GPU caches of today.
pub(super) fn rotation_bytes(device: &Device) -> u64 {
    if device.device_type == DeviceType::Software { 64 << 20 } else { 512 << 20 }
}

/// Sets of inputs that together exceed the rotation, within reason.
pub(super) fn buffer_sets(plan: &Plan, rotation_bytes: u64) -> u32 {
    let inputs = input_bytes(plan).max(1);
    u32::try_from(rotation_bytes.div_ceil(inputs).clamp(1, MAX_SETS)).unwrap_or(1)
}

fn input_bytes(plan: &Plan) -> u64 {
    plan.buffers
        .iter()
        .filter(|buffer| buffer.role == crate::kernels::Role::Input)
        .map(|buffer| buffer.size_bytes)
        .sum()
}

/// The least time that the measured roofs allow, and which of them sets it.
fn roofline(work: &Work, element: Element, launches: usize, record: &Record) -> (Seconds, Bound) {
    let compute = record.fma_ceiling(element).map_or(Seconds::ZERO, |rate| work.flop / rate);
    let memory = record.memory_ceiling().map_or(Seconds::ZERO, |rate| work.bytes() / rate);
    let launch = record.launch_cost().map_or(Seconds::ZERO, |cost| cost * launches as f64);
    [(compute, Bound::Compute), (memory, Bound::Memory), (launch, Bound::Launch)]
        .into_iter()
        .fold((Seconds::ZERO, Bound::Launch), |best, next| if next.0 > best.0 { next } else { best })
}

fn case(spec: &CaseSpec, id: &str, plan: &Plan, run: run::Run, record: &Record) -> Case {
    let median = run.sampled.timing.median_s;
    let (roofline_s, bound_by) = roofline(&plan.work, spec.element, plan.launches.len(), record);
    let fraction = roofline_s / median;
    let mut caveats = run.sampled.caveats;
    let rotated = input_bytes(plan) * u64::from(run.sampled.timing.buffer_sets);
    if rotated < record.protocol.rotation_bytes {
        caveats.push(Caveat::Cached { rotation_bytes: rotated });
    }
    if fraction > 1.0 {
        caveats.push(Caveat::AboveRoofline { fraction });
    }
    Case {
        id: id.to_owned(),
        family: spec.kernel.family(),
        kernel: spec.kernel.name().to_owned(),
        variant: spec.variant.to_owned(),
        element: spec.element,
        model: spec.model.clone(),
        phase: spec.phase,
        scale_divisor: spec.scale_divisor,
        shape: spec.kernel.shape(),
        work: plan.work,
        verification: run.verification,
        achieved: Achieved {
            flop_per_s: plan.work.flop / median,
            bytes_per_s: plan.work.bytes() / median,
            roofline_s,
            fraction_of_roofline: fraction,
            bound_by,
        },
        timing: run.sampled.timing,
        caveats,
    }
}
