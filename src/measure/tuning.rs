//! The choice of a variant by a brief trial of all of them on the device.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use web_time::Instant;

use super::clocks;
use super::executor::{Executor, Lap, LaunchError, Prepared};
use super::host::process_cpu_time;
use super::planning::{PlannedCase, buffer_sets};
use super::roofs::Limits;
use super::sampling::{MAX_RUNS_BY_COARSE_CLOCK, MAX_RUNS_PER_SAMPLE, until_steady, whole};
use super::time_spent::verifying;
use super::verify::{self, CaseProtocol, RunError};
use crate::kernels::{Extent, Kernel, KernelCase, Made, Plan, StorageType};
use crate::printable::printable;
use crate::record::{Candidate, Record, Rejected, Tuning};
use crate::units::{Bytes, BytesPerSecond, FlopPerSecond, Seconds};

/// The most time of device and compiler in one trial. A trial that ends early is made again in the next run, so the limit
/// is generous: some drivers compile each variant for seconds.
pub const FIRST_USE: Seconds = Seconds::new(20.0);

/// Whether a trial ends here. Its runs and compilations have taken `spent`, and `longest` for the slowest variant, so the
/// next one might not end within [`FIRST_USE`].
pub fn is_over(spent: Seconds, longest: Seconds) -> bool {
    spent + longest > FIRST_USE
}

/// The most that one run of a trial may take at the roofs; beyond it, the kernel is tried at a smaller size. Some variants
/// reach a few per cent of the roofs, and no submission should take as long as a desktop's watchdog allows.
const RUN_AT_ROOF: Seconds = Seconds::new(2e-3);
const RUN_AT_ROOF_SOFTWARE: Seconds = Seconds::new(0.25e-3);
/// The most that a trial on hardware reads: beyond any cache, and made in a fraction of a second.
const MOST_BYTES: Bytes = Bytes::new((256 << 20) as f64);
/// On a software adapter, likewise.
const MOST_BYTES_SOFTWARE: Bytes = Bytes::new((16 << 20) as f64);

/// Used for the roof of arithmetic where it could not be measured: that of an integrated GPU, so that every trial is short.
const UNKNOWN_ROOF: FlopPerSecond = FlopPerSecond::new(200e9);

/// What one run of a trial may do; beyond it, the kernel is tried at a smaller size ([`Kernel::smaller`]).
pub fn most(roof: FlopPerSecond, memory: Option<BytesPerSecond>, software: bool) -> Extent {
    let (run, most) = if software { (RUN_AT_ROOF_SOFTWARE, MOST_BYTES_SOFTWARE) } else { (RUN_AT_ROOF, MOST_BYTES) };
    // Fewer bytes than fill the device would show nothing.
    let read = memory.map_or(most, |rate| most.min((rate * run * 8.0).max(Bytes::new(1e6))));
    Extent { flop: roof * run, bytes: read }
}

/// Multiply-adds of the twin for each variant; the winner is verified again, and more thoroughly, before it is timed.
const EFFORT: u64 = 300_000;
const LAPS: usize = 5;
/// Laps of one variant end after this time ...
const LAPS_TIME: Seconds = Seconds::new(60e-3);
/// ... or after this much, if they show that it takes [`HOPELESS`] times as long as the best.
const DOUBT_TIME: Seconds = Seconds::new(5e-3);
const HOPELESS: f64 = 2.0;
/// A lap is at least this long, so that one tick of the clock is negligible.
const LAP: Seconds = Seconds::new(1e-3);
/// On hardware a variant runs for this long before its laps, so that none is timed on a sleeping device.
const WARM_UP: Seconds = Seconds::new(25e-3);
/// On a CPU, other programs interrupt runs that are longer than this.
const SLICE: Seconds = Seconds::new(1.5e-3);

/// How a trial judges laps.
///
/// Where a CPU poses as the device, other programs interrupt long runs. Their shortest time then depends on that load, and
/// CPU time per thread does not, so it is used. Short runs find a quiet moment, so their shortest time is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judge {
    /// Threads of a software adapter; `None` for a device of its own.
    threads: Option<f64>,
    /// The least time of a lap.
    lap: Seconds,
}

impl Judge {
    /// For the device of the document `on`.
    pub fn of(on: &Record) -> Self {
        let step = on.protocol.clock_steps.unwrap_or_default().of(on.protocol.clock);
        Self {
            threads: on.is_software().then(|| f64::from(on.host.logical_cpus.max(1))),
            lap: clocks::batch(LAP, step),
        }
    }

    /// Whether short laps show little but the steps of a coarse clock.
    fn is_coarse(self) -> bool {
        self.lap > LAP
    }

    /// The runs of a lap, from a lap of one run; by a coarse clock from a longer one as well.
    pub(super) fn runs_of_a_lap(self, prepared: &mut dyn Prepared, first: Lap) -> Result<u32, LaunchError> {
        let runs = self.runs_like((first, 1));
        if !self.is_coarse() {
            return Ok(runs);
        }
        let lap = prepared.run(runs)?;
        Ok(self.runs_like((lap, runs)).max(runs))
    }

    fn runs_like(self, lap: (Lap, u32)) -> u32 {
        let most = if self.is_coarse() { MAX_RUNS_BY_COARSE_CLOCK } else { MAX_RUNS_PER_SAMPLE };
        whole(self.lap / self.time(&[lap]).max(Seconds::new(1e-7)), most)
    }

    /// Whether a CPU poses as the device.
    pub(super) fn is_software(self) -> bool {
        self.threads.is_some()
    }

    /// The time of one run. Each lap comes with its number of runs; without laps the time is infinite.
    pub fn time(self, laps: &[(Lap, u32)]) -> Seconds {
        let least = |of: &dyn Fn(&Lap) -> Seconds| {
            let each = laps.iter().map(|(lap, runs)| of(lap) / f64::from(*runs));
            each.fold(Seconds::new(f64::INFINITY), Seconds::min)
        };
        let device = least(&|lap| lap.device.unwrap_or(lap.wall));
        let Some(threads) = self.threads else { return device };
        let cpu = least(&|lap| lap.cpu.map_or(lap.wall, |cpu| cpu / threads));
        if cpu > SLICE { cpu } else { device }
    }

    /// What a lap costs of a trial's budget.
    fn cost(self, lap: &Lap) -> Seconds {
        lap.cpu.filter(|_| self.is_software()).unwrap_or(lap.wall)
    }
}

/// What a trial found.
#[derive(Debug)]
pub struct Choice {
    /// Those that were timed, the fastest first.
    pub ranked: Vec<&'static str>,
    /// All that were tried.
    pub tuning: Tuning,
    /// Those that were wrong or refused; the record lists them.
    pub rejected: Vec<Rejected>,
    /// Whether the next run may use it. It may not if memory ran out, which another program may have held, or if the time
    /// ended before all candidates were tried.
    pub lasting: bool,
}

/// Why there is no choice.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialError {
    /// This variant took the device with it.
    Device {
        /// The variant.
        variant: &'static str,
        /// What happened.
        error: LaunchError,
    },
    /// Ctrl-C.
    Interrupted,
}

/// The kernel at the smaller size of its trial; `None` where the trial is made at the size of the case.
pub fn at_trial_size(kernel: &dyn Kernel, on: &Record) -> Option<Box<dyn Kernel>> {
    let roof = on.fma_ceiling(StorageType::F32).unwrap_or(UNKNOWN_ROOF);
    kernel.smaller(most(roof, on.memory_ceiling(), on.is_software()))
}

/// The predicted time of one run of the case, where a run of the trial took `time`: `time` * roofline(case) /
/// roofline(trial).
pub fn predicted(case: &PlannedCase, variant: &str, time: Seconds, on: &Record) -> Seconds {
    let Some(small) = at_trial_size(case.spec.kernel.as_ref(), on) else { return time };
    let at_roof = |kernel: &dyn Kernel| {
        let plan = kernel.plan(variant, case.spec.element);
        let (roofline, _) = Limits::of_case(&plan, &plan.operations(), case.cache).roofline(on);
        roofline
    };
    let (whole, part) = (at_roof(case.spec.kernel.as_ref()), at_roof(small.as_ref()));
    if part.is_positive() { time * (whole / part).max(1.0) } else { time }
}

/// Tries every candidate of a case on the device of the document `on`. A candidate that the document rejects is left out,
/// because it made the device fail. `unfit` gives the reason why a plan cannot run on this device, if there is one. `tell`
/// is called with each variant before it is compiled.
///
/// # Errors
/// [`TrialError`].
pub fn choose(
    executor: &dyn Executor,
    case: &PlannedCase,
    protocol: &CaseProtocol,
    on: &Record,
    unfit: &dyn Fn(&str, &Plan) -> Option<String>,
    tell: &mut dyn FnMut(&'static str),
) -> Result<Choice, TrialError> {
    let clock = (Instant::now(), process_cpu_time());
    let small = at_trial_size(case.spec.kernel.as_ref(), on);
    let kernel = small.as_deref().unwrap_or(case.spec.kernel.as_ref());
    let mut trial = Trial::new(executor, kernel, case, protocol, on);
    for &variant in &case.candidates {
        if protocol.interrupted.load(Ordering::Relaxed) {
            return Err(TrialError::Interrupted);
        }
        let id = case.spec.id_as(variant);
        if let Some(before) = on.rejected.iter().find(|rejected| rejected.id == id) {
            trial.note(variant, Err(before.reason.clone()));
            trial.rejected.push(before.clone());
            continue;
        }
        // Limits are checked at the size of the case, not of the trial.
        if let Some(reason) = unfit(variant, &case.spec.kernel.plan(variant, case.spec.element)) {
            trial.note(variant, Err(printable(&reason, 300)));
            continue;
        }
        tell(variant);
        trial.one(variant, id)?;
    }
    let wall = Seconds::new(clock.0.elapsed().as_secs_f64());
    let cpu = clock.1.zip(process_cpu_time()).map(|(begin, now)| now - begin);
    let smaller_shape = small.as_ref().map_or_else(BTreeMap::new, |kernel| kernel.shape());
    Ok(trial.into_choice(case, smaller_shape, wall, cpu))
}

/// A trial in progress.
struct Trial<'a> {
    executor: &'a dyn Executor,
    kernel: &'a dyn Kernel,
    case: &'a PlannedCase,
    protocol: &'a CaseProtocol<'a>,
    judge: Judge,
    rotation_bytes: u64,
    made: Made,
    candidates: Vec<Candidate>,
    rejected: Vec<Rejected>,
    lasting: bool,
    best: Option<Seconds>,
    /// The time of all runs and compilations, and the longest of one variant.
    spent: Seconds,
    longest: Seconds,
}

impl<'a> Trial<'a> {
    fn new(
        executor: &'a dyn Executor,
        kernel: &'a dyn Kernel,
        case: &'a PlannedCase,
        protocol: &'a CaseProtocol<'a>,
        on: &Record,
    ) -> Self {
        Self {
            executor,
            kernel,
            case,
            protocol,
            judge: Judge::of(on),
            rotation_bytes: on.protocol.rotation_bytes,
            made: Made::default(),
            candidates: Vec::new(),
            rejected: Vec::new(),
            lasting: true,
            best: None,
            spent: Seconds::ZERO,
            longest: Seconds::ZERO,
        }
    }

    fn note(&mut self, variant: &str, outcome: Result<(Seconds, Seconds), String>) {
        let (time_s, compilation_s, reason) = match outcome {
            Ok((time, compilation)) => (Some(time), Some(compilation).filter(|c| c.is_positive()), None),
            Err(reason) => (None, None, Some(reason)),
        };
        self.candidates.push(Candidate { variant: variant.to_owned(), time_s, compilation_s, reason });
    }

    fn one(&mut self, variant: &'static str, id: String) -> Result<(), TrialError> {
        if self.best.is_some() && is_over(self.spent, self.longest) {
            self.lasting = false;
            self.note(variant, Err(format!("not tried: the trial had taken {}, and may take {FIRST_USE}", self.spent)));
            return Ok(());
        }
        match self.time(variant) {
            Ok((time, compilation)) => {
                self.note(variant, Ok((time, compilation)));
                self.best = Some(self.best.map_or(time, |best| best.min(time)));
            }
            Err(RunError::Launch(error)) if error.ends_the_device() => {
                return Err(TrialError::Device { variant, error });
            }
            Err(RunError::Interrupted) => return Err(TrialError::Interrupted),
            Err(error) => {
                self.lasting &= !matches!(error, RunError::Launch(LaunchError::OutOfMemory(_)));
                let reason = printable(&error.to_string(), 300);
                self.note(variant, Err(reason.clone()));
                if !is_limit(&error) {
                    let verification = error.verification().cloned();
                    self.rejected.push(Rejected { id, reason, verification });
                }
            }
        }
        Ok(())
    }

    /// The time of one run and that of compilation, once the result was found right.
    fn time(&mut self, variant: &'static str) -> Result<(Seconds, Seconds), RunError> {
        let case = KernelCase { kernel: self.kernel, variant, storage: self.case.spec.element };
        let sets = buffer_sets(&case.plan(), self.rotation_bytes, self.case.cache);
        let begun = self.spent;
        let mut computed = verify::computed(self.executor, &case, self.protocol.seed, sets, &mut self.made)?;
        let first = self.judge.cost(&computed.first);
        // A trial is brief, so the device need not be kept busy meanwhile.
        let verification = verifying(self.executor, || case.verify(&computed.inputs, &computed.outputs, EFFORT));
        if !verification.passed() {
            return Err(RunError::Wrong(Box::new(verification)));
        }
        let prepared = computed.prepared.as_mut();
        let pipelines = prepared.compilation();
        let mut laps = Laps { prepared, judge: self.judge, spent: Seconds::ZERO };
        let time = laps.brief(self.best, self.protocol)?;
        // The first run carries the rest of the driver's compilation, so no variant is judged by it.
        let compilation = pipelines + (first - time).max(Seconds::ZERO);
        self.spent += pipelines + first + laps.spent;
        self.longest = self.longest.max(self.spent - begun);
        Ok((time, compilation))
    }

    fn into_choice(
        self,
        case: &PlannedCase,
        smaller_shape: BTreeMap<String, u64>,
        cost_s: Seconds,
        cost_cpu_s: Option<Seconds>,
    ) -> Choice {
        let ranked = ranked(&case.candidates, &self.candidates);
        let default_variant = case.candidates.first().map_or_else(String::new, |variant| (*variant).to_owned());
        let tuning = Tuning {
            regret: regret(&default_variant, &self.candidates),
            candidates: self.candidates,
            default_variant,
            smaller_shape,
            cost_s,
            cost_cpu_s,
            cached: false,
            second: None,
        };
        Choice { ranked, tuning, rejected: self.rejected, lasting: self.lasting }
    }
}

/// The variants that were timed, the fastest first. Equals keep the order of the trial.
pub(super) fn ranked(names: &[&'static str], candidates: &[Candidate]) -> Vec<&'static str> {
    let time = |name: &str| candidates.iter().find(|c| c.variant == name).and_then(|c| c.time_s);
    let mut timed: Vec<(&'static str, Seconds)> = names.iter().filter_map(|name| Some((*name, time(name)?))).collect();
    timed.sort_by(|a, b| a.1.get().total_cmp(&b.1.get()));
    timed.into_iter().map(|(name, _)| name).collect()
}

/// The regret of the default: its time over the winner's, less 1, by the times of the trial.
pub(super) fn regret(default: &str, candidates: &[Candidate]) -> Option<f64> {
    let own = candidates.iter().find(|c| c.variant == default)?.time_s?;
    let least = candidates.iter().filter_map(|c| c.time_s).reduce(Seconds::min)?;
    Some(own / least - 1.0).filter(|regret| regret.is_finite())
}

/// Whether an error only says that the configuration is too large for this device, which is no fault of the kernel.
pub(super) fn is_limit(error: &RunError) -> bool {
    matches!(error, RunError::Launch(LaunchError::TooLarge(_) | LaunchError::OutOfMemory(_)))
}

/// Laps of one variant.
struct Laps<'a> {
    prepared: &'a mut dyn Prepared,
    judge: Judge,
    /// What they have cost.
    spent: Seconds,
}

impl Laps<'_> {
    /// The time of one run, from a few laps.
    fn brief(&mut self, best: Option<Seconds>, protocol: &CaseProtocol) -> Result<Seconds, RunError> {
        if !self.judge.is_software() {
            until_steady(self.prepared, WARM_UP, protocol.interrupted)?;
            self.spent += WARM_UP;
        }
        let first = self.lap(1)?;
        let mut wall = first.0.wall;
        let runs = self.judge.runs_of_a_lap(self.prepared, first.0)?;
        // By a coarse clock the first lap is too short to count.
        let mut laps = if self.judge.is_coarse() { vec![self.lap(runs)?] } else { vec![first] };
        for _ in 0..LAPS {
            let hopeless = best.is_some_and(|best| self.judge.time(&laps) > best * HOPELESS);
            if wall > LAPS_TIME || (hopeless && wall > DOUBT_TIME) {
                break;
            }
            let lap = self.lap(runs)?;
            wall += lap.0.wall;
            laps.push(lap);
        }
        Ok(self.judge.time(&laps))
    }

    fn lap(&mut self, runs: u32) -> Result<(Lap, u32), RunError> {
        let lap = self.prepared.run(runs)?;
        self.spent += self.judge.cost(&lap);
        Ok((lap, runs))
    }
}
