// Multi-head latent attention of one query per sequence, in absorbed form. The cache is split; one workgroup computes
// one (sequence, 16 heads, split). It reads 8 entries of the cache at a time into workgroup memory, once for all 16
// heads; they serve as keys and as values. The workgroup has 8 rows of 16 invocations. A row computes 2 heads; an
// invocation holds every sixteenth vec4 of their queries and outputs. Each part writes its largest score, its sum of
// exponentials and its unnormalised output. attention_reduce.wgsl merges the parts.
//   out[h, :] = sum over j of softmax_j(scale * q[h] . cache[j]) * cache[j, :latent_dim]
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override LATENT_DIM4: u32 = 128u; // latent_dim / 4: a multiple of 16, at most 128
override ROPE_DIM4: u32 = 16u;    // rope_dim / 4: a multiple of 16, at most 16

const LANES: u32 = 16u;
const HEADS: u32 = 16u;
const KEYS: u32 = 8u;
const INVOCATIONS: u32 = 128u;
const MAX_Q4: u32 = 9u;      // (128 + 16) / LANES
const MAX_OUT4: u32 = 8u;    // 128 / LANES
const LOWEST: f32 = -3.0e38;

struct Params {
    sequences: u32,
    kv_len: u32,
    heads: u32,
    splits: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<Element4>;                 // [sequences, heads, latent_dim + rope_dim]
@group(0) @binding(2) var<storage, read> cache: array<Element4>;             // [sequences, kv_len, latent_dim + rope_dim]
@group(0) @binding(3) var<storage, read_write> part_state: array<vec2<f32>>; // [sequences, heads, splits]: largest, sum
@group(0) @binding(4) var<storage, read_write> part_out: array<vec4<f32>>;   // [sequences, heads, splits, latent_dim]

var<workgroup> tile: array<Element4, KEYS * (LATENT_DIM4 + ROPE_DIM4)>;
var<workgroup> partial: array<f32, HEADS * KEYS * LANES>; // of each invocation's share of a dot product
var<workgroup> score: array<f32, HEADS * KEYS>;

@compute @workgroup_size(LANES, 8, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let dim4 = LATENT_DIM4 + ROPE_DIM4;
    let split = id.x;
    let sequence = id.z;
    let lane = local.x;
    let first_head = id.y * HEADS + local.y * 2u;
    let length = (params.kv_len + params.splits - 1u) / params.splits;
    let begin = min(split * length, params.kv_len);
    let end = min(begin + length, params.kv_len);

    var query = array<array<vec4<f32>, MAX_Q4>, 2>();
    var sum = array<array<vec4<f32>, MAX_OUT4>, 2>();
    var largest = array<f32, 2>();
    var total = array<f32, 2>();
    for (var h = 0u; h < 2u; h++) {
        largest[h] = LOWEST;
        let q_at = (sequence * params.heads + min(first_head + h, params.heads - 1u)) * dim4;
        for (var d = 0u; d < dim4 / LANES; d++) {
            query[h][d] = widen(q[q_at + d * LANES + lane]);
        }
    }
    for (var first = begin; first < end; first += KEYS) {
        workgroupBarrier();
        for (var i = index; i < KEYS * dim4; i += INVOCATIONS) {
            let key = min(first + i / dim4, end - 1u);
            tile[i] = cache[(sequence * params.kv_len + key) * dim4 + i % dim4];
        }
        workgroupBarrier();
        for (var j = 0u; j < KEYS; j++) {
            var s0 = 0.0;
            var s1 = 0.0;
            for (var d = 0u; d < dim4 / LANES; d++) {
                let x = widen(tile[j * dim4 + d * LANES + lane]);
                s0 += dot(query[0][d], x);
                s1 += dot(query[1][d], x);
            }
            partial[((local.y * 2u) * KEYS + j) * LANES + lane] = s0;
            partial[((local.y * 2u + 1u) * KEYS + j) * LANES + lane] = s1;
        }
        workgroupBarrier();
        // One sum per invocation: 16 heads x 8 keys. Each starts at its own lane, against bank conflicts.
        var s = 0.0;
        for (var i = 0u; i < LANES; i++) {
            s += partial[index * LANES + (i + lane) % LANES];
        }
        score[index] = select(LOWEST, s * params.scale, first + index % KEYS < end);
        workgroupBarrier();
        for (var h = 0u; h < 2u; h++) {
            let at = (local.y * 2u + h) * KEYS;
            var now = largest[h];
            for (var j = 0u; j < KEYS; j++) {
                now = max(now, score[at + j]);
            }
            let shrink = exp(largest[h] - now);
            largest[h] = now;
            total[h] *= shrink;
            for (var d = 0u; d < LATENT_DIM4 / LANES; d++) {
                sum[h][d] *= shrink;
            }
        }
        for (var j = 0u; j < KEYS; j++) {
            let p0 = exp(score[local.y * 2u * KEYS + j] - largest[0]);
            let p1 = exp(score[(local.y * 2u + 1u) * KEYS + j] - largest[1]);
            total[0] += p0;
            total[1] += p1;
            for (var d = 0u; d < LATENT_DIM4 / LANES; d++) {
                let x = widen(tile[j * dim4 + d * LANES + lane]);
                sum[0][d] = fma(vec4(p0), x, sum[0][d]);
                sum[1][d] = fma(vec4(p1), x, sum[1][d]);
            }
        }
    }
    for (var h = 0u; h < 2u; h++) {
        let head = first_head + h;
        if head >= params.heads {
            break;
        }
        let part = (sequence * params.heads + head) * params.splits + split;
        for (var d = 0u; d < LATENT_DIM4 / LANES; d++) {
            part_out[part * LATENT_DIM4 + d * LANES + lane] = sum[h][d];
        }
        if lane == 0u {
            part_state[part] = vec2(largest[h], total[h]);
        }
    }
}
