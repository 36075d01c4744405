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
    scales: Option<(Box<Tensor>, Scaling)>,
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

/// Neighbours along one dimension that share a word: what a packed dot product takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// The dimension.
    pub dim: usize,
    /// How many share a word; divides the padded dimension.
    pub count: usize,
}

/// How many neighbours along each dimension share a scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaling {
    /// Along each dimension; at least 1.
    pub block: Vec<usize>,
    /// What a scale is stored in: a floating-point type.
    pub element: Element,
    /// What the last dimension of the scales is padded to a multiple of.
    pub align: usize,
}

/// Where an element is: the sum over the dimensions of index times stride, one dimension split where it is packed.
#[derive(Debug, Clone)]
struct Layout {
    strides: Vec<usize>,
    packing: Option<Packing>,
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
    fn new(padded: &[usize], packing: Option<Packing>) -> Self {
        let mut strides = vec![1; padded.len()];
        for i in (1..padded.len()).rev() {
            strides[i - 1] = strides[i] * padded[i];
        }
        // Dimensions inside the packed one are the word's stride apart; the packed one counts words.
        if let Some(Packing { dim, count }) = packing {
            strides[dim + 1..].iter_mut().for_each(|stride| *stride *= count);
            strides[dim] *= count;
        }
        Self { strides, packing }
    }

    fn offset(&self, index: &[usize]) -> usize {
        let mut offset = 0;
        for (dim, (&i, &stride)) in index.iter().zip(&self.strides).enumerate() {
            offset += match self.packing {
                Some(packing) if packing.dim == dim => i / packing.count * stride + i % packing.count,
                _ => i * stride,
            };
        }
        offset
    }
}

impl Tensor {
    /// Zero-mean numbers of standard deviation `sigma` (the sum of four uniforms, so within 3.5 sigma), the same for the
    /// same seed on every platform. `padded` gives the dimensions in memory, each at least as large as in `dims`. All
    /// types round the same numbers, whatever the padding.
    pub fn random(dims: &[usize], padded: &[usize], element: Element, sigma: f64, seed: u64) -> Self {
        let mut tensor = Self::zeros(dims, padded, element.into());
        let row = *padded.last().unwrap_or(&1);
        let used = *dims.last().unwrap_or(&1);
        let logical_row = logical_rows(dims, padded);
        let size = tensor.kind.bits() / 8;
        let bytes = Arc::make_mut(&mut tensor.bytes);
        bytes.par_chunks_mut(row.max(1) * size).enumerate().for_each(|(index, chunk)| {
            if let Some(stream) = logical_row(index) {
                let mut draw = Draw::new(seed, stream, sigma);
                chunk[..used * size].chunks_exact_mut(size).for_each(|out| encode(draw.next(), element, out));
            }
        });
        tensor
    }

    /// As [`Tensor::random`], quantised: `int8` or `int4` codes, symmetric, with the largest magnitude that shares a scale
    /// at the largest code. Scales share no index of the first dimension.
    pub fn random_quantised(
        dims: &[usize],
        padded: &[usize],
        element: Element,
        packing: Option<Packing>,
        scaling: &Scaling,
        sigma: f64,
        seed: u64,
    ) -> Self {
        let scale_dims: Vec<usize> = dims.iter().zip(&scaling.block).map(|(dim, block)| dim.div_ceil(*block)).collect();
        let mut scale_padded: Vec<usize> =
            padded.iter().zip(&scaling.block).map(|(dim, block)| dim.div_ceil(*block)).collect();
        if let Some(last) = scale_padded.last_mut() {
            *last = last.next_multiple_of(scaling.align);
        }
        let mut scales = Self::zeros(&scale_dims, &scale_padded, scaling.element.into());
        let mut codes = Self::zeros(dims, padded, element.into());
        codes.layout = Layout::new(padded, packing);
        let bits = codes.kind.bits();
        let (outer_codes, outer_scales) =
            (padded[1..].iter().product::<usize>() * bits / 8, scale_padded[1..].iter().product::<usize>());
        let slab = Slab { dims, layout: &codes.layout, scaling, scale_layout: &scales.layout, element, sigma, seed };
        Arc::make_mut(&mut codes.bytes)
            .par_chunks_mut(outer_codes.max(1))
            .zip(Arc::make_mut(&mut scales.bytes).par_chunks_mut(outer_scales.max(1) * scales.kind.bits() / 8))
            .enumerate()
            .for_each(|(outer, (codes, scales))| slab.fill(outer, codes, scales));
        codes.scales = Some((Box::new(scales), scaling.clone()));
        codes
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
        Self { dims: dims.to_vec(), layout: Layout::new(padded, None), kind, bytes: Arc::new(bytes), scales: None }
    }

    fn zeros(dims: &[usize], padded: &[usize], kind: Kind) -> Self {
        let length: usize = padded.iter().product();
        // A code of 8 is the zero of int4.
        let zero = if kind == Kind::Float(Element::Int4) { 0x88 } else { 0 };
        let bytes = vec![zero; (length * kind.bits()).div_ceil(8).next_multiple_of(4).max(4)];
        Self::from_bytes(dims, padded, kind, bytes)
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
            Some((scales, scaling)) => {
                let at: Vec<usize> = index.iter().zip(&scaling.block).map(|(i, block)| i / block).collect();
                code * scales.at(&at)
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

/// What quantising one index of the first dimension needs.
struct Slab<'a> {
    dims: &'a [usize],
    layout: &'a Layout,
    scaling: &'a Scaling,
    scale_layout: &'a Layout,
    element: Element,
    sigma: f64,
    seed: u64,
}

impl Slab<'_> {
    fn fill(&self, outer: usize, codes: &mut [u8], scales: &mut [u8]) {
        if outer >= self.dims[0] {
            return;
        }
        let inner = &self.dims[1..];
        let last = *inner.last().unwrap_or(&1);
        let rows = inner.iter().product::<usize>() / last.max(1);
        let mut values = Vec::with_capacity(rows * last);
        for row in 0..rows {
            let mut draw = Draw::new(self.seed, (outer * rows + row) as u64, self.sigma);
            values.extend((0..last).map(|_| draw.next()));
        }
        let mut largest = vec![0f32; scales.len() * 8 / Kind::from(self.scaling.element).bits()];
        let size = Kind::from(self.scaling.element).bits() / 8;
        for (value, at) in values.iter().zip(Indices::of(inner)) {
            let slot = &mut largest[self.scale_at(&at)];
            *slot = slot.max(value.abs());
        }
        let (most, zero) = if self.element == Element::Int8 { (127.0, 0) } else { (7.0, 8) };
        for (scale, out) in largest.iter_mut().zip(scales.chunks_exact_mut(size)) {
            encode(*scale / most, self.scaling.element, out);
            // Codes are chosen for the scale as it is stored.
            *scale = decode_float(self.scaling.element, out);
        }
        for (value, at) in values.iter().zip(Indices::of(inner)) {
            #[expect(clippy::cast_possible_truncation, reason = "clamped before the cast")]
            let code = (value / largest[self.scale_at(&at)]).round().clamp(-most, most) as i8 + zero;
            let offset = self.layout.offset(&prefixed(&at));
            if self.element == Element::Int8 {
                codes[offset] = code.to_le_bytes()[0];
            } else {
                let (byte, shift) = (&mut codes[offset / 2], offset % 2 * 4);
                *byte = *byte & !(0xF << shift) | (code.to_le_bytes()[0] & 0xF) << shift;
            }
        }
    }

    /// Of an element at `at` inside this index of the first dimension.
    fn scale_at(&self, at: &[usize]) -> usize {
        let block: Vec<usize> = at.iter().zip(&self.scaling.block[1..]).map(|(i, block)| i / block).collect();
        self.scale_layout.offset(&prefixed(&block))
    }
}

fn prefixed(at: &[usize]) -> Vec<usize> {
    std::iter::once(0).chain(at.iter().copied()).collect()
}

/// All indices of some dimensions, the last one fastest.
struct Indices<'a> {
    dims: &'a [usize],
    next: usize,
}

impl<'a> Indices<'a> {
    fn of(dims: &'a [usize]) -> Self {
        Self { dims, next: 0 }
    }
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

/// Tells for the index of a row in padded memory which row of `dims` it is, if any.
fn logical_rows(dims: &[usize], padded: &[usize]) -> impl Fn(usize) -> Option<u64> + Send + Sync + use<> {
    let outer: Vec<(usize, usize)> = dims.iter().copied().zip(padded.iter().copied()).rev().skip(1).collect();
    move |mut row| {
        let (mut logical, mut stride) = (0, 1);
        for &(dim, padded) in &outer {
            if row % padded >= dim {
                return None;
            }
            logical += row % padded * stride;
            stride *= dim;
            row /= padded;
        }
        Some(logical as u64)
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
mod tests {
    use super::*;

    #[test]
    fn padding_is_zero_and_everything_else_is_not() {
        let tensor = Tensor::random(&[2, 3, 5], &[2, 4, 8], Element::F16, 1.0, 7);
        for (expert, row, column) in (0..2).flat_map(|e| (0..4).flat_map(move |r| (0..8).map(move |c| (e, r, c)))) {
            let value = tensor.at(&[expert, row, column]);
            assert_eq!(value == 0.0, row >= 3 || column >= 5, "at {expert} {row} {column}: {value}");
        }
    }

    #[test]
    fn random_numbers_have_the_asked_deviation_and_repeat_for_a_seed() {
        let draw = |seed| Tensor::random(&[64, 64], &[64, 64], Element::F32, 0.5, seed);
        let tensor = draw(1);
        let variance: f64 =
            (0..64).flat_map(|i| (0..64).map(move |j| (i, j))).map(|(i, j)| tensor.at(&[i, j]).powi(2)).sum::<f64>()
                / 4096.0;
        assert!((variance.sqrt() - 0.5).abs() < 0.02, "deviation {}", variance.sqrt());
        assert_eq!(tensor.bytes(), draw(1).bytes());
        assert_ne!(tensor.bytes(), draw(2).bytes());
    }

    #[test]
    fn all_types_round_the_same_numbers() {
        let exact = Tensor::random(&[3, 5], &[3, 5], Element::F32, 1.0, 7);
        for (element, padded, error) in [(Element::F16, [4, 8], 1e-3), (Element::Bf16, [4, 6], 8e-3)] {
            let rounded = Tensor::random(&[3, 5], &padded, element, 1.0, 7);
            for (row, column) in (0..3).flat_map(|i| (0..5).map(move |j| (i, j))) {
                let (got, want) = (rounded.at(&[row, column]), exact.at(&[row, column]));
                assert!((got - want).abs() <= error * want.abs(), "{element} {row} {column}: {got} {want}");
            }
        }
    }

    /// Weights [experts, k, n] as the integer kernels take them.
    fn weights(element: Element, count: usize, block: [usize; 3], scale: Element) -> Tensor {
        let scaling = Scaling { block: block.to_vec(), element: scale, align: 4 };
        let packing = Some(Packing { dim: 1, count });
        Tensor::random_quantised(&[2, 37, 5], &[2, 64, 8], element, packing, &scaling, 1.0, 7)
    }

    #[test]
    fn quantised_numbers_are_within_half_a_step_of_what_they_stand_for() {
        let exact = Tensor::random(&[2, 37, 5], &[2, 37, 5], Element::F32, 1.0, 7);
        for (tensor, most) in [
            (weights(Element::Int8, 4, [1, 37, 1], Element::F32), 127.0),
            (weights(Element::Int4, 8, [1, 32, 1], Element::F16), 7.0),
        ] {
            for (e, k, n) in (0..2).flat_map(|e| (0..37).flat_map(move |k| (0..5).map(move |n| (e, k, n)))) {
                let (got, want) = (tensor.at(&[e, k, n]), exact.at(&[e, k, n]));
                // No number is beyond 3.5, so no step is beyond that over the largest code; f16 rounds the scale.
                assert!((got - want).abs() <= 0.51 * 3.5 / most, "{e} {k} {n}: {got} {want}");
            }
        }
    }

    #[test]
    fn packed_words_hold_neighbours_along_k_with_the_first_lowest() {
        let tensor = weights(Element::Int8, 4, [1, 37, 1], Element::F32);
        let scale = tensor.scales().unwrap().at(&[1, 0, 3]);
        // Expert 1, k 8..12, column 3: word (16 * 1 + 2) * 8 + 3.
        let word = &tensor.bytes()[((16 + 2) * 8 + 3) * 4..][..4];
        for (i, &byte) in word.iter().enumerate() {
            assert_eq!(f64::from(i8::from_le_bytes([byte])) * scale, tensor.at(&[1, 8 + i, 3]));
        }
        let tensor = weights(Element::Int4, 8, [1, 32, 1], Element::F16);
        let scale = tensor.scales().unwrap().at(&[1, 1, 4]);
        // k 32..40 of expert 1, column 4: k 37 and more are padding.
        let at = ((8 + 4) * 8 + 4) * 4;
        let word = u32::from_le_bytes(tensor.bytes()[at..at + 4].try_into().unwrap());
        for i in 0..8 {
            let code = f64::from((word >> (4 * i)) & 0xF) - 8.0;
            let want = if i < 5 { tensor.at(&[1, 32 + i, 4]) } else { 0.0 };
            assert_eq!(code * scale, want, "{i}");
        }
    }
}
