//! How many keys a token attends to, and how many entries a cache holds.

use crate::projection::ops::scope::{Context, Scope, Widths};
use crate::specs::{Attention, EntryChoice, Indexer, Mixer, Reach};

/// Elements per cached entry and layer in one rank's KV cache. Latent and shared heads cache one vector that all heads
/// share: tensor parallelism does not split it. Grouped heads split until one is left.
pub fn cache_elements(sizes: &Attention, tp: f64) -> f64 {
    match *sizes {
        Attention::Gqa { kv_heads, head_dim, v_head_dim, .. } => {
            (kv_heads as f64 / tp).max(1.0) * (head_dim as f64 + v_head_dim as f64)
        }
        Attention::Mla { kv_lora_rank, rope_head_dim, .. } => kv_lora_rank as f64 + rope_head_dim as f64,
        Attention::Shared { head_dim, .. } => head_dim as f64,
    }
}

/// Bytes of an indexer's key: 8 bits per element and a scale of 32 bits, as DeepSeek-V3.2 caches them.
pub(super) fn index_key_bytes(indexer: &Indexer) -> f64 {
    indexer.head_dim as f64 + 4.0
}

/// Keys that a token attends to which has `before` tokens before it.
pub(super) fn keys(reach: &Reach, before: f64) -> f64 {
    match *reach {
        Reach::All => before,
        Reach::Window(tokens) => before.min(tokens as f64),
        Reach::Chunk(tokens) => in_chunk(before, tokens as f64),
        Reach::Chosen(top) => before.min(top.entries as f64),
        Reach::Compressed { window, ratio, choice } => {
            let entries = before / ratio as f64;
            before.min(window as f64) + choice.map_or(entries, |top| entries.min(top.entries as f64))
        }
    }
}

/// Keys of its own chunk: of a sequence of several chunks half a chunk on average.
fn in_chunk(before: f64, chunk: f64) -> f64 {
    if before <= chunk { before } else { chunk / 2.0 }
}

/// Mean of `min(x, most)` over `x` from `low` to `high`.
fn mean_capped(low: f64, high: f64, most: f64) -> f64 {
    if high <= most || high <= low {
        return f64::midpoint(low, high).min(most);
    }
    let below = (most - low).max(0.0);
    (below * f64::midpoint(low.min(most), most) + (high - low - below) * most) / (high - low)
}

/// Mean number of keys per query that one rank attends to in a pass.
pub(super) fn mean_keys(scope: &Scope<'_>, reach: &Reach) -> f64 {
    match scope.pass.context {
        Context::Cache(length) => keys(reach, length / f64::from(scope.plan.cp)) / f64::from(scope.plan.dcp),
        Context::Causal { tokens, before } => {
            let end = before + tokens;
            match *reach {
                Reach::All => before + tokens / 2.0,
                Reach::Window(window) => mean_capped(before, end, window as f64),
                Reach::Chunk(chunk) if end <= chunk as f64 => before + tokens / 2.0,
                Reach::Chunk(chunk) => chunk as f64 / 2.0,
                Reach::Chosen(top) => mean_capped(before, end, top.entries as f64),
                Reach::Compressed { window, ratio, choice } => {
                    let ratio = ratio as f64;
                    let most = choice.map_or(f64::INFINITY, |top| top.entries as f64);
                    mean_capped(before, end, window as f64) + mean_capped(before / ratio, end / ratio, most)
                }
            }
        }
    }
}

/// Mean number of entries per query that an indexer scores.
pub(super) fn mean_scored(scope: &Scope<'_>, reach: &Reach) -> f64 {
    mean_keys(scope, &Reach::All) / reach.ratio() as f64
}

/// Entries of one sequence that one rank reads in a pass.
pub(super) fn entries_read(scope: &Scope<'_>, reach: &Reach) -> f64 {
    match scope.pass.context {
        Context::Cache(length) => {
            let length = length / f64::from(scope.plan.cp);
            // Tokens that are checked together choose entries of their own.
            let chosen = |top: EntryChoice, all: f64| (top.entries as f64 * scope.pass.queries).min(all);
            let entries = match *reach {
                Reach::Chosen(top) => chosen(top, length),
                Reach::Compressed { window, ratio, choice } => {
                    let all = length / ratio as f64;
                    length.min(window as f64) + choice.map_or(all, |top| chosen(top, all))
                }
                Reach::All | Reach::Window(_) | Reach::Chunk(_) => keys(reach, length),
            };
            entries / f64::from(scope.plan.dcp)
        }
        Context::Causal { tokens, before } => match *reach {
            Reach::All | Reach::Chosen(_) => before + tokens,
            Reach::Window(window) | Reach::Chunk(window) => before.min(window as f64) + tokens,
            Reach::Compressed { window, ratio, .. } => {
                (before + tokens) / ratio as f64 + before.min(window as f64) + tokens
            }
        },
    }
}

/// Entries that the cache of a sequence of this length holds in one layer.
pub fn cached_entries(reach: &Reach, length: f64) -> f64 {
    match *reach {
        Reach::All | Reach::Chosen(_) => length,
        Reach::Window(tokens) | Reach::Chunk(tokens) => length.min(tokens as f64),
        Reach::Compressed { window, ratio, .. } => length / ratio as f64 + length.min(window as f64),
    }
}

/// Bytes that one rank keeps of a sequence of this length in one layer: the cache with an indexer's keys, or a state. A
/// state does not grow with the sequence. Context parallelism (`cp`, that of decode included) splits caches; each of its
/// ranks has a state.
pub fn sequence_bytes(mixer: &Mixer, length: f64, [tp, cp]: [f64; 2], widths: &Widths) -> f64 {
    match mixer {
        Mixer::Attention(layer) => {
            let cache = cached_entries(&layer.reach, length) * cache_elements(&layer.sizes, tp) * widths.cache;
            let indexer = layer.reach.choice().and_then(|top| top.indexer);
            let keys = length / layer.reach.ratio() as f64;
            cache + indexer.map_or(0.0, |indexer| keys * index_key_bytes(&indexer))
        }
        Mixer::Linear(linear) => {
            let taps = linear.taps.saturating_sub(1) as f64;
            let state = linear.state_elements() * linear.state_bytes as f64;
            (state + linear.channels() * taps * widths.activation) / tp * cp
        }
        Mixer::None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_capped_ramp_is_that_of_its_parts() {
        assert!((mean_capped(0.0, 100.0, 200.0) - 50.0).abs() < 1e-12);
        assert!((mean_capped(0.0, 100.0, 50.0) - 37.5).abs() < 1e-12);
        assert!((mean_capped(60.0, 100.0, 50.0) - 50.0).abs() < 1e-12);
        assert!((mean_capped(5.0, 5.0, 50.0) - 5.0).abs() < 1e-12);
    }

    #[test]
    fn windows_choices_and_compression_bound_what_a_token_attends_to() {
        let top = EntryChoice { entries: 512, indexer: None };
        let cases = [
            (Reach::All, 1e5),
            (Reach::Window(128), 128.0),
            (Reach::Chunk(8192), 4096.0),
            (Reach::Chosen(top), 512.0),
            (Reach::Compressed { window: 128, ratio: 4, choice: Some(top) }, 640.0),
            (Reach::Compressed { window: 128, ratio: 128, choice: None }, 1e5 / 128.0 + 128.0),
        ];
        for (reach, expected) in cases {
            assert!((keys(&reach, 1e5) - expected).abs() < 1e-9, "{reach:?}");
            assert!(cached_entries(&reach, 1e5) >= expected - 1e-9, "{reach:?}");
        }
    }
}
