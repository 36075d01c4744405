//! The two best variants of a trial, at the sizes of the case: verified, compared over the whole output, timed in turn.
//!
//! A trial may be made at a smaller size and on a busy computer. Laps in turn meet the same load, and the faster of the two
//! is then measured; the other shows what a wrong choice would have cost.

use super::executor::{Executor, Lap, LaunchError};
use super::planning::{PlannedCase, buffer_sets};
use super::sampling::until_steady;
use super::tuning::{Judge, is_limit};
use super::verify::{self, CaseProtocol, ComputedOnce, RunError, Verified, while_busy};
use crate::kernels::{Made, Verification};
use crate::record::{Record, Rejected, Second};
use crate::units::Seconds;

/// The most pairs of laps, and the fewest where they are long.
const PAIRS: usize = 6;
const LEAST_PAIRS: usize = 2;
/// Pairs of laps end after this time.
const TIME: Seconds = Seconds::new(0.15);
/// On hardware both are warm before they are compared.
const WARM_UP: Seconds = Seconds::new(30e-3);
/// Multiply-adds of the twin where two outputs differ and the wrong one must be found.
const DISPUTE: u64 = 400_000_000;

/// The variant that is measured, and what happened to the others.
pub(super) struct Finals<'a> {
    /// Its name.
    pub(super) variant: &'static str,
    /// Ready to be sampled.
    pub(super) verified: Verified<'a>,
    /// The variant that it beat.
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

/// A device, a case and how to judge it: what all steps of the finals need.
#[derive(Clone, Copy)]
pub(super) struct Ring<'a, 'c> {
    pub(super) executor: &'a dyn Executor,
    pub(super) case: &'c PlannedCase,
    pub(super) protocol: &'c CaseProtocol<'c>,
    pub(super) on: &'c Record,
}

/// Lets the first two of `ranked` that give a right result run in turn.
///
/// # Errors
/// [`Lost`] where none is right, the device fails or the run is interrupted.
pub(super) fn finals<'a>(ring: Ring<'a, '_>, ranked: &[&'static str]) -> Result<Finals<'a>, Lost> {
    let mut made = Made::default();
    let mut rejected = Vec::new();
    let mut left = ranked.iter().copied();
    let (first, mut ours, verification) = loop {
        let Some(variant) = left.next() else {
            let error = RunError::Launch(LaunchError::Refused("no variant is left".to_owned()));
            return Err(Lost { variant: ranked.last().copied().unwrap_or_default(), error, rejected });
        };
        match ring.right(variant, &mut made) {
            Ok((computed, verification)) => break (variant, computed, verification),
            Err(error @ RunError::Wrong(_)) if left.len() > 0 => rejected.push(ring.wrong(variant, &error)),
            Err(error) => return Err(Lost { variant, error, rejected }),
        }
    };
    let Some(second) = left.next() else {
        return Ok(ring.alone(first, ours, verification, rejected));
    };
    let lost = |error| Lost { variant: second, error, rejected: Vec::new() };
    let theirs = match ring.rival(second, &mut made, &mut ours) {
        Ok(theirs) => theirs,
        Err(RunError::Launch(error)) if error.ends_the_device() => return Err(lost(RunError::Launch(error))),
        Err(RunError::Interrupted) => return Err(lost(RunError::Interrupted)),
        // A failure of the second variant does not affect the first.
        Err(error) => {
            if !is_limit(&error) {
                rejected.push(ring.wrong(second, &error));
            }
            return Ok(ring.alone(first, ours, verification, rejected));
        }
    };
    let agreement = ours.agreement(ring.executor, &ring.case.kernel_case(first), &theirs);
    if !agreement.passed() {
        return ring.disputed([(first, ours), (second, theirs)], &agreement, rejected);
    }
    // The whole outputs agree, so the twin's verdict holds for both.
    let mut theirs = theirs.found_right(&ring.case.kernel_case(second), verification.clone());
    let mut ours = ours.found_right(&ring.case.kernel_case(first), verification);
    drop(made);
    let (ratio, pairs) = ring.in_turn(&mut ours, &mut theirs).map_err(lost)?;
    let beaten = |variant: &str, time_ratio| Some(Second { variant: variant.to_owned(), time_ratio, pairs, agreement });
    Ok(if ratio < 1.0 {
        Finals { variant: second, verified: theirs, second: beaten(first, 1.0 / ratio), rejected }
    } else {
        Finals { variant: first, verified: ours, second: beaten(second, ratio), rejected }
    })
}

impl<'a> Ring<'a, '_> {
    /// What a variant computed, once the twin found it right.
    fn right(&self, variant: &'static str, made: &mut Made) -> Result<(ComputedOnce<'a>, Verification), RunError> {
        let case = self.case.kernel_case(variant);
        let mut computed = verify::computed(self.executor, &case, self.protocol.seed, self.sets(variant), made)?;
        let verification = computed.right(self.executor, &case, self.protocol.effort)?;
        Ok((computed, verification))
    }

    /// What the second variant computed. The first keeps the device busy while the host makes its operands.
    fn rival(
        &self,
        variant: &'static str,
        made: &mut Made,
        busy: &mut ComputedOnce,
    ) -> Result<ComputedOnce<'a>, RunError> {
        let case = self.case.kernel_case(variant);
        while_busy(self.executor, busy.prepared.as_mut(), || {
            case.inputs(made, self.protocol.seed);
        });
        verify::computed(self.executor, &case, self.protocol.seed, self.sets(variant), made)
    }

    fn sets(&self, variant: &str) -> u32 {
        let plan = self.case.kernel_case(variant).plan();
        buffer_sets(&plan, self.on.protocol.rotation_bytes, self.case.cache)
    }

    fn wrong(&self, variant: &str, error: &RunError) -> Rejected {
        let verification = error.verification().cloned();
        Rejected { id: self.case.spec.id_as(variant), reason: error.to_string(), verification }
    }

    fn alone(
        &self,
        variant: &'static str,
        computed: ComputedOnce<'a>,
        verification: Verification,
        rejected: Vec<Rejected>,
    ) -> Finals<'a> {
        let verified = computed.found_right(&self.case.kernel_case(variant), verification);
        Finals { variant, verified, second: None, rejected }
    }

    /// Two outputs differ: the twin looks closer at both. Where it cannot tell which is wrong, neither is measured.
    fn disputed(
        &self,
        both: [(&'static str, ComputedOnce<'a>); 2],
        agreement: &Verification,
        mut rejected: Vec<Rejected>,
    ) -> Result<Finals<'a>, Lost> {
        let [(first, mut ours), (second, mut theirs)] = both;
        let our = ours.verify(self.executor, &self.case.kernel_case(first), DISPUTE);
        let their = theirs.verify(self.executor, &self.case.kernel_case(second), DISPUTE);
        let reject =
            |variant: &str, found: &Verification| self.wrong(variant, &RunError::Wrong(Box::new(found.clone())));
        match (our.passed(), their.passed()) {
            (true, false) => {
                rejected.push(reject(second, &their));
                Ok(self.alone(first, ours, our, rejected))
            }
            (false, true) => {
                rejected.push(reject(first, &our));
                Ok(self.alone(second, theirs, their, rejected))
            }
            _ => {
                for (name, other, found) in [(first, second, &our), (second, first, &their)] {
                    let reason =
                        format!("its whole output differs from that of {other}, and a sample does not tell why");
                    let found = if found.passed() { agreement } else { found };
                    rejected.push(Rejected { reason, ..reject(name, found) });
                }
                Err(Lost { variant: second, error: RunError::Wrong(Box::new(agreement.clone())), rejected })
            }
        }
    }

    /// The second's time over the first's, from laps in turn, and how many pairs of laps.
    fn in_turn(&self, ours: &mut Verified<'a>, theirs: &mut Verified<'a>) -> Result<(f64, u32), RunError> {
        let judge = Judge::of(self.on);
        let mut sides = [Side::new(ours, judge, self.protocol)?, Side::new(theirs, judge, self.protocol)?];
        let mut spent = Seconds::ZERO;
        let mut pairs = 0;
        while pairs < PAIRS && (pairs < LEAST_PAIRS || spent < TIME) {
            if self.protocol.interrupted.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(RunError::Interrupted);
            }
            // Each side goes first equally often.
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
}

/// One of the two variants, with its laps.
struct Side<'s, 'a> {
    verified: &'s mut Verified<'a>,
    runs: u32,
    laps: Vec<(Lap, u32)>,
}

impl<'s, 'a> Side<'s, 'a> {
    fn new(verified: &'s mut Verified<'a>, judge: Judge, protocol: &CaseProtocol) -> Result<Self, RunError> {
        if !judge.is_software() {
            until_steady(verified.prepared.as_mut(), WARM_UP, protocol.interrupted)?;
        }
        let first = verified.prepared.run(1)?;
        let runs = judge.runs_of_a_lap(verified.prepared.as_mut(), first)?;
        Ok(Self { verified, runs, laps: Vec::new() })
    }

    fn lap(&mut self) -> Result<Seconds, RunError> {
        let lap = self.verified.prepared.run(self.runs)?;
        self.laps.push((lap, self.runs));
        Ok(lap.wall)
    }
}
