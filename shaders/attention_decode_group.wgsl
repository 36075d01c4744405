// Attention of one query per sequence over its KV cache. The cache is split; one workgroup computes up to 16 query heads
// of one (sequence, KV head, split), and reads each of its keys and values once. Keys come in tiles. Four neighbouring
// invocations share a key: each multiplies every fourth piece of its keys with all queries. Then an invocation takes
// the softmax of one head over eight keys. Last, it adds the values of one vec4 column over some of the keys. Each part
// writes its largest score, its sum of exponentials and its unnormalised output. attention_reduce.wgsl merges the parts.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override HEAD_DIM4: u32 = 32u; // head_dim / 4, KEYS at most
const GROUP: u32 = 8u;         // query heads of a workgroup, at most 16

const HALVES: u32 = 1u; // 2: an invocation adds the values of half of the heads
const WIDTH: u32 = 1u;  // vec4 of a key that an invocation reads at once
const KEYS: u32 = 64u;  // of a tile
const INVOCATIONS: u32 = KEYS * HALVES;
const PARTS: u32 = 4u;  // invocations that share a key
const TEAMS: u32 = INVOCATIONS / PARTS;
const OWN_KEYS: u32 = KEYS / TEAMS; // keys whose scores an invocation computes
const SLOTS: u32 = KEYS / 8u; // invocations that share the softmax of a head
const SLOT_KEYS: u32 = KEYS / SLOTS;
const OWN_HEADS: u32 = (GROUP + HALVES - 1u) / HALVES; // heads whose values an invocation adds
const HEADS: u32 = OWN_HEADS * HALVES;
const STRIDE: u32 = KEYS * HEADS + 16u; // 16 more against bank conflicts
const WEIGHTS: u32 = (PARTS - 1u) * STRIDE; // where `score` holds exponentials
const LOWEST: f32 = -3.0e38;

override STEPS: u32 = (HEAD_DIM4 + WIDTH * PARTS - 1u) / (WIDTH * PARTS);
override QUERY_DIM4: u32 = STEPS * WIDTH * PARTS;
override LANES: u32 = min(INVOCATIONS / HALVES / HEAD_DIM4, 16u); // invocations that share a column
override LANE_KEYS: u32 = (KEYS + 4u * LANES - 1u) / (4u * LANES) * 4u;
override ROWS: u32 = LANES * LANE_KEYS; // keys of a tile with those that fill up the last lane

struct Params {
    sequences: u32,
    kv_len: u32,
    heads: u32,
    kv_heads: u32,
    splits: u32,
    window: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<Element4>;                 // [sequences, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<Element4>;                 // [sequences, kv_len, kv_heads, head_dim]
@group(0) @binding(3) var<storage, read> v: array<Element4>;                 // [sequences, kv_len, kv_heads, head_dim]
@group(0) @binding(4) var<storage, read_write> part_state: array<vec2<f32>>; // [sequences, heads, splits]: largest, sum
@group(0) @binding(5) var<storage, read_write> part_out: array<vec4<f32>>;   // [sequences, heads, splits, head_dim]

var<workgroup> query: array<Element4, HEADS * QUERY_DIM4>; // zero beyond head_dim
var<workgroup> score: array<f32, WEIGHTS + ROWS * HEADS>; // [part][key][head]; then exponentials; at last outputs
var<workgroup> row_at: array<u32, ROWS>;          // where the rows of the tile begin in k and v
var<workgroup> slot_largest: array<f32, INVOCATIONS>;
var<workgroup> shrink: array<f32, HEADS>;

// sum + x . y
fn add_dot(x: vec4<f32>, y: vec4<f32>, sum: f32) -> f32 {
    return fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, sum))));
}

// The scores of an invocation's keys against all queries, over its part of head_dim.
fn score_keys(local: u32) {
    let part = local % PARTS;
    let team = local / PARTS;
    var row = array<u32, OWN_KEYS>();
    for (var j = 0u; j < OWN_KEYS; j++) {
        row[j] = row_at[team + j * TEAMS];
    }
    var s = array<array<f32, HEADS>, OWN_KEYS>();
    for (var step = 0u; step < STEPS; step++) {
        let d = (step * PARTS + part) * WIDTH;
        var x = array<array<vec4<f32>, OWN_KEYS>, WIDTH>();
        for (var i = 0u; i < WIDTH; i++) {
            // The query is zero where a step goes beyond the head.
            let at = select(min(d + i, HEAD_DIM4 - 1u), d + i, QUERY_DIM4 == HEAD_DIM4);
            for (var j = 0u; j < OWN_KEYS; j++) {
                x[i][j] = widen(k[row[j] + at]);
            }
        }
        for (var h = 0u; h < HEADS; h++) {
            for (var i = 0u; i < WIDTH; i++) {
                let y = widen(query[h * QUERY_DIM4 + d + i]);
                for (var j = 0u; j < OWN_KEYS; j++) {
                    s[j][h] = add_dot(x[i][j], y, s[j][h]);
                }
            }
        }
    }
    for (var j = 0u; j < OWN_KEYS; j++) {
        for (var h = 0u; h < HEADS; h++) {
            score[part * STRIDE + (team + j * TEAMS) * HEADS + h] = s[j][h];
        }
    }
}

// Adds the values of an invocation's keys, times their exponentials, to the sums of its heads.
fn add_values(column: u32, lane: u32, first_head: u32, sum: ptr<function, array<vec4<f32>, OWN_HEADS>>) {
    for (var h = 0u; h < OWN_HEADS; h++) {
        (*sum)[h] *= shrink[first_head + h];
    }
    for (var j = 0u; j < LANE_KEYS; j += 4u) {
        let key = lane * LANE_KEYS + j;
        let weight_at = WEIGHTS + key * HEADS + first_head;
        let x0 = widen(v[row_at[key] + column]);
        let x1 = widen(v[row_at[key + 1u] + column]);
        let x2 = widen(v[row_at[key + 2u] + column]);
        let x3 = widen(v[row_at[key + 3u] + column]);
        for (var h = 0u; h < OWN_HEADS; h++) {
            var x = (*sum)[h];
            x = fma(vec4(score[weight_at + h]), x0, x);
            x = fma(vec4(score[weight_at + HEADS + h]), x1, x);
            x = fma(vec4(score[weight_at + 2u * HEADS + h]), x2, x);
            x = fma(vec4(score[weight_at + 3u * HEADS + h]), x3, x);
            (*sum)[h] = x;
        }
    }
}

@compute @workgroup_size(INVOCATIONS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let split = group.x;
    let sequence = group.z;
    let kv_group = params.heads / params.kv_heads;
    let passes = (kv_group + GROUP - 1u) / GROUP;
    let kv_head = group.y / passes;
    let in_group = group.y % passes * GROUP;
    let heads = min(GROUP, kv_group - in_group);
    let first_head = sequence * params.heads + kv_head * kv_group + in_group;
    let kv_step = params.kv_heads * HEAD_DIM4;
    let kv_at = sequence * params.kv_len * kv_step + kv_head * HEAD_DIM4;
    let visible = min(params.kv_len, params.window);
    let length = (visible + params.splits - 1u) / params.splits;
    let begin = params.kv_len - visible + min(split * length, visible);
    let end = min(begin + length, params.kv_len);
    let column = local % HEAD_DIM4;
    let lane = local / HEAD_DIM4 % LANES;
    let half = local / HEAD_DIM4 / LANES;
    let head = local % HEADS;
    let slot = local / HEADS;

    for (var i = local; i < HEADS * QUERY_DIM4; i += INVOCATIONS) {
        let h = i / QUERY_DIM4;
        let d = i % QUERY_DIM4;
        let x = q[(first_head + min(h, heads - 1u)) * HEAD_DIM4 + min(d, HEAD_DIM4 - 1u)];
        query[i] = select(Element4(), x, d < HEAD_DIM4);
    }
    for (var i = KEYS + local; i < ROWS; i += INVOCATIONS) {
        row_at[i] = kv_at;
    }
    for (var i = KEYS * HEADS + local; i < ROWS * HEADS; i += INVOCATIONS) {
        score[WEIGHTS + i] = 0.0;
    }
    var largest = LOWEST; // of `head`
    var total = 0.0;      // of `head`, over this slot's keys
    var sum = array<vec4<f32>, OWN_HEADS>();
    for (var first = begin; first < end; first += KEYS) {
        let keys = min(KEYS, end - first);
        workgroupBarrier();
        if local < KEYS {
            row_at[local] = kv_at + (first + min(local, keys - 1u)) * kv_step;
        }
        workgroupBarrier();
        score_keys(local);
        workgroupBarrier();
        var own = array<f32, SLOT_KEYS>();
        var now = largest;
        if slot < SLOTS {
            for (var j = 0u; j < SLOT_KEYS; j++) {
                let key = slot + j * SLOTS;
                var x = 0.0;
                for (var part = 0u; part < PARTS; part++) {
                    x += score[part * STRIDE + key * HEADS + head];
                }
                own[j] = select(LOWEST, x * params.scale, key < keys);
                now = max(now, own[j]);
            }
            slot_largest[local] = now;
        }
        workgroupBarrier();
        if slot < SLOTS {
            for (var other = 0u; other < SLOTS; other++) {
                now = max(now, slot_largest[other * HEADS + head]);
            }
            let factor = exp(largest - now);
            largest = now;
            total *= factor;
            for (var j = 0u; j < SLOT_KEYS; j++) {
                let x = exp(own[j] - now);
                total += x;
                score[WEIGHTS + (slot + j * SLOTS) * HEADS + head] = x;
            }
            if slot == 0u {
                shrink[head] = factor;
            }
        }
        workgroupBarrier();
        if half < HALVES {
            add_values(column, lane, half * OWN_HEADS, &sum);
        }
    }
    workgroupBarrier();
    if slot < SLOTS {
        slot_largest[local] = total;
    }
    if half < HALVES {
        for (var h = 0u; h < OWN_HEADS; h++) {
            let at = (((half * OWN_HEADS + h) * LANES + lane) * HEAD_DIM4 + column) * 4u;
            score[at] = sum[h].x;
            score[at + 1u] = sum[h].y;
            score[at + 2u] = sum[h].z;
            score[at + 3u] = sum[h].w;
        }
    }
    workgroupBarrier();
    if local < heads {
        for (var other = 1u; other < SLOTS; other++) {
            total += slot_largest[other * HEADS + local];
        }
        part_state[(first_head + local) * params.splits + split] = vec2(largest, total);
    }
    for (var i = local; i < heads * HEAD_DIM4; i += INVOCATIONS) {
        let h = i / HEAD_DIM4;
        let d = i % HEAD_DIM4;
        var x = vec4<f32>();
        for (var other = 0u; other < LANES; other++) {
            let at = ((h * LANES + other) * HEAD_DIM4 + d) * 4u;
            x += vec4(score[at], score[at + 1u], score[at + 2u], score[at + 3u]);
        }
        part_out[((first_head + h) * params.splits + split) * HEAD_DIM4 + d] = x;
    }
}
