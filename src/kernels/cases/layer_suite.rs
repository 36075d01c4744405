//! The part of the suite of `verify` with whole layers.

use crate::kernels::attention::Heads;
use crate::kernels::cases::spec::{Labelled, shared};
use crate::kernels::gate::Gate;
use crate::kernels::layer::{AttentionBlock, BlockPhase, MlaBlock, MoeLayer, SharedExpert};
use crate::specs::Scoring::{BiasedSoftmax, Sigmoid, Softmax, SqrtSoftplus};

/// MoE layers and attention blocks.
pub(super) fn layer_suite() -> Vec<Labelled> {
    let gate = |experts, top_k, scoring, groups| Gate {
        experts,
        top_k,
        scoring,
        groups,
        kept_groups: groups.div_ceil(2),
        renormalise: true,
        scale: if scoring == Sigmoid { 2.5 } else { 1.0 },
    };
    let mut kernels = Vec::new();
    for (gate, tokens, hidden, intermediate) in [
        (gate(8, 2, Softmax, 1), 37, 36, 20),
        (gate(16, 4, Sigmoid, 4), 70, 68, 41),
        (gate(4, 1, Softmax, 1), 1, 32, 7),
        (gate(8, 2, Softmax, 1), 3, 64, 64),
        (gate(32, 8, Sigmoid, 8), 2, 40, 24),
        (gate(16, 2, Softmax, 1), 5, 100, 33),
        (gate(64, 6, Softmax, 1), 9, 48, 16),
        (gate(8, 1, Sigmoid, 2), 2, 260, 12),
        (gate(12, 3, Sigmoid, 3), 4, 36, 65),
        (gate(256, 8, Sigmoid, 8), 4, 20, 9),
    ] {
        kernels.push((
            "random",
            shared(MoeLayer { gate, tokens, hidden, intermediate, shared: None, router: None, scoring: None }),
        ));
    }
    // The shared expert: its intermediate size, and whether it has a gate of its own.
    for (gate, tokens, hidden, intermediate, gated) in [
        (gate(16, 4, Sigmoid, 4), 70, 68, 41, false),
        (gate(4, 1, BiasedSoftmax, 1), 1, 32, 7, true),
        (gate(24, 10, Softmax, 1), 5, 100, 33, true),
        (gate(64, 6, SqrtSoftplus, 1), 9, 48, 16, false),
    ] {
        let shared_expert = Some(SharedExpert { intermediate, gated, variant: None });
        let (router, scoring) = (None, None);
        let layer = MoeLayer { gate, tokens, hidden, intermediate: 22, shared: shared_expert, router, scoring };
        kernels.push(("random", shared(layer)));
    }
    let heads = |heads, kv_heads, head_dim| Heads { heads, kv_heads, head_dim };
    for (heads, hidden, phase) in [
        (heads(4, 2, 32), 52, BlockPhase::Prefill { tokens: 45 }),
        (heads(2, 1, 64), 100, BlockPhase::Prefill { tokens: 1 }),
        (heads(8, 2, 32), 40, BlockPhase::Decode { sequences: 3, kv_len: 77 }),
        (heads(4, 4, 36), 64, BlockPhase::Decode { sequences: 1, kv_len: 130 }),
        (heads(1, 1, 64), 33, BlockPhase::Prefill { tokens: 7 }),
        (heads(8, 1, 64), 72, BlockPhase::Prefill { tokens: 33 }),
        (heads(2, 2, 32), 129, BlockPhase::Prefill { tokens: 64 }),
        (heads(6, 3, 36), 20, BlockPhase::Prefill { tokens: 17 }),
        (heads(3, 1, 128), 48, BlockPhase::Prefill { tokens: 3 }),
        (heads(2, 1, 96), 100, BlockPhase::Prefill { tokens: 31 }),
        (heads(4, 4, 64), 40, BlockPhase::Prefill { tokens: 65 }),
        (heads(1, 1, 64), 8, BlockPhase::Decode { sequences: 1, kv_len: 1 }),
        (heads(8, 1, 64), 133, BlockPhase::Decode { sequences: 2, kv_len: 64 }),
        (heads(6, 3, 32), 36, BlockPhase::Decode { sequences: 5, kv_len: 33 }),
        (heads(2, 2, 128), 20, BlockPhase::Decode { sequences: 1, kv_len: 257 }),
        (heads(5, 1, 32), 65, BlockPhase::Decode { sequences: 4, kv_len: 19 }),
        (heads(16, 4, 64), 24, BlockPhase::Decode { sequences: 2, kv_len: 100 }),
    ] {
        let block = AttentionBlock { heads, hidden, phase, window: None, sinks: false, projection: None };
        kernels.push(("random", shared(block)));
    }
    for (heads, hidden, phase, window) in [
        (heads(8, 1, 64), 72, BlockPhase::Prefill { tokens: 65 }, Some(19)),
        (heads(8, 2, 64), 40, BlockPhase::Decode { sequences: 2, kv_len: 150 }, Some(128)),
        (heads(4, 2, 64), 36, BlockPhase::Decode { sequences: 3, kv_len: 33 }, None),
    ] {
        let block = AttentionBlock { heads, hidden, phase, window, sinks: true, projection: None };
        kernels.push(("random", shared(block)));
    }
    kernels.extend(latent_blocks());
    kernels
}

/// Blocks of latent attention; every second shape is a prefill.
fn latent_blocks() -> Vec<Labelled> {
    let decode = |sequences, kv_len| BlockPhase::Decode { sequences, kv_len };
    let prefill = |tokens| BlockPhase::Prefill { tokens };
    let mut kernels = Vec::new();
    // heads, hidden, q_rank, latent_dim, rope_dim, nope_dim, value_dim
    for (sizes, phases) in [
        ([4, 100, 24, 512, 64, 128, 128], [prefill(33), decode(2, 65)]),
        ([1, 36, 12, 64, 64, 32, 32], [prefill(1), decode(1, 1)]),
        ([16, 40, 20, 128, 64, 32, 32], [prefill(17), decode(3, 77)]),
        ([2, 64, 36, 192, 64, 128, 128], [prefill(64), decode(1, 130)]),
        ([3, 52, 8, 64, 64, 32, 64], [prefill(45), decode(2, 33)]),
        ([17, 20, 16, 64, 64, 64, 96], [prefill(7), decode(1, 40)]),
        ([8, 132, 64, 256, 64, 64, 64], [prefill(65), decode(4, 19)]),
        ([5, 24, 28, 64, 64, 48, 64], [prefill(31), decode(1, 257)]),
    ] {
        let [heads, hidden, q_rank, latent_dim, rope_dim, nope_dim, value_dim] = sizes;
        for phase in phases {
            let projection = None;
            let block =
                MlaBlock { heads, hidden, q_rank, latent_dim, rope_dim, nope_dim, value_dim, phase, projection };
            kernels.push(("random", shared(block)));
        }
    }
    kernels
}
