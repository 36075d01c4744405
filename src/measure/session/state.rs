//! The events of a session, its errors, and the state that outlives a device.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::super::estimate::Estimate;
use super::super::executor::LaunchError;
use super::super::planning::PlanError;
use super::super::tuning_cache::TuningCache;
use super::super::verify::RunError;
use crate::record::{Case, CeilingKind, Journal, LeftOut, Preset, RecordError, Rejected, ResumeError, Tuning};
use crate::units::Seconds;

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
    /// The reference kernel moved by this factor after a case, which is run again.
    Repeated(&'a str, f64),
    /// The host stood still for so long while a case was sampled; it is run again.
    Paused(&'a str, Seconds),
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
    /// There is nothing to measure.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The device is gone.
    #[error("{id}: {error}")]
    Device {
        /// The case, or the variant of it.
        id: String,
        /// What the driver said.
        error: LaunchError,
    },
    /// The device is gone, and opening it again is no way out.
    #[error("{id}: {error}; {problem}")]
    NotReopened {
        /// The case, or the variant of it.
        id: String,
        /// What the driver said.
        error: LaunchError,
        /// Why the run ends.
        problem: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl SessionError {
    /// Whether the run can be taken up again where it ended.
    pub fn is_resumable(&self) -> bool {
        matches!(self, Self::Device { .. } | Self::NotReopened { .. } | Self::Interrupted)
    }
}

/// What outlives a device.
pub(super) struct RunState<'a> {
    pub(super) journal: &'a mut Journal,
    pub(super) cache: &'a mut TuningCache,
    /// The least time between two readings of the reference kernel.
    pub(super) interval: Duration,
    pub(super) interrupted: &'a AtomicBool,
    pub(super) tell: &'a mut dyn FnMut(Event<'_>),
}

impl RunState<'_> {
    pub(super) fn leave_out(&mut self, left_out: LeftOut) -> Result<(), SessionError> {
        self.journal.push_left_out(left_out.clone())?;
        (self.tell)(Event::LeftOut(&left_out));
        Ok(())
    }

    pub(super) fn reject(&mut self, rejected: Rejected) -> Result<(), SessionError> {
        self.journal.push_rejected(rejected.clone())?;
        (self.tell)(Event::Rejected(&rejected));
        Ok(())
    }
}
