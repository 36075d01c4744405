// Scoring and top-k in one pass. One subgroup per token keeps the scores in registers: each lane has VECTORS times four
// neighbouring experts, and sorts every four of them once. A round of the top-k compares the heads of these fours, finds
// the best lane by a maximum over the subgroup and a ballot, and moves up the four that lost its head. There are no
// barriers. A subgroup needs as many lanes as hold an expert, and as many as there are slots.
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
override GROUP_LANES: u32 = 1u; // lanes that hold a group, a power of two; 1 without groups

const VECTORS: u32 = 8u; // per lane; with groups, VECTORS * GROUP_LANES vec4 are a group
const TOKENS: u32 = 8u; // per workgroup
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
@group(0) @binding(1) var<storage, read> logits: array<vec4<f32>>;         // [tokens, experts]
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;           // [experts]
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

// Four scores in falling order, and the places of their experts among those of the lane.
struct Four {
    score: vec4<f32>,
    place: vec4<u32>,
}

// Only neighbours change places, and only if the later one is larger: equal ones keep their order.
fn sorted(four: Four) -> Four {
    var v = four.score;
    var p = four.place;
    p = select(p, p.yxzw, v.y > v.x);
    v = select(v, v.yxzw, v.y > v.x);
    p = select(p, p.xzyw, v.z > v.y);
    v = select(v, v.xzyw, v.z > v.y);
    p = select(p, p.yxzw, v.y > v.x);
    v = select(v, v.yxzw, v.y > v.x);
    p = select(p, p.xywz, v.w > v.z);
    v = select(v, v.xywz, v.w > v.z);
    p = select(p, p.xzyw, v.z > v.y);
    v = select(v, v.xzyw, v.z > v.y);
    p = select(p, p.yxzw, v.y > v.x);
    v = select(v, v.yxzw, v.y > v.x);
    return Four(v, p);
}

// The lowest lane that a condition holds in, of the first 64. It holds in at least one.
fn first_lane(holds: bool) -> u32 {
    let lanes = subgroupBallot(holds);
    return select(32u + firstTrailingBit(lanes.y), firstTrailingBit(lanes.x), lanes.x != 0u);
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let experts4 = params.experts / 4u;
    let last = min((group.x + 1u) * TOKENS, params.tokens);
    for (var token = group.x * TOKENS + subgroup; token < last; token += subgroups) {
        var score = array<vec4<f32>, VECTORS>();
        var order = array<u32, VECTORS>(); // places, a byte each, that of the best in the lowest
        for (var r = 0u; r < VECTORS; r++) {
            let e4 = lane * VECTORS + r;
            let inside = e4 < experts4;
            let at = select(0u, e4, inside);
            let x = logits[token * experts4 + at];
            let b = bias[at];
            let choice = vec4(choice_of(x.x, b.x), choice_of(x.y, b.y), choice_of(x.z, b.z), choice_of(x.w, b.w));
            let four = sorted(Four(select(vec4(LOWEST), choice, inside), vec4(4u * r) + vec4(0u, 1u, 2u, 3u)));
            score[r] = four.score;
            order[r] = four.place.x | (four.place.y << 8u) | (four.place.z << 16u) | (four.place.w << 24u);
        }
        var denominator = 1.0;
        var largest = 0.0;
        if SCORING == 0u || SCORING == 3u {
            largest = score[0].x;
            for (var r = 1u; r < VECTORS; r++) {
                largest = max(largest, score[r].x);
            }
            largest = subgroupMax(largest);
            if !RENORMALISE {
                var sum = vec4<f32>();
                for (var r = 0u; r < VECTORS; r++) {
                    sum += exp(score[r] - largest); // missing experts give exp(-inf) = 0
                }
                denominator = subgroupAdd(sum.x + sum.y + sum.z + sum.w);
            }
        }
        if params.kept_groups < params.groups {
            // The two best choices of the lane, then of the lanes with its group.
            var first = score[0].x;
            var second = score[0].y;
            for (var r = 1u; r < VECTORS; r++) {
                second = max(max(second, score[r].y), min(first, score[r].x));
                first = max(first, score[r].x);
            }
            for (var step = 1u; step < GROUP_LANES; step *= 2u) {
                let other = subgroupShuffleXor(first, step);
                second = max(max(second, subgroupShuffleXor(second, step)), min(first, other));
                first = max(first, other);
            }
            let mine = lane / GROUP_LANES;
            var group_score = select(LOWEST * 1.1, first + second, mine < params.groups);
            var stays = false;
            for (var round = 0u; round < params.kept_groups; round++) {
                let kept = first_lane(group_score == subgroupMax(group_score)) / GROUP_LANES;
                stays = stays || mine == kept;
                group_score = select(group_score, LOWEST * 1.1, mine == kept);
            }
            for (var r = 0u; r < VECTORS; r++) {
                score[r] = select(vec4(LOWEST), score[r], stays);
            }
        }
        // Lane j keeps the expert of slot j, and what it was chosen by.
        var mine = 0u;
        var mine_by = 0.0;
        for (var j = 0u; j < params.top_k; j++) {
            var best = score[0].x;
            var places = order[0];
            for (var r = 1u; r < VECTORS; r++) {
                let better = score[r].x > best;
                best = select(best, score[r].x, better);
                places = select(places, order[r], better);
            }
            let value = subgroupMax(best);
            let owner = first_lane(best == value);
            let place = subgroupShuffle(places, owner) & 0xFFu;
            mine = select(mine, 4u * VECTORS * owner + place, lane == j);
            mine_by = select(mine_by, value, lane == j);
            for (var r = 0u; r < VECTORS; r++) {
                let moves = lane == owner && place / 4u == r;
                score[r] = select(score[r], vec4(score[r].yzw, LOWEST), moves);
                order[r] = select(order[r], order[r] >> 8u, moves);
            }
        }
        mine = min(mine, params.experts - 1u); // beyond only if a logit is not a number
        var p = exp(mine_by - largest);
        if SCORING == 1u || SCORING == 2u {
            p = affinity(logits[token * experts4 + mine / 4u][mine % 4u]);
        }
        let chosen = lane < params.top_k;
        if RENORMALISE {
            denominator = subgroupAdd(select(0.0, p, chosen));
        }
        if chosen {
            expert_of_slot[token * params.top_k + lane] = mine;
            weight[token * params.top_k + lane] = params.scale * p / denominator;
        }
    }
}
