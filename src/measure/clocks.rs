//! By how much the clocks move at once, and which of them times a run.
//!
//! Browsers round what clocks show, so that no page can spy by time: timestamps to 100 us, the host's clock to 5 us or more.
//! Every time between two readings is then a multiple of that step, which is how it is found.

use std::sync::atomic::{AtomicBool, Ordering};

use super::executor::{Executor, Lap, LaunchError, Prepared};
use crate::kernels::probes::LaunchProbe;
use crate::kernels::{Kernel, StorageType};
use crate::record::{Caveat, Clock, ClockSteps};
use crate::units::Seconds;

/// The probe's laps, by which the steps are found.
const LAPS: u32 = 24;
/// Each of them lasts about this long: many steps of a clock that can be used.
const LAP: Seconds = Seconds::new(2e-3);
/// The most runs of a lap: at first, and where a clock mostly shows nothing.
const FIRST_RUNS: u32 = 512;
const MOST_RUNS: u32 = 8192;
/// Fewer times do not show a step.
const LEAST_TIMES: usize = 12;
/// Steps below this are not told apart from the rounding of times.
const FINEST: Seconds = Seconds::new(40e-9);
/// A time is a multiple of the step within this share of it.
const SLACK: f64 = 0.05;
/// A step is at most this share of a batch.
pub(super) const MOST_SHARE: f64 = 0.01;
/// No batch is made longer than a submission may be.
const LONGEST_BATCH: Seconds = Seconds::new(0.2);
/// A device's clock with a larger step would need batches so long that the wall clock times them as well.
const MOST_DEVICE_STEP: Seconds = Seconds::new(200e-6);

/// Measures the steps of both clocks by empty launches; `None` where that was interrupted.
///
/// # Errors
/// [`LaunchError`] where the device fails.
pub(super) fn steps(executor: &dyn Executor, interrupted: &AtomicBool) -> Result<Option<ClockSteps>, LaunchError> {
    let plan = LaunchProbe.plan("probe", StorageType::F32);
    let mut prepared = executor.prepare(&plan, &LaunchProbe.inputs("probe", StorageType::F32, 1), 1)?;
    prepared.run(1)?;
    let mut runs = 1;
    while runs < FIRST_RUNS && prepared.run(runs)?.wall < LAP {
        runs *= 2;
    }
    let mut laps = laps(prepared.as_mut(), runs, interrupted)?;
    // A clock that mostly shows nothing needs longer laps.
    let is_wanted = || !interrupted.load(Ordering::Relaxed);
    while is_wanted() && runs < MOST_RUNS && laps.iter().filter(|lap| lap.wall.is_positive()).count() < LEAST_TIMES {
        runs *= 4;
        laps = self::laps(prepared.as_mut(), runs, interrupted)?;
    }
    let device: Vec<Seconds> = laps.iter().filter_map(|lap| lap.device).collect();
    let wall: Vec<Seconds> = laps.iter().map(|lap| lap.wall).collect();
    let steps = ClockSteps { device_s: common_step(&device), wall_s: common_step(&wall) };
    Ok(is_wanted().then_some(steps))
}

/// Laps of different lengths, so that a device that is very regular shows the step as well.
fn laps(prepared: &mut dyn Prepared, runs: u32, interrupted: &AtomicBool) -> Result<Vec<Lap>, LaunchError> {
    let wanted = (0..LAPS).take_while(|_| !interrupted.load(Ordering::Relaxed));
    wanted.map(|number| prepared.run(runs + runs * number / LAPS)).collect()
}

/// The largest step that all times are multiples of; `None` where it is too fine to matter, or the times are too few.
fn common_step(times: &[Seconds]) -> Option<Seconds> {
    let times: Vec<Seconds> = times.iter().copied().filter(|time| time.is_positive()).collect();
    if times.len() < LEAST_TIMES {
        return None;
    }
    // Differences are short multiples, so that a step is known well before long ones are divided by it.
    let apart = |(index, time): (usize, &Seconds)| {
        let time = *time;
        times[index + 1..].iter().map(move |other| Seconds::new((time - *other).get().abs())).collect::<Vec<_>>()
    };
    let mut multiples: Vec<Seconds> = times.iter().enumerate().flat_map(apart).filter(|time| *time >= FINEST).collect();
    multiples.extend(&times);
    multiples.sort_by(|a, b| a.get().total_cmp(&b.get()));
    let mut step = *multiples.first()?;
    while step >= FINEST {
        match rest(&multiples, step) {
            Ok(step) => return Some(step),
            // As in Euclid's algorithm. The rest is at most half of the step, so this ends.
            Err(rest) => step = rest,
        }
    }
    None
}

/// The step refined by the longest times, or what is left of the first time that is no multiple of it.
fn rest(ascending: &[Seconds], mut step: Seconds) -> Result<Seconds, Seconds> {
    for &time in ascending {
        let count = (time / step).round().max(1.0);
        let rest = (time - step * count).get().abs();
        if rest > step.get() * SLACK {
            return Err(Seconds::new(rest));
        }
        step = time / count;
    }
    Ok(step)
}

/// Samples by a fine clock of the device are at least this long, so that a tick of it is negligible, and those by the wall
/// clock this long, so that submission and wait are.
pub(super) const fn fine_sample(clock: Clock) -> Seconds {
    match clock {
        Clock::Device => Seconds::new(1e-3),
        Clock::Wall => Seconds::new(20e-3),
    }
}

/// The least time of a batch that `least` is enough for by a fine clock: a step is then at most [`MOST_SHARE`] of it, unless
/// that would take longer than [`LONGEST_BATCH`].
pub(super) fn batch(least: Seconds, step: Option<Seconds>) -> Seconds {
    step.map_or(least, |step| least.max(step / MOST_SHARE).min(LONGEST_BATCH))
}

/// The clock that times samples, where `clock` is the finest that the device has.
pub(super) fn used(clock: Clock, steps: ClockSteps) -> Clock {
    let is_coarse = steps.device_s.is_some_and(|step| step > MOST_DEVICE_STEP);
    if is_coarse { Clock::Wall } else { clock }
}

/// What a reader must know of a device whose finest clock is `clock`: that batches are longer than those by a fine one, or
/// that the wall clock stands in for the device's.
pub(super) fn caveat(clock: Clock, steps: ClockSteps) -> Option<Caveat> {
    let (step, fine) = (steps.of(clock)?, fine_sample(clock));
    let is_coarse = batch(fine, Some(step)) > fine;
    is_coarse.then_some(Caveat::CoarseClock { clock, step_s: step.get(), used: used(clock, steps) })
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::super::sampling::{Pace, Sampled, Sampling, sample};
    use super::*;

    static NOTHING: AtomicBool = AtomicBool::new(false);

    /// A device whose launches never take the same time twice.
    fn device(clock_steps_s: [f64; 2]) -> Fake {
        let mut launches = 0.0;
        let time = move |_: &str, _| {
            launches += 1.0;
            // The fake's launch takes an eighth of what it is told.
            8.0 * 13.7e-6 * (1.0 + 0.02 * f64::sin(launches * launches))
        };
        let mut fake = Fake::new(time);
        fake.clock_steps_s = clock_steps_s;
        fake
    }

    fn found(clock_steps_s: [f64; 2]) -> [Option<f64>; 2] {
        let steps = steps(&device(clock_steps_s), &NOTHING).unwrap().unwrap();
        [steps.device_s, steps.wall_s].map(|step| step.map(Seconds::get))
    }

    #[test]
    fn the_steps_of_both_clocks_are_found_and_fine_clocks_have_none() {
        assert_eq!(found([0.0, 0.0]), [None, None]);
        for [device, wall] in [[100e-6, 5e-6], [65.536e-6, 100e-6], [41.67e-9, 1e-3], [1e-3, 1e-6]] {
            let [seen_device, seen_wall] = found([device, wall]).map(|step| step.unwrap_or_default());
            assert!((seen_device / device - 1.0).abs() < 1e-3, "{seen_device} of {device}");
            assert!((seen_wall / wall - 1.0).abs() < 1e-3, "{seen_wall} of {wall}");
        }
    }

    #[test]
    fn a_step_is_found_in_times_that_are_rounded_to_nanoseconds() {
        let off = |count: u32| Seconds::new((5000.0 * f64::from(count) + f64::from(count % 3) - 1.0) * 1e-9);
        let times: Vec<Seconds> = (400..424).map(|count| off(count * 7 % 1000 + 1)).collect();
        assert!(common_step(&times).is_some_and(|step| (step.get() / 5e-6 - 1.0).abs() < 1e-3));
        assert_eq!(common_step(&times[..LEAST_TIMES - 1]), None, "too few");
    }

    /// Samples of a kernel of 13.7 us by clocks with these steps.
    fn sampled(clock_steps_s: [f64; 2]) -> (Sampled, Option<Caveat>) {
        let fake = device(clock_steps_s);
        let clock_steps = steps(&fake, &NOTHING).unwrap().unwrap();
        let (budget, pace) = (Seconds::new(0.5), Pace::SOFTWARE);
        let sampling = Sampling { target_relative_ci: 0.02, budget, runs_per_sample: None, pace, clock_steps };
        let plan = LaunchProbe.plan("probe", StorageType::F32);
        let mut prepared = fake.prepare(&plan, &LaunchProbe.inputs("probe", StorageType::F32, 1), 1).unwrap();
        let sampled = sample(prepared.as_mut(), 1, &sampling, &NOTHING).unwrap();
        (sampled, caveat(Clock::Device, clock_steps))
    }

    #[test]
    fn timestamps_in_steps_of_a_tenth_of_a_millisecond_are_answered_by_longer_batches() {
        let (fine, nothing) = sampled([0.0, 0.0]);
        assert_eq!((nothing, fine.caveats.len(), fine.timing.clock), (None, 0, Clock::Device));
        let (coarse, told) = sampled([100e-6, 5e-6]);
        let Some(Caveat::CoarseClock { clock: Clock::Device, step_s, used: Clock::Device }) = told else {
            panic!("{told:?}")
        };
        assert!((step_s - 100e-6).abs() < 1e-8);
        let Sampled { timing, caveats, .. } = &coarse;
        assert!(timing.median_s * f64::from(timing.runs_per_sample) >= Seconds::new(9e-3), "{timing:?}");
        assert!((timing.median_s.get() / fine.timing.median_s.get() - 1.0).abs() < 0.02, "{timing:?}");
        assert_eq!((timing.clock, &caveats[..]), (Clock::Device, &[][..]));
    }

    #[test]
    fn timestamps_in_steps_of_a_millisecond_give_way_to_the_wall_clock() {
        let (coarse, told) = sampled([1e-3, 5e-6]);
        assert!(matches!(told, Some(Caveat::CoarseClock { clock: Clock::Device, used: Clock::Wall, .. })), "{told:?}");
        assert_eq!((coarse.timing.clock, &coarse.caveats[..]), (Clock::Wall, &[][..]));
    }

    #[test]
    fn a_batch_that_stays_short_says_so() {
        let (coarse, told) = sampled([1e-3, 16.7e-3]);
        assert!(told.is_some());
        // No batch is longer than 0.2 s, which is 12 steps.
        let short =
            coarse.caveats.iter().any(|c| matches!(c, Caveat::ShortBatch { share } if (0.05..0.2).contains(share)));
        assert!(short, "{:?} {:?}", coarse.caveats, coarse.timing);
    }
}
