//! The beginning of a run: roofs, preset, plan, and the document that all cases go into.

use std::sync::atomic::AtomicBool;

use super::super::ceilings::{self, Ceilings};
use super::super::clocks;
use super::super::estimate::{self, HostRates};
use super::super::executor::Executor;
use super::super::into_record::{document, protocol};
use super::super::options::Options;
use super::super::planning::{self, PlannedCase, PlannedFor};
use super::super::preset::choose_preset;
use super::super::sampling::{Pace, Sampling};
use super::super::throttling;
use super::super::verify::{CaseProtocol, RunError};
use super::state::{Event, SessionError};
use crate::kernels::cases::Capacity;
use crate::record::{
    Caveat, CeilingKind, Clock, ClockSteps, Device, DeviceType, Journal, JournalPlace, Preset, Protocol, Record,
};
use crate::units::Seconds;

/// A device, and a way to open it again after it was lost.
pub struct OpenDevice<'a> {
    /// What the record says about it.
    pub info: &'a Device,
    /// Whether samples can be timed on the device's own clock.
    pub has_device_clock: bool,
    /// The open device.
    pub executor: Box<dyn Executor>,
    /// Opens the same device once more.
    pub reopen: &'a mut dyn FnMut() -> Result<Box<dyn Executor>, String>,
    /// Of how large a case may be here, how large it is to be, where other devices measure the same cases; the same answer
    /// at every call.
    pub capacity: Option<&'a dyn Fn(Capacity) -> Capacity>,
}

/// What a run begins with.
pub(super) struct Opening<'a, 'd> {
    pub(super) device: &'a mut OpenDevice<'d>,
    pub(super) options: &'a Options,
    pub(super) interrupted: &'a AtomicBool,
    pub(super) tell: &'a mut dyn FnMut(Event),
}

impl Opening<'_, '_> {
    /// The document at `place`, new or taken up again, and the cases of the run.
    ///
    /// # Errors
    /// [`SessionError`]; nothing is written before the roofs are measured.
    pub(super) fn journal(mut self, place: JournalPlace) -> Result<(Journal, Vec<PlannedCase>), SessionError> {
        let before = if self.options.resume { place.found()? } else { None };
        let asked = self.options.preset.or(before.as_ref().map(|record| record.protocol.preset));
        let (clock_steps, ceilings) = match before.as_ref().filter(|record| !record.ceilings.is_empty()) {
            Some(record) => {
                let found = Ceilings { found: record.ceilings.clone(), left_out: Vec::new() };
                (record.protocol.clock_steps.unwrap_or_default(), found)
            }
            None => {
                let clock_steps = self.clock_steps()?;
                (clock_steps, self.ceilings(asked, clock_steps)?)
            }
        };
        for left_out in &ceilings.left_out {
            (self.tell)(Event::Note(&format!("{} left out: {}", left_out.id, left_out.reason)));
        }
        let planned = |preset| {
            let mut on = PlannedFor::device(&planning::within(Some(preset), self.device.info), &ceilings.found);
            if let Some(agreed) = self.device.capacity {
                on.capacity = agreed(on.capacity);
            }
            planning::cases(preset, &self.options.selection, &self.options.only, &on)
        };
        let estimated = |preset| {
            let record = self.empty(preset, "", clock_steps, &ceilings);
            Ok(estimate::estimate(&planned(preset)?, &record, &HostRates::here(&record.host)))
        };
        let f32_roof = ceilings.found.get(&CeilingKind::FmaF32).map(|ceiling| ceiling.value);
        let chosen = choose_preset(asked, self.device.info, f32_roof, &estimated)?;
        let reason = match (&before, self.options.preset) {
            (Some(record), None) => record.protocol.preset_reason.clone(),
            _ => chosen.reason,
        };
        let planned = planned(chosen.preset)?;
        let mut fresh = self.empty(chosen.preset, &reason, clock_steps, &ceilings);
        fresh.planned = planned.iter().map(|case| case.id.clone()).collect();
        fresh.left_out = ceilings.left_out;
        let journal = match before {
            Some(found) => Journal::take_up(place, found, &fresh)?,
            None => Journal::create(place, fresh)?,
        };
        let (cases, done) = (planned.len(), planned.iter().filter(|case| journal.done(&case.id)).count());
        let preset = chosen.preset;
        (self.tell)(Event::Planned { cases, done, preset, reason: &reason, estimate: &chosen.estimate });
        Ok((journal, planned))
    }

    /// The steps of the clocks; none where the device fails, which the roofs then tell.
    fn clock_steps(&self) -> Result<ClockSteps, SessionError> {
        match clocks::steps(self.device.executor.as_ref(), self.interrupted) {
            Ok(Some(steps)) => Ok(steps),
            Ok(None) => Err(SessionError::Interrupted),
            Err(_) => Ok(ClockSteps::default()),
        }
    }

    fn ceilings(&mut self, asked: Option<Preset>, clock_steps: ClockSteps) -> Result<Ceilings, SessionError> {
        let OpenDevice { info, executor, reopen, .. } = &mut *self.device;
        let within = planning::within(asked, info);
        let pace = if info.device_type == DeviceType::Software { Pace::SOFTWARE } else { Pace::ROOF };
        let sampling =
            Sampling { target_relative_ci: 0.02, budget: ROOF_BUDGET, runs_per_sample: None, pace, clock_steps };
        let (seed, interrupted) = (self.options.seed, self.interrupted);
        let protocol = CaseProtocol { seed, sets: 1, effort: u64::MAX, sampling, interrupted };
        let measured = ceilings::measure(executor, reopen, &within, &protocol, |kind, ceiling| {
            (self.tell)(Event::Ceiling(kind, ceiling.value));
        });
        measured.map_err(|error| match error {
            RunError::Interrupted => SessionError::Interrupted,
            other => SessionError::Ceilings(other),
        })
    }

    /// The document before its first case.
    fn empty(&self, preset: Preset, reason: &str, clock_steps: ClockSteps, ceilings: &Ceilings) -> Record {
        let device = self.device.info;
        let finest = if self.device.has_device_clock { Clock::Device } else { Clock::Wall };
        let clock = clocks::used(finest, clock_steps);
        let protocol = protocol(preset, reason.to_owned(), clock, device, &ceilings.found, self.options);
        let protocol = Protocol { clock_steps: Some(clock_steps), ..protocol };
        let fma = ceilings.found.get(&CeilingKind::FmaF32);
        let reference = fma.and_then(|fma| throttling::describe(fma, device));
        let mut empty = document(device, protocol, reference);
        empty.ceilings.clone_from(&ceilings.found);
        if clock != finest {
            empty.caveats.retain(|caveat| *caveat != Caveat::WallClock);
        }
        empty.caveats.extend(clocks::caveat(finest, clock_steps));
        empty
    }
}

/// Sampling time of one roof.
const ROOF_BUDGET: Seconds = Seconds::new(0.5);
