//! What a query sees besides every key of its cache: a sliding window, and sinks.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::kernels::tensor::Tensor;
use crate::kernels::types::word;

/// The sink of a head without one: its exponential is zero beside any score.
const NO_SINK: f32 = -3.0e38;

/// Keys that a query at the last position sees: the last `window` of `kv_len`, or all.
pub(in crate::kernels) fn visible(kv_len: usize, window: Option<usize>) -> usize {
    window.map_or(kv_len, |window| window.min(kv_len))
}

/// The window as shaders read it: the largest word for none.
pub(super) fn window_word(window: Option<usize>) -> u32 {
    window.map_or(u32::MAX, word)
}

/// What a shape shows of a window and of sinks: nothing where there are none.
pub(in crate::kernels) fn shown(window: Option<usize>, sinks: bool) -> BTreeMap<String, u64> {
    let window = window.map(|window| ("window".to_owned(), window as u64));
    window.into_iter().chain(sinks.then(|| ("sinks".to_owned(), 1))).collect()
}

/// The operand `sinks` [heads]: one logit per query head, or what stands for none. Every fourth head has an extreme one, so
/// large that its output vanishes or so small that it has no effect.
pub(in crate::kernels) fn sink_logits(heads: usize, sinks: bool, seed: u64) -> Tensor {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |head: usize| {
        let logit: f32 = random.random_range(-3.0..3.0);
        match head % 8 {
            3 => logit + 40.0,
            7 => logit - 80.0,
            _ => logit,
        }
    };
    let logits: Vec<f32> = (0..heads).map(|head| if sinks { draw(head) } else { NO_SINK }).collect();
    Tensor::floats(&[heads], &logits)
}
