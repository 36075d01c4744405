//! The layout of activations and weights in memory.
//!
//! Weights are stored in panels as wide as a workgroup, so that each workgroup reads one stream: [experts, panels, k,
//! columns of the panel]. Inside a panel the columns of gate come before those of up. The integer types put 4 (int8) or 8
//! (int4) neighbours along k into one word. The matrix technique puts the 32 of a tile of k together.

use crate::kernels::matmul::variant::Variant;
use crate::kernels::tensor::{MemoryAxis, Random, ScaleLayout, Tensor};
use crate::kernels::types::{INT4_GROUP, StorageType};

/// Bytes of one number of a type that has whole bytes.
pub(super) fn bytes(element: StorageType) -> usize {
    usize::try_from(element.size_bytes()).unwrap_or(4)
}

/// Bytes of `count` weights without their scales.
pub(super) fn weight_bytes(count: usize, element: StorageType) -> usize {
    count * usize::try_from(element.weight_bits()).unwrap_or(32) / 8
}

/// k with the zeros that fill its last step.
pub(super) fn padded_k(k: usize, element: StorageType) -> usize {
    k.next_multiple_of(match element {
        StorageType::Int4 => INT4_GROUP,
        StorageType::Int8 => 16,
        _ => 4,
    })
}

/// k of the weights in memory, with the zeros that fill the last step of the variant.
pub(super) fn weights_k(k: usize, variant: &Variant, element: StorageType) -> usize {
    padded_k(k, element).next_multiple_of(variant.k_together(element))
}

fn axis(dim: usize, step: usize, count: usize) -> MemoryAxis {
    MemoryAxis { dim, step, count }
}

/// Activations [rows, k], in int8 with one scale per row. Memory has `in_memory` rows; those beyond `rows` hold zeros.
pub(super) fn activations(rows: usize, in_memory: usize, k: usize, element: StorageType, seed: u64) -> Tensor {
    let axes = [axis(0, 1, in_memory), axis(1, 1, padded_k(k, element))];
    let dims = [rows, k];
    if element == StorageType::Int8 {
        let scaling = ScaleLayout {
            block: vec![1, k],
            axes: vec![axis(0, 1, in_memory), axis(1, 1, 1)],
            element: StorageType::F32,
        };
        return Tensor::random_quantised(&dims, &axes, element, &scaling, Random { sigma: 1.0, seed });
    }
    Tensor::random_in_order(&dims, &axes, element.activation(), Random { sigma: 1.0, seed })
}

/// The weights of a grouped GEMM: [experts, k, n], or [experts, k, 2, n] for gate and up.
pub(super) struct Weights {
    /// Matrices.
    pub(super) experts: usize,
    /// Rows.
    pub(super) k: usize,
    /// Columns of the output.
    pub(super) n: usize,
    /// Matrices per expert, side by side: 2 for gate and up, otherwise 1.
    pub(super) matrices: usize,
}

impl Weights {
    /// Panels per expert.
    pub(super) fn panels(&self, variant: &Variant) -> usize {
        self.n.div_ceil(self.output_columns(variant))
    }

    /// Columns of the output per panel.
    fn output_columns(&self, variant: &Variant) -> usize {
        variant.panel_columns() / self.matrices
    }

    /// Random weights of deviation 1 / sqrt(k), in panels of the variant.
    pub(super) fn draw(&self, variant: &Variant, element: StorageType, seed: u64) -> Tensor {
        let Self { experts, k, n, matrices } = *self;
        let (panels, columns) = (self.panels(variant), self.output_columns(variant));
        let sigma = 1.0 / (k as f64).sqrt();
        // The dimension of the columns comes last, that of gate and up before it.
        let (dims, last) = if matrices == 2 { (vec![experts, k, 2, n], 3) } else { (vec![experts, k, n], 2) };
        let order = |k_step: usize, k_count: usize, k_inside: usize| -> Vec<MemoryAxis> {
            let mut axes = vec![axis(0, 1, experts), axis(last, columns, panels), axis(1, k_step, k_count)];
            if matrices == 2 {
                axes.push(axis(2, 1, 2));
            }
            axes.extend([axis(last, 1, columns), axis(1, 1, k_inside)]);
            axes
        };
        let together = variant.k_together(element);
        let axes = order(together, weights_k(k, variant, element) / together, together);
        let (share, scale) = match element {
            StorageType::Int8 => (k, StorageType::F32),
            StorageType::Int4 => (INT4_GROUP, StorageType::F16),
            _ => return Tensor::random_in_order(&dims, &axes, element, Random { sigma, seed }),
        };
        let mut block = vec![1; dims.len()];
        block[1] = share;
        let scaling = ScaleLayout { block, axes: order(1, k.div_ceil(share), 1), element: scale };
        Tensor::random_quantised(&dims, &axes, element, &scaling, Random { sigma, seed })
    }
}
