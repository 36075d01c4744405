// Grouped GEMM through workgroup memory that keeps the stored type. It is matmul_tiled with half the traffic of
// workgroup memory in f16, and operands that are widened each time they are read. It suits devices whose multiply-add
// takes f16 operands and f32 sums (Vega, RDNA 1 and 2, Apple). Others widen in instructions of their own, or multiply
// at half the rate (RDNA 3).
//
//   c[row, :] = a[source(row), :] * b[expert(row)]               SWIGLU = false
//   c[row, :] = silu(a * b_gate) .* (a * b_up)                   SWIGLU = true
//
// Rows are sorted by expert and padded, so that all rows of a workgroup belong to one expert. Weights are stored in
// panels as wide as a workgroup: [experts, panels, k, 2, WIDTH] in vec4. The 2 are neighbouring blocks of columns, or
// gate and up. Each workgroup therefore reads one stream. Padding of k and of the last panel holds zeros.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override SWIGLU: bool = false;

const ROWS: u32 = 8u; // per invocation: 4 or 8
const WIDTH: u32 = 2u * ROWS; // invocations along the columns; each owns two vec4
const HEIGHT: u32 = 16u; // invocations along the rows
const INVOCATIONS: u32 = WIDTH * HEIGHT;
const TILE_ROWS: u32 = ROWS * HEIGHT;
const TILE_K4: u32 = 4u;
const STRIDE: u32 = TILE_K4 + 2u; // of a row in tile_a; its padding spreads rows over the banks
const NONE: u32 = 0xFFFFFFFFu;

struct Params {
    k4: u32,       // k / 4, rounded up
    n4: u32,       // columns of c / 4, rounded up
    panels: u32,   // column panels per expert
    top_k: u32,    // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Element4>;       // [tokens or rows, k]
@group(0) @binding(2) var<storage, read> b: array<Element4>;       // [experts, panels, k, 2, WIDTH]
@group(0) @binding(3) var<storage, read> block_expert: array<u32>; // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;  // [rows], NONE: padding
@group(0) @binding(5) var<storage, read_write> c: array<Element4>; // [rows, n]

var<workgroup> tile_a: array<Element4, TILE_ROWS * STRIDE>; // [rows, STRIDE]
var<workgroup> tile_b: array<array<Element4, 2u * WIDTH>, 4u * TILE_K4>; // [k, 2, WIDTH]

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

// sum + the products of a column of four rows and a row of four columns
fn add_outer(x: vec4<f32>, y: vec4<f32>, sum: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4(
        fma(vec4(x.x), y, sum[0]),
        fma(vec4(x.y), y, sum[1]),
        fma(vec4(x.z), y, sum[2]),
        fma(vec4(x.w), y, sum[3]),
    );
}

// Four rows of tile_a at one vec4 of k: [k], four rows each. The rows are HEIGHT apart.
fn four_stored_rows(first: u32, k4: u32) -> mat4x4<f32> {
    let at = first * STRIDE + k4;
    return transpose(mat4x4(
        widen(tile_a[at]),
        widen(tile_a[at + HEIGHT * STRIDE]),
        widen(tile_a[at + 2u * HEIGHT * STRIDE]),
        widen(tile_a[at + 3u * HEIGHT * STRIDE]),
    ));
}

// Stores the sums of four rows.
fn store_rows(panel: u32, column: u32, first: u32, sum0: mat4x4<f32>, sum1: mat4x4<f32>) {
    store(panel, column, first, sum0[0], sum1[0]);
    store(panel, column, first + HEIGHT, sum0[1], sum1[1]);
    store(panel, column, first + 2u * HEIGHT, sum0[2], sum1[2]);
    store(panel, column, first + 3u * HEIGHT, sum0[3], sum1[3]);
}

@compute @workgroup_size(WIDTH, HEIGHT, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let expert = block_expert[group.x];
    if expert == NONE {
        return;
    }
    let first_row = group.x * TILE_ROWS;
    // Each invocation loads two vec4 of `a`, of rows that are half a tile apart, and two of `b`.
    let a_k4 = index % TILE_K4;
    let a_row = index / TILE_K4;
    let a_at0 = source(first_row + a_row) * params.k4;
    let a_at1 = source(first_row + a_row + TILE_ROWS / 2u) * params.k4;
    let a_tile = a_row * STRIDE + a_k4;
    let b_column = index % (2u * WIDTH);
    let b_k = index / (2u * WIDTH);
    let b_begin = (expert * params.panels + group.y) * params.k4 * 8u * WIDTH;
    let b_last = b_begin + params.k4 * 8u * WIDTH - 1u;
    let b_at = b_begin + index;

    // The sums of the first and of the last four rows, in both vec4 of columns.
    var first0 = mat4x4<f32>();
    var first1 = mat4x4<f32>();
    var last0 = mat4x4<f32>();
    var last1 = mat4x4<f32>();
    for (var k4 = 0u; k4 < params.k4; k4 += TILE_K4) {
        let k = min(k4 + a_k4, params.k4 - 1u);
        let x0 = a[a_at0 + k];
        let x1 = a[a_at1 + k];
        let at = b_at + k4 * 8u * WIDTH;
        let y0 = b[min(at, b_last)];
        let y1 = b[min(at + INVOCATIONS, b_last)];
        tile_a[a_tile] = x0;
        tile_a[a_tile + TILE_ROWS / 2u * STRIDE] = x1;
        tile_b[b_k][b_column] = y0;
        tile_b[b_k + HEIGHT / 2u][b_column] = y1;
        // Beyond k, `a` counts as zero, and any weight will do. Selecting zeros above would make each load wait.
        if k4 + a_k4 >= params.k4 {
            tile_a[a_tile] = Element4();
            tile_a[a_tile + TILE_ROWS / 2u * STRIDE] = Element4();
        }
        workgroupBarrier();
        // Not all compilers unroll four turns at once.
        for (var i = 0u; i < TILE_K4; i += 2u) {
            for (var j = 0u; j < 2u; j++) {
                let at_k4 = i + j;
                let first_rows = four_stored_rows(local.y, at_k4);
                var last_rows = mat4x4<f32>();
                if ROWS > 4u {
                    last_rows = four_stored_rows(local.y + 4u * HEIGHT, at_k4);
                }
                let left0 = widen(tile_b[at_k4 * 4u][local.x]);
                let right0 = widen(tile_b[at_k4 * 4u][local.x + WIDTH]);
                first0 = add_outer(first_rows[0], left0, first0);
                first1 = add_outer(first_rows[0], right0, first1);
                if ROWS > 4u {
                    last0 = add_outer(last_rows[0], left0, last0);
                    last1 = add_outer(last_rows[0], right0, last1);
                }
                let left1 = widen(tile_b[at_k4 * 4u + 1u][local.x]);
                let right1 = widen(tile_b[at_k4 * 4u + 1u][local.x + WIDTH]);
                first0 = add_outer(first_rows[1], left1, first0);
                first1 = add_outer(first_rows[1], right1, first1);
                if ROWS > 4u {
                    last0 = add_outer(last_rows[1], left1, last0);
                    last1 = add_outer(last_rows[1], right1, last1);
                }
                let left2 = widen(tile_b[at_k4 * 4u + 2u][local.x]);
                let right2 = widen(tile_b[at_k4 * 4u + 2u][local.x + WIDTH]);
                first0 = add_outer(first_rows[2], left2, first0);
                first1 = add_outer(first_rows[2], right2, first1);
                if ROWS > 4u {
                    last0 = add_outer(last_rows[2], left2, last0);
                    last1 = add_outer(last_rows[2], right2, last1);
                }
                let left3 = widen(tile_b[at_k4 * 4u + 3u][local.x]);
                let right3 = widen(tile_b[at_k4 * 4u + 3u][local.x + WIDTH]);
                first0 = add_outer(first_rows[3], left3, first0);
                first1 = add_outer(first_rows[3], right3, first1);
                if ROWS > 4u {
                    last0 = add_outer(last_rows[3], left3, last0);
                    last1 = add_outer(last_rows[3], right3, last1);
                }
            }
        }
        workgroupBarrier();
    }
    let row = first_row + local.y;
    store_rows(group.y, local.x, row, first0, first1);
    if ROWS > 4u {
        store_rows(group.y, local.x, row + 4u * HEIGHT, last0, last1);
    }
}
