// Attention of many queries with online softmax, causal or not. A workgroup takes 32 queries and, through workgroup
// memory, 16 keys at a time. Its 64 invocations are 8 groups of rows x 8 lanes. An invocation holds 4 rows x 2 scores,
// and 4 rows x value_dim / 8 of the output.
//   out[i, h, :] = sum over visible j of softmax_j(scale * q[i, h] . k[j, h / group]) * v[j, h / group, :]
// Under CAUSAL, query i is at position kv_len - q_len + i and sees the keys up to that position. Otherwise it sees all
// keys.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override HEAD_DIM4: u32 = 32u;  // head_dim / 4 of queries and keys, at least VALUE_DIM4
override VALUE_DIM4: u32 = 32u; // head_dim / 4 of values: a multiple of 8, at most 32
override CAUSAL: bool = true;

const ROWS: u32 = 32u;
const KEYS: u32 = 16u;
const LANES: u32 = 8u;
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

var<workgroup> tile: array<vec4<f32>, KEYS * HEAD_DIM4>; // keys, then values
var<workgroup> score: array<f32, ROWS * KEYS>;

@compute @workgroup_size(LANES, LANES, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let head = group.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let past = params.kv_len - params.q_len;
    let first_row = group.x * ROWS + local.y * 4u;

    var q_at = array<u32, 4>();
    var sum = array<array<vec4<f32>, 4>, 4>();
    var largest = array<f32, 4>();
    var total = array<f32, 4>();
    for (var i = 0u; i < 4u; i++) {
        q_at[i] = (min(first_row + i, params.q_len - 1u) * params.heads + head) * HEAD_DIM4;
        largest[i] = LOWEST;
    }
    let last_row = min(group.x * ROWS + ROWS, params.q_len) - 1u;
    let visible = select(params.kv_len, past + last_row + 1u, CAUSAL);
    for (var first_key = 0u; first_key < visible; first_key += KEYS) {
        workgroupBarrier();
        for (var i = index; i < KEYS * HEAD_DIM4; i += LANES * LANES) {
            let key = min(first_key + i / HEAD_DIM4, visible - 1u);
            tile[i] = widen(k[(key * params.kv_heads + kv_head) * HEAD_DIM4 + i % HEAD_DIM4]);
        }
        workgroupBarrier();
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let k0 = tile[local.x * HEAD_DIM4 + d];
            let k1 = tile[(local.x + LANES) * HEAD_DIM4 + d];
            for (var i = 0u; i < 4u; i++) {
                let x = widen(q[q_at[i] + d]);
                s0[i] += dot(x, k0);
                s1[i] += dot(x, k1);
            }
        }
        for (var i = 0u; i < 4u; i++) {
            let last_key = select(params.kv_len - 1u, past + first_row + i, CAUSAL);
            let key0 = first_key + local.x;
            score[(local.y * 4u + i) * KEYS + local.x] = select(LOWEST, s0[i] * params.scale, key0 <= last_key);
            score[(local.y * 4u + i) * KEYS + local.x + LANES] =
                select(LOWEST, s1[i] * params.scale, key0 + LANES <= last_key);
        }
        workgroupBarrier();
        for (var i = index; i < KEYS * VALUE_DIM4; i += LANES * LANES) {
            let key = min(first_key + i / VALUE_DIM4, visible - 1u);
            tile[i] = widen(v[(key * params.kv_heads + kv_head) * VALUE_DIM4 + i % VALUE_DIM4]);
        }
        workgroupBarrier();
        for (var i = 0u; i < 4u; i++) {
            let at = (local.y * 4u + i) * KEYS;
            var now = largest[i];
            for (var j = 0u; j < KEYS; j++) {
                now = max(now, score[at + j]);
            }
            let shrink = exp(largest[i] - now);
            largest[i] = now;
            total[i] *= shrink;
            for (var d = 0u; d < 4u; d++) {
                sum[i][d] *= shrink;
            }
        }
        for (var j = 0u; j < KEYS; j++) {
            var p = vec4<f32>();
            for (var i = 0u; i < 4u; i++) {
                // A row that sees no key of this tile yet has largest = LOWEST and must not count exp(0).
                let s = score[(local.y * 4u + i) * KEYS + j];
                p[i] = select(exp(s - largest[i]), 0.0, s == LOWEST);
                total[i] += p[i];
            }
            for (var d = 0u; d < VALUE_DIM4 / LANES; d++) {
                let x = tile[j * VALUE_DIM4 + d * LANES + local.x];
                for (var i = 0u; i < 4u; i++) {
                    sum[i][d] = fma(vec4(p[i]), x, sum[i][d]);
                }
            }
        }
    }
    for (var i = 0u; i < 4u; i++) {
        if first_row + i < params.q_len {
            let out_at = ((first_row + i) * params.heads + head) * VALUE_DIM4 + local.x;
            for (var d = 0u; d < VALUE_DIM4 / LANES; d++) {
                out[out_at + d * LANES] = narrow(sum[i][d] / total[i]);
            }
        }
    }
}
