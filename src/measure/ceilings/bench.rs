//! One probe: verified and sampled, or only timed in a few laps to find the fastest of several.

use std::collections::BTreeMap;

use super::super::clocks;
use super::super::executor::{Executor, LaunchError, Prepared};
use super::super::verify::{self, CaseProtocol, RunError};
use crate::kernels::{Kernel, KernelCase, Made, StorageType};
use crate::record::{Ceiling, CeilingKind, Clock, Device, DeviceType, Quantity};
use crate::units::Seconds;

/// Whether no other form of a probe can be tried after this error.
pub(super) fn ends_the_search(error: &RunError) -> bool {
    match error {
        RunError::Interrupted => true,
        RunError::Launch(error) => error.ends_the_device(),
        RunError::Wrong(_) => false,
    }
}

/// What a probe is measured with.
pub(super) struct ProbeBench<'a> {
    pub(super) executor: &'a dyn Executor,
    pub(super) device: &'a Device,
    pub(super) protocol: CaseProtocol<'a>,
    /// Roofs that were measured before.
    pub(super) roofs: &'a BTreeMap<CeilingKind, Ceiling>,
}

/// A probe and the sets of buffers that it rotates over.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) probe: KernelCase<'a>,
    pub(super) sets: u32,
}

impl<'a> Attempt<'a> {
    /// On one set of buffers, in the first variant.
    pub(super) fn of(kernel: &'a dyn Kernel, storage: StorageType) -> Self {
        Self::of_variant(kernel, "probe", storage)
    }

    /// On one set of buffers.
    pub(super) fn of_variant(kernel: &'a dyn Kernel, variant: &'a str, storage: StorageType) -> Self {
        Self { probe: KernelCase { kernel, variant, storage }, sets: 1 }
    }
}

impl ProbeBench<'_> {
    pub(super) fn is_software(&self) -> bool {
        self.device.device_type == DeviceType::Software
    }

    /// Verifies and samples a probe.
    pub(super) fn measured(&self, kind: CeilingKind, attempt: Attempt) -> Result<Ceiling, RunError> {
        let Attempt { probe, sets } = attempt;
        let mut protocol = CaseProtocol { sets, ..self.protocol };
        protocol.sampling.runs_per_sample = match kind {
            // By a coarse clock that many would be too short.
            CeilingKind::Launch if clocks::caveat(Clock::Device, protocol.sampling.clock_steps).is_none() => Some(100),
            CeilingKind::Submit => Some(1),
            _ => None,
        };
        if kind == CeilingKind::CacheRead {
            // There are many working sets, and the roof is the fastest of them.
            protocol.sampling.budget = protocol.sampling.budget / 4.0;
        }
        let measured = verify::verify_and_sample(self.executor, &probe, &protocol)?;
        let (verification, timing) = (measured.verification, measured.sampled.timing);
        let work = probe.plan().work;
        let median = timing.median_s;
        let value = match kind.quantity() {
            Quantity::FlopPerSecond | Quantity::OperationsPerSecond => (work.flop / median).get(),
            Quantity::BytesPerSecond => (work.bytes() / median).get(),
            Quantity::Seconds if kind == CeilingKind::Submit => timing.wall_median_s.get(),
            Quantity::Seconds => median.get(),
        };
        Ok(Ceiling::of(value, work, verification, timing))
    }

    /// A probe ready to run, without its twin.
    pub(super) fn prepared(&self, attempt: Attempt) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        let Attempt { probe, sets } = attempt;
        let inputs = probe.inputs(&mut Made::default(), self.protocol.seed);
        self.executor.prepare(&probe.plan(), &inputs, sets)
    }
}

/// The shortest of a few laps of one run.
pub(super) fn shortest(prepared: &mut dyn Prepared) -> Result<Seconds, LaunchError> {
    let mut time = Seconds::new(f64::INFINITY);
    for _ in 0..3 {
        let lap = prepared.run(1)?;
        time = time.min(lap.device.unwrap_or(lap.wall));
    }
    Ok(time)
}
