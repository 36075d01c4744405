// Attention over many queries with online softmax, causal or not, one lane a query row: the lanes of a subgroup see the
// same keys, so lane i loads keys i % 8 and 8 + i % 8 and broadcasts them. No barriers; subgroups of 8 lanes and more.
//   out[i, h, :] = sum over visible j of softmax_j(scale * q[i, h] . k[j, h / group]) * v[j, h / group, :]
// Under CAUSAL query i stands at position kv_len - q_len + i and sees the keys up to it; else it sees all. Sixteen keys
// share one rescaling of the sum.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override HEAD_DIM4: u32 = 32u;  // head_dim / 4 of queries and keys
override VALUE_DIM4: u32 = 32u; // head_dim / 4 of values, at most 32
override CAUSAL: bool = true;
override WORKGROUP: u32 = 32u;

const MAX_VALUE_DIM4: u32 = 32u;
const KEYS: u32 = 16u;
const LOWEST: f32 = -3.0e38;

struct Params {
    q_len: u32,
    kv_len: u32,
    heads: u32,
    kv_heads: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<Element4>;         // [q_len, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<Element4>;         // [kv_len, kv_heads, head_dim]
@group(0) @binding(3) var<storage, read> v: array<Element4>;         // [kv_len, kv_heads, value_dim]
@group(0) @binding(4) var<storage, read_write> out: array<Element4>; // [q_len, heads, value_dim]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let head = group.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let past = params.kv_len - params.q_len;
    let row = group.x * WORKGROUP + local.x;
    // Every lane has to broadcast, so rows beyond the last go along and are not stored.
    let q_at = (min(row, params.q_len - 1u) * params.heads + head) * HEAD_DIM4;
    let out_at = (min(row, params.q_len - 1u) * params.heads + head) * VALUE_DIM4;
    let visible = select(params.kv_len, past + row + 1u, CAUSAL);
    let end = select(params.kv_len, min(past + (group.x + 1u) * WORKGROUP, params.kv_len), CAUSAL);

    var sum: array<vec4<f32>, MAX_VALUE_DIM4>;
    for (var d = 0u; d < VALUE_DIM4; d++) {
        sum[d] = vec4<f32>();
    }
    var largest = LOWEST;
    var total = 0.0;
    for (var first = 0u; first < end; first += KEYS) {
        let own0 = min(first + lane % 8u, end - 1u) * params.kv_heads + kv_head;
        let own1 = min(first + 8u + lane % 8u, end - 1u) * params.kv_heads + kv_head;
        var score: array<f32, KEYS>;
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let x = widen(q[q_at + d]);
            let k0 = widen(k[own0 * HEAD_DIM4 + d]);
            let k1 = widen(k[own1 * HEAD_DIM4 + d]);
            score[0] += dot(x, subgroupBroadcast(k0, 0u));
            score[1] += dot(x, subgroupBroadcast(k0, 1u));
            score[2] += dot(x, subgroupBroadcast(k0, 2u));
            score[3] += dot(x, subgroupBroadcast(k0, 3u));
            score[4] += dot(x, subgroupBroadcast(k0, 4u));
            score[5] += dot(x, subgroupBroadcast(k0, 5u));
            score[6] += dot(x, subgroupBroadcast(k0, 6u));
            score[7] += dot(x, subgroupBroadcast(k0, 7u));
            score[8] += dot(x, subgroupBroadcast(k1, 0u));
            score[9] += dot(x, subgroupBroadcast(k1, 1u));
            score[10] += dot(x, subgroupBroadcast(k1, 2u));
            score[11] += dot(x, subgroupBroadcast(k1, 3u));
            score[12] += dot(x, subgroupBroadcast(k1, 4u));
            score[13] += dot(x, subgroupBroadcast(k1, 5u));
            score[14] += dot(x, subgroupBroadcast(k1, 6u));
            score[15] += dot(x, subgroupBroadcast(k1, 7u));
        }
        var now = largest;
        for (var j = 0u; j < KEYS; j++) {
            score[j] = select(LOWEST, score[j] * params.scale, first + j < visible);
            now = max(now, score[j]);
        }
        let shrink = exp(largest - now);
        largest = now;
        total *= shrink;
        for (var j = 0u; j < KEYS; j++) {
            // A row that sees no key of this block keeps its old sum.
            score[j] = select(exp(score[j] - now), 0.0, score[j] == LOWEST);
            total += score[j];
        }
        for (var d = 0u; d < VALUE_DIM4; d++) {
            let v0 = widen(v[own0 * VALUE_DIM4 + d]);
            let v1 = widen(v[own1 * VALUE_DIM4 + d]);
            var x = sum[d] * shrink;
            x = fma(vec4(score[0]), subgroupBroadcast(v0, 0u), x);
            x = fma(vec4(score[1]), subgroupBroadcast(v0, 1u), x);
            x = fma(vec4(score[2]), subgroupBroadcast(v0, 2u), x);
            x = fma(vec4(score[3]), subgroupBroadcast(v0, 3u), x);
            x = fma(vec4(score[4]), subgroupBroadcast(v0, 4u), x);
            x = fma(vec4(score[5]), subgroupBroadcast(v0, 5u), x);
            x = fma(vec4(score[6]), subgroupBroadcast(v0, 6u), x);
            x = fma(vec4(score[7]), subgroupBroadcast(v0, 7u), x);
            x = fma(vec4(score[8]), subgroupBroadcast(v1, 0u), x);
            x = fma(vec4(score[9]), subgroupBroadcast(v1, 1u), x);
            x = fma(vec4(score[10]), subgroupBroadcast(v1, 2u), x);
            x = fma(vec4(score[11]), subgroupBroadcast(v1, 3u), x);
            x = fma(vec4(score[12]), subgroupBroadcast(v1, 4u), x);
            x = fma(vec4(score[13]), subgroupBroadcast(v1, 5u), x);
            x = fma(vec4(score[14]), subgroupBroadcast(v1, 6u), x);
            x = fma(vec4(score[15]), subgroupBroadcast(v1, 7u), x);
            sum[d] = x;
        }
    }
    if row >= params.q_len {
        return;
    }
    for (var d = 0u; d < VALUE_DIM4; d++) {
        out[out_at + d] = narrow(sum[d] / total);
    }
}
