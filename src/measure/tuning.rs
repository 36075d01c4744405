//! The choice of a variant by a brief trial of all of them on the device.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::accounting::verifying;
use super::host::process_cpu_time;
use super::planning::{PlannedCase, buffer_sets};
use super::run::{self, Protocol, RunError};
use super::{Executor, LaunchError, Prepared};
use crate::kernels::{Element, Kernel, Plan};
use crate::record::{Candidate, Record, Rejected, Tuning, printable};
use crate::units::{Flop, FlopPerSecond, Seconds};

/// What the first use of a kernel may take.
pub const FIRST_USE: Seconds = Seconds::new(2.0);

/// Whether a trial that has taken `spent`, `longest` of it for one variant, tries no further one: it might not end within
/// [`FIRST_USE`].
pub fn is_over(spent: Seconds, longest: Seconds) -> bool {
    spent + longest > FIRST_USE
}

/// What one run of a trial may take at the roof of arithmetic: where it would take longer, a smaller size of the kernel stands
/// in. Software adapters reach a few per cent of theirs with some variants.
const RUN_AT_ROOF: Seconds = Seconds::new(20e-3);
const RUN_AT_ROOF_SOFTWARE: Seconds = Seconds::new(0.25e-3);

/// Stands for the roof of arithmetic where it could not be measured: an integrated GPU's, so that a trial is short on any.
const UNKNOWN_ROOF: FlopPerSecond = FlopPerSecond::new(200e9);

/// The operations beyond which a trial takes a smaller size ([`Kernel::smaller`]).
pub fn most_flop(roof: FlopPerSecond, software: bool) -> Flop {
    let run = if software { RUN_AT_ROOF_SOFTWARE } else { RUN_AT_ROOF };
    roof * run
}

/// Multiply-adds of the twin for each variant; the winner is verified again, and more thoroughly, before it is timed.
const EFFORT: u64 = 300_000;
const LAPS: usize = 5;
/// Laps of one variant stop here ...
const LAPS_TIME: Seconds = Seconds::new(60e-3);
/// ... and after the first that is this many times the best of another variant.
const HOPELESS: f64 = 2.0;
/// A lap is at least this long, so that a tick of the clock is little.
const LAP: Seconds = Seconds::new(1e-3);

/// What a trial has taken so far.
struct TrialClock {
    wall: Instant,
    cpu: Option<Seconds>,
}

impl TrialClock {
    fn start() -> Self {
        Self { wall: Instant::now(), cpu: process_cpu_time() }
    }

    fn wall(&self) -> Seconds {
        Seconds::new(self.wall.elapsed().as_secs_f64())
    }

    fn cpu(&self) -> Option<Seconds> {
        self.cpu.zip(process_cpu_time()).map(|(begin, now)| now - begin)
    }

    /// Where the device is this machine's CPU, its time counts: other programs must not cut a trial short.
    fn spent(&self, software: bool) -> Seconds {
        self.cpu().filter(|_| software).unwrap_or_else(|| self.wall())
    }
}

/// What a trial found.
#[derive(Debug)]
pub struct Choice {
    /// The fastest; `None` where no variant ran.
    pub variant: Option<&'static str>,
    /// All that were tried.
    pub tuning: Tuning,
    /// Those that were wrong or refused: never silent.
    pub rejected: Vec<Rejected>,
    /// Whether it holds for the next run as well: not where memory ran out, which another program may have held.
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

/// Tries every candidate of a case on the device that `on` is the document of, but for those whose id is among the
/// document's rejected ones: they took the device with them. `unfit` says why a plan cannot run on this device, if it
/// cannot.
///
/// # Errors
/// [`TrialError`].
pub fn choose(
    executor: &dyn Executor,
    case: &PlannedCase,
    protocol: &Protocol,
    on: &Record,
    unfit: &dyn Fn(&Plan) -> Option<String>,
) -> Result<Choice, TrialError> {
    let clock = TrialClock::start();
    let (software, rotation_bytes) = (on.is_software(), on.protocol.rotation_bytes);
    let (mut candidates, mut rejected, mut lasting) = (Vec::new(), Vec::new(), true);
    let roof = on.fma_ceiling(Element::F32).unwrap_or(UNKNOWN_ROOF);
    let smaller = case.spec.kernel.smaller(most_flop(roof, software));
    let kernel = smaller.as_deref().unwrap_or(case.spec.kernel.as_ref());
    let mut best: Option<(&'static str, Seconds)> = None;
    let (mut begun, mut longest) = (Seconds::ZERO, Seconds::ZERO);
    for &variant in &case.candidates {
        let spent = clock.spent(software);
        longest = longest.max(spent - begun);
        begun = spent;
        if protocol.interrupted.load(Ordering::Relaxed) {
            return Err(TrialError::Interrupted);
        }
        let mut note = |time_s: Option<Seconds>, reason: Option<String>| {
            candidates.push(Candidate { variant: variant.to_owned(), time_s, reason });
        };
        let id = case.spec.id_as(variant);
        if let Some(before) = on.rejected.iter().find(|rejected| rejected.id == id) {
            note(None, Some(before.reason.clone()));
            rejected.push(before.clone());
            continue;
        }
        // What the device refuses, it refuses at the size of the case.
        if let Some(reason) = unfit(&case.spec.kernel.plan(variant, case.spec.element)) {
            note(None, Some(printable(&reason, 300)));
            continue;
        }
        if best.is_some() && is_over(spent, longest) {
            note(None, Some(format!("not tried: the trial had taken {spent}, and may take {FIRST_USE}")));
            continue;
        }
        let plan = kernel.plan(variant, case.spec.element);
        let sets = buffer_sets(&plan, rotation_bytes, case.cache);
        let trial = Trial { kernel, element: case.spec.element, variant, plan: &plan };
        match try_one(executor, &trial, &Protocol { sets, ..*protocol }, best.map(|(_, time)| time)) {
            Ok(time) => {
                note(Some(time), None);
                if best.is_none_or(|(_, least)| time < least) {
                    best = Some((variant, time));
                }
            }
            Err(RunError::Launch(error)) if error.ends_the_device() => {
                return Err(TrialError::Device { variant, error });
            }
            Err(RunError::Interrupted) => return Err(TrialError::Interrupted),
            Err(error) => {
                lasting &= !matches!(error, RunError::Launch(LaunchError::OutOfMemory(_)));
                let reason = printable(&error.to_string(), 300);
                note(None, Some(reason.clone()));
                if !is_limit(&error) {
                    let verification = if let RunError::Wrong(wrong) = error { Some(*wrong) } else { None };
                    rejected.push(Rejected { id, reason, verification });
                }
            }
        }
    }
    let default_variant = case.candidates.first().map_or_else(String::new, |variant| (*variant).to_owned());
    let time_of_default = candidates.iter().find(|c| c.variant == default_variant).and_then(|c| c.time_s);
    let regret = time_of_default.zip(best).map(|(time, (_, least))| time / least - 1.0);
    let tuning = Tuning {
        candidates,
        default_variant,
        regret,
        smaller_shape: smaller.map_or_else(BTreeMap::new, |kernel| kernel.shape()),
        cost_s: clock.wall(),
        cost_cpu_s: clock.cpu(),
        cached: false,
    };
    Ok(Choice { variant: best.map(|(variant, _)| variant), tuning, rejected, lasting })
}

/// A configuration that is too large for this device is no fault.
fn is_limit(error: &RunError) -> bool {
    match error {
        RunError::Launch(LaunchError::Shader { message, .. } | LaunchError::Refused(message)) => {
            message.contains("limit") || message.contains("exceeds")
        }
        RunError::Launch(LaunchError::OutOfMemory(_)) => true,
        _ => false,
    }
}

/// What is tried.
struct Trial<'a> {
    kernel: &'a dyn Kernel,
    element: Element,
    variant: &'static str,
    plan: &'a Plan,
}

fn try_one(
    executor: &dyn Executor,
    trial: &Trial<'_>,
    protocol: &Protocol,
    best: Option<Seconds>,
) -> Result<Seconds, RunError> {
    let Trial { kernel, element, variant, plan } = *trial;
    let inputs = verifying(executor, || kernel.inputs(variant, element, protocol.seed));
    let mut prepared = executor.prepare(plan, &inputs, protocol.sets)?;
    let first = prepared.run(1)?;
    let found = run::outputs(prepared.as_mut(), kernel, variant, element)?;
    let verification = verifying(executor, || kernel.verify(&inputs, &found, element, EFFORT));
    if !verification.passed() {
        return Err(RunError::Wrong(Box::new(verification)));
    }
    // A first run is slower than others, but not by this much.
    let first = first.device.unwrap_or(first.wall);
    if best.is_some_and(|best| first > best * (2.0 * HOPELESS)) {
        return Ok(first);
    }
    brief(prepared.as_mut(), best)
}

/// The shortest of a few laps, per run.
fn brief(prepared: &mut dyn Prepared, best: Option<Seconds>) -> Result<Seconds, RunError> {
    let once = prepared.run(1)?;
    let mut least = once.device.unwrap_or(once.wall);
    let mut spent = once.wall;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before the cast")]
    let runs = (LAP / least.max(Seconds::new(1e-7))).ceil().clamp(1.0, 1000.0) as u32;
    for _ in 0..LAPS {
        if spent > LAPS_TIME || best.is_some_and(|best| least > best * HOPELESS) {
            break;
        }
        let lap = prepared.run(runs)?;
        spent += lap.wall;
        least = least.min(lap.device.unwrap_or(lap.wall) / f64::from(runs));
    }
    Ok(least)
}
