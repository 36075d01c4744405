// Grouped GEMM in int8 of few rows with cooperative matrices: each weight is read once for one or two rows of matrices. A
// workgroup computes ROWS x COLUMNS and takes 64 of k at a time through workgroup memory, where it holds the codes as f16,
// which is exact. While it multiplies, the next 64 are on their way into registers. The lines of MatrixA, MatrixB, MatrixC
// and SIZE are replaced for 16 x 16 matrices.
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

const MATRIX_ROWS: u32 = 1u; // of matrices per subgroup: 1 or 2
const MATRIX_COLUMNS: u32 = 1u; // per subgroup: 1, or 2 where a workgroup has only four subgroups
const INVOCATIONS: u32 = 256u;
const ROWS: u32 = MATRIX_ROWS * SIZE; // per tile
const COLUMNS: u32 = 8u * SIZE; // per tile
const STEP: u32 = 64u; // of k per tile: two tiles of weights
const STRIDE: u32 = STEP + 8u; // of a tile's rows: neighbours begin in different banks
const WIDTH: u32 = COLUMNS / 8u; // vec4 in half a panel
const STRIP_STRIDE: u32 = COLUMNS + 4u;
const B_LOADS: u32 = COLUMNS * STEP / 16u / INVOCATIONS; // of sixteen codes per invocation and step: 1 or 2
const A_ROWS: u32 = INVOCATIONS / 16u; // rows between two loads of an invocation
const FLUSH: u32 = 16u; // steps: 1024 products of at most 127 * 127 stay below 2^24
const NONE: u32 = 0xFFFFFFFFu;

struct Params {
    k16: u32,      // k / 16, rounded up
    n4: u32,       // columns of c / 4, rounded up
    panels: u32,   // column panels per expert
    top_k: u32,    // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<u32>;             // [tokens or rows, k], four per word
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

// Scales a row's sums and stores them.
fn store_scaled(
    panel: u32,
    column: u32,
    row: u32,
    sum0: vec4<i32>,
    sum1: vec4<i32>,
    scale0: vec4<f32>,
    scale1: vec4<f32>,
) {
    let scale = a_scale[source(row)];
    store(panel, column, row, vec4<f32>(sum0) * scale0 * scale, vec4<f32>(sum1) * scale1 * scale);
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

fn four_of_strip(at: u32) -> vec4<f32> {
    return vec4(strip[at], strip[at + 1u], strip[at + 2u], strip[at + 3u]);
}

// Four codes of a row. In the last tile the last four are read again beyond k, and the weights are zeros. After the last
// tile weights are read again, and the rows are zeros.
fn codes_of_row(begin: u32, tiles: u32, step: u32, index: u32) -> u32 {
    let k4 = step * (STEP / 4u) + index % 16u;
    return select(0u, a[begin + min(k4, params.k16 * 4u - 1u)], k4 < tiles * 8u);
}

// Sixteen codes of a column: `item` counts the columns of two tiles of weights, two items each. After the last tile of a
// panel this one is read again.
fn codes_of_column(panel: u32, tiles: u32, step: u32, item: u32) -> vec4<u32> {
    let at = (panel * tiles + min(step * 2u + item / (COLUMNS * 2u), tiles - 1u)) * (COLUMNS * 2u);
    return b[at + item % (COLUMNS * 2u)];
}

// Puts what `codes_of_column` read into the tile.
fn put_column(item: u32, x: vec4<u32>) {
    let column = item / 2u % COLUMNS;
    let at = (ROWS + column) * STRIDE + item / (COLUMNS * 2u) * 32u + item % 2u * 16u;
    put_codes(at, x.x);
    put_codes(at + 4u, x.y);
    put_codes(at + 8u, x.z);
    put_codes(at + 12u, x.w);
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
    let tiles = (params.k16 + 1u) / 2u;
    let steps = (tiles + 1u) / 2u;
    let panel = expert * params.panels + group.y;
    let own_row = index / 16u;
    // Rows beyond the tile are read as its last row, and not put.
    let row0 = source(first_row + min(own_row, ROWS - 1u)) * params.k16 * 4u;
    let row1 = source(first_row + min(own_row + A_ROWS, ROWS - 1u)) * params.k16 * 4u;
    let a_at = own_row * STRIDE + index % 16u * 4u;

    // With more subgroups than columns of matrices ask for, some compute the same with the same result.
    let column = subgroup % (8u / MATRIX_COLUMNS) * SIZE;
    let b_share = (ROWS + column) * STRIDE;
    let item = min(index, SIZE * WIDTH - 1u);
    let strip_at = item / WIDTH * STRIP_STRIDE + item % WIDTH * 4u;

    var x0 = codes_of_row(row0, tiles, 0u, index);
    var x1 = 0u;
    if ROWS > A_ROWS {
        x1 = codes_of_row(row1, tiles, 0u, index);
    }
    var y0 = codes_of_column(panel, tiles, 0u, index);
    var y1 = vec4<u32>();
    if B_LOADS > 1u {
        y1 = codes_of_column(panel, tiles, 0u, index + INVOCATIONS);
    }
    var total0 = vec4<i32>();
    var total1 = vec4<i32>();
    var total2 = vec4<i32>();
    var total3 = vec4<i32>();
    for (var flush = 0u; flush < steps; flush += FLUSH) {
        var c0 = MatrixC();
        var c1 = MatrixC();
        var c2 = MatrixC();
        var c3 = MatrixC();
        // There is at least one step. Compilers keep such a loop tighter than one that asks before the first.
        let end = min(flush + FLUSH, steps);
        var step = flush;
        loop {
            if ROWS >= A_ROWS || own_row < ROWS {
                put_codes(a_at, x0);
            }
            if ROWS > A_ROWS {
                put_codes(a_at + A_ROWS * STRIDE, x1);
            }
            put_column(index, y0);
            if B_LOADS > 1u {
                put_column(index + INVOCATIONS, y1);
            }
            workgroupBarrier();
            // The last step loads itself again, in vain.
            let next = min(step + 1u, steps - 1u);
            x0 = codes_of_row(row0, tiles, next, index);
            if ROWS > A_ROWS {
                x1 = codes_of_row(row1, tiles, next, index);
            }
            y0 = codes_of_column(panel, tiles, next, index);
            if B_LOADS > 1u {
                y1 = codes_of_column(panel, tiles, next, index + INVOCATIONS);
            }
            for (var k = 0u; k < STEP; k += SIZE) {
                let a0 = coopLoadT<MatrixA>(&tile[k], STRIDE);
                let a1 = coopLoadT<MatrixA>(&tile[(MATRIX_ROWS - 1u) * SIZE * STRIDE + k], STRIDE);
                let b0 = coopLoad<MatrixB>(&tile[b_share + k], STRIDE);
                c0 = coopMultiplyAdd(a0, b0, c0);
                if MATRIX_ROWS > 1u {
                    c1 = coopMultiplyAdd(a1, b0, c1);
                }
                if MATRIX_COLUMNS > 1u {
                    let b1 = coopLoad<MatrixB>(&tile[b_share + COLUMNS / 2u * STRIDE + k], STRIDE);
                    c2 = coopMultiplyAdd(a0, b1, c2);
                    if MATRIX_ROWS > 1u {
                        c3 = coopMultiplyAdd(a1, b1, c3);
                    }
                }
            }
            workgroupBarrier();
            step++;
            if step == end {
                break;
            }
        }

        coopStoreT(c0, &strip[column], STRIP_STRIDE);
        if MATRIX_COLUMNS > 1u {
            coopStoreT(c2, &strip[column + COLUMNS / 2u], STRIP_STRIDE);
        }
        workgroupBarrier();
        total0 += vec4<i32>(four_of_strip(strip_at));
        total1 += vec4<i32>(four_of_strip(strip_at + COLUMNS / 2u));
        workgroupBarrier();
        if MATRIX_ROWS > 1u {
            coopStoreT(c1, &strip[column], STRIP_STRIDE);
            if MATRIX_COLUMNS > 1u {
                coopStoreT(c3, &strip[column + COLUMNS / 2u], STRIP_STRIDE);
            }
            workgroupBarrier();
            total2 += vec4<i32>(four_of_strip(strip_at));
            total3 += vec4<i32>(four_of_strip(strip_at + COLUMNS / 2u));
            workgroupBarrier();
        }
    }
    if index >= SIZE * WIDTH {
        return;
    }
    let scale_at = panel * 2u * WIDTH + item % WIDTH;
    let scale0 = b_scale[scale_at];
    let scale1 = b_scale[scale_at + WIDTH];
    let row = first_row + item / WIDTH;
    store_scaled(group.y, item % WIDTH, row, total0, total1, scale0, scale1);
    if MATRIX_ROWS > 1u {
        store_scaled(group.y, item % WIDTH, row + SIZE, total2, total3, scale0, scale1);
    }
}
