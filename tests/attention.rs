//! Attention and gating at random shapes on a real adapter: any shape that a caller may ask for.

#![cfg(feature = "gpu")]

#[path = "fixture/device.rs"]
mod device;

use device::open;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use supernode_bench::kernels::attention::{Decode, Heads, MlaDecode, PagedDecode, PagedMlaDecode, Prefill};
use supernode_bench::kernels::gating::{Gate, Logits, Sort, TopK};
use supernode_bench::kernels::routing::Load;
use supernode_bench::kernels::{Kernel, KernelCase, StorageType};
use supernode_bench::measure::features;
use supernode_bench::measure::gpu::Gpu;
use supernode_bench::measure::verify::once;
use supernode_bench::specs::Scoring;

/// Shapes per kernel. Each shape compiles its own shaders, which takes longer than running them.
const SHAPES: u32 = 6;

/// Draws shapes, each with a variant and a type, and compares the results with the twin under runtime checks.
fn check<K: Kernel>(shapes: impl Strategy<Value = K>) {
    let gpu = open(true);
    let mut runner = TestRunner::new(Config { cases: SHAPES, max_shrink_iters: 8, ..Config::default() });
    runner
        .run(&(shapes, any::<usize>(), any::<u64>()), |(kernel, pick, seed)| {
            let ways = ways(&gpu, &kernel);
            let (variant, element) = ways[pick % ways.len()];
            let case = KernelCase { kernel: &kernel, variant, storage: element };
            let verification = once(&gpu, &case, seed, u64::MAX)
                .map_err(|error| TestCaseError::fail(format!("{kernel:?} {variant} {element}: {error}")))?;
            prop_assert!(verification.passed(), "{kernel:?} {variant} {element}: {verification:?}");
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// The variants and types that this shape has on this adapter.
fn ways(gpu: &Gpu, kernel: &dyn Kernel) -> Vec<(&'static str, StorageType)> {
    let mut ways = Vec::new();
    for &variant in kernel.variants().iter().filter(|variant| kernel.suits(variant)) {
        for &element in kernel.variant_elements(variant) {
            if features::missing(&kernel.plan(variant, element), &gpu.info).is_none() {
                ways.push((variant, element));
            }
        }
    }
    ways
}

prop_compose! {
    fn heads()(kv_heads in 1..4usize, group in 1..10usize, quads in 1..33usize) -> Heads {
        Heads { heads: kv_heads * group, kv_heads, head_dim: 4 * quads }
    }
}

/// A sliding window, or none.
fn window() -> impl Strategy<Value = Option<usize>> {
    proptest::option::of(1..300usize)
}

#[test]
fn prefill_is_right_at_any_shape() {
    let shapes = (heads(), 1..70usize, 0..90usize, any::<bool>(), window(), any::<bool>()).prop_map(
        |(heads, q_len, past, causal, window, sinks)| {
            let window = window.filter(|_| causal);
            Prefill { causal, window, sinks, ..Prefill::causal(heads, q_len, q_len + past) }
        },
    );
    check(shapes);
}

#[test]
fn prefill_with_values_narrower_than_keys_is_right_at_any_shape() {
    let shapes =
        (1..5usize, 2..49usize, 1..33usize, 1..50usize, 0..50usize).prop_map(|(heads, key, value, q, past)| {
            let heads = Heads { heads, kv_heads: heads, head_dim: 4 * key };
            Prefill { value_dim: 4 * value.min(key), ..Prefill::causal(heads, q, q + past) }
        });
    check(shapes);
}

#[test]
fn decode_is_right_at_any_shape() {
    let shapes = (heads(), 1..4usize, 1..400usize, window(), any::<bool>()).prop_map(
        |(heads, sequences, kv_len, window, sinks)| Decode { window, sinks, ..Decode::new(heads, sequences, kv_len) },
    );
    check(shapes);
}

#[test]
fn paged_decode_is_right_at_any_shape_and_block() {
    let shapes = (heads(), 1..4usize, 1..400usize, 1..70usize, window(), any::<bool>()).prop_map(
        |(heads, sequences, kv_len, block, window, sinks)| {
            let paged = PagedDecode::new(heads, sequences, kv_len, block);
            PagedDecode { window, sinks, ..paged }
        },
    );
    check(shapes);
}

prop_compose! {
    fn latent()(
        heads in 1..40usize,
        (latent_dim, rope_dim) in prop_oneof![
            (1..9usize, 1..2usize).prop_map(|(l, r)| (64 * l, 64 * r)),
            (1..99usize, 1..17usize).prop_map(|(l, r)| (4 * l, 4 * r))
        ],
        key_dim in prop_oneof![Just(192), Just(4)],
        sequences in 1..3usize,
        kv_len in 1..200usize,
    ) -> MlaDecode {
        MlaDecode { heads, latent_dim, rope_dim, key_dim, sequences, kv_len }
    }
}

#[test]
fn latent_decode_is_right_at_any_shape() {
    check(latent());
}

#[test]
fn paged_latent_decode_is_right_at_any_shape_and_block() {
    check((latent(), 1..70usize).prop_map(|(decode, block)| PagedMlaDecode { decode, block }));
}

#[test]
fn top_k_is_right_at_any_gate() {
    let logits = prop_oneof![Just(Logits::Random), Just(Logits::Ties), Just(Logits::Constant)];
    let gates = (
        1..9usize,
        1..33usize,
        1..9usize,
        1..33usize,
        prop_oneof![
            Just(Scoring::Softmax),
            Just(Scoring::Sigmoid),
            Just(Scoring::SqrtSoftplus),
            Just(Scoring::BiasedSoftmax)
        ],
        any::<bool>(),
    );
    let shapes =
        (gates, 1..200usize, logits).prop_map(|((groups, size, kept, top_k, scoring, renormalise), tokens, logits)| {
            // Only DeepSeek's gates have groups. Their score takes the two best experts, so a group has at least two.
            let has_groups = matches!(scoring, Scoring::Sigmoid | Scoring::SqrtSoftplus);
            let (groups, size) = if has_groups { (groups, size + 1) } else { (1, size * groups) };
            let kept_groups = kept.min(groups);
            let top_k = top_k.min(kept_groups * size);
            let gate = Gate { experts: groups * size, top_k, scoring, groups, kept_groups, renormalise, scale: 1.5 };
            TopK { gate, tokens, logits }
        });
    check(shapes);
}

#[test]
fn the_sort_is_right_at_any_load() {
    let loads = prop_oneof![Just(Load::Uniform), Just(Load::OneExpert), Just(Load::EvenExperts)];
    let shapes = (1..400usize, 1..9usize, 1..513usize, 1..130usize, loads)
        .prop_map(|(tokens, top_k, experts, row_tile, load)| Sort { tokens, top_k, experts, row_tile, load });
    check(shapes);
}
