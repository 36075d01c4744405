//! What the worker asks of the device: what it offers, the verification suite, a run.
//!
//! The exports marked `jspi` suspend while they wait, so that `interrupt` and `pause` arrive meanwhile. The worker starts one of
//! them at a time.

mod events;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use js_sys::{Function, Reflect};
use serde::{Deserialize, Serialize};
use supernode_bench::kernels::cases::{CaseSpec, verification_cases};
use supernode_bench::measure::gpu::{self, AdapterChoice, Gpu};
use supernode_bench::measure::options::Options;
use supernode_bench::measure::session::{self, OpenDevice, SessionError};
use supernode_bench::measure::verify::{RunError, VerificationOutcome, verdict};
use supernode_bench::measure::{Executor, waiting};
use supernode_bench::record::{Device, JournalPlace, Preset, Selection};
use wasm_bindgen::prelude::*;

use self::events::Listener;
use crate::errors::thrown;

/// Set by `interrupt`; work ends at the next safe point.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// While it is set, work waits at the next safe point.
static PAUSED: AtomicBool = AtomicBool::new(false);

/// How often a run that was told to wait looks whether it may go on.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Ends the work in progress at the next safe point.
#[wasm_bindgen]
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Holds the work in progress at the next safe point, or lets it go on.
#[wasm_bindgen]
pub fn pause(paused: bool) {
    PAUSED.store(paused, Ordering::Relaxed);
}

fn begin() {
    INTERRUPTED.store(false, Ordering::Relaxed);
    PAUSED.store(false, Ordering::Relaxed);
}

/// Waits while the work is paused. Returns whether it was interrupted.
fn safe_point() -> bool {
    while PAUSED.load(Ordering::Relaxed) && !INTERRUPTED.load(Ordering::Relaxed) {
        waiting::pause(LOOK_AGAIN);
    }
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Opens the adapter. A browser keeps bounds checks of its own, so the record says that there are some.
fn open() -> Result<Gpu, String> {
    let listed = gpu::select(&AdapterChoice::default()).map_err(|error| error.to_string())?;
    listed.open(true).map_err(|error| error.to_string())
}

#[derive(Serialize)]
struct Offers<'a> {
    device: &'a Device,
    timestamps: bool,
    subgroups: bool,
    notes: &'a [String],
}

/// Opens the device and says what it offers, as JSON: the device as a record describes it, whether it has timestamps and
/// subgroups, and what did not work out.
///
/// # Errors
/// Where there is no adapter, or where it cannot be opened.
#[wasm_bindgen(jspi)]
pub fn offers() -> Result<String, JsError> {
    let gpu = open().map_err(thrown)?;
    let subgroups = gpu.info.features.iter().any(|feature| feature == "subgroup");
    let offers = Offers { device: &gpu.info, timestamps: gpu.has_timestamps(), subgroups, notes: &gpu.notes };
    serde_json::to_string(&offers).map_err(thrown)
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MeasureOptions {
    preset: Option<Preset>,
    seed: u64,
    only: Vec<String>,
    selection: Selection,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self { preset: None, seed: 1, only: Vec::new(), selection: Selection::Tuned }
    }
}

/// Verifies and times the kernels; gives the record's JSON. `options` is JSON with the fields `preset`, `seed`, `only` and
/// `selection`, all of which may be left out. `journal` is the unfinished record to go on with.
///
/// `listen` is called with `"event"` and the event's JSON, and with `"journal"` and the whole record each time that it grows.
///
/// # Errors
/// An `Error` with the fields `interrupted` and `resumable`; finished cases are in the journal.
#[wasm_bindgen(jspi)]
pub fn measure(options: &str, journal: Option<String>, listen: &Function) -> Result<String, JsValue> {
    begin();
    let listener = Listener::new(listen);
    let asked: MeasureOptions = serde_json::from_str(options).map_err(thrown)?;
    let gpu = open().map_err(thrown)?;
    gpu.notes.iter().for_each(|note| listener.note(note));
    let (info, has_device_clock) = (gpu.info.clone(), gpu.has_timestamps());
    let mut reopen = || reopened(&info);
    let device = OpenDevice { info: &info, has_device_clock, executor: Box::new(gpu), reopen: &mut reopen, capacity: None };
    let options = Options {
        preset: asked.preset,
        seed: asked.seed,
        only: asked.only,
        runtime_checks: true,
        resume: journal.is_some(),
        selection: asked.selection,
        tuning_cache: None,
        retune: false,
    };
    let place = JournalPlace::Handed { before: journal, to: listener.journal() };
    let outcome = session::run(device, &options, place, &INTERRUPTED, &mut |event| {
        listener.session(&event);
        safe_point();
    });
    match outcome {
        Ok(record) => serde_json::to_string_pretty(&record).map_err(|error| thrown(error).into()),
        Err(error) => Err(as_error(&error)),
    }
}

/// The device that was lost, and no other that answers in its place.
fn reopened(before: &Device) -> Result<Box<dyn Executor>, String> {
    let gpu = open().map_err(|error| format!("it cannot be opened again ({error})"))?;
    if gpu.is(before) { Ok(Box::new(gpu)) } else { Err("it is gone, and another answers in its place".to_owned()) }
}

fn as_error(error: &SessionError) -> JsValue {
    let thrown: JsValue = js_sys::Error::new(&error.to_string()).into();
    let fields = [("interrupted", matches!(error, SessionError::Interrupted)), ("resumable", error.is_resumable())];
    for (name, value) in fields {
        // Setting a field of an object that was just made cannot fail.
        let _ = Reflect::set(&thrown, &name.into(), &value.into());
    }
    thrown
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VerifyOptions {
    seed: u64,
    only: Vec<String>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { seed: 1, only: Vec::new() }
    }
}

/// What became of the verification suite.
#[derive(Default, Serialize)]
struct Verified {
    right: usize,
    wrong: usize,
    left_out: usize,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
struct Failure {
    id: String,
    problem: String,
}

/// Compares every variant of every kernel with its twin; gives the counts and the failures as JSON. `options` is JSON with the
/// fields `seed` and `only`, both of which may be left out. `listen` is called with `"event"` and JSON after each case.
///
/// # Errors
/// Where the device cannot be opened or is lost, for an `only` that fits no case, and after `interrupt`.
#[wasm_bindgen(jspi)]
pub fn verify(options: &str, listen: &Function) -> Result<String, JsError> {
    begin();
    let listener = Listener::new(listen);
    let asked: VerifyOptions = serde_json::from_str(options).map_err(thrown)?;
    let gpu = open().map_err(thrown)?;
    let mut cases = verification_cases();
    cases.retain(|case| asked.only.is_empty() || asked.only.iter().any(|part| case.id().contains(part)));
    if cases.is_empty() {
        return Err(thrown("no case of the verification suite has such a name"));
    }
    let mut verified = Verified::default();
    for case in &cases {
        if safe_point() {
            return Err(thrown("interrupted"));
        }
        let problem = verified.check(&gpu, case, asked.seed)?;
        listener.verified(&case.id(), problem, cases.len());
    }
    serde_json::to_string(&verified).map_err(thrown)
}

impl Verified {
    /// Counts one case. Returns what is wrong with it, if anything is.
    fn check(&mut self, gpu: &Gpu, case: &CaseSpec, seed: u64) -> Result<Option<&str>, JsError> {
        let problem = match verdict(gpu, &gpu.info, case, seed) {
            VerificationOutcome::LeftOut(_) => {
                self.left_out += 1;
                return Ok(None);
            }
            VerificationOutcome::Compared(compared) if compared.verification.passed() => {
                self.right += 1;
                return Ok(None);
            }
            VerificationOutcome::Compared(compared) => RunError::Wrong(Box::new(compared.verification)).to_string(),
            VerificationOutcome::Failed(RunError::Launch(error)) if error.ends_the_device() => {
                return Err(thrown(format!("{}: {error}", case.id())));
            }
            VerificationOutcome::Failed(error) => error.to_string(),
        };
        self.wrong += 1;
        self.failures.push(Failure { id: case.id(), problem });
        Ok(self.failures.last().map(|failure| &*failure.problem))
    }
}
