//! Numbers to bytes and back, in every storage type.

use std::slice;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::kernels::types::StorageType;

/// Numbers that are converted at a time.
const BATCH: usize = 32;

/// Reads floating-point numbers that are `stride` elements apart from the first of `bytes` on. A stride of 0 repeats the
/// first.
pub(super) fn decode_at(bytes: &[u8], element: StorageType, stride: usize, out: &mut [f32]) {
    let size = usize::try_from(element.weight_bits()).unwrap_or(32) / 8;
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
fn decode(bytes: &[u8], element: StorageType, numbers: &mut [f32]) {
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
        StorageType::Int8 | StorageType::Int4 => unreachable!("codes are read one by one"),
    }
}

/// Stores numbers in a floating-point type.
pub(super) fn encode(numbers: &[f32], element: StorageType, bytes: &mut [u8]) {
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
        StorageType::Int8 | StorageType::Int4 => unreachable!("integers come from random_quantised"),
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

/// Stores int8 or int4 codes, `stride` elements apart from `at` on. The int4 code of zero is 8.
pub(super) fn store(codes: &[i8], element: StorageType, at: usize, stride: usize, bytes: &mut [u8]) {
    if element == StorageType::Int8 {
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
