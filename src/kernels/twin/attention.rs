//! Twin of `attention_*.wgsl`.

use std::ops::Range;

use crate::kernels::tensor::Tensor;

/// The output of one query head: softmax of `score(j)` over the visible keys, times the values of `value_dim` numbers. A sink
/// is one more logit in the softmax; it has no value.
fn attend(
    visible: Range<usize>,
    sink: Option<f64>,
    value_dim: usize,
    score: impl Fn(usize) -> f64,
    value: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let score: Vec<f64> = visible.clone().map(score).collect();
    let largest = score.iter().copied().chain(sink).fold(f64::NEG_INFINITY, f64::max);
    let weight: Vec<f64> = score.iter().map(|s| (s - largest).exp()).collect();
    let total = weight.iter().sum::<f64>() + sink.map_or(0.0, |sink| (sink - largest).exp());
    let output = |d| visible.clone().zip(&weight).map(|(j, w)| w * value(j, d)).sum::<f64>() / total;
    (0..value_dim).map(output).collect()
}

/// The dot product of two vectors of `dim` numbers.
fn dot(dim: usize, a: impl Fn(usize) -> f64, b: impl Fn(usize) -> f64) -> f64 {
    let mut sum = 0.0;
    for d in 0..dim {
        sum += a(d) * b(d);
    }
    sum
}

/// The keys and values of a prompt.
pub struct Keys<'a> {
    /// Keys [kv_len, kv_heads, head_dim].
    pub k: &'a Tensor,
    /// Values [kv_len, kv_heads, value_dim].
    pub v: &'a Tensor,
    /// Whether a query sees only the keys up to its own position. The last query is at the position of the last key.
    pub causal: bool,
    /// What a query sees of those keys. A window needs `causal`.
    pub seen: Seen<'a>,
}

/// The output of one query: row `row`, head `head` of `q` [q_len, heads, head_dim].
pub fn prefill(q: &Tensor, keys: &Keys, row: usize, head: usize) -> Vec<f64> {
    let Keys { k, v, causal, seen } = *keys;
    let (q_len, heads, head_dim) = (q.dims()[0], q.dims()[1], q.dims()[2]);
    let (kv_len, kv_heads, value_dim) = (v.dims()[0], v.dims()[1], v.dims()[2]);
    let kv_head = head * kv_heads / heads;
    let visible = if causal { kv_len - q_len + row + 1 } else { kv_len };
    let root = (head_dim as f64).sqrt();
    attend(
        if causal { seen.keys(visible) } else { 0..visible },
        seen.sink(head),
        value_dim,
        |j| dot(head_dim, |d| q.at(&[row, head, d]), |d| k.at(&[j, kv_head, d])) / root,
        |j, d| v.at(&[j, kv_head, d]),
    )
}

/// What a query sees besides every key up to its position.
#[derive(Clone, Copy, Default)]
pub struct Seen<'a> {
    /// Keys that it sees, the last ones; `None`: all.
    pub window: Option<usize>,
    /// One logit per query head that joins the softmax without a value: `[heads]`.
    pub sinks: Option<&'a Tensor>,
}

impl Seen<'_> {
    /// The keys of a cache of `kv_len` that the query sees.
    fn keys(&self, kv_len: usize) -> Range<usize> {
        let hidden = self.window.map_or(0, |window| kv_len.saturating_sub(window));
        hidden..kv_len
    }

    fn sink(&self, head: usize) -> Option<f64> {
        self.sinks.map(|sinks| sinks.at(&[head]))
    }
}

/// A contiguous cache.
pub struct Cache<'a> {
    /// Keys [sequences, kv_len, kv_heads, d].
    pub k: &'a Tensor,
    /// Values [sequences, kv_len, kv_heads, d].
    pub v: &'a Tensor,
    /// What a query sees of it.
    pub seen: Seen<'a>,
}

/// The output of one head of one sequence: `q` [sequences, heads, d] over a contiguous cache.
pub fn decode(q: &Tensor, cache: &Cache, sequence: usize, head: usize) -> Vec<f64> {
    let Cache { k, v, seen } = *cache;
    let (heads, head_dim) = (q.dims()[1], q.dims()[2]);
    let (kv_len, kv_heads) = (k.dims()[1], k.dims()[2]);
    let kv_head = head * kv_heads / heads;
    let root = (head_dim as f64).sqrt();
    attend(
        seen.keys(kv_len),
        seen.sink(head),
        head_dim,
        |j| dot(head_dim, |d| q.at(&[sequence, head, d]), |d| k.at(&[sequence, j, kv_head, d])) / root,
        |j, d| v.at(&[sequence, j, kv_head, d]),
    )
}

/// A paged cache.
pub struct Pages<'a> {
    /// Keys [blocks * block, kv_heads, d].
    pub k: &'a Tensor,
    /// Values [blocks * block, kv_heads, d].
    pub v: &'a Tensor,
    /// Physical blocks of each sequence in the order of its keys: [sequences * table width].
    pub block_table: &'a Tensor,
    /// Keys per block.
    pub block: usize,
    /// What a query sees of it.
    pub seen: Seen<'a>,
}

/// The output of one head of one sequence: `q` [sequences, heads, d] over `kv_len` keys of a paged cache.
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
        pages.seen.keys(kv_len),
        pages.seen.sink(head),
        head_dim,
        |j| dot(head_dim, |d| q.at(&[sequence, head, d]), |d| pages.k.at(&[rows[j], kv_head, d])) / root,
        |j, d| pages.v.at(&[rows[j], kv_head, d]),
    )
}

/// The cache of latent attention in absorbed form.
pub struct LatentCache<'a> {
    /// Entries [sequences, kv_len, latent_dim + rope_dim], or [blocks * block, latent_dim + rope_dim].
    pub entries: &'a Tensor,
    /// Numbers of an entry, from the first on, that are its value.
    pub latent_dim: usize,
    /// Width of an unabsorbed key. Scores are divided by its square root.
    pub key_dim: usize,
}

/// The output of one head of one sequence: `q` [sequences, heads, latent_dim + rope_dim] over a latent cache.
pub fn mla_decode(q: &Tensor, latent: &LatentCache, sequence: usize, head: usize) -> Vec<f64> {
    let cache = latent.entries;
    attend_to_latent(q, latent, [sequence, head], cache.dims()[1], |j, d| cache.at(&[sequence, j, d]))
}

/// A paged cache of latent attention.
pub struct LatentPages<'a> {
    /// The entries of all blocks.
    pub latent: LatentCache<'a>,
    /// Physical blocks of each sequence in the order of its keys: [sequences * table width].
    pub block_table: &'a Tensor,
    /// Entries per block.
    pub block: usize,
}

/// The output of one head of one sequence over `kv_len` entries of a paged latent cache.
pub fn mla_decode_paged(q: &Tensor, pages: &LatentPages, kv_len: usize, sequence: usize, head: usize) -> Vec<f64> {
    let table_width = pages.block_table.dims()[0] / q.dims()[0];
    attend_to_latent(q, &pages.latent, [sequence, head], kv_len, |j, d| {
        let block = pages.block_table.index_at(&[sequence * table_width + j / pages.block]) as usize;
        pages.latent.entries.at(&[block * pages.block + j % pages.block, d])
    })
}

/// The output of one (sequence, head), where `entry(j, d)` is number d of the j-th entry.
fn attend_to_latent(
    q: &Tensor,
    latent: &LatentCache,
    [sequence, head]: [usize; 2],
    kv_len: usize,
    entry: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let root = (latent.key_dim as f64).sqrt();
    attend(
        0..kv_len,
        None,
        latent.latent_dim,
        |j| dot(q.dims()[2], |d| q.at(&[sequence, head, d]), |d| entry(j, d)) / root,
        &entry,
    )
}

/// One row of `a` [tokens, heads, k + rest] times the matrix of its head in `b` [heads, k, n]; what is left of the row behind
/// k follows the product.
pub fn head_matmul(a: &Tensor, b: &Tensor, token: usize, head: usize) -> Vec<f64> {
    let (k, n) = (b.dims()[1], b.dims()[2]);
    let product = (0..n).map(|column| dot(k, |i| a.at(&[token, head, i]), |i| b.at(&[head, i, column])));
    product.chain((k..a.dims()[2]).map(|i| a.at(&[token, head, i]))).collect()
}

/// A key of one head: its own part [tokens, heads, own], then the rotary part [tokens, rotary] that all heads share.
pub fn join_keys(own: &Tensor, rotary: &Tensor, token: usize, head: usize) -> Vec<f64> {
    let own_part = (0..own.dims()[2]).map(|d| own.at(&[token, head, d]));
    own_part.chain((0..rotary.dims()[1]).map(|d| rotary.at(&[token, d]))).collect()
}
