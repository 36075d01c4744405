// Grouped GEMM of quantised weights with f16 activations. One invocation computes ROWS rows x 8 columns and shares rows
// by broadcast as matmul_subgroup.wgsl does. It needs subgroups of at least 8 lanes.
//
//   c[row, :] = a[source(row), :] * (b_scale * b[expert(row)])   SWIGLU = false
//   c[row, :] = silu(the same of gate) .* (the same of up)       SWIGLU = true
//
// Rows are sorted by expert and padded, so that all rows of a workgroup belong to one expert. Weights are stored in
// panels as wide as a workgroup. Each workgroup therefore reads one stream. Padding of k and of the last panel holds
// zeros. As it stands, this file is for int4; lines are replaced for fp8, mxfp4 and nvfp4 (src/kernels/dequantise.rs).
alias Codes = u32; // of eight columns at one k
alias ColumnScales = vec4<u32>; // eight binary16

override SWIGLU: bool = false;
override WIDTH: u32 = 8u;  // invocations along the columns; each owns two vec4

const ROWS: u32 = 16u; // per invocation; a multiple of 8
const BLOCKS: u32 = ROWS / 8u;
const STEP4: u32 = 8u; // fours of k per step, in which a column has one scale
const NONE: u32 = 0xFFFFFFFFu;

struct Params {
    steps: u32,    // of 4 * STEP4 of k, rounded up
    n4: u32,       // columns of c / 4, rounded up
    panels: u32,   // column panels per expert
    top_k: u32,    // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

// Numbers of an invocation's columns: four in the left and four in the right half of its panel. The halves are
// neighbouring blocks of columns, or gate and up.
struct Columns {
    left: vec4<f32>,
    right: vec4<f32>,
}

struct Scales {
    left: vec4<f32>,
    right: vec4<f32>,
    left_zero: vec4<f32>, // what a weight of zero makes in `decode`, negative
    right_zero: vec4<f32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec2<u32>>;       // [tokens or rows, k], four per vec2
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;       // [experts, panels, k / 4, WIDTH] Codes of four k
@group(0) @binding(3) var<storage, read> block_expert: array<u32>;  // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;   // [rows], NONE: padding
@group(0) @binding(5) var<storage, read_write> c: array<vec2<u32>>; // [rows, n]
@group(0) @binding(6) var<storage, read> b_scale: array<ColumnScales>; // [experts, panels, steps, WIDTH], or of blocks

fn widen(x: vec2<u32>) -> vec4<f32> {
    return vec4(unpack2x16float(x.x), unpack2x16float(x.y));
}

fn narrow(x: vec4<f32>) -> vec2<u32> {
    return vec2(pack2x16float(x.xy), pack2x16float(x.zw));
}

// The scales of this invocation's columns in one step of k; on the right they are divided by 16 for `decode`.
fn scales(expert: u32, panel: u32, step: u32, column: u32) -> Scales {
    let x = b_scale[((expert * params.panels + panel) * params.steps + step) * WIDTH + column];
    let left = vec4(unpack2x16float(x.x), unpack2x16float(x.y));
    let right = vec4(unpack2x16float(x.z), unpack2x16float(x.w)) / 16.0;
    return Scales(left, right, left * -1032.0, right * -1152.0);
}

// The codes of four k.
fn four_codes(row: u32, column: u32) -> array<Codes, 4> {
    let x = b[row * WIDTH + column];
    return array<Codes, 4>(x.x, x.y, x.z, x.w);
}

// The weights of one k. A code is the value plus 8; that of the right is taken times 16.
fn decode(codes: Codes, scale: Scales) -> Columns {
    let bytes = vec4(codes) >> vec4(0u, 8u, 16u, 24u);
    let left = vec4<f32>(bytes & vec4(0x0Fu));
    let right = vec4<f32>(bytes & vec4(0xF0u));
    return Columns((left - 8.0) * scale.left, (right - 128.0) * scale.right);
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
        a_at[i] = source(first_row + i * 8u + lane % 8u) * params.steps * STEP4;
    }
    var sum0 = array<vec4<f32>, ROWS>();
    var sum1 = array<vec4<f32>, ROWS>();
    let panel_row = (expert * params.panels + group.y) * params.steps * STEP4;
    for (var step = 0u; step < params.steps; step++) {
        let scale = scales(expert, group.y, step, local.x);
        for (var k4 = step * STEP4; k4 < (step + 1u) * STEP4; k4++) {
            let codes = four_codes(panel_row + k4, local.x);
            let w0 = decode(codes[0], scale);
            let w1 = decode(codes[1], scale);
            let w2 = decode(codes[2], scale);
            let w3 = decode(codes[3], scale);
            for (var i = 0u; i < BLOCKS; i++) {
                let own = widen(a[a_at[i] + k4]);
                let row = i * 8u;
                // A broadcast needs a constant lane, so the eight are written out.
                let x0 = subgroupBroadcast(own, 0u);
                sum0[row + 0u] = add_four_products(x0, w0.left, w1.left, w2.left, w3.left, sum0[row + 0u]);
                sum1[row + 0u] = add_four_products(x0, w0.right, w1.right, w2.right, w3.right, sum1[row + 0u]);
                let x1 = subgroupBroadcast(own, 1u);
                sum0[row + 1u] = add_four_products(x1, w0.left, w1.left, w2.left, w3.left, sum0[row + 1u]);
                sum1[row + 1u] = add_four_products(x1, w0.right, w1.right, w2.right, w3.right, sum1[row + 1u]);
                let x2 = subgroupBroadcast(own, 2u);
                sum0[row + 2u] = add_four_products(x2, w0.left, w1.left, w2.left, w3.left, sum0[row + 2u]);
                sum1[row + 2u] = add_four_products(x2, w0.right, w1.right, w2.right, w3.right, sum1[row + 2u]);
                let x3 = subgroupBroadcast(own, 3u);
                sum0[row + 3u] = add_four_products(x3, w0.left, w1.left, w2.left, w3.left, sum0[row + 3u]);
                sum1[row + 3u] = add_four_products(x3, w0.right, w1.right, w2.right, w3.right, sum1[row + 3u]);
                let x4 = subgroupBroadcast(own, 4u);
                sum0[row + 4u] = add_four_products(x4, w0.left, w1.left, w2.left, w3.left, sum0[row + 4u]);
                sum1[row + 4u] = add_four_products(x4, w0.right, w1.right, w2.right, w3.right, sum1[row + 4u]);
                let x5 = subgroupBroadcast(own, 5u);
                sum0[row + 5u] = add_four_products(x5, w0.left, w1.left, w2.left, w3.left, sum0[row + 5u]);
                sum1[row + 5u] = add_four_products(x5, w0.right, w1.right, w2.right, w3.right, sum1[row + 5u]);
                let x6 = subgroupBroadcast(own, 6u);
                sum0[row + 6u] = add_four_products(x6, w0.left, w1.left, w2.left, w3.left, sum0[row + 6u]);
                sum1[row + 6u] = add_four_products(x6, w0.right, w1.right, w2.right, w3.right, sum1[row + 6u]);
                let x7 = subgroupBroadcast(own, 7u);
                sum0[row + 7u] = add_four_products(x7, w0.left, w1.left, w2.left, w3.left, sum0[row + 7u]);
                sum1[row + 7u] = add_four_products(x7, w0.right, w1.right, w2.right, w3.right, sum1[row + 7u]);
            }
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        store(group.y, local.x, first_row + i, sum0[i], sum1[i]);
    }
}
