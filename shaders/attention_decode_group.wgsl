// Attention of one query per sequence over its KV cache. The cache is split; one workgroup computes all query heads of
// one (sequence, KV head, split), and reads each of its keys and values once. Keys come in tiles of 64. Four neighbouring
// invocations share a key: each multiplies every fourth 8 numbers of four keys with those of all queries. Then an
// invocation takes the softmax of one head over every eighth key. Last, it takes one vec4 column of all heads over some
// keys. Each part writes its largest score, its sum of exponentials and its unnormalised output. attention_reduce.wgsl
// merges the parts.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override HEAD_DIM4: u32 = 32u; // head_dim / 4, at most 64
const GROUP: u32 = 8u;         // heads / kv_heads, at most 16

const INVOCATIONS: u32 = 64u;
const KEYS: u32 = 64u;
const PARTS: u32 = 4u; // invocations that share a key
const TEAMS: u32 = INVOCATIONS / PARTS;
const OWN_KEYS: u32 = KEYS / TEAMS; // keys whose scores an invocation computes
const SLOTS: u32 = min(8u, INVOCATIONS / GROUP); // invocations that share the softmax of a head
const SLOT_KEYS: u32 = (KEYS + SLOTS - 1u) / SLOTS;
const LOWEST: f32 = -3.0e38;

override STEPS: u32 = (HEAD_DIM4 + 2u * PARTS - 1u) / (2u * PARTS);
override QUERY_DIM4: u32 = STEPS * 2u * PARTS;
override LANES: u32 = INVOCATIONS / HEAD_DIM4; // invocations that share a column
override LANE_KEYS: u32 = (KEYS + 4u * LANES - 1u) / (4u * LANES) * 4u;
override ROWS: u32 = LANES * LANE_KEYS; // keys of a tile with those that fill up the last lane
override STRIDE: u32 = ROWS * GROUP + 16u; // 16 more against bank conflicts

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

var<workgroup> query: array<Element4, GROUP * QUERY_DIM4>; // zero beyond head_dim
var<workgroup> score: array<f32, PARTS * STRIDE>; // [part][key][head]; then exponentials in part 0; at last outputs
var<workgroup> row_at: array<u32, ROWS>;          // where the rows of the tile begin in k and v
var<workgroup> slot_largest: array<f32, SLOTS * GROUP>;
var<workgroup> shrink: array<f32, GROUP>;

fn add_dot(x: vec4<f32>, y: vec4<f32>, sum: f32) -> f32 {
    return fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, sum))));
}

// Scores of four keys against all heads, over this invocation's part of head_dim.
fn score_keys(local: u32) {
    let part = local % PARTS;
    let team = local / PARTS;
    var row = array<u32, OWN_KEYS>();
    for (var j = 0u; j < OWN_KEYS; j++) {
        row[j] = row_at[team + j * TEAMS];
    }
    var s = array<array<f32, GROUP>, OWN_KEYS>();
    for (var step = 0u; step < STEPS; step++) {
        let d = (step * PARTS + part) * 2u;
        // The query is zero where a step goes beyond the head.
        let d0 = select(min(d, HEAD_DIM4 - 1u), d, QUERY_DIM4 == HEAD_DIM4);
        let d1 = select(min(d + 1u, HEAD_DIM4 - 1u), d + 1u, QUERY_DIM4 == HEAD_DIM4);
        var x0 = array<vec4<f32>, OWN_KEYS>();
        var x1 = array<vec4<f32>, OWN_KEYS>();
        for (var j = 0u; j < OWN_KEYS; j++) {
            x0[j] = widen(k[row[j] + d0]);
            x1[j] = widen(k[row[j] + d1]);
        }
        for (var h = 0u; h < GROUP; h++) {
            let y0 = widen(query[h * QUERY_DIM4 + d]);
            let y1 = widen(query[h * QUERY_DIM4 + d + 1u]);
            for (var j = 0u; j < OWN_KEYS; j++) {
                s[j][h] = add_dot(x1[j], y1, add_dot(x0[j], y0, s[j][h]));
            }
        }
    }
    for (var j = 0u; j < OWN_KEYS; j++) {
        for (var h = 0u; h < GROUP; h++) {
            score[part * STRIDE + (team + j * TEAMS) * GROUP + h] = s[j][h];
        }
    }
}

// Adds the values of this invocation's keys, times their exponentials, to the sums of all heads.
fn add_values(column: u32, lane: u32, sum: ptr<function, array<vec4<f32>, GROUP>>) {
    for (var h = 0u; h < GROUP; h++) {
        (*sum)[h] *= shrink[h];
    }
    for (var j = 0u; j < LANE_KEYS; j += 4u) {
        let key = lane * LANE_KEYS + j;
        let x0 = widen(v[row_at[key] + column]);
        let x1 = widen(v[row_at[key + 1u] + column]);
        let x2 = widen(v[row_at[key + 2u] + column]);
        let x3 = widen(v[row_at[key + 3u] + column]);
        for (var h = 0u; h < GROUP; h++) {
            var x = (*sum)[h];
            x = fma(vec4(score[key * GROUP + h]), x0, x);
            x = fma(vec4(score[(key + 1u) * GROUP + h]), x1, x);
            x = fma(vec4(score[(key + 2u) * GROUP + h]), x2, x);
            x = fma(vec4(score[(key + 3u) * GROUP + h]), x3, x);
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
    let kv_head = group.y;
    let sequence = group.z;
    let first_head = sequence * params.heads + kv_head * GROUP;
    let kv_step = params.kv_heads * HEAD_DIM4;
    let kv_at = sequence * params.kv_len * kv_step + kv_head * HEAD_DIM4;
    let visible = min(params.kv_len, params.window);
    let length = (visible + params.splits - 1u) / params.splits;
    let begin = params.kv_len - visible + min(split * length, visible);
    let end = min(begin + length, params.kv_len);
    let column = local % HEAD_DIM4;
    let lane = local / HEAD_DIM4;
    let head = local % GROUP;
    let slot = local / GROUP;

    for (var i = local; i < GROUP * QUERY_DIM4; i += INVOCATIONS) {
        let d = i % QUERY_DIM4;
        let x = q[(first_head + i / QUERY_DIM4) * HEAD_DIM4 + min(d, HEAD_DIM4 - 1u)];
        query[i] = select(Element4(), x, d < HEAD_DIM4);
    }
    for (var i = KEYS + local; i < ROWS; i += INVOCATIONS) {
        row_at[i] = kv_at;
    }
    for (var i = KEYS * GROUP + local; i < ROWS * GROUP; i += INVOCATIONS) {
        score[i] = 0.0;
    }
    var largest = LOWEST; // of `head`
    var total = 0.0;      // of `head`, over this slot's keys
    var sum = array<vec4<f32>, GROUP>();
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
                    x += score[part * STRIDE + min(key, KEYS - 1u) * GROUP + head];
                }
                own[j] = select(LOWEST, x * params.scale, key < keys);
                now = max(now, own[j]);
            }
            slot_largest[local] = now;
        }
        workgroupBarrier();
        if slot < SLOTS {
            for (var other = 0u; other < SLOTS; other++) {
                now = max(now, slot_largest[other * GROUP + head]);
            }
            let factor = exp(largest - now);
            largest = now;
            total *= factor;
            for (var j = 0u; j < SLOT_KEYS; j++) {
                let key = slot + j * SLOTS;
                let x = exp(own[j] - now);
                total += x;
                if key < KEYS {
                    score[key * GROUP + head] = x;
                }
            }
            if slot == 0u {
                shrink[head] = factor;
            }
        }
        workgroupBarrier();
        if lane < LANES {
            add_values(column, lane, &sum);
        }
    }
    workgroupBarrier();
    if slot < SLOTS {
        slot_largest[local] = total;
    }
    for (var h = 0u; h < GROUP; h++) {
        let at = (h * INVOCATIONS + local) * 4u;
        score[at] = sum[h].x;
        score[at + 1u] = sum[h].y;
        score[at + 2u] = sum[h].z;
        score[at + 3u] = sum[h].w;
    }
    workgroupBarrier();
    if local < GROUP {
        for (var other = 1u; other < SLOTS; other++) {
            total += slot_largest[other * GROUP + local];
        }
        part_state[(first_head + local) * params.splits + split] = vec2(largest, total);
    }
    for (var i = local; i < GROUP * HEAD_DIM4; i += INVOCATIONS) {
        let h = i / HEAD_DIM4;
        let d = i % HEAD_DIM4;
        var x = vec4<f32>();
        for (var other = 0u; other < LANES; other++) {
            let at = (h * INVOCATIONS + other * HEAD_DIM4 + d) * 4u;
            x += vec4(score[at], score[at + 1u], score[at + 2u], score[at + 3u]);
        }
        part_out[((first_head + h) * params.splits + split) * HEAD_DIM4 + d] = x;
    }
}
