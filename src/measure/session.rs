//! A whole run: ceilings, choice of the preset, every case into the journal as soon as it is done.

mod cases;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub(super) use cases::EFFORT;
use cases::{REFERENCE, Session};

use super::accounting::{Account, Accounted};
use super::ceilings::{self, Ceilings};
use super::document::{choose_preset, document, protocol};
use super::estimate::{self, Estimate, HostRates};
use super::planning::{self, PlannedCase, PlannedFor};
use super::reference;
use super::run::{self, RunError};
use super::sampling::{Pace, Sampling};
use super::tuning_cache::TuningCache;
use super::{Executor, LaunchError};
use crate::record::{
    Case, CeilingKind, Clock, Device, DeviceType, Journal, LeftOut, Preset, Record, RecordError, Rejected, ResumeError,
    Selection, Tuning, load,
};

use crate::specs::SpecError;
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
    /// Which variants are timed in full.
    pub selection: Selection,
    /// Where trials of earlier runs are kept; nowhere where `None`.
    pub tuning_cache: Option<PathBuf>,
    /// Make all trials again.
    pub retune: bool,
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
        /// What all cases will take.
        estimate: &'a Estimate,
    },
    /// A case begins.
    Started(&'a str),
    /// A variant of the case is compiled and tried.
    Trying(&'a str, &'a str),
    /// A variant of the case was chosen by a trial.
    Tuned(&'a str, &'a Tuning),
    /// The reference kernel moved by this factor beside a case, which is run again.
    Repeated(&'a str, f64),
    /// Something to know that is no failure.
    Note(&'a str),
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
    /// No kernel has the variant.
    #[error("--variant {0}: no kernel of this preset has it; `supernode measure --all-variants --list` shows them")]
    NoVariant(String),
    /// The device is gone.
    #[error("{id}: {error}; finished cases are kept, go on with --resume")]
    Device {
        /// The case, or the variant of it.
        id: String,
        /// What the driver said.
        error: LaunchError,
    },
    /// The device is gone, and opening it again is no way out.
    #[error("{id}: {error}; {problem}; finished cases are kept, go on with --resume")]
    NotReopened {
        /// The case, or the variant of it.
        id: String,
        /// What the driver said.
        error: LaunchError,
        /// Why the run ends.
        problem: String,
    },
    /// Ctrl-C.
    #[error("interrupted; finished cases are kept, go on with --resume")]
    Interrupted,
}

/// So many losses of the device without a finished case between them, and it is not the kernels.
const MOST_LOSSES: usize = 3;
/// A device, and a way to open it again after it was lost.
pub struct Machine<'a> {
    /// What the record says about it.
    pub info: &'a Device,
    /// Whether samples can be timed on the device's own clock.
    pub has_device_clock: bool,
    /// The open device.
    pub executor: Box<dyn Executor>,
    /// Opens the same device once more.
    pub reopen: &'a mut dyn FnMut() -> Result<Box<dyn Executor>, String>,
}

/// Measures everything that is not in the document at `path` yet. A case in which the device is lost or hangs is listed
/// as rejected, with the reason; the device is opened again, and the run goes on with the next.
///
/// # Errors
/// [`SessionError`]; what was finished before is in the document.
pub fn run(
    machine: Machine,
    options: &Options,
    path: &Path,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<Record, SessionError> {
    let (device, clock) = (machine.info, machine.has_device_clock);
    let account = Rc::new(Account::default());
    let accounted = |inner| -> Box<dyn Executor> { Box::new(Accounted { inner, account: Rc::clone(&account) }) };
    let mut executor = accounted(machine.executor);
    let reopen = machine.reopen;
    let mut journal =
        open(&mut executor, &mut || reopen().map(accounted), device, clock, options, path, interrupted, tell)?;
    let (mut cache, note) = match &options.tuning_cache {
        Some(directory) => TuningCache::open(directory, device, options.runtime_checks),
        None => (TuningCache::in_memory(), None),
    };
    if let Some(note) = note {
        tell(Event::Note(&note));
    }
    if options.retune {
        cache.forget();
    }
    let record = journal.record();
    let on = PlannedFor::device(device, &record.ceilings);
    let planned = planning::cases(record.protocol.preset, &options.selection, &options.only, &on)?;
    let interval = reference::INTERVAL;
    all(
        executor,
        &mut || reopen().map(accounted),
        &planned,
        &mut Run { journal: &mut journal, cache: &mut cache, interval, interrupted, tell },
    )?;
    journal.spend(account.spent())?;
    Ok(journal.record().clone())
}

/// What outlives a device.
struct Run<'a> {
    journal: &'a mut Journal,
    cache: &'a mut TuningCache,
    /// The least time between two readings of the reference kernel.
    interval: Duration,
    interrupted: &'a AtomicBool,
    tell: &'a mut dyn FnMut(Event<'_>),
}

/// Goes through all cases, on as many openings of the device as that takes.
fn all(
    mut executor: Box<dyn Executor>,
    reopen: &mut dyn FnMut() -> Result<Box<dyn Executor>, String>,
    planned: &[PlannedCase],
    run: &mut Run,
) -> Result<(), SessionError> {
    let (mut losses, mut finished) = (0, run.journal.record().cases.len());
    loop {
        let mut session = Session { executor: executor.as_ref(), run, watch: None };
        let (id, error) = match session.all(planned) {
            Err(SessionError::Device { id, error }) => (id, error),
            outcome => return outcome,
        };
        drop(session);
        let now = run.journal.record().cases.len();
        losses = if now > finished { 1 } else { losses + 1 };
        finished = now;
        if matches!(error, LaunchError::Hung(_)) {
            // Closing it would wait for the work that never ends.
            std::mem::forget(executor);
        } else {
            drop(executor);
        }
        if losses > MOST_LOSSES {
            let problem = format!("lost {losses} times in a row");
            return Err(SessionError::NotReopened { id, error, problem });
        }
        // Only a device that comes back shows that the case was at fault, and not a cable.
        executor = match reopen() {
            Ok(executor) => executor,
            Err(problem) => return Err(SessionError::NotReopened { id, error, problem }),
        };
        if id != REFERENCE && !run.journal.done(&id) {
            let reason = format!("{error}; it was opened again for the cases after this one");
            run.reject(Rejected { id, reason, verification: None })?;
        }
    }
}

impl Run<'_> {
    fn leave_out(&mut self, left_out: LeftOut) -> Result<(), SessionError> {
        self.journal.push_left_out(left_out.clone())?;
        (self.tell)(Event::LeftOut(&left_out));
        Ok(())
    }

    fn reject(&mut self, rejected: Rejected) -> Result<(), SessionError> {
        self.journal.push_rejected(rejected.clone())?;
        (self.tell)(Event::Rejected(&rejected));
        Ok(())
    }
}

#[expect(clippy::too_many_arguments, reason = "all that a run is made of")]
fn open(
    executor: &mut Box<dyn Executor>,
    reopen: &mut dyn FnMut() -> Result<Box<dyn Executor>, String>,
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
        Some(record) if !record.ceilings.is_empty() => {
            Ceilings { found: record.ceilings.clone(), left_out: Vec::new() }
        }
        _ => {
            let pace = if device.device_type == DeviceType::Software { Pace::SOFTWARE } else { Pace::ROOF };
            let budget = Seconds::new(0.5);
            let sampling = Sampling { target_relative_ci: 0.02, budget, runs_per_sample: None, pace };
            let protocol = run::Protocol { seed: options.seed, sets: 1, effort: u64::MAX, sampling, interrupted };
            ceilings::measure(executor, reopen, device, &protocol, |kind, ceiling| {
                tell(Event::Ceiling(kind, ceiling.value));
            })
            .map_err(|error| match error {
                RunError::Interrupted => SessionError::Interrupted,
                other => SessionError::Ceilings(other),
            })?
        }
    };
    for left_out in &ceilings.left_out {
        tell(Event::Note(&format!("{} left out: {}", left_out.id, left_out.reason)));
    }
    let f32_rate = ceilings.found.get(&CeilingKind::FmaF32).map(|ceiling| FlopPerSecond::new(ceiling.value));
    let clock = if has_device_clock { Clock::Device } else { Clock::Wall };
    let reference = ceilings.found.get(&CeilingKind::FmaF32).and_then(|fma| reference::describe(fma, device));
    let on = PlannedFor::device(device, &ceilings.found);
    let empty = |preset, reason: &str| {
        let protocol = protocol(preset, reason.to_owned(), clock, device, &ceilings.found, options);
        let mut empty = document(device, protocol, reference.clone(), Vec::new());
        empty.ceilings = ceilings.found.clone();
        empty
    };
    let planned = |preset| planning::cases(preset, &options.selection, &options.only, &on);
    let estimated = |preset| {
        let record = empty(preset, "");
        Ok(estimate::estimate(&planned(preset)?, &record, &HostRates::here(&record.host)))
    };
    let asked = options.preset.or(before.as_ref().map(|record| record.protocol.preset));
    let chosen = choose_preset(asked, device, f32_rate, &estimated)?;
    let reason = match (&before, options.preset) {
        (Some(record), None) => record.protocol.preset_reason.clone(),
        _ => chosen.reason,
    };
    let mut fresh = empty(chosen.preset, &reason);
    fresh.planned = planned(chosen.preset)?.into_iter().map(|case| case.id).collect();
    fresh.left_out = ceilings.left_out;
    let journal = if resuming { Journal::resume(path, &fresh)? } else { Journal::create(path, fresh)? };
    let record = journal.record();
    let cases = record.planned.len();
    let done = record.planned.iter().filter(|id| journal.done(id)).count();
    tell(Event::Planned { cases, done, preset: chosen.preset, reason: &reason, estimate: &chosen.estimate });
    Ok(journal)
}

#[cfg(test)]
mod devices;
#[cfg(test)]
mod tests;
