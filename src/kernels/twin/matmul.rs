//! Twin of `matmul_*.wgsl` and `combine.wgsl`.

use crate::kernels::tensor::Tensor;

/// One element of `a * b`: row `row` of `a` [rows, k] times column `column` of matrix `expert` of `b` [experts, k, n].
pub fn product(a: &Tensor, b: &Tensor, row: usize, expert: usize, column: usize) -> f64 {
    let k = a.dims()[1];
    let mut sum = 0.0;
    for i in 0..k {
        sum += a.at(&[row, i]) * b.at(&[expert, i, column]);
    }
    sum
}

/// One element of `silu(a * b_gate) .* (a * b_up)` with `b` [experts, k, 2, n], gate before up.
/// SwiGLU: Shazeer, arXiv:2002.05202.
pub fn swiglu(a: &Tensor, b: &Tensor, row: usize, expert: usize, column: usize) -> f64 {
    let k = a.dims()[1];
    let mut gate = 0.0;
    let mut up = 0.0;
    for i in 0..k {
        gate += a.at(&[row, i]) * b.at(&[expert, i, 0, column]);
        up += a.at(&[row, i]) * b.at(&[expert, i, 1, column]);
    }
    gate / (1.0 + (-gate).exp()) * up
}

/// One element of the weighted sum of a token's expert outputs `y` [rows, n].
pub fn combine(y: &Tensor, weight: &Tensor, row_of_slot: &Tensor, token: usize, column: usize) -> f64 {
    let top_k = weight.dims()[1];
    let mut sum = 0.0;
    for j in 0..top_k {
        let row = row_of_slot.index_at(&[token * top_k + j]) as usize;
        sum += weight.at(&[token, j]) * y.at(&[row, column]);
    }
    sum
}

/// The weight of a shared expert: 1, or the sigmoid of the token's logit where the expert has a gate of its own.
pub fn shared_weight(logit: f64, gated: bool) -> f64 {
    if gated { 1.0 / (1.0 + (-logit).exp()) } else { 1.0 }
}
