// Attention of one query per sequence over its KV cache. The cache is split; one invocation computes one (sequence,
// head, split), without barriers. Eight keys share one rescaling of the sum. Each part writes its largest score, its
// sum of exponentials and its unnormalised output. attention_reduce.wgsl merges the parts.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override HEAD_DIM4: u32 = 32u; // head_dim / 4, at most 32
override WORKGROUP: u32 = 8u;

const MAX_HEAD_DIM4: u32 = 32u;
const KEYS: u32 = 8u;
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
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let split = id.x;
    let head = id.y;
    let sequence = id.z;
    if split >= params.splits {
        return;
    }
    let kv_head = head / (params.heads / params.kv_heads);
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
        var score = array<f32, KEYS>();
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let x = widen(q[q_at + d]);
            for (var j = 0u; j < KEYS; j++) {
                let key = min(first + j, end - 1u);
                score[j] += dot(x, widen(k[kv_at + key * kv_step + d]));
            }
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
            var x = sum[d] * shrink;
            for (var j = 0u; j < KEYS; j++) {
                let key = min(first + j, end - 1u);
                x = fma(vec4(score[j]), widen(v[kv_at + key * kv_step + d]), x);
            }
            sum[d] = x;
        }
    }
    let part = (sequence * params.heads + head) * params.splits + split;
    part_state[part] = vec2(largest, total);
    for (var d = 0u; d < HEAD_DIM4; d++) {
        part_out[part * HEAD_DIM4 + d] = sum[d];
    }
}
