// Grouped GEMM of quantised weights with f16 activations for few rows per expert (decode), as in matmul_streamed.wgsl.
// A weight is read once, in a block of 16 bytes, by one of SPLIT_K invocations, which divide k between them and add
// their sums through workgroup memory. An invocation multiplies it with ROWS rows. With more rows, GROUPS invocations
// read it at about the same time. All rows of `a` pass through workgroup memory, CHUNK_K4 of k at a time.
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
override WIDTH: u32 = 32u;  // invocations along the columns; each owns two vec4
override SPLIT_K: u32 = 8u; // invocations that share the k of a column
override GROUPS: u32 = 1u;  // invocations along the rows

const ROWS: u32 = 8u;  // per invocation: 2 or 8
const STEP4: u32 = 8u; // fours of k per step, in which a column has one scale; a chunk has whole steps
override TILE_ROWS: u32 = ROWS * GROUPS;
override INVOCATIONS: u32 = WIDTH * SPLIT_K * GROUPS;
override CHUNK_K4: u32 = 2u * INVOCATIONS / TILE_ROWS;
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

// First rows of `a`, [TILE_ROWS, CHUNK_K4]; then the sums of one row per invocation, [2, GROUPS, SPLIT_K, WIDTH].
var<workgroup> tile: array<vec4<f32>, 2u * INVOCATIONS>;

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

// sum + x.x * y0 + x.y * y1
fn add_two_products(x: vec2<f32>, y0: vec4<f32>, y1: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    return fma(vec4(x.y), y1, fma(vec4(x.x), y0, sum));
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
    let a_at0 = source(a_row) * params.steps * STEP4;
    let a_at1 = source(a_row + TILE_ROWS / 2u) * params.steps * STEP4;
    let b_row = (expert * params.panels + group.y) * params.steps * STEP4;
    let rows = local.z * ROWS * CHUNK_K4;

    var sum0 = array<vec4<f32>, 8>();
    var sum1 = array<vec4<f32>, 8>();
    for (var begin = 0u; begin < params.steps * STEP4; begin += CHUNK_K4) {
        let a_k = min(begin + a_k4, params.steps * STEP4 - 1u);
        let first = widen(a[a_at0 + a_k]);
        let second = widen(a[a_at1 + a_k]);
        workgroupBarrier();
        tile[index] = first;
        tile[index + INVOCATIONS] = second;
        workgroupBarrier();
        let end = min((begin + CHUNK_K4) / STEP4, params.steps);
        for (var step = begin / STEP4 + local.y; step < end; step += SPLIT_K) {
            let scale = scales(expert, group.y, step, local.x);
            for (var k4 = step * STEP4; k4 < (step + 1u) * STEP4; k4++) {
                let codes = four_codes(b_row + k4, local.x);
                let x = rows + k4 - begin;
                // Two of k at a time: so the weights of a step fit into the registers of all devices.
                let w0 = decode(codes[0], scale);
                let w1 = decode(codes[1], scale);
                let x0 = tile[x].xy;
                sum0[0] = add_two_products(x0, w0.left, w1.left, sum0[0]);
                sum1[0] = add_two_products(x0, w0.right, w1.right, sum1[0]);
                let x1 = tile[x + CHUNK_K4].xy;
                sum0[1] = add_two_products(x1, w0.left, w1.left, sum0[1]);
                sum1[1] = add_two_products(x1, w0.right, w1.right, sum1[1]);
                if ROWS > 2u {
                    let x2 = tile[x + 2u * CHUNK_K4].xy;
                    sum0[2] = add_two_products(x2, w0.left, w1.left, sum0[2]);
                    sum1[2] = add_two_products(x2, w0.right, w1.right, sum1[2]);
                    let x3 = tile[x + 3u * CHUNK_K4].xy;
                    sum0[3] = add_two_products(x3, w0.left, w1.left, sum0[3]);
                    sum1[3] = add_two_products(x3, w0.right, w1.right, sum1[3]);
                    let x4 = tile[x + 4u * CHUNK_K4].xy;
                    sum0[4] = add_two_products(x4, w0.left, w1.left, sum0[4]);
                    sum1[4] = add_two_products(x4, w0.right, w1.right, sum1[4]);
                    let x5 = tile[x + 5u * CHUNK_K4].xy;
                    sum0[5] = add_two_products(x5, w0.left, w1.left, sum0[5]);
                    sum1[5] = add_two_products(x5, w0.right, w1.right, sum1[5]);
                    let x6 = tile[x + 6u * CHUNK_K4].xy;
                    sum0[6] = add_two_products(x6, w0.left, w1.left, sum0[6]);
                    sum1[6] = add_two_products(x6, w0.right, w1.right, sum1[6]);
                    let x7 = tile[x + 7u * CHUNK_K4].xy;
                    sum0[7] = add_two_products(x7, w0.left, w1.left, sum0[7]);
                    sum1[7] = add_two_products(x7, w0.right, w1.right, sum1[7]);
                }
                let w2 = decode(codes[2], scale);
                let w3 = decode(codes[3], scale);
                let y0 = tile[x].zw;
                sum0[0] = add_two_products(y0, w2.left, w3.left, sum0[0]);
                sum1[0] = add_two_products(y0, w2.right, w3.right, sum1[0]);
                let y1 = tile[x + CHUNK_K4].zw;
                sum0[1] = add_two_products(y1, w2.left, w3.left, sum0[1]);
                sum1[1] = add_two_products(y1, w2.right, w3.right, sum1[1]);
                if ROWS > 2u {
                    let y2 = tile[x + 2u * CHUNK_K4].zw;
                    sum0[2] = add_two_products(y2, w2.left, w3.left, sum0[2]);
                    sum1[2] = add_two_products(y2, w2.right, w3.right, sum1[2]);
                    let y3 = tile[x + 3u * CHUNK_K4].zw;
                    sum0[3] = add_two_products(y3, w2.left, w3.left, sum0[3]);
                    sum1[3] = add_two_products(y3, w2.right, w3.right, sum1[3]);
                    let y4 = tile[x + 4u * CHUNK_K4].zw;
                    sum0[4] = add_two_products(y4, w2.left, w3.left, sum0[4]);
                    sum1[4] = add_two_products(y4, w2.right, w3.right, sum1[4]);
                    let y5 = tile[x + 5u * CHUNK_K4].zw;
                    sum0[5] = add_two_products(y5, w2.left, w3.left, sum0[5]);
                    sum1[5] = add_two_products(y5, w2.right, w3.right, sum1[5]);
                    let y6 = tile[x + 6u * CHUNK_K4].zw;
                    sum0[6] = add_two_products(y6, w2.left, w3.left, sum0[6]);
                    sum1[6] = add_two_products(y6, w2.right, w3.right, sum1[6]);
                    let y7 = tile[x + 7u * CHUNK_K4].zw;
                    sum0[7] = add_two_products(y7, w2.left, w3.left, sum0[7]);
                    sum1[7] = add_two_products(y7, w2.right, w3.right, sum1[7]);
                }
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
