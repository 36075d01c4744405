//! A whole run: ceilings, choice of the preset, every case into the journal as soon as it is done.
//!
//! `open` makes the document, `cases` goes through the plan on one opening of the device, and `state` is what they share.

mod cases;
mod open;
mod state;

use std::rc::Rc;
use std::sync::atomic::AtomicBool;

pub use open::OpenDevice;
pub use state::{Event, SessionError};

use self::cases::{REFERENCE, Session};
use self::open::Opening;
use self::state::RunState;
use super::executor::{Executor, close};
use super::options::Options;
use super::planning::PlannedCase;
use super::throttling;
use super::time_spent::{Account, Accounted};
use super::tuning_cache::TuningCache;
use crate::record::{JournalPlace, Record, Rejected};

/// So many losses of the device without a finished case between them, and it is not the kernels.
const MOST_LOSSES: usize = 3;

/// Measures everything that is not in the document at `place` yet.
///
/// A case in which the device is lost or hangs is listed as rejected, with the reason; the device is opened again, and
/// the run goes on with the next.
///
/// # Errors
/// [`SessionError`]; what was finished before is in the document.
pub fn run(
    device: OpenDevice,
    options: &Options,
    place: impl Into<JournalPlace>,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<Record, SessionError> {
    let account = Rc::new(Account::default());
    let accounted = |inner| -> Box<dyn Executor> { Box::new(Accounted { inner, account: Rc::clone(&account) }) };
    let OpenDevice { info, has_device_clock, executor, reopen, capacity } = device;
    let mut reopen = || reopen().map(accounted);
    let mut device =
        OpenDevice { info, has_device_clock, executor: accounted(executor), reopen: &mut reopen, capacity };
    let (mut journal, planned) = Opening { device: &mut device, options, interrupted, tell }.journal(place.into())?;
    let (mut cache, note) = match &options.tuning_cache {
        Some(directory) => TuningCache::open(directory, info, options.runtime_checks),
        None => (TuningCache::in_memory(), None),
    };
    if let Some(note) = note {
        tell(Event::Note(&note));
    }
    if options.retune {
        cache.forget();
    }
    let interval = throttling::INTERVAL;
    let mut state = RunState { journal: &mut journal, cache: &mut cache, interval, interrupted, tell };
    all(device.executor, device.reopen, &planned, &mut state)?;
    journal.spend(account.spent())?;
    Ok(journal.record().clone())
}

/// Goes through all cases, on as many openings of the device as that takes.
fn all(
    mut executor: Box<dyn Executor>,
    reopen: &mut dyn FnMut() -> Result<Box<dyn Executor>, String>,
    planned: &[PlannedCase],
    state: &mut RunState,
) -> Result<(), SessionError> {
    let (mut losses, mut finished) = (0, state.journal.record().cases.len());
    loop {
        let mut session = Session { executor: executor.as_ref(), state, watch: None };
        let (id, error) = match session.all(planned) {
            Err(SessionError::Device { id, error }) => (id, error),
            outcome => return outcome,
        };
        drop(session);
        let now = state.journal.record().cases.len();
        losses = if now > finished { 1 } else { losses + 1 };
        finished = now;
        close(executor, &error);
        if losses > MOST_LOSSES {
            let problem = format!("lost {losses} times in a row");
            return Err(SessionError::NotReopened { id, error, problem });
        }
        // Only a device that comes back shows that the case was at fault, and not a cable.
        executor = match reopen() {
            Ok(executor) => executor,
            Err(problem) => return Err(SessionError::NotReopened { id, error, problem }),
        };
        if id != REFERENCE && !state.journal.done(&id) {
            let reason = format!("{error}; it was opened again for the cases after this one");
            state.reject(Rejected { id, reason, verification: None })?;
        }
    }
}

#[cfg(test)]
mod devices;
#[cfg(test)]
mod tests;
