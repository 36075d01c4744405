//! The roofs of the device, measured in the same run as the kernels.
//!
//! Where a probe can be written or launched in several ways, the fastest is the roof, and the record says which it was. A
//! probe that fails costs its roof and no other: cases are then placed under those that are there.

mod arithmetic;
mod traffic;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::run::{self, KernelCase, RunError};
use super::{Executor, LaunchError, Prepared};
use crate::kernels::{Element, Kernel};
use crate::record::{Ceiling, CeilingKind, Device, DeviceType, LeftOut, Quantity};
use crate::units::Seconds;

/// All roofs, in the order in which they are measured: the cache's end is seen beside the memory's roof.
const KINDS: [CeilingKind; 10] = [
    CeilingKind::Launch,
    CeilingKind::Submit,
    CeilingKind::MemoryRead,
    CeilingKind::MemoryWrite,
    CeilingKind::MemoryCopy,
    CeilingKind::FmaF32,
    CeilingKind::FmaF16,
    CeilingKind::CacheRead,
    CeilingKind::DotI8,
    CeilingKind::MatrixF16,
];
/// Without any of these there is nothing to compare a kernel with.
const BASIC: [CeilingKind; 3] = [CeilingKind::Launch, CeilingKind::MemoryRead, CeilingKind::FmaF32];

/// The measured roofs, and those that this device does not have, with the reason.
#[derive(Debug, Default)]
pub struct Ceilings {
    /// By kind.
    pub found: BTreeMap<CeilingKind, Ceiling>,
    /// Ids are `ceiling/KIND`.
    pub left_out: Vec<LeftOut>,
}

/// Measures one roof after the other and hands each to `found` as soon as it stands. Of the protocol, the sets are chosen
/// by the probes. A device that a probe loses is opened again for the probes after it.
///
/// # Errors
/// [`RunError::Interrupted`]; [`RunError::Launch`] where the device does not come back; the first error where neither f32
/// arithmetic nor reading nor launching could be measured.
pub fn measure(
    executor: &mut Box<dyn Executor>,
    reopen: &mut dyn FnMut() -> Result<Box<dyn Executor>, String>,
    device: &Device,
    protocol: &run::Protocol,
    mut found: impl FnMut(CeilingKind, &Ceiling),
) -> Result<Ceilings, RunError> {
    let mut ceilings = Ceilings::default();
    let mut first = None;
    for kind in KINDS {
        if let Some(reason) = arithmetic::lacks(kind, device) {
            ceilings.left_out.push(left_out(kind, reason));
            continue;
        }
        let bench = Bench { executor: executor.as_ref(), device, protocol: *protocol, roofs: &ceilings.found };
        match bench.roof(kind) {
            Ok(ceiling) => {
                found(kind, &ceiling);
                ceilings.found.insert(kind, ceiling);
            }
            Err(RunError::Interrupted) => return Err(RunError::Interrupted),
            Err(error) => {
                ceilings.left_out.push(left_out(kind, error.to_string()));
                if let RunError::Launch(lost) = &error
                    && lost.ends_the_device()
                {
                    open_again(executor, lost, reopen)?;
                }
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if !BASIC.iter().any(|kind| ceilings.found.contains_key(kind)) => Err(error),
        _ => Ok(ceilings),
    }
}

fn left_out(kind: CeilingKind, reason: String) -> LeftOut {
    LeftOut { id: format!("ceiling/{}", key(kind)), reason }
}

fn open_again(
    executor: &mut Box<dyn Executor>,
    lost: &LaunchError,
    reopen: &mut dyn FnMut() -> Result<Box<dyn Executor>, String>,
) -> Result<(), RunError> {
    let opened = reopen().map_err(|problem| LaunchError::Device(format!("{lost}; {problem}")))?;
    let gone = std::mem::replace(executor, opened);
    if matches!(lost, LaunchError::Hung(_)) {
        // Closing it would wait for the work that never ends.
        std::mem::forget(gone);
    }
    Ok(())
}

/// The kind's name in a document.
fn key(kind: CeilingKind) -> &'static str {
    match kind {
        CeilingKind::FmaF32 => "fma_f32",
        CeilingKind::FmaF16 => "fma_f16",
        CeilingKind::DotI8 => "dot_i8",
        CeilingKind::MatrixF16 => "matrix_f16",
        CeilingKind::MemoryRead => "memory_read",
        CeilingKind::MemoryWrite => "memory_write",
        CeilingKind::MemoryCopy => "memory_copy",
        CeilingKind::CacheRead => "cache_read",
        CeilingKind::Launch => "launch",
        CeilingKind::Submit => "submit",
    }
}

/// Whether nothing more can be tried after this.
fn ends_the_search(error: &RunError) -> bool {
    match error {
        RunError::Interrupted => true,
        RunError::Launch(error) => error.ends_the_device(),
        RunError::Wrong(_) => false,
    }
}

/// What a probe is measured with.
struct Bench<'a> {
    executor: &'a dyn Executor,
    device: &'a Device,
    protocol: run::Protocol<'a>,
    /// Roofs that were measured before.
    roofs: &'a BTreeMap<CeilingKind, Ceiling>,
}

/// A probe and how it is run.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    probe: &'a dyn Kernel,
    variant: &'a str,
    element: Element,
    sets: u32,
}

impl<'a> Attempt<'a> {
    /// On one set of buffers, in the first variant.
    fn of(probe: &'a dyn Kernel, element: Element) -> Self {
        Self { probe, variant: "probe", element, sets: 1 }
    }
}

impl Bench<'_> {
    fn roof(&self, kind: CeilingKind) -> Result<Ceiling, RunError> {
        if self.protocol.interrupted.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        match kind {
            CeilingKind::Launch | CeilingKind::Submit => self.launch(kind),
            CeilingKind::MemoryRead | CeilingKind::MemoryWrite | CeilingKind::MemoryCopy => self.memory(kind),
            CeilingKind::CacheRead => self.cache(),
            CeilingKind::FmaF32 => self.fma(kind, Element::F32),
            CeilingKind::FmaF16 => self.fma(kind, Element::F16),
            CeilingKind::DotI8 => self.dot(),
            CeilingKind::MatrixF16 => self.matrix(),
        }
    }

    fn is_software(&self) -> bool {
        self.device.device_type == DeviceType::Software
    }

    /// Verifies and samples a probe.
    fn measured(&self, kind: CeilingKind, attempt: Attempt) -> Result<Ceiling, RunError> {
        let Attempt { probe, variant, element, sets } = attempt;
        let mut protocol = run::Protocol { sets, ..self.protocol };
        protocol.sampling.runs_per_sample = match kind {
            CeilingKind::Launch => Some(100),
            CeilingKind::Submit => Some(1),
            _ => None,
        };
        if kind == CeilingKind::CacheRead {
            // There are many working sets, and the roof is the fastest of them.
            protocol.sampling.budget = protocol.sampling.budget / 4.0;
        }
        let measured =
            run::verify_and_sample(self.executor, &KernelCase { kernel: probe, variant, element }, &protocol)?;
        let (verification, timing) = (measured.verification, measured.sampled.timing);
        let work = probe.plan(variant, element).work;
        let median = timing.median_s;
        let value = match kind.quantity() {
            Quantity::FlopPerSecond | Quantity::OperationsPerSecond => (work.flop / median).get(),
            Quantity::BytesPerSecond => (work.bytes() / median).get(),
            Quantity::Seconds if kind == CeilingKind::Submit => timing.wall_median_s.get(),
            Quantity::Seconds => median.get(),
        };
        let (form, workgroup, working_set_bytes, last_level_cache) = (None, None, None, None);
        let points = Vec::new();
        Ok(Ceiling { value, work, working_set_bytes, form, workgroup, points, last_level_cache, verification, timing })
    }

    /// A probe ready to run, without its twin.
    fn prepared(&self, attempt: Attempt) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        let Attempt { probe, variant, element, sets } = attempt;
        let inputs = probe.inputs(variant, element, self.protocol.seed);
        self.executor.prepare(&probe.plan(variant, element), &inputs, sets)
    }
}

/// The shortest of a few laps of one run.
fn shortest(prepared: &mut dyn Prepared) -> Result<Seconds, LaunchError> {
    let mut time = Seconds::new(f64::INFINITY);
    for _ in 0..3 {
        let lap = prepared.run(1)?;
        time = time.min(lap.device.unwrap_or(lap.wall));
    }
    Ok(time)
}

#[cfg(test)]
mod tests;
