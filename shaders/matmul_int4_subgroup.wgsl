// Grouped GEMM of int4 weights with f16 activations. One invocation computes ROWS rows x 8 columns and shares rows by
// broadcast as matmul_subgroup.wgsl does. It needs subgroups of at least 8 lanes.
//
//   c[row, :] = a[source(row), :] * (b_scale * b[expert(row)])   SWIGLU = false
//   c[row, :] = silu(the same of gate) .* (the same of up)       SWIGLU = true
//
// Activations are binary16, two per word. Weights are int4, eight of k per word; a stored code is the value plus 8. 32
// of k share one binary16 scale.
//
// Rows are sorted by expert and padded, so that all rows of a workgroup belong to one expert. Weights are stored in
// panels as wide as a workgroup: [experts, panels, k / 8, 2, WIDTH] in vec4 of words. The 2 are neighbouring blocks of
// columns, or gate and up. Each workgroup therefore reads one stream. Padding of k and of the last panel holds zeros.

override SWIGLU: bool = false;
override WIDTH: u32 = 8u;  // invocations along the columns; each owns two vec4

const ROWS: u32 = 16u; // per invocation; a multiple of 8
const BLOCKS: u32 = ROWS / 8u;
const NONE: u32 = 0xFFFFFFFFu;

struct Params {
    groups: u32,   // of 32 of k, rounded up
    n4: u32,       // columns of c / 4, rounded up
    panels: u32,   // column panels per expert
    top_k: u32,    // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec2<u32>>;       // [tokens or rows, k], four per vec2
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;       // [experts, panels, k / 8, 2, WIDTH], eight of k per word
@group(0) @binding(3) var<storage, read> block_expert: array<u32>;  // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;   // [rows], NONE: padding
@group(0) @binding(5) var<storage, read> b_scale: array<vec2<u32>>; // [experts, panels, k / 32, 2, WIDTH], four columns per vec2
@group(0) @binding(6) var<storage, read_write> c: array<vec2<u32>>; // [rows, n]

fn widen(x: vec2<u32>) -> vec4<f32> {
    return vec4(unpack2x16float(x.x), unpack2x16float(x.y));
}

fn narrow(x: vec4<f32>) -> vec2<u32> {
    return vec2(pack2x16float(x.xy), pack2x16float(x.zw));
}

// The values of four words whose codes begin at bit `shift`, without their scale.
fn code(x: vec4<u32>, shift: u32) -> vec4<f32> {
    return vec4<f32>((x >> vec4(shift)) & vec4(15u)) - 8.0;
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
        a_at[i] = source(first_row + i * 8u + lane % 8u) * params.groups * 8u;
    }
    var sum0 = array<vec4<f32>, ROWS>();
    var sum1 = array<vec4<f32>, ROWS>();
    let panel = expert * params.panels + group.y;
    for (var g = 0u; g < params.groups; g += 1u) {
        let scale_at = (panel * params.groups + g) * 2u * WIDTH + local.x;
        let scale0 = widen(b_scale[scale_at]);
        let scale1 = widen(b_scale[scale_at + WIDTH]);
        var at = (panel * params.groups + g) * 8u * WIDTH + local.x;
        for (var k4 = g * 8u; k4 < g * 8u + 8u; k4 += 2u) {
            let left = b[at];
            let right = b[at + WIDTH];
            at += 2u * WIDTH;
            { // k 0 to 3 of the word
                let left0 = code(left, 0u) * scale0;
                let left1 = code(left, 4u) * scale0;
                let left2 = code(left, 8u) * scale0;
                let left3 = code(left, 12u) * scale0;
                let right0 = code(right, 0u) * scale1;
                let right1 = code(right, 4u) * scale1;
                let right2 = code(right, 8u) * scale1;
                let right3 = code(right, 12u) * scale1;
                for (var i = 0u; i < BLOCKS; i++) {
                    let own = widen(a[a_at[i] + k4 + 0u]);
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
            { // k 4 to 7 of the word
                let left0 = code(left, 16u) * scale0;
                let left1 = code(left, 20u) * scale0;
                let left2 = code(left, 24u) * scale0;
                let left3 = code(left, 28u) * scale0;
                let right0 = code(right, 16u) * scale1;
                let right1 = code(right, 20u) * scale1;
                let right2 = code(right, 24u) * scale1;
                let right3 = code(right, 28u) * scale1;
                for (var i = 0u; i < BLOCKS; i++) {
                    let own = widen(a[a_at[i] + k4 + 1u]);
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
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        store(group.y, local.x, first_row + i, sum0[i], sum1[i]);
    }
}
