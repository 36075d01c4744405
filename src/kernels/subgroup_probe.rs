//! Which sizes of subgroup a device runs: one launch that every invocation answers.
//!
//! Adapters report a range, e.g. 4 to 64 for every Metal device, where Apple's run 32 alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Element, Plan, Role, Work, word};
use crate::units::{Bytes, Flop};

/// Invocations of a workgroup: as many as the kernels that divide a tile among subgroups have.
const WORKGROUP: usize = 256;
/// Enough to reach every kind of core of a device.
const WORKGROUPS: usize = 64;
/// The buffer that holds the answer.
pub const SIZES: &str = "sizes";

/// The launch. It needs the feature `subgroup` and writes [`SIZES`]: two words of each invocation, the size of its
/// subgroup as the driver tells it and as it was counted.
pub fn plan() -> Plan {
    let bytes = WORKGROUPS * WORKGROUP * 8;
    let bytes_written = Bytes::new(bytes as f64);
    let mut plan = Plan::new(Work { flop: Flop::ZERO, bytes_read: Bytes::ZERO, bytes_written });
    let bindings = vec![plan.buffer(SIZES, Role::Output, bytes)];
    plan.launch("probe_subgroup", Element::F32, BTreeMap::new(), bindings, [word(WORKGROUPS), 1, 1]);
    plan
}

/// The sizes in what the launch wrote, in invocations, ascending. `None` where one of them cannot be, as where an
/// invocation never wrote.
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
    fn every_size_told_or_counted_is_seen_once() {
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
