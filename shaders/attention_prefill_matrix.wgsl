// Attention of many queries with online softmax, causal or not, on cooperative matrices: f16 operands, f32 sums. One
// workgroup computes one (head, ROWS queries) and takes KEYS keys at a time. Its work has UNITS: strips of 16 queries,
// times halves of the keys or of the columns of the output. Subgroups of up to 32 lanes take one unit each, subgroups of
// 64 lanes both halves of a strip:
//   1. score = q * k^T. A subgroup keeps its queries in registers; keys are in workgroup memory.
//   2. PARTS invocations per query find the largest score, the exponentials (as f16) and their sum.
//   3. output += exponentials * v. The output stays in registers; values are in workgroup memory, transposed.
// No invocation can reach the elements of a matrix. So where a largest score rises, the output would pass through
// workgroup memory to be rescaled. That is done only if it rises by more than LAZY since the last time.
// The lines of MatrixA, MatrixB, MatrixC and SIZE are replaced for 16 x 16 matrices.
//   out[i, h, :] = sum over visible j of softmax_j(scale * q[i, h] . k[j, h / group]) * v[j, h / group, :]
// Under CAUSAL, query i is at position kv_len - q_len + i and sees the `window` keys up to that position. Otherwise it
// sees all keys. The softmax has the sink of head h as one more score, whose value is zero.
enable f16;
enable wgpu_cooperative_matrix;
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
const SIZE: u32 = 8u;

override HEAD_DIM4: u32 = 32u;  // head_dim / 4 of queries and keys, at most 48
override VALUE_DIM4: u32 = 32u; // head_dim / 4 of values, at most 32
override CAUSAL: bool = true;

const INVOCATIONS: u32 = 256u;
const ROWS: u32 = 64u;
const KEYS: u32 = 32u;
const STRIP: u32 = 16u; // rows of a unit, and columns of the output that are written or rescaled at a time
const STRIPS: u32 = ROWS / STRIP;
const UNITS: u32 = 2u * STRIPS;
const SIDE: u32 = STRIP / SIZE; // matrices along it
const HALF: u32 = KEYS / 2u / SIZE; // matrices along half of the keys
const PARTS: u32 = INVOCATIONS / ROWS; // invocations per query in step 2
const EACH: u32 = KEYS / PARTS;
const QUADS: u32 = KEYS / 4u;
const CARRIERS: u32 = INVOCATIONS / KEYS; // invocations that move a key
const MAX_DIMS: u32 = 192u / SIZE;
const MAX_COLUMNS: u32 = 64u / SIZE;
override DIMS: u32 = (HEAD_DIM4 * 4u + SIZE - 1u) / SIZE; // matrices along the dimensions of a key
override PADDED4: u32 = (HEAD_DIM4 + CARRIERS - 1u) / CARRIERS * CARRIERS;
override WIDE: u32 = (VALUE_DIM4 + 7u) / 8u; // strips of columns in half of the output

// Eight numbers of padding keep rows on different banks.
const CHUNK: u32 = 32u; // dimensions of queries in workgroup memory at a time
const QUERY_STRIDE: u32 = CHUNK + 8u;
override KEY_STRIDE: u32 = PADDED4 * 4u + 8u;
const VALUE_STRIDE: u32 = KEYS + 8u;
const SCORE_STRIDE: u32 = KEYS + 4u;
const WEIGHT_STRIDE: u32 = KEYS + 8u;
const QUERY_TILE: u32 = ROWS * QUERY_STRIDE;
override KEY_TILE: u32 = KEYS * KEY_STRIDE;
override VALUE_TILE: u32 = 2u * WIDE * STRIP * VALUE_STRIDE;
override TILE: u32 = max(QUERY_TILE, max(KEY_TILE, VALUE_TILE));

const LOWEST: f32 = -3.0e38;
const LOG2_E: f32 = 1.4426950408889634;
const LAZY: f32 = 10.0; // as a power of two
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
@group(0) @binding(1) var<storage, read> q: array<vec4<f16>>;         // [q_len, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<vec4<f16>>;         // [kv_len, kv_heads, head_dim]
@group(0) @binding(3) var<storage, read> v: array<vec4<f16>>;         // [kv_len, kv_heads, value_dim]
@group(0) @binding(4) var<storage, read> sinks: array<f32>;           // [heads], LOWEST: none
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f16>>; // [q_len, heads, value_dim]

var<workgroup> tile: array<f16, TILE>; // queries, keys or values
var<workgroup> score: array<f32, ROWS * SCORE_STRIDE>;
var<workgroup> weight: array<f16, ROWS * WEIGHT_STRIDE>;
var<workgroup> factor: array<f32, ROWS>; // of the output, by row
var<workgroup> rescale: u32;

alias Output = array<MatrixC, 2u * SIDE * MAX_COLUMNS>; // [turn, matrix row, matrix column]

// Writes a strip of columns of a unit's output to workgroup memory.
fn put(unit: u32, turn: u32, wide: u32, output: ptr<function, Output>) {
    for (var i = 0u; i < SIDE; i++) {
        for (var j = 0u; j < SIDE; j++) {
            let source = (turn * SIDE + i) * MAX_COLUMNS + wide * SIDE + j;
            coopStoreT((*output)[source], &score[(unit * STRIP + i * SIZE) * STRIP + j * SIZE], STRIP);
        }
    }
}

// Reads it back.
fn take(unit: u32, turn: u32, wide: u32, output: ptr<function, Output>) {
    for (var i = 0u; i < SIDE; i++) {
        for (var j = 0u; j < SIDE; j++) {
            let to = (turn * SIDE + i) * MAX_COLUMNS + wide * SIDE + j;
            (*output)[to] = coopLoadT<MatrixC>(&score[(unit * STRIP + i * SIZE) * STRIP + j * SIZE], STRIP);
        }
    }
}

@compute @workgroup_size(INVOCATIONS, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    let head = workgroup.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let past = params.kv_len - params.q_len;
    let first_row = workgroup.x * ROWS;
    let last_row = min(first_row + ROWS, params.q_len) - 1u;
    // Query i sees key j if position(i) - j, as an unsigned number, is less than the window.
    let window = select(NO_WINDOW, min(params.window, NO_WINDOW), CAUSAL);
    let end = select(params.kv_len, past + last_row + 1u, CAUSAL);
    let begin = select(0u, past + first_row + 1u - min(window, past + first_row + 1u), CAUSAL);
    let subgroups = INVOCATIONS / lanes; // compilers know it, other than num_subgroups
    // In turn t, this subgroup has unit subgroup + t * subgroups. Both are of the same strip.
    // Subgroups beyond the units have none.
    let turns = select(select(1u, 2u, subgroups < UNITS), 0u, subgroups > UNITS && subgroup >= UNITS);
    let strip = subgroup % STRIPS;
    // In step 2, this invocation computes one part of one query.
    let row = local / PARTS;
    let part = local % PARTS;
    let position = select(params.kv_len - 1u, past + first_row + row, CAUSAL);
    // Each invocation moves blocks of four values of four keys.
    let quad = local % QUADS;

    var query = array<MatrixA, SIDE * MAX_DIMS>();
    for (var chunk = 0u; chunk < (DIMS * SIZE + CHUNK - 1u) / CHUNK; chunk++) {
        workgroupBarrier();
        for (var i = local; i < ROWS * CHUNK / 4u; i += INVOCATIONS) {
            let d = i % (CHUNK / 4u);
            let at = chunk * CHUNK / 4u + d;
            let source = min(first_row + i / (CHUNK / 4u), last_row) * params.heads + head;
            let x = select(vec4<f16>(), q[source * HEAD_DIM4 + min(at, HEAD_DIM4 - 1u)], at < HEAD_DIM4);
            let to = i / (CHUNK / 4u) * QUERY_STRIDE + d * 4u;
            tile[to] = x.x;
            tile[to + 1u] = x.y;
            tile[to + 2u] = x.z;
            tile[to + 3u] = x.w;
        }
        workgroupBarrier();
        for (var i = 0u; i < SIDE; i++) {
            for (var j = 0u; j < CHUNK / SIZE; j++) {
                let d = chunk * (CHUNK / SIZE) + j;
                if d >= DIMS {
                    continue;
                }
                query[i * MAX_DIMS + d] =
                    coopLoadT<MatrixA>(&tile[(strip * STRIP + i * SIZE) * QUERY_STRIDE + j * SIZE], QUERY_STRIDE);
            }
        }
    }

    var output = Output();
    var largest = max(sinks[head] * LOG2_E, LOWEST);
    var total = select(0.0, 1.0, part == 0u); // of the sink
    for (var first_key = begin; first_key < end; first_key += KEYS) {
        workgroupBarrier();
        let k_from = (min(first_key + local / CARRIERS, end - 1u) * params.kv_heads + kv_head) * HEAD_DIM4;
        for (var n = 0u; n < PADDED4 / CARRIERS; n++) {
            let d = n * CARRIERS + local % CARRIERS;
            let x = k[k_from + select(min(d, HEAD_DIM4 - 1u), d, HEAD_DIM4 == PADDED4)];
            let to = local / CARRIERS * KEY_STRIDE + d * 4u;
            tile[to] = x.x;
            tile[to + 1u] = x.y;
            tile[to + 2u] = x.z;
            tile[to + 3u] = x.w;
        }
        if local == 0u {
            rescale = 0u;
        }
        workgroupBarrier();
        // Step 1.
        for (var turn = 0u; turn < 2u; turn++) {
            if turn >= turns {
                continue;
            }
            let keys_at = (subgroup + turn * subgroups) / STRIPS * (KEYS / 2u);
            var c = array<MatrixC, SIDE * HALF>();
            for (var d = 0u; d < DIMS; d++) {
                for (var j = 0u; j < HALF; j++) {
                    let at = (keys_at + j * SIZE) * KEY_STRIDE + d * SIZE;
                    let b = coopLoad<MatrixB>(&tile[at], KEY_STRIDE); // by columns: the transpose
                    for (var i = 0u; i < SIDE; i++) {
                        c[i * HALF + j] = coopMultiplyAdd(query[i * MAX_DIMS + d], b, c[i * HALF + j]);
                    }
                }
            }
            for (var i = 0u; i < SIDE; i++) {
                for (var j = 0u; j < HALF; j++) {
                    let at = (strip * STRIP + i * SIZE) * SCORE_STRIDE + keys_at + j * SIZE;
                    coopStoreT(c[i * HALF + j], &score[at], SCORE_STRIDE);
                }
            }
        }
        workgroupBarrier();
        for (var n = 0u; n < QUADS * 32u / INVOCATIONS; n++) {
            let d = n * (INVOCATIONS / QUADS) + local / QUADS;
            if d < VALUE_DIM4 {
                // Keys beyond the last repeat it.
                let last = ((end - 1u) * params.kv_heads + kv_head) * VALUE_DIM4 + d;
                let next = params.kv_heads * VALUE_DIM4;
                let at = ((first_key + quad * 4u) * params.kv_heads + kv_head) * VALUE_DIM4 + d;
                let x0 = v[min(at, last)];
                let x1 = v[min(at + next, last)];
                let x2 = v[min(at + 2u * next, last)];
                let x3 = v[min(at + 3u * next, last)];
                for (var c = 0u; c < 4u; c++) {
                    let to = (d * 4u + c) * VALUE_STRIDE + quad * 4u;
                    tile[to] = x0[c];
                    tile[to + 1u] = x1[c];
                    tile[to + 2u] = x2[c];
                    tile[to + 3u] = x3[c];
                }
            }
        }
        // Step 2.
        var own = array<f32, EACH>();
        var now = LOWEST;
        for (var j = 0u; j < EACH; j++) {
            let seen = position - (first_key + part * EACH + j) < window;
            let x = score[row * SCORE_STRIDE + part * EACH + j] * (params.scale * LOG2_E);
            own[j] = select(LOWEST, x, seen);
            now = max(now, own[j]);
        }
        now = max(now, subgroupShuffleXor(now, 1u));
        now = max(now, subgroupShuffleXor(now, 2u));
        if now > largest + LAZY {
            if part == 0u {
                factor[row] = exp2(largest - now);
            }
            // Before the first key the output is zero.
            if first_key > begin && largest > LOWEST {
                rescale = 1u;
            }
            total *= exp2(largest - now);
            largest = now;
        } else if part == 0u {
            factor[row] = 1.0;
        }
        // A row that sees no key yet must not count exp2(0).
        let base = select(largest, 0.0, largest == LOWEST);
        for (var j = 0u; j < EACH; j++) {
            let p = f16(exp2(own[j] - base));
            weight[row * WEIGHT_STRIDE + part * EACH + j] = p;
            total += f32(p); // the factor of step 3, rounding included
        }
        if workgroupUniformLoad(&rescale) == 1u {
            for (var wide = 0u; wide < WIDE; wide++) {
                for (var turn = 0u; turn < 2u; turn++) {
                    if turn >= turns {
                        continue;
                    }
                    put(subgroup + turn * subgroups, turn, wide, &output);
                }
                workgroupBarrier();
                let at = local / (2u * STRIP) * STRIP + local % (2u * STRIP) / 2u;
                let by = factor[at % ROWS];
                for (var j = 0u; j < STRIP / 2u; j++) {
                    score[at * STRIP + local % 2u * (STRIP / 2u) + j] *= by;
                }
                workgroupBarrier();
                for (var turn = 0u; turn < 2u; turn++) {
                    if turn >= turns {
                        continue;
                    }
                    take(subgroup + turn * subgroups, turn, wide, &output);
                }
                workgroupBarrier();
            }
        }
        // Step 3.
        for (var turn = 0u; turn < 2u; turn++) {
            if turn >= turns {
                continue;
            }
            let columns_at = (subgroup + turn * subgroups) / STRIPS * WIDE * STRIP;
            for (var key = 0u; key < KEYS; key += SIZE) {
                for (var j = 0u; j < WIDE * SIDE; j++) {
                    let at = (columns_at + j * SIZE) * VALUE_STRIDE + key;
                    let b = coopLoad<MatrixB>(&tile[at], VALUE_STRIDE); // by columns
                    for (var i = 0u; i < SIDE; i++) {
                        let a = coopLoadT<MatrixA>(
                            &weight[(strip * STRIP + i * SIZE) * WEIGHT_STRIDE + key], WEIGHT_STRIDE);
                        let to = (turn * SIDE + i) * MAX_COLUMNS + j;
                        output[to] = coopMultiplyAdd(a, b, output[to]);
                    }
                }
            }
        }
    }
    total += subgroupShuffleXor(total, 1u);
    total += subgroupShuffleXor(total, 2u);
    if part == 0u {
        factor[row] = 1.0 / total;
    }
    for (var wide = 0u; wide < WIDE; wide++) {
        workgroupBarrier();
        for (var turn = 0u; turn < 2u; turn++) {
            if turn >= turns {
                continue;
            }
            put(subgroup + turn * subgroups, turn, wide, &output);
        }
        workgroupBarrier();
        let at = local / (2u * STRIP) * STRIP + local % (2u * STRIP) / 2u;
        let to = at % ROWS;
        for (var j = 0u; j < 2u; j++) {
            let source = at * STRIP + local % 2u * (STRIP / 2u) + j * 4u;
            let d = (at / ROWS * WIDE + wide) * (STRIP / 4u) + local % 2u * 2u + j;
            if first_row + to < params.q_len && d < VALUE_DIM4 {
                let x = vec4(score[source], score[source + 1u], score[source + 2u], score[source + 3u]);
                out[((first_row + to) * params.heads + head) * VALUE_DIM4 + d] = vec4<f16>(x * factor[to]);
            }
        }
    }
}
