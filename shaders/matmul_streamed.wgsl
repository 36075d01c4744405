// Grouped GEMM for few rows per expert (decode). Each weight is read as part of a vec4, by one of SPLIT_K invocations.
// These divide k between them and add their sums through workgroup memory. An invocation multiplies a weight with ROWS
// rows. With more rows, GROUPS invocations read it at about the same time, so that it comes from memory once. All rows
// of `a` pass through workgroup memory, CHUNK_K4 of k at a time. Rows are written out, since compilers may keep an
// array in memory when a loop indexes it.
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
override WIDTH: u32 = 32u;  // invocations along the columns; each owns two vec4
override SPLIT_K: u32 = 8u; // invocations that share the k of a column
override GROUPS: u32 = 1u;  // invocations along the rows

const ROWS: u32 = 8u; // per invocation: 2 or 8
override TILE_ROWS: u32 = ROWS * GROUPS;
override INVOCATIONS: u32 = WIDTH * SPLIT_K * GROUPS;
override CHUNK_K4: u32 = 2u * INVOCATIONS / TILE_ROWS;
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

// First rows of `a`, [TILE_ROWS, CHUNK_K4]; then the sums of one row per invocation, [2, GROUPS, SPLIT_K, WIDTH].
var<workgroup> tile: array<vec4<f32>, 2u * INVOCATIONS>;

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

// sum + x.x * y0 + x.y * y1 + x.z * y2 + x.w * y3
fn add_four_products(
    x: vec4<f32>,
    y0: vec4<f32>,
    y1: vec4<f32>,
    y2: vec4<f32>,
    y3: vec4<f32>,
    sum: vec4<f32>,
) -> vec4<f32> {
    return fma(vec4(x.w), y3, fma(vec4(x.z), y2, fma(vec4(x.y), y1, fma(vec4(x.x), y0, sum))));
}

// The sum of SPLIT_K vec4 of the tile.
fn add_up(first: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var part = 0u; part < SPLIT_K; part++) {
        sum += tile[first + part * WIDTH];
    }
    return sum;
}

// Adds the sums of a row over the invocations of a column, and stores them. The invocations take turns.
fn finish(panel: u32, local: vec3<u32>, row: u32, sum0: vec4<f32>, sum1: vec4<f32>) {
    let first = local.z * SPLIT_K * WIDTH + local.x;
    workgroupBarrier();
    tile[first + local.y * WIDTH] = sum0;
    tile[first + local.y * WIDTH + INVOCATIONS] = sum1;
    workgroupBarrier();
    if local.y == row % SPLIT_K {
        store(panel, local.x, row, add_up(first), add_up(first + INVOCATIONS));
    }
}

@compute @workgroup_size(WIDTH, SPLIT_K, GROUPS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let expert = block_expert[group.x];
    if expert == NONE {
        return;
    }
    // Each invocation loads two vec4 of every chunk, of rows that are half a tile apart.
    let a_k4 = index % CHUNK_K4;
    let a_row = group.x * TILE_ROWS + index / CHUNK_K4;
    let a_at0 = source(a_row) * params.k4;
    let a_at1 = source(a_row + TILE_ROWS / 2u) * params.k4;
    let b_at = (expert * params.panels + group.y) * params.k4 * 8u * WIDTH + local.x;
    let rows = local.z * ROWS * CHUNK_K4;

    var sum0 = array<vec4<f32>, 8>();
    var sum1 = array<vec4<f32>, 8>();
    for (var begin = 0u; begin < params.k4; begin += CHUNK_K4) {
        let a_k = min(begin + a_k4, params.k4 - 1u);
        let first = widen(a[a_at0 + a_k]);
        let second = widen(a[a_at1 + a_k]);
        workgroupBarrier();
        tile[index] = first;
        tile[index + INVOCATIONS] = second;
        workgroupBarrier();
        let length = min(CHUNK_K4, params.k4 - begin);
        for (var k = local.y; k < length; k += SPLIT_K) {
            let at = b_at + (begin + k) * 8u * WIDTH;
            let left0 = widen(b[at]);
            let right0 = widen(b[at + WIDTH]);
            let left1 = widen(b[at + 2u * WIDTH]);
            let right1 = widen(b[at + 3u * WIDTH]);
            let left2 = widen(b[at + 4u * WIDTH]);
            let right2 = widen(b[at + 5u * WIDTH]);
            let left3 = widen(b[at + 6u * WIDTH]);
            let right3 = widen(b[at + 7u * WIDTH]);
            let x = rows + k;
            let row0 = tile[x];
            sum0[0] = add_four_products(row0, left0, left1, left2, left3, sum0[0]);
            sum1[0] = add_four_products(row0, right0, right1, right2, right3, sum1[0]);
            let row1 = tile[x + CHUNK_K4];
            sum0[1] = add_four_products(row1, left0, left1, left2, left3, sum0[1]);
            sum1[1] = add_four_products(row1, right0, right1, right2, right3, sum1[1]);
            if ROWS > 2u {
                let row2 = tile[x + 2u * CHUNK_K4];
                sum0[2] = add_four_products(row2, left0, left1, left2, left3, sum0[2]);
                sum1[2] = add_four_products(row2, right0, right1, right2, right3, sum1[2]);
                let row3 = tile[x + 3u * CHUNK_K4];
                sum0[3] = add_four_products(row3, left0, left1, left2, left3, sum0[3]);
                sum1[3] = add_four_products(row3, right0, right1, right2, right3, sum1[3]);
                let row4 = tile[x + 4u * CHUNK_K4];
                sum0[4] = add_four_products(row4, left0, left1, left2, left3, sum0[4]);
                sum1[4] = add_four_products(row4, right0, right1, right2, right3, sum1[4]);
                let row5 = tile[x + 5u * CHUNK_K4];
                sum0[5] = add_four_products(row5, left0, left1, left2, left3, sum0[5]);
                sum1[5] = add_four_products(row5, right0, right1, right2, right3, sum1[5]);
                let row6 = tile[x + 6u * CHUNK_K4];
                sum0[6] = add_four_products(row6, left0, left1, left2, left3, sum0[6]);
                sum1[6] = add_four_products(row6, right0, right1, right2, right3, sum1[6]);
                let row7 = tile[x + 7u * CHUNK_K4];
                sum0[7] = add_four_products(row7, left0, left1, left2, left3, sum0[7]);
                sum1[7] = add_four_products(row7, right0, right1, right2, right3, sum1[7]);
            }
        }
    }
    let row = group.x * TILE_ROWS + local.z * ROWS;
    finish(group.y, local, row, sum0[0], sum1[0]);
    finish(group.y, local, row + 1u, sum0[1], sum1[1]);
    if ROWS > 2u {
        finish(group.y, local, row + 2u, sum0[2], sum1[2]);
        finish(group.y, local, row + 3u, sum0[3], sum1[3]);
        finish(group.y, local, row + 4u, sum0[4], sum1[4]);
        finish(group.y, local, row + 5u, sum0[5], sum1[5]);
        finish(group.y, local, row + 6u, sum0[6], sum1[6]);
        finish(group.y, local, row + 7u, sum0[7], sum1[7]);
    }
}
