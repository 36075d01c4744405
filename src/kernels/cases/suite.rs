//! The suite of `verify`: at least eight shapes of every kernel in every variant and type.

use crate::kernels::attention::{Decode, HeadMatmul, Heads, JoinKeys, MlaDecode, PagedDecode, PagedMlaDecode, Prefill};
use crate::kernels::cases::layer_suite::layer_suite;
use crate::kernels::cases::spec::{CaseGroup, CaseSpec, Labelled, shared};
use crate::kernels::gate::Gate;
use crate::kernels::gating::{Logits, Sort, TopK};
use crate::kernels::matmul::{Combine, CombineShared, ExtremeProduct, Matmul, MatmulRole};
use crate::kernels::routing::Load;
use crate::kernels::types::{Family, KernelPhase};
use crate::specs::Scoring::{BiasedSoftmax, Sigmoid, Softmax, SqrtSoftplus};

/// The suite of `verify`: small shapes that are multiples of no tile, and the edge cases of each kernel.
pub fn verification_cases() -> Vec<CaseSpec> {
    let families = [
        (Family::ExpertMatmul, matmul_suite()),
        (Family::Gating, gating_suite()),
        (Family::Attention, attention_suite()),
        (Family::Layer, layer_suite()),
    ];
    let listed = |family, (label, kernel): Labelled| {
        let (label, phase) = (label.to_owned(), KernelPhase::Prefill);
        CaseGroup { family, kernel, label, phase, scale_divisor: 1 }
    };
    let cases = |(family, kernels): (Family, Vec<Labelled>)| {
        kernels.into_iter().flat_map(move |kernel| listed(family, kernel).expand())
    };
    families.into_iter().flat_map(cases).collect()
}

/// At least eight shapes per variant and type. There are single tokens, odd k and n, skewed and even loads, experts without
/// tokens, and whole tiles. In one case int8 sums exceed the integers that f32 holds. In others quantised weights hold each
/// code, or scales of each exponent.
fn matmul_suite() -> Vec<Labelled> {
    use Load::{Even, EvenExperts, HotExpert, OneExpert, PowerLaw, Uniform};
    use MatmulRole::{Dense, Down, GateUp};
    let mut kernels = Vec::new();
    for (role, experts, tokens, top_k, k, n, load) in [
        (Dense, 1, 1, 1, 4, 4, Uniform),
        (GateUp, 1, 1, 1, 37, 19, Uniform),
        (Dense, 1, 2, 1, 129, 133, Uniform),
        (Dense, 1, 70, 1, 129, 133, Uniform),
        (GateUp, 5, 33, 2, 65, 41, Uniform),
        (Down, 8, 31, 1, 96, 260, OneExpert),
        (GateUp, 16, 9, 3, 31, 70, EvenExperts),
        (Down, 256, 12, 8, 20, 36, Uniform),
        (Down, 4, 16, 1, 300, 65, Even),
        (GateUp, 32, 40, 2, 33, 130, PowerLaw),
        (Down, 12, 24, 1, 1100, 12, HotExpert),
        (GateUp, 6, 20, 1, 64, 128, Uniform),
    ] {
        kernels.push((load.label(), shared(Matmul { role, experts, tokens, top_k, k, n, load })));
    }
    kernels.push(("extreme", shared(ExtremeProduct::cancelling(3, 70))));
    kernels.push(("codes", shared(ExtremeProduct::every(3))));
    kernels.push(("scales", shared(ExtremeProduct::scales(3, 70))));
    for (experts, tokens, top_k, hidden) in [
        (1, 1, 1, 4),
        (1, 1, 1, 19),
        (1, 70, 1, 133),
        (5, 33, 2, 41),
        (8, 40, 1, 260),
        (16, 9, 3, 70),
        (256, 12, 8, 36),
        (32, 40, 2, 129),
    ] {
        let combine = Combine { tokens, top_k, hidden, experts };
        for gated in [false, true] {
            kernels.push(("uniform", shared(CombineShared { routed: combine.clone(), gated })));
        }
        kernels.push(("uniform", shared(combine)));
    }
    kernels
}

fn gating_suite() -> Vec<Labelled> {
    let softmax = |experts, top_k, renormalise| Gate {
        experts,
        top_k,
        scoring: Softmax,
        groups: 1,
        kept_groups: 1,
        renormalise,
        scale: 1.0,
    };
    let deepseek =
        |scale| Gate { experts: 256, top_k: 8, scoring: Sigmoid, groups: 8, kept_groups: 4, renormalise: true, scale };
    let grouped = |experts, top_k, groups, kept_groups| Gate {
        experts,
        top_k,
        scoring: Sigmoid,
        groups,
        kept_groups,
        renormalise: false,
        scale: 1.0,
    };
    let small =
        Gate { experts: 24, top_k: 3, scoring: Sigmoid, groups: 4, kept_groups: 2, renormalise: true, scale: 1.5 };
    let mut kernels = Vec::new();
    for (gate, tokens) in [
        (softmax(8, 2, true), 1),
        (softmax(128, 8, true), 77),
        (softmax(60, 4, false), 130),
        (softmax(1, 1, true), 3),
        (softmax(64, 6, false), 9),
        (softmax(512, 7, true), 5),
        (softmax(16, 5, true), 40),
        (softmax(256, 8, false), 33),
        (deepseek(2.5), 1),
        (deepseek(2.5), 131),
        (deepseek(1.0), 8),
        (small.clone(), 66),
        (small, 1),
        (grouped(64, 6, 2, 1), 17),
        (grouped(160, 6, 8, 3), 12),
        (grouped(64, 4, 32, 5), 70),
    ] {
        for (label, logits) in [("random", Logits::Random), ("ties", Logits::Ties), ("constant", Logits::Constant)] {
            kernels.push((label, shared(TopK { gate: gate.clone(), tokens, logits })));
        }
    }
    for (gate, tokens) in [
        (softmax(64, 8, true), 19),
        (softmax(256, 6, true), 2),
        (softmax(32, 1, true), 64),
        (softmax(40, 5, true), 35),
        (softmax(128, 1, false), 6),
        (softmax(8, 2, false), 100),
        (softmax(512, 8, false), 3),
        (softmax(96, 7, false), 31),
        (softmax(32, 3, false), 1),
        (deepseek(2.5), 3),
        (grouped(128, 8, 4, 2), 21),
        (grouped(64, 4, 16, 4), 45),
        (grouped(96, 6, 12, 2), 14),
        (grouped(32, 2, 2, 1), 30),
    ] {
        kernels.push(("random", shared(TopK { gate, tokens, logits: Logits::Random })));
    }
    kernels.extend(current_gates());
    for (tokens, top_k, experts, row_tile, load) in [
        (1, 1, 1, 16, Load::Uniform),
        (1, 8, 256, 64, Load::Uniform),
        (301, 8, 256, 64, Load::Uniform),
        (257, 1, 7, 8, Load::OneExpert),
        (90, 3, 33, 16, Load::EvenExperts),
        (700, 2, 512, 1, Load::Uniform),
        (64, 4, 16, 128, Load::PowerLaw),
        (33, 6, 160, 32, Load::HotExpert),
        (513, 1, 2, 64, Load::Uniform),
    ] {
        kernels.push((load.label(), shared(Sort { tokens, top_k, experts, row_tile, load })));
    }
    let router = |tokens, k, n| Matmul {
        role: MatmulRole::RouterLogits,
        experts: 1,
        tokens,
        top_k: 1,
        k,
        n,
        load: Load::Uniform,
    };
    kernels.push(("random", shared(router(1, 64, 8))));
    kernels.push(("random", shared(router(67, 130, 128))));
    kernels
}

/// Gates of models after DeepSeek-V3: ten experts per token (Qwen3-Next), a bias in the logits (gpt-oss), the square root
/// of the softplus (DeepSeek-V4).
fn current_gates() -> Vec<Labelled> {
    let gate = |scoring, experts, top_k| Gate {
        experts,
        top_k,
        scoring,
        groups: 1,
        kept_groups: 1,
        renormalise: true,
        scale: if scoring == SqrtSoftplus { 1.5 } else { 1.0 },
    };
    let grouped = Gate { groups: 8, kept_groups: 3, ..gate(SqrtSoftplus, 160, 6) };
    let mut kernels = Vec::new();
    for (gate, tokens) in [
        (gate(Softmax, 512, 10), 35),
        (gate(Softmax, 24, 18), 9),
        (gate(BiasedSoftmax, 128, 4), 70),
        (gate(BiasedSoftmax, 32, 4), 9),
        (gate(SqrtSoftplus, 256, 6), 67),
        (gate(SqrtSoftplus, 32, 8), 9),
        (grouped, 12),
    ] {
        for (label, logits) in [("random", Logits::Random), ("ties", Logits::Ties)] {
            kernels.push((label, shared(TopK { gate: gate.clone(), tokens, logits })));
        }
    }
    for (gate, tokens) in [
        (gate(BiasedSoftmax, 128, 4), 1),
        (gate(BiasedSoftmax, 8, 2), 3),
        (gate(BiasedSoftmax, 64, 6), 19),
        (gate(BiasedSoftmax, 512, 8), 5),
        (gate(BiasedSoftmax, 16, 5), 40),
        (gate(BiasedSoftmax, 256, 7), 33),
        (gate(BiasedSoftmax, 12, 3), 17),
        (gate(SqrtSoftplus, 384, 6), 3),
        (gate(SqrtSoftplus, 64, 4), 19),
        (gate(SqrtSoftplus, 8, 2), 1),
        (gate(SqrtSoftplus, 128, 8), 33),
        (gate(SqrtSoftplus, 16, 3), 70),
        (gate(SqrtSoftplus, 40, 5), 31),
    ] {
        kernels.push(("random", shared(TopK { gate, tokens, logits: Logits::Random })));
    }
    kernels
}

fn attention_suite() -> Vec<Labelled> {
    let heads = |heads, kv_heads, head_dim| Heads { heads, kv_heads, head_dim };
    let mut kernels = Vec::new();
    for (heads, q_len, kv_len) in [
        (heads(1, 1, 64), 1, 1),
        (heads(4, 2, 128), 45, 45),
        (heads(8, 1, 64), 33, 33),
        (heads(6, 3, 36), 17, 17),
        (heads(2, 1, 128), 5, 70),
        (heads(2, 2, 96), 1, 129),
        (heads(1, 1, 128), 64, 64),
        (heads(3, 1, 32), 31, 95),
        (heads(2, 1, 64), 65, 81),
    ] {
        kernels.push(("random", shared(Prefill::causal(heads, q_len, kv_len))));
        if kv_len != 129 {
            kernels.push(("random", shared(Prefill { causal: false, ..Prefill::causal(heads, q_len, kv_len) })));
        }
    }
    // More queries than keys: only causal masking forbids it.
    kernels.push(("random", shared(Prefill { causal: false, ..Prefill::causal(heads(2, 2, 64), 37, 19) })));
    // heads, head_dim, value_dim, q_len, kv_len
    for (count, head_dim, value_dim, q_len, kv_len) in [
        (1, 192, 128, 1, 1),
        (2, 192, 128, 40, 40),
        (4, 192, 128, 17, 66),
        (3, 192, 128, 33, 33),
        (1, 192, 128, 1, 97),
        (2, 96, 64, 50, 50),
        (2, 48, 32, 31, 47),
        (1, 36, 20, 19, 19),
        (2, 100, 96, 7, 130),
        (2, 192, 128, 65, 81),
    ] {
        let prefill = Prefill { value_dim, ..Prefill::causal(heads(count, count, head_dim), q_len, kv_len) };
        kernels.push(("random", shared(prefill)));
    }
    for (heads, sequences, kv_len) in [
        (heads(1, 1, 64), 1, 1),
        (heads(8, 1, 128), 1, 63),
        (heads(8, 2, 128), 3, 257),
        (heads(16, 1, 64), 2, 130),
        (heads(6, 3, 36), 2, 65),
        (heads(4, 4, 80), 1, 511),
        (heads(40, 2, 128), 1, 100),
        (heads(4, 1, 128), 2, 64),
        (heads(5, 1, 32), 3, 129),
    ] {
        kernels.push(("random", shared(Decode::new(heads, sequences, kv_len))));
    }
    for (heads, sequences, kv_len, block) in [
        (heads(1, 1, 64), 1, 1, 16),
        (heads(8, 1, 128), 1, 63, 16),
        (heads(8, 2, 128), 3, 257, 16),
        (heads(16, 1, 64), 2, 130, 32),
        (heads(6, 3, 36), 2, 65, 7),
        (heads(4, 4, 80), 1, 511, 128),
        (heads(40, 2, 128), 1, 100, 64),
        (heads(2, 1, 32), 5, 48, 1),
        (heads(4, 1, 128), 2, 128, 16),
    ] {
        kernels.push(("random", shared(PagedDecode::new(heads, sequences, kv_len, block))));
    }
    kernels.extend(windows_and_sinks());
    kernels.extend(latent_suite());
    kernels.extend(latent_projections());
    kernels
}

fn latent_suite() -> Vec<Labelled> {
    let decode = |(heads, latent_dim, rope_dim, key_dim, sequences, kv_len)| MlaDecode {
        heads,
        latent_dim,
        rope_dim,
        key_dim,
        sequences,
        kv_len,
    };
    let mut kernels = Vec::new();
    // With a small key_dim scores are far apart, so that outputs are rescaled again and again.
    for shape in [
        (1, 512, 64, 192, 1, 1),
        (16, 512, 64, 192, 1, 63),
        (16, 512, 64, 192, 2, 65),
        (17, 512, 64, 192, 1, 200),
        (8, 512, 64, 192, 1, 129),
        (128, 64, 64, 96, 1, 40),
        (5, 128, 64, 96, 3, 77),
        (24, 64, 64, 64, 2, 256),
        (3, 36, 20, 28, 2, 70),
        (9, 192, 64, 96, 1, 7),
        (33, 512, 64, 4, 2, 250),
        (16, 256, 32, 4, 3, 144),
    ] {
        kernels.push(("random", shared(decode(shape))));
    }
    for (shape, block) in [
        ((1, 512, 64, 192, 1, 1), 64),
        ((16, 512, 64, 192, 1, 63), 16),
        ((16, 512, 64, 192, 2, 130), 64),
        ((17, 512, 64, 192, 1, 200), 1),
        ((8, 512, 64, 192, 1, 129), 7),
        ((128, 64, 64, 96, 1, 40), 16),
        ((5, 128, 64, 96, 3, 77), 64),
        ((24, 64, 64, 64, 2, 256), 64),
        ((3, 36, 20, 28, 2, 70), 16),
        ((33, 512, 64, 4, 2, 250), 7),
    ] {
        kernels.push(("random", shared(PagedMlaDecode { decode: decode(shape), block })));
    }
    kernels
}

/// What latent attention needs beside matmuls and attention.
fn latent_projections() -> Vec<Labelled> {
    let mut kernels = Vec::new();
    for (tokens, heads, k, n, rest) in [
        (1, 1, 4, 4, 0),
        (3, 16, 128, 512, 64),
        (9, 4, 512, 128, 0),
        (17, 3, 36, 52, 20),
        (8, 2, 64, 260, 4),
        (33, 1, 20, 128, 64),
        (2, 40, 8, 12, 4),
        (70, 2, 100, 96, 0),
    ] {
        kernels.push(("random", shared(HeadMatmul { tokens, heads, k, n, rest })));
    }
    for (tokens, heads, own, rotary) in [
        (1, 1, 4, 4),
        (3, 16, 128, 64),
        (9, 4, 64, 32),
        (17, 3, 36, 20),
        (8, 2, 260, 4),
        (33, 1, 20, 128),
        (2, 40, 8, 12),
        (70, 5, 100, 96),
    ] {
        kernels.push(("random", shared(JoinKeys { tokens, heads, own, rotary })));
    }
    kernels
}

/// Attention with a sliding window, with sinks and with both. Every fourth sink is extreme.
fn windows_and_sinks() -> Vec<Labelled> {
    let heads = |heads, kv_heads, head_dim| Heads { heads, kv_heads, head_dim };
    let mut kernels = Vec::new();
    for (heads, q_len, kv_len, window, sinks) in [
        (heads(16, 2, 64), 40, 40, Some(128), true),
        (heads(8, 1, 64), 70, 300, Some(128), true),
        (heads(5, 1, 128), 66, 257, Some(1), false),
        (heads(4, 4, 36), 33, 130, Some(37), true),
        (heads(8, 2, 128), 63, 63, None, true),
        (heads(2, 1, 96), 150, 150, Some(17), true),
        (heads(12, 4, 80), 9, 290, Some(101), false),
    ] {
        kernels.push(("random", shared(Prefill { window, sinks, ..Prefill::causal(heads, q_len, kv_len) })));
    }
    let full = Prefill { causal: false, sinks: true, ..Prefill::causal(heads(8, 4, 64), 50, 70) };
    kernels.push(("random", shared(full)));
    // Latent attention has values narrower than keys.
    let narrow = Prefill { value_dim: 64, sinks: true, ..Prefill::causal(heads(8, 8, 96), 40, 90) };
    kernels.push(("random", shared(Prefill { window: Some(33), ..narrow })));
    for (heads, sequences, kv_len, window, sinks) in [
        (heads(16, 2, 64), 2, 300, Some(128), true),
        (heads(8, 1, 64), 1, 100, Some(128), true),
        (heads(5, 1, 128), 3, 257, Some(1), false),
        (heads(4, 4, 36), 1, 130, Some(77), true),
        (heads(8, 2, 128), 2, 63, None, true),
        (heads(12, 4, 80), 1, 700, Some(333), false),
        // Qwen3-Next's full attention: heads of 256, which only decode by group holds.
        (heads(16, 2, 256), 2, 130, None, false),
        (heads(6, 3, 204), 1, 65, Some(40), true),
    ] {
        let block = 16;
        let contiguous = Decode { window, sinks, ..Decode::new(heads, sequences, kv_len) };
        let paged = PagedDecode { window, sinks, ..PagedDecode::new(heads, sequences, kv_len, block) };
        kernels.extend([("random", shared(contiguous)), ("random", shared(paged))]);
    }
    kernels
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::kernels::sources::SHADERS;
    use crate::kernels::types::StorageType;

    #[test]
    fn ids_are_unique_in_the_verification_suite() {
        let cases = verification_cases();
        let ids: BTreeSet<String> = cases.iter().map(CaseSpec::id).collect();
        assert_eq!(ids.len(), cases.len());
    }

    #[test]
    fn the_verification_suite_covers_every_shader_that_is_not_a_probe() {
        let cases = verification_cases();
        let used: BTreeSet<&str> =
            cases.iter().flat_map(|case| case.case().plan().launches).map(|launch| launch.shader).collect();
        let all: BTreeSet<&str> =
            SHADERS.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("probe")).collect();
        assert_eq!(used, all);
        assert!(cases.len() >= 60);
    }

    #[test]
    fn the_verification_suite_has_eight_shapes_of_every_kernel_variant_and_type() {
        let mut shapes: BTreeMap<(&str, &str, StorageType), BTreeSet<String>> = BTreeMap::new();
        for case in verification_cases() {
            // The same shaders multiply for all these kernels.
            let name = match case.kernel.name() {
                "dense" | "gate_up" | "down" | "router_logits" => "matmul",
                name => name,
            };
            let key = (name, case.variant, case.element);
            shapes.entry(key).or_default().insert(format!("{:?}", case.kernel.shape()));
        }
        let few: Vec<_> =
            shapes.iter().filter(|(_, of)| of.len() < 8).map(|(key, of)| format!("{key:?}: {}", of.len())).collect();
        assert!(few.is_empty(), "{few:#?}");
        for element in StorageType::ALL {
            assert!(shapes.keys().filter(|(.., of)| *of == element).count() >= 6, "{element}");
        }
    }
}
