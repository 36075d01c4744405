// Attention of many queries with online softmax, causal or not, on cooperative matrices: f16 operands, f32 sums. One
// workgroup computes one (head, 32 queries) and takes 64 keys at a time:
//   1. score = q * k^T: a subgroup multiplies two tiles of queries with one tile of keys at a time.
//   2. Four invocations per query find the largest score, the exponentials (as f16) and their sum, and rescale the
//      output.
//   3. output += exponentials * v: again two tiles of queries per subgroup at a time.
// The output stays in workgroup memory, so no step depends on how a device spreads a matrix over its lanes. The
// subgroups share the tiles evenly, however many there are. In memory the operands are padded with zeros to whole
// tiles. The lines of MatrixA, MatrixB, MatrixC and SIZE are replaced for 16 x 16 matrices.
//   out[i, h, :] = sum over visible j of softmax_j(scale * q[i, h] . k[j, h / group]) * v[j, h / group, :]
// Under CAUSAL, query i is at position kv_len - q_len + i and sees the keys up to that position. Otherwise it sees all
// keys.
enable f16;
enable wgpu_cooperative_matrix;
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
const SIZE: u32 = 8u;

override HEAD_DIM: u32 = 128u;  // of queries and keys: a multiple of SIZE
override VALUE_DIM: u32 = 128u; // a multiple of SIZE, at most 128
override CAUSAL: bool = true;

const ROWS: u32 = 32u;
const KEYS: u32 = 64u;
const PARTS: u32 = 4u; // invocations per query in step 2
const INVOCATIONS: u32 = 128u;
const LOWEST: f32 = -3.0e38;

struct Params {
    q_len: u32,
    kv_len: u32,
    heads: u32,
    kv_heads: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f16>;         // [q_len, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<f16>;         // [kv_len, kv_heads, head_dim]
@group(0) @binding(3) var<storage, read> v: array<f16>;         // [kv_len, kv_heads, value_dim]
@group(0) @binding(4) var<storage, read_write> out: array<f16>; // [q_len, heads, value_dim]

var<workgroup> score: array<f32, ROWS * KEYS>;
var<workgroup> weight: array<f16, ROWS * KEYS>;
var<workgroup> sum: array<f32, ROWS * VALUE_DIM>;
var<workgroup> exchange: array<f32, ROWS * PARTS>;

@compute @workgroup_size(INVOCATIONS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let head = group.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let q_step = params.heads * HEAD_DIM;
    let k_step = params.kv_heads * HEAD_DIM;
    let v_step = params.kv_heads * VALUE_DIM;
    let first_row = group.x * ROWS;
    let q_at = first_row * q_step + head * HEAD_DIM;
    // In step 2 this invocation computes one part of one query.
    let row = local / PARTS;
    let part = local % PARTS;
    let past = params.kv_len - params.q_len;
    let visible = select(params.kv_len, min(past + first_row + row + 1u, params.kv_len), CAUSAL);
    let end = select(params.kv_len, min(past + first_row + ROWS, params.kv_len), CAUSAL);

    for (var i = local; i < ROWS * VALUE_DIM; i += INVOCATIONS) {
        sum[i] = 0.0;
    }
    var largest = LOWEST;
    var total = 0.0;
    for (var first = 0u; first < end; first += KEYS) {
        // Step 1.
        for (var tile = subgroup; tile < (ROWS / SIZE / 2u) * (KEYS / SIZE); tile += subgroups) {
            let rows_at = tile / (KEYS / SIZE) * 2u * SIZE;
            let keys_at = tile % (KEYS / SIZE) * SIZE;
            let k_at = (first + keys_at) * k_step + kv_head * HEAD_DIM;
            var c0 = MatrixC();
            var c1 = MatrixC();
            for (var d = 0u; d < HEAD_DIM; d += SIZE) {
                let a0 = coopLoadT<MatrixA>(&q[q_at + rows_at * q_step + d], q_step);
                let a1 = coopLoadT<MatrixA>(&q[q_at + (rows_at + SIZE) * q_step + d], q_step);
                let b = coopLoad<MatrixB>(&k[k_at + d], k_step); // by columns: the transpose
                c0 = coopMultiplyAdd(a0, b, c0);
                c1 = coopMultiplyAdd(a1, b, c1);
            }
            coopStoreT(c0, &score[rows_at * KEYS + keys_at], KEYS);
            coopStoreT(c1, &score[(rows_at + SIZE) * KEYS + keys_at], KEYS);
        }
        workgroupBarrier();
        // Step 2.
        var now = LOWEST;
        for (var j = part; j < KEYS; j += PARTS) {
            if first + j < visible {
                now = max(now, score[row * KEYS + j] * params.scale);
            }
        }
        exchange[row * PARTS + part] = now;
        workgroupBarrier();
        now = largest;
        for (var other = 0u; other < PARTS; other++) {
            now = max(now, exchange[row * PARTS + other]);
        }
        let shrink = exp(largest - now);
        largest = now;
        total *= shrink;
        for (var j = part; j < KEYS; j += PARTS) {
            var p = f16(0.0);
            if first + j < visible {
                p = f16(exp(score[row * KEYS + j] * params.scale - now));
            }
            weight[row * KEYS + j] = p;
            total += f32(p); // the factor of step 3, rounding included
        }
        for (var d = part; d < VALUE_DIM; d += PARTS) {
            sum[row * VALUE_DIM + d] *= shrink;
        }
        workgroupBarrier();
        // Step 3.
        for (var tile = subgroup; tile < (ROWS / SIZE / 2u) * (VALUE_DIM / SIZE); tile += subgroups) {
            let rows_at = tile / (VALUE_DIM / SIZE) * 2u * SIZE;
            let d = tile % (VALUE_DIM / SIZE) * SIZE;
            var c0 = coopLoadT<MatrixC>(&sum[rows_at * VALUE_DIM + d], VALUE_DIM);
            var c1 = coopLoadT<MatrixC>(&sum[(rows_at + SIZE) * VALUE_DIM + d], VALUE_DIM);
            for (var keys_at = 0u; keys_at < KEYS; keys_at += SIZE) {
                let a0 = coopLoadT<MatrixA>(&weight[rows_at * KEYS + keys_at], KEYS);
                let a1 = coopLoadT<MatrixA>(&weight[(rows_at + SIZE) * KEYS + keys_at], KEYS);
                let b = coopLoadT<MatrixB>(&v[(first + keys_at) * v_step + kv_head * VALUE_DIM + d], v_step);
                c0 = coopMultiplyAdd(a0, b, c0);
                c1 = coopMultiplyAdd(a1, b, c1);
            }
            coopStoreT(c0, &sum[rows_at * VALUE_DIM + d], VALUE_DIM);
            coopStoreT(c1, &sum[(rows_at + SIZE) * VALUE_DIM + d], VALUE_DIM);
        }
    }
    workgroupBarrier();
    exchange[row * PARTS + part] = total;
    workgroupBarrier();
    total = 0.0;
    for (var other = 0u; other < PARTS; other++) {
        total += exchange[row * PARTS + other];
    }
    if first_row + row < params.q_len {
        for (var d = part; d < VALUE_DIM; d += PARTS) {
            out[((first_row + row) * params.heads + head) * VALUE_DIM + d] = f16(sum[row * VALUE_DIM + d] / total);
        }
    }
}
