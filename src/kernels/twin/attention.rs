//! Twin of `attention_*.wgsl`.

use crate::kernels::Tensor;

/// The output of one query head: softmax of `score(j)` over `visible` keys, times the values of `value_dim` numbers.
fn attend(
    visible: usize,
    value_dim: usize,
    score: impl Fn(usize) -> f64,
    value: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let score: Vec<f64> = (0..visible).map(score).collect();
    let largest = score.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weight: Vec<f64> = score.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = weight.iter().sum();
    (0..value_dim).map(|d| weight.iter().enumerate().map(|(j, w)| w * value(j, d)).sum::<f64>() / total).collect()
}

/// The dot product of two vectors of `dim` numbers.
fn dot(dim: usize, a: impl Fn(usize) -> f64, b: impl Fn(usize) -> f64) -> f64 {
    let mut sum = 0.0;
    for d in 0..dim {
        sum += a(d) * b(d);
    }
    sum
}

/// Row `row`, head `head` of attention: `q` [q_len, heads, d] over `k` [kv_len, kv_heads, d] and `v` [kv_len, kv_heads,
/// e], under `causal` the last query standing at the last key and none seeing beyond its position.
pub fn prefill(q: &Tensor, k: &Tensor, v: &Tensor, row: usize, head: usize, causal: bool) -> Vec<f64> {
    let (q_len, heads, head_dim) = (q.dims()[0], q.dims()[1], q.dims()[2]);
    let (kv_len, kv_heads, value_dim) = (v.dims()[0], v.dims()[1], v.dims()[2]);
    let kv_head = head * kv_heads / heads;
    let visible = if causal { kv_len - q_len + row + 1 } else { kv_len };
    let root = (head_dim as f64).sqrt();
    attend(
        visible,
        value_dim,
        |j| dot(head_dim, |d| q.at(&[row, head, d]), |d| k.at(&[j, kv_head, d])) / root,
        |j, d| v.at(&[j, kv_head, d]),
    )
}

/// Head `head` of sequence `sequence`: `q` [sequences, heads, d] over `k`, `v` [sequences, kv_len, kv_heads, d].
pub fn decode(q: &Tensor, k: &Tensor, v: &Tensor, sequence: usize, head: usize) -> Vec<f64> {
    let (heads, head_dim) = (q.dims()[1], q.dims()[2]);
    let (kv_len, kv_heads) = (k.dims()[1], k.dims()[2]);
    let kv_head = head * kv_heads / heads;
    let root = (head_dim as f64).sqrt();
    attend(
        kv_len,
        head_dim,
        |j| dot(head_dim, |d| q.at(&[sequence, head, d]), |d| k.at(&[sequence, j, kv_head, d])) / root,
        |j, d| v.at(&[sequence, j, kv_head, d]),
    )
}

/// A paged cache: `k`, `v` [blocks * block, kv_heads, d] and which block holds which keys, [sequences * table width].
pub struct Pages<'a> {
    /// Keys.
    pub k: &'a Tensor,
    /// Values.
    pub v: &'a Tensor,
    /// Physical blocks of each sequence in the order of its keys.
    pub block_table: &'a Tensor,
    /// Keys of a block.
    pub block: usize,
}

/// Head `head` of sequence `sequence`: `q` [sequences, heads, d] over `kv_len` keys of a paged cache.
pub fn decode_paged(q: &Tensor, pages: &Pages, kv_len: usize, sequence: usize, head: usize) -> Vec<f64> {
    let (sequences, heads, head_dim) = (q.dims()[0], q.dims()[1], q.dims()[2]);
    let kv_head = head * pages.k.dims()[1] / heads;
    let table_width = pages.block_table.dims()[0] / sequences;
    let rows: Vec<usize> = (0..kv_len)
        .map(|j| {
            let block = pages.block_table.index_at(&[sequence * table_width + j / pages.block]) as usize;
            block * pages.block + j % pages.block
        })
        .collect();
    let root = (head_dim as f64).sqrt();
    attend(
        kv_len,
        head_dim,
        |j| dot(head_dim, |d| q.at(&[sequence, head, d]), |d| pages.k.at(&[rows[j], kv_head, d])) / root,
        |j, d| pages.v.at(&[rows[j], kv_head, d]),
    )
}

/// Head `head` of sequence `sequence` of absorbed latent attention: `q` [sequences, heads, latent + rope] over `cache`
/// [sequences, kv_len, latent + rope]; the first `latent_dim` numbers of an entry are its value. `key_dim` is the width of
/// an unabsorbed key.
pub fn mla_decode(
    q: &Tensor,
    cache: &Tensor,
    latent_dim: usize,
    key_dim: usize,
    sequence: usize,
    head: usize,
) -> Vec<f64> {
    let (kv_len, entry) = (cache.dims()[1], cache.dims()[2]);
    let root = (key_dim as f64).sqrt();
    attend(
        kv_len,
        latent_dim,
        |j| dot(entry, |d| q.at(&[sequence, head, d]), |d| cache.at(&[sequence, j, d])) / root,
        |j, d| cache.at(&[sequence, j, d]),
    )
}
