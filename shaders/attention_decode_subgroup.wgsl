// Attention of one query per sequence over its KV cache. The cache is split; one lane computes one query head. The
// heads of a group share their keys. Of each block of 16, lane i loads keys i % 8 and 8 + i % 8 and broadcasts them.
// There are no barriers. It needs subgroups of at least 8 lanes. Each part writes its largest score, its sum of
// exponentials and its unnormalised output. attention_reduce.wgsl merges the parts.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override HEAD_DIM4: u32 = 32u; // head_dim / 4, at most 32
override WORKGROUP: u32 = 8u;

const MAX_HEAD_DIM4: u32 = 32u;
const KEYS: u32 = 16u;
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

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let group = params.heads / params.kv_heads;
    let passes = (group + WORKGROUP - 1u) / WORKGROUP;
    let kv_head = id.y / passes;
    let in_group = (id.y % passes) * WORKGROUP + local.x;
    let split = id.x;
    let sequence = id.z;
    // Every lane must broadcast. Lanes beyond the group compute its last head again and do not store it.
    let head = kv_head * group + min(in_group, group - 1u);
    let q_at = (sequence * params.heads + head) * HEAD_DIM4;
    let kv_step = params.kv_heads * HEAD_DIM4;
    let kv_at = sequence * params.kv_len * kv_step + kv_head * HEAD_DIM4;
    let visible = min(params.kv_len, params.window);
    let length = (visible + params.splits - 1u) / params.splits;
    let begin = params.kv_len - visible + min(split * length, visible);
    let end = min(begin + length, params.kv_len);

    var sum = array<vec4<f32>, MAX_HEAD_DIM4>();
    for (var d = 0u; d < HEAD_DIM4; d++) {
        sum[d] = vec4<f32>();
    }
    var largest = LOWEST;
    var total = 0.0;
    for (var first = begin; first < end; first += KEYS) {
        let own_at0 = kv_at + min(first + lane % 8u, end - 1u) * kv_step;
        let own_at1 = kv_at + min(first + 8u + lane % 8u, end - 1u) * kv_step;
        var score = array<f32, KEYS>();
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let x = widen(q[q_at + d]);
            let own0 = widen(k[own_at0 + d]);
            let own1 = widen(k[own_at1 + d]);
            score[0] += dot(x, subgroupBroadcast(own0, 0u));
            score[1] += dot(x, subgroupBroadcast(own0, 1u));
            score[2] += dot(x, subgroupBroadcast(own0, 2u));
            score[3] += dot(x, subgroupBroadcast(own0, 3u));
            score[4] += dot(x, subgroupBroadcast(own0, 4u));
            score[5] += dot(x, subgroupBroadcast(own0, 5u));
            score[6] += dot(x, subgroupBroadcast(own0, 6u));
            score[7] += dot(x, subgroupBroadcast(own0, 7u));
            score[8] += dot(x, subgroupBroadcast(own1, 0u));
            score[9] += dot(x, subgroupBroadcast(own1, 1u));
            score[10] += dot(x, subgroupBroadcast(own1, 2u));
            score[11] += dot(x, subgroupBroadcast(own1, 3u));
            score[12] += dot(x, subgroupBroadcast(own1, 4u));
            score[13] += dot(x, subgroupBroadcast(own1, 5u));
            score[14] += dot(x, subgroupBroadcast(own1, 6u));
            score[15] += dot(x, subgroupBroadcast(own1, 7u));
        }
        var now = largest;
        for (var j = 0u; j < KEYS; j++) {
            score[j] = select(LOWEST, score[j] * params.scale, first + j < end);
            now = max(now, score[j]);
        }
        let shrink = exp(largest - now);
        largest = now;
        total *= shrink;
        for (var j = 0u; j < KEYS; j++) {
            score[j] = exp(score[j] - now);
            total += score[j];
        }
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let own0 = widen(v[own_at0 + d]);
            let own1 = widen(v[own_at1 + d]);
            var x = sum[d] * shrink;
            x = fma(vec4(score[0]), subgroupBroadcast(own0, 0u), x);
            x = fma(vec4(score[1]), subgroupBroadcast(own0, 1u), x);
            x = fma(vec4(score[2]), subgroupBroadcast(own0, 2u), x);
            x = fma(vec4(score[3]), subgroupBroadcast(own0, 3u), x);
            x = fma(vec4(score[4]), subgroupBroadcast(own0, 4u), x);
            x = fma(vec4(score[5]), subgroupBroadcast(own0, 5u), x);
            x = fma(vec4(score[6]), subgroupBroadcast(own0, 6u), x);
            x = fma(vec4(score[7]), subgroupBroadcast(own0, 7u), x);
            x = fma(vec4(score[8]), subgroupBroadcast(own1, 0u), x);
            x = fma(vec4(score[9]), subgroupBroadcast(own1, 1u), x);
            x = fma(vec4(score[10]), subgroupBroadcast(own1, 2u), x);
            x = fma(vec4(score[11]), subgroupBroadcast(own1, 3u), x);
            x = fma(vec4(score[12]), subgroupBroadcast(own1, 4u), x);
            x = fma(vec4(score[13]), subgroupBroadcast(own1, 5u), x);
            x = fma(vec4(score[14]), subgroupBroadcast(own1, 6u), x);
            x = fma(vec4(score[15]), subgroupBroadcast(own1, 7u), x);
            sum[d] = x;
        }
    }
    if in_group >= group {
        return;
    }
    let part = (sequence * params.heads + head) * params.splits + split;
    part_state[part] = vec2(largest, total);
    for (var d = 0u; d < HEAD_DIM4; d++) {
        part_out[part * HEAD_DIM4 + d] = sum[d];
    }
}
