mod losses;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::executor::LaunchError;
use super::super::fake::{self, Failure, Fake, FakeKernel, ScriptStep, VARIANTS};
use super::super::into_record::{document, protocol};
use super::super::options::EFFORT;
use super::super::sampling::{Pace, Sampling};
use super::super::tuning;
use super::super::verify::CaseProtocol;
use super::*;
use crate::kernels::cases::CaseSpec;
use crate::kernels::{Family, Kernel, KernelPhase, StorageType, Target, Work};
use crate::record::{
    Caveat, Ceiling, CeilingKind, Clock, ClockSteps, Device, DeviceType, Journal, Preset, Reference, Selection, Timing,
    Verification, load,
};
use crate::units::Seconds;

const SINGLE: FakeKernel = FakeKernel { name: "single", parts: 0, rows: None };
const LAYER: FakeKernel = FakeKernel { name: "whole", parts: 3, ..SINGLE };
/// Half of its rows take half of the time.
const ROWS: FakeKernel = FakeKernel { name: "rows", rows: Some(8), ..SINGLE };
/// Times of the variants, all above a millisecond, so that one run is a lap.
const TIMES: [f64; 3] = [4e-3, 2e-3, 3e-3];

fn ceiling(value: f64) -> Ceiling {
    let time = Seconds::new(1e-3);
    Ceiling::of(value, Work::default(), Verification::exact(), Timing::of(vec![time]))
}

fn options(selection: Selection) -> Options {
    Options {
        preset: Some(Preset::Smoke),
        seed: 1,
        only: Vec::new(),
        runtime_checks: false,
        resume: false,
        selection,
        tuning_cache: None,
        retune: false,
    }
}

fn record(planned: &[PlannedCase]) -> Record {
    let options = options(Selection::Tuned);
    let ceilings = BTreeMap::new();
    let protocol = protocol(Preset::Smoke, "asked for".to_owned(), Clock::Device, &fake::device(), &ceilings, &options);
    let reference = Reference { invocations: 64, rounds: 1, threshold: 1.1, readings: Vec::new() };
    let mut record = document(&fake::device(), protocol, Some(reference));
    record.planned = planned.iter().map(|case| case.id.clone()).collect();
    // Half of the fastest variant's rate, for the others more than they reach.
    record.ceilings =
        BTreeMap::from([(CeilingKind::FmaF32, ceiling(fake::FLOP / 1.5e-3)), (CeilingKind::MemoryRead, ceiling(1e9))]);
    record
}

/// What happened, and the document.
struct Outcome {
    record: Record,
    events: Vec<String>,
    result: Result<(), SessionError>,
    /// Plans prepared.
    prepared: usize,
    /// How often the device was opened.
    opened: usize,
    /// Runs of each kernel.
    runs: BTreeMap<&'static str, usize>,
}

impl Outcome {
    fn told(&self, part: &str) -> usize {
        self.events.iter().filter(|event| event.contains(part)).count()
    }
}

fn go_with(fake: Fake, kernels: &[FakeKernel], cache: TuningCache, interrupt_after: usize) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let planned = fake::planned(kernels);
    let journal = Journal::create(&folder.path().join("a.json"), record(&planned)).unwrap();
    continue_with(fake, &planned, journal, cache, interrupt_after)
}

fn continue_with(
    fake: Fake,
    planned: &[PlannedCase],
    journal: Journal,
    cache: TuningCache,
    interrupt_after: usize,
) -> Outcome {
    let fake = Rc::new(fake);
    let again = Rc::clone(&fake);
    let mut reopen = || Ok(Box::new(Rc::clone(&again)) as Box<dyn Executor>);
    reopening(&fake, &mut reopen, planned, journal, cache, interrupt_after)
}

fn reopening(
    fake: &Rc<Fake>,
    reopen: &mut dyn FnMut() -> Result<Box<dyn Executor>, String>,
    planned: &[PlannedCase],
    mut journal: Journal,
    mut cache: TuningCache,
    interrupt_after: usize,
) -> Outcome {
    let interrupted = AtomicBool::new(false);
    let mut events = Vec::new();
    let mut done = 0;
    let mut opened = 1;
    let mut tell = |event: Event| {
        done += usize::from(matches!(event, Event::Measured(_)));
        interrupted.store(done >= interrupt_after, Ordering::Relaxed);
        events.push(format!("{event:?}"));
    };
    let mut counted = || {
        opened += 1;
        reopen()
    };
    // As if much time passed between any two cases.
    let interval = Duration::ZERO;
    let mut run =
        RunState { journal: &mut journal, cache: &mut cache, interval, interrupted: &interrupted, tell: &mut tell };
    let result = all(Box::new(Rc::clone(fake)), &mut counted, planned, &mut run);
    Outcome {
        record: journal.record().clone(),
        events,
        result,
        prepared: fake.prepared.get(),
        opened,
        runs: fake.runs.take(),
    }
}

fn go(fake: Fake, kernels: &[FakeKernel]) -> Outcome {
    go_with(fake, kernels, TuningCache::in_memory(), usize::MAX)
}

fn steady() -> Fake {
    Fake::new(|_, variant| TIMES[variant as usize % 3])
}

#[test]
fn the_fastest_variant_is_measured_and_the_record_holds_its_rivals_and_the_regret() {
    let outcome = go(steady(), &[SINGLE]);
    outcome.result.unwrap();
    let case = &outcome.record.cases[0];
    assert_eq!((&*case.id, &*case.variant), ("gating/single/best/f32/m/prefill/n=8", "fast"));
    let tuning = case.tuning.as_ref().unwrap();
    let times: Vec<_> = tuning.candidates.iter().map(|c| (&*c.variant, c.time_s.unwrap().get())).collect();
    assert_eq!(times, [("slow", 4e-3), ("fast", 2e-3), ("middle", 3e-3)]);
    assert_eq!((&*tuning.default_variant, tuning.regret, tuning.cached), ("slow", Some(1.0), false));
    assert!((case.timing.median_s.get() - 2e-3).abs() < 1e-12);
    assert_eq!(case.padding(), Some(1.25));
    assert!(outcome.record.complete);
}

#[test]
fn a_first_run_that_carries_the_drivers_compilation_changes_no_choice() {
    for compilation in [0.01, 0.3, 1.9] {
        let mut fake = steady();
        fake.first_run_s = compilation;
        let case = &go(fake, &[SINGLE]).record.cases[0];
        assert_eq!(case.variant, "fast", "{compilation} s: {:?}", case.tuning);
    }
}

#[test]
fn a_wrong_variant_is_rejected_aloud_and_one_beyond_a_limit_is_only_listed() {
    let mut fake = steady();
    fake.wrong = vec![1];
    fake.refused = BTreeMap::from([(2, LaunchError::TooLarge("more storage than 32768 bytes".to_owned()))]);
    let outcome = go(fake, &[SINGLE]);
    outcome.result.unwrap();
    assert_eq!(outcome.record.cases[0].variant, "slow");
    let rejected: Vec<&str> = outcome.record.rejected.iter().map(|r| &*r.id).collect();
    assert_eq!(rejected, ["gating/single/fast/f32/m/prefill/n=8"]);
    let reasons: Vec<bool> =
        outcome.record.cases[0].tuning.as_ref().unwrap().candidates.iter().map(|c| c.reason.is_some()).collect();
    assert_eq!(reasons, [false, true, true]);
}

#[test]
fn the_two_best_run_in_turn_and_the_record_tells_what_the_other_would_have_cost() {
    let case = &go(steady(), &[SINGLE]).record.cases[0];
    let second = case.tuning.as_ref().unwrap().second.as_ref().unwrap();
    assert_eq!((&*case.variant, &*second.variant), ("fast", "middle"));
    assert!((second.time_ratio - 1.5).abs() < 1e-9 && second.agreement.passed());
}

#[test]
fn a_trial_that_was_wrong_about_the_two_best_is_put_right_before_anything_is_measured() {
    // The third is slower at first, as on a device whose clock rises, and faster from then on.
    let runs = Rc::new(Cell::new(0));
    let fake = Fake::new(move |shader, variant| {
        let of_third = shader == "probe_launch" && variant == 2;
        runs.set(runs.get() + usize::from(of_third));
        if of_third && runs.get() > 14 { 1.6e-3 } else { [4e-3, 2e-3, 2.1e-3][variant as usize % 3] }
    });
    let case = &go(fake, &[SINGLE]).record.cases[0];
    let second = case.tuning.as_ref().unwrap().second.as_ref().unwrap();
    assert_eq!((&*case.variant, &*second.variant), ("middle", "fast"), "{:?}", case.tuning);
    assert!((second.time_ratio - 1.25).abs() < 1e-9, "{}", second.time_ratio);
    assert!((case.timing.median_s.get() - 1.6e-3).abs() < 1e-12);
}

#[test]
fn two_variants_that_differ_where_no_twin_looks_have_no_speed() {
    let mut fake = steady();
    fake.racy = vec![2];
    let outcome = go(fake, &[SINGLE]);
    outcome.result.unwrap();
    assert!(outcome.record.cases.is_empty() && outcome.record.complete);
    let rejected: Vec<&str> = outcome.record.rejected.iter().map(|r| &*r.reason).collect();
    assert!(rejected[0].contains("differs from that of middle") && rejected[1].contains("differs from that of fast"));
    // One that is not among the two best does no harm.
    let mut fake = steady();
    fake.racy = vec![0];
    assert_eq!(go(fake, &[SINGLE]).record.cases[0].variant, "fast");
}

#[test]
fn a_case_that_would_take_long_is_measured_with_fewer_rows_and_says_so() {
    let outcome = go(Fake::new(|_, variant| [0.9, 0.3, 0.5][variant as usize % 3]), &[ROWS]);
    outcome.result.unwrap();
    let record = &outcome.record;
    assert_eq!(record.cases[0].id, "gating/rows/best/f32/m/prefill/n=4");
    assert_eq!(record.left_out[0].id, "gating/rows/best/f32/m/prefill/n=8");
    assert!(
        record.left_out[0].reason.ends_with("see gating/rows/best/f32/m/prefill/n=4"),
        "{}",
        record.left_out[0].reason
    );
    assert!(record.complete);
    // Where nothing can be halved it is left out.
    let outcome = go(Fake::new(|_, _| 0.3), &[SINGLE]);
    assert!(outcome.record.cases.is_empty() && outcome.record.left_out[0].reason.contains("predicted"));
}

#[test]
fn a_pipeline_that_takes_long_to_compile_is_a_finding() {
    let mut fake = steady();
    fake.first_run_s = 3.0;
    let case = &go(fake, &[SINGLE]).record.cases[0];
    let told = |c: &Caveat| matches!(c, Caveat::SlowCompilation { seconds } if (seconds - 3.0).abs() < 0.1);
    assert!(case.caveats.iter().any(told), "{:?}", case.caveats);
}

#[test]
fn a_trial_that_ended_early_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let open = || TuningCache::open(folder.path(), &fake::device(), false).0;
    let run = |first_run_s| {
        let mut fake = steady();
        fake.first_run_s = first_run_s;
        let outcome = go_with(fake, &[SINGLE], open(), usize::MAX);
        outcome.record.cases[0].tuning.clone().unwrap()
    };
    let early = run(12.0);
    assert!(early.candidates.iter().any(|c| c.reason.as_deref().is_some_and(|r| r.starts_with("not tried"))));
    assert!(!run(0.0).cached && run(0.0).cached);
}

#[test]
fn a_variant_that_the_driver_refuses_without_a_limit_is_rejected_aloud() {
    let mut fake = steady();
    fake.refused = BTreeMap::from([(2, LaunchError::Refused("internal compiler error".to_owned()))]);
    assert_eq!(go(fake, &[SINGLE]).record.rejected.len(), 1);
}

#[test]
fn a_case_without_a_right_variant_is_rejected_and_never_timed() {
    let mut fake = steady();
    fake.wrong = vec![0, 1, 2];
    let outcome = go(fake, &[SINGLE]);
    outcome.result.unwrap();
    assert!(outcome.record.cases.is_empty() && outcome.record.complete);
    assert_eq!(outcome.record.rejected.len(), 4, "each variant, and the case");
}

#[test]
fn a_rate_above_a_ceiling_is_flagged_with_the_ceiling_and_not_clamped() {
    let fast = Fake::new(|_, _| 1.2e-3);
    let case = &go(fast, &[SINGLE]).record.cases[0];
    let fraction = case.achieved.fractions[&CeilingKind::FmaF32];
    assert!((fraction - 1.25).abs() < 1e-9);
    assert!(case.caveats.contains(&Caveat::AboveCeiling { ceiling: CeilingKind::FmaF32, fraction }));
    let case = &go(steady(), &[SINGLE]).record.cases[0];
    assert!(!case.caveats.iter().any(|c| matches!(c, Caveat::AboveCeiling { .. })), "{:?}", case.caveats);
}

#[test]
fn the_parts_of_a_layer_are_timed_in_the_same_run() {
    // A launch gap: the whole takes its three launches, and so do the parts together.
    let outcome = go(steady(), &[LAYER]);
    outcome.result.unwrap();
    let case = &outcome.record.cases[0];
    assert_eq!(case.parts.len(), 3);
    assert!(case.parts.iter().all(|part| (part.median_s.get() - 2e-3).abs() < 1e-12 && part.launches == 1));
    assert!((case.parts_sum_s().unwrap() / case.timing.median_s - 1.0).abs() < 1e-9);
}

/// A device on which the reference kernel takes `factor` times as long from its `first` to its `last` run.
fn throttled(first: usize, last: usize, factor: f64) -> Fake {
    let runs = Rc::new(Cell::new(0));
    Fake::new(move |shader, variant| {
        if shader != "probe_fma" {
            return TIMES[variant as usize % 3];
        }
        runs.set(runs.get() + 1);
        if (first..=last).contains(&runs.get()) { 10e-3 * factor } else { 10e-3 }
    })
}

/// The reference runs once when it is prepared, then in each reading once, in three windows of four runs to warm up, and
/// three times; the first three readings judge nothing.
const FIRST_JUDGED: usize = 1 + 3 * (1 + 12 + 3) + 1;
/// Runs of the next reading, whose windows are of three runs where each takes half as long again.
const SLOW_READING: usize = 1 + 9 + 3;

#[test]
fn a_case_beside_a_throttled_reference_is_run_again_once() {
    let outcome = go(throttled(FIRST_JUDGED, FIRST_JUDGED + SLOW_READING - 1, 1.5), &[SINGLE, LAYER]);
    outcome.result.as_ref().unwrap();
    assert_eq!(outcome.told("Repeated"), 1);
    let moved = outcome.record.cases.iter().flat_map(|case| &case.caveats);
    assert_eq!(moved.filter(|c| matches!(c, Caveat::ReferenceMoved { .. })).count(), 0);
    let readings: Vec<f64> =
        outcome.record.reference.unwrap().readings.iter().map(|r| r.median_s.get() * 1e3).collect();
    assert_eq!(readings.len(), 6, "three first ones, the moved one, the one after the repeat, the next case's");
    assert!((readings[3] - 15.0).abs() < 1e-9 && (readings[4] - 10.0).abs() < 1e-9);
}

#[test]
fn a_reference_that_stays_slow_leaves_a_caveat_on_the_case() {
    let outcome = go(throttled(FIRST_JUDGED, usize::MAX, 0.5), &[SINGLE]);
    outcome.result.as_ref().unwrap();
    assert_eq!(outcome.told("Repeated"), 1);
    assert!(outcome.record.cases[0].caveats.contains(&Caveat::ReferenceMoved { ratio: 0.5 }));
}

#[test]
fn a_steady_reference_repeats_nothing() {
    let outcome = go(throttled(1, 0, 1.0), &[SINGLE, LAYER]);
    assert_eq!(outcome.told("Repeated"), 0);
    assert_eq!(outcome.record.reference.unwrap().readings.len(), 5);
}

#[test]
fn a_trial_is_kept_for_the_next_run_and_a_damaged_cache_is_told_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = || TuningCache::open(folder.path(), &fake::device(), false);
    let run = |cache: TuningCache| {
        let outcome = go_with(steady(), &[SINGLE], cache, usize::MAX);
        (outcome.record.cases[0].tuning.clone().unwrap(), outcome.prepared)
    };
    let (cache, note) = open();
    assert_eq!(note, None, "no cache yet is no damage");
    let (first, with_trial) = run(cache);
    let (second, without) = run(open().0);
    assert!(!first.cached && second.cached);
    assert_eq!(with_trial - without, VARIANTS.len());
    assert_eq!((second.candidates, second.regret, second.cost_s), (first.candidates, first.regret, first.cost_s));

    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"\xff\xfe", b"{\"made_by\": 3}"] {
        std::fs::write(&file, damaged).unwrap();
        let (cache, note) = open();
        assert!(note.is_some_and(|note| note.contains("damaged")));
        assert!(!run(cache).0.cached);
        assert!(run(open().0).0.cached, "the next trial takes its place");
    }
}

#[test]
fn a_cache_of_another_driver_or_with_impossible_times_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let run = |device: &Device| {
        let (cache, note) = TuningCache::open(folder.path(), device, false);
        assert_eq!(note, None);
        go_with(steady(), &[SINGLE], cache, usize::MAX).record.cases[0].tuning.clone().unwrap().cached
    };
    assert!(!run(&fake::device()));
    assert!(run(&fake::device()));
    let newer = Device { driver_info: "1.1".to_owned(), ..fake::device() };
    assert!(!run(&newer));
    assert!(run(&newer));
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&file).unwrap().replace("0.002", "-0.002");
    std::fs::write(&file, text).unwrap();
    assert!(!run(&newer));
}

#[test]
fn a_cache_that_cannot_be_written_is_a_note_and_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("not-a-folder");
    std::fs::write(&file, b"x").unwrap();
    let (cache, _) = TuningCache::open(&file.join("below"), &fake::device(), false);
    let outcome = go_with(steady(), &[SINGLE, LAYER], cache, usize::MAX);
    outcome.result.as_ref().unwrap();
    assert_eq!((outcome.record.cases.len(), outcome.told("not kept")), (2, 1));
}

#[test]
fn an_interrupted_run_goes_on_with_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let planned = fake::planned(&[SINGLE, LAYER]);
    let journal = Journal::create(&path, record(&planned)).unwrap();
    let first = continue_with(steady(), &planned, journal, TuningCache::in_memory(), 1);
    assert!(matches!(first.result, Err(SessionError::Interrupted)));
    assert_eq!(first.record.cases.len(), 1);
    let journal = Journal::resume(&path, &record(&planned)).unwrap();
    let second = continue_with(steady(), &planned, journal, TuningCache::in_memory(), usize::MAX);
    second.result.as_ref().unwrap();
    assert_eq!((second.record.cases.len(), second.told("Started")), (2, 1));
    assert_eq!(second.record.cases[0], first.record.cases[0]);
    assert!(second.record.complete);
}

#[test]
fn another_selection_of_variants_is_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let planned = fake::planned(&[SINGLE]);
    Journal::create(&path, record(&planned)).unwrap();
    let mut other = record(&planned);
    other.protocol.selection = Selection::AllVariants;
    let message = Journal::resume(&path, &other).unwrap_err().to_string();
    assert!(message.contains("selection of variants (tuned, now all)"), "{message}");
}

fn names(record: &Record) -> Vec<&str> {
    record.cases.iter().map(|case| &*case.kernel).collect()
}

#[test]
fn a_document_without_a_roof_of_arithmetic_or_a_reference_takes_cases_and_they_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let planned = fake::planned(&[SINGLE, LAYER]);
    let mut bare = record(&planned);
    bare.ceilings.remove(&CeilingKind::FmaF32);
    bare.reference = None;
    let journal = Journal::create(&folder.path().join("a.json"), bare).unwrap();
    let outcome = continue_with(steady(), &planned, journal, TuningCache::in_memory(), usize::MAX);
    outcome.result.unwrap();
    assert_eq!(names(&outcome.record), ["single", "whole"]);
    for case in &outcome.record.cases {
        assert!(case.caveats.contains(&Caveat::MissingCeiling { ceiling: CeilingKind::FmaF32 }), "{:?}", case.caveats);
        assert!(!case.achieved.fractions.contains_key(&CeilingKind::FmaF32));
    }
}

#[test]
fn a_run_on_a_device_whose_arithmetic_cannot_be_measured_takes_the_smallest_preset_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    // No time really passes, and the parts of the run must not take longer than the whole.
    let mut fake = Fake::new(|_, _| 2e-7);
    fake.submit_s = 1e-5;
    let refused = || LaunchError::Refused("no such thing".to_owned());
    let shaders = ["probe_fma", "probe_outer", "probe_cache", "probe_dot"];
    fake.broken = shaders.map(|shader| (shader, refused(), Cell::new(usize::MAX))).to_vec();
    let fake = Rc::new(fake);
    let limits = ["max_storage_buffer_binding_size", "max_buffer_size"].map(|name| (name.to_owned(), 8 << 20));
    let device = Device { limits: limits.into(), device_type: DeviceType::Software, ..fake::device() };
    let mut reopen = || Err("nobody asked".to_owned());
    let executor = Box::new(Rc::clone(&fake));
    let device = OpenDevice { info: &device, has_device_clock: true, executor, reopen: &mut reopen, capacity: None };
    let only = vec!["expert_matmul/combine/gather/f32/qwen3-30b-a3b/decode".to_owned()];
    let options = Options { preset: None, only, selection: Selection::AllVariants, ..options(Selection::Tuned) };
    let mut notes = Vec::new();
    let interrupted = AtomicBool::new(false);
    let record = run(device, &options, &folder.path().join("a.json"), &interrupted, &mut |event| {
        if let Event::Note(note) = event {
            notes.push(note.to_owned());
        }
    })
    .unwrap();
    assert!(record.complete && record.reference.is_none());
    assert_eq!(record.protocol.preset, Preset::Smoke);
    assert!(record.protocol.preset_reason.contains("could not be measured"), "{}", record.protocol.preset_reason);
    let left_out: Vec<&str> = record.left_out.iter().map(|left_out| &*left_out.id).collect();
    for kind in ["fma_f32", "cache_read", "dot_i8"] {
        let id = format!("ceiling/{kind}");
        assert!(left_out.contains(&&*id), "{left_out:?}");
        assert!(notes.iter().any(|note| note.starts_with(&*id)), "{notes:?}");
    }
    assert!(record.ceilings.contains_key(&CeilingKind::MemoryRead));
    // The one case needs larger buffers than this device has.
    assert_eq!((record.planned.len(), record.cases.len(), record.rejected.len()), (1, 0, 0));
}

/// A session on a host that stands still for a second before the runs of the case with these numbers.
fn with_pauses(is_pause: impl Fn(usize) -> bool + 'static) -> Outcome {
    let pause = move |kernel: &str, run| if kernel == SINGLE.name && is_pause(run) { 1.0 } else { 0.0 };
    let mut fake = steady();
    fake.pause = Box::new(pause);
    go(fake, &[SINGLE])
}

#[test]
fn a_case_in_which_the_host_stood_still_is_repeated_and_has_a_caveat_only_if_that_happens_again() {
    let clean = with_pauses(|_| false);
    let caveats = |outcome: &Outcome| outcome.record.cases[0].caveats.clone();
    assert_eq!(clean.told("Paused("), 0);
    // The last run of the case is a sample.
    let runs = clean.runs[SINGLE.name];
    let once = with_pauses(move |run| run == runs);
    assert_eq!((once.told("Paused("), caveats(&once)), (1, caveats(&clean)), "{:?}", once.events);
    let always = with_pauses(move |run| run >= runs);
    assert!(always.result.is_ok());
    let median = |outcome: &Outcome| outcome.record.cases[0].timing.median_s;
    assert_eq!((always.told("Paused("), median(&always)), (1, median(&clean)));
    let paused = caveats(&always).into_iter().filter(|caveat| !caveats(&clean).contains(caveat));
    assert!(matches!(paused.collect::<Vec<_>>()[..], [Caveat::HostPaused { seconds }] if (seconds - 1.0).abs() < 1e-3));
}

#[test]
fn a_trial_is_short_where_nobody_knows_the_roof_of_arithmetic() {
    let kernel = crate::kernels::matmul::Matmul::dense(2048, 2048, 2048);
    let variant = kernel.default_variant(&Target::default());
    let spec = CaseSpec {
        kernel: std::sync::Arc::new(kernel),
        variant,
        element: StorageType::F32,
        family: Family::ExpertMatmul,
        label: "m".to_owned(),
        phase: KernelPhase::Prefill,
        scale_divisor: 1,
    };
    let (id, spec) = (spec.id(), std::sync::Arc::new(spec));
    let case = PlannedCase { spec, id, cache: crate::record::CacheState::Cold, candidates: vec![variant] };
    let mut bare = record(&[]);
    bare.ceilings.clear();
    let interrupted = AtomicBool::new(false);
    let sampling = Sampling {
        target_relative_ci: 1.0,
        budget: Seconds::ZERO,
        runs_per_sample: None,
        pace: Pace::SOFTWARE,
        clock_steps: ClockSteps::default(),
    };
    let protocol = CaseProtocol { seed: 1, sets: 1, effort: EFFORT, sampling, interrupted: &interrupted };
    let choice = tuning::choose(&steady(), &case, &protocol, &bare, &|_, _| None, &mut |_| {}).unwrap();
    // A fifth of a teraflop a second for 20 ms, where the whole takes 17 GFLOP.
    let shape = &choice.tuning.smaller_shape;
    let flop: u64 = 2 * ["tokens", "k", "n"].iter().map(|size| shape[*size]).product::<u64>();
    assert!(flop <= 4_000_000_000, "{shape:?}");
}
