//! When to stop: warm up until times settle, then sample until the median is known well enough or the budget is spent.

use std::sync::atomic::{AtomicBool, Ordering};

use super::clocks;
use super::executor::{Lap, LaunchError, Prepared};
use crate::record::{Caveat, Clock, ClockSteps, Timing};
use crate::statistics::{self, Summary};
use crate::units::Seconds;

/// How long and how precisely to sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Stop when the 95 % interval of the median is within this fraction of it on either side.
    pub target_relative_ci: f64,
    /// Stop when this much time went into samples.
    pub budget: Seconds,
    /// Runs in one sample; as many as make it long enough for the clock where `None`.
    pub runs_per_sample: Option<u32>,
    /// How long the device is kept busy before and during the samples.
    pub pace: Pace,
    /// By how much the clocks move at once.
    pub clock_steps: ClockSteps,
}

/// How long a device must be busy before its times count, and how long it is sampled at least.
///
/// An idle GPU lowers its clocks within milliseconds and takes longer to raise them. Two equal laps therefore prove
/// nothing: both may be of a sleeping device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The least busy time before the first sample. Where it is zero, two laps that agree within 5 % are enough.
    pub warm_up: Seconds,
    /// The least busy time of all samples together.
    pub sampled: Seconds,
}

impl Pace {
    /// A CPU that poses as a GPU: it need not be woken, and every second counts.
    pub const SOFTWARE: Self = Self { warm_up: Seconds::ZERO, sampled: Seconds::ZERO };
    /// A kernel on hardware.
    pub const HARDWARE: Self = Self { warm_up: Seconds::new(0.3), sampled: Seconds::new(0.1) };
    /// A roof on hardware: longer, because every case is judged by it.
    pub const ROOF: Self = Self { warm_up: Seconds::new(0.5), sampled: Seconds::new(0.1) };

    /// For kernels on a device.
    pub fn on(software: bool) -> Self {
        if software { Self::SOFTWARE } else { Self::HARDWARE }
    }

    /// For a kernel that is timed right after another, on a device that is busy already.
    pub fn at_once(self) -> Self {
        Self { warm_up: self.warm_up * 0.1, sampled: self.sampled * 0.3 }
    }
}

/// Samples of one plan, and the caveats that follow from them.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// For the record.
    pub timing: Timing,
    /// Wall clock, drift, noise, disagreeing clocks.
    pub caveats: Vec<Caveat>,
    /// The longest time for which the host stood still, where it did.
    pub paused: Option<Seconds>,
}

/// Why there are no samples.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// The device failed.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

const MIN_SAMPLES: usize = 6;
const MAX_SAMPLES: usize = 200;
const MAX_WARMUP_LAPS: u32 = 8;
/// A window of warm-up on hardware ...
const WINDOW: Seconds = Seconds::new(50e-3);
/// ... of submissions of about this length ...
const WINDOW_LAP: Seconds = Seconds::new(10e-3);
/// ... and so many windows in a row must agree within this share.
const STEADY_WINDOWS: usize = 3;
const STEADY: f64 = 0.02;
/// The warm-up ends after this many times its least length, steady or not: the samples show a drift.
const LONGEST_WARM_UP: f64 = 4.0;
/// In a sample by the wall clock of this length submission and wait are negligible.
const WALL_SAMPLE: Seconds = clocks::fine_sample(Clock::Wall);
pub(super) const MAX_RUNS_PER_SAMPLE: u32 = 1000;
/// Where a clock is coarse, short kernels need longer batches.
pub(super) const MAX_RUNS_BY_COARSE_CLOCK: u32 = 10_000;
/// A batch is made longer this often: the times of short ones by a coarse clock say little.
const LENGTHENINGS: usize = 4;
/// The host does little between two laps, and waits little longer than the device works. What takes longer is a pause.
const PAUSE: Seconds = Seconds::new(0.25);
/// Device time over wall time at most, with a tick and a rounding to spare ...
const MOST_DEVICE_SHARE: f64 = 1.05;
/// ... and at least, in a batch that is long enough.
const LEAST_DEVICE_SHARE: f64 = 0.5;

/// Warms up and samples. `sets` is what the plan was prepared with, for the record.
///
/// Both clocks time every sample. The device's counts, unless the two cannot both be right: then the samples are taken
/// again by the wall clock, and a caveat says so.
///
/// # Errors
/// [`SamplingError::Launch`] where the device fails, [`SamplingError::Interrupted`] once `interrupted` is set.
pub fn sample(
    prepared: &mut dyn Prepared,
    sets: u32,
    sampling: &Sampling,
    interrupted: &AtomicBool,
) -> Result<Sampled, SamplingError> {
    if clocks::used(Clock::Device, sampling.clock_steps) == Clock::Wall {
        // The record's caveat says why.
        return by_wall(prepared, sets, 0, sampling, interrupted);
    }
    let (runs, lengthening_runs) = batch_of(prepared, sampling)?;
    let warmup_runs = lengthening_runs + warm_up(prepared, runs, sampling, interrupted)?;
    let taken = laps(prepared, runs, sampling, interrupted)?;
    let Some(ratio) = disagreement(prepared, &taken.laps, runs, sampling)? else {
        return Ok(sampled(taken, runs, sets, warmup_runs, sampling));
    };
    let mut sampled = by_wall(prepared, sets, warmup_runs + runs, sampling, interrupted)?;
    sampled.caveats.push(Caveat::ClocksDisagree { ratio });
    Ok(sampled)
}

/// Samples by the wall clock alone, without a caveat about it.
fn by_wall(
    prepared: &mut dyn Prepared,
    sets: u32,
    warmup_runs: u32,
    sampling: &Sampling,
    interrupted: &AtomicBool,
) -> Result<Sampled, SamplingError> {
    let mut blind = Blind(prepared);
    let clock_steps = ClockSteps { device_s: None, ..sampling.clock_steps };
    let sampling = &Sampling { clock_steps, ..*sampling };
    let (runs, lengthening_runs) = batch_of(&mut blind, sampling)?;
    // A device that was sampled before is warm.
    let more = if warmup_runs == 0 { warm_up(&mut blind, runs, sampling, interrupted)? } else { 0 };
    let taken = laps(&mut blind, runs, sampling, interrupted)?;
    let mut sampled = sampled(taken, runs, sets, warmup_runs + lengthening_runs + more, sampling);
    sampled.caveats.retain(|caveat| *caveat != Caveat::WallClock);
    Ok(sampled)
}

/// Drops laps whose timestamps wrapped. If half of the laps have none, the device's clock is not trusted at all.
fn by_one_clock(mut laps: Vec<Lap>) -> (Vec<Lap>, Clock) {
    let timed = laps.iter().filter(|lap| lap.device.is_some()).count();
    if 2 * timed <= laps.len() {
        return (laps, Clock::Wall);
    }
    laps.retain(|lap| lap.device.is_some());
    (laps, Clock::Device)
}

/// A plan that hides its device clock.
struct Blind<'a>(&'a mut dyn Prepared);

impl Prepared for Blind<'_> {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        Ok(Lap { device: None, ..self.0.run(runs)? })
    }

    fn select(&mut self, launches: Option<std::ops::Range<usize>>) {
        self.0.select(launches);
    }

    fn read(&mut self, buffer: &str) -> Result<Vec<u8>, LaunchError> {
        self.0.read(buffer)
    }

    fn compilation(&self) -> Seconds {
        self.0.compilation()
    }

    fn now(&self) -> Seconds {
        self.0.now()
    }

    fn meanwhile(&mut self, work: &mut (dyn FnMut() + Send)) {
        self.0.meanwhile(work);
    }
}

/// Device time over wall time, where the two cannot both be right: the device was not busy for longer than the host
/// waited, and in a batch that takes 20 ms of wall time submission and wait leave at least half to the device. A shorter
/// batch that looks wrong is judged by a longer one.
fn disagreement(
    prepared: &mut dyn Prepared,
    laps: &[Lap],
    runs: u32,
    sampling: &Sampling,
) -> Result<Option<f64>, SamplingError> {
    let ratios: Vec<Seconds> =
        laps.iter().filter_map(|lap| lap.device.map(|device| Seconds::new(device / lap.wall))).collect();
    let Some(ratio) = statistics::summarise(&ratios).map(|summary| summary.median.get()) else { return Ok(None) };
    if ratio > MOST_DEVICE_SHARE {
        return Ok(Some(ratio));
    }
    if ratio >= LEAST_DEVICE_SHARE || sampling.runs_per_sample.is_some() {
        return Ok(None);
    }
    let wall = summary(laps, 1, |lap| lap.wall).map_or(Seconds::ZERO, |summary| summary.median);
    if wall >= WALL_SAMPLE {
        return Ok(Some(ratio));
    }
    let longer = whole(f64::from(runs) * (2.0 * (WALL_SAMPLE / wall.max(Seconds::new(1e-6)))), MAX_RUNS_PER_SAMPLE);
    let lap = prepared.run(longer)?;
    let ratio = lap.device.map(|device| device / lap.wall);
    Ok(ratio.filter(|ratio| lap.wall >= WALL_SAMPLE && *ratio < LEAST_DEVICE_SHARE))
}

/// The runs of a sample that is long enough for its clock, and the runs that it took to find out.
fn batch_of(prepared: &mut dyn Prepared, sampling: &Sampling) -> Result<(u32, u32), SamplingError> {
    let steps = sampling.clock_steps;
    let mut lap = prepared.run(1)?;
    if let Some(runs) = sampling.runs_per_sample {
        return Ok((runs, 1));
    }
    let (mut runs, mut made) = (runs_per_sample(&lap, 1, steps), 1);
    let is_fine = clocks::caveat(Clock::Device, steps).is_none();
    if lap.device.is_some() && is_fine {
        return Ok((runs, made));
    }
    // A short lap by a coarse clock says little, and one by the host's clock is mostly submission and wait.
    for _ in 0..LENGTHENINGS {
        lap = prepared.run(runs)?;
        made += runs;
        let longer = runs_per_sample(&lap, runs, steps);
        if longer <= runs {
            break;
        }
        runs = longer;
    }
    Ok((runs, made))
}

fn runs_per_sample(lap: &Lap, runs: u32, steps: ClockSteps) -> u32 {
    // What a coarse clock does not show is shorter than its step.
    let (clock, time, least) = match lap.device.or(steps.device_s) {
        Some(device) => (Clock::Device, device, Seconds::new(1e-7)),
        None => (Clock::Wall, lap.wall, Seconds::new(1e-6)),
    };
    let each = (time / f64::from(runs)).max(least);
    let fine = clocks::fine_sample(clock);
    let wanted = clocks::batch(fine, steps.of(clock));
    let most = if wanted > fine { MAX_RUNS_BY_COARSE_CLOCK } else { MAX_RUNS_PER_SAMPLE };
    whole(wanted / each, most)
}

/// The time that a lap counts as.
fn time(lap: &Lap) -> Seconds {
    lap.device.unwrap_or(lap.wall)
}

fn warm_up(
    prepared: &mut dyn Prepared,
    runs: u32,
    sampling: &Sampling,
    interrupted: &AtomicBool,
) -> Result<u32, SamplingError> {
    if sampling.pace.warm_up.is_positive() {
        return until_steady(prepared, sampling.pace.warm_up, interrupted);
    }
    let mut spent = Seconds::ZERO;
    let mut last: Option<Seconds> = None;
    for lap in 0..MAX_WARMUP_LAPS {
        if interrupted.load(Ordering::Relaxed) {
            return Err(SamplingError::Interrupted);
        }
        if spent > sampling.budget / 4.0 {
            return Ok(lap * runs);
        }
        let now = prepared.run(runs)?;
        spent += now.wall;
        let settled = last.is_some_and(|last| (time(&now) / last - 1.0).abs() < 0.05);
        if settled {
            return Ok((lap + 1) * runs);
        }
        last = Some(time(&now));
    }
    Ok(MAX_WARMUP_LAPS * runs)
}

/// Keeps the device busy for at least `busy`, and until its times have settled. Returns the number of runs.
pub(super) fn until_steady(
    prepared: &mut dyn Prepared,
    busy: Seconds,
    interrupted: &AtomicBool,
) -> Result<u32, SamplingError> {
    let (mut spent, mut made, mut windows) = (Seconds::ZERO, 0, Vec::new());
    let mut each = time(&prepared.run(1)?);
    // A short warm-up has short windows.
    let length = WINDOW.min(busy / STEADY_WINDOWS as f64);
    while spent < busy * LONGEST_WARM_UP {
        let (mut window, mut runs) = (Seconds::ZERO, 0);
        while window < length {
            if interrupted.load(Ordering::Relaxed) {
                return Err(SamplingError::Interrupted);
            }
            let batch = whole(WINDOW_LAP.min(length) / each.max(Seconds::new(1e-7)), MAX_RUNS_PER_SAMPLE);
            let lap = prepared.run(batch)?;
            // What the host waits counts towards the end, so that a clock that shows nothing cannot hold the run.
            window += time(&lap).max(lap.wall * 0.1);
            runs += batch;
            each = time(&lap) / f64::from(batch);
        }
        spent += window;
        made += runs;
        windows.push(window / f64::from(runs));
        if spent >= busy && agree(&windows) {
            break;
        }
    }
    Ok(made)
}

/// Whether the last windows lie within [`STEADY`] of each other.
fn agree(windows: &[Seconds]) -> bool {
    let Some(last) = windows.len().checked_sub(STEADY_WINDOWS).map(|from| &windows[from..]) else { return false };
    let most = last.iter().fold(Seconds::ZERO, |most, window| most.max(*window));
    last.iter().all(|window| *window >= most * (1.0 - STEADY))
}

/// A number of runs, at least one.
pub(super) fn whole(runs: f64, most: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before the cast")]
    {
        runs.ceil().clamp(1.0, f64::from(most)) as u32
    }
}

/// Laps, and the longest pause of the host between two of them.
struct Taken {
    laps: Vec<Lap>,
    apart: Seconds,
}

impl Taken {
    /// The longest time for which the host stood still, where it is a pause: between two laps, or in one that took longer
    /// than the device explains, or than the others where the device tells no time.
    fn paused(&self) -> Option<Seconds> {
        let usual = summary(&self.laps, 1, |lap| lap.wall).map_or(Seconds::ZERO, |summary| summary.median);
        let waits = self.laps.iter().map(|lap| lap.wall - lap.device.map_or(usual, |device| device.max(usual)));
        let longest = waits.fold(self.apart, Seconds::max);
        (longest > PAUSE).then_some(longest)
    }
}

fn laps(
    prepared: &mut dyn Prepared,
    runs: u32,
    sampling: &Sampling,
    interrupted: &AtomicBool,
) -> Result<Taken, SamplingError> {
    let mut laps: Vec<Lap> = Vec::new();
    let (mut apart, mut ended) = (Seconds::ZERO, prepared.now());
    let (mut spent, mut sampled) = (Seconds::ZERO, Seconds::ZERO);
    while laps.len() < MAX_SAMPLES {
        if interrupted.load(Ordering::Relaxed) {
            return Err(SamplingError::Interrupted);
        }
        let enough = laps.len() >= MIN_SAMPLES && sampled >= sampling.pace.sampled;
        let precise =
            enough && summary(&laps, runs, time).is_some_and(|s| s.relative_ci() <= sampling.target_relative_ci);
        if precise || (enough && spent >= sampling.budget) || (laps.len() >= 3 && spent >= sampling.budget * 4.0) {
            break;
        }
        let lap = prepared.run(runs)?;
        let now = prepared.now();
        apart = apart.max(now - ended - lap.wall);
        ended = now;
        spent += lap.wall;
        sampled += time(&lap);
        laps.push(lap);
    }
    Ok(Taken { laps, apart })
}

fn per_run(laps: &[Lap], runs: u32, clock: impl Fn(&Lap) -> Seconds) -> Vec<Seconds> {
    laps.iter().map(|lap| clock(lap) / f64::from(runs)).collect()
}

fn summary(laps: &[Lap], runs: u32, clock: impl Fn(&Lap) -> Seconds) -> Option<Summary> {
    statistics::summarise(&per_run(laps, runs, clock))
}

fn sampled(taken: Taken, runs: u32, sets: u32, warmup_runs: u32, sampling: &Sampling) -> Sampled {
    let paused = taken.paused();
    let (laps, clock) = by_one_clock(taken.laps);
    let laps = &laps;
    let samples = per_run(laps, runs, if clock == Clock::Device { time } else { |lap: &Lap| lap.wall });
    let cpu: Option<Vec<Seconds>> = laps.iter().map(|lap| lap.cpu.map(|cpu| cpu / f64::from(runs))).collect();
    let median = |summary: Summary| summary.median;
    let timing = Timing {
        clock,
        runs_per_sample: runs,
        buffer_sets: sets,
        warmup_runs,
        wall_median_s: summary(laps, runs, |lap| lap.wall).map_or(Seconds::ZERO, median),
        cpu_median_s: cpu.and_then(|cpu| statistics::summarise(&cpu)).map(median),
        ..Timing::of(samples)
    };
    let caveats = caveats(&timing, sampling);
    Sampled { timing, caveats, paused }
}

fn caveats(timing: &Timing, sampling: &Sampling) -> Vec<Caveat> {
    let mut caveats = Vec::new();
    if timing.clock == Clock::Wall {
        caveats.push(Caveat::WallClock);
    }
    let step = sampling.clock_steps.of(timing.clock);
    let share = step.map_or(0.0, |step| step / (timing.median_s * f64::from(timing.runs_per_sample)));
    // A batch of a hundred steps may read as one of 99.
    if share > clocks::MOST_SHARE * 1.1 {
        caveats.push(Caveat::ShortBatch { share });
    }
    if let Some(ratio) = statistics::drift(&timing.samples_s) {
        caveats.push(Caveat::Drift { ratio });
    }
    // Twice the target is what a reader would notice in a comparison.
    let relative_ci = timing.relative_ci();
    if relative_ci > 2.0 * sampling.target_relative_ci {
        caveats.push(Caveat::Noisy { relative_ci });
    }
    caveats
}

#[cfg(test)]
mod tests;
