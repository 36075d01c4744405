//! Numbers to bytes and back, in every storage type.

use std::slice;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::kernels::tensor::layout::TensorType;
use crate::kernels::tensor::minifloat::{E2M1, E4M3, decode_exponent, encode_exponent};
use crate::kernels::types::StorageType;

/// Numbers that are converted at a time.
const BATCH: usize = 32;

/// Reads floating-point numbers that are `stride` elements apart from the first of `bytes` on. A stride of 0 repeats the
/// first.
pub(super) fn decode_at(bytes: &[u8], kind: TensorType, stride: usize, out: &mut [f32]) {
    let size = kind.bits() / 8;
    match stride {
        0 => {
            let mut number = 0.0;
            decode(bytes, kind, slice::from_mut(&mut number));
            out.fill(number);
        }
        1 => decode(bytes, kind, out),
        _ => {
            let places = bytes.chunks(stride * size);
            places.zip(out).for_each(|(bytes, number)| decode(bytes, kind, slice::from_mut(number)));
        }
    }
}

/// Reads numbers of a floating-point type, or scales of one byte.
fn decode(bytes: &[u8], kind: TensorType, numbers: &mut [f32]) {
    let element = match kind {
        TensorType::Float(element) => element,
        TensorType::Exponent => return decode_bytes(bytes, decode_exponent, numbers),
        TensorType::Index => unreachable!("indices are read one by one"),
    };
    match element {
        StorageType::F32 => {
            let numbers = numbers.iter_mut().zip(bytes.as_chunks().0);
            numbers.for_each(|(number, bytes)| *number = f32::from_le_bytes(*bytes));
        }
        StorageType::F16 => {
            for (numbers, bytes) in numbers.chunks_mut(BATCH).zip(bytes.chunks(2 * BATCH)) {
                let mut halves = [f16::ZERO; BATCH];
                halves.iter_mut().zip(bytes.as_chunks().0).for_each(|(half, bytes)| *half = f16::from_le_bytes(*bytes));
                halves[..numbers.len()].convert_to_f32_slice(numbers);
            }
        }
        StorageType::Bf16 => {
            let numbers = numbers.iter_mut().zip(bytes.as_chunks().0);
            numbers.for_each(|(number, bytes)| *number = bf16::from_le_bytes(*bytes).to_f32());
        }
        StorageType::Fp8 => decode_bytes(bytes, |code| E4M3.decode(code), numbers),
        StorageType::Int8 | StorageType::Int4 | StorageType::Mxfp4 | StorageType::Nvfp4 => {
            unreachable!("codes are read one by one")
        }
    }
}

fn decode_bytes(bytes: &[u8], decode: impl Fn(u8) -> f64, numbers: &mut [f32]) {
    #[expect(clippy::cast_possible_truncation, reason = "f32 holds the numbers of all codes")]
    numbers.iter_mut().zip(bytes).for_each(|(number, code)| *number = decode(*code) as f32);
}

/// Stores numbers in a floating-point type, or as scales of one byte.
pub(super) fn encode(numbers: &[f32], kind: TensorType, bytes: &mut [u8]) {
    let element = match kind {
        TensorType::Float(element) => element,
        TensorType::Exponent => return encode_bytes(numbers, encode_exponent, bytes),
        TensorType::Index => unreachable!("indices are given as bytes"),
    };
    match element {
        StorageType::F32 => {
            let places = bytes.as_chunks_mut().0.iter_mut();
            places.zip(numbers).for_each(|(bytes, number)| *bytes = number.to_le_bytes());
        }
        StorageType::F16 => {
            for (numbers, bytes) in numbers.chunks(BATCH).zip(bytes.chunks_mut(2 * BATCH)) {
                let halves = &mut [f16::ZERO; BATCH][..numbers.len()];
                halves.convert_from_f32_slice(numbers);
                bytes.as_chunks_mut().0.iter_mut().zip(halves).for_each(|(bytes, half)| *bytes = half.to_le_bytes());
            }
        }
        StorageType::Bf16 => {
            let places = bytes.as_chunks_mut().0.iter_mut();
            places.zip(numbers).for_each(|(bytes, number)| *bytes = bf16::from_f32(*number).to_le_bytes());
        }
        StorageType::Fp8 => encode_bytes(numbers, |number| E4M3.encode(number), bytes),
        StorageType::Int8 | StorageType::Int4 | StorageType::Mxfp4 | StorageType::Nvfp4 => {
            unreachable!("codes come from random_quantised")
        }
    }
}

fn encode_bytes(numbers: &[f32], encode: impl Fn(f32) -> u8, bytes: &mut [u8]) {
    bytes.iter_mut().zip(numbers).for_each(|(byte, number)| *byte = encode(*number));
}

/// The largest number that the code of a weight may stand for. A scale that is a power of two is rounded down: then the
/// largest number of a group is up to twice this one, and becomes 6 at most.
pub(super) fn largest_code(element: StorageType) -> f32 {
    match element {
        StorageType::Int8 => 127.0,
        StorageType::Int4 => 7.0,
        StorageType::Fp8 => 448.0,
        StorageType::Mxfp4 => 4.0,
        StorageType::Nvfp4 => 6.0,
        StorageType::F32 | StorageType::F16 | StorageType::Bf16 => unreachable!("not quantised"),
    }
}

/// The code of a number that was divided by its scale. The int4 code of zero is 8.
pub(super) fn quantise(value: f32, element: StorageType) -> u8 {
    match element {
        StorageType::Int8 => round(value.clamp(-127.0, 127.0)).to_le_bytes()[0],
        StorageType::Int4 => (round(value.clamp(-7.0, 7.0)) + 8).to_le_bytes()[0],
        StorageType::Fp8 => E4M3.encode(value),
        StorageType::Mxfp4 | StorageType::Nvfp4 => E2M1.encode(value),
        StorageType::F32 | StorageType::F16 | StorageType::Bf16 => unreachable!("not quantised"),
    }
}

/// The nearest integer, halves away from zero, like `f32::round`. That is a function call on targets without an instruction
/// for it.
pub(super) fn round(value: f32) -> i8 {
    // An f32 of this size has no fraction. So the addition rounds to an integer, halves to even, in the lowest bits.
    const WHOLE: f32 = 12_582_912.0;
    let nearest = (value + WHOLE) - WHOLE;
    let is_half = (value - nearest).abs() == 0.5;
    let away = if is_half { value + 0.5f32.copysign(value) } else { nearest };
    i8::from_le_bytes([(away + WHOLE).to_bits().to_le_bytes()[0]])
}

/// Stores codes of 4 or 8 bits, `stride` elements apart from `at` on.
pub(super) fn store(codes: &[u8], bits: usize, at: usize, stride: usize, bytes: &mut [u8]) {
    if bits == 8 {
        let places = bytes[at..].iter_mut().step_by(stride.max(1));
        return places.zip(codes).for_each(|(byte, code)| *byte = *code);
    }
    for (i, code) in codes.iter().enumerate() {
        let place = at + i * stride;
        let (byte, shift) = (&mut bytes[place / 2], place % 2 * 4);
        *byte = *byte & !(0xF << shift) | code << shift;
    }
}
