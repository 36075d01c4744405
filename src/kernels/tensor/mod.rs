//! Operands as bytes with dimensions: what goes to the device is exactly what the twin reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

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
        let axes: Vec<Axis> = (0..).zip(padded).map(|(dim, &count)| Axis { dim, step: 1, count }).collect();
        Self::new(dims, &axes)
    }

    fn offset(&self, index: &[usize]) -> usize {
        let tables = self.tables.iter().zip(&self.strides);
        index.iter().zip(tables).map(|(&i, (table, stride))| table.get(i).copied().unwrap_or(i * stride)).sum()
    }
}

impl Tensor {
    /// Zero-mean numbers of standard deviation `sigma` (the sum of four uniforms, so within 3.5 sigma), the same for the
    /// same seed on every platform. `padded` gives the dimensions in memory, each at least as large as in `dims`. All
    /// types round the same numbers, whatever the padding.
    pub fn random(dims: &[usize], padded: &[usize], element: Element, sigma: f64, seed: u64) -> Self {
        let axes: Vec<Axis> = (0..).zip(padded).map(|(dim, &count)| Axis { dim, step: 1, count }).collect();
        Self::random_in_order(dims, &axes, element, sigma, seed)
    }

    /// As [`Tensor::random`], with any order in memory that begins with the first dimension.
    pub fn random_in_order(dims: &[usize], axes: &[Axis], element: Element, sigma: f64, seed: u64) -> Self {
        let mut tensor = Self::zeros(dims, Layout::new(dims, axes), element.into());
        let size = tensor.kind.bits() / 8;
        let slab = Slab { layout: &tensor.layout, dims, sigma, seed };
        Arc::make_mut(&mut tensor.bytes).par_chunks_mut(slab.length(axes) * size).enumerate().for_each(
            |(outer, bytes)| {
                slab.draw(outer, |at, value| encode(value, element, &mut bytes[at * size..(at + 1) * size]));
            },
        );
        tensor
    }

    /// As [`Tensor::random_in_order`], quantised: `int8` or `int4` codes, symmetric, with the largest magnitude that
    /// shares a scale at the largest code.
    pub fn random_quantised(
        dims: &[usize],
        axes: &[Axis],
        element: Element,
        scaling: &Scaling,
        sigma: f64,
        seed: u64,
    ) -> Self {
        let scale_dims: Vec<usize> = dims.iter().zip(&scaling.block).map(|(dim, block)| dim.div_ceil(*block)).collect();
        let mut scales = Self::zeros(&scale_dims, Layout::new(&scale_dims, &scaling.axes), scaling.element.into());
        let mut codes = Self::zeros(dims, Layout::new(dims, axes), element.into());
        let slab = Slab { layout: &codes.layout, dims, sigma, seed };
        let shared = Slab { layout: &shared(&scales.layout, dims, &scaling.block), ..slab };
        let code_bytes = slab.length(axes) * codes.kind.bits() / 8;
        let scale_bytes = slab.length(&scaling.axes) * scales.kind.bits() / 8;
        Arc::make_mut(&mut codes.bytes)
            .par_chunks_mut(code_bytes)
            .zip(Arc::make_mut(&mut scales.bytes).par_chunks_mut(scale_bytes))
            .enumerate()
            .for_each(|(outer, (codes, scales))| {
                quantise(&slab, &shared, outer, element, scaling.element, codes, scales);
            });
        codes.scales = Some((Box::new(scales), scaling.block.clone()));
        codes
    }

    /// The same layout with other numbers, given in row-major order of the dimensions; only for floating-point types.
    pub fn with_values(&self, values: &[f32]) -> Self {
        let Kind::Float(element) = self.kind else { return self.clone() };
        let mut tensor = self.clone();
        let size = self.kind.bits() / 8;
        let bytes = Arc::make_mut(&mut tensor.bytes);
        for (at, value) in (Indices { dims: &self.dims, next: 0 }).zip(values) {
            let offset = self.layout.offset(&at);
            encode(*value, element, &mut bytes[offset * size..(offset + 1) * size]);
        }
        tensor
    }

    /// The same layout with these int8 codes by index, and scales of one; only for int8.
    pub fn with_codes(&self, code: impl Fn(&[usize]) -> i8) -> Self {
        let mut tensor = self.clone();
        let bytes = Arc::make_mut(&mut tensor.bytes);
        for at in (Indices { dims: &self.dims, next: 0 }) {
            bytes[self.layout.offset(&at)] = code(&at).to_ne_bytes()[0];
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
        // A code of 8 is the zero of int4.
        let zero = if kind == Kind::Float(Element::Int4) { 0x88 } else { 0 };
        let bytes = vec![zero; (layout.length * kind.bits()).div_ceil(8).next_multiple_of(4).max(4)];
        Self { dims: dims.to_vec(), layout, kind, bytes: Arc::new(bytes), scales: None }
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

/// The part of a tensor that belongs to one index of the first dimension.
#[derive(Clone, Copy)]
struct Slab<'a> {
    layout: &'a Layout,
    dims: &'a [usize],
    sigma: f64,
    seed: u64,
}

impl Slab<'_> {
    /// Elements in memory; the first axis is the first dimension.
    fn length(&self, axes: &[Axis]) -> usize {
        axes[1..].iter().map(|axis| axis.count).product::<usize>().max(1)
    }

    /// Draws the slab's numbers row by row and hands on each with its place in the slab.
    fn draw(&self, outer: usize, mut put: impl FnMut(usize, f32)) {
        if outer >= self.dims[0] {
            return;
        }
        let tables = &self.layout.tables;
        let (columns, rows) = match tables.len() {
            1 => (None, 1),
            n => (Some(&tables[n - 1]), self.dims[1..n - 1].iter().product()),
        };
        for row in 0..rows {
            let mut rest = row;
            let mut at = 0;
            for table in tables[1..].iter().rev().skip(1) {
                at += table[rest % table.len()];
                rest /= table.len();
            }
            let mut draw = Draw::new(self.seed, (outer * rows + row) as u64, self.sigma);
            match columns {
                Some(columns) => columns.iter().for_each(|column| put(at + column, draw.next())),
                None => put(0, draw.next()),
            }
        }
    }
}

/// Where the scale of an element is, by the element's index.
fn shared(scales: &Layout, dims: &[usize], block: &[usize]) -> Layout {
    let tables = scales.tables.iter().zip(dims.iter().zip(block));
    let tables = tables.map(|(table, (&dim, block))| (0..dim).map(|i| table[i / block]).collect()).collect();
    Layout { tables, strides: scales.strides.clone(), length: scales.length }
}

fn quantise(
    slab: &Slab,
    shared: &Slab,
    outer: usize,
    element: Element,
    scale_element: Element,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    let size = Kind::from(scale_element).bits() / 8;
    let mut scale = vec![0f32; scales.len() / size];
    shared.draw(outer, |at, value| scale[at] = scale[at].max(value.abs()));
    let (most, zero) = if element == Element::Int8 { (127.0, 0) } else { (7.0, 8) };
    for (scale, out) in scale.iter_mut().zip(scales.chunks_exact_mut(size)) {
        encode(*scale / most, scale_element, out);
        // Codes are chosen for the scale as it is stored.
        *scale = decode_float(scale_element, out);
    }
    let mut divisors = Vec::new();
    shared.draw(outer, |at, _| divisors.push(scale[at]));
    let mut divisors = divisors.into_iter();
    slab.draw(outer, |at, value| {
        let Some(divisor) = divisors.next() else { return };
        #[expect(clippy::cast_possible_truncation, reason = "clamped before the cast")]
        let code = (value / divisor).round().clamp(-most, most) as i8 + zero;
        let [code] = code.to_le_bytes();
        if element == Element::Int8 {
            codes[at] = code;
        } else {
            let (byte, shift) = (&mut codes[at / 2], at % 2 * 4);
            *byte = *byte & !(0xF << shift) | code << shift;
        }
    });
}

/// All indices of some dimensions, the last one fastest.
struct Indices<'a> {
    dims: &'a [usize],
    next: usize,
}

impl Iterator for Indices<'_> {
    type Item = Vec<usize>;
    fn next(&mut self) -> Option<Vec<usize>> {
        let mut rest = self.next;
        self.next += 1;
        let mut at = vec![0; self.dims.len()];
        for (i, &dim) in at.iter_mut().zip(self.dims).rev() {
            *i = rest % dim;
            rest /= dim;
        }
        (rest == 0).then_some(at)
    }
}

/// The numbers of one row.
struct Draw {
    rng: ChaCha8Rng,
    scale: f32,
}

impl Draw {
    fn new(seed: u64, stream: u64, sigma: f64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        // The sum of four uniforms on 0..65536 has mean 2 * 65535 and standard deviation 65536 / sqrt(3).
        #[expect(clippy::cast_possible_truncation, reason = "inputs are f32 by definition")]
        let scale = (sigma * 3f64.sqrt() / 65536.0) as f32;
        Self { rng, scale }
    }

    fn next(&mut self) -> f32 {
        let bits = self.rng.next_u64();
        let sum = (0..4).map(|i| ((bits >> (16 * i)) & 0xFFFF) as i32).sum::<i32>();
        #[expect(clippy::cast_precision_loss, reason = "below 2^18")]
        let value = (sum - 2 * 65535) as f32 * self.scale;
        if value == 0.0 { self.scale } else { value }
    }
}

/// Stores a number in a floating-point type.
fn encode(value: f32, element: Element, out: &mut [u8]) {
    match element {
        Element::F32 => out.copy_from_slice(&value.to_le_bytes()),
        Element::F16 => out.copy_from_slice(&f16::from_f32(value).to_le_bytes()),
        Element::Bf16 => out.copy_from_slice(&bf16::from_f32(value).to_le_bytes()),
        Element::Int8 | Element::Int4 => unreachable!("integers come from random_quantised"),
    }
}

fn decode_float(element: Element, bytes: &[u8]) -> f32 {
    match (element, bytes) {
        (Element::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        (Element::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
        (Element::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
        _ => f32::NAN,
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
