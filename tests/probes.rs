//! The probes of the roofs on a real adapter, hardware or software, with runtime checks and without. A roof is only valid if
//! its probe computed the right result.

#![cfg(feature = "gpu")]

#[path = "fixture/device.rs"]
mod device;

use std::sync::atomic::AtomicBool;

use device::open;
use supernode_bench::kernels::probes::{
    CACHE_INVOCATIONS, CacheProbe, CopyProbe, DotProbe, FmaForm, LaunchProbe, MATRIX_WORKGROUP, MatrixProbe, ReadProbe,
    WriteProbe, cache_step,
};
use supernode_bench::kernels::{Kernel, KernelCase, StorageType};
use supernode_bench::measure::gpu::Gpu;
use supernode_bench::measure::sampling::{Pace, Sampling};
use supernode_bench::measure::verify::{self, CaseProtocol};
use supernode_bench::measure::{Executor, features};
use supernode_bench::record::ClockSteps;
use supernode_bench::units::Seconds;

/// Every probe in a size that a software adapter finishes at once.
fn probes() -> Vec<Box<dyn Kernel>> {
    let mut probes: Vec<Box<dyn Kernel>> = vec![
        Box::new(LaunchProbe),
        Box::new(ReadProbe { bytes: 8 << 20 }),
        Box::new(CopyProbe { bytes: 1 << 20 }),
        Box::new(WriteProbe { bytes: 1 << 20 }),
        Box::new(DotProbe { invocations: 1024, rounds: 7 }),
    ];
    for form in FmaForm::ALL {
        // Rounds after which the sums of products differ from one another.
        probes.extend([31, 32, 33].map(|rounds| Box::new(form.probe(1024, rounds)) as Box<dyn Kernel>));
    }
    for invocations in CACHE_INVOCATIONS {
        let bytes = 2 * cache_step(invocations);
        probes.push(Box::new(CacheProbe { bytes, passes: 3, invocations }));
    }
    probes
}

/// Subgroups per workgroup of the matrix probe, as the device reports.
fn subgroups(gpu: &Gpu, size: usize) -> usize {
    let probe = MatrixProbe { size, workgroups: 1, subgroup: 8, rounds: 1 };
    let plan = probe.plan("probe", StorageType::F32);
    let mut prepared = gpu.prepare(&plan, &probe.inputs("probe", StorageType::F32, 1), 1).expect("prepares");
    prepared.run(1).expect("runs");
    prepared.read("ran").expect("reads")[0].into()
}

#[test]
fn every_probe_matches_its_twin_in_every_variant_and_type() {
    for gpu in [open(true), open(false)] {
        let mut probes = probes();
        for size in [8, 16] {
            let probe = MatrixProbe { size, workgroups: 1, subgroup: 8, rounds: 1 };
            match features::missing(&probe.plan("probe", StorageType::F32), &gpu.info) {
                Some(reason) => println!("not run, matrices of {size}: {reason}"),
                None => {
                    let subgroup = MATRIX_WORKGROUP / subgroups(&gpu, size);
                    probes.push(Box::new(MatrixProbe { size, workgroups: 5, subgroup, rounds: 3 }));
                }
            }
        }
        for probe in &probes {
            for &element in probe.elements() {
                for variant in probe.variants() {
                    if features::missing(&probe.plan(variant, element), &gpu.info).is_some() {
                        continue;
                    }
                    let verification = verify::once(
                        &gpu,
                        &KernelCase { kernel: probe.as_ref(), variant, storage: element },
                        9,
                        u64::MAX,
                    )
                    .unwrap_or_else(|error| panic!("{probe:?} {variant} {element}: {error}"));
                    assert!(verification.passed(), "{probe:?} {variant} {element}: {verification:?}");
                }
            }
        }
    }
}

#[test]
fn streams_over_several_sets_of_buffers_are_right_and_timed() {
    let gpu = open(false);
    let interrupted = AtomicBool::new(false);
    let (budget, pace) = (Seconds::ZERO, Pace::SOFTWARE);
    let sampling = Sampling {
        target_relative_ci: 1.0,
        budget,
        runs_per_sample: Some(5),
        pace,
        clock_steps: ClockSteps::default(),
    };
    let protocol = CaseProtocol { seed: 3, sets: 3, effort: u64::MAX, sampling, interrupted: &interrupted };
    let bytes = 8 << 20;
    let probes: [Box<dyn Kernel>; 3] =
        [Box::new(ReadProbe { bytes }), Box::new(CopyProbe { bytes }), Box::new(WriteProbe { bytes })];
    for probe in &probes {
        let case = KernelCase { kernel: probe.as_ref(), variant: "probe", storage: StorageType::F32 };
        let measured = verify::verify_and_sample(&gpu, &case, &protocol);
        let measured = measured.unwrap_or_else(|error| panic!("{probe:?}: {error}"));
        assert_eq!(measured.sampled.timing.buffer_sets, 3);
        assert!(measured.sampled.timing.median_s.is_positive());
    }
}
