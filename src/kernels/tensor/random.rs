//! Tensors of random numbers, in any type and order in memory, made on all cores.

use std::slice;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::draw::{BATCH, Draw, Place};
use super::parts::{Order, Part};
use super::{Arc, Axis, Element, Kind, Layout, Scaling, Tensor};

impl Tensor {
    /// Zero-mean numbers of standard deviation `sigma` (the sum of four uniforms, so within 3.5 sigma), the same for the
    /// same seed on every platform. `padded` gives the dimensions in memory, each at least as large as in `dims`. All
    /// types round the same numbers, whatever the padding.
    pub fn random(dims: &[usize], padded: &[usize], element: Element, sigma: f64, seed: u64) -> Self {
        Self::random_in_order(dims, &Axis::row_major(padded), element, sigma, seed)
    }

    /// As [`Tensor::random`], with any order in memory.
    pub fn random_in_order(dims: &[usize], axes: &[Axis], element: Element, sigma: f64, seed: u64) -> Self {
        let mut tensor = Self::zeros(dims, Layout::new(dims, axes), element.into());
        let size = tensor.kind.bits() / 8;
        let draw = Draw { dims, sigma, seed };
        tensor.fill(axes, &vec![1; dims.len()], |layout, part| {
            let ranges = part.numbers(dims);
            let place = Place::new(layout, &ranges, part.start);
            draw.rows(&ranges, |row, numbers| {
                place.runs(row, |columns, at, stride| {
                    let (numbers, bytes) = (&numbers[columns], &mut part.bytes[at * size..]);
                    if stride == 1 {
                        encode(numbers, element, bytes);
                    } else {
                        let places = bytes.chunks_mut(stride.max(1) * size);
                        places.zip(numbers).for_each(|(bytes, number)| encode(&[*number], element, bytes));
                    }
                });
            });
        });
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
        let draw = Draw { dims, sigma, seed };
        let most = if element == Element::Int8 { 127.0 } else { 7.0 };
        let scales = scales(&draw, scaling, most);
        let shared = shared(&scales.layout, dims, &scaling.block);
        let mut codes = Self::zeros(dims, Layout::new(dims, axes), element.into());
        codes.fill(axes, &vec![1; dims.len()], |layout, part| {
            let ranges = part.numbers(dims);
            let place = Place::new(layout, &ranges, part.start);
            let scale_place = Place::new(&shared, &ranges, 0);
            let (mut row_scales, mut row_codes) = (Vec::new(), Vec::new());
            draw.rows(&ranges, |row, numbers| {
                row_scales.resize(numbers.len(), 0.0);
                row_codes.resize(numbers.len(), 0);
                scale_place.runs(row, |columns, at, stride| {
                    decode_at(&scales, at, stride, &mut row_scales[columns]);
                });
                for ((code, number), scale) in row_codes.iter_mut().zip(numbers).zip(&row_scales) {
                    *code = round((number / scale).clamp(-most, most));
                }
                place.runs(row, |columns, at, stride| {
                    store(&row_codes[columns], element, at, stride, part.bytes);
                });
            });
        });
        codes.scales = Some((Box::new(scales), scaling.block.clone()));
        codes
    }

    /// Has all cores work on parts of the memory.
    fn fill(&mut self, axes: &[Axis], block: &[usize], work: impl Fn(&Layout, &mut Part) + Sync) {
        let order = Order { axes, bits: self.kind.bits(), block };
        let used = (self.layout.length * order.bits).div_ceil(8);
        let bytes = &mut Arc::make_mut(&mut self.bytes)[..used];
        Part::whole(&order, bytes).divide(&|mut part| work(&self.layout, &mut part));
    }
}

/// The largest magnitude that shares a scale over the largest code.
fn scales(draw: &Draw, scaling: &Scaling, most: f32) -> Tensor {
    let Scaling { block, axes, element } = scaling;
    let dims: Vec<usize> = draw.dims.iter().zip(block).map(|(dim, block)| dim.div_ceil(*block)).collect();
    let mut scales = Tensor::zeros(&dims, Layout::new(&dims, axes), (*element).into());
    let shared = shared(&scales.layout, draw.dims, block);
    scales.fill(axes, block, |_, part| {
        let ranges = part.numbers(draw.dims);
        let place = Place::new(&shared, &ranges, part.start);
        let mut largest = vec![0f32; part.elements()];
        draw.rows(&ranges, |row, numbers| {
            place.runs(row, |columns, at, stride| {
                let (numbers, largest) = (&numbers[columns], &mut largest[at..]);
                match stride {
                    0 => largest[0] = numbers.iter().fold(largest[0], |most, number| most.max(number.abs())),
                    1 => largest.iter_mut().zip(numbers).for_each(|(most, number)| *most = most.max(number.abs())),
                    _ => {
                        let largest = largest.iter_mut().step_by(stride);
                        largest.zip(numbers).for_each(|(most, number)| *most = most.max(number.abs()));
                    }
                }
            });
        });
        largest.iter_mut().for_each(|scale| *scale /= most);
        encode(&largest, *element, part.bytes);
    });
    scales
}

/// Where the scale of an element is, by the element's index.
fn shared(scales: &Layout, dims: &[usize], block: &[usize]) -> Layout {
    let tables = scales.tables.iter().zip(dims.iter().zip(block));
    let tables = tables.map(|(table, (&dim, block))| (0..dim).map(|i| table[i / block]).collect()).collect();
    Layout { tables, strides: scales.strides.clone(), length: scales.length }
}

/// Some elements of a tensor of floating-point numbers, `stride` apart from `at` on.
pub(super) fn decode_at(tensor: &Tensor, at: usize, stride: usize, out: &mut [f32]) {
    let Kind::Float(element) = tensor.kind else { return };
    let size = tensor.kind.bits() / 8;
    let bytes = &tensor.bytes[at * size..];
    match stride {
        0 => {
            let mut number = 0.0;
            decode(bytes, element, slice::from_mut(&mut number));
            out.fill(number);
        }
        1 => decode(bytes, element, out),
        _ => {
            let places = bytes.chunks(stride * size);
            places.zip(out).for_each(|(bytes, number)| decode(bytes, element, slice::from_mut(number)));
        }
    }
}

/// Reads numbers of a floating-point type.
fn decode(bytes: &[u8], element: Element, numbers: &mut [f32]) {
    match element {
        Element::F32 => {
            let numbers = numbers.iter_mut().zip(bytes.as_chunks().0);
            numbers.for_each(|(number, bytes)| *number = f32::from_le_bytes(*bytes));
        }
        Element::F16 => {
            for (numbers, bytes) in numbers.chunks_mut(BATCH).zip(bytes.chunks(2 * BATCH)) {
                let mut halves = [f16::ZERO; BATCH];
                halves.iter_mut().zip(bytes.as_chunks().0).for_each(|(half, bytes)| *half = f16::from_le_bytes(*bytes));
                halves[..numbers.len()].convert_to_f32_slice(numbers);
            }
        }
        Element::Bf16 => {
            let numbers = numbers.iter_mut().zip(bytes.as_chunks().0);
            numbers.for_each(|(number, bytes)| *number = bf16::from_le_bytes(*bytes).to_f32());
        }
        Element::Int8 | Element::Int4 => unreachable!("codes are read one by one"),
    }
}

/// Stores numbers in a floating-point type.
pub(super) fn encode(numbers: &[f32], element: Element, bytes: &mut [u8]) {
    match element {
        Element::F32 => {
            let places = bytes.as_chunks_mut().0.iter_mut();
            places.zip(numbers).for_each(|(bytes, number)| *bytes = number.to_le_bytes());
        }
        Element::F16 => {
            for (numbers, bytes) in numbers.chunks(BATCH).zip(bytes.chunks_mut(2 * BATCH)) {
                let halves = &mut [f16::ZERO; BATCH][..numbers.len()];
                halves.convert_from_f32_slice(numbers);
                bytes.as_chunks_mut().0.iter_mut().zip(halves).for_each(|(bytes, half)| *bytes = half.to_le_bytes());
            }
        }
        Element::Bf16 => {
            let places = bytes.as_chunks_mut().0.iter_mut();
            places.zip(numbers).for_each(|(bytes, number)| *bytes = bf16::from_f32(*number).to_le_bytes());
        }
        Element::Int8 | Element::Int4 => unreachable!("integers come from random_quantised"),
    }
}

/// To the nearest integer, halves away from zero, as `f32::round`: that is a call of a function where the target has no
/// instruction for it.
pub(super) fn round(value: f32) -> i8 {
    // An f32 of this size has no fraction: adding rounds to an integer, halves to even, and leaves it in the lowest bits.
    const WHOLE: f32 = 12_582_912.0;
    let nearest = (value + WHOLE) - WHOLE;
    let is_half = (value - nearest).abs() == 0.5;
    let away = if is_half { value + 0.5f32.copysign(value) } else { nearest };
    i8::from_le_bytes([(away + WHOLE).to_bits().to_le_bytes()[0]])
}

/// Stores codes, `stride` elements apart from `at` on. A code of 8 is the zero of int4.
fn store(codes: &[i8], element: Element, at: usize, stride: usize, bytes: &mut [u8]) {
    if element == Element::Int8 {
        let places = bytes[at..].iter_mut().step_by(stride.max(1));
        return places.zip(codes).for_each(|(byte, code)| *byte = code.to_ne_bytes()[0]);
    }
    for (i, code) in codes.iter().enumerate() {
        let place = at + i * stride;
        let (byte, shift) = (&mut bytes[place / 2], place % 2 * 4);
        let [code] = (code + 8).to_ne_bytes();
        *byte = *byte & !(0xF << shift) | code << shift;
    }
}
