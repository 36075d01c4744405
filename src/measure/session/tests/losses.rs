//! What becomes of a run whose device is lost, hangs or runs out of memory.

use super::*;

const BEFORE: FakeKernel = FakeKernel { name: "before", ..SINGLE };
const BROKEN: FakeKernel = FakeKernel { name: "broken", ..SINGLE };
const AFTER: FakeKernel = FakeKernel { name: "after", parts: 3, ..SINGLE };

/// Three kernels of which the second fails: its variant `variant` at `step`, `times` times.
fn with_fault(variant: u32, step: ScriptStep, error: &LaunchError, times: usize) -> Fake {
    let mut fake = steady();
    fake.faults = vec![Failure { kernel: "broken", variant, step, error: error.clone(), times: Cell::new(times) }];
    fake
}

fn losses() -> [LaunchError; 2] {
    [LaunchError::Device("VK_ERROR_DEVICE_LOST".to_owned()), LaunchError::Hung(Seconds::new(120.0))]
}

#[test]
fn a_device_that_a_variant_loses_or_hangs_at_any_step_is_opened_again_and_the_next_variant_is_tried() {
    for error in losses() {
        for step in [ScriptStep::Prepare, ScriptStep::Run, ScriptStep::Read] {
            let outcome = go(with_fault(1, step, &error, usize::MAX), &[BEFORE, BROKEN, AFTER]);
            outcome.result.unwrap();
            assert_eq!(names(&outcome.record), ["before", "broken", "after"], "{error} at {step:?}");
            assert_eq!((outcome.opened, &*outcome.record.cases[1].variant), (2, "middle"));
            assert_eq!(outcome.record.rejected.len(), 1);
            let rejected = &outcome.record.rejected[0];
            assert_eq!(rejected.id, "gating/broken/fast/f32/m/prefill/n=8");
            assert!(rejected.reason.starts_with(&error.to_string()), "{}", rejected.reason);
            assert!(outcome.record.complete);
        }
    }
}

#[test]
fn a_case_whose_only_variant_loses_the_device_is_rejected_with_the_reason_and_the_rest_is_measured() {
    for error in losses() {
        let folder = tempfile::tempdir().unwrap();
        let mut planned = fake::planned(&[BEFORE, BROKEN, AFTER]);
        planned[1].candidates = vec![VARIANTS[0]];
        let path = folder.path().join("a.json");
        let journal = Journal::create(&path, record(&planned)).unwrap();
        let fake = with_fault(0, ScriptStep::Run, &error, usize::MAX);
        let outcome = continue_with(fake, &planned, journal, TuningCache::in_memory(), usize::MAX);
        outcome.result.unwrap();
        assert_eq!(names(&outcome.record), ["before", "after"]);
        assert_eq!(outcome.record.rejected[0].id, planned[1].id);
        let stored = load(&path).unwrap();
        assert!(stored.complete && stored.rejected[0].reason.contains("opened again"));
    }
}

#[test]
fn a_device_that_does_not_come_back_ends_the_run_and_blames_no_case() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let planned = fake::planned(&[BEFORE, BROKEN, AFTER]);
    let journal = Journal::create(&path, record(&planned)).unwrap();
    let fake = Rc::new(with_fault(0, ScriptStep::Run, &losses()[0], 1));
    let mut gone = || Err("no such device".to_owned());
    let outcome = reopening(&fake, &mut gone, &planned, journal, TuningCache::in_memory(), usize::MAX);
    let error = outcome.result.unwrap_err();
    assert!(error.is_resumable() && error.to_string().ends_with("no such device"), "{error}");
    assert_eq!((names(&outcome.record), outcome.record.rejected.len()), (vec!["before"], 0));
    // The device is back: the same document is completed, with the case in it.
    let journal = Journal::resume(&path, &record(&planned)).unwrap();
    let outcome = continue_with(steady(), &planned, journal, TuningCache::in_memory(), usize::MAX);
    assert_eq!(names(&outcome.record), ["before", "broken", "after"]);
}

#[test]
fn a_device_that_is_lost_again_and_again_ends_the_run() {
    let mut fake = steady();
    let fault = |variant| Failure {
        kernel: "broken",
        variant,
        step: ScriptStep::Run,
        error: losses()[0].clone(),
        times: Cell::new(usize::MAX),
    };
    fake.faults = (0..3).map(fault).collect();
    fake.faults.push(Failure { kernel: "after", ..fault(0) });
    let outcome = go(fake, &[BEFORE, BROKEN, AFTER]);
    let message = outcome.result.unwrap_err().to_string();
    assert!(message.contains("lost 4 times in a row"), "{message}");
    assert_eq!((names(&outcome.record), outcome.opened), (vec!["before"], 4));
}

#[test]
fn memory_that_runs_out_leaves_a_variant_or_a_case_out_and_is_no_fault_of_the_kernel() {
    let error = LaunchError::OutOfMemory("allocation failed".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let (cache, _) = TuningCache::open(folder.path(), &fake::device(), false);
    let outcome = go_with(with_fault(1, ScriptStep::Prepare, &error, 1), &[BROKEN], cache, usize::MAX);
    outcome.result.unwrap();
    assert_eq!((&*outcome.record.cases[0].variant, outcome.record.rejected.len()), ("middle", 0));
    // The next run may find its memory: that choice was not kept.
    let (cache, _) = TuningCache::open(folder.path(), &fake::device(), false);
    let outcome = go_with(steady(), &[BROKEN], cache, usize::MAX);
    assert_eq!(outcome.record.cases[0].variant, "fast");

    let mut fake = with_fault(0, ScriptStep::Prepare, &error, usize::MAX);
    let of = |variant| Failure { variant, ..fake.faults[0].clone() };
    fake.faults = (0..3).map(of).collect();
    let outcome = go(fake, &[BEFORE, BROKEN, AFTER]);
    outcome.result.unwrap();
    assert_eq!((names(&outcome.record), outcome.opened), (vec!["before", "after"], 1));
    assert_eq!(outcome.record.left_out[0].reason, "out of memory: allocation failed");
    assert!(outcome.record.complete && outcome.record.rejected.is_empty());
}
