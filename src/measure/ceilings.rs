//! The roofs of the device, measured in the same run as the kernels.
//!
//! Where a probe can be written or launched in several ways, the fastest is the roof, and the record says which it was. If a
//! probe fails, only its roof is missing, and cases are judged by the others.

mod arithmetic;
mod bench;
mod traffic;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use self::bench::ProbeBench;
use super::executor::{Executor, LaunchError, close};
use super::verify::{CaseProtocol, RunError};
use crate::kernels::StorageType;
use crate::record::{Ceiling, CeilingKind, Device, LeftOut};

/// All roofs, in the order in which they are measured. Memory comes first, because the end of the cache is found by
/// comparing with it.
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

/// Measures one roof after the other and passes each to `found` at once. The probes choose their own number of sets, whatever
/// the protocol says. If a probe loses the device, it is opened again for the next one.
///
/// # Errors
/// [`RunError::Interrupted`]; [`RunError::Launch`] where the device does not come back; the first error where neither f32
/// arithmetic nor reading nor launching could be measured.
pub fn measure(
    executor: &mut Box<dyn Executor>,
    reopen: &mut dyn FnMut() -> Result<Box<dyn Executor>, String>,
    device: &Device,
    protocol: &CaseProtocol,
    mut found: impl FnMut(CeilingKind, &Ceiling),
) -> Result<Ceilings, RunError> {
    let mut ceilings = Ceilings::default();
    let mut first = None;
    for kind in KINDS {
        if let Some(reason) = arithmetic::lacks(kind, device) {
            ceilings.left_out.push(left_out(kind, reason));
            continue;
        }
        let bench = ProbeBench { executor: executor.as_ref(), device, protocol: *protocol, roofs: &ceilings.found };
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
    close(std::mem::replace(executor, opened), lost);
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

impl ProbeBench<'_> {
    fn roof(&self, kind: CeilingKind) -> Result<Ceiling, RunError> {
        if self.protocol.interrupted.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        match kind {
            CeilingKind::Launch | CeilingKind::Submit => self.launch(kind),
            CeilingKind::MemoryRead | CeilingKind::MemoryWrite | CeilingKind::MemoryCopy => self.memory(kind),
            CeilingKind::CacheRead => self.cache(),
            CeilingKind::FmaF32 => self.fma(kind, StorageType::F32),
            CeilingKind::FmaF16 => self.fma(kind, StorageType::F16),
            CeilingKind::DotI8 => self.dot(),
            CeilingKind::MatrixF16 => self.matrix(),
        }
    }
}

#[cfg(test)]
mod tests;
