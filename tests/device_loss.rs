//! What becomes of a device on a real adapter: lost, hung, and its buffers before anything wrote to them.

#![cfg(feature = "gpu")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "fixture/device.rs"]
mod device;

use std::time::Duration;

use device::open;
use supernode_bench::kernels::probes::{FmaForm, FmaProbe, LaunchProbe};
use supernode_bench::kernels::{Kernel, POISON_WORD, StorageType};
use supernode_bench::measure::gpu::Gpu;
use supernode_bench::measure::{Executor, LaunchError, Prepared};

/// Multiply-adds for some hundred milliseconds on a software adapter.
const LONG: FmaProbe = FmaForm::Chains.probe(1 << 16, 512);

fn prepare<'a>(gpu: &'a Gpu, probe: &dyn Kernel) -> Result<Box<dyn Prepared + 'a>, LaunchError> {
    let plan = probe.plan("probe", StorageType::F32);
    gpu.prepare(&plan, &probe.inputs("probe", StorageType::F32, 1), 1)
}

#[test]
fn a_lost_device_differs_from_a_refused_launch_and_another_opening_works() {
    let gpu = open(false);
    let mut prepared = prepare(&gpu, &LaunchProbe).unwrap();
    prepared.run(1).unwrap();
    gpu.destroy();
    let error = prepared.run(1).unwrap_err();
    assert!(matches!(error, LaunchError::Device(_)), "{error:?}");
    let error = prepare(&gpu, &LaunchProbe).err();
    assert!(matches!(error, Some(LaunchError::Device(_))), "{error:?}");
    prepare(&open(false), &LaunchProbe).unwrap().run(1).unwrap();
}

#[test]
fn a_device_that_does_not_answer_in_time_is_given_up_and_another_opening_works() {
    let mut gpu = open(false);
    // Enough for the upload.
    gpu.patience = Duration::from_millis(100);
    let error = prepare(&gpu, &LONG).unwrap().run(1000).unwrap_err();
    assert!(matches!(error, LaunchError::Hung(_)), "{error:?}");
    // As a session does: closing it would wait.
    std::mem::forget(gpu);
    prepare(&open(false), &LaunchProbe).unwrap().run(1).unwrap();
}

#[test]
fn buffers_that_nothing_wrote_hold_poison_to_their_last_word() {
    // Buffers are poisoned from blocks of 4 MiB: sizes at, around and over several of them.
    const BLOCK: u64 = 4 << 20;
    let gpu = open(false);
    for size in [4, 16, BLOCK - 4, BLOCK, BLOCK + 4, 3 * BLOCK + 20] {
        let mut plan = LaunchProbe.plan("probe", StorageType::F32);
        plan.buffers[1].size_bytes = size;
        let inputs = LaunchProbe.inputs("probe", StorageType::F32, 1);
        let bytes = gpu.prepare(&plan, &inputs, 1).unwrap().read("echo").unwrap();
        assert_eq!(bytes.len() as u64, size);
        assert!(bytes.as_chunks().0.iter().all(|word| u32::from_le_bytes(*word) == POISON_WORD), "{size}");
    }
}
