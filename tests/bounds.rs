//! No kernel reads or writes beyond its buffers, with wgpu's bounds checks off as kernels are timed: every buffer is grown by
//! a guard of NaNs. A value read from there would spoil the result; a write would change the guard.
//!
//! What this cannot see: reads that are thrown away, and accesses further away than the guard.

#![cfg(feature = "gpu")]

#[path = "fixture/devices.rs"]
mod devices;

use std::cell::RefCell;
use std::collections::BTreeMap;

use devices::{assert_none, devices, problems, runnable};
use supernode_bench::kernels::cases::CaseSpec;
use supernode_bench::kernels::{Kernel, POISON_WORD, Plan, Role, Tensor, Tensors};
use supernode_bench::measure::gpu::Gpu;
use supernode_bench::measure::verify::once;
use supernode_bench::measure::{Executor, Lap, LaunchError, Prepared};

/// Bytes behind each buffer.
const GUARD: usize = 4096;

/// An executor that grows every buffer, and after each run looks whether the guards are whole.
struct Guarded<'a> {
    gpu: &'a Gpu,
    broken: RefCell<Vec<String>>,
}

struct GuardedPlan<'a> {
    inner: Box<dyn Prepared + 'a>,
    sizes: BTreeMap<&'static str, (usize, u32)>,
    broken: &'a RefCell<Vec<String>>,
}

/// Behind inputs: a NaN as f32, as two f16 and as two bf16, out of range as an index, and not what fills outputs, so that
/// a copy of it past an output's end shows.
const INPUT_GUARD: u32 = 0x7FC1_7FC1;

fn repeat(word: u32, bytes: usize) -> impl Iterator<Item = u8> {
    word.to_le_bytes().into_iter().cycle().take(bytes)
}

impl Executor for Guarded<'_> {
    fn prepare(&self, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        let mut plan = plan.clone();
        let mut inputs = inputs.clone();
        let mut sizes = BTreeMap::new();
        for buffer in &mut plan.buffers {
            let size = usize::try_from(buffer.size_bytes).expect("small");
            buffer.size_bytes += GUARD as u64;
            if let (Role::Input, Some(tensor)) = (buffer.role, inputs.get_mut(buffer.name)) {
                // Rounding a size up to 16 is the plan's own affair; the guard begins behind it.
                let mut bytes = tensor.bytes().to_vec();
                bytes.resize(size, 0);
                bytes.extend(repeat(INPUT_GUARD, GUARD));
                *tensor = Tensor::from_bytes(&[], &[], supernode_bench::kernels::TensorType::Index, bytes);
            }
            let guard = if buffer.role == Role::Input { INPUT_GUARD } else { POISON_WORD };
            sizes.insert(buffer.name, (size, guard));
        }
        let inner = self.gpu.prepare(&plan, &inputs, sets)?;
        Ok(Box::new(GuardedPlan { inner, sizes, broken: &self.broken }))
    }
}

impl Prepared for GuardedPlan<'_> {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        let lap = self.inner.run(runs)?;
        for (&name, &(size, guard)) in &self.sizes {
            let bytes = self.inner.read(name)?;
            if !bytes[size..].iter().copied().eq(repeat(guard, GUARD)) {
                self.broken.borrow_mut().push(format!("wrote beyond {name}"));
            }
        }
        Ok(lap)
    }

    fn select(&mut self, launches: Option<std::ops::Range<usize>>) {
        self.inner.select(launches);
    }

    fn read(&mut self, buffer: &str) -> Result<Vec<u8>, LaunchError> {
        let mut bytes = self.inner.read(buffer)?;
        bytes.truncate(self.sizes.get(buffer).map_or(bytes.len(), |&(size, _)| size));
        Ok(bytes)
    }
}

fn beyond(gpu: &Gpu, case: &CaseSpec) -> Vec<String> {
    let guarded = Guarded { gpu, broken: RefCell::new(Vec::new()) };
    let wrong = match once(&guarded, &case.case(), 23, u64::MAX) {
        Ok(verification) if verification.passed() => None,
        Ok(verification) => Some(format!("wrong beside a guard: {verification:?}")),
        Err(error) => Some(error.to_string()),
    };
    let broken = guarded.broken.into_inner();
    broken.into_iter().chain(wrong).collect()
}

#[test]
fn no_variant_reads_or_writes_beyond_its_buffers() {
    let devices = devices(false);
    assert_none(&problems(devices, &runnable(&devices[0]), beyond));
}

#[test]
fn a_kernel_that_is_launched_too_far_is_caught() {
    let gpu = &devices(false)[0];
    let probe = supernode_bench::kernels::probes::CopyProbe { bytes: 1 << 16 };
    let element = supernode_bench::kernels::StorageType::F32;
    let mut plan = probe.plan("probe", element);
    // The shader is told of more invocations than the buffers hold.
    let launch = &mut plan.launches[0];
    launch.grid[0] += 1;
    for (name, value) in &mut launch.params {
        if *name == "invocations" {
            *value += 64;
        }
    }
    let guarded = Guarded { gpu, broken: RefCell::new(Vec::new()) };
    let inputs = probe.inputs("probe", element, 1);
    guarded.prepare(&plan, &inputs, 1).and_then(|mut plan| plan.run(1)).expect("it runs");
    assert_eq!(guarded.broken.into_inner(), ["wrote beyond copy"]);
}
