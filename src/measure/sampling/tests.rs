use super::*;

/// Gives the scripted lap times, then the last one for ever.
struct Script {
    device_s: Vec<Option<f64>>,
    next: usize,
    runs: Vec<u32>,
    /// What the device's clock shows for a second.
    rate: f64,
    /// The host's time, and how long the host stands still before the laps with these numbers.
    now: f64,
    pauses: Vec<(usize, f64)>,
    /// Time that a lap takes the host longer, likewise.
    waits: Vec<(usize, f64)>,
}

impl Script {
    fn new(device_s: &[f64]) -> Self {
        Self {
            device_s: device_s.iter().copied().map(Some).collect(),
            next: 0,
            runs: Vec::new(),
            rate: 1.0,
            now: 0.0,
            pauses: Vec::new(),
            waits: Vec::new(),
        }
    }
}

impl Prepared for Script {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        let device = self.device_s[self.next.min(self.device_s.len() - 1)];
        self.next += 1;
        self.runs.push(runs);
        let time = device.unwrap_or(1e-3) * f64::from(runs);
        let of_lap = |all: &[(usize, f64)]| all.iter().filter(|(lap, _)| *lap == self.next).map(|(_, time)| time).sum();
        let (pause, wait): (f64, f64) = (of_lap(&self.pauses), of_lap(&self.waits));
        let wall = time + 1e-4 + wait;
        self.now += pause + wall;
        Ok(Lap {
            device: device.map(|_| Seconds::new(time * self.rate)),
            wall: Seconds::new(wall),
            cpu: Some(Seconds::new(time)),
        })
    }

    fn now(&self) -> Seconds {
        Seconds::new(self.now)
    }

    fn select(&mut self, _launches: Option<std::ops::Range<usize>>) {}

    fn read(&mut self, _buffer: &str) -> Result<Vec<u8>, LaunchError> {
        Ok(Vec::new())
    }
}

/// A device that runs at a third of its clock until it was busy for some time.
struct Ramp {
    busy: f64,
    after: f64,
    longest: f64,
}

impl Prepared for Ramp {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        let slow = if self.busy < self.after { 3.0 } else { 1.0 };
        let time = 1e-3 * slow * f64::from(runs);
        self.busy += time;
        self.longest = self.longest.max(time);
        Ok(Lap { device: Some(Seconds::new(time)), wall: Seconds::new(time + 1e-4), cpu: None })
    }

    fn select(&mut self, _launches: Option<std::ops::Range<usize>>) {}

    fn read(&mut self, _buffer: &str) -> Result<Vec<u8>, LaunchError> {
        Ok(Vec::new())
    }
}

#[test]
fn a_clock_that_takes_a_quarter_of_a_second_to_rise_is_waited_for() {
    for after in [0.01, 0.1, 0.25] {
        let mut ramp = Ramp { busy: 0.0, after, longest: 0.0 };
        let sampling = Sampling { pace: Pace::HARDWARE, ..SAMPLING };
        let sampled = sample(&mut ramp, 1, &sampling, &AtomicBool::new(false)).unwrap();
        assert!(sampled.timing.samples_s.iter().all(|s| (s.get() - 1e-3).abs() < 1e-9), "after {after}");
        let total: f64 = sampled.timing.samples_s.iter().map(|s| s.get()).sum();
        assert!(total >= 0.1 - 1e-9, "{total} s of samples");
        assert!(ramp.longest <= 0.04, "a submission of {} s", ramp.longest);
    }
}

const SAMPLING: Sampling = Sampling {
    target_relative_ci: 0.02,
    budget: Seconds::new(0.5),
    runs_per_sample: None,
    pace: Pace::SOFTWARE,
    clock_steps: ClockSteps { device_s: None, wall_s: None },
};

fn go(script: &mut Script) -> Sampled {
    sample(script, 3, &SAMPLING, &AtomicBool::new(false)).unwrap()
}

#[test]
fn a_steady_kernel_needs_six_samples_and_has_no_caveat() {
    let sampled = go(&mut Script::new(&[2e-3]));
    assert_eq!(sampled.timing.samples_s.len(), 6);
    assert_eq!(sampled.timing.runs_per_sample, 1);
    assert_eq!(sampled.timing.buffer_sets, 3);
    assert_eq!(sampled.caveats, []);
}

#[test]
fn a_short_kernel_is_run_many_times_a_sample() {
    let sampled = go(&mut Script::new(&[10e-6]));
    assert_eq!(sampled.timing.runs_per_sample, 100);
    assert!((sampled.timing.median_s.get() - 10e-6).abs() < 1e-12, "the time is of one run");
}

#[test]
fn warming_up_goes_on_until_two_laps_agree() {
    let sampled = go(&mut Script::new(&[9e-3, 7e-3, 5e-3, 3e-3, 2e-3, 2e-3]));
    assert_eq!(sampled.timing.warmup_runs, 6);
    assert!(sampled.timing.samples_s.iter().all(|s| (s.get() - 2e-3).abs() < 1e-9));
}

#[test]
fn noise_spends_the_budget_and_is_said() {
    let noisy: Vec<f64> = (0..500).map(|i| 4e-3 * (1.0 + 0.5 * f64::from(i * 7 % 5))).collect();
    let sampled = go(&mut Script::new(&noisy));
    assert!(sampled.timing.samples_s.len() > 20);
    assert!(sampled.caveats.iter().any(|c| matches!(c, Caveat::Noisy { .. })), "{:?}", sampled.caveats);
}

#[test]
fn a_clock_that_wraps_costs_one_lap_and_not_the_case() {
    let mut script = Script::new(&[2e-3; 30]);
    script.device_s[5] = None;
    let sampled = go(&mut script);
    assert_eq!(sampled.timing.clock, Clock::Device);
    assert!(sampled.timing.samples_s.iter().all(|s| (s.get() - 2e-3).abs() < 1e-9));
    assert_eq!(sampled.caveats, []);
}

#[test]
fn many_missing_timestamps_turn_the_case_to_the_wall_clock() {
    let mut script = Script::new(&[1e-3; 30]);
    for index in (0..30).step_by(2) {
        script.device_s[index] = None;
    }
    let sampled = go(&mut script);
    assert_eq!(sampled.timing.clock, Clock::Wall);
    assert!(sampled.caveats.contains(&Caveat::WallClock));
    assert!(sampled.timing.samples_s[0].get() > 1e-3, "wall time includes submission");
}

fn with_clock_rate(time_s: f64, rate: f64) -> Sampled {
    let mut script = Script::new(&[time_s]);
    script.rate = rate;
    go(&mut script)
}

#[test]
fn a_device_clock_that_runs_too_fast_or_too_slow_gives_way_to_the_wall_clock() {
    for rate in [1.5, 1000.0, 0.1, 0.001] {
        for time_s in [30e-3, 2e-3, 50e-6] {
            let sampled = with_clock_rate(time_s, rate);
            assert_eq!(sampled.timing.clock, Clock::Wall, "{time_s} at {rate}");
            let told = sampled
                .caveats
                .iter()
                .any(|c| matches!(c, Caveat::ClocksDisagree { ratio } if (*ratio > 1.0) == (rate > 1.0)));
            assert!(told, "{time_s} at {rate}: {:?}", sampled.caveats);
            let error = sampled.timing.median_s.get() / time_s - 1.0;
            assert!((0.0..0.1).contains(&error), "{time_s} at {rate}: wall time with its overhead, {error}");
        }
    }
}

#[test]
fn a_short_kernel_in_a_slow_queue_keeps_the_device_clock() {
    // 2 us of work and 100 us of submission: the wall clock says little about the kernel.
    let sampled = with_clock_rate(2e-6, 1.0);
    assert_eq!(sampled.timing.clock, Clock::Device);
    assert_eq!(sampled.caveats, []);
}

#[test]
fn an_interrupt_ends_sampling() {
    let result = sample(&mut Script::new(&[1e-3]), 1, &SAMPLING, &AtomicBool::new(true));
    assert_eq!(result.unwrap_err(), SamplingError::Interrupted);
}

#[test]
fn a_pause_of_the_host_is_seen_between_laps_and_within_one_and_a_slow_device_is_none() {
    let paused = |pauses: &[(usize, f64)], waits: &[(usize, f64)], device_s: &[f64]| {
        let mut script = Script::new(device_s);
        (script.pauses, script.waits) = (pauses.to_vec(), waits.to_vec());
        go(&mut script).paused.map(Seconds::get)
    };
    let steady = [2e-3; 20];
    let mut slow = steady;
    slow[6] = 1.5;
    assert_eq!(paused(&[], &[], &steady), None);
    assert_eq!(paused(&[], &[], &slow), None, "the device explains it");
    let near = |found: Option<f64>| found.is_some_and(|found| (found - 1.0).abs() < 1e-3);
    assert!(near(paused(&[(6, 1.0)], &[], &steady)));
    assert!(near(paused(&[], &[(6, 1.0)], &steady)));
    assert_eq!(paused(&[(6, 0.1)], &[(7, 0.1)], &steady), None, "a busy computer");
    // Without a device clock the other laps tell what is usual.
    let mut blind = Script { device_s: vec![None; 20], waits: vec![(6, 1.0)], ..Script::new(&[]) };
    assert!(near(go(&mut blind).paused.map(Seconds::get)));
}
