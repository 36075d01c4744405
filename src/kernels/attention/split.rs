//! Decode with a split cache: the parts, and the launch that merges them.

use crate::kernels::plan::{Launch, Plan, Role};
use crate::kernels::types::{StorageType, word};

/// Keys per part at least.
const LEAST_KEYS: usize = 64;

/// The parts of a cache of `kv_len` keys, so that `wanted` workgroups or invocations run in all. `units` of them run
/// without a split.
pub(super) fn splits(wanted: usize, units: usize, kv_len: usize) -> usize {
    wanted.div_ceil(units.max(1)).clamp(1, kv_len.div_ceil(LEAST_KEYS))
}

/// The buffers between a split decode and the launch that merges its parts.
pub(super) struct SplitBuffers {
    /// Largest score and sum of exponentials: [rows, splits].
    pub(super) state: usize,
    /// Outputs that are not normalised yet: [rows, splits, value_dim].
    pub(super) out: usize,
    /// The operand `sinks` [heads].
    sinks: usize,
    splits: usize,
}

/// Columns of a workgroup of the merging launch.
const REDUCE_COLUMNS: usize = 32;
/// The most invocations that share a column. A software adapter has fewer parts, and needs no barrier then.
const MOST_SHARES: usize = 8;
/// Parts of one invocation where several share a column.
const SHARE_PARTS: usize = 4;

impl SplitBuffers {
    /// Scratch for outputs [sequences, heads, value_dim] in `splits` parts, and the operand `sinks`.
    pub(super) fn new(plan: &mut Plan, [sequences, heads, value_dim]: [usize; 3], splits: usize) -> Self {
        let rows = sequences * heads;
        Self {
            state: plan.buffer("part_state", Role::Scratch, rows * splits * 8),
            out: plan.buffer("part_out", Role::Scratch, rows * splits * value_dim * 4),
            sinks: plan.buffer("sinks", Role::Input, heads * 4),
            splits,
        }
    }

    /// Adds the launch that merges the parts into `out` [sequences, heads, value_dim].
    pub(super) fn reduce(&self, plan: &mut Plan, element: StorageType, out: usize, dims: [usize; 3]) {
        let [sequences, heads, value_dim] = dims;
        let value_dim4 = value_dim / 4;
        plan.launch(
            Launch::of("attention_reduce", element)
                .overrides([("SHARES", shares(self.splits) as f64)])
                .params([("head_dim4", word(value_dim4)), ("heads", word(heads)), ("splits", word(self.splits))])
                .bindings([self.state, self.out, self.sinks, out])
                .grid([word(value_dim4.div_ceil(REDUCE_COLUMNS)), word(heads), word(sequences)]),
        );
    }
}

/// Invocations that share a column of the merged output.
fn shares(splits: usize) -> usize {
    if splits < MOST_SHARES * SHARE_PARTS { 1 } else { MOST_SHARES }
}
