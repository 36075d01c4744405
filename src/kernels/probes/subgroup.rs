//! The sizes of subgroups that a device runs: one launch in which every invocation reports its own.
//!
//! Adapters report a range, such as 4 to 64 for every Metal device, of which Apple's GPUs run only 32.

use std::collections::BTreeSet;

use crate::kernels::plan::{Launch, Need, Plan, Role};
use crate::kernels::types::{StorageType, Work, word};
use crate::units::{Bytes, Flop};

/// Invocations per workgroup, as in the kernels that divide a tile among subgroups.
const WORKGROUP: usize = 256;
/// Workgroups: enough to reach every kind of core of a device.
const WORKGROUPS: usize = 64;
/// The name of the buffer with the sizes.
pub const SIZES: &str = "sizes";

/// The plan of the launch. It needs the feature `subgroup` and writes [`SIZES`]: two words per invocation, the size of its
/// subgroup as the driver reports it and as it was counted.
pub fn plan() -> Plan {
    let bytes = WORKGROUPS * WORKGROUP * 8;
    let bytes_written = Bytes::new(bytes as f64);
    let mut plan = Plan::new(Work { flop: Flop::ZERO, bytes_read: Bytes::ZERO, bytes_written });
    let sizes = plan.buffer(SIZES, Role::Output, bytes);
    plan.launch(Launch::of("probe_subgroup", StorageType::F32).needs(&[Need::Subgroup]).bindings([sizes]).grid([
        word(WORKGROUPS),
        1,
        1,
    ]));
    plan
}

/// The distinct sizes in the bytes of [`SIZES`], in invocations, ascending. `None` if one of them is impossible, which is
/// also the case if an invocation did not write.
pub fn sizes(written: &[u8]) -> Option<Vec<u32>> {
    let words = written.chunks_exact(4).filter_map(|word| word.try_into().ok().map(u32::from_le_bytes));
    let sizes: BTreeSet<u32> = words.collect();
    let possible = |size: &u32| size.is_power_of_two() && *size as usize <= WORKGROUP;
    (!sizes.is_empty() && sizes.iter().all(possible)).then(|| sizes.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::POISON_WORD;

    #[test]
    fn every_reported_or_counted_size_is_seen_once() {
        let written: Vec<u8> = [32u32, 32, 32, 16, 32, 32].iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(sizes(&written), Some(vec![16, 32]));
    }

    #[test]
    fn what_no_subgroup_can_be_is_no_answer() {
        for word in [POISON_WORD, 0, 24, 512] {
            let written: Vec<u8> = [32, word].iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(sizes(&written), None, "{word}");
        }
        assert_eq!(sizes(&[]), None);
    }
}
