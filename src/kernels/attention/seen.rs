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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::attention::{Decode, Heads};
    use crate::kernels::kernel::Kernel;
    use crate::kernels::types::StorageType;

    const HEADS: Heads = Heads { heads: 8, kv_heads: 1, head_dim: 64 };

    fn windowed(window: Option<usize>) -> Decode {
        Decode { window, ..Decode::new(HEADS, 2, 1024) }
    }

    #[test]
    fn a_window_counts_only_the_keys_that_are_seen() {
        let of = |window| windowed(window).plan("group", StorageType::F16).work;
        let of_keys = |kv_len| Decode::new(HEADS, 2, kv_len).plan("group", StorageType::F16).work;
        assert_eq!(of(Some(128)), of_keys(128));
        assert_eq!(of(Some(4096)), of_keys(1024));
        assert_eq!(of(None), of_keys(1024));
    }

    #[test]
    fn a_shape_names_a_window_and_sinks_only_where_they_are() {
        let plain = Decode::new(HEADS, 2, 1024).shape();
        assert!(!plain.contains_key("window") && !plain.contains_key("sinks"));
        let both = Decode { sinks: true, ..windowed(Some(128)) }.shape();
        assert_eq!((both["window"], both["sinks"]), (128, 1));
    }

    #[test]
    fn sinks_do_not_depend_on_how_many_heads_follow() {
        let [few, many] = [9, 64].map(|heads| sink_logits(heads, true, 7));
        assert!((0..9).all(|head| few.at(&[head]) == many.at(&[head])));
        assert!(many.at(&[3]) > 30.0 && many.at(&[7]) < -70.0 && many.at(&[0]).abs() < 3.0);
        assert!((0..9).all(|head| sink_logits(9, false, 7).at(&[head]) < -1e38));
    }
}
