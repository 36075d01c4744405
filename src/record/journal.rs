//! A document that grows where it is kept: after each case the whole of it is written, so a kill at any point loses one case.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::case::{Case, LeftOut, Rejected};
use super::check::MAX_TEXT;
use super::document::Record;
use super::error::RecordError;
use super::place::JournalPlace;
use super::protocol::{Protocol, Reading, Selection, TimeSpent};
use super::validate::done_ids;
use crate::kernels::Verification;
use crate::printable::printable;

/// A record in progress and the place that holds it. What is there is a valid document at every moment.
#[derive(Debug)]
pub struct Journal {
    place: JournalPlace,
    record: Record,
    done: BTreeSet<String>,
}

/// Why a run cannot be taken up again.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The file is not a readable document.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The file is of another run.
    #[error(
        "{}: cannot resume, because it was written with {differs}; write to another file, or drop --resume to start over",
        printable(&path.display().to_string(), 200)
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// What differs, each with both sides.
        differs: String,
    },
}

impl Journal {
    /// Starts a document: writes `record` to `place` at once, instead of what was there.
    ///
    /// # Errors
    /// [`RecordError`] for a closed or full disk, found before anything is measured.
    pub fn create(place: impl Into<JournalPlace>, record: Record) -> Result<Self, RecordError> {
        let (mut place, record) = (place.into(), tidy(record));
        place.keep(&record)?;
        Ok(Self::over(place, record))
    }

    /// Takes up the document at `place`, if it is one of the run that `expected` starts.
    ///
    /// # Errors
    /// [`ResumeError::Differs`] when device, tool, protocol or plan are others; [`ResumeError::Record`] when there is none
    /// that can be read.
    pub fn resume(place: impl Into<JournalPlace>, expected: &Record) -> Result<Self, ResumeError> {
        let place = place.into();
        let found = place.found()?.ok_or_else(|| RecordError::Read {
            path: place.name().to_path_buf(),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        Self::take_up(place, found, expected)
    }

    /// The same with the document that was read there already.
    ///
    /// # Errors
    /// [`ResumeError::Differs`].
    pub fn take_up(place: JournalPlace, found: Record, expected: &Record) -> Result<Self, ResumeError> {
        let differs = differences(&found, &tidy(expected.clone()));
        if differs.is_empty() {
            return Ok(Self::over(place, found));
        }
        Err(ResumeError::Differs { path: place.name().to_path_buf(), differs: differs.join(", ") })
    }

    /// The document as it is where it is kept.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the case with this id is measured, left out or rejected.
    pub fn done(&self, id: &str) -> bool {
        self.done.contains(id)
    }

    /// Adds a measured case.
    ///
    /// # Errors
    /// [`RecordError::Unsound`] for figures that cannot be, [`RecordError::Write`]; the document stays as it was.
    pub fn push_case(&mut self, case: Case) -> Result<(), RecordError> {
        self.change(Some(case.id.clone()), |record| record.cases.push(case))
    }

    /// Adds a case that the device cannot run.
    ///
    /// # Errors
    /// As [`Journal::push_case`].
    pub fn push_left_out(&mut self, left_out: LeftOut) -> Result<(), RecordError> {
        let left_out = LeftOut { reason: printable(&left_out.reason, MAX_TEXT), ..left_out };
        self.change(Some(left_out.id.clone()), |record| record.left_out.push(left_out))
    }

    /// Adds a case that failed. A comparison without a finite value (the device gave NaN) goes into the reason.
    ///
    /// # Errors
    /// As [`Journal::push_case`].
    pub fn push_rejected(&mut self, rejected: Rejected) -> Result<(), RecordError> {
        let rejected = storable(rejected);
        self.change(Some(rejected.id.clone()), |record| record.rejected.push(rejected))
    }

    /// Adds a timing of the reference kernel, if the document has one.
    ///
    /// # Errors
    /// As [`Journal::push_case`].
    pub fn push_reading(&mut self, reading: Reading) -> Result<(), RecordError> {
        self.change(None, |record| {
            if let Some(reference) = &mut record.reference {
                reference.readings.push(reading);
            }
        })
    }

    /// Marks the document complete.
    ///
    /// # Errors
    /// [`RecordError::Unsound`] when a planned case is missing; else as [`Journal::push_case`].
    pub fn finish(&mut self) -> Result<(), RecordError> {
        self.change(None, |record| record.complete = true)
    }

    /// Adds what a run took to what runs before it took.
    ///
    /// # Errors
    /// As [`Journal::push_case`].
    pub fn spend(&mut self, time: TimeSpent) -> Result<(), RecordError> {
        self.change(None, |record| record.time_spent = Some(record.time_spent.map_or(time, |before| before + time)))
    }

    fn over(place: JournalPlace, record: Record) -> Self {
        let done = done_ids(&record).map(str::to_owned).collect();
        Self { place, record, done }
    }

    /// Memory follows the place: a change that could not be written did not happen.
    fn change(&mut self, id: Option<String>, edit: impl FnOnce(&mut Record)) -> Result<(), RecordError> {
        let mut next = self.record.clone();
        edit(&mut next);
        self.place.keep(&next)?;
        self.record = next;
        self.done.extend(id);
        Ok(())
    }
}

/// The names that drivers and systems give themselves, fit for a document.
fn tidy(mut record: Record) -> Record {
    let Record { host, device, protocol, .. } = &mut record;
    let texts = [
        &mut host.os,
        &mut host.cpu,
        &mut device.name,
        &mut device.vendor,
        &mut device.driver,
        &mut device.driver_info,
        &mut device.backend,
        &mut protocol.preset_reason,
    ];
    let browser = host.browser.iter_mut().flat_map(|browser| [&mut browser.name, &mut browser.version]);
    for text in texts.into_iter().chain(browser) {
        *text = printable(text, MAX_TEXT).trim().to_owned();
    }
    record
}

fn storable(mut rejected: Rejected) -> Rejected {
    let is_finite = |v: &Verification| {
        v.value.is_finite() && v.worst.as_ref().is_none_or(|w| w.want.is_finite() && w.got.is_none_or(f64::is_finite))
    };
    let dropped = rejected.verification.take_if(|verification| !is_finite(verification)).is_some();
    let mut reason = printable(&rejected.reason, MAX_TEXT - 100);
    if dropped {
        reason.push_str(" (the comparison has no finite value)");
    }
    Rejected { reason, ..rejected }
}

/// What makes two documents those of different runs, each named with both sides where they are short.
fn differences(found: &Record, expected: &Record) -> Vec<String> {
    let mut differs = Vec::new();
    let mut note = |what: &str, there: String, here: String| {
        if there != here {
            differs.push(format!("another {what} ({there}, now {here})"));
        }
    };
    note("device", found.device.name.clone(), expected.device.name.clone());
    note("backend", found.device.backend.clone(), expected.device.backend.clone());
    note("driver", driver(found), driver(expected));
    note("tool version", found.tool.version.clone(), expected.tool.version.clone());
    note("commit", commit(found), commit(expected));
    note("preset", format!("{:?}", found.protocol.preset), format!("{:?}", expected.protocol.preset));
    note("selection of variants", selection(found), selection(expected));
    note("seed", found.protocol.seed.to_string(), expected.protocol.seed.to_string());
    note("clock", format!("{:?}", found.protocol.clock), format!("{:?}", expected.protocol.clock));
    if differs.is_empty() {
        // The rest has no short form; it is named only where nothing above was.
        let rest = [
            ("other device features or limits", found.device != expected.device),
            ("another protocol", comparable(&found.protocol) != comparable(&expected.protocol)),
            ("another plan of cases", found.planned != expected.planned),
        ];
        differs.extend(rest.into_iter().filter(|(_, is_so)| *is_so).map(|(what, _)| what.to_owned()));
    }
    differs
}

fn selection(record: &Record) -> String {
    match &record.protocol.selection {
        Selection::Tuned => "tuned".to_owned(),
        Selection::Default => "default".to_owned(),
        Selection::AllVariants => "all".to_owned(),
        Selection::Named { variant } => printable(variant, 40),
    }
}

fn driver(record: &Record) -> String {
    format!("{} {}", record.device.driver, record.device.driver_info)
}

fn commit(record: &Record) -> String {
    record.tool.git_commit.clone().unwrap_or_else(|| "none".to_owned())
}

/// The protocol without what was measured: the steps of the clocks, and the words on why its preset was chosen.
fn comparable(protocol: &Protocol) -> Protocol {
    Protocol { preset_reason: String::new(), clock_steps: None, ..protocol.clone() }
}
