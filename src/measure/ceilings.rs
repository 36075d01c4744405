//! The roofs of the device, measured in the same run as the kernels.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::run::{self, KernelCase, RunError};
use super::sampling::Sampling;
use super::{Executor, Prepared, launch};
use crate::kernels::probes::Probe;
use crate::kernels::unit_probes::{MIN_CACHE_BYTES, UnitProbe};
use crate::kernels::{Element, Kernel};
use crate::record::{Ceiling, CeilingKind, Device, LeftOut, Quantity};
use crate::units::{Bytes, Seconds};

/// A probe of arithmetic should take this long: past any launch cost, far from a watchdog.
const ARITHMETIC_TIME: Seconds = Seconds::new(10e-3);
/// Enough threads to fill any device of today.
const MAX_INVOCATIONS: usize = 1 << 19;
/// Subgroups that do.
const MAX_SUBGROUPS: usize = 1 << 14;
const MAX_ROUNDS: usize = 1 << 14;
/// Working sets that are read for the cache's roof: from what the caches of single cores no longer hold whole to what
/// the last-level caches of today's large devices still do.
const CACHE_BYTES: [usize; 5] = [2 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20];
/// What a cache probe reads in all.
const CACHE_TRAFFIC: usize = 128 << 20;

/// The measured roofs, and those that this device does not have, with the reason.
#[derive(Debug, Default)]
pub struct Ceilings {
    /// By kind.
    pub found: BTreeMap<CeilingKind, Ceiling>,
    /// Ids are `ceiling/KIND`.
    pub left_out: Vec<LeftOut>,
}

/// A roof to measure: its kind, the probe, and the type that it runs in.
type Planned = (CeilingKind, Box<dyn Kernel>, Element);

/// Measures one roof after the other and hands each to `found` as soon as it stands.
///
/// # Errors
/// [`RunError`] where a probe of the basic roofs fails: without roofs there is nothing to compare a kernel with.
pub fn measure(
    executor: &dyn Executor,
    device: &Device,
    seed: u64,
    sampling: &Sampling,
    interrupted: &AtomicBool,
    mut found: impl FnMut(CeilingKind, &Ceiling),
) -> Result<Ceilings, RunError> {
    let mut ceilings = Ceilings::default();
    let mut protocol = run::Protocol { seed, sets: 1, effort: u64::MAX, sampling: *sampling, interrupted };
    for (kind, probe, element) in probes(executor, device, seed)? {
        protocol.sampling.runs_per_sample = match kind {
            CeilingKind::Launch => Some(100),
            CeilingKind::Submit => Some(1),
            _ => None,
        };
        let ceiling = ceiling(executor, kind, &*probe, element, &protocol)?;
        found(kind, &ceiling);
        ceilings.found.insert(kind, ceiling);
    }
    protocol.sampling.runs_per_sample = None;
    let mut unit = |kind: CeilingKind, measured: Result<Ceiling, RunError>| match measured {
        Ok(ceiling) => {
            found(kind, &ceiling);
            ceilings.found.insert(kind, ceiling);
            Ok(())
        }
        Err(RunError::Interrupted) => Err(RunError::Interrupted),
        Err(error) => {
            ceilings.left_out.push(LeftOut { id: format!("ceiling/{}", key(kind)), reason: error.to_string() });
            Ok(())
        }
    };
    unit(CeilingKind::CacheRead, cache(executor, &protocol))?;
    unit(CeilingKind::DotI8, dot(executor, &protocol))?;
    match matrix_probe(device) {
        Err(reason) => ceilings.left_out.push(LeftOut { id: "ceiling/matrix_f16".to_owned(), reason }),
        Ok(probe) => unit(CeilingKind::MatrixF16, matrix(executor, probe, &protocol))?,
    }
    Ok(ceilings)
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

fn probes(executor: &dyn Executor, device: &Device, seed: u64) -> Result<Vec<Planned>, RunError> {
    let limit = |name: &str| device.limits.get(name).copied().unwrap_or(128 << 20);
    let bytes = limit("max_storage_buffer_binding_size").min(limit("max_buffer_size")).min(256 << 20);
    let bytes = usize::try_from(bytes).unwrap_or(128 << 20);
    let fma = |element| {
        let probe = |invocations, rounds| Probe::Fma { invocations, rounds };
        sized(executor, probe, [4096, MAX_INVOCATIONS], 32, element, seed)
    };
    let mut probes: Vec<Planned> = vec![
        (CeilingKind::Launch, Box::new(Probe::Launch), Element::F32),
        (CeilingKind::Submit, Box::new(Probe::Launch), Element::F32),
        (CeilingKind::MemoryRead, Box::new(Probe::Read { bytes }), Element::F32),
        (CeilingKind::MemoryWrite, Box::new(UnitProbe::Write { bytes }), Element::F32),
        (CeilingKind::MemoryCopy, Box::new(Probe::Copy { bytes }), Element::F32),
        (CeilingKind::FmaF32, Box::new(fma(Element::F32)?), Element::F32),
    ];
    if device.features.iter().any(|feature| feature == "shader_f16") {
        probes.push((CeilingKind::FmaF16, Box::new(fma(Element::F16)?), Element::F16));
    }
    Ok(probes)
}

fn ceiling(
    executor: &dyn Executor,
    kind: CeilingKind,
    probe: &dyn Kernel,
    element: Element,
    protocol: &run::Protocol,
) -> Result<Ceiling, RunError> {
    let measured =
        run::verify_and_sample(executor, &KernelCase { kernel: probe, variant: "probe", element }, protocol)?;
    let work = probe.plan("probe", element).work;
    let median = measured.sampled.timing.median_s;
    let value = match kind.quantity() {
        Quantity::FlopPerSecond | Quantity::OperationsPerSecond => (work.flop / median).get(),
        Quantity::BytesPerSecond => (work.bytes() / median).get(),
        Quantity::Seconds if kind == CeilingKind::Submit => measured.sampled.timing.wall_median_s.get(),
        Quantity::Seconds => median.get(),
    };
    let (verification, timing) = (measured.verification, measured.sampled.timing);
    Ok(Ceiling { value, work, working_set_bytes: None, verification, timing })
}

/// The fastest of several working sets: the largest cache that answers.
fn cache(executor: &dyn Executor, protocol: &run::Protocol) -> Result<Ceiling, RunError> {
    let mut best: Option<Ceiling> = None;
    for bytes in CACHE_BYTES {
        debug_assert!(bytes % MIN_CACHE_BYTES == 0 && bytes.is_power_of_two());
        let probe = UnitProbe::Cache { bytes, passes: CACHE_TRAFFIC / bytes };
        let mut found = ceiling(executor, CeilingKind::CacheRead, &probe, Element::F32, protocol)?;
        found.working_set_bytes = Some(Bytes::new(bytes as f64));
        if best.as_ref().is_none_or(|best| found.value > best.value) {
            best = Some(found);
        }
    }
    best.ok_or(RunError::Interrupted)
}

fn dot(executor: &dyn Executor, protocol: &run::Protocol) -> Result<Ceiling, RunError> {
    let probe = |invocations, rounds| UnitProbe::Dot { invocations, rounds };
    let probe = sized(executor, probe, [4096, MAX_INVOCATIONS], 1, Element::F32, protocol.seed)?;
    ceiling(executor, CeilingKind::DotI8, &probe, Element::F32, protocol)
}

/// A probe of the largest f16 matrices that the adapter multiplies into f32 sums, or why there is none.
fn matrix_probe(device: &Device) -> Result<UnitProbe, String> {
    let subgroup = device.limits.get("max_subgroup_size").copied().unwrap_or(32);
    let subgroup = usize::try_from(subgroup).unwrap_or(32).max(1);
    let mut reason = String::new();
    for size in [16, 8] {
        let probe = UnitProbe::Matrix { size, workgroups: 64, subgroup, rounds: 8 };
        match launch::missing(&probe.plan("probe", Element::F32), device) {
            None => return Ok(probe),
            Some(missing) if reason.is_empty() => reason = missing,
            Some(_) => {}
        }
    }
    Err(reason)
}

fn matrix(executor: &dyn Executor, probe: UnitProbe, protocol: &run::Protocol) -> Result<Ceiling, RunError> {
    let UnitProbe::Matrix { size, subgroup, .. } = probe else { return Err(RunError::Interrupted) };
    let probe = |workgroups, rounds| UnitProbe::Matrix { size, workgroups, subgroup, rounds };
    let probe = sized(executor, probe, [64, MAX_SUBGROUPS], 8, Element::F32, protocol.seed)?;
    ceiling(executor, CeilingKind::MatrixF16, &probe, Element::F32, protocol)
}

/// Finds a size that takes [`ARITHMETIC_TIME`]: threads first, from the least to the most, until the device is full,
/// then rounds.
fn sized<P: Kernel>(
    executor: &dyn Executor,
    probe: impl Fn(usize, usize) -> P,
    [mut threads, most]: [usize; 2],
    mut rounds: usize,
    element: Element,
    seed: u64,
) -> Result<P, RunError> {
    loop {
        let candidate = probe(threads, rounds);
        let plan = candidate.plan("probe", element);
        let mut prepared = executor.prepare(&plan, &candidate.inputs("probe", element, seed), 1)?;
        let time = shortest(prepared.as_mut())?;
        if time >= ARITHMETIC_TIME || rounds >= MAX_ROUNDS {
            return Ok(candidate);
        }
        if threads < most {
            threads = (threads * 4).min(most);
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
