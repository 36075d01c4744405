//! A fixed kernel that is timed between the cases. It shows throttling even where a device reports no clocks.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use web_time::Instant;

use super::executor::{Executor, LaunchError, Prepared};
use super::sampling::{SamplingError, until_steady};
use crate::kernels::probes::{FmaForm, FmaProbe};
use crate::kernels::{Kernel, StorageType};
use crate::record::{Ceiling, Device, DeviceType, Reading, Reference};
use crate::statistics;
use crate::units::Seconds;

/// Laps of one reading.
const LAPS: usize = 3;
/// The least time between two readings; a reading takes about 30 ms.
pub(super) const INTERVAL: Duration = Duration::from_millis(250);
/// The number of readings before the first that is judged.
const LEAST_BEFORE: usize = 3;

/// The reference kernel of a device: the probe of f32 arithmetic at the size of its roof.
pub(super) fn describe(fma: &Ceiling, device: &Device) -> Option<Reference> {
    // A GPU's clocks vary by a tenth. A CPU that poses as one has other work to do as well.
    let threshold = if device.device_type == DeviceType::Software { 1.5 } else { 1.1 };
    let (invocations, rounds) = FmaProbe::chains_of(&fma.work)?;
    Some(Reference {
        invocations: u32::try_from(invocations).ok()?,
        rounds: u32::try_from(rounds).ok()?,
        threshold,
        readings: Vec::new(),
    })
}

/// On hardware the kernel runs for this long before a reading, so that a device that was idle is awake again.
const WARM_UP: Seconds = Seconds::new(0.1);

/// The kernel ready to run.
pub(super) struct Watch<'a> {
    prepared: Box<dyn Prepared + 'a>,
    warm_up: Option<Seconds>,
    began: Instant,
    last: Option<Instant>,
    interval: Duration,
}

impl<'a> Watch<'a> {
    /// `interval` is the least time between two readings.
    pub(super) fn new(
        executor: &'a dyn Executor,
        reference: &Reference,
        seed: u64,
        software: bool,
        interval: Duration,
    ) -> Result<Self, LaunchError> {
        let size = |value: u32| usize::try_from(value).unwrap_or(1);
        let probe = FmaForm::Chains.probe(size(reference.invocations), size(reference.rounds));
        let plan = probe.plan("probe", StorageType::F32);
        let mut prepared = executor.prepare(&plan, &probe.inputs("probe", StorageType::F32, seed), 1)?;
        prepared.run(1)?;
        Ok(Self { prepared, warm_up: (!software).then_some(WARM_UP), began: Instant::now(), last: None, interval })
    }

    /// Whether enough time has passed since the last reading.
    pub(super) fn is_due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= self.interval)
    }

    pub(super) fn read(&mut self, cases_done: usize, interrupted: &AtomicBool) -> Result<Reading, SamplingError> {
        if let Some(busy) = self.warm_up {
            until_steady(self.prepared.as_mut(), busy, interrupted)?;
        }
        let mut times = Vec::new();
        for _ in 0..LAPS {
            let lap = self.prepared.run(1)?;
            times.push(lap.device.unwrap_or(lap.wall));
        }
        self.last = Some(Instant::now());
        Ok(Reading {
            at_s: Seconds::new(self.began.elapsed().as_secs_f64()),
            cases_done: u32::try_from(cases_done).unwrap_or(u32::MAX),
            median_s: statistics::summarise(&times).map_or(Seconds::ZERO, |summary| summary.median),
        })
    }
}

/// The time of `reading` over the median of all before it, where that is beyond the threshold in either direction.
pub(super) fn moved(reference: &Reference, reading: &Reading) -> Option<f64> {
    if reference.readings.len() < LEAST_BEFORE {
        return None;
    }
    let before: Vec<Seconds> = reference.readings.iter().map(|reading| reading.median_s).collect();
    let usual = statistics::summarise(&before)?.median;
    if !usual.is_positive() {
        return None;
    }
    let ratio = reading.median_s / usual;
    (ratio > reference.threshold || ratio < 1.0 / reference.threshold).then_some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(ms: f64) -> Reading {
        Reading { at_s: Seconds::ZERO, cases_done: 0, median_s: Seconds::new(ms * 1e-3) }
    }

    fn reference(ms: &[f64]) -> Reference {
        let readings = ms.iter().copied().map(reading).collect();
        Reference { invocations: 64, rounds: 1, threshold: 1.1, readings }
    }

    #[test]
    fn a_reading_is_judged_by_the_median_of_those_before() {
        let steady = reference(&[10.0, 10.2, 30.0, 9.9]);
        assert_eq!(moved(&steady, &reading(10.9)), None);
        assert!(moved(&steady, &reading(11.5)).is_some_and(|ratio| (ratio - 1.139).abs() < 0.001));
        assert!(moved(&steady, &reading(8.0)).is_some_and(|ratio| ratio < 1.0));
    }

    #[test]
    fn the_first_readings_and_a_clock_that_shows_nothing_judge_nothing() {
        assert_eq!(moved(&reference(&[10.0, 10.0]), &reading(50.0)), None);
        assert_eq!(moved(&reference(&[0.0, 0.0, 0.0]), &reading(50.0)), None);
    }
}
