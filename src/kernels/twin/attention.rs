//! Twin of `attention_*.wgsl`.

use crate::kernels::Tensor;

/// The output of one query head: softmax of `scale * q . k` over the first `visible` keys, times the values.
/// `query`, `key(j, d)` and `value(j, d)` read the operands.
pub fn attend(
    head_dim: usize,
    visible: usize,
    query: impl Fn(usize) -> f64,
    key: impl Fn(usize, usize) -> f64,
    value: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let scale = 1.0 / (head_dim as f64).sqrt();
    let query: Vec<f64> = (0..head_dim).map(query).collect();
    let mut score = Vec::with_capacity(visible);
    for j in 0..visible {
        let mut sum = 0.0;
        for (d, q) in query.iter().enumerate() {
            sum += q * key(j, d);
        }
        score.push(sum * scale);
    }
    let largest = score.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weight: Vec<f64> = score.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = weight.iter().sum();
    (0..head_dim).map(|d| weight.iter().enumerate().map(|(j, w)| w * value(j, d)).sum::<f64>() / total).collect()
}

/// Row `row`, head `head` of causal attention: `q` [q_len, heads, d] over `k`, `v` [kv_len, kv_heads, d], the last query
/// standing at the last key.
pub fn prefill(q: &Tensor, k: &Tensor, v: &Tensor, row: usize, head: usize) -> Vec<f64> {
    let (q_len, heads, head_dim) = (q.dims()[0], q.dims()[1], q.dims()[2]);
    let (kv_len, kv_heads) = (k.dims()[0], k.dims()[1]);
    let kv_head = head * kv_heads / heads;
    attend(
        head_dim,
        kv_len - q_len + row + 1,
        |d| q.at(&[row, head, d]),
        |j, d| k.at(&[j, kv_head, d]),
        |j, d| v.at(&[j, kv_head, d]),
    )
}

/// Head `head` of sequence `sequence`: `q` [sequences, heads, d] over `k`, `v` [sequences, kv_len, kv_heads, d].
pub fn decode(q: &Tensor, k: &Tensor, v: &Tensor, sequence: usize, head: usize) -> Vec<f64> {
    let (heads, head_dim) = (q.dims()[1], q.dims()[2]);
    let (kv_len, kv_heads) = (k.dims()[1], k.dims()[2]);
    let kv_head = head * kv_heads / heads;
    attend(
        head_dim,
        kv_len,
        |d| q.at(&[sequence, head, d]),
        |j, d| k.at(&[sequence, j, kv_head, d]),
        |j, d| v.at(&[sequence, j, kv_head, d]),
    )
}
