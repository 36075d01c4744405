//! The two best of a trial at the sizes of the case: each right, both of one mind over the whole output, timed in turn.
//!
//! A trial may be made at a smaller size and on a busy machine. Laps in turn meet the same load, and the faster of the two
//! is then measured; the other tells what a wrong choice would have cost.

use super::planning::{PlannedCase, buffer_sets};
use super::run::{self, KernelCase, Protocol, RunError, Verified, while_busy};
use super::sampling::until_steady;
use super::tuning::{Judge, is_limit, runs_of_a_lap};
use super::{Executor, Lap};
use crate::kernels::{Computed, Made, Verification};
use crate::record::{Record, Rejected, Second};
use crate::units::Seconds;

/// Pairs of laps at most, and at least where they are long.
const PAIRS: usize = 6;
const LEAST_PAIRS: usize = 2;
/// Pairs end here.
const TIME: Seconds = Seconds::new(0.15);
/// On hardware both are warm before they are compared.
const WARM_UP: Seconds = Seconds::new(30e-3);
/// Multiply-adds of the twin where two outputs differ and one must be told wrong.
const DISPUTE: u64 = 400_000_000;

/// What is left to be measured.
pub(super) struct Finals<'a> {
    /// Its name.
    pub(super) variant: &'static str,
    /// Ready to be sampled.
    pub(super) verified: Verified<'a>,
    /// The one that it beat.
    pub(super) second: Option<Second>,
    /// Those that were wrong at this size.
    pub(super) rejected: Vec<Rejected>,
}

/// No variant is left.
pub(super) struct Lost {
    /// The last one tried.
    pub(super) variant: &'static str,
    /// What happened to it.
    pub(super) error: RunError,
    /// Those that were wrong before.
    pub(super) rejected: Vec<Rejected>,
}

/// Lets the first two of `ranked` that give a right result run in turn.
///
/// # Errors
/// [`Lost`] where none is right, the device fails or the run is interrupted.
pub(super) fn finals<'a>(
    executor: &'a dyn Executor,
    case: &PlannedCase,
    ranked: &[&'static str],
    protocol: &Protocol,
    on: &Record,
) -> Result<Finals<'a>, Lost> {
    let mut made = Made::default();
    let mut rejected = Vec::new();
    let mut left = ranked.iter().copied();
    let (first, mut verified) = loop {
        let Some(variant) = left.next() else {
            let error = RunError::Launch(super::LaunchError::Refused("no variant is left".to_owned()));
            return Err(Lost { variant: ranked.last().copied().unwrap_or_default(), error, rejected });
        };
        let protocol = sized(case, variant, protocol, on);
        match run::verified(executor, &of(case, variant), &protocol, &mut made) {
            Ok(verified) => break (variant, verified),
            Err(error @ RunError::Wrong(_)) if left.len() > 0 => rejected.push(wrong(case, variant, &error)),
            Err(error) => return Err(Lost { variant, error, rejected }),
        }
    };
    let Some(variant) = left.next() else {
        verified.forget_operands();
        return Ok(Finals { variant: first, verified, second: None, rejected });
    };
    let lost = |error| Lost { variant, error, rejected: Vec::new() };
    let mut other = match rival(executor, case, variant, protocol, on, &mut made, &mut verified) {
        Ok(other) => other,
        Err(RunError::Launch(error)) if error.ends_the_device() => return Err(lost(RunError::Launch(error))),
        Err(RunError::Interrupted) => return Err(lost(RunError::Interrupted)),
        // The first one is right whatever becomes of the second.
        Err(error) => {
            if !is_limit(&error) {
                rejected.push(wrong(case, variant, &error));
            }
            verified.forget_operands();
            return Ok(Finals { variant: first, verified, second: None, rejected });
        }
    };
    let agreement = agreement(executor, case, &mut verified, &other);
    if !agreement.passed() {
        return disputed(executor, case, [(first, verified), (variant, other)], &agreement, rejected);
    }
    // What the twin found right for one is right for both.
    other.verification = verified.verification.clone();
    verified.forget_operands();
    other.forget_operands();
    drop(made);
    let (ratio, pairs) = in_turn(&mut verified, &mut other, protocol, on).map_err(lost)?;
    let second = |variant: &str, time_ratio| Some(Second { variant: variant.to_owned(), time_ratio, pairs, agreement });
    Ok(if ratio < 1.0 {
        Finals { variant, verified: other, second: second(first, 1.0 / ratio), rejected }
    } else {
        Finals { variant: first, verified, second: second(variant, ratio), rejected }
    })
}

fn of<'c>(case: &'c PlannedCase, variant: &'static str) -> KernelCase<'c> {
    KernelCase { kernel: case.spec.kernel.as_ref(), variant, element: case.spec.element }
}

fn sized<'p>(case: &PlannedCase, variant: &str, protocol: &Protocol<'p>, on: &Record) -> Protocol<'p> {
    let plan = case.spec.kernel.plan(variant, case.spec.element);
    Protocol { sets: buffer_sets(&plan, on.protocol.rotation_bytes, case.cache), ..*protocol }
}

fn wrong(case: &PlannedCase, variant: &str, error: &RunError) -> Rejected {
    let verification = if let RunError::Wrong(wrong) = error { Some((**wrong).clone()) } else { None };
    Rejected { id: case.spec.id_as(variant), reason: error.to_string(), verification }
}

/// The second one, prepared while the first keeps the device busy as far as the host's work goes.
fn rival<'a>(
    executor: &'a dyn Executor,
    case: &PlannedCase,
    variant: &'static str,
    protocol: &Protocol,
    on: &Record,
    made: &mut Made,
    busy: &mut Verified,
) -> Result<Verified<'a>, RunError> {
    let protocol = sized(case, variant, protocol, on);
    let kernel = case.spec.kernel.as_ref();
    while_busy(executor, busy.prepared.as_mut(), || {
        kernel.inputs_from(made, variant, case.spec.element, protocol.seed);
    });
    run::computed(executor, &of(case, variant), &protocol, made)
}

fn agreement(executor: &dyn Executor, case: &PlannedCase, ours: &mut Verified, theirs: &Verified) -> Verification {
    let Verified { prepared, inputs, outputs, .. } = ours;
    let (ours, theirs) = (Computed { inputs, outputs }, Computed { inputs: &theirs.inputs, outputs: &theirs.outputs });
    while_busy(executor, prepared.as_mut(), || case.spec.kernel.agreement(ours, theirs, case.spec.element))
}

/// Two outputs differ: the twin looks closer at both. Where it cannot tell which is wrong, neither is measured.
fn disputed<'a>(
    executor: &'a dyn Executor,
    case: &PlannedCase,
    both: [(&'static str, Verified<'a>); 2],
    agreement: &Verification,
    mut rejected: Vec<Rejected>,
) -> Result<Finals<'a>, Lost> {
    let [(first, mut ours), (variant, mut theirs)] = both;
    let close = |of: &mut Verified| {
        let Verified { prepared, inputs, outputs, .. } = of;
        while_busy(executor, prepared.as_mut(), || case.spec.kernel.verify(inputs, outputs, case.spec.element, DISPUTE))
    };
    let [our, their] = [close(&mut ours), close(&mut theirs)];
    let reject = |variant: &str, found: &Verification| wrong(case, variant, &RunError::Wrong(Box::new(found.clone())));
    match (our.passed(), their.passed()) {
        (true, false) => {
            rejected.push(reject(variant, &their));
            ours.verification = our;
            ours.forget_operands();
            Ok(Finals { variant: first, verified: ours, second: None, rejected })
        }
        (false, true) => {
            rejected.push(reject(first, &our));
            theirs.verification = their;
            theirs.forget_operands();
            Ok(Finals { variant, verified: theirs, second: None, rejected })
        }
        _ => {
            for (name, other, found) in [(first, variant, &our), (variant, first, &their)] {
                let reason = format!("its whole output differs from that of {other}, and a sample does not tell why");
                let found = if found.passed() { agreement } else { found };
                rejected.push(Rejected { reason, ..reject(name, found) });
            }
            Err(Lost { variant, error: RunError::Wrong(Box::new(agreement.clone())), rejected })
        }
    }
}

/// The second's time over the first's, lap beside lap, and how many pairs.
fn in_turn<'a>(
    ours: &mut Verified<'a>,
    theirs: &mut Verified<'a>,
    protocol: &Protocol,
    on: &Record,
) -> Result<(f64, u32), RunError> {
    let judge = Judge::of(on);
    let mut sides = [Side::new(ours, judge, protocol)?, Side::new(theirs, judge, protocol)?];
    let mut spent = Seconds::ZERO;
    let mut pairs = 0;
    while pairs < PAIRS && (pairs < LEAST_PAIRS || spent < TIME) {
        if protocol.interrupted.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        // Each goes first as often as the other.
        let order = if pairs % 2 == 0 { [0, 1] } else { [1, 0] };
        for index in order {
            spent += sides[index].lap()?;
        }
        pairs += 1;
    }
    let [our, their] = sides.map(|side| judge.time(&side.laps));
    let ratio = their / our;
    Ok((if ratio.is_finite() { ratio } else { 1.0 }, u32::try_from(pairs).unwrap_or(u32::MAX)))
}

/// One of the two.
struct Side<'s, 'a> {
    verified: &'s mut Verified<'a>,
    runs: u32,
    laps: Vec<(Lap, u32)>,
}

impl<'s, 'a> Side<'s, 'a> {
    fn new(verified: &'s mut Verified<'a>, judge: Judge, protocol: &Protocol) -> Result<Self, RunError> {
        if !judge.is_software() {
            until_steady(verified.prepared.as_mut(), WARM_UP, protocol.interrupted)?;
        }
        let first = (verified.prepared.run(1)?, 1);
        Ok(Self { verified, runs: runs_of_a_lap(judge.time(&[first])), laps: Vec::new() })
    }

    fn lap(&mut self) -> Result<Seconds, RunError> {
        let lap = self.verified.prepared.run(self.runs)?;
        self.laps.push((lap, self.runs));
        Ok(lap.wall)
    }
}
