//! The roofs of the device, measured in the same run as the kernels.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::run::{self, RunError};
use super::sampling::Sampling;
use super::{Executor, Prepared};
use crate::kernels::probes::Probe;
use crate::kernels::{Element, Kernel};
use crate::record::{Ceiling, CeilingKind, Device};
use crate::units::Seconds;

/// A probe of arithmetic should take this long: past any launch cost, far from a watchdog.
const FMA_TIME: Seconds = Seconds::new(10e-3);
/// Enough threads to fill any device of today.
const MAX_INVOCATIONS: usize = 1 << 19;
const MAX_ROUNDS: usize = 1 << 14;

/// Measures one roof after the other and hands each to `found` as soon as it stands.
///
/// # Errors
/// [`RunError`] where a probe fails: without roofs there is nothing to compare a kernel with.
pub fn measure(
    executor: &dyn Executor,
    device: &Device,
    seed: u64,
    sampling: &Sampling,
    interrupted: &AtomicBool,
    mut found: impl FnMut(CeilingKind, &Ceiling),
) -> Result<BTreeMap<CeilingKind, Ceiling>, RunError> {
    let mut ceilings = BTreeMap::new();
    for (kind, probe, element) in probes(executor, device, seed)? {
        let sampling = Sampling {
            runs_per_sample: match kind {
                CeilingKind::Launch => Some(100),
                CeilingKind::Submit => Some(1),
                _ => None,
            },
            ..*sampling
        };
        let ceiling = ceiling(executor, kind, &probe, element, seed, &sampling, interrupted)?;
        found(kind, &ceiling);
        ceilings.insert(kind, ceiling);
    }
    Ok(ceilings)
}

fn probes(executor: &dyn Executor, device: &Device, seed: u64) -> Result<Vec<(CeilingKind, Probe, Element)>, RunError> {
    let limit = |name: &str| device.limits.get(name).copied().unwrap_or(128 << 20);
    let bytes = limit("max_storage_buffer_binding_size").min(limit("max_buffer_size")).min(256 << 20);
    let bytes = usize::try_from(bytes).unwrap_or(128 << 20);
    let mut probes = vec![
        (CeilingKind::Launch, Probe::Launch, Element::F32),
        (CeilingKind::Submit, Probe::Launch, Element::F32),
        (CeilingKind::MemoryRead, Probe::Read { bytes }, Element::F32),
        (CeilingKind::MemoryCopy, Probe::Copy { bytes }, Element::F32),
        (CeilingKind::FmaF32, fma_probe(executor, Element::F32, seed)?, Element::F32),
    ];
    if device.features.iter().any(|feature| feature == "shader_f16") {
        probes.push((CeilingKind::FmaF16, fma_probe(executor, Element::F16, seed)?, Element::F16));
    }
    Ok(probes)
}

fn ceiling(
    executor: &dyn Executor,
    kind: CeilingKind,
    probe: &Probe,
    element: Element,
    seed: u64,
    sampling: &Sampling,
    interrupted: &AtomicBool,
) -> Result<Ceiling, RunError> {
    let measured = run::verify_and_sample(executor, probe, "probe", element, seed, 1, u64::MAX, sampling, interrupted)?;
    let work = probe.plan("probe", element).work;
    let median = measured.sampled.timing.median_s;
    let value = match kind {
        CeilingKind::FmaF32 | CeilingKind::FmaF16 => (work.flop / median).get(),
        CeilingKind::MemoryRead | CeilingKind::MemoryCopy => (work.bytes() / median).get(),
        CeilingKind::Launch => median.get(),
        CeilingKind::Submit => measured.sampled.timing.wall_median_s.get(),
    };
    Ok(Ceiling { value, work, verification: measured.verification, timing: measured.sampled.timing })
}

/// Finds a size that takes [`FMA_TIME`]: threads first, until the device is full, then rounds.
fn fma_probe(executor: &dyn Executor, element: Element, seed: u64) -> Result<Probe, RunError> {
    let (mut invocations, mut rounds) = (4096, 32);
    loop {
        let probe = Probe::Fma { invocations, rounds };
        let plan = probe.plan("probe", element);
        let mut prepared = executor.prepare(&plan, &probe.inputs("probe", element, seed), 1)?;
        let time = shortest(prepared.as_mut())?;
        if time >= FMA_TIME || rounds >= MAX_ROUNDS {
            return Ok(probe);
        }
        if invocations < MAX_INVOCATIONS {
            invocations *= 4;
            invocations = invocations.min(MAX_INVOCATIONS);
        } else {
            rounds *= 4;
        }
    }
}

fn shortest(prepared: &mut dyn Prepared) -> Result<Seconds, RunError> {
    let mut time = Seconds::new(f64::INFINITY);
    for _ in 0..3 {
        let lap = prepared.run(1)?;
        time = time.min(lap.device.unwrap_or(lap.wall));
    }
    Ok(time)
}
