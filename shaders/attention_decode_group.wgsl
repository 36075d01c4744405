// Attention of one query per sequence over its KV cache. The cache is split; one workgroup computes one (sequence, KV
// head, split). It reads each key and value once for all query heads of the group; neighbouring invocations read
// neighbouring words. Keys go through workgroup memory, 32 at a time; an invocation then scores one key for every
// second head. Values are read straight into registers: an invocation takes one vec4 column of all heads and every
// `lanes`-th key. Each part writes its largest score, its sum of exponentials and its unnormalised output.
// attention_reduce.wgsl merges the parts.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override HEAD_DIM4: u32 = 32u; // head_dim / 4, at most 32
override GROUP: u32 = 8u;      // heads / kv_heads, at most 16

const MAX_GROUP: u32 = 16u;
const KEYS: u32 = 32u;
const INVOCATIONS: u32 = 64u;
const LOWEST: f32 = -3.0e38;

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

var<workgroup> query: array<Element4, GROUP * HEAD_DIM4>;
var<workgroup> tile: array<Element4, KEYS * (HEAD_DIM4 + 1u)>; // one more per row, against bank conflicts
var<workgroup> score: array<f32, GROUP * KEYS>;                // then exponentials
var<workgroup> largest: array<f32, MAX_GROUP>;
var<workgroup> shrink: array<f32, MAX_GROUP>;
var<workgroup> merged: array<vec4<f32>, INVOCATIONS>;

@compute @workgroup_size(INVOCATIONS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let split = group.x;
    let kv_head = group.y;
    let sequence = group.z;
    let first_head = kv_head * GROUP;
    let q_at = (sequence * params.heads + first_head) * HEAD_DIM4;
    let kv_step = params.kv_heads * HEAD_DIM4;
    let kv_at = sequence * params.kv_len * kv_step + kv_head * HEAD_DIM4;
    let visible = min(params.kv_len, params.window);
    let length = (visible + params.splits - 1u) / params.splits;
    let begin = params.kv_len - visible + min(split * length, visible);
    let end = min(begin + length, params.kv_len);
    let lanes = INVOCATIONS / HEAD_DIM4;
    let column = local % HEAD_DIM4;
    let lane = local / HEAD_DIM4;
    let own_key = local % KEYS;

    for (var i = local; i < GROUP * HEAD_DIM4; i += INVOCATIONS) {
        query[i] = q[q_at + i];
    }
    if local < GROUP {
        largest[local] = LOWEST;
    }
    var total = 0.0; // of head `local`
    var sum = array<vec4<f32>, MAX_GROUP>();
    for (var first = begin; first < end; first += KEYS) {
        let keys = min(KEYS, end - first);
        workgroupBarrier();
        for (var i = local; i < KEYS * HEAD_DIM4; i += INVOCATIONS) {
            let key = i / HEAD_DIM4;
            let d = i % HEAD_DIM4;
            tile[key * (HEAD_DIM4 + 1u) + d] = k[kv_at + (first + min(key, keys - 1u)) * kv_step + d];
        }
        workgroupBarrier();
        var s = array<f32, MAX_GROUP / 2>();
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let x = widen(tile[own_key * (HEAD_DIM4 + 1u) + d]);
            for (var h = local / KEYS; h < GROUP; h += 2u) {
                s[h / 2u] += dot(x, widen(query[h * HEAD_DIM4 + d]));
            }
        }
        for (var h = local / KEYS; h < GROUP; h += 2u) {
            score[h * KEYS + own_key] = select(LOWEST, s[h / 2u] * params.scale, own_key < keys);
        }
        workgroupBarrier();
        if local < GROUP {
            var now = largest[local];
            for (var j = 0u; j < keys; j++) {
                now = max(now, score[local * KEYS + j]);
            }
            shrink[local] = exp(largest[local] - now);
            largest[local] = now;
        }
        workgroupBarrier();
        for (var h = local / KEYS; h < GROUP; h += 2u) {
            score[h * KEYS + own_key] = exp(score[h * KEYS + own_key] - largest[h]);
        }
        workgroupBarrier();
        if local < GROUP {
            total *= shrink[local];
            for (var j = 0u; j < keys; j++) {
                total += score[local * KEYS + j];
            }
        }
        for (var h = 0u; h < GROUP; h++) {
            sum[h] *= shrink[h];
        }
        if lane < lanes {
            for (var j = lane; j < keys; j += lanes) {
                let x = widen(v[kv_at + (first + j) * kv_step + column]);
                for (var h = 0u; h < GROUP; h++) {
                    sum[h] = fma(vec4(score[h * KEYS + j]), x, sum[h]);
                }
            }
        }
    }
    if local < GROUP {
        part_state[(sequence * params.heads + first_head + local) * params.splits + split] =
            vec2(largest[local], total);
    }
    for (var h = 0u; h < GROUP; h++) {
        let part = (sequence * params.heads + first_head + h) * params.splits + split;
        workgroupBarrier();
        merged[local] = sum[h];
        workgroupBarrier();
        if lane == 0u {
            var x = sum[h];
            for (var other = 1u; other < lanes; other++) {
                x += merged[other * HEAD_DIM4 + column];
            }
            part_out[part * HEAD_DIM4 + column] = x;
        }
    }
}
