// Grouped GEMM in int8 with cooperative matrices. A workgroup computes ROWS x COLUMNS and takes 32 of k at a time through
// workgroup memory, where it holds the codes as f16, which is exact. While it multiplies, the next 32 are on their way into
// registers. Each subgroup owns 2 or 4 rows of 4 matrices: no sum is computed twice where a workgroup has exactly SHARES
// subgroups. The lines of MatrixA, MatrixB, MatrixC and SIZE are replaced for 16 x 16 matrices.
//
//   c[row, :] = a_scale * b_scale * (a[source(row), :] * b[expert(row)])     SWIGLU = false
//   c[row, :] = silu(the same of gate) .* (the same of up)                   SWIGLU = true
//
// The matrices' sums are f32. They are added to sums in int32 before they could exceed the 24 bits that f32 holds exactly.
// a_scale has one value per token, b_scale one per column.
//
// Rows are sorted by expert and padded, so that all rows of a workgroup belong to one expert. Weights are stored in
// panels as wide as a workgroup, and inside a panel as one tile after another: [experts, panels, k / 32, 2, columns, 32].
// The 2 are neighbouring blocks of columns, or gate and up. Padding of k and of the last panel holds zeros.
enable f16;
enable wgpu_cooperative_matrix;
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
const SIZE: u32 = 8u;

override SWIGLU: bool = false;

const MATRIX_ROWS: u32 = 4u; // of matrices per subgroup: 2 or 4
const ROW_SHARES: u32 = 2u; // subgroups along the rows; two are along the columns
const INVOCATIONS: u32 = 128u;
const SHARES: u32 = ROW_SHARES * 2u;
const ROWS: u32 = ROW_SHARES * MATRIX_ROWS * SIZE; // per tile
const COLUMNS: u32 = 8u * SIZE; // per tile
const STEP: u32 = 32u; // of k per tile
const STRIDE: u32 = STEP + 8u; // of a tile's rows: neighbours begin in different banks
const WIDTH: u32 = COLUMNS / 8u; // vec4 in half a panel
const STRIP_STRIDE: u32 = COLUMNS + 4u;
const A_LOADS: u32 = ROWS * STEP / 8u / INVOCATIONS; // of eight codes per invocation and step: 1 or 2
const B_LOADS: u32 = COLUMNS * STEP / 16u / INVOCATIONS; // of sixteen codes: 1 or 2
const A_ROWS: u32 = INVOCATIONS / 4u; // rows between two loads of an invocation
const FLUSH: u32 = 32u; // steps: 1024 products of at most 127 * 127 stay below 2^24
const STRIPS: u32 = ROW_SHARES * MATRIX_ROWS; // rows of matrices in a tile
const ITEMS: u32 = (SIZE * WIDTH + INVOCATIONS - 1u) / INVOCATIONS; // pairs of vec4 of a strip per invocation: 1 or 2
const NONE: u32 = 0xFFFFFFFFu;

struct Params {
    k16: u32,      // k / 16, rounded up
    n4: u32,       // columns of c / 4, rounded up
    panels: u32,   // column panels per expert
    top_k: u32,    // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec2<u32>>;       // [tokens or rows, k], four per word
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;       // [experts, panels, k / 32, 2, columns, 32], four per word
@group(0) @binding(3) var<storage, read> block_expert: array<u32>;  // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;   // [rows], NONE: padding
@group(0) @binding(5) var<storage, read> a_scale: array<f32>;       // [tokens or rows]
@group(0) @binding(6) var<storage, read> b_scale: array<vec4<f32>>; // [experts, panels, 2, WIDTH]
@group(0) @binding(7) var<storage, read_write> c: array<vec2<u32>>; // [rows, n]

var<workgroup> tile: array<f16, (ROWS + COLUMNS) * STRIDE>; // [row of a or column of b, k]
var<workgroup> strip: array<f32, SIZE * STRIP_STRIDE>; // a row of matrices of the result: [row, column]

// bfloat16, to the nearest, ties to even.
fn narrow(x: vec4<f32>) -> vec2<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let rounded = bits + 0x7FFFu + ((bits >> vec4(16u)) & vec4(1u));
    return (rounded.xz >> vec2(16u)) | (rounded.yw & vec2(0xFFFF0000u));
}

fn source(row: u32) -> u32 {
    let slot = slot_of_row[row];
    if params.top_k == 0u {
        return select(row, 0u, slot == NONE);
    }
    return select(slot / params.top_k, 0u, slot == NONE);
}

fn silu(x: vec4<f32>) -> vec4<f32> {
    return x / (1.0 + exp(-x));
}

// Stores the two sums of a row in column `column` of this panel (in vec4), unless they are padding.
fn store(panel: u32, column: u32, row: u32, sum0: vec4<f32>, sum1: vec4<f32>) {
    if slot_of_row[row] == NONE {
        return;
    }
    if SWIGLU {
        let at = panel * WIDTH + column;
        if at < params.n4 {
            c[row * params.n4 + at] = narrow(silu(sum0) * sum1);
        }
        return;
    }
    let at = panel * WIDTH * 2u + column;
    if at < params.n4 {
        c[row * params.n4 + at] = narrow(sum0);
    }
    if at + WIDTH < params.n4 {
        c[row * params.n4 + at + WIDTH] = narrow(sum1);
    }
}

// Four codes as f16, in the order 0, 2, 1, 3: any order will do that is the same for both operands. Code + 128 becomes the
// low bits of 1024 + code + 128.
fn shuffled_halves(word: u32) -> vec4<f16> {
    let biased = word ^ 0x80808080u;
    let even = (biased & 0x00FF00FFu) | 0x64006400u;
    let odd = ((biased >> 8u) & 0x00FF00FFu) | 0x64006400u;
    return vec4<f16>(vec4(unpack2x16float(even), unpack2x16float(odd))) - vec4(1152.0h);
}

// Puts four codes of a row into the tile.
fn put_codes(at: u32, word: u32) {
    let x = shuffled_halves(word);
    tile[at] = x.x;
    tile[at + 1u] = x.y;
    tile[at + 2u] = x.z;
    tile[at + 3u] = x.w;
}

// Puts eight codes of A into the tile.
fn put_a(at: u32, x: vec2<u32>) {
    put_codes(at, x.x);
    put_codes(at + 4u, x.y);
}

// Puts sixteen codes of a column into the tile: `item` counts the columns, two items each.
fn put_b(item: u32, x: vec4<u32>) {
    let at = (ROWS + item / 2u) * STRIDE + item % 2u * 16u;
    put_codes(at, x.x);
    put_codes(at + 4u, x.y);
    put_codes(at + 8u, x.z);
    put_codes(at + 12u, x.w);
}

// Puts a row of four matrices into the strip.
fn put_row(column: u32, c0: MatrixC, c1: MatrixC, c2: MatrixC, c3: MatrixC) {
    coopStoreT(c0, &strip[column], STRIP_STRIDE);
    coopStoreT(c1, &strip[column + SIZE], STRIP_STRIDE);
    coopStoreT(c2, &strip[column + COLUMNS / 2u], STRIP_STRIDE);
    coopStoreT(c3, &strip[column + COLUMNS / 2u + SIZE], STRIP_STRIDE);
}

fn four_of_strip(at: u32) -> vec4<f32> {
    return vec4(strip[at], strip[at + 1u], strip[at + 2u], strip[at + 3u]);
}

@compute @workgroup_size(INVOCATIONS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let expert = block_expert[group.x];
    if expert == NONE {
        return;
    }
    let first_row = group.x * ROWS;
    let k8 = params.k16 * 2u;
    let steps = (k8 + 3u) / 4u;
    // With more subgroups than shares, some compute the same share with the same result.
    let row_share = subgroup % SHARES / 2u;
    let column = subgroup % 2u * 2u * SIZE;
    let a_share = row_share * MATRIX_ROWS * SIZE * STRIDE;
    let b_share = (ROWS + column) * STRIDE;
    let up = COLUMNS / 2u * STRIDE;

    // An invocation loads eight of k of some rows, and sixteen of k of some columns.
    let own = index % 4u;
    let a_row = index / 4u;
    let row0 = source(first_row + a_row) * k8;
    var row1 = 0u;
    if A_LOADS > 1u {
        row1 = source(first_row + a_row + A_ROWS) * k8;
    }
    let a_at = a_row * STRIDE + own * 8u;
    let b_at = (expert * params.panels + group.y) * steps * COLUMNS * STEP / 16u + index;

    // Beyond k the last codes of a row are read again, and the weights are zeros.
    let k_first = min(own, k8 - 1u);
    var x0 = a[row0 + k_first];
    var x1 = vec2<u32>();
    if A_LOADS > 1u {
        x1 = a[row1 + k_first];
    }
    var y0 = b[b_at];
    var y1 = vec4<u32>();
    if B_LOADS > 1u {
        y1 = b[b_at + INVOCATIONS];
    }

    var total0 = array<vec4<i32>, STRIPS * ITEMS>();
    var total1 = array<vec4<i32>, STRIPS * ITEMS>();
    for (var flush = 0u; flush < steps; flush += FLUSH) {
        var c00 = MatrixC();
        var c01 = MatrixC();
        var c02 = MatrixC();
        var c03 = MatrixC();
        var c10 = MatrixC();
        var c11 = MatrixC();
        var c12 = MatrixC();
        var c13 = MatrixC();
        var c20 = MatrixC();
        var c21 = MatrixC();
        var c22 = MatrixC();
        var c23 = MatrixC();
        var c30 = MatrixC();
        var c31 = MatrixC();
        var c32 = MatrixC();
        var c33 = MatrixC();
        // There is at least one step. Compilers keep such a loop tighter than one that asks before the first.
        let end = min(flush + FLUSH, steps);
        var step = flush;
        loop {
            put_a(a_at, x0);
            if A_LOADS > 1u {
                put_a(a_at + A_ROWS * STRIDE, x1);
            }
            put_b(index, y0);
            if B_LOADS > 1u {
                put_b(index + INVOCATIONS, y1);
            }
            workgroupBarrier();
            for (var k = 0u; k < STEP; k += SIZE) {
                let b0 = coopLoad<MatrixB>(&tile[b_share + k], STRIDE);
                let b1 = coopLoad<MatrixB>(&tile[b_share + SIZE * STRIDE + k], STRIDE);
                let b2 = coopLoad<MatrixB>(&tile[b_share + up + k], STRIDE);
                let b3 = coopLoad<MatrixB>(&tile[b_share + up + SIZE * STRIDE + k], STRIDE);
                let a0 = coopLoadT<MatrixA>(&tile[a_share + k], STRIDE);
                c00 = coopMultiplyAdd(a0, b0, c00);
                c01 = coopMultiplyAdd(a0, b1, c01);
                c02 = coopMultiplyAdd(a0, b2, c02);
                c03 = coopMultiplyAdd(a0, b3, c03);
                let a1 = coopLoadT<MatrixA>(&tile[a_share + SIZE * STRIDE + k], STRIDE);
                c10 = coopMultiplyAdd(a1, b0, c10);
                c11 = coopMultiplyAdd(a1, b1, c11);
                c12 = coopMultiplyAdd(a1, b2, c12);
                c13 = coopMultiplyAdd(a1, b3, c13);
                // Loads between multiplications keep more of the sums in place. The last step loads itself again, in vain.
                if k == 0u {
                    let next = min(step + 1u, steps - 1u);
                    let k_next = min(next * 4u + own, k8 - 1u);
                    x0 = a[row0 + k_next];
                    if A_LOADS > 1u {
                        x1 = a[row1 + k_next];
                    }
                    let b_next = b_at + next * (COLUMNS * STEP / 16u);
                    y0 = b[b_next];
                    if B_LOADS > 1u {
                        y1 = b[b_next + INVOCATIONS];
                    }
                }
                if MATRIX_ROWS > 2u {
                    let a2 = coopLoadT<MatrixA>(&tile[a_share + 2u * SIZE * STRIDE + k], STRIDE);
                    c20 = coopMultiplyAdd(a2, b0, c20);
                    c21 = coopMultiplyAdd(a2, b1, c21);
                    c22 = coopMultiplyAdd(a2, b2, c22);
                    c23 = coopMultiplyAdd(a2, b3, c23);
                    let a3 = coopLoadT<MatrixA>(&tile[a_share + 3u * SIZE * STRIDE + k], STRIDE);
                    c30 = coopMultiplyAdd(a3, b0, c30);
                    c31 = coopMultiplyAdd(a3, b1, c31);
                    c32 = coopMultiplyAdd(a3, b2, c32);
                    c33 = coopMultiplyAdd(a3, b3, c33);
                }
            }
            workgroupBarrier();
            step++;
            if step == end {
                break;
            }
        }

        for (var share = 0u; share < ROW_SHARES; share++) {
            for (var i = 0u; i < MATRIX_ROWS; i++) {
                if row_share == share {
                    if i == 0u {
                        put_row(column, c00, c01, c02, c03);
                    } else if i == 1u {
                        put_row(column, c10, c11, c12, c13);
                    } else if i == 2u {
                        put_row(column, c20, c21, c22, c23);
                    } else {
                        put_row(column, c30, c31, c32, c33);
                    }
                }
                workgroupBarrier();
                for (var j = 0u; j < ITEMS; j++) {
                    let item = min(index + j * INVOCATIONS, SIZE * WIDTH - 1u);
                    let at = item / WIDTH * STRIP_STRIDE + item % WIDTH * 4u;
                    let sum_at = (share * MATRIX_ROWS + i) * ITEMS + j;
                    total0[sum_at] += vec4<i32>(four_of_strip(at));
                    total1[sum_at] += vec4<i32>(four_of_strip(at + COLUMNS / 2u));
                }
                workgroupBarrier();
            }
        }
    }

    for (var i = 0u; i < STRIPS; i++) {
        for (var j = 0u; j < ITEMS; j++) {
            let item = index + j * INVOCATIONS;
            if item < SIZE * WIDTH {
                let row = first_row + i * SIZE + item / WIDTH;
                let scale_at = (expert * params.panels + group.y) * 2u * WIDTH + item % WIDTH;
                let scale = a_scale[source(row)];
                let sum0 = vec4<f32>(total0[i * ITEMS + j]) * b_scale[scale_at] * scale;
                let sum1 = vec4<f32>(total1[i * ITEMS + j]) * b_scale[scale_at + WIDTH] * scale;
                store(group.y, item % WIDTH, row, sum0, sum1);
            }
        }
    }
}
