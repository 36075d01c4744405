//! What a run will take: minutes, memory, and the longest submission, from the plan of its cases and a few rates.
//!
//! It decides which preset is small enough for a first run, and is shown to people before they wait. The simulated devices of
//! the tests hold it to what a session really does.

use super::options::EFFORT;
use super::planning::{PlannedCase, buffer_sets};
use super::roofs::Limits;
use super::sampling::Pace;
use super::tuning;
use crate::kernels::{Plan, Role};
use crate::record::{Host, Record, Selection};
use crate::units::{Bytes, BytesPerSecond, Seconds};

/// What the host does per second, on all of its cores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostRates {
    /// Bytes of f32 operands drawn.
    pub drawn: BytesPerSecond,
    /// Bytes brought to the device, or back.
    pub moved: BytesPerSecond,
    /// Multiply-adds of a twin.
    pub checked_per_s: f64,
}

/// What one core draws: 100 million numbers per second, measured on a server core of 2.6 GHz (0.4 GB/s in f32).
const DRAWN_PER_CORE: f64 = 0.4e9;
/// Multiply-adds of a twin that one core makes: measured on the same core with the twin of the grouped GEMM.
const CHECKED_PER_CORE: f64 = 30e6;
/// Cores that share one memory: more do not draw faster.
const MOST_CORES: f64 = 16.0;

/// Assumed rate of copies to and from a device: PCIe 3, or a shared memory that is read and written. Most are faster.
const MOVED: BytesPerSecond = BytesPerSecond::new(4e9);

impl HostRates {
    /// Of the computer that a record describes.
    pub fn here(host: &Host) -> Self {
        // A page has one thread.
        let cores = if host.browser.is_some() { 1 } else { host.logical_cpus };
        Self::of(f64::from(cores), MOVED)
    }

    /// Of a computer with so many cores.
    pub fn of(cores: f64, moved: BytesPerSecond) -> Self {
        let cores = cores.clamp(1.0, MOST_CORES);
        Self { drawn: BytesPerSecond::new(DRAWN_PER_CORE * cores), moved, checked_per_s: CHECKED_PER_CORE * cores }
    }
}

/// What a run will take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// From the first case to the last.
    pub wall: Seconds,
    /// The most that the host holds at once.
    pub host_bytes: Bytes,
    /// The most that the device holds at once.
    pub device_bytes: Bytes,
}

/// Assumed shares of the roof that kernels reach: the winner of a trial, and the others.
const WINNER_SHARE: f64 = 0.3;
const OTHER_SHARE: f64 = 0.1;
/// A typical pipeline.
const COMPILATION: Seconds = Seconds::new(50e-3);
/// Roofs and first readings.
const BEFORE_CASES: Seconds = Seconds::new(15.0);
/// A reading of the reference kernel with its warm-up.
const READING: Seconds = Seconds::new(0.15);
/// Pairs of laps of the two best.
const DUEL_LAPS: f64 = 12.0;
const DUEL_WARM_UP: Seconds = Seconds::new(60e-3);
const TRIAL_WARM_UP: Seconds = Seconds::new(25e-3);
const TRIAL_LAPS: f64 = 6.0;
const LAP: Seconds = Seconds::new(1e-3);

/// Estimates a run of these cases on the device and host that `on` is the document of; only its roofs are needed.
pub fn estimate(planned: &[PlannedCase], on: &Record, host: &HostRates) -> Estimate {
    let mut all = Estimate { wall: BEFORE_CASES, host_bytes: Bytes::ZERO, device_bytes: Bytes::ZERO };
    for case in planned {
        let one = of_case(case, on, host);
        all.wall += one.wall;
        all.host_bytes = all.host_bytes.max(one.host_bytes);
        all.device_bytes = all.device_bytes.max(one.device_bytes);
    }
    all
}

/// What a plan moves and holds.
struct Sizes {
    inputs: Bytes,
    outputs: Bytes,
    all_sets: Bytes,
    at_roof: Seconds,
}

fn sizes(case: &PlannedCase, plan: &Plan, on: &Record) -> Sizes {
    let bytes = |bytes: u64| Bytes::new(bytes as f64);
    let inputs = plan.input_bytes();
    let outputs = plan.buffers.iter().filter(|b| b.role == Role::Output).map(|b| b.size_bytes).sum();
    let sets = u64::from(buffer_sets(plan, on.protocol.rotation_bytes, case.cache));
    let (at_roof, _) = Limits::of_case(plan, &plan.operations(), case.cache).roofline(on);
    Sizes {
        inputs: bytes(inputs),
        outputs: bytes(outputs),
        all_sets: bytes(inputs * (sets - 1) + plan.total_bytes()),
        at_roof,
    }
}

fn of_case(case: &PlannedCase, on: &Record, host: &HostRates) -> Estimate {
    let Some(variant) = case.candidates.first() else {
        return Estimate { wall: Seconds::ZERO, host_bytes: Bytes::ZERO, device_bytes: Bytes::ZERO };
    };
    let element = case.spec.element;
    let plan = case.spec.kernel.plan(variant, element);
    let whole = sizes(case, &plan, on);
    // Quantised operands are drawn twice but have fewer bytes, so making them takes about as long as f32.
    let as_f32 = 32.0 / element.weight_bits() as f64;
    let finalists = if case.candidates.len() > 1 { 2.0 } else { 1.0 };
    let made = whole.inputs * as_f32 / host.drawn;
    let moved = (whole.inputs + whole.outputs) / host.moved;
    let compared = Seconds::new(EFFORT as f64 / host.checked_per_s) + whole.outputs / host.moved;
    let run = whole.at_roof / WINNER_SHARE;
    let pace = Pace::on(on.is_software());
    let parts = plan.parts.len() as f64;
    let sampled = pace.warm_up + pace.sampled + (pace.at_once().warm_up + pace.at_once().sampled) * parts;
    let duel = if finalists > 1.0 { run.max(LAP) * DUEL_LAPS + DUEL_WARM_UP } else { Seconds::ZERO };
    let wall = made * finalists + moved * finalists + compared + sampled + run * 6.0 + duel + READING;
    Estimate {
        wall: wall + trial(case, on, host),
        host_bytes: (whole.inputs + whole.outputs) * finalists,
        device_bytes: whole.all_sets * finalists,
    }
}

/// The brief trial of all candidates. A warm case takes that of the cold one.
fn trial(case: &PlannedCase, on: &Record, host: &HostRates) -> Seconds {
    let candidates = case.candidates.len();
    if candidates < 2 || case.cache == crate::record::CacheState::Warm || on.protocol.selection != Selection::Tuned {
        return Seconds::ZERO;
    }
    let kernel = case.spec.kernel.as_ref();
    let small = tuning::at_trial_size(kernel, on);
    let kernel = small.as_deref().unwrap_or(kernel);
    let plan = kernel.plan(case.candidates[0], case.spec.element);
    let sizes = sizes(case, &plan, on);
    let as_f32 = 32.0 / case.spec.element.weight_bits() as f64;
    // A trial makes operands for about two layouts, and copies them to the device for each variant.
    let made = sizes.inputs * as_f32 / host.drawn * 2.0;
    let laps = (sizes.at_roof / OTHER_SHARE).max(LAP) * TRIAL_LAPS;
    let one = COMPILATION + laps + TRIAL_WARM_UP + (sizes.inputs + sizes.outputs) / host.moved;
    made + one * candidates as f64
}
