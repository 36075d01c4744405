//! The tensor: bytes, dimensions, and the layout that ties them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use rayon::prelude::*;

use crate::kernels::tensor::codec::{decode_at, encode, store};
use crate::kernels::tensor::draw::{Indices, Place};
use crate::kernels::tensor::layout::{Layout, TensorType};
use crate::kernels::tensor::minifloat::{E2M1, E4M3, decode_exponent};
use crate::kernels::types::StorageType;

/// A dense array in row-major order whose dimensions may be padded in memory; padding holds zeros.
///
/// A quantised tensor carries its scales, and [`Tensor::at`] returns code times scale: a twin reads what the bits on the
/// device mean.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub(super) dims: Vec<usize>,
    pub(super) layout: Layout,
    pub(super) kind: TensorType,
    pub(super) bytes: Arc<Vec<u8>>,
    /// The scales, and how many neighbours along each dimension share one.
    pub(super) scales: Option<(Box<Tensor>, Vec<usize>)>,
}

/// Operands by the name of the WGSL variable.
pub type Tensors = BTreeMap<&'static str, Tensor>;

impl Tensor {
    /// The same layout with other numbers, in row-major order of the dimensions; only for floating-point types.
    pub fn with_values(&self, values: &[f32]) -> Self {
        let mut tensor = self.clone();
        let size = self.kind.bits() / 8;
        let bytes = Arc::make_mut(&mut tensor.bytes);
        let ranges = self.ranges();
        let mut indices = Indices::of(&ranges);
        for value in values {
            let Some(at) = indices.next() else { break };
            encode(&[*value], self.kind, &mut bytes[self.layout.offset(at) * size..][..size]);
        }
        tensor
    }

    /// The same layout with codes and scales given by index; only for quantised types. Scales of scales are one.
    pub fn with_codes(&self, code: impl Fn(&[usize]) -> u8, scale: impl Fn(&[usize]) -> f32) -> Self {
        let mut tensor = self.clone();
        let bytes = Arc::make_mut(&mut tensor.bytes);
        let ranges = self.ranges();
        let mut indices = Indices::of(&ranges);
        while let Some(at) = indices.next() {
            store(&[code(at)], self.kind.bits(), self.layout.offset(at), 1, bytes);
        }
        if let Some((scales, _)) = &mut tensor.scales {
            **scales = scales.with_each(&scale);
            if let Some((outer, _)) = &mut scales.scales {
                **outer = outer.with_each(|_| 1.0);
            }
        }
        tensor
    }

    fn with_each(&self, value: impl Fn(&[usize]) -> f32) -> Self {
        let ranges = self.ranges();
        let mut indices = Indices::of(&ranges);
        let mut values = Vec::new();
        while let Some(at) = indices.next() {
            values.push(value(at));
        }
        self.with_values(&values)
    }

    /// A vector of indices or counts.
    pub fn indices(values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::from_bytes(&[values.len()], &[values.len()], TensorType::Index, bytes)
    }

    /// The f32 values with these dimensions.
    pub fn floats(dims: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::from_bytes(dims, dims, StorageType::F32.into(), bytes)
    }

    /// The raw output of a kernel: dimensions, dimensions in memory, type and bytes.
    pub fn from_bytes(dims: &[usize], padded: &[usize], kind: TensorType, bytes: Vec<u8>) -> Self {
        let layout = Layout::row_major(dims, padded);
        Self { dims: dims.to_vec(), layout, kind, bytes: Arc::new(bytes), scales: None }
    }

    pub(super) fn zeros(dims: &[usize], layout: Layout, kind: TensorType) -> Self {
        let mut bytes = vec![0; (layout.length * kind.bits()).div_ceil(8).next_multiple_of(4).max(4)];
        if kind == TensorType::Float(StorageType::Int4) {
            // A code of 8 is the zero of int4.
            bytes.par_chunks_mut(1 << 20).for_each(|bytes| bytes.fill(0x88));
        }
        Self { dims: dims.to_vec(), layout, kind, bytes: Arc::new(bytes), scales: None }
    }

    fn ranges(&self) -> Vec<Range<usize>> {
        self.dims.iter().map(|&dim| 0..dim).collect()
    }

    /// The floating-point numbers of a matrix in f32, in row-major order with `columns` in memory. Padding and further rows
    /// hold zeros.
    pub(crate) fn widened(&self, rows: usize, columns: usize) -> Self {
        let ranges = self.ranges();
        let place = Place::new(&self.layout, &ranges, 0);
        let mut bytes = vec![0; rows * columns * 4];
        bytes.par_chunks_mut((columns * 4).max(1)).zip(0..self.dims[0]).for_each(|(bytes, row)| {
            let mut numbers = vec![0.0; self.dims[1]];
            place.runs(&[row], |columns, at, stride| self.decode_run(at, stride, &mut numbers[columns]));
            encode(&numbers, StorageType::F32.into(), bytes);
        });
        Self::from_bytes(&[rows, self.dims[1]], &[rows, columns], StorageType::F32.into(), bytes)
    }

    /// Dimensions without padding.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The bytes as on the device.
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
            TensorType::Float(element) => self.decode(element, self.layout.offset(index)),
            TensorType::Exponent => self.word(self.layout.offset(index)).map_or(f64::NAN, |[b]| decode_exponent(b)),
            TensorType::Index => f64::from(self.index_at(index)),
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

    /// Reads the floating-point elements from `at` on that are `stride` apart, without scales of their own.
    pub(super) fn decode_run(&self, at: usize, stride: usize, out: &mut [f32]) {
        decode_at(&self.bytes[at * (self.kind.bits() / 8)..], self.kind, stride, out);
    }

    fn decode(&self, element: StorageType, offset: usize) -> f64 {
        match element {
            StorageType::F32 => self.word::<4>(offset).map_or(f64::NAN, |b| f64::from(f32::from_le_bytes(b))),
            StorageType::F16 => self.word::<2>(offset).map_or(f64::NAN, |b| f64::from(f16::from_le_bytes(b))),
            StorageType::Bf16 => self.word::<2>(offset).map_or(f64::NAN, |b| f64::from(bf16::from_le_bytes(b))),
            StorageType::Int8 => self.word::<1>(offset).map_or(f64::NAN, |b| f64::from(i8::from_le_bytes(b))),
            StorageType::Fp8 => self.word(offset).map_or(f64::NAN, |[b]| E4M3.decode(b)),
            StorageType::Int4 => self.nibble(offset).map_or(f64::NAN, |code| f64::from(code) - 8.0),
            StorageType::Mxfp4 | StorageType::Nvfp4 => self.nibble(offset).map_or(f64::NAN, |code| E2M1.decode(code)),
        }
    }

    fn nibble(&self, element: usize) -> Option<u8> {
        self.word(element / 2).map(|[byte]| (byte >> (element % 2 * 4)) & 0xF)
    }

    fn word<const N: usize>(&self, element: usize) -> Option<[u8; N]> {
        self.bytes.get(element * N..(element + 1) * N)?.try_into().ok()
    }
}

/// No quantised tensor has more dimensions.
const MOST_DIMS: usize = 4;
