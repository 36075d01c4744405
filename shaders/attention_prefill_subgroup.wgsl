// Attention of many queries with online softmax, causal or not. A lane computes ROWS queries. The lanes of a subgroup
// see the same keys. Of each block of 16, lane i loads keys i % 8 and 8 + i % 8. It broadcasts them once for all
// queries of a lane. Sixteen keys share one rescaling of the sum. There are no barriers. It needs subgroups of at least
// 8 lanes.
//   out[i, h, :] = sum over visible j of softmax_j(scale * q[i, h] . k[j, h / group]) * v[j, h / group, :]
// Under CAUSAL, query i is at position kv_len - q_len + i and sees the `window` keys up to that position. Otherwise it
// sees all keys. The softmax has the sink of head h as one more score, whose value is zero.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override HEAD_DIM4: u32 = 32u;  // head_dim / 4 of queries and keys
override VALUE_DIM4: u32 = 32u; // head_dim / 4 of values, at most 32
override CAUSAL: bool = true;

const WORKGROUP: u32 = 8u;
const ROWS: u32 = 4u; // queries per lane
const MAX_VALUE_DIM4: u32 = 32u;
const KEYS: u32 = 16u;
const LOWEST: f32 = -3.0e38;
const NO_WINDOW: u32 = 0x7FFFFFFFu;

struct Params {
    q_len: u32,
    kv_len: u32,
    heads: u32,
    kv_heads: u32,
    window: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<Element4>;         // [q_len, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<Element4>;         // [kv_len, kv_heads, head_dim]
@group(0) @binding(3) var<storage, read> v: array<Element4>;         // [kv_len, kv_heads, value_dim]
@group(0) @binding(4) var<storage, read> sinks: array<f32>;          // [heads], LOWEST: none
@group(0) @binding(5) var<storage, read_write> out: array<Element4>; // [q_len, heads, value_dim]

// Where a query or its output begins, in vec4. Every lane must broadcast, so rows beyond the last repeat it.
fn start_of(row: u32, head: u32, dim4: u32) -> u32 {
    return (min(row, params.q_len - 1u) * params.heads + head) * dim4;
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let head = group.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let past = params.kv_len - params.q_len;
    let first_row = (group.x * WORKGROUP + local.x) * ROWS;
    // Query i sees key j if position(i) - j, as an unsigned number, is less than the window.
    let window = select(NO_WINDOW, min(params.window, NO_WINDOW), CAUSAL);
    let until = past + group.x * WORKGROUP * ROWS + 1u; // the keys up to the first query
    let begin = select(0u, until - min(window, until), CAUSAL);
    let end = select(params.kv_len, min(past + (group.x + 1u) * WORKGROUP * ROWS, params.kv_len), CAUSAL);

    var sum = array<array<vec4<f32>, ROWS>, MAX_VALUE_DIM4>();
    for (var d = 0u; d < VALUE_DIM4; d++) {
        for (var r = 0u; r < ROWS; r++) {
            sum[d][r] = vec4<f32>();
        }
    }
    var q_at = array<u32, ROWS>();
    var largest = array<f32, ROWS>();
    var total = array<f32, ROWS>();
    for (var r = 0u; r < ROWS; r++) {
        q_at[r] = start_of(first_row + r, head, HEAD_DIM4);
        largest[r] = sinks[head];
        total[r] = 1.0; // of the sink
    }
    for (var first = begin; first < end; first += KEYS) {
        let own0 = min(first + lane % 8u, end - 1u) * params.kv_heads + kv_head;
        let own1 = min(first + 8u + lane % 8u, end - 1u) * params.kv_heads + kv_head;
        var score = array<array<f32, KEYS>, ROWS>();
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let own_k0 = widen(k[own0 * HEAD_DIM4 + d]);
            let own_k1 = widen(k[own1 * HEAD_DIM4 + d]);
            // A broadcast needs a constant lane, so the keys are written out.
            let k0 = subgroupBroadcast(own_k0, 0u);
            let k1 = subgroupBroadcast(own_k0, 1u);
            let k2 = subgroupBroadcast(own_k0, 2u);
            let k3 = subgroupBroadcast(own_k0, 3u);
            let k4 = subgroupBroadcast(own_k0, 4u);
            let k5 = subgroupBroadcast(own_k0, 5u);
            let k6 = subgroupBroadcast(own_k0, 6u);
            let k7 = subgroupBroadcast(own_k0, 7u);
            let k8 = subgroupBroadcast(own_k1, 0u);
            let k9 = subgroupBroadcast(own_k1, 1u);
            let k10 = subgroupBroadcast(own_k1, 2u);
            let k11 = subgroupBroadcast(own_k1, 3u);
            let k12 = subgroupBroadcast(own_k1, 4u);
            let k13 = subgroupBroadcast(own_k1, 5u);
            let k14 = subgroupBroadcast(own_k1, 6u);
            let k15 = subgroupBroadcast(own_k1, 7u);
            for (var r = 0u; r < ROWS; r++) {
                let x = widen(q[q_at[r] + d]);
                score[r][0] += dot(x, k0);
                score[r][1] += dot(x, k1);
                score[r][2] += dot(x, k2);
                score[r][3] += dot(x, k3);
                score[r][4] += dot(x, k4);
                score[r][5] += dot(x, k5);
                score[r][6] += dot(x, k6);
                score[r][7] += dot(x, k7);
                score[r][8] += dot(x, k8);
                score[r][9] += dot(x, k9);
                score[r][10] += dot(x, k10);
                score[r][11] += dot(x, k11);
                score[r][12] += dot(x, k12);
                score[r][13] += dot(x, k13);
                score[r][14] += dot(x, k14);
                score[r][15] += dot(x, k15);
            }
        }
        var shrink = array<f32, ROWS>();
        for (var r = 0u; r < ROWS; r++) {
            let position = select(params.kv_len - 1u, past + first_row + r, CAUSAL);
            var now = largest[r];
            for (var j = 0u; j < KEYS; j++) {
                score[r][j] = select(LOWEST, score[r][j] * params.scale, position - (first + j) < window);
                now = max(now, score[r][j]);
            }
            shrink[r] = exp(largest[r] - now);
            largest[r] = now;
            total[r] *= shrink[r];
            for (var j = 0u; j < KEYS; j++) {
                // A row that sees no key of this block keeps its old sum.
                score[r][j] = select(exp(score[r][j] - now), 0.0, score[r][j] == LOWEST);
                total[r] += score[r][j];
            }
        }
        for (var d = 0u; d < VALUE_DIM4; d++) {
            let own_v0 = widen(v[own0 * VALUE_DIM4 + d]);
            let own_v1 = widen(v[own1 * VALUE_DIM4 + d]);
            let v0 = subgroupBroadcast(own_v0, 0u);
            let v1 = subgroupBroadcast(own_v0, 1u);
            let v2 = subgroupBroadcast(own_v0, 2u);
            let v3 = subgroupBroadcast(own_v0, 3u);
            let v4 = subgroupBroadcast(own_v0, 4u);
            let v5 = subgroupBroadcast(own_v0, 5u);
            let v6 = subgroupBroadcast(own_v0, 6u);
            let v7 = subgroupBroadcast(own_v0, 7u);
            let v8 = subgroupBroadcast(own_v1, 0u);
            let v9 = subgroupBroadcast(own_v1, 1u);
            let v10 = subgroupBroadcast(own_v1, 2u);
            let v11 = subgroupBroadcast(own_v1, 3u);
            let v12 = subgroupBroadcast(own_v1, 4u);
            let v13 = subgroupBroadcast(own_v1, 5u);
            let v14 = subgroupBroadcast(own_v1, 6u);
            let v15 = subgroupBroadcast(own_v1, 7u);
            for (var r = 0u; r < ROWS; r++) {
                var x = sum[d][r] * shrink[r];
                x = fma(vec4(score[r][0]), v0, x);
                x = fma(vec4(score[r][1]), v1, x);
                x = fma(vec4(score[r][2]), v2, x);
                x = fma(vec4(score[r][3]), v3, x);
                x = fma(vec4(score[r][4]), v4, x);
                x = fma(vec4(score[r][5]), v5, x);
                x = fma(vec4(score[r][6]), v6, x);
                x = fma(vec4(score[r][7]), v7, x);
                x = fma(vec4(score[r][8]), v8, x);
                x = fma(vec4(score[r][9]), v9, x);
                x = fma(vec4(score[r][10]), v10, x);
                x = fma(vec4(score[r][11]), v11, x);
                x = fma(vec4(score[r][12]), v12, x);
                x = fma(vec4(score[r][13]), v13, x);
                x = fma(vec4(score[r][14]), v14, x);
                x = fma(vec4(score[r][15]), v15, x);
                sum[d][r] = x;
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        if first_row + r >= params.q_len {
            return;
        }
        let out_at = start_of(first_row + r, head, VALUE_DIM4);
        for (var d = 0u; d < VALUE_DIM4; d++) {
            out[out_at + d] = narrow(sum[d][r] / total[r]);
        }
    }
}
