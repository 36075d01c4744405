//! Operands of attention, and the comparison of its output.

use rayon::prelude::*;

use crate::kernels::tensor::{Random, Tensor, Tensors};
use crate::kernels::types::StorageType;
use crate::kernels::verification::{Deviation, Verification, sample, tolerance};

/// `1 / sqrt(dim)` as the bits of an f32.
pub(super) fn scale_bits(dim: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the kernel works in f32")]
    let scale = (1.0 / (dim as f64).sqrt()) as f32;
    scale.to_bits()
}

/// Bytes of a tensor of these dimensions.
pub(super) fn bytes_of(dims: &[usize], element: StorageType) -> usize {
    dims.iter().product::<usize>() * usize::try_from(element.size_bytes()).unwrap_or(4)
}

/// Standard normal operands of these dimensions.
pub(super) fn normal(dims: &[usize], element: StorageType, seed: u64) -> Tensor {
    Tensor::random(dims, dims, element, Random { sigma: 1.0, seed })
}

/// The multiply-adds that the twin may take. They decide how many rows of an output are compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct TwinBudget {
    /// Multiply-adds per row.
    pub(super) cost: usize,
    /// Multiply-adds in all.
    pub(super) effort: u64,
}

/// Compares rows of the output `out` [items, heads, value_dim] with `want` of (item, head).
pub(super) fn compare_rows(
    outputs: &Tensors,
    dims: [usize; 3],
    element: StorageType,
    budget: TwinBudget,
    want: impl Fn(usize, usize) -> Vec<f64> + Sync,
) -> Verification {
    let [items, heads, value_dim] = dims;
    let rows: Vec<usize> = sample(items * heads, budget.cost, budget.effort).collect();
    let wanted: Vec<Vec<f64>> = rows.par_iter().map(|row| want(row / heads, row % heads)).collect();
    let mut deviation = Deviation::of("out");
    for (row, want) in rows.into_iter().zip(wanted) {
        let (item, head) = (row / heads, row % heads);
        for (d, want) in want.into_iter().enumerate() {
            deviation.pair(&[item, head, d], outputs["out"].at(&[item, head, d]), want);
        }
    }
    deviation.relative(tolerance(element), items * heads * value_dim)
}
