// Multi-head latent attention of one query per sequence, in absorbed form, on cooperative matrices: f16 operands, f32
// sums. The cache is in blocks, found through a block table; a contiguous cache is one block per sequence. It is split;
// one workgroup computes one (sequence, HEADS heads, split). It reads KEYS entries of the cache at a time into workgroup
// memory, once for all heads; they serve as keys and as values:
//   1. score = q * entry^T. The subgroups share the dimensions: each keeps its tiles of the queries in registers, and
//      leaves its share of the scores in workgroup memory.
//   2. An invocation adds up the shares of a score or two and takes the exponential (as f16).
//   3. output += exponentials * entry. Each subgroup keeps its columns of the output in registers.
// WGSL gives no access to the elements of a matrix. An output is therefore rescaled, through workgroup memory, only where
// a score exceeds the reference of its head by more than RISE. Until then exponentials may exceed 1.
//
// The subgroups may have any size up to 64; tiles and subgroups too many repeat what others do, with the same result.
// Each part writes its reference, its sum of exponentials and its unnormalised output. attention_reduce.wgsl merges the
// parts. The lines of MatrixA, MatrixB, MatrixC and SIZE are replaced for 16 x 16 matrices.
//   out[h, :] = sum over j of softmax_j(scale * q[h] . cache[j]) * cache[j, :latent_dim]
enable f16;
enable wgpu_cooperative_matrix;
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
const SIZE: u32 = 8u;

override LATENT_DIM: u32 = 512u; // a multiple of SIZE, at most 512
override ROPE_DIM: u32 = 64u;    // a multiple of SIZE, at most 64
override BLOCK: u32 = 16u;       // entries per block
override RISE: f32 = 8.0;

const HEADS: u32 = 16u; // 16 or 32
const KEYS: u32 = 16u;
const INVOCATIONS: u32 = 256u;
const SUBGROUPS: u32 = 4u;                          // at least
const PARTS: u32 = 128u / HEADS;                    // of the dimensions, at most
const SCORES: u32 = HEADS * KEYS;
const OWN: u32 = SCORES / INVOCATIONS;              // scores of an invocation
const ROW_TILES: u32 = HEADS / SIZE;
const KEY_TILES: u32 = KEYS / SIZE;
const STEPS: u32 = 576u / SIZE / SUBGROUPS;         // tiles of a query in a subgroup
const COLUMNS: u32 = 512u / SIZE / SUBGROUPS;       // tiles of the output in a subgroup, per tile of heads
const STRIPS: u32 = PARTS * SCORES / (SIZE * SIZE); // tiles that fit into `score`
const WEIGHTS: u32 = KEYS + 8u;                     // of a row, padded against bank conflicts
const MAX_LATENT4: u32 = 128u;
const MAX_ROPE4: u32 = 16u;
const STAGED: u32 = KEYS * MAX_LATENT4 / INVOCATIONS; // columns of the latent, as vec4, that an invocation carries
const LOWEST: f32 = -3.0e38;

override ENTRY: u32 = LATENT_DIM + ROPE_DIM; // at least 128
override LATENT_DIM4: u32 = LATENT_DIM / 4u;
override ROPE_DIM4: u32 = ROPE_DIM / 4u;
override ENTRY4: u32 = ENTRY / 4u;
override COLUMN_TILES: u32 = LATENT_DIM / SIZE;
override WIDTH: u32 = ENTRY + 8u; // of an entry in workgroup memory, padded against bank conflicts

struct Params {
    sequences: u32,
    kv_len: u32,
    heads: u32,
    splits: u32,
    table_width: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f16>>;                // [sequences, heads, latent_dim + rope_dim]
@group(0) @binding(2) var<storage, read> cache: array<vec4<f16>>;            // [blocks * BLOCK, latent_dim + rope_dim]
@group(0) @binding(3) var<storage, read> block_table: array<u32>;            // [sequences, table_width]: physical block
@group(0) @binding(4) var<storage, read_write> part_state: array<vec2<f32>>; // [sequences, heads, splits]: reference, sum
@group(0) @binding(5) var<storage, read_write> part_out: array<vec4<f32>>;   // [sequences, heads, splits, latent_dim]

var<workgroup> tile: array<f16, KEYS * WIDTH>;        // [key, dimension]
var<workgroup> score: array<f32, PARTS * SCORES>;     // [part, head, key]; then tiles of the output
var<workgroup> weight: array<f16, HEADS * WEIGHTS>;   // [head, key]
var<workgroup> shrink: array<f32, HEADS>;
var<workgroup> entry_at: array<u32, KEYS>; // where the entries of the next step begin
var<workgroup> rises: u32;                 // whether the output must be rescaled

// The row of a key of a sequence, found through the block table.
fn row_of(sequence: u32, key: u32) -> u32 {
    return block_table[sequence * params.table_width + key / BLOCK] * BLOCK + key % BLOCK;
}

// What an invocation carries of KEYS entries: columns of the latent, then one of the rotary part. Where it has none of its
// own, it carries what another one carries too, so that no load needs a branch.
fn fetch_entries(local: u32, staged: ptr<function, array<vec4<f16>, STAGED + 1u>>) {
    let own = min(local % MAX_LATENT4, LATENT_DIM4 - 1u);
    for (var i = 0u; i < STAGED; i++) {
        (*staged)[i] = cache[entry_at[local / MAX_LATENT4 + i * (INVOCATIONS / MAX_LATENT4)] + own];
    }
    (*staged)[STAGED] = cache[entry_at[local / MAX_ROPE4] + LATENT_DIM4 + min(local % MAX_ROPE4, ROPE_DIM4 - 1u)];
}

fn put_column(at: u32, x: vec4<f16>) {
    tile[at] = x.x;
    tile[at + 1u] = x.y;
    tile[at + 2u] = x.z;
    tile[at + 3u] = x.w;
}

fn put_entries(local: u32, staged: ptr<function, array<vec4<f16>, STAGED + 1u>>) {
    let own = min(local % MAX_LATENT4, LATENT_DIM4 - 1u) * 4u;
    for (var i = 0u; i < STAGED; i++) {
        put_column((local / MAX_LATENT4 + i * (INVOCATIONS / MAX_LATENT4)) * WIDTH + own, (*staged)[i]);
    }
    let last = LATENT_DIM + min(local % MAX_ROPE4, ROPE_DIM4 - 1u) * 4u;
    put_column(local / MAX_ROPE4 * WIDTH + last, (*staged)[STAGED]);
}

@compute @workgroup_size(INVOCATIONS, 1, 1)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) width: u32,
) {
    let split = id.x;
    let sequence = id.z;
    let first_head = id.y * HEADS;
    let length = (params.kv_len + params.splits - 1u) / params.splits;
    let begin = min(split * length, params.kv_len);
    let end = min(begin + length, params.kv_len);
    // In step 1 this subgroup takes each `parts`-th tile of the dimensions from `part` on, and each `turns`-th tile of
    // heads from `turn` on. In step 3 it takes each `workers`-th tile of columns from `worker` on.
    let subgroups = INVOCATIONS / width;
    let parts = min(subgroups, PARTS);
    let part = subgroup % parts;
    let turns = subgroups / parts;
    let turn = subgroup / parts;
    let workers = min(subgroups, STRIPS);
    let worker = subgroup % workers;

    var query = array<array<MatrixA, ROW_TILES>, STEPS>();
    // The queries too go through workgroup memory, one tile per part at a time. A head too many repeats the last one; tiles
    // behind the last one are zero.
    let chunk4 = parts * SIZE / 4u;
    for (var i = 0u; i < STEPS; i++) {
        if i * chunk4 >= ENTRY4 {
            break;
        }
        workgroupBarrier();
        for (var k = 0u; k < 2u; k++) {
            let at = k * INVOCATIONS + local;
            let head = min(first_head + at / chunk4, params.heads - 1u);
            let d = i * chunk4 + at % chunk4;
            var x = vec4<f16>();
            if d < ENTRY4 {
                x = q[(sequence * params.heads + head) * ENTRY4 + d];
            }
            if at < HEADS * chunk4 {
                put_column(at * 4u, x);
            }
        }
        workgroupBarrier();
        for (var r = 0u; r < ROW_TILES; r++) {
            let row = min(r * turns + turn, ROW_TILES - 1u) * SIZE;
            query[i][r] = coopLoadT<MatrixA>(&tile[row * chunk4 * 4u + part * SIZE], chunk4 * 4u);
        }
    }
    var sum = array<array<MatrixC, ROW_TILES>, COLUMNS>();
    // Scores `local`, `local + INVOCATIONS` ... of [head, key].
    var s = array<f32, OWN>();
    var reference = array<f32, OWN>();
    var total = array<f32, OWN>();
    for (var i = 0u; i < OWN; i++) {
        reference[i] = LOWEST;
    }
    if local == 0u {
        rises = 0u;
    }
    var staged = array<vec4<f16>, STAGED + 1u>();
    var first = begin;
    loop {
        // The loads of a step run during the step before it, those of the block table two steps before.
        if local < KEYS {
            entry_at[local] = row_of(sequence, min(first + local, end - 1u)) * ENTRY4;
        }
        workgroupBarrier();
        fetch_entries(local, &staged);
        var row = row_of(sequence, min(first + KEYS + local % KEYS, end - 1u));
        loop {
            if first >= end {
                break;
            }
            workgroupBarrier();
            put_entries(local, &staged);
            if local < KEYS {
                entry_at[local] = row * ENTRY4;
            }
            workgroupBarrier();
            fetch_entries(local, &staged);
            row = row_of(sequence, min(first + 2u * KEYS + local % KEYS, end - 1u));
            // Step 1.
            var share = array<array<MatrixC, KEY_TILES>, ROW_TILES>();
            for (var i = 0u; i < STEPS; i++) {
                if i * parts * SIZE >= ENTRY {
                    break;
                }
                let d = min((i * parts + part) * SIZE, ENTRY - SIZE);
                for (var j = 0u; j < KEY_TILES; j++) {
                    let b = coopLoad<MatrixB>(&tile[j * SIZE * WIDTH + d], WIDTH); // by columns: the transpose
                    for (var r = 0u; r < ROW_TILES; r++) {
                        if r * turns >= ROW_TILES {
                            break;
                        }
                        share[r][j] = coopMultiplyAdd(query[i][r], b, share[r][j]);
                    }
                }
            }
            for (var r = 0u; r < ROW_TILES; r++) {
                if r * turns >= ROW_TILES {
                    break;
                }
                let at = part * SCORES + min(r * turns + turn, ROW_TILES - 1u) * SIZE * KEYS;
                for (var j = 0u; j < KEY_TILES; j++) {
                    coopStoreT(share[r][j], &score[at + j * SIZE], KEYS);
                }
            }
            workgroupBarrier();
            // Step 2.
            var p = array<f16, OWN>();
            for (var i = 0u; i < OWN; i++) {
                let at = i * INVOCATIONS + local;
                s[i] = 0.0;
                for (var other = 0u; other < PARTS; other++) {
                    if other < parts {
                        s[i] += score[other * SCORES + at];
                    }
                }
                s[i] = select(LOWEST, s[i] * params.scale, first + at % KEYS < end);
                if s[i] > reference[i] + RISE {
                    rises = 1u; // all write the same
                }
                p[i] = f16(exp(min(s[i] - reference[i], RISE)));
                weight[at / KEYS * WEIGHTS + at % KEYS] = p[i];
            }
            if workgroupUniformLoad(&rises) != 0u {
                break;
            }
            for (var i = 0u; i < OWN; i++) {
                total[i] += f32(p[i]); // the factor of step 3, rounding included
            }
            // Step 3.
            for (var j = 0u; j < KEY_TILES; j++) {
                var a = array<MatrixA, ROW_TILES>();
                for (var r = 0u; r < ROW_TILES; r++) {
                    a[r] = coopLoadT<MatrixA>(&weight[r * SIZE * WEIGHTS + j * SIZE], WEIGHTS);
                }
                for (var i = 0u; i < COLUMNS; i++) {
                    if i * workers >= COLUMN_TILES {
                        break;
                    }
                    let column = min(i * workers + worker, COLUMN_TILES - 1u) * SIZE;
                    let b = coopLoadT<MatrixB>(&tile[j * SIZE * WIDTH + column], WIDTH);
                    for (var r = 0u; r < ROW_TILES; r++) {
                        sum[i][r] = coopMultiplyAdd(a[r], b, sum[i][r]);
                    }
                }
            }
            first += KEYS;
        }
        if first >= end {
            break;
        }
        // A score rose too far: new references, then the same step again.
        for (var i = 0u; i < OWN; i++) {
            score[i * INVOCATIONS + local] = s[i];
        }
        workgroupBarrier();
        for (var i = 0u; i < OWN; i++) {
            let head = (i * INVOCATIONS + local) / KEYS;
            var now = reference[i];
            for (var j = 0u; j < KEYS; j++) {
                now = max(now, score[head * KEYS + j]);
            }
            shrink[head] = exp(reference[i] - now); // all write the same
            total[i] *= exp(reference[i] - now);
            reference[i] = now;
        }
        rises = 0u;
        workgroupBarrier();
        for (var i = 0u; i < COLUMNS; i++) {
            if i * workers >= COLUMN_TILES {
                break;
            }
            for (var r = 0u; r < ROW_TILES; r++) {
                coopStoreT(sum[i][r], &score[worker * SIZE * SIZE], SIZE);
                workgroupBarrier();
                for (var k = 0u; k < PARTS * OWN; k++) {
                    let at = k * INVOCATIONS + local;
                    score[at] *= shrink[r * SIZE + at / SIZE % SIZE];
                }
                workgroupBarrier();
                sum[i][r] = coopLoadT<MatrixC>(&score[worker * SIZE * SIZE], SIZE);
                workgroupBarrier();
            }
        }
    }
    workgroupBarrier();
    for (var i = 0u; i < OWN; i++) {
        score[i * INVOCATIONS + local] = total[i];
    }
    workgroupBarrier();
    for (var i = 0u; i < OWN; i++) {
        let at = i * INVOCATIONS + local;
        let head = first_head + at / KEYS;
        if at % KEYS == 0u && head < params.heads {
            var all = 0.0;
            for (var j = 0u; j < KEYS; j++) {
                all += score[at + j];
            }
            part_state[(sequence * params.heads + head) * params.splits + split] = vec2(reference[i], all);
        }
    }
    for (var i = 0u; i < COLUMNS; i++) {
        if i * workers >= COLUMN_TILES {
            break;
        }
        for (var r = 0u; r < ROW_TILES; r++) {
            workgroupBarrier();
            coopStoreT(sum[i][r], &score[worker * SIZE * SIZE], SIZE);
            workgroupBarrier();
            for (var k = 0u; k < PARTS * OWN / 4u; k++) {
                let at = (k * INVOCATIONS + local) * 4u;
                let strip = at / (SIZE * SIZE);
                let column = (i * workers + strip) * SIZE + at % SIZE;
                let head = first_head + r * SIZE + at / SIZE % SIZE;
                if strip < workers && head < params.heads && column < LATENT_DIM {
                    let out_at = ((sequence * params.heads + head) * params.splits + split) * LATENT_DIM4;
                    part_out[out_at + column / 4u] = vec4(score[at], score[at + 1u], score[at + 2u], score[at + 3u]);
                }
            }
        }
    }
}
