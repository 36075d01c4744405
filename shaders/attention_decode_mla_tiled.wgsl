// Multi-head latent attention of one query per sequence, in absorbed form. The cache is in blocks, found through a block
// table; a contiguous cache is one block per sequence. It is split; one workgroup computes one (sequence, 16 heads, split).
//
// The workgroup has rows of 32 invocations. A row computes EACH heads; an invocation holds its columns of their queries
// and outputs, a column being a vec4. It reads KEYS entries of the cache at a time into workgroup memory, once for all 16
// heads; they serve as keys and as values. The rotary part has 16 columns: the lower half of a row multiplies them for
// the first half of its heads, the upper half for the others.
//
// An output is rescaled only where a score exceeds the reference of its head by more than RISE. Until then exponentials
// may exceed 1. Each part writes its reference, its sum of exponentials and its unnormalised output.
// attention_reduce.wgsl merges the parts.
//   out[h, :] = sum over j of softmax_j(scale * q[h] . cache[j]) * cache[j, :latent_dim]
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override LATENT_DIM4: u32 = 128u; // latent_dim / 4, at most 128
override ROPE_DIM4: u32 = 16u;    // rope_dim / 4, at most 16
override BLOCK: u32 = 16u;        // entries per block
override RISE: f32 = 8.0;

const EACH: u32 = 4u; // heads per row of invocations: 4 or 2
const KEYS: u32 = 4u; // per step
const PAIR: u32 = 1u; // neighbouring columns of one invocation: 2 for types of 16 bits, so that a load has 16 bytes
const LANES: u32 = 32u;
const HEADS: u32 = 16u;
const ROWS: u32 = HEADS / EACH;
const INVOCATIONS: u32 = LANES * ROWS;
const MAX_LATENT4: u32 = 128u;
const COLUMNS: u32 = MAX_LATENT4 / LANES; // of an invocation
const ROPE: u32 = 16u;   // columns of the rotary part in workgroup memory
const SCORES: u32 = HEADS * KEYS;
const LOWEST: f32 = -3.0e38;

// Columns of the latent in workgroup memory: those that pad it hold zeros.
override LATENT: u32 = (LATENT_DIM4 + LANES * PAIR - 1u) / (LANES * PAIR) * (LANES * PAIR);
override WIDTH: u32 = LATENT + ROPE;

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
@group(0) @binding(4) var<storage, read_write> part_state: array<vec2<f32>>; // [sequences, heads, splits]: reference, sum
@group(0) @binding(5) var<storage, read_write> part_out: array<vec4<f32>>;   // [sequences, heads, splits, latent_dim]

var<workgroup> tile: array<Element4, KEYS * WIDTH>;
var<workgroup> partial: array<f32, SCORES * LANES>; // of each invocation's share of a score
var<workgroup> weight: array<f32, SCORES>;
var<workgroup> shrink: array<f32, HEADS>;
var<workgroup> entry_at: array<u32, KEYS>; // where the entries of the next step begin
var<workgroup> rises: u32; // whether any output must be rescaled

// The row of a key of a sequence, found through the block table.
fn row_of(sequence: u32, key: u32) -> u32 {
    return block_table[sequence * params.table_width + key / BLOCK] * BLOCK + key % BLOCK;
}

// The d-th column of an invocation.
fn column(d: u32, lane: u32) -> u32 {
    return (d / PAIR * LANES + lane) * PAIR + d % PAIR;
}

const STAGED: u32 = KEYS * MAX_LATENT4 / INVOCATIONS; // columns of the latent that an invocation carries

// What an invocation carries of KEYS entries: columns of the latent, then one of the rotary part. Where it has none of its
// own, it carries what another one carries too, so that no load needs a branch.
fn fetch_columns(index: u32, staged: ptr<function, array<Element4, STAGED + 1u>>) {
    let own = min(index % MAX_LATENT4, LATENT_DIM4 - 1u);
    for (var i = 0u; i < STAGED; i++) {
        (*staged)[i] = cache[entry_at[index / MAX_LATENT4 + i * (INVOCATIONS / MAX_LATENT4)] + own];
    }
    (*staged)[STAGED] = cache[entry_at[index / ROPE % KEYS] + LATENT_DIM4 + min(index % ROPE, ROPE_DIM4 - 1u)];
}

fn put_columns(index: u32, staged: ptr<function, array<Element4, STAGED + 1u>>) {
    let own = min(index % MAX_LATENT4, LATENT_DIM4 - 1u);
    for (var i = 0u; i < STAGED; i++) {
        tile[(index / MAX_LATENT4 + i * (INVOCATIONS / MAX_LATENT4)) * WIDTH + own] = (*staged)[i];
    }
    tile[index / ROPE % KEYS * WIDTH + LATENT + min(index % ROPE, ROPE_DIM4 - 1u)] = (*staged)[STAGED];
}

@compute @workgroup_size(LANES, ROWS, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let dim4 = LATENT_DIM4 + ROPE_DIM4;
    let split = id.x;
    let sequence = id.z;
    let lane = local.x;
    // The i-th head of this invocation is head `heads_at + (i + turn) % EACH` of the workgroup, so that its first half of
    // heads is the half that it multiplies the rotary part for.
    let heads_at = local.y * EACH;
    let turn = lane / ROPE * (EACH / 2u);
    let first_head = id.y * HEADS;
    let length = (params.kv_len + params.splits - 1u) / params.splits;
    let begin = min(split * length, params.kv_len);
    let end = min(begin + length, params.kv_len);

    var query = array<array<vec4<f32>, COLUMNS>, EACH>();
    var rotary = array<vec4<f32>, EACH / 2u>();
    for (var i = 0u; i < EACH; i++) {
        let head = min(first_head + heads_at + (i + turn) % EACH, params.heads - 1u);
        let q_at = (sequence * params.heads + head) * dim4;
        for (var d = 0u; d < COLUMNS; d++) {
            if column(d, lane) < LATENT_DIM4 {
                query[i][d] = widen(q[q_at + column(d, lane)]);
            }
        }
        if i < EACH / 2u && lane % ROPE < ROPE_DIM4 {
            rotary[i] = widen(q[q_at + LATENT_DIM4 + lane % ROPE]);
        }
    }
    var sum = array<array<vec4<f32>, COLUMNS>, EACH>();
    // Of head `index / KEYS`, key `index % KEYS` of each step.
    var score = 0.0;
    var reference = LOWEST;
    var total = 0.0;
    if index == 0u {
        rises = 0u;
    }
    for (var i = index; i < KEYS * WIDTH; i += INVOCATIONS) {
        tile[i] = Element4();
    }
    var staged = array<Element4, STAGED + 1u>();
    var first = begin;
    loop {
        // The loads of a step run during the step before it, those of the block table two steps before.
        if index < KEYS {
            entry_at[index] = row_of(sequence, min(first + index, end - 1u)) * dim4;
        }
        workgroupBarrier();
        fetch_columns(index, &staged);
        var row = row_of(sequence, min(first + KEYS + index % KEYS, end - 1u));
        loop {
            if first >= end {
                break;
            }
            workgroupBarrier();
            put_columns(index, &staged);
            if index < KEYS {
                entry_at[index] = row * dim4;
            }
            workgroupBarrier();
            for (var j = 0u; j < KEYS; j++) {
                var s = array<f32, EACH>();
                for (var d = 0u; d < COLUMNS; d++) {
                    if d * LANES < LATENT {
                        let x = widen(tile[j * WIDTH + column(d, lane)]);
                        for (var i = 0u; i < EACH; i++) {
                            s[i] += dot(query[i][d], x);
                        }
                    }
                }
                let x = widen(tile[j * WIDTH + LATENT + lane % ROPE]);
                for (var i = 0u; i < EACH / 2u; i++) {
                    s[i] += dot(rotary[i], x);
                }
                for (var i = 0u; i < EACH; i++) {
                    let head = heads_at + (i + turn) % EACH;
                    partial[(head * KEYS + j) * LANES + lane] = s[i];
                }
            }
            workgroupBarrier();
            fetch_columns(index, &staged);
            row = row_of(sequence, min(first + 2u * KEYS + index % KEYS, end - 1u));
            var p = 0.0;
            if index < SCORES {
                // Neighbours take their shares in different orders, against bank conflicts.
                score = 0.0;
                for (var i = 0u; i < LANES / 4u; i++) {
                    let at = (index * LANES + index % (LANES / 4u) * 4u) ^ (i * 4u);
                    score += partial[at] + partial[at + 1u] + partial[at + 2u] + partial[at + 3u];
                }
                score = select(LOWEST, score * params.scale, first + index % KEYS < end);
                if score > reference + RISE {
                    rises = 1u; // all write the same
                }
                p = exp(min(score - reference, RISE));
                weight[index] = p;
            }
            if workgroupUniformLoad(&rises) != 0u {
                break;
            }
            total += p;
            for (var j = 0u; j < KEYS; j++) {
                for (var d = 0u; d < COLUMNS; d++) {
                    if d * LANES < LATENT {
                        let x = widen(tile[j * WIDTH + column(d, lane)]);
                        for (var i = 0u; i < EACH; i++) {
                            let p = weight[(heads_at + (i + turn) % EACH) * KEYS + j];
                            sum[i][d] = fma(vec4(p), x, sum[i][d]);
                        }
                    }
                }
            }
            first += KEYS;
        }
        if first >= end {
            break;
        }
        // A score rose too far: new references, then the same step again.
        if index < SCORES {
            partial[index] = score;
        }
        workgroupBarrier();
        if index < SCORES {
            var now = reference;
            for (var j = 0u; j < KEYS; j++) {
                now = max(now, partial[index / KEYS * KEYS + j]);
            }
            shrink[index / KEYS] = exp(reference - now); // all write the same
            total *= exp(reference - now);
            reference = now;
        }
        rises = 0u;
        workgroupBarrier();
        for (var i = 0u; i < EACH; i++) {
            let factor = shrink[heads_at + (i + turn) % EACH];
            for (var d = 0u; d < COLUMNS; d++) {
                sum[i][d] *= factor;
            }
        }
    }
    workgroupBarrier();
    if index < SCORES {
        partial[index] = total;
    }
    workgroupBarrier();
    if index < SCORES && index % KEYS == 0u && first_head + index / KEYS < params.heads {
        total = 0.0;
        for (var j = 0u; j < KEYS; j++) {
            total += partial[index + j];
        }
        let head = sequence * params.heads + first_head + index / KEYS;
        part_state[head * params.splits + split] = vec2(reference, total);
    }
    for (var i = 0u; i < EACH; i++) {
        let head = first_head + heads_at + (i + turn) % EACH;
        let part = (sequence * params.heads + head) * params.splits + split;
        for (var d = 0u; d < COLUMNS; d++) {
            if head < params.heads && column(d, lane) < LATENT_DIM4 {
                part_out[part * LATENT_DIM4 + column(d, lane)] = sum[i][d];
            }
        }
    }
}
