// Scoring and top-k. One invocation per token reads the logits once and keeps the best ones in registers.
//
//   SCORING 0: p = softmax(logits); choose by p                                     (Mixtral, Qwen3)
//   SCORING 1: p = sigmoid(logits); choose by p + bias, within the best groups       (DeepSeek-V3)
//   SCORING 2: p = sqrt(softplus(logits)); choose by p + bias, within the best groups (DeepSeek-V4)
//   SCORING 3: p = softmax(logits + bias); choose by p                              (gpt-oss)
//
// The score of a group is the sum of its two best choices. The weight of a chosen expert is its p, divided by the sum
// over the chosen ones under RENORMALISE, times scale. Of equal experts the lower index wins. Slots are in order, best
// first.
override SCORING: u32 = 0u;
override RENORMALISE: bool = true;
override WORKGROUP: u32 = 64u;

const MAX_TOP_K: u32 = 8u;
const MAX_KEPT: u32 = 4u;
const LOWEST: f32 = -3.0e38;

struct Params {
    tokens: u32,
    experts: u32,
    top_k: u32,
    groups: u32,
    kept_groups: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;               // [tokens, experts]
@group(0) @binding(2) var<storage, read> bias: array<f32>;                 // [experts]
@group(0) @binding(3) var<storage, read_write> expert_of_slot: array<u32>; // [tokens, top_k]
@group(0) @binding(4) var<storage, read_write> weight: array<f32>;         // [tokens, top_k]

// The score of a logit by itself: a sigmoid or, under SCORING 2, sqrt(log(1 + exp(x))). With e = exp(-|x|) the series is
// that of log(1 + e) = 2 atanh(e / (2 + e)); `log` is far less exact where its result is small.
fn affinity(x: f32) -> f32 {
    if SCORING == 2u {
        let e = exp(-abs(x));
        let s = e / (2.0 + e);
        let t = s * s;
        let series = 1.0 + t * (1.0 / 3.0 + t * (0.2 + t * (1.0 / 7.0 + t * (1.0 / 9.0 + t / 11.0))));
        return sqrt(max(x, 0.0) + 2.0 * s * series);
    }
    return 1.0 / (1.0 + exp(-x));
}

// The value to choose by. Softmax is monotonic, so logits give the same order.
fn choice_of(logit: f32, added: f32) -> f32 {
    if SCORING == 0u {
        return logit;
    }
    if SCORING == 3u {
        return logit + added;
    }
    return affinity(logit) + added;
}

fn choice(token: u32, expert: u32) -> f32 {
    return choice_of(logits[token * params.experts + expert], bias[expert]);
}

// Bit g is set if group g stays. The best groups are kept as the best experts are below.
fn kept_groups(token: u32) -> u32 {
    let size = params.experts / params.groups;
    var value = array<f32, MAX_KEPT>();
    var kept = array<u32, MAX_KEPT>();
    for (var j = 0u; j < MAX_KEPT; j++) {
        value[j] = LOWEST;
        kept[j] = 0u;
    }
    for (var g = 0u; g < params.groups; g++) {
        var first = LOWEST;
        var second = LOWEST;
        for (var e = g * size; e < (g + 1u) * size; e++) {
            let score = choice(token, e);
            second = max(second, min(first, score));
            first = max(first, score);
        }
        var v = first + second;
        var bit = 1u << g;
        var inserted = false;
        for (var j = 0u; j < MAX_KEPT; j++) {
            inserted = inserted || v > value[j];
            let old_value = value[j];
            let old_bit = kept[j];
            value[j] = select(old_value, v, inserted);
            kept[j] = select(old_bit, bit, inserted);
            v = select(v, old_value, inserted);
            bit = select(bit, old_bit, inserted);
        }
    }
    var bits = 0u;
    for (var j = 0u; j < MAX_KEPT; j++) {
        bits |= select(0u, kept[j], j < params.kept_groups);
    }
    return bits;
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let token = id.x;
    if token >= params.tokens {
        return;
    }
    var kept = 0xFFFFFFFFu;
    if params.kept_groups < params.groups {
        kept = kept_groups(token);
    }
    let group_size = params.experts / params.groups;

    var value = array<f32, MAX_TOP_K>();
    var expert = array<u32, MAX_TOP_K>();
    for (var j = 0u; j < MAX_TOP_K; j++) {
        value[j] = LOWEST;
        expert[j] = 0u;
    }
    for (var e = 0u; e < params.experts; e++) {
        if (kept & (1u << (e / group_size))) == 0u {
            continue;
        }
        // Inserts with selects alone, so that the arrays stay in registers.
        var v = choice(token, e);
        var i = e;
        var inserted = false;
        for (var j = 0u; j < MAX_TOP_K; j++) {
            inserted = inserted || v > value[j];
            let old_value = value[j];
            let old_expert = expert[j];
            value[j] = select(old_value, v, inserted);
            expert[j] = select(old_expert, i, inserted);
            v = select(v, old_value, inserted);
            i = select(i, old_expert, inserted);
        }
    }

    // value[0] is the largest logit under softmax.
    let is_softmax = SCORING == 0u || SCORING == 3u;
    var denominator = 0.0;
    if is_softmax && !RENORMALISE {
        for (var e = 0u; e < params.experts; e++) {
            denominator += exp(choice(token, e) - value[0]);
        }
    }
    var p = array<f32, MAX_TOP_K>();
    var sum = 0.0;
    for (var j = 0u; j < MAX_TOP_K; j++) {
        if is_softmax {
            p[j] = exp(value[j] - value[0]);
        } else {
            p[j] = affinity(logits[token * params.experts + expert[j]]);
        }
        sum += select(0.0, p[j], j < params.top_k);
    }
    if RENORMALISE {
        denominator = sum;
    } else if !is_softmax {
        denominator = 1.0;
    }
    for (var j = 0u; j < MAX_TOP_K; j++) {
        if j < params.top_k {
            expert_of_slot[token * params.top_k + j] = expert[j];
            weight[token * params.top_k + j] = params.scale * p[j] / denominator;
        }
    }
}
