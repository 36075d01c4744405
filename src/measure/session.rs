//! A whole run: ceilings, choice of the preset, every case into the journal as soon as it is done.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::accounting::{Account, Accounted};
use super::ceilings::{self, Ceilings};
use super::document::{choose_preset, document, protocol};
use super::estimate::{self, Estimate, HostRates};
use super::finals::{self, Finals, Lost};
use super::planning::{self, PlannedCase, PlannedFor};
use super::reference::{self, Watch};
use super::roofs::{self, Limits};
use super::run::{self, RunError};
use super::sampling::{Pace, Sampling, SamplingError};
use super::tuning::{self, Choice, TrialError};
use super::tuning_cache::TuningCache;
use super::{Executor, LaunchError, launch};
use crate::kernels::{Kernel, Plan};
use crate::record::{
    Case, Caveat, CeilingKind, Clock, Device, DeviceType, Journal, LeftOut, Preset, Reading, Record, RecordError,
    Rejected, ResumeError, Selection, Tuning, load,
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

/// Multiply-adds of the twin that one verification may cost.
pub(super) const EFFORT: u64 = 8_000_000;
/// No submission on hardware that is predicted to take longer: a tenth of what Windows gives a GPU, and what a desktop
/// that the GPU also draws bears.
const LONGEST_SUBMISSION: Seconds = Seconds::new(0.2);
/// A variant reaches at least this share of the roof, or is tried at a smaller size before it is trusted with the case.
const LEAST_SHARE: f64 = 0.02;
/// A CPU that poses as a GPU has no watchdog, but minutes are dear.
const LONGEST_LAUNCH_SOFTWARE: Seconds = Seconds::new(0.5);
/// All buffers of a case together; more than this and a small device would swap.
const MOST_BYTES: u64 = 4 << 30;
/// So many losses of the device without a finished case between them, and it is not the kernels.
const MOST_LOSSES: usize = 3;
/// Stands for the reference kernel where a case is named.
const REFERENCE: &str = "reference";
/// Readings of the reference kernel before the first case: enough to judge the next.
const FIRST_READINGS: usize = 3;

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

/// A run on one opening of the device.
struct Session<'a, 'r> {
    executor: &'a dyn Executor,
    run: &'a mut Run<'r>,
    watch: Option<Watch<'a>>,
}

impl<'r> Session<'_, 'r> {
    fn all(&mut self, planned: &[PlannedCase]) -> Result<(), SessionError> {
        let record = self.run.journal.record();
        if let Some(reference) = &record.reference {
            let (seed, software) = (record.protocol.seed, record.is_software());
            let watch = Watch::new(self.executor, reference, seed, software, self.run.interval);
            self.watch = Some(watch.map_err(|error| device_error(REFERENCE, error))?);
        }
        self.first_readings()?;
        for case in planned {
            if self.run.journal.done(&case.id) {
                continue;
            }
            self.check_interrupt()?;
            (self.run.tell)(Event::Started(&case.id));
            self.one_case(&self.with_tuned_parts(case, planned))?;
        }
        Ok(self.run.journal.finish()?)
    }

    fn check_interrupt(&self) -> Result<(), SessionError> {
        if self.run.interrupted.load(Ordering::Relaxed) { Err(SessionError::Interrupted) } else { Ok(()) }
    }

    fn first_readings(&mut self) -> Result<(), SessionError> {
        let there = self.run.journal.record().reference.as_ref().map_or(0, |reference| reference.readings.len());
        for _ in there..FIRST_READINGS {
            self.check_interrupt()?;
            if let Some(reading) = self.reading()? {
                self.run.journal.push_reading(reading)?;
            }
        }
        Ok(())
    }

    fn reading(&mut self) -> Result<Option<Reading>, SessionError> {
        let done = self.run.journal.record().cases.len();
        let Some(watch) = &mut self.watch else { return Ok(None) };
        match watch.read(done, self.run.interrupted) {
            Ok(reading) => Ok(Some(reading)),
            Err(SamplingError::Interrupted) => Err(SessionError::Interrupted),
            Err(SamplingError::Launch(error)) => Err(device_error(REFERENCE, error)),
        }
    }

    /// A reading after a case, and by what factor it moved, if it did.
    fn watch(&mut self) -> Result<Option<f64>, SessionError> {
        if !self.watch.as_ref().is_some_and(Watch::is_due) {
            return Ok(None);
        }
        let Some(reading) = self.reading()? else { return Ok(None) };
        let ratio = self.run.journal.record().reference.as_ref().and_then(|all| reference::moved(all, &reading));
        self.run.journal.push_reading(reading)?;
        Ok(ratio)
    }

    /// A layer takes inside what the trials of its kernels have chosen, at the shape that is most like theirs.
    fn with_tuned_parts(&self, case: &PlannedCase, planned: &[PlannedCase]) -> PlannedCase {
        let record = self.run.journal.record();
        let target = planning::target(&record.device);
        let best = |part: &dyn Kernel, element| planning::best_known(part, element, planned, record, &target);
        match case.spec.kernel.with_parts(case.spec.element, &best) {
            Some(kernel) => case.with_kernel(kernel.into()),
            None => case.clone(),
        }
    }

    fn one_case(&mut self, case: &PlannedCase) -> Result<(), SessionError> {
        let chosen = match self.choose(case)? {
            Outcome::Chosen(chosen) => chosen,
            Outcome::LeftOut(left_out) => return self.run.leave_out(left_out),
            Outcome::NoneRight => {
                let reason = "no variant of it gave a right result on this device".to_owned();
                return self.run.reject(Rejected { id: case.id.clone(), reason, verification: None });
            }
        };
        if let Some(time) = chosen.predicted.filter(|time| *time > LONGEST_SUBMISSION) {
            return self.with_fewer_rows(case, time);
        }
        let record = self.run.journal.record().clone();
        let protocol = self.protocol(&record);
        let executor = self.executor;
        match finals::finals(executor, case, &chosen.ranked, &protocol, &record) {
            Ok(finals) => {
                self.reject_all(&finals.rejected)?;
                self.sample(case, finals, chosen.tuning, &protocol)
            }
            Err(Lost { variant, error, rejected }) => {
                self.reject_all(&rejected)?;
                self.failed(case, variant, error)
            }
        }
    }

    /// Samples what the finals left, again where the reference kernel moved, and writes it down.
    fn sample(
        &mut self,
        case: &PlannedCase,
        finals: Finals<'_>,
        tuning: Option<Tuning>,
        protocol: &run::Protocol,
    ) -> Result<(), SessionError> {
        let Finals { variant, mut verified, second, .. } = finals;
        let mut measured = verified.sample(&protocol.sampling, protocol.interrupted);
        let mut moved = None;
        if measured.is_ok()
            && let Some(ratio) = self.watch()?
        {
            // Once more; where it moved again, or still, the case says so.
            (self.run.tell)(Event::Repeated(&case.id, ratio));
            self.check_interrupt()?;
            measured = verified.sample(&protocol.sampling, protocol.interrupted);
            let again = self.reading()?;
            if let (Some(reading), Some(all)) = (again, self.run.journal.record().reference.clone()) {
                moved = reference::moved(&all, &reading);
                self.run.journal.push_reading(reading)?;
            }
        }
        let run = match measured {
            Ok(run) => run,
            Err(error) => return self.failed(case, variant, error),
        };
        let tuning = tuning.map(|tuning| Tuning { second, ..tuning });
        let plan = case.spec.kernel.plan(variant, case.spec.element);
        let mut done = roofs::case(case, variant, &plan, run, tuning, self.run.journal.record());
        done.caveats.extend(moved.map(|ratio| Caveat::ReferenceMoved { ratio }));
        done.caveats.extend(slow_compilation(done.tuning.as_ref()));
        self.run.journal.push_case(done.clone())?;
        (self.run.tell)(Event::Measured(&done));
        Ok(())
    }

    fn reject_all(&mut self, rejected: &[Rejected]) -> Result<(), SessionError> {
        for rejected in rejected {
            if !self.run.journal.done(&rejected.id) {
                self.run.reject(rejected.clone())?;
            }
        }
        Ok(())
    }

    fn failed(&mut self, case: &PlannedCase, variant: &str, error: RunError) -> Result<(), SessionError> {
        match error {
            RunError::Interrupted => Err(SessionError::Interrupted),
            RunError::Launch(error) if error.ends_the_device() => {
                let id = if case.candidates.len() > 1 { case.spec.id_as(variant) } else { case.id.clone() };
                Err(device_error(&id, error))
            }
            RunError::Launch(error @ LaunchError::OutOfMemory(_)) => {
                self.run.leave_out(LeftOut { id: case.id.clone(), reason: error.to_string() })
            }
            error => {
                let reason = error.to_string();
                let verification = if let RunError::Wrong(verification) = error { Some(*verification) } else { None };
                self.run.reject(Rejected { id: case.id.clone(), reason, verification })
            }
        }
    }

    /// Measures the case with half as many rows, and says so in the place of the one that would take too long.
    fn with_fewer_rows(&mut self, case: &PlannedCase, time: Seconds) -> Result<(), SessionError> {
        let why = format!("a run is predicted to take {time}, and no submission may take over {LONGEST_SUBMISSION}");
        let Some(kernel) = case.spec.kernel.fewer_rows() else {
            return self.run.leave_out(LeftOut { id: case.id.clone(), reason: why });
        };
        let smaller = case.resized(kernel.into());
        if !self.run.journal.done(&smaller.id) {
            self.one_case(&smaller)?;
        }
        let reason = format!("{why}: see {}", smaller.id);
        self.run.leave_out(LeftOut { id: case.id.clone(), reason })
    }

    fn protocol(&self, record: &Record) -> run::Protocol<'r> {
        run::Protocol {
            seed: record.protocol.seed,
            sets: 1,
            effort: EFFORT,
            sampling: Sampling {
                target_relative_ci: record.protocol.target_relative_ci,
                budget: record.protocol.sample_budget_s,
                runs_per_sample: None,
                pace: Pace::on(record.is_software()),
            },
            interrupted: self.run.interrupted,
        }
    }

    /// The variants to let run against each other, or why there is none.
    fn choose(&mut self, case: &PlannedCase) -> Result<Outcome, SessionError> {
        let left_out = |reason: String| Outcome::LeftOut(LeftOut { id: case.id.clone(), reason });
        if let [only] = *case.candidates.as_slice() {
            let record = self.run.journal.record();
            let plan = case.spec.kernel.plan(only, case.spec.element);
            if let Some(reason) = unfit(case, only, &plan, record) {
                return Ok(left_out(reason));
            }
            if record.is_software() || is_short(case, &plan, record) {
                return Ok(Outcome::Chosen(Chosen { ranked: vec![only], tuning: None, predicted: None }));
            }
        }
        let choice = match self.run.cache.get(case) {
            Some(choice) => choice,
            None => self.try_all(case)?,
        };
        let tuned = case.candidates.len() > 1;
        if tuned {
            (self.run.tell)(Event::Tuned(&case.id, &choice.tuning));
        }
        self.reject_all(&choice.rejected)?;
        let reason = choice.tuning.candidates.iter().find_map(|candidate| candidate.reason.clone());
        let Some(best) = choice.ranked.first() else {
            let rejected = self.run.journal.record().rejected.iter().any(|r| is_of(case, &r.id));
            return Ok(match reason {
                _ if rejected => Outcome::NoneRight,
                reason => left_out(reason.unwrap_or_else(|| "no variant suits it".to_owned())),
            });
        };
        let record = self.run.journal.record();
        let predicted = |variant: &str| {
            let time = choice.tuning.candidates.iter().find(|c| c.variant == variant).and_then(|c| c.time_s);
            let time = time.filter(|_| !record.is_software())?;
            Some(tuning::predicted(case, variant, time, record))
        };
        let is_bearable = |variant: &str| predicted(variant).is_none_or(|time| time <= LONGEST_SUBMISSION);
        // The best stays, to be measured with fewer rows where even it takes long.
        let ranked = choice.ranked.iter().copied().filter(|variant| variant == best || is_bearable(variant)).collect();
        let predicted = predicted(best);
        Ok(Outcome::Chosen(Chosen { ranked, tuning: tuned.then_some(choice.tuning), predicted }))
    }

    fn try_all(&mut self, case: &PlannedCase) -> Result<Choice, SessionError> {
        let record = self.run.journal.record();
        let protocol = self.protocol(record);
        let unfit = |variant: &str, plan: &Plan| unfit(case, variant, plan, record);
        let mut told = |variant: &'static str| (self.run.tell)(Event::Trying(&case.id, variant));
        let choice = tuning::choose(self.executor, case, &protocol, record, &unfit, &mut told);
        let choice = choice.map_err(|error| match error {
            TrialError::Device { variant, error } => device_error(&case.spec.id_as(variant), error),
            TrialError::Interrupted => SessionError::Interrupted,
        })?;
        // What a single variant takes is no choice.
        if case.candidates.len() > 1
            && let Some(note) = self.run.cache.put(case, &choice)
        {
            (self.run.tell)(Event::Note(&note));
        }
        Ok(choice)
    }
}

/// What a trial leaves.
enum Outcome {
    Chosen(Chosen),
    /// The device cannot run the case.
    LeftOut(LeftOut),
    /// All variants were wrong.
    NoneRight,
}

struct Chosen {
    /// The fastest first.
    ranked: Vec<&'static str>,
    tuning: Option<Tuning>,
    /// One run of the fastest at the sizes of the case, on hardware.
    predicted: Option<Seconds>,
}

/// Whether even a slow variant is within the longest submission, so that no trial has to tell.
fn is_short(case: &PlannedCase, plan: &Plan, record: &Record) -> bool {
    let (best, _) = Limits::of_case(plan, &plan.operations(), case.cache).roofline(record);
    best <= LONGEST_SUBMISSION * LEAST_SHARE
}

/// A pipeline that takes longer to compile is a finding.
const SLOW_COMPILATION: Seconds = Seconds::new(2.0);

fn slow_compilation(tuning: Option<&Tuning>) -> Option<Caveat> {
    let slowest = tuning?.candidates.iter().filter_map(|c| c.compilation_s).reduce(Seconds::max)?;
    (slowest > SLOW_COMPILATION).then_some(Caveat::SlowCompilation { seconds: slowest.get() })
}

/// Whether an id is that of a variant of the case.
fn is_of(case: &PlannedCase, id: &str) -> bool {
    case.candidates.iter().any(|variant| case.spec.id_as(variant) == id)
}

fn device_error(id: &str, error: LaunchError) -> SessionError {
    SessionError::Device { id: id.to_owned(), error }
}

/// Why the device cannot run this variant of the case, if it cannot.
fn unfit(case: &PlannedCase, variant: &str, plan: &Plan, record: &Record) -> Option<String> {
    let device = &record.device;
    if let Some(reason) = planning::target(device).refuses(case.spec.kernel.name(), variant) {
        return Some(reason);
    }
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
    let longest = if record.is_software() { LONGEST_LAUNCH_SOFTWARE } else { LONGEST_SUBMISSION };
    let (best, _) = Limits::of_case(plan, &plan.operations(), case.cache).roofline(record);
    (best > longest)
        .then(|| format!("would take {best} at this device's ceilings; runs beyond {longest} are not tried"))
}

#[cfg(test)]
mod devices;
#[cfg(test)]
mod tests;
