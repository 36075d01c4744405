// Grouped GEMM with cooperative matrices, sums in f32. A workgroup computes ROWS x COLUMNS and takes 32 of k at a time
// through workgroup memory. While it multiplies, the next 32 are on their way into registers. Each subgroup owns 2 or 4
// rows of 4 matrices: no sum is computed twice where a workgroup has exactly SHARES subgroups. The lines of MatrixA,
// MatrixB, MatrixC and SIZE are replaced for 16 x 16 matrices.
//
//   c[row, :] = a[source(row), :] * b[expert(row)]               SWIGLU = false
//   c[row, :] = silu(a * b_gate) .* (a * b_up)                   SWIGLU = true
//
// Rows are sorted by expert and padded, so that all rows of a workgroup belong to one expert. Weights are stored in
// panels as wide as a workgroup, and inside a panel as one tile after another: [experts, panels, k / 32, 2, columns, 32].
// The 2 are neighbouring blocks of columns, or gate and up. Padding of k and of the last panel holds zeros.
enable wgpu_cooperative_matrix;
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }
alias Number = f32;
alias MatrixA = coop_mat8x8<Number, A>;
alias MatrixB = coop_mat8x8<Number, B>;
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
const A_LOADS: u32 = ROWS * STEP / 4u / INVOCATIONS; // vec4 per invocation and step: 2 or 4
const B_LOADS: u32 = COLUMNS * STEP / 8u / INVOCATIONS; // pairs of vec4: 2 or 4
const A_ROWS: u32 = INVOCATIONS / 8u; // rows between two loads of an invocation
const B_COLUMNS: u32 = INVOCATIONS / 4u; // columns between two loads of an invocation
const NONE: u32 = 0xFFFFFFFFu;

struct Params {
    k4: u32,       // k / 4, rounded up
    n4: u32,       // columns of c / 4, rounded up
    panels: u32,   // column panels per expert
    top_k: u32,    // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Element4>;        // [tokens or rows, k]
@group(0) @binding(2) var<storage, read> b: array<Element4>;        // [experts, panels, k / 32, 2, columns, 32]
@group(0) @binding(3) var<storage, read> block_expert: array<u32>;  // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;   // [rows], NONE: padding
@group(0) @binding(5) var<storage, read_write> c: array<Element4>;  // [rows, n]

// The tiles come first: so their rows begin at multiples of 16 bytes.
var<workgroup> tile: array<Number, (ROWS + COLUMNS) * STRIDE>; // [row of a or column of b, k]
var<workgroup> strip: array<f32, SIZE * STRIP_STRIDE>; // a row of matrices of the result: [row, column]
var<workgroup> tile_expert: u32;

// Eight neighbours along k.
struct Eight {
    low: Element4,
    high: Element4,
}

// Where an invocation reads: one vec4 of k of some rows, and eight of k of some columns.
struct Place {
    row0: u32, // beginnings of rows of a
    row1: u32,
    row2: u32,
    row3: u32,
    k4: u32, // in a step
    weights: u32, // the beginning of the panel, in eights
}

// What an invocation brings to one step.
struct Share {
    a0: Element4,
    a1: Element4,
    a2: Element4,
    a3: Element4,
    b0: Eight,
    b1: Eight,
    b2: Eight,
    b3: Eight,
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

// Eight weights of a column.
fn weights(at: u32) -> Eight {
    return Eight(b[at * 2u], b[at * 2u + 1u]);
}

// Beyond k the last four numbers of a row are read again, and the weights are zeros.
fn fetch(place: Place, step: u32, index: u32) -> Share {
    let k4 = min(step * (STEP / 4u) + place.k4, params.k4 - 1u);
    let first = place.weights + step * (COLUMNS * STEP / 8u) + index;
    var share = Share();
    share.a0 = a[place.row0 + k4];
    share.a1 = a[place.row1 + k4];
    if A_LOADS > 2u {
        share.a2 = a[place.row2 + k4];
        share.a3 = a[place.row3 + k4];
    }
    share.b0 = weights(first);
    share.b1 = weights(first + INVOCATIONS);
    if B_LOADS > 2u {
        share.b2 = weights(first + 2u * INVOCATIONS);
        share.b3 = weights(first + 3u * INVOCATIONS);
    }
    return share;
}

fn put_four(at: u32, stored: Element4) {
    let x = vec4<Number>(widen(stored));
    tile[at] = x.x;
    tile[at + 1u] = x.y;
    tile[at + 2u] = x.z;
    tile[at + 3u] = x.w;
}

// Puts what `weights` read into the tile.
fn put_weights(at: u32, x: Eight) {
    put_four(at, x.low);
    put_four(at + 4u, x.high);
}

fn put(a_at: u32, b_at: u32, share: Share) {
    put_four(a_at, share.a0);
    put_four(a_at + A_ROWS * STRIDE, share.a1);
    if A_LOADS > 2u {
        put_four(a_at + 2u * A_ROWS * STRIDE, share.a2);
        put_four(a_at + 3u * A_ROWS * STRIDE, share.a3);
    }
    put_weights(b_at, share.b0);
    put_weights(b_at + B_COLUMNS * STRIDE, share.b1);
    if B_LOADS > 2u {
        put_weights(b_at + 2u * B_COLUMNS * STRIDE, share.b2);
        put_weights(b_at + 3u * B_COLUMNS * STRIDE, share.b3);
    }
}

fn four_of_strip(at: u32) -> vec4<f32> {
    return vec4(strip[at], strip[at + 1u], strip[at + 2u], strip[at + 3u]);
}

// Stores a row of matrices, which the strip holds.
fn give(panel: u32, first_row: u32, index: u32) {
    for (var item = index; item < SIZE * WIDTH; item += INVOCATIONS) {
        let row = item / WIDTH;
        let column = item % WIDTH;
        let at = row * STRIP_STRIDE + column * 4u;
        store(panel, column, first_row + row, four_of_strip(at), four_of_strip(at + COLUMNS / 2u));
    }
}

@compute @workgroup_size(INVOCATIONS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    if index == 0u {
        tile_expert = block_expert[group.x];
    }
    let expert = workgroupUniformLoad(&tile_expert);
    if expert == NONE {
        return;
    }
    let first_row = group.x * ROWS;
    let steps = (params.k4 + 7u) / 8u;
    // With more subgroups than shares, some compute the same share with the same result.
    let row_share = subgroup % SHARES / 2u;
    let column = subgroup % 2u * 2u * SIZE;
    let a_share = row_share * MATRIX_ROWS * SIZE * STRIDE;
    let b_share = (ROWS + column) * STRIDE;
    let up = COLUMNS / 2u * STRIDE;

    let own_row = index / 8u;
    var place = Place();
    place.row0 = source(first_row + own_row) * params.k4;
    place.row1 = source(first_row + own_row + A_ROWS) * params.k4;
    if A_LOADS > 2u {
        place.row2 = source(first_row + own_row + 2u * A_ROWS) * params.k4;
        place.row3 = source(first_row + own_row + 3u * A_ROWS) * params.k4;
    }
    place.k4 = index % 8u;
    place.weights = (expert * params.panels + group.y) * steps * (COLUMNS * STEP / 8u);
    let a_at = own_row * STRIDE + index % 8u * 4u;
    let b_at = (ROWS + index / 4u) * STRIDE + index % 4u * 8u;

    var share = fetch(place, 0u, index);
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
    var step = 0u;
    loop {
        put(a_at, b_at, share);
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
                share = fetch(place, min(step + 1u, steps - 1u), index);
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
        if step == steps {
            break;
        }
    }

    for (var turn = 0u; turn < ROW_SHARES; turn++) {
        let row = first_row + turn * MATRIX_ROWS * SIZE;
        if row_share == turn {
            coopStoreT(c00, &strip[column], STRIP_STRIDE);
            coopStoreT(c01, &strip[column + SIZE], STRIP_STRIDE);
            coopStoreT(c02, &strip[column + COLUMNS / 2u], STRIP_STRIDE);
            coopStoreT(c03, &strip[column + COLUMNS / 2u + SIZE], STRIP_STRIDE);
        }
        workgroupBarrier();
        give(group.y, row, index);
        workgroupBarrier();
        if row_share == turn {
            coopStoreT(c10, &strip[column], STRIP_STRIDE);
            coopStoreT(c11, &strip[column + SIZE], STRIP_STRIDE);
            coopStoreT(c12, &strip[column + COLUMNS / 2u], STRIP_STRIDE);
            coopStoreT(c13, &strip[column + COLUMNS / 2u + SIZE], STRIP_STRIDE);
        }
        workgroupBarrier();
        give(group.y, row + SIZE, index);
        workgroupBarrier();
        if MATRIX_ROWS > 2u {
            if row_share == turn {
                coopStoreT(c20, &strip[column], STRIP_STRIDE);
                coopStoreT(c21, &strip[column + SIZE], STRIP_STRIDE);
                coopStoreT(c22, &strip[column + COLUMNS / 2u], STRIP_STRIDE);
                coopStoreT(c23, &strip[column + COLUMNS / 2u + SIZE], STRIP_STRIDE);
            }
            workgroupBarrier();
            give(group.y, row + 2u * SIZE, index);
            workgroupBarrier();
            if row_share == turn {
                coopStoreT(c30, &strip[column], STRIP_STRIDE);
                coopStoreT(c31, &strip[column + SIZE], STRIP_STRIDE);
                coopStoreT(c32, &strip[column + COLUMNS / 2u], STRIP_STRIDE);
                coopStoreT(c33, &strip[column + COLUMNS / 2u + SIZE], STRIP_STRIDE);
            }
            workgroupBarrier();
            give(group.y, row + 3u * SIZE, index);
            workgroupBarrier();
        }
    }
}
