// Scoring and top-k. One workgroup per token keeps the scores in workgroup memory. Each of the top_k rounds is a tree
// search for the best.
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
override WORKGROUP: u32 = 64u; // a power of two

const MAX_EXPERTS: u32 = 512u;
const MAX_GROUPS: u32 = 32u;
const MAX_TOP_K: u32 = 32u;
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

var<workgroup> choice: array<f32, MAX_EXPERTS>;
var<workgroup> group_score: array<f32, MAX_GROUPS>;
var<workgroup> kept: u32;
var<workgroup> best_value: array<f32, WORKGROUP>;
var<workgroup> best_expert: array<u32, WORKGROUP>;
var<workgroup> chosen: array<u32, MAX_TOP_K>;

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

fn score_groups(local: u32) {
    let size = params.experts / params.groups;
    if local < params.groups {
        var first = LOWEST;
        var second = LOWEST;
        for (var e = local * size; e < (local + 1u) * size; e++) {
            second = max(second, min(first, choice[e]));
            first = max(first, choice[e]);
        }
        group_score[local] = first + second;
    }
    workgroupBarrier();
    if local == 0u {
        var mask = 0u;
        for (var round = 0u; round < params.kept_groups; round++) {
            var best = 0u;
            var best_score = LOWEST * 1.1;
            for (var g = 0u; g < params.groups; g++) {
                if (mask & (1u << g)) == 0u && group_score[g] > best_score {
                    best = g;
                    best_score = group_score[g];
                }
            }
            mask |= 1u << best;
        }
        kept = mask;
    }
    workgroupBarrier();
    for (var e = local; e < params.experts; e += WORKGROUP) {
        if (kept & (1u << (e / size))) == 0u {
            choice[e] = LOWEST;
        }
    }
    workgroupBarrier();
}

// Index of the largest choice, the lowest of equal ones; valid in every invocation.
fn find_best(local: u32) -> u32 {
    var value = LOWEST;
    var expert = 0xFFFFFFFFu;
    for (var e = local; e < params.experts; e += WORKGROUP) {
        if choice[e] > value {
            value = choice[e];
            expert = e;
        }
    }
    best_value[local] = value;
    best_expert[local] = expert;
    workgroupBarrier();
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        if local < width {
            let other = best_value[local + width];
            let other_expert = best_expert[local + width];
            let mine = best_value[local];
            if other > mine || (other == mine && other_expert < best_expert[local]) {
                best_value[local] = other;
                best_expert[local] = other_expert;
            }
        }
        workgroupBarrier();
    }
    return best_expert[0];
}

// The probability of an expert, for softmax times a factor that all experts of the token share.
fn unscaled(first: u32, expert: u32, largest: f32) -> f32 {
    let logit = logits[first + expert];
    if SCORING == 0u || SCORING == 3u {
        return exp(choice_of(logit, bias[expert]) - largest);
    }
    return affinity(logit);
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let token = group.x;
    let first = token * params.experts;
    for (var e = local; e < params.experts; e += WORKGROUP) {
        choice[e] = choice_of(logits[first + e], bias[e]);
    }
    workgroupBarrier();
    if params.kept_groups < params.groups {
        score_groups(local);
    }
    for (var j = 0u; j < params.top_k; j++) {
        let expert = find_best(local);
        workgroupBarrier();
        if local == 0u {
            chosen[j] = expert;
            choice[expert] = LOWEST;
        }
        workgroupBarrier();
    }
    if local != 0u {
        return;
    }
    let is_softmax = SCORING == 0u || SCORING == 3u;
    let largest = choice_of(logits[first + chosen[0]], bias[chosen[0]]);
    var denominator = 1.0;
    if RENORMALISE {
        denominator = 0.0;
        for (var j = 0u; j < params.top_k; j++) {
            denominator += unscaled(first, chosen[j], largest);
        }
    } else if is_softmax {
        denominator = 0.0;
        for (var e = 0u; e < params.experts; e++) {
            denominator += unscaled(first, e, largest);
        }
    }
    for (var j = 0u; j < params.top_k; j++) {
        expert_of_slot[token * params.top_k + j] = chosen[j];
        weight[token * params.top_k + j] = params.scale * unscaled(first, chosen[j], largest) / denominator;
    }
}
