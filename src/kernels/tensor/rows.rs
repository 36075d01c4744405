//! Rows along the last dimension: reading and reordering them.

use std::sync::Arc;

use rayon::prelude::*;

use crate::kernels::tensor::layout::{Layout, TensorType};
use crate::kernels::tensor::operand::Tensor;

impl Tensor {
    /// The type of the elements.
    pub fn kind(&self) -> TensorType {
        self.kind
    }

    /// The number of rows along the last dimension.
    pub fn rows(&self) -> usize {
        self.dims.split_last().map_or(0, |(_, outer)| outer.iter().product())
    }

    /// The indices of a row in all dimensions but the last.
    pub fn place(&self, row: usize) -> Vec<usize> {
        let outer = self.dims.split_last().map_or(&[][..], |(_, outer)| outer);
        let mut rest = row;
        let mut at = vec![0; outer.len()];
        for (at, dim) in at.iter_mut().zip(outer).rev() {
            *at = rest % dim;
            rest /= dim;
        }
        at
    }

    /// The elements of a row. Beyond the end they are NaN, or the largest u32 for indices.
    pub fn row(&self, row: usize) -> Vec<f64> {
        let columns = self.dims.last().copied().unwrap_or(0);
        let mut at = self.place(row);
        at.push(0);
        let element = |column| {
            at[self.dims.len() - 1] = column;
            self.at(&at)
        };
        (0..columns).map(element).collect()
    }

    /// A row-major matrix with its rows in another order: row `i` of the result is row `of[i]`, or zeros if there is no such
    /// row.
    pub fn rows_in_order(&self, of: &[u32]) -> Self {
        let length = self.layout.length / self.dims[0].max(1);
        let mut layout = Layout::row_major(&[of.len(), length], &[of.len(), length]);
        layout.tables[1].clone_from(&self.layout.tables[1]);
        let mut rows = Self::zeros(&[of.len(), self.dims[1]], layout, self.kind);
        let size = length * self.kind.bits() / 8;
        Arc::make_mut(&mut rows.bytes).par_chunks_mut(size).zip(of).for_each(|(row, from)| {
            let begin = *from as usize * size;
            if let Some(bytes) = self.bytes.get(begin..begin.saturating_add(size)) {
                row.copy_from_slice(bytes);
            }
        });
        rows.scales = self.scales.as_ref().map(|(scales, block)| (Box::new(scales.rows_in_order(of)), block.clone()));
        rows
    }
}
