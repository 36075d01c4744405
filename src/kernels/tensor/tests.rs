use std::sync::Mutex;

use crate::kernels::tensor::codec::round;
use crate::kernels::tensor::draw::Random;
use crate::kernels::tensor::layout::{MemoryAxis, ScaleLayout, TensorType};
use crate::kernels::tensor::operand::Tensor;
use crate::kernels::tensor::parts::{MemoryPart, Order};
use crate::kernels::types::StorageType;

#[test]
fn padding_is_zero_and_everything_else_is_not() {
    let tensor = Tensor::random(&[2, 3, 5], &[2, 4, 8], StorageType::F16, Random { sigma: 1.0, seed: 7 });
    for (expert, row, column) in (0..2).flat_map(|e| (0..4).flat_map(move |r| (0..8).map(move |c| (e, r, c)))) {
        let value = tensor.at(&[expert, row, column]);
        assert_eq!(value == 0.0, row >= 3 || column >= 5, "at {expert} {row} {column}: {value}");
    }
}

#[test]
fn random_numbers_have_the_asked_deviation_and_repeat_for_a_seed() {
    let draw = |seed| Tensor::random(&[64, 64], &[64, 64], StorageType::F32, Random { sigma: 0.5, seed });
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
    let exact = Tensor::random(&[3, 5], &[3, 5], StorageType::F32, Random { sigma: 1.0, seed: 7 });
    for (element, padded, error) in [(StorageType::F16, [4, 8], 1e-3), (StorageType::Bf16, [4, 6], 8e-3)] {
        let rounded = Tensor::random(&[3, 5], &padded, element, Random { sigma: 1.0, seed: 7 });
        for (row, column) in (0..3).flat_map(|i| (0..5).map(move |j| (i, j))) {
            let (got, want) = (rounded.at(&[row, column]), exact.at(&[row, column]));
            assert!((got - want).abs() <= error * want.abs(), "{element} {row} {column}: {got} {want}");
        }
    }
}

/// Weights [experts, k, n] with `count` neighbours along k in a word, k padded to 64 and n to 8.
fn weights(element: StorageType, count: usize, block: usize, scale: impl Into<TensorType>) -> Tensor {
    let axis = |dim, step, count| MemoryAxis { dim, step, count };
    let axes = [axis(0, 1, 2), axis(1, count, 64 / count), axis(2, 1, 8), axis(1, 1, count)];
    let scaling = ScaleLayout {
        block: vec![1, block, 1],
        axes: vec![axis(0, 1, 2), axis(1, 1, 2), axis(2, 1, 8)],
        kind: scale.into(),
    };
    Tensor::random_quantised(&[2, 37, 5], &axes, element, &scaling, Random { sigma: 1.0, seed: 7 })
}

#[test]
fn quantised_numbers_are_within_half_a_step_of_the_drawn_ones() {
    let exact = Tensor::random(&[2, 37, 5], &[2, 37, 5], StorageType::F32, Random { sigma: 1.0, seed: 7 });
    for (tensor, most) in [
        (weights(StorageType::Int8, 4, 37, StorageType::F32), 127.0),
        (weights(StorageType::Int4, 8, 32, StorageType::F16), 7.0),
    ] {
        for (e, k, n) in (0..2).flat_map(|e| (0..37).flat_map(move |k| (0..5).map(move |n| (e, k, n)))) {
            let (got, want) = (tensor.at(&[e, k, n]), exact.at(&[e, k, n]));
            // No number is beyond 3.5, so no step is beyond that over the largest code; f16 rounds the scale.
            assert!((got - want).abs() <= 0.51 * 3.5 / most, "{e} {k} {n}: {got} {want}");
        }
    }
}

/// The largest magnitude of the drawn numbers that share the scale at `[e, group, n]`.
fn largest(exact: &Tensor, [e, group, n]: [usize; 3]) -> f64 {
    (group * 32..37.min(group * 32 + 32)).map(|k| exact.at(&[e, k, n]).abs()).fold(0.0, f64::max)
}

#[test]
fn the_largest_number_of_a_group_has_the_largest_code() {
    let exact = Tensor::random(&[2, 37, 5], &[2, 37, 5], StorageType::F32, Random { sigma: 1.0, seed: 7 });
    let fp8 = weights(StorageType::Fp8, 4, 32, StorageType::F32);
    let mxfp4 = weights(StorageType::Mxfp4, 8, 32, TensorType::Exponent);
    let nvfp4 = weights(StorageType::Nvfp4, 8, 32, StorageType::Fp8);
    for at in (0..2).flat_map(|e| (0..2).flat_map(move |group| (0..5).map(move |n| [e, group, n]))) {
        let largest = largest(&exact, at);
        let over = |tensor: &Tensor| largest / tensor.scales().unwrap().at(&at);
        assert!((over(&fp8) / 448.0 - 1.0).abs() < 1e-6, "{at:?}");
        // A power of two below; a number with three bits behind the first.
        assert!((4.0..8.0).contains(&over(&mxfp4)), "{at:?}");
        assert_eq!(mxfp4.scales().unwrap().at(&at).log2().fract(), 0.0);
        assert!((over(&nvfp4) / 6.0 - 1.0).abs() <= 1.0 / 16.0, "{at:?}");
    }
    for (e, k, n) in (0..2).flat_map(|e| (0..37).flat_map(move |k| (0..5).map(move |n| (e, k, n)))) {
        let (want, largest) = (exact.at(&[e, k, n]), largest(&exact, [e, k / 32, n]));
        let error = |tensor: &Tensor| (tensor.at(&[e, k, n]) - want).abs();
        assert!(error(&fp8) <= want.abs() / 16.0 + largest / 448.0 / 1024.0, "{e} {k} {n}");
        // Half a step of the largest numbers is 1 of 6; numbers from 6 to 8 become 6.
        assert!(error(&mxfp4) <= largest / 4.0 + 1e-6 && error(&nvfp4) <= largest / 5.0, "{e} {k} {n}");
    }
}

#[test]
fn packed_words_hold_neighbours_along_k_with_the_first_lowest() {
    let tensor = weights(StorageType::Int8, 4, 37, StorageType::F32);
    let scale = tensor.scales().unwrap().at(&[1, 0, 3]);
    // Expert 1, k 8..12, column 3: word (16 * 1 + 2) * 8 + 3.
    let word = &tensor.bytes()[((16 + 2) * 8 + 3) * 4..][..4];
    for (i, &byte) in word.iter().enumerate() {
        assert_eq!(f64::from(i8::from_le_bytes([byte])) * scale, tensor.at(&[1, 8 + i, 3]));
    }
    let tensor = weights(StorageType::Int4, 8, 32, StorageType::F16);
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

#[test]
fn given_values_take_the_places_that_the_layout_has_for_them() {
    let axis = |dim, step, count| MemoryAxis { dim, step, count };
    let axes = [axis(0, 1, 2), axis(2, 4, 2), axis(1, 1, 3), axis(2, 1, 4)];
    let drawn = Tensor::random_in_order(&[2, 3, 5], &axes, StorageType::F16, Random { sigma: 1.0, seed: 7 });
    let values: Vec<f32> = (0u8..30).map(f32::from).collect();
    let tensor = drawn.with_values(&values);
    assert_eq!(tensor.at(&[1, 2, 4]), 29.0);
    assert_eq!(tensor.at(&[0, 1, 3]), 8.0);
    assert_eq!(tensor.bytes().len(), 2 * 2 * 3 * 4 * 2);
}

/// Bytes of each part into which the memory of these axes is divided. Every byte belongs to one part.
fn parts(axes: &[MemoryAxis], bits: usize, block: &[usize]) -> Vec<usize> {
    let length: usize = axes.iter().map(|axis| axis.count).product();
    let mut bytes = vec![0u8; length * bits / 8];
    let sizes = Mutex::new(Vec::new());
    MemoryPart::whole(&Order { axes, bits, block }, &mut bytes).divide(&|part| {
        part.bytes.iter_mut().for_each(|byte| *byte += 1);
        sizes.lock().unwrap().push(part.bytes.len());
    });
    assert!(bytes.iter().all(|byte| *byte == 1));
    sizes.into_inner().unwrap()
}

#[test]
fn one_matrix_is_divided_among_many_cores() {
    let axis = |dim, step, count| MemoryAxis { dim, step, count };
    let (k, n) = (2048, 2048);
    for width in [64, 256] {
        let panels = |k_step, k_count, inside| {
            [axis(0, 1, 1), axis(2, width, n / width), axis(1, k_step, k_count), axis(2, 1, width), axis(1, 1, inside)]
        };
        for (axes, bits, block) in [
            (panels(1, k, 1), 32, [1, 1, 1]),
            (panels(8, k / 8, 8), 4, [1, 1, 1]),
            // Scales: one per column, and one per 32 numbers of a column.
            (panels(1, 1, 1), 32, [1, k, 1]),
            (panels(1, k / 32, 1), 16, [1, 32, 1]),
        ] {
            let sizes = parts(&axes, bits, &block);
            let (most, all) = (sizes.iter().max().unwrap(), sizes.iter().sum::<usize>());
            assert!(sizes.len() >= 32 && most * 32 <= all, "{width} {bits}: {sizes:?}");
        }
    }
}

#[test]
fn memory_is_not_divided_where_its_parts_would_not_be_boxes_or_whole_bytes() {
    let axis = |dim, step, count| MemoryAxis { dim, step, count };
    // Neighbours along the columns are far apart in memory.
    let axes = [axis(1, 1, 64), axis(0, 1, 1024), axis(1, 64, 64)];
    assert_eq!(parts(&axes, 32, &[1, 1]), [4 * 64 * 64 * 1024]);
    let axes = [axis(0, 1, 2), axis(1, 1, 100_001)];
    assert_eq!(parts(&axes, 4, &[1, 1]), [100_001]);
}

#[test]
fn codes_are_rounded_as_f32_rounds() {
    for step in -127 * 64..=127 * 64_i16 {
        let value = f32::from(step) / 64.0;
        for value in [value.next_down(), value, value.next_up()] {
            assert_eq!(f32::from(round(value)), value.round(), "{value}");
        }
    }
}

#[test]
fn a_widened_matrix_holds_the_same_numbers_and_zeros_around_them() {
    for element in [StorageType::F32, StorageType::F16, StorageType::Bf16] {
        let narrow = Tensor::random(&[3, 70], &[4, 72], element, Random { sigma: 1.0, seed: 7 });
        let wide = narrow.widened(5, 76);
        assert_eq!((wide.dims(), wide.bytes().len()), ([5, 70].as_slice(), 5 * 76 * 4));
        for (row, column) in (0..5).flat_map(|i| (0..76).map(move |j| (i, j))) {
            let want = if row < 3 && column < 70 { narrow.at(&[row, column]) } else { 0.0 };
            assert_eq!(wide.at(&[row, column]), want, "{element} {row} {column}");
        }
    }
}
