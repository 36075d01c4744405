//! Kernels on a real adapter, hardware or software. Without one these tests fail: `make test` installs a software one.

#![cfg(feature = "gpu")]

#[path = "fixture/devices.rs"]
mod devices;

use std::collections::BTreeMap;

use devices::{assert_none, devices, problems, runnable};
use supernode_bench::kernels::cases::{Alike, CaseSpec};
use supernode_bench::kernels::{Plan, StorageType, Tensors};
use supernode_bench::measure::gpu::Gpu;
use supernode_bench::measure::verify::{RunError, once};
use supernode_bench::measure::{Executor, Lap, LaunchError, Prepared};

fn verify(executor: &dyn Executor, case: &CaseSpec) -> Result<(), RunError> {
    let verification = once(executor, &case.case(), 11, u64::MAX)?;
    if verification.passed() { Ok(()) } else { Err(RunError::Wrong(Box::new(verification))) }
}

fn wrong(gpu: &Gpu, case: &CaseSpec) -> Vec<String> {
    Vec::from_iter(verify(gpu, case).err().map(|error| error.to_string()))
}

#[test]
fn every_variant_matches_its_twin_without_runtime_checks() {
    let devices = devices(false);
    assert_none(&problems(devices, &runnable(&devices[0]), wrong));
}

/// One of the cases that run the same shaders in the same types, whatever their constants.
fn one_of_each_shader_and_type(groups: &[Alike]) -> Vec<Alike> {
    let mut chosen: BTreeMap<Vec<(&str, StorageType)>, Alike> = BTreeMap::new();
    for case in groups.iter().flatten() {
        let shaders = case.case().plan().launches.iter().map(|launch| (launch.shader, launch.element)).collect();
        chosen.entry(shaders).or_insert_with(|| vec![case.clone()]);
    }
    chosen.into_values().collect()
}

/// Checks change how a shader's accesses and loops are written, whatever its constants. The whole suite with them is
/// that of a browser: `make web-test`.
#[test]
fn every_shader_and_type_matches_its_twin_with_runtime_checks() {
    let devices = devices(true);
    assert_none(&problems(devices, &one_of_each_shader_and_type(&runnable(&devices[0])), wrong));
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

/// Cases whose faulty results pass.
fn taken_for_right(fault: impl Fn(&Gpu, &CaseSpec) -> Result<(), RunError> + Sync) -> Vec<String> {
    let devices = devices(false);
    problems(devices, &runnable(&devices[0]), |gpu, case| {
        Vec::from_iter(fault(gpu, case).is_ok().then(|| "taken for right".to_owned()))
    })
}

#[test]
fn one_wrong_element_fails_every_case() {
    assert_none(&taken_for_right(|gpu, case| verify(&Miscompiled(gpu), case)));
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
    assert_none(&taken_for_right(|gpu, case| verify(&Idle(gpu), case)));
}

fn results(gpu: &Gpu, case: &CaseSpec) -> Result<Vec<Vec<u8>>, LaunchError> {
    let case = case.case();
    let inputs = case.kernel.inputs(case.variant, case.storage, 11);
    let mut prepared = gpu.prepare(&case.plan(), &inputs, 1)?;
    prepared.run(1)?;
    case.outputs().iter().map(|output| prepared.read(output.name)).collect()
}

#[test]
fn results_are_the_same_bits_in_every_run() {
    let devices = devices(false);
    let some = Vec::from_iter(runnable(&devices[0]).into_iter().map(|alike| vec![alike[0].clone()]));
    let differs = |gpu: &Gpu, case: &CaseSpec| match (results(gpu, case), results(gpu, case)) {
        (Ok(once), Ok(again)) if once == again => Vec::new(),
        (Err(error), _) | (_, Err(error)) => vec![error.to_string()],
        _ => vec!["differs from run to run".to_owned()],
    };
    assert_none(&problems(devices, &some, differs));
}
