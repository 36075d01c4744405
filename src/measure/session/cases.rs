//! The cases of a run on one opening of the device: choose, run the two best in turn, sample, record.

use std::sync::atomic::Ordering;

use super::super::executor::{Executor, LaunchError};
use super::super::features;
use super::super::finals::{self, Finals, Lost, Ring};
use super::super::into_record;
use super::super::options::EFFORT;
use super::super::planning::{self, PlannedCase};
use super::super::roofs::Limits;
use super::super::sampling::{Pace, Sampling, SamplingError};
use super::super::throttling::{self, Watch};
use super::super::tuning::{self, Choice, TrialError};
use super::super::verify::{CaseProtocol, MeasuredCase, RunError};
use super::state::{Event, RunState, SessionError};
use crate::kernels::{Kernel, Plan, compilers};
use crate::record::{Caveat, LeftOut, Reading, Record, Rejected, Tuning};
use crate::units::Seconds;

/// No submission on hardware may be predicted to take longer. It is a tenth of Windows' limit, and a desktop that the same
/// GPU draws stays usable.
pub(super) const LONGEST_SUBMISSION: Seconds = Seconds::new(0.2);
/// A variant is assumed to reach at least this share of the roof. If the case is too long for that, it is tried at a smaller
/// size first.
const LEAST_SHARE: f64 = 0.02;
/// A CPU that poses as a GPU has no watchdog, but a run must end within minutes.
const LONGEST_LAUNCH_SOFTWARE: Seconds = Seconds::new(0.5);
/// The most bytes of all buffers of a case; with more, a small device would swap.
const MOST_BYTES: u64 = 4 << 30;
/// The name of the reference kernel where errors name a case.
pub(super) const REFERENCE: &str = "reference";
/// Readings of the reference kernel before the first case: enough to judge the next.
const FIRST_READINGS: usize = 3;

/// A run on one opening of the device.
pub(super) struct Session<'a, 'r> {
    pub(super) executor: &'a dyn Executor,
    pub(super) state: &'a mut RunState<'r>,
    pub(super) watch: Option<Watch<'a>>,
}

impl<'r> Session<'_, 'r> {
    pub(super) fn all(&mut self, planned: &[PlannedCase]) -> Result<(), SessionError> {
        let record = self.state.journal.record();
        if let Some(reference) = &record.reference {
            let (seed, software) = (record.protocol.seed, record.is_software());
            let watch = Watch::new(self.executor, reference, seed, software, self.state.interval);
            self.watch = Some(watch.map_err(|error| device_error(REFERENCE, error))?);
        }
        self.first_readings()?;
        for case in planned {
            if self.state.journal.done(&case.id) {
                continue;
            }
            self.check_interrupt()?;
            (self.state.tell)(Event::Started(&case.id));
            self.one_case(&self.with_tuned_parts(case, planned))?;
        }
        Ok(self.state.journal.finish()?)
    }

    fn check_interrupt(&self) -> Result<(), SessionError> {
        if self.state.interrupted.load(Ordering::Relaxed) { Err(SessionError::Interrupted) } else { Ok(()) }
    }

    fn first_readings(&mut self) -> Result<(), SessionError> {
        let there = self.state.journal.record().reference.as_ref().map_or(0, |reference| reference.readings.len());
        for _ in there..FIRST_READINGS {
            self.check_interrupt()?;
            if let Some(reading) = self.reading()? {
                self.state.journal.push_reading(reading)?;
            }
        }
        Ok(())
    }

    fn reading(&mut self) -> Result<Option<Reading>, SessionError> {
        let done = self.state.journal.record().cases.len();
        let Some(watch) = &mut self.watch else { return Ok(None) };
        match watch.read(done, self.state.interrupted) {
            Ok(reading) => Ok(Some(reading)),
            Err(SamplingError::Interrupted) => Err(SessionError::Interrupted),
            Err(SamplingError::Launch(error)) => Err(device_error(REFERENCE, error)),
        }
    }

    /// Takes a reading after a case. Returns the factor by which it moved, if it did.
    fn watch(&mut self) -> Result<Option<f64>, SessionError> {
        if !self.watch.as_ref().is_some_and(Watch::is_due) {
            return Ok(None);
        }
        let Some(reading) = self.reading()? else { return Ok(None) };
        let ratio = self.state.journal.record().reference.as_ref().and_then(|all| throttling::moved(all, &reading));
        self.state.journal.push_reading(reading)?;
        Ok(ratio)
    }

    /// A layer with the variants that the trials of its kernels have chosen, at the most similar shapes.
    fn with_tuned_parts(&self, case: &PlannedCase, planned: &[PlannedCase]) -> PlannedCase {
        let record = self.state.journal.record();
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
            Outcome::LeftOut(left_out) => return self.state.leave_out(left_out),
            Outcome::NoneRight => {
                let reason = "no variant of it gave a right result on this device".to_owned();
                return self.state.reject(Rejected { id: case.id.clone(), reason, verification: None });
            }
        };
        if let Some(time) = chosen.predicted.filter(|time| *time > LONGEST_SUBMISSION) {
            return self.with_fewer_rows(case, time);
        }
        let record = self.state.journal.record().clone();
        let protocol = self.protocol(&record);
        let ring = Ring { executor: self.executor, case, protocol: &protocol, on: &record };
        match finals::finals(ring, &chosen.ranked) {
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

    /// Samples the winner of the finals, once more if the host paused or the reference kernel moved, and records it.
    fn sample(
        &mut self,
        case: &PlannedCase,
        finals: Finals<'_>,
        tuning: Option<Tuning>,
        protocol: &CaseProtocol,
    ) -> Result<(), SessionError> {
        let Finals { variant, mut verified, second, .. } = finals;
        let mut measured = verified.sample(&protocol.sampling, protocol.interrupted);
        let mut doubts = Vec::new();
        if let Ok(first) = &measured {
            let (paused, moved) = (first.sampled.paused, self.watch()?);
            // Sampled once more; if the host has paused or the reference has moved again, the case gets a caveat.
            if let Some(pause) = paused {
                (self.state.tell)(Event::Paused(&case.id, pause));
            }
            if let Some(ratio) = moved {
                (self.state.tell)(Event::Repeated(&case.id, ratio));
            }
            if paused.is_some() || moved.is_some() {
                self.check_interrupt()?;
                measured = verified.sample(&protocol.sampling, protocol.interrupted);
                doubts = self.doubts(&measured, moved.is_some())?;
            }
        }
        let measured = match measured {
            Ok(measured) => measured,
            Err(error) => return self.failed(case, variant, error),
        };
        let tuning = tuning.map(|tuning| Tuning { second, ..tuning });
        let plan = case.spec.kernel.plan(variant, case.spec.element);
        let mut done = into_record::case(case, variant, &plan, measured, tuning, self.state.journal.record());
        done.caveats.extend(doubts);
        done.caveats.extend(slow_compilation(done.tuning.as_ref()));
        self.state.journal.push_case(done.clone())?;
        (self.state.tell)(Event::Measured(&done));
        Ok(())
    }

    /// What is still wrong after a repeat: the host paused again, or the reference moved where it had moved before.
    fn doubts(
        &mut self,
        repeat: &Result<MeasuredCase, RunError>,
        had_moved: bool,
    ) -> Result<Vec<Caveat>, SessionError> {
        let paused = repeat.as_ref().ok().and_then(|measured| measured.sampled.paused);
        let mut doubts: Vec<Caveat> =
            paused.into_iter().map(|pause| Caveat::HostPaused { seconds: pause.get() }).collect();
        let again = if had_moved { self.reading()? } else { None };
        if let (Some(reading), Some(all)) = (again, self.state.journal.record().reference.clone()) {
            doubts.extend(throttling::moved(&all, &reading).map(|ratio| Caveat::ReferenceMoved { ratio }));
            self.state.journal.push_reading(reading)?;
        }
        Ok(doubts)
    }

    fn reject_all(&mut self, rejected: &[Rejected]) -> Result<(), SessionError> {
        for rejected in rejected {
            if !self.state.journal.done(&rejected.id) {
                self.state.reject(rejected.clone())?;
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
                self.state.leave_out(LeftOut { id: case.id.clone(), reason: error.to_string() })
            }
            error => {
                let reason = error.to_string();
                let verification = error.verification().cloned();
                self.state.reject(Rejected { id: case.id.clone(), reason, verification })
            }
        }
    }

    /// Measures the case with half as many rows. The original one is left out, with the reason.
    fn with_fewer_rows(&mut self, case: &PlannedCase, time: Seconds) -> Result<(), SessionError> {
        let why = format!("a run is predicted to take {time}, and no submission may take over {LONGEST_SUBMISSION}");
        let Some(kernel) = case.spec.kernel.fewer_rows() else {
            return self.state.leave_out(LeftOut { id: case.id.clone(), reason: why });
        };
        let smaller = case.resized(kernel.into());
        if !self.state.journal.done(&smaller.id) {
            self.one_case(&smaller)?;
        }
        let reason = format!("{why}: see {}", smaller.id);
        self.state.leave_out(LeftOut { id: case.id.clone(), reason })
    }

    fn protocol(&self, record: &Record) -> CaseProtocol<'r> {
        CaseProtocol {
            seed: record.protocol.seed,
            sets: 1,
            effort: EFFORT,
            sampling: Sampling {
                target_relative_ci: record.protocol.target_relative_ci,
                budget: record.protocol.sample_budget_s,
                runs_per_sample: None,
                pace: Pace::on(record.is_software()),
                clock_steps: record.protocol.clock_steps.unwrap_or_default(),
            },
            interrupted: self.state.interrupted,
        }
    }

    /// The variants that run against each other, or the reason why there is none.
    fn choose(&mut self, case: &PlannedCase) -> Result<Outcome, SessionError> {
        let left_out = |reason: String| Outcome::LeftOut(LeftOut { id: case.id.clone(), reason });
        if let [only] = *case.candidates.as_slice() {
            let record = self.state.journal.record();
            let plan = case.spec.kernel.plan(only, case.spec.element);
            if let Some(reason) = unfit(case, only, &plan, record) {
                return Ok(left_out(reason));
            }
            if record.is_software() || is_short(case, &plan, record) {
                let chosen = Chosen { ranked: vec![only], tuning: None, predicted: None };
                return Ok(Outcome::Chosen(Box::new(chosen)));
            }
        }
        let choice = match self.state.cache.get(case) {
            Some(choice) => choice,
            None => self.try_all(case)?,
        };
        let tuned = case.candidates.len() > 1;
        if tuned {
            (self.state.tell)(Event::Tuned(&case.id, &choice.tuning));
        }
        self.reject_all(&choice.rejected)?;
        let reason = choice.tuning.candidates.iter().find_map(|candidate| candidate.reason.clone());
        let Some(best) = choice.ranked.first() else {
            let rejected = self.state.journal.record().rejected.iter().any(|r| is_of(case, &r.id));
            return Ok(match reason {
                _ if rejected => Outcome::NoneRight,
                reason => left_out(reason.unwrap_or_else(|| "no variant suits it".to_owned())),
            });
        };
        let record = self.state.journal.record();
        let predicted = |variant: &str| {
            let time = choice.tuning.candidates.iter().find(|c| c.variant == variant).and_then(|c| c.time_s);
            let time = time.filter(|_| !record.is_software())?;
            Some(tuning::predicted(case, variant, time, record))
        };
        let is_bearable = |variant: &str| predicted(variant).is_none_or(|time| time <= LONGEST_SUBMISSION);
        // The best one stays: if even it takes long, it is measured with fewer rows.
        let ranked = choice.ranked.iter().copied().filter(|variant| variant == best || is_bearable(variant)).collect();
        let predicted = predicted(best);
        let tuning = tuned.then_some(choice.tuning);
        Ok(Outcome::Chosen(Box::new(Chosen { ranked, tuning, predicted })))
    }

    fn try_all(&mut self, case: &PlannedCase) -> Result<Choice, SessionError> {
        let record = self.state.journal.record();
        let protocol = self.protocol(record);
        let unfit = |variant: &str, plan: &Plan| unfit(case, variant, plan, record);
        let mut told = |variant: &'static str| (self.state.tell)(Event::Trying(&case.id, variant));
        let choice = tuning::choose(self.executor, case, &protocol, record, &unfit, &mut told);
        let choice = choice.map_err(|error| match error {
            TrialError::Device { variant, error } => device_error(&case.spec.id_as(variant), error),
            TrialError::Interrupted => SessionError::Interrupted,
        })?;
        // What a single variant takes is no choice.
        if case.candidates.len() > 1
            && let Some(note) = self.state.cache.put(case, &choice)
        {
            (self.state.tell)(Event::Note(&note));
        }
        Ok(choice)
    }
}

/// What a trial leaves.
enum Outcome {
    Chosen(Box<Chosen>),
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
    let target = planning::target(device);
    if let Some(reason) = target.refuses(case.spec.kernel.name(), variant) {
        return Some(reason);
    }
    if let Some(reason) = compilers::unfit(&target, plan) {
        return Some(reason);
    }
    if let Some(reason) = features::missing(plan, device) {
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
