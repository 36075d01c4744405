//! Attention: prefill with online softmax, and decode with the cache split over workgroups and a reduce pass; grouped
//! queries, a paged cache, and the multi-head latent attention of DeepSeek-V3.

mod decode;
mod mla;
mod paged;
mod prefill;

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::compare::{Comparison, Verification, sample};
use super::matmul::tolerance;
use super::tensor::{Tensor, Tensors};
use super::{Element, Output, Plan, Role, Work, named, word};
use crate::units::{Bytes, Flop};

pub use decode::Decode;
pub use mla::MlaDecode;
pub use paged::PagedDecode;
pub use prefill::Prefill;

/// Heads of grouped-query attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Size of a head: a multiple of 4, at most 128.
    pub head_dim: usize,
}

impl Heads {
    /// Query heads that share a key.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn head_dim4(&self) -> usize {
        self.head_dim / 4
    }

    /// Half of the heads of keys, or half of those of queries where one is left; `None` for a single head.
    pub(super) fn halved(self) -> Option<Self> {
        let (heads, kv_heads) = (self.heads / 2, self.kv_heads / 2);
        if kv_heads > 0 {
            Some(Self { heads: kv_heads * self.group(), kv_heads, ..self })
        } else {
            (heads > 0).then_some(Self { heads, ..self })
        }
    }

    fn shape(&self) -> [(&'static str, usize); 3] {
        [("heads", self.heads), ("kv_heads", self.kv_heads), ("head_dim", self.head_dim)]
    }
}

/// Queries and keys of a trial at least.
const TRIAL_LEN: usize = 128;

/// Fewer sequences, then fewer keys, until `is_too_large` says no.
fn shrink(sequences: &mut usize, kv_len: &mut usize, is_too_large: impl Fn(usize, usize) -> bool) {
    while is_too_large(*sequences, *kv_len) {
        if *sequences > 1 {
            *sequences = sequences.div_ceil(2);
        } else if *kv_len > 2 * TRIAL_LEN {
            *kv_len = kv_len.div_ceil(2);
        } else {
            break;
        }
    }
}

/// Half of a count of sequences, queries or heads, where there is more than one.
fn halved(count: usize) -> Option<usize> {
    (count > 1).then_some(count / 2)
}

/// The storage types of every attention kernel.
const FLOATS: &[Element] = &[Element::F32, Element::F16, Element::Bf16];

/// `1 / sqrt(dim)` as the bits of an f32.
fn scale_bits(dim: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the kernel works in f32")]
    let scale = (1.0 / (dim as f64).sqrt()) as f32;
    scale.to_bits()
}

fn size_of(element: Element) -> usize {
    usize::try_from(element.size_bytes()).unwrap_or(4)
}

/// Storage for `dims` elements, in bytes.
fn bytes_of(dims: &[usize], element: Element) -> usize {
    dims.iter().product::<usize>() * size_of(element)
}

/// Parts to split a cache of `kv_len` keys into so that `wanted` workgroups or invocations run in all, of which `units`
/// are there without a split; none shorter than 64 keys.
fn splits(wanted: usize, units: usize, kv_len: usize) -> usize {
    wanted.div_ceil(units.max(1)).clamp(1, kv_len.div_ceil(64))
}

/// The buffers between a split decode and the pass that merges its parts.
struct Parts {
    state: usize,
    out: usize,
}

impl Parts {
    /// Scratch for `rows` outputs of `value_dim` in `splits` parts.
    fn new(plan: &mut Plan, rows: usize, splits: usize, value_dim: usize) -> Self {
        Self {
            state: plan.buffer("part_state", Role::Scratch, rows * splits * 8),
            out: plan.buffer("part_out", Role::Scratch, rows * splits * value_dim * 4),
        }
    }

    /// The merging launch: `out` [sequences, heads, value_dim].
    fn reduce(&self, plan: &mut Plan, element: Element, out: usize, dims: [usize; 3], splits: usize) {
        let [sequences, heads, value_dim] = dims;
        let value_dim4 = value_dim / 4;
        let grid = [word(value_dim4.div_ceil(32)), word(heads), word(sequences)];
        let overrides = BTreeMap::from([("WORKGROUP", 32.0)]);
        plan.launch("attention_reduce", element, overrides, vec![self.state, self.out, out], grid).params =
            vec![("head_dim4", word(value_dim4)), ("heads", word(heads)), ("splits", word(splits))];
    }
}

/// Query heads that one workgroup of the subgroup variants of decode carries.
const SUBGROUP_HEADS: usize = 8;

/// Compares rows of the output `out` [items, heads, d] with what `want` gives for (item, head).
fn compare_rows(
    outputs: &Tensors,
    dims: [usize; 3],
    cost: usize,
    element: Element,
    effort: u64,
    want: impl Fn(usize, usize) -> Vec<f64> + Sync,
) -> Verification {
    let [items, heads, value_dim] = dims;
    let rows: Vec<usize> = sample(items * heads, cost, effort).collect();
    let wanted: Vec<Vec<f64>> = rows.par_iter().map(|row| want(row / heads, row % heads)).collect();
    let mut comparison = Comparison::of("out");
    for (row, want) in rows.into_iter().zip(wanted) {
        let (item, head) = (row / heads, row % heads);
        for (d, want) in want.into_iter().enumerate() {
            comparison.pair(&[item, head, d], outputs["out"].at(&[item, head, d]), want);
        }
    }
    comparison.relative(tolerance(element), items * heads * value_dim)
}

/// Standard normal operands of these dimensions.
fn normal(dims: &[usize], element: Element, seed: u64) -> Tensor {
    Tensor::random(dims, dims, element, 1.0, seed)
}
