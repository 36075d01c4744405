//! One case on both sides in one process, interleaved: ours, theirs, ours, theirs.

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use supernode_bench::kernels::StorageType;
use supernode_bench::measure::gpu::{self, AdapterChoice, Gpu};
use supernode_bench::record::DeviceType;

use crate::answer::{Answer, Closeness};
use crate::case::Case;
use crate::lap::{Clock, Lap, median};
use crate::ours::{self, FirstCall, Ours, Tried};
use crate::theirs::{self, Theirs};

/// How to run a case.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which adapter.
    pub selection: AdapterChoice,
    /// Storage type.
    pub element: StorageType,
    /// Pairs of laps.
    pub pairs: u32,
}

/// What is known of a case so far; a child prints it again whenever there is more, so that a crash keeps what stood.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    /// What is going on, for the message when it does not end well.
    pub doing: String,
    /// The adapter.
    pub device: Option<DeviceInfo>,
    /// The clock that decides.
    pub clock: Option<Clock>,
    /// f32 multiply-add rate on that clock, FLOP/s.
    pub fma_flop_per_s: Option<f64>,
    /// Copies of the operands that both sides rotate over.
    pub sets: u32,
    /// Our side.
    pub ours: Option<Side>,
    /// Our variants and their times when they were tried.
    pub tried: Vec<Tried>,
    /// burn's side.
    pub theirs: Option<Side>,
    /// Their time over ours on the deciding clock.
    pub ratio: Option<Ratio>,
}

/// The adapter, as both sides see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Name.
    pub name: String,
    /// Driver and version.
    pub driver: String,
    /// Graphics API.
    pub backend: String,
}

/// One side of a case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Side {
    /// Which kernel; burn does not say.
    pub variant: Option<String>,
    /// Of the f64 answer.
    pub closeness: Closeness,
    /// Compilation and tuning.
    pub first_call: FirstCall,
    /// Runs in one lap.
    pub runs_per_lap: u32,
    /// All laps, in order.
    pub laps: Vec<Lap>,
    /// Median seconds of one run on the deciding clock.
    pub median_s: f64,
    /// Median wall seconds.
    pub wall_s: f64,
    /// Median device seconds, where the device tells.
    pub device_s: Option<f64>,
}

/// Their time over ours, pair by pair: above 1 we are faster.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Median over the pairs.
    pub median: f64,
    /// The smallest pair.
    pub least: f64,
    /// The largest pair.
    pub most: f64,
}

/// A lap lasts at least this long on the deciding clock, so that a clock's tick and one wait are little ...
const LAP_S: f64 = 60e-3;
/// ... but no more runs than this, nor so long that a watchdog would bark.
const MOST_RUNS: f64 = 200.0;
/// Laps under burn's profiler, for its device time where the pairs are timed without.
const PROFILED_LAPS: u32 = 3;

/// Runs the case and hands on what is known after each step.
pub fn run(case: Case, options: &Options, mut tell: impl FnMut(&Progress)) -> Result<()> {
    let mut progress = Progress::default();
    let mut at = |progress: &mut Progress, doing: &str| {
        doing.clone_into(&mut progress.doing);
        tell(progress);
    };
    at(&mut progress, "opening the adapter");
    let gpu = gpu::select(&options.selection)?.open(false)?;
    let clock = deciding_clock(&gpu);
    progress.clock = Some(clock);
    progress.device = Some(DeviceInfo {
        name: gpu.info.name.clone(),
        driver: gpu.info.driver_info.clone(),
        backend: gpu.info.backend.clone(),
    });
    progress.fma_flop_per_s = Some(ours::fma_ceiling(&gpu, clock)?);

    at(&mut progress, "compiling and tuning ours");
    let (op, element) = (case.op, options.element);
    let roof = ours::fma_ceiling(&gpu, Clock::Device)?;
    let mut ours = Ours::new(&gpu, op, element, clock, roof, |bytes| sets(&gpu, bytes))?;
    progress.sets = ours.sets;
    progress.tried = std::mem::take(&mut ours.tried);
    let runs = runs_per_lap(&ours.lap(1)?, clock);
    let laps = (0..3).map(|_| ours.lap(runs)).collect::<Result<Vec<Lap>>>()?;
    at(&mut progress, "comparing ours with the f64 answer");
    let answer = Answer::of(op, &ours.operands);
    let closeness = answer.check(&ours.output, ours::tolerance(element))?;
    let mut our_side = Side::new(Some(ours.variant.clone()), closeness, ours.first_call, runs);
    our_side.set_laps(laps, clock);
    progress.ours = Some(our_side.clone());

    at(&mut progress, "compiling and tuning burn");
    let device = theirs::open(&gpu.info)?;
    let mut theirs = Theirs::new(device, op, element, &ours.operands, ours.sets)?;
    let (first_call, closeness) = theirs.first_call(&answer, element)?;
    let profiled = clock == Clock::Device;
    let their_lap = |theirs: &mut Theirs, runs| if profiled { theirs.profiled_lap(runs) } else { theirs.lap(runs) };
    at(&mut progress, "warming burn up");
    theirs.lap(1)?;
    let their_runs = runs_per_lap(&theirs.lap(1)?, clock);
    their_lap(&mut theirs, their_runs)?;
    let mut their_side = Side::new(None, closeness, first_call, their_runs);

    at(&mut progress, "timing pairs");
    let mut pairs = Vec::new();
    for _ in 0..options.pairs {
        pairs.push((ours.lap(runs)?, their_lap(&mut theirs, their_runs)?));
    }
    let (our_laps, their_laps): (Vec<Lap>, Vec<Lap>) = pairs.iter().copied().unzip();
    our_side.set_laps(our_laps, clock);
    their_side.set_laps(their_laps, clock);
    progress.ours = Some(our_side);
    progress.ratio = ratio(&pairs, clock);
    progress.theirs = Some(their_side);
    at(&mut progress, "reading burn's device clock");
    if !profiled {
        let laps: Vec<f64> =
            (0..PROFILED_LAPS).filter_map(|_| theirs.profiled_lap(their_runs).ok()?.device_s).collect();
        if let Some(side) = progress.theirs.as_mut() {
            side.device_s = (!laps.is_empty()).then(|| median(laps));
        }
    }
    at(&mut progress, "done");
    Ok(())
}

fn deciding_clock(gpu: &Gpu) -> Clock {
    match gpu.info.device_type {
        DeviceType::Software if cfg!(unix) => Clock::Cpu,
        DeviceType::Software => Clock::Wall,
        _ if gpu.has_timestamps() => Clock::Device,
        _ => Clock::Wall,
    }
}

/// Copies that together exceed the last-level cache of a server CPU, or of a large GPU.
fn sets(gpu: &Gpu, bytes: u64) -> u32 {
    let rotation: u64 = if gpu.info.device_type == DeviceType::Software { 64 << 20 } else { 512 << 20 };
    u32::try_from(rotation.div_ceil(bytes.max(1)).clamp(1, 64)).unwrap_or(1)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before the cast")]
fn runs_per_lap(lap: &Lap, clock: Clock) -> u32 {
    let seconds = lap.on(clock).unwrap_or(lap.wall_s);
    (LAP_S / seconds.max(1e-6)).ceil().clamp(1.0, MOST_RUNS) as u32
}

fn ratio(pairs: &[(Lap, Lap)], clock: Clock) -> Option<Ratio> {
    let ratios: Vec<f64> =
        pairs.iter().map(|(ours, theirs)| Some(theirs.on(clock)? / ours.on(clock)?)).collect::<Option<_>>()?;
    (!ratios.is_empty()).then(|| Ratio {
        median: median(ratios.iter().copied()),
        least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        most: ratios.iter().copied().fold(0.0, f64::max),
    })
}

impl Side {
    fn new(variant: Option<String>, closeness: Closeness, first_call: FirstCall, runs_per_lap: u32) -> Self {
        let laps = Vec::new();
        Self { variant, closeness, first_call, runs_per_lap, laps, median_s: 0.0, wall_s: 0.0, device_s: None }
    }

    fn set_laps(&mut self, laps: Vec<Lap>, clock: Clock) {
        self.median_s = median(laps.iter().map(|lap| lap.on(clock).unwrap_or(lap.wall_s)));
        self.wall_s = median(laps.iter().map(|lap| lap.wall_s));
        let device: Option<Vec<f64>> = laps.iter().map(|lap| lap.device_s).collect();
        self.device_s = device.filter(|device| !device.is_empty()).map(median);
        self.laps = laps;
    }
}

/// The storage type by its name.
pub fn element(name: &str) -> Result<StorageType> {
    match name {
        "f32" => Ok(StorageType::F32),
        "f16" => Ok(StorageType::F16),
        _ => Err(anyhow!("--type {name}: f32 or f16")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lap(cpu_s: f64) -> Lap {
        Lap { device_s: None, wall_s: 9.0, cpu_s: Some(cpu_s) }
    }

    #[test]
    fn the_ratio_is_of_each_pair_and_keeps_its_extremes() {
        let pairs = [(lap(1.0), lap(2.0)), (lap(2.0), lap(2.0)), (lap(1.0), lap(5.0))];
        let found = ratio(&pairs, Clock::Cpu).expect("three pairs");
        assert_eq!(found, Ratio { median: 2.0, least: 1.0, most: 5.0 });
        assert_eq!(ratio(&pairs, Clock::Device), None, "a clock that is missing gives no ratio");
    }
}
