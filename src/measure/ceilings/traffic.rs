//! Roofs of launches, memory and the last-level cache.

use super::bench::{Attempt, ProbeBench, ends_the_search};
use crate::kernels::probes::{
    CACHE_INVOCATIONS, CacheProbe, CopyProbe, LaunchProbe, MIN_CACHE_BYTES, ReadProbe, WriteProbe, cache_step,
};
use crate::kernels::{Kernel, Plan, StorageType, word};
use crate::measure::LaunchError;
use crate::measure::planning::memory_share;
use crate::measure::verify::RunError;
use crate::record::{CachePoint, Ceiling, CeilingKind, LastLevelCache};
use crate::units::{Bytes, BytesPerSecond, Seconds};

/// The most bytes of a memory probe's buffer.
const MEMORY_BYTES: u64 = 256 << 20;
/// At least so many buffers of one are within the share of memory that probes may take: those of a copy, twice.
const LEAST_SETS: u64 = 4;
/// The bytes that are touched between two uses of the same memory: more than any cache holds.
const MEMORY_APART: u64 = 2 << 30;
/// The smallest working set for the cache's roof: more than the caches of single cores hold ...
const LEAST_CACHE_BYTES: usize = 2 * MIN_CACHE_BYTES;
/// ... and the largest: more than any cache of today holds, or on a software adapter more than a CPU's share of one.
const MOST_CACHE_BYTES: usize = 512 << 20;
const MOST_CACHE_BYTES_SOFTWARE: usize = 64 << 20;
/// A cache probe reads as many bytes as memory would deliver in this time, within bounds, or its whole working set if that
/// is more. The time is far above the cost of a launch.
const CACHE_TIME: Seconds = Seconds::new(10e-3);
const CACHE_TRAFFIC: [f64; 2] = [(64 << 20) as f64, (512 << 20) as f64];
/// A working set that is read this many times as fast as memory is in a cache.
const CLEARLY: f64 = 1.1;
/// The cache has ended once this many working sets in a row were no faster than memory.
const BEYOND: usize = 2;

impl ProbeBench<'_> {
    pub(super) fn launch(&self, kind: CeilingKind) -> Result<Ceiling, RunError> {
        self.measured(kind, Attempt::of(&LaunchProbe, StorageType::F32))
    }

    /// A stream over more sets of buffers than any cache holds, or over fewer if memory runs out.
    pub(super) fn memory(&self, kind: CeilingKind) -> Result<Ceiling, RunError> {
        let bytes = self.buffer_bytes(MEMORY_BYTES.min((memory_share(self.device) / LEAST_SETS) >> 20 << 20));
        let probe: Box<dyn Kernel> = match kind {
            CeilingKind::MemoryWrite => Box::new(WriteProbe { bytes }),
            CeilingKind::MemoryCopy => Box::new(CopyProbe { bytes }),
            _ => Box::new(ReadProbe { bytes }),
        };
        let mut sets = self.sets(&probe.plan("probe", StorageType::F32));
        loop {
            match self.measured(kind, Attempt { sets, ..Attempt::of(&*probe, StorageType::F32) }) {
                Err(RunError::Launch(LaunchError::OutOfMemory(_))) if sets > 1 => sets /= 2,
                outcome => return outcome,
            }
        }
    }

    /// The number of buffer sets that a memory probe rotates over. One is enough on a software adapter, whose buffers are
    /// mostly in memory.
    fn sets(&self, plan: &Plan) -> u32 {
        if self.is_software() {
            return 1;
        }
        // In whole MiB, so that a few words more than the buffers do not cost a set.
        let one = plan.bytes_of_a_set().max(1 << 20) >> 20 << 20;
        let sets = MEMORY_APART.div_ceil(one).min(memory_share(self.device) / one);
        u32::try_from(sets.max(1)).unwrap_or(1)
    }

    /// The length of a buffer that the adapter can bind, up to `most`.
    fn buffer_bytes(&self, most: u64) -> usize {
        let limit = |name: &str| self.device.limits.get(name).copied().unwrap_or(128 << 20);
        let bytes = limit("max_storage_buffer_binding_size").min(limit("max_buffer_size")).min(most);
        usize::try_from(bytes).unwrap_or(128 << 20)
    }

    /// The fastest of several working sets, with the list of all of them and the size where the cache ends.
    pub(super) fn cache(&self) -> Result<Ceiling, RunError> {
        let most = if self.is_software() { MOST_CACHE_BYTES_SOFTWARE } else { MOST_CACHE_BYTES };
        let most = self.buffer_bytes((most as u64).min(memory_share(self.device)));
        let memory = self.memory_rate();
        let (mut points, mut best): (Vec<CachePoint>, Option<Ceiling>) = (Vec::new(), None);
        let sizes = std::iter::successors(Some(LEAST_CACHE_BYTES), |bytes| Some(bytes * 2));
        for bytes in sizes.take_while(|bytes| *bytes <= most) {
            match self.working_set(bytes) {
                Ok((point, ceiling)) => {
                    points.push(point);
                    if best.as_ref().is_none_or(|best| ceiling.value > best.value) {
                        best = Some(ceiling);
                    }
                }
                Err(error) if best.is_none() || ends_the_search(&error) => return Err(error),
                // Memory ran out, or a limit was reached: the smaller ones remain.
                Err(_) => break,
            }
            if has_ended(&points, memory) {
                break;
            }
        }
        let last_level_cache = Some(end(&points, memory));
        let nothing = || LaunchError::Refused(format!("the adapter binds no buffer of {LEAST_CACHE_BYTES} bytes"));
        Ok(Ceiling { points, last_level_cache, ..best.ok_or_else(nothing)? })
    }

    /// One working set, read by fewer threads and by more, whichever are faster.
    fn working_set(&self, bytes: usize) -> Result<(CachePoint, Ceiling), RunError> {
        let [least, most] = CACHE_TRAFFIC;
        let traffic = self.memory_rate().map_or(least, |rate| (rate * CACHE_TIME).get().clamp(least, most));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before the cast")]
        let passes = (traffic as usize / bytes).max(1);
        let threads = if self.is_software() { &CACHE_INVOCATIONS[..1] } else { &CACHE_INVOCATIONS[..] };
        let mut best: Option<(CachePoint, Ceiling)> = None;
        for &invocations in threads.iter().filter(|threads| cache_step(**threads) <= bytes) {
            let probe = CacheProbe { bytes, passes, invocations };
            let found = self.measured(CeilingKind::CacheRead, Attempt::of(&probe, StorageType::F32))?;
            let point = CachePoint {
                working_set_bytes: Bytes::new(bytes as f64),
                bytes_per_s: BytesPerSecond::new(found.value),
                invocations: word(invocations),
            };
            if best.as_ref().is_none_or(|(best, _)| point.bytes_per_s > best.bytes_per_s) {
                best = Some((point, Ceiling { working_set_bytes: Some(point.working_set_bytes), ..found }));
            }
        }
        best.ok_or(RunError::Interrupted)
    }

    fn memory_rate(&self) -> Option<BytesPerSecond> {
        let kinds = [CeilingKind::MemoryRead, CeilingKind::MemoryCopy];
        let rates = kinds.iter().filter_map(|kind| self.roofs.get(kind));
        rates.map(|roof| BytesPerSecond::new(roof.value)).reduce(BytesPerSecond::max)
    }
}

fn beats(point: &CachePoint, memory: BytesPerSecond) -> bool {
    point.bytes_per_s > memory * CLEARLY
}

/// Whether the rate was above memory's and is no longer.
fn has_ended(points: &[CachePoint], memory: Option<BytesPerSecond>) -> bool {
    let Some(memory) = memory else { return false };
    let beyond = points.iter().rev().take_while(|point| !beats(point, memory)).count();
    (BEYOND..points.len()).contains(&beyond)
}

fn end(points: &[CachePoint], memory: Option<BytesPerSecond>) -> LastLevelCache {
    let last = memory.and_then(|memory| points.iter().rposition(|point| beats(point, memory)));
    match last.map(|last| (points[last].working_set_bytes, last + 1 == points.len())) {
        None => LastLevelCache::NotSeen,
        Some((bytes, true)) => LastLevelCache::AtLeast { bytes },
        Some((bytes, false)) => LastLevelCache::Measured { bytes },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1048576.0;

    /// Working sets from 2 MiB on, each twice the one before, with rates in units of the memory's.
    fn points(rates: &[f64]) -> Vec<CachePoint> {
        let point = |(size, rate): (i32, &f64)| CachePoint {
            working_set_bytes: Bytes::new(2f64.powi(size) * MIB),
            bytes_per_s: BytesPerSecond::new(*rate * 1e9),
            invocations: 16_384,
        };
        (1..).zip(rates).map(point).collect()
    }

    fn seen(rates: &[f64]) -> LastLevelCache {
        end(&points(rates), Some(BytesPerSecond::new(1e9)))
    }

    #[test]
    fn the_cache_ends_with_the_largest_working_set_that_beats_memory_clearly() {
        assert_eq!(
            seen(&[5.0, 5.0, 3.0, 2.9, 1.5, 1.05, 1.0]),
            LastLevelCache::Measured { bytes: Bytes::new(32.0 * MIB) }
        );
        // In the smallest set too few loads are in flight.
        assert_eq!(seen(&[0.9, 4.0, 1.0]), LastLevelCache::Measured { bytes: Bytes::new(4.0 * MIB) });
    }

    #[test]
    fn a_cache_without_a_knee_is_at_least_as_large_or_not_seen() {
        assert_eq!(seen(&[5.0, 4.0, 3.0]), LastLevelCache::AtLeast { bytes: Bytes::new(8.0 * MIB) });
        assert_eq!(seen(&[1.0, 0.9, 1.09]), LastLevelCache::NotSeen);
        assert_eq!(end(&points(&[5.0, 1.0]), None), LastLevelCache::NotSeen);
    }

    #[test]
    fn the_search_ends_after_two_working_sets_beyond_the_cache_and_not_before_it() {
        let ended = |rates: &[f64]| has_ended(&points(rates), Some(BytesPerSecond::new(1e9)));
        assert!(!ended(&[1.0, 0.9]), "the first two are read by too few threads");
        assert!(!ended(&[5.0, 1.0]));
        assert!(!ended(&[5.0, 1.0, 1.3]));
        assert!(ended(&[5.0, 1.0, 0.9]));
        assert!(!has_ended(&points(&[5.0, 1.0, 0.9]), None));
    }
}
