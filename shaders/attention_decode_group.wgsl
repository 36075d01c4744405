// Attention of one query a sequence over its KV cache, split over the cache: one workgroup a (sequence, KV head,
// split), which reads each key and value once for all query heads of the group. Writes the largest score, the sum of
// exponentials and the unnormalised output of its part; attention_reduce.wgsl merges the parts.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override HEAD_DIM4: u32 = 32u; // head_dim / 4, at most 32
override GROUP: u32 = 8u;      // heads / kv_heads, at most 16

const MAX_GROUP: u32 = 16u;
const KEYS: u32 = 64u; // also the number of invocations
const LOWEST: f32 = -3.0e38;

struct Params {
    sequences: u32,
    kv_len: u32,
    heads: u32,
    kv_heads: u32,
    splits: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<Element4>;               // [sequences, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<Element4>;               // [sequences, kv_len, kv_heads, head_dim]
@group(0) @binding(3) var<storage, read> v: array<Element4>;               // [sequences, kv_len, kv_heads, head_dim]
@group(0) @binding(4) var<storage, read_write> part_state: array<vec2<f32>>; // [sequences, heads, splits]: largest, sum
@group(0) @binding(5) var<storage, read_write> part_out: array<vec4<f32>>; // [sequences, heads, splits, head_dim]

var<workgroup> score: array<f32, GROUP * KEYS>;
var<workgroup> merged: array<vec4<f32>, KEYS>;

@compute @workgroup_size(KEYS, 1, 1)
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
    let length = (params.kv_len + params.splits - 1u) / params.splits;
    let begin = min(split * length, params.kv_len);
    let end = min(begin + length, params.kv_len);
    // For the values, `lanes` invocations hold one column each and take every lanes-th key.
    let lanes = KEYS / HEAD_DIM4;
    let column = local % HEAD_DIM4;
    let lane = local / HEAD_DIM4;

    var sum: array<vec4<f32>, MAX_GROUP>;
    var largest: array<f32, MAX_GROUP>;
    var total: array<f32, MAX_GROUP>;
    for (var h = 0u; h < GROUP; h++) {
        largest[h] = LOWEST;
    }
    for (var first = begin; first < end; first += KEYS) {
        let key = min(first + local, end - 1u);
        var s: array<f32, MAX_GROUP>;
        for (var d = 0u; d < HEAD_DIM4; d++) {
            let x = widen(k[kv_at + key * kv_step + d]);
            for (var h = 0u; h < GROUP; h++) {
                s[h] += dot(x, widen(q[q_at + h * HEAD_DIM4 + d]));
            }
        }
        workgroupBarrier();
        for (var h = 0u; h < GROUP; h++) {
            score[h * KEYS + local] = select(LOWEST, s[h] * params.scale, first + local < end);
        }
        workgroupBarrier();
        let keys = min(KEYS, end - first);
        for (var h = 0u; h < GROUP; h++) {
            var now = largest[h];
            for (var j = 0u; j < keys; j++) {
                now = max(now, score[h * KEYS + j]);
            }
            let shrink = exp(largest[h] - now);
            largest[h] = now;
            total[h] *= shrink;
            sum[h] *= shrink;
        }
        if lane < lanes {
            for (var j = lane; j < keys; j += lanes) {
                let x = widen(v[kv_at + (first + j) * kv_step + column]);
                for (var h = 0u; h < GROUP; h++) {
                    let p = exp(score[h * KEYS + j] - largest[h]);
                    total[h] += p;
                    sum[h] = fma(vec4(p), x, sum[h]);
                }
            }
        }
    }
    for (var h = 0u; h < GROUP; h++) {
        let part = (sequence * params.heads + first_head + h) * params.splits + split;
        workgroupBarrier();
        merged[local] = sum[h];
        score[local] = total[h];
        workgroupBarrier();
        if lane == 0u {
            var x = sum[h];
            var t = total[h];
            for (var other = 1u; other < lanes; other++) {
                x += merged[other * HEAD_DIM4 + column];
                t += score[other * HEAD_DIM4 + column];
            }
            part_out[part * HEAD_DIM4 + column] = x;
            if column == 0u {
                part_state[part] = vec2(largest[h], t);
            }
        }
    }
}
