//! Operands as bytes with dimensions: what goes to the device is exactly what the twin reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Element;

/// A dense array in row-major order whose dimensions may be padded in memory; padding holds zeros.
#[derive(Debug, Clone)]
pub struct Tensor {
    dims: Vec<usize>,
    strides: Vec<usize>,
    kind: Kind,
    bytes: Arc<Vec<u8>>,
}

/// Operands by the name of the WGSL variable.
pub type Tensors = BTreeMap<&'static str, Tensor>;

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A floating-point operand.
    Float(Element),
    /// An index or a count.
    Index,
}

impl Kind {
    const fn size_bytes(self) -> usize {
        match self {
            Self::Float(Element::F16) => 2,
            Self::Float(Element::F32) | Self::Index => 4,
        }
    }
}

impl From<Element> for Kind {
    fn from(element: Element) -> Self {
        Self::Float(element)
    }
}

impl Tensor {
    /// Zero-mean numbers of standard deviation `sigma` (the sum of four uniforms, so within 3.5 sigma), the same for the
    /// same seed on every platform. `padded` gives the dimensions in memory, each at least as large as in `dims`.
    pub fn random(dims: &[usize], padded: &[usize], element: Element, sigma: f64, seed: u64) -> Self {
        let mut tensor = Self::zeros(dims, padded, element.into());
        let row = *padded.last().unwrap_or(&1);
        let used = *dims.last().unwrap_or(&1);
        let rows_padded = rows_inside(dims, padded);
        let size = tensor.kind.size_bytes();
        let bytes = Arc::make_mut(&mut tensor.bytes);
        bytes.par_chunks_mut(row.max(1) * size).enumerate().for_each(|(index, chunk)| {
            if rows_padded(index) {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(index as u64);
                fill_normal(&mut chunk[..used * size], element, sigma, &mut rng);
            }
        });
        tensor
    }

    /// Indices or counts.
    pub fn indices(values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { dims: vec![values.len()], strides: vec![1], kind: Kind::Index, bytes: Arc::new(bytes) }
    }

    /// Given f32 values with these dimensions.
    pub fn floats(dims: &[usize], values: &[f32]) -> Self {
        let mut tensor = Self::zeros(dims, dims, Element::F32.into());
        *Arc::make_mut(&mut tensor.bytes) = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        tensor
    }

    /// The raw output of a kernel.
    pub fn from_bytes(dims: &[usize], padded: &[usize], kind: Kind, bytes: Vec<u8>) -> Self {
        Self { dims: dims.to_vec(), strides: strides(padded), kind, bytes: Arc::new(bytes) }
    }

    fn zeros(dims: &[usize], padded: &[usize], kind: Kind) -> Self {
        let length: usize = padded.iter().product();
        let bytes = vec![0; (length * kind.size_bytes()).next_multiple_of(4).max(4)];
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

    /// The floating-point element at `index`; NaN beyond the end.
    pub fn at(&self, index: &[usize]) -> f64 {
        let element = self.offset(index);
        match self.kind {
            Kind::Float(Element::F32) => self.word::<4>(element).map_or(f64::NAN, |b| f64::from(f32::from_le_bytes(b))),
            Kind::Float(Element::F16) => self.word::<2>(element).map_or(f64::NAN, |b| f64::from(f16::from_le_bytes(b))),
            Kind::Index => f64::from(self.index_at(index)),
        }
    }

    /// The index at `index`; the largest u32 beyond the end.
    pub fn index_at(&self, index: &[usize]) -> u32 {
        self.word::<4>(self.offset(index)).map_or(u32::MAX, u32::from_le_bytes)
    }

    fn offset(&self, index: &[usize]) -> usize {
        index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum()
    }

    fn word<const N: usize>(&self, element: usize) -> Option<[u8; N]> {
        self.bytes.get(element * N..(element + 1) * N)?.try_into().ok()
    }
}

fn strides(padded: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; padded.len()];
    for i in (1..padded.len()).rev() {
        strides[i - 1] = strides[i] * padded[i];
    }
    strides
}

/// Tells for the index of a row in padded memory whether it lies inside `dims`.
fn rows_inside(dims: &[usize], padded: &[usize]) -> impl Fn(usize) -> bool + Send + Sync + use<> {
    let outer: Vec<(usize, usize)> = dims.iter().copied().zip(padded.iter().copied()).rev().skip(1).collect();
    move |mut row| {
        outer.iter().all(|&(dim, padded)| {
            let inside = row % padded < dim;
            row /= padded;
            inside
        })
    }
}

fn fill_normal(bytes: &mut [u8], element: Element, sigma: f64, rng: &mut ChaCha8Rng) {
    // The sum of four uniforms on 0..65536 has mean 2 * 65535 and standard deviation 65536 / sqrt(3).
    #[expect(clippy::cast_possible_truncation, reason = "inputs are f32 by definition")]
    let scale = (sigma * 3f64.sqrt() / 65536.0) as f32;
    let mut draw = || {
        let bits = rng.next_u64();
        let sum = (0..4).map(|i| ((bits >> (16 * i)) & 0xFFFF) as i32).sum::<i32>();
        #[expect(clippy::cast_precision_loss, reason = "below 2^18")]
        let value = (sum - 2 * 65535) as f32 * scale;
        if value == 0.0 { scale } else { value }
    };
    match element {
        Element::F32 => bytes.chunks_exact_mut(4).for_each(|out| out.copy_from_slice(&draw().to_le_bytes())),
        Element::F16 => {
            bytes.chunks_exact_mut(2).for_each(|out| out.copy_from_slice(&f16::from_f32(draw()).to_le_bytes()));
        }
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
}
