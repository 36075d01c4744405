// Multi-head latent attention of one query per sequence, in absorbed form. The cache is in blocks, found through a block
// table; a contiguous cache is one block per sequence. It is split; one lane computes one head. All heads share the latent,
// which is both key and value. Lane i loads entries i % 8 and 8 + i % 8 of each 16 and broadcasts them. A lane keeps its
// output in workgroup memory; no other lane reads it, so there are no barriers. It needs subgroups of at least 8 lanes.
// Each part writes its largest score, its sum of exponentials and its unnormalised output. attention_reduce.wgsl merges
// the parts.
//   out[h, :] = sum over j of softmax_j(scale * q[h] . cache[j]) * cache[j, :latent_dim]
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override LATENT_DIM4: u32 = 128u; // latent_dim / 4
override ROPE_DIM4: u32 = 16u;    // rope_dim / 4
override BLOCK: u32 = 16u;        // entries per block
override WORKGROUP: u32 = 8u;

const KEYS: u32 = 16u;
const LOWEST: f32 = -3.0e38;

struct Params {
    sequences: u32,
    kv_len: u32,
    heads: u32,
    splits: u32,
    table_width: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<Element4>;                 // [sequences, heads, latent_dim + rope_dim]
@group(0) @binding(2) var<storage, read> cache: array<Element4>;             // [blocks * BLOCK, latent_dim + rope_dim]
@group(0) @binding(3) var<storage, read> block_table: array<u32>;            // [sequences, table_width]: physical block
@group(0) @binding(4) var<storage, read_write> part_state: array<vec2<f32>>; // [sequences, heads, splits]: largest, sum
@group(0) @binding(5) var<storage, read_write> part_out: array<vec4<f32>>;   // [sequences, heads, splits, latent_dim]

var<workgroup> sum: array<vec4<f32>, LATENT_DIM4 * WORKGROUP>;

// The row of a key of a sequence, found through the block table.
fn row_of(sequence: u32, key: u32) -> u32 {
    return block_table[sequence * params.table_width + key / BLOCK] * BLOCK + key % BLOCK;
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let dim4 = LATENT_DIM4 + ROPE_DIM4;
    let split = id.x;
    let sequence = id.z;
    // Every lane must broadcast. Lanes beyond the last head compute that head again and do not store it.
    let head = min(id.y * WORKGROUP + local, params.heads - 1u);
    let q_at = (sequence * params.heads + head) * dim4;
    let length = (params.kv_len + params.splits - 1u) / params.splits;
    let begin = min(split * length, params.kv_len);
    let end = min(begin + length, params.kv_len);

    for (var d = 0u; d < LATENT_DIM4; d++) {
        sum[d * WORKGROUP + local] = vec4<f32>();
    }
    var largest = LOWEST;
    var total = 0.0;
    for (var first = begin; first < end; first += KEYS) {
        let own_at0 = row_of(sequence, min(first + lane % 8u, end - 1u)) * dim4;
        let own_at1 = row_of(sequence, min(first + 8u + lane % 8u, end - 1u)) * dim4;
        var score = array<f32, KEYS>();
        for (var d = 0u; d < dim4; d++) {
            let x = widen(q[q_at + d]);
            let c0 = widen(cache[own_at0 + d]);
            let c1 = widen(cache[own_at1 + d]);
            score[0] += dot(x, subgroupBroadcast(c0, 0u));
            score[1] += dot(x, subgroupBroadcast(c0, 1u));
            score[2] += dot(x, subgroupBroadcast(c0, 2u));
            score[3] += dot(x, subgroupBroadcast(c0, 3u));
            score[4] += dot(x, subgroupBroadcast(c0, 4u));
            score[5] += dot(x, subgroupBroadcast(c0, 5u));
            score[6] += dot(x, subgroupBroadcast(c0, 6u));
            score[7] += dot(x, subgroupBroadcast(c0, 7u));
            score[8] += dot(x, subgroupBroadcast(c1, 0u));
            score[9] += dot(x, subgroupBroadcast(c1, 1u));
            score[10] += dot(x, subgroupBroadcast(c1, 2u));
            score[11] += dot(x, subgroupBroadcast(c1, 3u));
            score[12] += dot(x, subgroupBroadcast(c1, 4u));
            score[13] += dot(x, subgroupBroadcast(c1, 5u));
            score[14] += dot(x, subgroupBroadcast(c1, 6u));
            score[15] += dot(x, subgroupBroadcast(c1, 7u));
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
        for (var d = 0u; d < LATENT_DIM4; d++) {
            let c0 = widen(cache[own_at0 + d]);
            let c1 = widen(cache[own_at1 + d]);
            var x = sum[d * WORKGROUP + local] * shrink;
            x = fma(vec4(score[0]), subgroupBroadcast(c0, 0u), x);
            x = fma(vec4(score[1]), subgroupBroadcast(c0, 1u), x);
            x = fma(vec4(score[2]), subgroupBroadcast(c0, 2u), x);
            x = fma(vec4(score[3]), subgroupBroadcast(c0, 3u), x);
            x = fma(vec4(score[4]), subgroupBroadcast(c0, 4u), x);
            x = fma(vec4(score[5]), subgroupBroadcast(c0, 5u), x);
            x = fma(vec4(score[6]), subgroupBroadcast(c0, 6u), x);
            x = fma(vec4(score[7]), subgroupBroadcast(c0, 7u), x);
            x = fma(vec4(score[8]), subgroupBroadcast(c1, 0u), x);
            x = fma(vec4(score[9]), subgroupBroadcast(c1, 1u), x);
            x = fma(vec4(score[10]), subgroupBroadcast(c1, 2u), x);
            x = fma(vec4(score[11]), subgroupBroadcast(c1, 3u), x);
            x = fma(vec4(score[12]), subgroupBroadcast(c1, 4u), x);
            x = fma(vec4(score[13]), subgroupBroadcast(c1, 5u), x);
            x = fma(vec4(score[14]), subgroupBroadcast(c1, 6u), x);
            x = fma(vec4(score[15]), subgroupBroadcast(c1, 7u), x);
            sum[d * WORKGROUP + local] = x;
        }
    }
    if id.y * WORKGROUP + local >= params.heads {
        return;
    }
    let part = (sequence * params.heads + head) * params.splits + split;
    part_state[part] = vec2(largest, total);
    for (var d = 0u; d < LATENT_DIM4; d++) {
        part_out[part * LATENT_DIM4 + d] = sum[d * WORKGROUP + local];
    }
}
