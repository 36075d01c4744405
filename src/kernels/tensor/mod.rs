//! Operands as bytes with dimensions: what goes to the device is exactly what the twin reads.

mod draw;
mod parts;
mod random;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use rayon::prelude::*;

use self::draw::{Indices, Place};
use self::random::{decode_at, encode};
use super::Element;

/// A dense array in row-major order whose dimensions may be padded in memory; padding holds zeros.
///
/// A quantised tensor carries its scales, and [`Tensor::at`] gives code times scale: what a twin reads is what the bits
/// on the device mean.
#[derive(Debug, Clone)]
pub struct Tensor {
    dims: Vec<usize>,
    layout: Layout,
    kind: Kind,
    bytes: Arc<Vec<u8>>,
    /// The scales, and how many neighbours along each dimension share one.
    scales: Option<(Box<Tensor>, Vec<usize>)>,
}

/// Operands by the name of the WGSL variable.
pub type Tensors = BTreeMap<&'static str, Tensor>;

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A floating-point operand, or the codes of a quantised one.
    Float(Element),
    /// An index or a count.
    Index,
}

/// One step of the order in memory: `index[dim] / step % count`. Listed from the outermost to the innermost, a dimension
/// may appear several times: in blocks, and inside a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// The dimension.
    pub dim: usize,
    /// How far apart along the dimension.
    pub step: usize,
    /// How many.
    pub count: usize,
}

/// How many neighbours along each dimension share a scale, and how the scales are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaling {
    /// Neighbours along each dimension; at least 1, and 1 along the first.
    pub block: Vec<usize>,
    /// Order of the scales in memory.
    pub axes: Vec<Axis>,
    /// What a scale is stored in: a floating-point type.
    pub element: Element,
}

/// Where an element is: the sum over the dimensions of what the table says for the index.
#[derive(Debug, Clone)]
struct Layout {
    tables: Vec<Vec<usize>>,
    /// What an index beyond a table is multiplied by: reaches into padding, and over the rows of a tensor in row-major
    /// order that is addressed as one.
    strides: Vec<usize>,
    length: usize,
}

impl Kind {
    const fn bits(self) -> usize {
        match self {
            Self::Float(Element::F32) | Self::Index => 32,
            Self::Float(Element::F16 | Element::Bf16) => 16,
            Self::Float(Element::Int8) => 8,
            Self::Float(Element::Int4) => 4,
        }
    }
}

impl From<Element> for Kind {
    fn from(element: Element) -> Self {
        Self::Float(element)
    }
}

impl Axis {
    fn row_major(dims: &[usize]) -> Vec<Self> {
        (0..).zip(dims).map(|(dim, &count)| Self { dim, step: 1, count }).collect()
    }
}

impl Layout {
    fn new(dims: &[usize], axes: &[Axis]) -> Self {
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

    fn row_major(dims: &[usize], padded: &[usize]) -> Self {
        Self::new(dims, &Axis::row_major(padded))
    }

    fn offset(&self, index: &[usize]) -> usize {
        let tables = self.tables.iter().zip(&self.strides);
        index.iter().zip(tables).map(|(&i, (table, stride))| table.get(i).copied().unwrap_or(i * stride)).sum()
    }
}

impl Tensor {
    /// The same layout with other numbers, given in row-major order of the dimensions; only for floating-point types.
    pub fn with_values(&self, values: &[f32]) -> Self {
        let Kind::Float(element) = self.kind else { return self.clone() };
        let mut tensor = self.clone();
        let size = self.kind.bits() / 8;
        let bytes = Arc::make_mut(&mut tensor.bytes);
        let ranges = self.ranges();
        let mut indices = Indices::of(&ranges);
        for value in values {
            let Some(at) = indices.next() else { break };
            encode(&[*value], element, &mut bytes[self.layout.offset(at) * size..][..size]);
        }
        tensor
    }

    /// The same layout with these int8 codes by index, and scales of one; only for int8.
    pub fn with_codes(&self, code: impl Fn(&[usize]) -> i8) -> Self {
        let mut tensor = self.clone();
        let bytes = Arc::make_mut(&mut tensor.bytes);
        let ranges = self.ranges();
        let mut indices = Indices::of(&ranges);
        while let Some(at) = indices.next() {
            bytes[self.layout.offset(at)] = code(at).to_ne_bytes()[0];
        }
        if let Some((scales, _)) = &mut tensor.scales {
            let ones = vec![1.0; scales.dims.iter().product()];
            **scales = scales.with_values(&ones);
        }
        tensor
    }

    /// Indices or counts.
    pub fn indices(values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::from_bytes(&[values.len()], &[values.len()], Kind::Index, bytes)
    }

    /// Given f32 values with these dimensions.
    pub fn floats(dims: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::from_bytes(dims, dims, Element::F32.into(), bytes)
    }

    /// The raw output of a kernel.
    pub fn from_bytes(dims: &[usize], padded: &[usize], kind: Kind, bytes: Vec<u8>) -> Self {
        let layout = Layout::row_major(dims, padded);
        Self { dims: dims.to_vec(), layout, kind, bytes: Arc::new(bytes), scales: None }
    }

    fn zeros(dims: &[usize], layout: Layout, kind: Kind) -> Self {
        let mut bytes = vec![0; (layout.length * kind.bits()).div_ceil(8).next_multiple_of(4).max(4)];
        if kind == Kind::Float(Element::Int4) {
            // A code of 8 is the zero of int4.
            bytes.par_chunks_mut(1 << 20).for_each(|bytes| bytes.fill(0x88));
        }
        Self { dims: dims.to_vec(), layout, kind, bytes: Arc::new(bytes), scales: None }
    }

    fn ranges(&self) -> Vec<Range<usize>> {
        self.dims.iter().map(|&dim| 0..dim).collect()
    }

    /// The floating-point numbers of a matrix in f32, rows one after another with `columns` in memory; padding and further
    /// rows hold zeros.
    pub(super) fn widened(&self, rows: usize, columns: usize) -> Self {
        let ranges = self.ranges();
        let place = Place::new(&self.layout, &ranges, 0);
        let mut bytes = vec![0; rows * columns * 4];
        bytes.par_chunks_mut((columns * 4).max(1)).zip(0..self.dims[0]).for_each(|(bytes, row)| {
            let mut numbers = vec![0.0; self.dims[1]];
            place.runs(&[row], |columns, at, stride| decode_at(self, at, stride, &mut numbers[columns]));
            encode(&numbers, Element::F32, bytes);
        });
        Self::from_bytes(&[rows, self.dims[1]], &[rows, columns], Element::F32.into(), bytes)
    }

    /// Dimensions without padding.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The bytes as the device sees them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The scales of a quantised tensor.
    pub fn scales(&self) -> Option<&Self> {
        self.scales.as_ref().map(|(scales, _)| scales.as_ref())
    }

    /// The floating-point element at `index`, scale included; NaN beyond the end.
    pub fn at(&self, index: &[usize]) -> f64 {
        let code = match self.kind {
            Kind::Float(element) => self.decode(element, self.layout.offset(index)),
            Kind::Index => f64::from(self.index_at(index)),
        };
        match &self.scales {
            None => code,
            Some((scales, block)) => {
                let mut at = [0; MOST_DIMS];
                at.iter_mut().zip(index.iter().zip(block)).for_each(|(at, (i, block))| *at = i / block);
                code * scales.at(&at[..index.len()])
            }
        }
    }

    /// The index at `index`; the largest u32 beyond the end.
    pub fn index_at(&self, index: &[usize]) -> u32 {
        self.word::<4>(self.layout.offset(index)).map_or(u32::MAX, u32::from_le_bytes)
    }

    fn decode(&self, element: Element, offset: usize) -> f64 {
        match element {
            Element::F32 => self.word::<4>(offset).map_or(f64::NAN, |b| f64::from(f32::from_le_bytes(b))),
            Element::F16 => self.word::<2>(offset).map_or(f64::NAN, |b| f64::from(f16::from_le_bytes(b))),
            Element::Bf16 => self.word::<2>(offset).map_or(f64::NAN, |b| f64::from(bf16::from_le_bytes(b))),
            Element::Int8 => self.word::<1>(offset).map_or(f64::NAN, |b| f64::from(i8::from_le_bytes(b))),
            Element::Int4 => {
                self.word::<1>(offset / 2).map_or(f64::NAN, |[b]| f64::from((b >> (offset % 2 * 4)) & 0xF) - 8.0)
            }
        }
    }

    fn word<const N: usize>(&self, element: usize) -> Option<[u8; N]> {
        self.bytes.get(element * N..(element + 1) * N)?.try_into().ok()
    }
}

/// No quantised tensor has more dimensions.
const MOST_DIMS: usize = 4;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
