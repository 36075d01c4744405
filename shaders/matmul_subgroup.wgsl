// Grouped GEMM, register-blocked; a subgroup shares the rows. One invocation computes ROWS rows x 8 columns. Of each 8
// rows of `a`, lane i loads row i % 8 and broadcasts it. A subgroup so reads each row once and needs no barrier. It
// needs subgroups of at least 8 lanes. With 8 rows and one subgroup per workgroup it also streams weights for few
// tokens.
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
override WIDTH: u32 = 8u;  // invocations along the columns; each owns two vec4

const ROWS: u32 = 16u; // per invocation; a multiple of 8
const BLOCKS: u32 = ROWS / 8u;
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

@compute @workgroup_size(WIDTH, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let expert = block_expert[group.x];
    if expert == NONE {
        return;
    }
    let first_row = group.x * ROWS;
    // The row of each 8 that this lane loads for all lanes.
    var a_at = array<u32, BLOCKS>();
    for (var i = 0u; i < BLOCKS; i++) {
        a_at[i] = source(first_row + i * 8u + lane % 8u) * params.k4;
    }
    var sum0 = array<vec4<f32>, ROWS>();
    var sum1 = array<vec4<f32>, ROWS>();
    var at = (expert * params.panels + group.y) * params.k4 * 8u * WIDTH + local.x;
    for (var k = 0u; k < params.k4; k++) {
        let left0 = widen(b[at]);
        let right0 = widen(b[at + WIDTH]);
        let left1 = widen(b[at + 2u * WIDTH]);
        let right1 = widen(b[at + 3u * WIDTH]);
        let left2 = widen(b[at + 4u * WIDTH]);
        let right2 = widen(b[at + 5u * WIDTH]);
        let left3 = widen(b[at + 6u * WIDTH]);
        let right3 = widen(b[at + 7u * WIDTH]);
        at += 8u * WIDTH;
        for (var i = 0u; i < BLOCKS; i++) {
            let own = widen(a[a_at[i] + k]);
            let row = i * 8u;
            // A broadcast needs a constant lane, so the eight are written out.
            let x0 = subgroupBroadcast(own, 0u);
            sum0[row + 0u] = add_four_products(x0, left0, left1, left2, left3, sum0[row + 0u]);
            sum1[row + 0u] = add_four_products(x0, right0, right1, right2, right3, sum1[row + 0u]);
            let x1 = subgroupBroadcast(own, 1u);
            sum0[row + 1u] = add_four_products(x1, left0, left1, left2, left3, sum0[row + 1u]);
            sum1[row + 1u] = add_four_products(x1, right0, right1, right2, right3, sum1[row + 1u]);
            let x2 = subgroupBroadcast(own, 2u);
            sum0[row + 2u] = add_four_products(x2, left0, left1, left2, left3, sum0[row + 2u]);
            sum1[row + 2u] = add_four_products(x2, right0, right1, right2, right3, sum1[row + 2u]);
            let x3 = subgroupBroadcast(own, 3u);
            sum0[row + 3u] = add_four_products(x3, left0, left1, left2, left3, sum0[row + 3u]);
            sum1[row + 3u] = add_four_products(x3, right0, right1, right2, right3, sum1[row + 3u]);
            let x4 = subgroupBroadcast(own, 4u);
            sum0[row + 4u] = add_four_products(x4, left0, left1, left2, left3, sum0[row + 4u]);
            sum1[row + 4u] = add_four_products(x4, right0, right1, right2, right3, sum1[row + 4u]);
            let x5 = subgroupBroadcast(own, 5u);
            sum0[row + 5u] = add_four_products(x5, left0, left1, left2, left3, sum0[row + 5u]);
            sum1[row + 5u] = add_four_products(x5, right0, right1, right2, right3, sum1[row + 5u]);
            let x6 = subgroupBroadcast(own, 6u);
            sum0[row + 6u] = add_four_products(x6, left0, left1, left2, left3, sum0[row + 6u]);
            sum1[row + 6u] = add_four_products(x6, right0, right1, right2, right3, sum1[row + 6u]);
            let x7 = subgroupBroadcast(own, 7u);
            sum0[row + 7u] = add_four_products(x7, left0, left1, left2, left3, sum0[row + 7u]);
            sum1[row + 7u] = add_four_products(x7, right0, right1, right2, right3, sum1[row + 7u]);
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        store(group.y, local.x, first_row + i, sum0[i], sum1[i]);
    }
}
