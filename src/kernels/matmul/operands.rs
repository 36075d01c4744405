//! How activations and weights lie in memory.
//!
//! Weights stand in panels as wide as a workgroup, so that each workgroup reads one stream: [experts, panels, k, columns of
//! the panel], gate before up inside a panel. The integer types put 4 (int8) or 8 (int4) neighbours along k into a word.

use super::variant::Variant;
use super::{Element, INT4_GROUP, Matmul};
use crate::kernels::tensor::{Axis, Scaling, Tensor};

/// Bytes of one number of a type that has whole bytes.
pub(super) fn bytes(element: Element) -> usize {
    usize::try_from(element.size_bytes()).unwrap_or(4)
}

/// Bytes of so many weights without their scales.
pub(super) fn weight_bytes(count: usize, element: Element) -> usize {
    count * usize::try_from(element.weight_bits()).unwrap_or(32) / 8
}

/// k with the zeros that fill its last step.
pub(super) fn padded_k(k: usize, element: Element) -> usize {
    k.next_multiple_of(match element {
        Element::Int4 => INT4_GROUP,
        Element::Int8 => 16,
        _ => 4,
    })
}

/// Panels of one expert.
pub(super) fn panels(matmul: &Matmul, variant: &Variant) -> usize {
    matmul.n.div_ceil(half_panel(matmul, variant))
}

/// Columns of the output that one panel yields.
fn half_panel(matmul: &Matmul, variant: &Variant) -> usize {
    variant.panel_columns() / if matmul.swiglu() { 2 } else { 1 }
}

fn axis(dim: usize, step: usize, count: usize) -> Axis {
    Axis { dim, step, count }
}

/// [rows, k], each row with its scale in int8; in memory so many rows, of which those beyond hold zeros.
pub(super) fn activations(rows: usize, in_memory: usize, k: usize, element: Element, seed: u64) -> Tensor {
    let axes = [axis(0, 1, in_memory), axis(1, 1, padded_k(k, element))];
    let dims = [rows, k];
    if element == Element::Int8 {
        let scaling =
            Scaling { block: vec![1, k], axes: vec![axis(0, 1, in_memory), axis(1, 1, 1)], element: Element::F32 };
        return Tensor::random_quantised(&dims, &axes, element, &scaling, 1.0, seed);
    }
    Tensor::random_in_order(&dims, &axes, element.activation(), 1.0, seed)
}

/// [experts, k, n], or [experts, k, 2, n] for gate and up.
pub(super) fn weights(matmul: &Matmul, variant: &Variant, element: Element, seed: u64) -> Tensor {
    let (experts, k, n) = (matmul.experts, matmul.k, matmul.n);
    let (panels, columns) = (panels(matmul, variant), half_panel(matmul, variant));
    let sigma = 1.0 / (k as f64).sqrt();
    // The columns' dimension comes last, that of gate and up before it.
    let (dims, last) = if matmul.swiglu() { (vec![experts, k, 2, n], 3) } else { (vec![experts, k, n], 2) };
    let per_word = match element {
        Element::Int4 => 8,
        Element::Int8 => 4,
        _ => 1,
    };
    let order = |k_step: usize, k_count: usize, k_inside: usize| -> Vec<Axis> {
        let mut axes = vec![axis(0, 1, experts), axis(last, columns, panels), axis(1, k_step, k_count)];
        if matmul.swiglu() {
            axes.push(axis(2, 1, 2));
        }
        axes.extend([axis(last, 1, columns), axis(1, 1, k_inside)]);
        axes
    };
    let padded = padded_k(k, element);
    let axes = order(per_word, padded / per_word, per_word);
    let (share, scale) = match element {
        Element::Int8 => (k, Element::F32),
        Element::Int4 => (INT4_GROUP, Element::F16),
        _ => return Tensor::random_in_order(&dims, &axes, element, sigma, seed),
    };
    let mut block = vec![1; dims.len()];
    block[1] = share;
    let scaling = Scaling { block, axes: order(1, k.div_ceil(share), 1), element: scale };
    Tensor::random_quantised(&dims, &axes, element, &scaling, sigma, seed)
}
