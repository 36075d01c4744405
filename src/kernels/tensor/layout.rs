//! The order of a tensor's elements in memory.

use crate::kernels::types::StorageType;

/// One step of the order in memory: it takes `index[dim] / step % count`. Steps are listed from the outermost to the
/// innermost. A dimension may appear several times, as blocks and inside a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryAxis {
    /// The dimension.
    pub dim: usize,
    /// The distance between two values, in indices of the dimension.
    pub step: usize,
    /// The number of values.
    pub count: usize,
}

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorType {
    /// A floating-point operand, or the codes of a quantised one.
    Float(StorageType),
    /// A power of two as its biased exponent (e8m0): a scale.
    Exponent,
    /// An index or a count.
    Index,
}

impl TensorType {
    /// Bits of one element.
    pub(super) const fn bits(self) -> usize {
        match self {
            Self::Float(StorageType::F32) | Self::Index => 32,
            Self::Float(StorageType::F16 | StorageType::Bf16) => 16,
            Self::Float(StorageType::Int8 | StorageType::Fp8) | Self::Exponent => 8,
            Self::Float(StorageType::Int4 | StorageType::Mxfp4 | StorageType::Nvfp4) => 4,
        }
    }
}

impl From<StorageType> for TensorType {
    fn from(element: StorageType) -> Self {
        Self::Float(element)
    }
}

/// How many neighbours along each dimension share a scale, and how the scales are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleLayout {
    /// Neighbours along each dimension; at least 1, and 1 along the first.
    pub block: Vec<usize>,
    /// Order of the scales in memory.
    pub axes: Vec<MemoryAxis>,
    /// The type of a scale: a floating-point type, or an exponent.
    pub kind: TensorType,
}

/// The place of an element: the sum over the dimensions of what the dimension's table holds for the index.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) tables: Vec<Vec<usize>>,
    /// The stride for an index past its table: for padding, and for a row-major tensor addressed by one flat index.
    pub(super) strides: Vec<usize>,
    /// Elements, padding included.
    pub(super) length: usize,
}

impl MemoryAxis {
    /// The axes of dimensions in row-major order.
    pub(super) fn row_major(dims: &[usize]) -> Vec<Self> {
        (0..).zip(dims).map(|(dim, &count)| Self { dim, step: 1, count }).collect()
    }
}

impl Layout {
    pub(super) fn new(dims: &[usize], axes: &[MemoryAxis]) -> Self {
        let mut tables: Vec<Vec<usize>> = dims.iter().map(|&dim| vec![0; dim]).collect();
        let mut strides = vec![0; dims.len()];
        let mut stride = 1;
        for axis in axes.iter().rev() {
            for (index, at) in tables[axis.dim].iter_mut().enumerate() {
                *at += index / axis.step % axis.count * stride;
            }
            strides[axis.dim] = stride;
            stride *= axis.count;
        }
        Self { tables, strides, length: stride }
    }

    pub(super) fn row_major(dims: &[usize], padded: &[usize]) -> Self {
        Self::new(dims, &MemoryAxis::row_major(padded))
    }

    /// Elements before the one at `index`.
    pub(super) fn offset(&self, index: &[usize]) -> usize {
        let tables = self.tables.iter().zip(&self.strides);
        index.iter().zip(tables).map(|(&i, (table, stride))| table.get(i).copied().unwrap_or(i * stride)).sum()
    }
}
