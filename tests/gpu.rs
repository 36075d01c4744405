//! Kernels on a real adapter, hardware or software. Without one these tests fail: `make test` installs a software one.

#![cfg(feature = "gpu")]

use std::sync::OnceLock;

use supernode_bench::kernels::cases::{CaseSpec, verification_cases};
use supernode_bench::kernels::{KernelCase, Plan, Tensors};
use supernode_bench::measure::gpu::{self, AdapterChoice, Gpu};
use supernode_bench::measure::verify::{RunError, once};
use supernode_bench::measure::{Executor, Lap, LaunchError, Prepared, features};

/// The adapter, opened once with runtime checks and once without: its pipelines, whose compilation takes most of the time
/// of these tests on a software adapter, are shared.
fn open(runtime_checks: bool) -> &'static Gpu {
    static OPENED: [OnceLock<Gpu>; 2] = [const { OnceLock::new() }; 2];
    OPENED[usize::from(runtime_checks)].get_or_init(|| {
        gpu::select(&AdapterChoice::default())
            .and_then(|listed| listed.open(runtime_checks))
            .unwrap_or_else(|error| panic!("these tests need an adapter: {error}"))
    })
}

fn runnable(gpu: &Gpu) -> Vec<CaseSpec> {
    let mut cases = verification_cases();
    cases.retain(|case| {
        let plan = case.kernel.plan(case.variant, case.element);
        features::missing(&plan, &gpu.info).is_none()
    });
    assert!(cases.len() >= 60, "{} cases", cases.len());
    cases
}

fn verify(executor: &dyn Executor, case: &CaseSpec) -> Result<(), RunError> {
    let case = KernelCase { kernel: case.kernel.as_ref(), variant: case.variant, storage: case.element };
    let verification = once(executor, &case, 11, u64::MAX)?;
    if verification.passed() { Ok(()) } else { Err(RunError::Wrong(Box::new(verification))) }
}

fn all_right(gpu: &Gpu) {
    let wrong: Vec<String> = runnable(gpu)
        .iter()
        .filter_map(|case| verify(gpu, case).err().map(|error| format!("{}: {error}", case.id())))
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_variant_matches_its_twin_with_runtime_checks() {
    all_right(open(true));
}

#[test]
fn every_variant_matches_its_twin_without_runtime_checks() {
    all_right(open(false));
}

/// An executor that flips one bit of each output, as a miscompiled shader might.
struct Miscompiled<'a>(&'a Gpu);

struct Flipped<'a>(Box<dyn Prepared + 'a>);

impl Executor for Miscompiled<'_> {
    fn prepare(&self, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        Ok(Box::new(Flipped(self.0.prepare(plan, inputs, sets)?)))
    }
}

impl Prepared for Flipped<'_> {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        self.0.run(runs)
    }

    fn select(&mut self, launches: Option<std::ops::Range<usize>>) {
        self.0.select(launches);
    }

    fn read(&mut self, buffer: &str) -> Result<Vec<u8>, LaunchError> {
        let mut bytes = self.0.read(buffer)?;
        // The highest exponent bit of the first element in f16 and f32 alike, or a wrong index.
        for byte in [1, 3] {
            bytes[byte] ^= 0x40;
        }
        Ok(bytes)
    }
}

#[test]
fn one_wrong_element_fails_every_case() {
    let gpu = open(true);
    let blind: Vec<String> =
        runnable(gpu).iter().filter(|case| verify(&Miscompiled(gpu), case).is_ok()).map(CaseSpec::id).collect();
    assert!(blind.is_empty(), "not noticed:\n{}", blind.join("\n"));
}

/// An executor that never launches: outputs stay poisoned.
struct Idle<'a>(&'a Gpu);

struct Untouched<'a>(Box<dyn Prepared + 'a>);

impl Executor for Idle<'_> {
    fn prepare(&self, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        Ok(Box::new(Untouched(self.0.prepare(plan, inputs, sets)?)))
    }
}

impl Prepared for Untouched<'_> {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        let time = supernode_bench::units::Seconds::new(f64::from(runs));
        Ok(Lap { device: Some(time), wall: time, cpu: None })
    }

    fn select(&mut self, launches: Option<std::ops::Range<usize>>) {
        self.0.select(launches);
    }

    fn read(&mut self, buffer: &str) -> Result<Vec<u8>, LaunchError> {
        self.0.read(buffer)
    }
}

#[test]
fn outputs_that_were_never_written_fail_every_case() {
    let gpu = open(true);
    let blind: Vec<String> =
        runnable(gpu).iter().filter(|case| verify(&Idle(gpu), case).is_ok()).map(CaseSpec::id).collect();
    assert!(blind.is_empty(), "not noticed:\n{}", blind.join("\n"));
}

#[test]
fn results_are_the_same_bits_in_every_run() {
    let gpu = open(false);
    for case in runnable(gpu).iter().step_by(5) {
        let (kernel, variant, element) = (case.kernel.as_ref(), case.variant, case.element);
        let inputs = kernel.inputs(variant, element, 11);
        let once = || -> Vec<Vec<u8>> {
            let mut prepared = gpu.prepare(&kernel.plan(variant, element), &inputs, 1).expect("prepares");
            prepared.run(1).expect("runs");
            kernel.outputs(variant, element).iter().map(|o| prepared.read(o.name).expect("reads")).collect()
        };
        assert!(once() == once(), "{} differs from run to run", case.id());
    }
}
