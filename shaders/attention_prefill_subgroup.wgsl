// Causal attention over many queries with online softmax, one lane a query row: the lanes of a subgroup see the same keys,
// so lane i loads keys i % 8 and 8 + i % 8 and broadcasts them. No barriers; subgroups of 8 lanes and more.
//   out[i, h, :] = sum over j <= position of softmax_j(scale * q[i, h] . k[j, h / group]) * v[j, h / group, :]
// Query i stands at position kv_len - q_len + i. Sixteen keys share one rescaling of the sum.
alias Element = f32;
alias Element4 = vec4<Element>;

override HEAD_DIM4: u32 = 32u; // head_dim / 4, at most 32
override WORKGROUP: u32 = 32u;

const MAX_HEAD_DIM4: u32 = 32u;
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
@group(0) @binding(3) var<storage, read> v: array<Element4>;         // [kv_len, kv_heads, head_dim]
@group(0) @binding(4) var<storage, read_write> out: array<Element4>; // [q_len, heads, head_dim]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let head = group.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let kv_step = params.kv_heads * HEAD_DIM4;
    let past = params.kv_len - params.q_len;
    let row = group.x * WORKGROUP + local.x;
    // Every lane has to broadcast, so rows beyond the last go along and are not stored.
    let q_at = (min(row, params.q_len - 1u) * params.heads + head) * HEAD_DIM4;
    let visible = past + row + 1u;
    let end = min(past + (group.x + 1u) * WORKGROUP, params.kv_len);

    var sum: array<vec4<f32>, MAX_HEAD_DIM4>;
    for (var d = 0u; d < HEAD_DIM4; d++) {
        sum[d] = vec4<f32>();
    }
    var largest = LOWEST;
    var total = 0.0;
    for (var first = 0u; first < end; first += KEYS) {
        let own_at0 = min(first + lane % 8u, end - 1u) * kv_step + kv_head * HEAD_DIM4;
        let own_at1 = min(first + 8u + lane % 8u, end - 1u) * kv_step + kv_head * HEAD_DIM4;
        var score: array<f32, KEYS>;
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let x = vec4<f32>(q[q_at + d]);
            let own0 = vec4<f32>(k[own_at0 + d]);
            let own1 = vec4<f32>(k[own_at1 + d]);
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
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let own0 = vec4<f32>(v[own_at0 + d]);
            let own1 = vec4<f32>(v[own_at1 + d]);
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
    if row >= params.q_len {
        return;
    }
    for (var d = 0u; d < HEAD_DIM4; d++) {
        out[q_at + d] = Element4(sum[d] / total);
    }
}
