// Scoring and top-k in one pass. One subgroup per token keeps the scores in registers, four neighbouring experts per
// lane at a time. Each of the top_k rounds is a maximum over the subgroup. There are no barriers. It needs subgroups of
// at least 8 lanes.
//
//   SCORING 0: p = softmax(logits); choose by p                                    (Mixtral, Qwen3)
//   SCORING 1: p = sigmoid(logits); choose by p + bias, within the best groups      (DeepSeek-V3)
//
// The score of a group is the sum of its two best choices. The weight of a chosen expert is its p, divided by the sum
// over the chosen ones under RENORMALISE, times scale. Of equal experts the lower index wins. Slots are in order, best
// first.
override SCORING: u32 = 0u;
override RENORMALISE: bool = true;
override WORKGROUP: u32 = 64u;
override VECTORS: u32 = 8u; // vec4 of scores per lane in a subgroup of 8 lanes: experts / 32, rounded up

const MAX_VECTORS: u32 = 16u;
const TOKENS: u32 = 8u; // per workgroup
const LOWEST: f32 = -3.0e38;
const NOWHERE: u32 = 0xFFFFFFFFu;

struct Params {
    tokens: u32,
    experts: u32,
    top_k: u32,
    groups: u32,
    kept_groups: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4<f32>>;         // [tokens, experts]
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;           // [experts]
@group(0) @binding(3) var<storage, read_write> expert_of_slot: array<u32>; // [tokens, top_k]
@group(0) @binding(4) var<storage, read_write> weight: array<f32>;         // [tokens, top_k]

fn sigmoid4(x: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp(-x));
}

fn largest_of(x: vec4<f32>) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
}

// The lowest of the components of `experts` whose `score` equals `value`.
fn index_of(score: vec4<f32>, value: f32, experts: vec4<u32>) -> u32 {
    let at = select(vec4(NOWHERE), experts, score == vec4(value));
    return min(min(at.x, at.y), min(at.z, at.w));
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    let experts4 = params.experts / 4u;
    let last = min((group.x + 1u) * TOKENS, params.tokens);
    for (var token = group.x * TOKENS + subgroup; token < last; token += subgroups) {
        var score = array<vec4<f32>, MAX_VECTORS>();
        var sum4 = vec4<f32>();
        var largest = LOWEST;
        for (var r = 0u; r < VECTORS; r++) {
            let e4 = r * lanes + lane;
            let inside = e4 < experts4;
            let at = select(0u, e4, inside);
            var x = logits[token * experts4 + at];
            if SCORING == 1u {
                x = sigmoid4(x) + bias[at];
            }
            score[r] = select(vec4(LOWEST), x, inside);
            largest = max(largest, largest_of(score[r]));
        }
        largest = subgroupMax(largest);
        if SCORING == 0u && !RENORMALISE {
            for (var r = 0u; r < VECTORS; r++) {
                sum4 += exp(score[r] - largest); // missing experts give exp(-inf) = 0
            }
        }
        if params.kept_groups < params.groups {
            let size4 = experts4 / params.groups;
            // Lane g keeps the score of group g.
            var group_score = LOWEST;
            for (var g = 0u; g < params.groups; g++) {
                var first = LOWEST;
                var second = LOWEST;
                for (var r = 0u; r < VECTORS; r++) {
                    if (r * lanes + lane) / size4 == g {
                        let x = score[r];
                        let low = min(x.xz, x.yw);
                        let high = max(x.xz, x.yw);
                        // The two best of four, then of six.
                        let best = max(high.x, high.y);
                        let next = max(min(high.x, high.y), select(low.y, low.x, high.x >= high.y));
                        second = max(max(second, next), min(first, best));
                        first = max(first, best);
                    }
                }
                let best = subgroupMax(first);
                let owner = subgroupMin(select(NOWHERE, lane, first == best));
                let next = subgroupMax(select(first, second, lane == owner));
                group_score = select(group_score, best + next, lane == g);
            }
            var kept = 0u;
            for (var round = 0u; round < params.kept_groups; round++) {
                let best = subgroupMax(group_score);
                let g = subgroupMin(select(NOWHERE, lane, group_score == best));
                kept |= 1u << g;
                group_score = select(group_score, LOWEST * 1.1, lane == g);
            }
            for (var r = 0u; r < VECTORS; r++) {
                let g = min((r * lanes + lane) / size4, 31u);
                score[r] = select(vec4(LOWEST), score[r], (kept & (1u << g)) != 0u);
            }
        }
        // Lane j keeps the expert of slot j.
        var mine = 0u;
        var taken = NOWHERE;
        for (var j = 0u; j < params.top_k; j++) {
            var best = LOWEST;
            for (var r = 0u; r < VECTORS; r++) {
                let e = 4u * (r * lanes + lane);
                score[r] = select(score[r], vec4(LOWEST), vec4(e, e + 1u, e + 2u, e + 3u) == vec4(taken));
                best = max(best, largest_of(score[r]));
            }
            best = subgroupMax(best);
            var at = NOWHERE;
            for (var r = 0u; r < VECTORS; r++) {
                let e = 4u * (r * lanes + lane);
                at = min(at, index_of(score[r], best, vec4(e, e + 1u, e + 2u, e + 3u)));
            }
            taken = subgroupMin(at);
            mine = select(mine, taken, lane == j);
        }
        let mine4 = logits[token * experts4 + mine / 4u];
        let logit = mine4[mine % 4u];
        var p = exp(logit - largest);
        if SCORING == 1u {
            p = sigmoid4(vec4(logit)).x;
        }
        let chosen = lane < params.top_k;
        var denominator = 1.0;
        if RENORMALISE {
            denominator = subgroupAdd(select(0.0, p, chosen));
        } else if SCORING == 0u {
            denominator = subgroupAdd(sum4.x + sum4.y + sum4.z + sum4.w);
        }
        if chosen {
            expert_of_slot[token * params.top_k + lane] = mine;
            weight[token * params.top_k + lane] = params.scale * p / denominator;
        }
    }
}
