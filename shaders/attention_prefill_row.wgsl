// Attention of many queries with online softmax, causal or not. One invocation computes one query of one head, without
// barriers. Eight keys share one rescaling of the sum.
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
override WORKGROUP: u32 = 8u;

const MAX_VALUE_DIM4: u32 = 32u;
const KEYS: u32 = 8u;
const LOWEST: f32 = -3.0e38;

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

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    let head = id.y;
    if row >= params.q_len {
        return;
    }
    let kv_head = head / (params.heads / params.kv_heads);
    let q_at = (row * params.heads + head) * HEAD_DIM4;
    let out_at = (row * params.heads + head) * VALUE_DIM4;
    let visible = select(params.kv_len, params.kv_len - params.q_len + row + 1u, CAUSAL);
    let begin = select(0u, visible - min(params.window, visible), CAUSAL);

    var sum = array<vec4<f32>, MAX_VALUE_DIM4>();
    for (var d = 0u; d < VALUE_DIM4; d++) {
        sum[d] = vec4<f32>();
    }
    var largest = sinks[head];
    var total = 1.0; // of the sink
    for (var first = begin; first < visible; first += KEYS) {
        var score = array<f32, KEYS>();
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let x = widen(q[q_at + d]);
            for (var j = 0u; j < KEYS; j++) {
                let key = min(first + j, visible - 1u);
                score[j] += dot(x, widen(k[(key * params.kv_heads + kv_head) * HEAD_DIM4 + d]));
            }
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
            score[j] = exp(score[j] - now);
            total += score[j];
        }
        for (var d = 0u; d < VALUE_DIM4; d++) {
            var x = sum[d] * shrink;
            for (var j = 0u; j < KEYS; j++) {
                let key = min(first + j, visible - 1u);
                x = fma(vec4(score[j]), widen(v[(key * params.kv_heads + kv_head) * VALUE_DIM4 + d]), x);
            }
            sum[d] = x;
        }
    }
    for (var d = 0u; d < VALUE_DIM4; d++) {
        out[out_at + d] = narrow(sum[d] / total);
    }
}
