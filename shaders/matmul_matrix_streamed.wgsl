// Grouped GEMM of few rows with cooperative matrices, sums in f32: each weight is read once for one or two rows of
// matrices. A workgroup computes ROWS x COLUMNS and takes 64 of k at a time through workgroup memory. While it
// multiplies, the next 64 are on their way into registers. The lines of MatrixA, MatrixB, MatrixC and SIZE are replaced
// for 16 x 16 matrices.
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

const MATRIX_ROWS: u32 = 1u; // of matrices per subgroup: 1 or 2
const MATRIX_COLUMNS: u32 = 1u; // per subgroup: 1, or 2 where a workgroup has only four subgroups
const INVOCATIONS: u32 = 256u;
const ROWS: u32 = MATRIX_ROWS * SIZE; // per tile
const COLUMNS: u32 = 8u * SIZE; // per tile
const STEP: u32 = 64u; // of k per tile: two tiles of weights
const STRIDE: u32 = STEP + 8u; // of a tile's rows: neighbours begin in different banks
const WIDTH: u32 = COLUMNS / 8u; // vec4 in half a panel
const STRIP_STRIDE: u32 = COLUMNS + 4u;
const LOADS: u32 = COLUMNS * STEP / 8u / INVOCATIONS; // of eight weights per invocation and step: 2 or 4
const A_ROWS: u32 = INVOCATIONS / 16u; // rows between two loads of an invocation
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

// What an invocation brings to one step.
struct Portion {
    a0: Element4,
    a1: Element4,
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

// The `i`-th eight weights of an invocation in a step. After the last tile of a panel this one is read again.
fn weights_of_step(panel: u32, tiles: u32, step: u32, i: u32, index: u32) -> Eight {
    let item = index + i * INVOCATIONS;
    let tile_of_step = item / (COLUMNS * 4u);
    let at = (panel * tiles + min(step * 2u + tile_of_step, tiles - 1u)) * (COLUMNS * 4u);
    return weights(at + item % (COLUMNS * 4u));
}

// Four numbers of a row of a. In the last tile the last four are read again beyond k, and the weights are zeros. After the
// last tile weights are read again, and the rows are zeros.
fn four_of_row(begin: u32, tiles: u32, step: u32, index: u32) -> Element4 {
    let k4 = step * (STEP / 4u) + index % 16u;
    let x = a[begin + min(k4, params.k4 - 1u)];
    return select(Element4(), x, k4 < tiles * 8u);
}

fn portion(begin0: u32, begin1: u32, panel: u32, tiles: u32, step: u32, index: u32) -> Portion {
    var brought = Portion();
    brought.a0 = four_of_row(begin0, tiles, step, index);
    if ROWS > A_ROWS {
        brought.a1 = four_of_row(begin1, tiles, step, index);
    }
    brought.b0 = weights_of_step(panel, tiles, step, 0u, index);
    brought.b1 = weights_of_step(panel, tiles, step, 1u, index);
    if LOADS > 2u {
        brought.b2 = weights_of_step(panel, tiles, step, 2u, index);
        brought.b3 = weights_of_step(panel, tiles, step, 3u, index);
    }
    return brought;
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

fn put_weights_of_step(i: u32, x: Eight, index: u32) {
    let item = index + i * INVOCATIONS;
    let tile_of_step = item / (COLUMNS * 4u);
    let column = item / 4u % COLUMNS;
    put_weights((ROWS + column) * STRIDE + tile_of_step * 32u + item % 4u * 8u, x);
}

fn put_portion(x: Portion, index: u32) {
    let at = index / 16u * STRIDE + index % 16u * 4u;
    if ROWS >= A_ROWS || index / 16u < ROWS {
        put_four(at, x.a0);
    }
    if ROWS > A_ROWS {
        put_four(at + A_ROWS * STRIDE, x.a1);
    }
    put_weights_of_step(0u, x.b0, index);
    put_weights_of_step(1u, x.b1, index);
    if LOADS > 2u {
        put_weights_of_step(2u, x.b2, index);
        put_weights_of_step(3u, x.b3, index);
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
    let tiles = (params.k4 + 7u) / 8u;
    let steps = (tiles + 1u) / 2u;
    let panel = expert * params.panels + group.y;
    // Rows beyond the tile are read as its last row, and not put.
    let begin0 = source(first_row + min(index / 16u, ROWS - 1u)) * params.k4;
    let begin1 = source(first_row + min(index / 16u + A_ROWS, ROWS - 1u)) * params.k4;

    // With more subgroups than columns of matrices ask for, some compute the same with the same result.
    let column = subgroup % (8u / MATRIX_COLUMNS) * SIZE;
    let b_share = (ROWS + column) * STRIDE;

    var c0 = MatrixC();
    var c1 = MatrixC();
    var c2 = MatrixC();
    var c3 = MatrixC();
    var own = portion(begin0, begin1, panel, tiles, 0u, index);
    var step = 0u;
    loop {
        put_portion(own, index);
        workgroupBarrier();
        // The last step loads itself again, in vain.
        own = portion(begin0, begin1, panel, tiles, min(step + 1u, steps - 1u), index);
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
        if step == steps {
            break;
        }
    }

    coopStoreT(c0, &strip[column], STRIP_STRIDE);
    if MATRIX_COLUMNS > 1u {
        coopStoreT(c2, &strip[column + COLUMNS / 2u], STRIP_STRIDE);
    }
    workgroupBarrier();
    give(group.y, first_row, index);
    if MATRIX_ROWS > 1u {
        workgroupBarrier();
        coopStoreT(c1, &strip[column], STRIP_STRIDE);
        if MATRIX_COLUMNS > 1u {
            coopStoreT(c3, &strip[column + COLUMNS / 2u], STRIP_STRIDE);
        }
        workgroupBarrier();
        give(group.y, first_row + SIZE, index);
    }
}
