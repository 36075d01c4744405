// Grouped GEMM of quantised weights with f16 activations, through workgroup memory. A workgroup computes
// ROWS * HEIGHT rows x 16 * ROWS columns and takes 16 of k at a time, as in matmul_tiled.wgsl. Weights are decoded on
// their way into workgroup memory, eight of one k at a time.
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

const ROWS: u32 = 8u; // per invocation: 4 or 8
const WIDTH: u32 = 2u * ROWS; // invocations along the columns; each owns two vec4
const HEIGHT: u32 = 16u; // invocations along the rows: 8 or 16
const TILE_ROWS: u32 = ROWS * HEIGHT;
const TILE_K4: u32 = 4u;
const STEP4: u32 = 8u; // fours of k per step, in which a column has one scale
const STRIDE: u32 = TILE_K4 + 1u; // of a row in tile_a; its padding spreads rows over the banks
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
@group(0) @binding(2) var<storage, read> b: array<u32>;             // [experts, panels, k / 4, WIDTH, 4] Codes
@group(0) @binding(3) var<storage, read> block_expert: array<u32>;  // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;   // [rows], NONE: padding
@group(0) @binding(5) var<storage, read_write> c: array<vec2<u32>>; // [rows, n]
@group(0) @binding(6) var<storage, read> b_scale: array<ColumnScales>; // [experts, panels, steps, WIDTH], or of blocks

var<workgroup> tile_a: array<vec4<f32>, TILE_ROWS * STRIDE>; // [rows, STRIDE]
// [k, 2, WIDTH]; the padding spreads neighbours along k over the banks.
var<workgroup> tile_b: array<array<vec4<f32>, 2u * WIDTH + 2u>, 4u * TILE_K4>;

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

// The codes of one k: `place` is 4 * column + k % 4.
fn one_code(row: u32, place: u32) -> Codes { return b[row * 4u * WIDTH + place]; }

// The weights of one k. A code is the value plus 8. As the last bits of a binary16 it makes 1024 + code on the left,
// and 1024 + 16 * code on the right.
fn decode(codes: Codes, scale: Scales) -> Columns {
    let x = unpack2x16float((codes & 0x000F000Fu) | 0x64006400u);
    let y = unpack2x16float((codes & 0x00F000F0u) | 0x64006400u);
    let z = unpack2x16float(((codes >> 8u) & 0x000F000Fu) | 0x64006400u);
    let w = unpack2x16float(((codes >> 8u) & 0x00F000F0u) | 0x64006400u);
    let left = fma(vec4(x.x, z.x, x.y, z.y), scale.left, scale.left_zero);
    let right = fma(vec4(y.x, w.x, y.y, w.y), scale.right, scale.right_zero);
    return Columns(left, right);
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
    // Each invocation loads two vec4 of `a`, of rows that are half a tile apart, and the codes of one k, or of two.
    let a_k4 = index % TILE_K4;
    let a_row = index / TILE_K4;
    let a_at0 = source(first_row + a_row) * params.steps * STEP4 + a_k4;
    let a_at1 = source(first_row + a_row + TILE_ROWS / 2u) * params.steps * STEP4 + a_k4;
    let a_tile = a_row * STRIDE + a_k4;
    let b_place = index % (4u * WIDTH);
    let b_k4 = index / (4u * WIDTH);
    let b_k = b_k4 * 4u + b_place % 4u;
    let b_column = b_place / 4u;
    let b_row = (expert * params.panels + group.y) * params.steps * STEP4 + b_k4;

    var sum0 = array<vec4<f32>, 8>();
    var sum1 = array<vec4<f32>, 8>();
    for (var k4 = 0u; k4 < params.steps * STEP4; k4 += TILE_K4) {
        let x0 = a[a_at0 + k4];
        let x1 = a[a_at1 + k4];
        let scale = scales(expert, group.y, k4 / STEP4, b_column);
        let y0 = decode(one_code(b_row + k4, b_place), scale);
        tile_a[a_tile] = widen(x0);
        tile_a[a_tile + TILE_ROWS / 2u * STRIDE] = widen(x1);
        tile_b[b_k][b_column] = y0.left;
        tile_b[b_k][b_column + WIDTH] = y0.right;
        if HEIGHT == 8u {
            let y1 = decode(one_code(b_row + k4 + 2u, b_place), scale);
            tile_b[b_k + 8u][b_column] = y1.left;
            tile_b[b_k + 8u][b_column + WIDTH] = y1.right;
        }
        workgroupBarrier();
        // Not all compilers unroll four turns at once.
        for (var i = 0u; i < TILE_K4; i += 2u) {
            for (var j = 0u; j < 2u; j++) {
                let at_k4 = i + j;
                let left0 = tile_b[at_k4 * 4u][local.x];
                let right0 = tile_b[at_k4 * 4u][local.x + WIDTH];
                let left1 = tile_b[at_k4 * 4u + 1u][local.x];
                let right1 = tile_b[at_k4 * 4u + 1u][local.x + WIDTH];
                let left2 = tile_b[at_k4 * 4u + 2u][local.x];
                let right2 = tile_b[at_k4 * 4u + 2u][local.x + WIDTH];
                let left3 = tile_b[at_k4 * 4u + 3u][local.x];
                let right3 = tile_b[at_k4 * 4u + 3u][local.x + WIDTH];
                let row0 = tile_a[local.y * STRIDE + at_k4];
                sum0[0] = add_four_products(row0, left0, left1, left2, left3, sum0[0]);
                sum1[0] = add_four_products(row0, right0, right1, right2, right3, sum1[0]);
                let row1 = tile_a[(local.y + HEIGHT) * STRIDE + at_k4];
                sum0[1] = add_four_products(row1, left0, left1, left2, left3, sum0[1]);
                sum1[1] = add_four_products(row1, right0, right1, right2, right3, sum1[1]);
                let row2 = tile_a[(local.y + 2u * HEIGHT) * STRIDE + at_k4];
                sum0[2] = add_four_products(row2, left0, left1, left2, left3, sum0[2]);
                sum1[2] = add_four_products(row2, right0, right1, right2, right3, sum1[2]);
                let row3 = tile_a[(local.y + 3u * HEIGHT) * STRIDE + at_k4];
                sum0[3] = add_four_products(row3, left0, left1, left2, left3, sum0[3]);
                sum1[3] = add_four_products(row3, right0, right1, right2, right3, sum1[3]);
                if ROWS > 4u {
                    let row4 = tile_a[(local.y + 4u * HEIGHT) * STRIDE + at_k4];
                    sum0[4] = add_four_products(row4, left0, left1, left2, left3, sum0[4]);
                    sum1[4] = add_four_products(row4, right0, right1, right2, right3, sum1[4]);
                    let row5 = tile_a[(local.y + 5u * HEIGHT) * STRIDE + at_k4];
                    sum0[5] = add_four_products(row5, left0, left1, left2, left3, sum0[5]);
                    sum1[5] = add_four_products(row5, right0, right1, right2, right3, sum1[5]);
                    let row6 = tile_a[(local.y + 6u * HEIGHT) * STRIDE + at_k4];
                    sum0[6] = add_four_products(row6, left0, left1, left2, left3, sum0[6]);
                    sum1[6] = add_four_products(row6, right0, right1, right2, right3, sum1[6]);
                    let row7 = tile_a[(local.y + 7u * HEIGHT) * STRIDE + at_k4];
                    sum0[7] = add_four_products(row7, left0, left1, left2, left3, sum0[7]);
                    sum1[7] = add_four_products(row7, right0, right1, right2, right3, sum1[7]);
                }
            }
        }
        workgroupBarrier();
    }
    let row = first_row + local.y;
    store(group.y, local.x, row, sum0[0], sum1[0]);
    store(group.y, local.x, row + HEIGHT, sum0[1], sum1[1]);
    store(group.y, local.x, row + 2u * HEIGHT, sum0[2], sum1[2]);
    store(group.y, local.x, row + 3u * HEIGHT, sum0[3], sum1[3]);
    if ROWS > 4u {
        store(group.y, local.x, row + 4u * HEIGHT, sum0[4], sum1[4]);
        store(group.y, local.x, row + 5u * HEIGHT, sum0[5], sum1[5]);
        store(group.y, local.x, row + 6u * HEIGHT, sum0[6], sum1[6]);
        store(group.y, local.x, row + 7u * HEIGHT, sum0[7], sum1[7]);
    }
}
