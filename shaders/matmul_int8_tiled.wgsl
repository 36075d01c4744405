// Grouped GEMM in int8 through workgroup memory, with the packed dot product. A workgroup computes TILE_ROWS rows x 8 * WIDTH
// columns and takes 64 of k at a time. Each of its invocations computes ROWS rows x 8 columns. It suits compute-bound work
// on GPUs (prefill, training).
//
//   c[row, :] = a_scale * b_scale * (a[source(row), :] * b[expert(row)])     SWIGLU = false
//   c[row, :] = silu(the same of gate) .* (the same of up)                   SWIGLU = true
//
// The tiles hold codes + 128, which have no sign: some GPUs have the dot product of such bytes only, and the others have
// both. What the 128 add is taken away at the end. It follows from the sums of each row and column, which are gathered
// while the tiles are filled. Sums are 32-bit integers, which is exact. a_scale has one value per token, b_scale one per
// column.
//
// Rows are sorted by expert and padded, so that all rows of a workgroup belong to one expert. Weights are stored in
// panels as wide as a workgroup: [experts, panels, k / 4, 2, WIDTH] in vec4 of words. The 2 are neighbouring blocks of
// columns, or gate and up. Each workgroup therefore reads one stream. Padding of k and of the last panel holds zeros.

override SWIGLU: bool = false;

const ROWS: u32 = 8u; // per invocation: 4 or 8
const HEIGHT: u32 = 16u; // invocations along the rows: 8 or 16
const WIDTH: u32 = 2u * ROWS; // invocations along the columns; each owns two vec4
const TILE_ROWS: u32 = ROWS * HEIGHT;
const TILE_K16: u32 = 4u;
const PARTS: u32 = HEIGHT / 2u; // invocations that load words of one column
const B_LOADS: u32 = 4u * TILE_K16 / PARTS; // vec4 per invocation: 2 or 4
const NONE: u32 = 0xFFFFFFFFu;
const BIAS: u32 = 0x80808080u; // 128 in each byte: what is added to a code
const ONES: u32 = 0x01010101u;

struct Params {
    k16: u32,      // k / 16, rounded up
    n4: u32,       // columns of c / 4, rounded up
    panels: u32,   // column panels per expert
    top_k: u32,    // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<u32>>;       // [tokens or rows, k], four per word
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;       // [experts, panels, k / 4, 2, WIDTH], four of k per word
@group(0) @binding(3) var<storage, read> block_expert: array<u32>;  // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;   // [rows], NONE: padding
@group(0) @binding(5) var<storage, read> a_scale: array<f32>;       // [tokens or rows]
@group(0) @binding(6) var<storage, read> b_scale: array<vec4<f32>>; // [experts, panels, 2, WIDTH]
@group(0) @binding(7) var<storage, read_write> c: array<vec2<u32>>; // [rows, n]

var<workgroup> tile_a: array<array<vec4<u32>, TILE_K16>, TILE_ROWS>; // [row, k / 16]
var<workgroup> tile_b: array<array<vec4<u32>, 2u * WIDTH>, 4u * TILE_K16>; // [k / 4, 2, WIDTH]

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

// sum + the dot products of four k with four columns, of numbers without a sign.
fn add_dots_unsigned(x: u32, y: vec4<u32>, sum: vec4<u32>) -> vec4<u32> {
    return sum + vec4(dot4U8Packed(x, y.x), dot4U8Packed(x, y.y), dot4U8Packed(x, y.z), dot4U8Packed(x, y.w));
}

// The same for sixteen k.
fn add_sixteen(x: vec4<u32>, y0: vec4<u32>, y1: vec4<u32>, y2: vec4<u32>, y3: vec4<u32>, sum: vec4<u32>) -> vec4<u32> {
    let first = add_dots_unsigned(x.y, y1, add_dots_unsigned(x.x, y0, sum));
    return add_dots_unsigned(x.w, y3, add_dots_unsigned(x.z, y2, first));
}

// sum + the sixteen bytes, if `ones` has 1 in each byte.
fn bytes_of(x: vec4<u32>, ones: u32, sum: u32) -> u32 {
    let first = sum + dot4U8Packed(x.x, ones) + dot4U8Packed(x.y, ones);
    return first + dot4U8Packed(x.z, ones) + dot4U8Packed(x.w, ones);
}

// Takes away from a row's sums what the 128 in B adds (tile_a holds the sums of its bytes in A), scales and stores them.
fn finish_unsigned(
    panel: u32,
    column: u32,
    first_row: u32,
    row: u32,
    sum0: vec4<u32>,
    sum1: vec4<u32>,
    scale0: vec4<f32>,
    scale1: vec4<f32>,
) {
    let parts = tile_a[row];
    let of_row = (parts[0].x + parts[1].x + parts[2].x + parts[3].x - params.k16 * 16u * 128u) * 128u;
    let total0 = bitcast<vec4<i32>>(sum0 - vec4(of_row));
    let total1 = bitcast<vec4<i32>>(sum1 - vec4(of_row));
    let scale = a_scale[source(first_row + row)];
    store(panel, column, first_row + row, vec4<f32>(total0) * scale0 * scale, vec4<f32>(total1) * scale1 * scale);
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
    // Each invocation loads 16 of k of two rows, and 4 of k of B_LOADS times four columns.
    let a_row = index / TILE_K16;
    let a_k16 = index % TILE_K16;
    let a_at0 = source(first_row + a_row) * params.k16;
    let a_at1 = source(first_row + a_row + TILE_ROWS / 2u) * params.k16;
    let b_begin = (expert * params.panels + group.y) * params.k16 * 8u * WIDTH;
    let b_end = b_begin + params.k16 * 8u * WIDTH;

    var sum0 = array<vec4<u32>, 8>();
    var sum1 = array<vec4<u32>, 8>();
    var of_row0 = 0u;
    var of_row1 = 0u;
    var of_column = vec4<u32>();
    var k16 = 0u;
    loop {
        // Loads past the end of k are neither used nor counted.
        let k = min(k16 + a_k16, params.k16 - 1u);
        let x0 = a[a_at0 + k] ^ vec4(BIAS);
        let x1 = a[a_at1 + k] ^ vec4(BIAS);
        let a_counts = select(0u, ONES, k16 + a_k16 < params.k16);
        of_row0 = bytes_of(x0, a_counts, of_row0);
        of_row1 = bytes_of(x1, a_counts, of_row1);
        tile_a[a_row][a_k16] = x0;
        tile_a[a_row + TILE_ROWS / 2u][a_k16] = x1;
        for (var i = 0u; i < B_LOADS; i++) {
            let at = b_begin + k16 * 8u * WIDTH + i * (WIDTH * HEIGHT) + index;
            let y = b[min(at, b_end - 1u)] ^ vec4(BIAS);
            tile_b[i * PARTS + index / (2u * WIDTH)][index % (2u * WIDTH)] = y;
            of_column = add_dots_unsigned(select(0u, ONES, at < b_end), y, of_column);
        }
        workgroupBarrier();
        let length = min(TILE_K16, params.k16 - k16);
        for (var i = 0u; i < length; i++) {
            let left0 = tile_b[i * 4u][local.x];
            let right0 = tile_b[i * 4u][local.x + WIDTH];
            let left1 = tile_b[i * 4u + 1u][local.x];
            let right1 = tile_b[i * 4u + 1u][local.x + WIDTH];
            let left2 = tile_b[i * 4u + 2u][local.x];
            let right2 = tile_b[i * 4u + 2u][local.x + WIDTH];
            let left3 = tile_b[i * 4u + 3u][local.x];
            let right3 = tile_b[i * 4u + 3u][local.x + WIDTH];
            let row0 = tile_a[local.y][i];
            sum0[0] = add_sixteen(row0, left0, left1, left2, left3, sum0[0]);
            sum1[0] = add_sixteen(row0, right0, right1, right2, right3, sum1[0]);
            let row1 = tile_a[local.y + 1u * HEIGHT][i];
            sum0[1] = add_sixteen(row1, left0, left1, left2, left3, sum0[1]);
            sum1[1] = add_sixteen(row1, right0, right1, right2, right3, sum1[1]);
            let row2 = tile_a[local.y + 2u * HEIGHT][i];
            sum0[2] = add_sixteen(row2, left0, left1, left2, left3, sum0[2]);
            sum1[2] = add_sixteen(row2, right0, right1, right2, right3, sum1[2]);
            let row3 = tile_a[local.y + 3u * HEIGHT][i];
            sum0[3] = add_sixteen(row3, left0, left1, left2, left3, sum0[3]);
            sum1[3] = add_sixteen(row3, right0, right1, right2, right3, sum1[3]);
            if ROWS > 4u {
                let row4 = tile_a[local.y + 4u * HEIGHT][i];
                sum0[4] = add_sixteen(row4, left0, left1, left2, left3, sum0[4]);
                sum1[4] = add_sixteen(row4, right0, right1, right2, right3, sum1[4]);
                let row5 = tile_a[local.y + 5u * HEIGHT][i];
                sum0[5] = add_sixteen(row5, left0, left1, left2, left3, sum0[5]);
                sum1[5] = add_sixteen(row5, right0, right1, right2, right3, sum1[5]);
                let row6 = tile_a[local.y + 6u * HEIGHT][i];
                sum0[6] = add_sixteen(row6, left0, left1, left2, left3, sum0[6]);
                sum1[6] = add_sixteen(row6, right0, right1, right2, right3, sum1[6]);
                let row7 = tile_a[local.y + 7u * HEIGHT][i];
                sum0[7] = add_sixteen(row7, left0, left1, left2, left3, sum0[7]);
                sum1[7] = add_sixteen(row7, right0, right1, right2, right3, sum1[7]);
            }
        }
        workgroupBarrier();
        k16 += TILE_K16;
        if k16 >= params.k16 {
            break;
        }
    }

    // (a + 128) * (b + 128) = a * b + 128 * (a + 128) + 128 * (b + 128) - 128 * 128
    tile_a[a_row][a_k16].x = of_row0;
    tile_a[a_row + TILE_ROWS / 2u][a_k16].x = of_row1;
    tile_b[index / (2u * WIDTH)][index % (2u * WIDTH)] = of_column;
    workgroupBarrier();
    var of_left = vec4<u32>();
    var of_right = vec4<u32>();
    for (var part = 0u; part < PARTS; part++) {
        of_left += tile_b[part][local.x] * 128u;
        of_right += tile_b[part][local.x + WIDTH] * 128u;
    }
    let scale_at = (expert * params.panels + group.y) * 2u * WIDTH + local.x;
    let scale0 = b_scale[scale_at];
    let scale1 = b_scale[scale_at + WIDTH];
    finish_unsigned(group.y, local.x, first_row, local.y, sum0[0] - of_left, sum1[0] - of_right, scale0, scale1);
    finish_unsigned(group.y, local.x, first_row, local.y + 1u * HEIGHT, sum0[1] - of_left, sum1[1] - of_right, scale0, scale1);
    finish_unsigned(group.y, local.x, first_row, local.y + 2u * HEIGHT, sum0[2] - of_left, sum1[2] - of_right, scale0, scale1);
    finish_unsigned(group.y, local.x, first_row, local.y + 3u * HEIGHT, sum0[3] - of_left, sum1[3] - of_right, scale0, scale1);
    if ROWS > 4u {
        finish_unsigned(group.y, local.x, first_row, local.y + 4u * HEIGHT, sum0[4] - of_left, sum1[4] - of_right, scale0, scale1);
        finish_unsigned(group.y, local.x, first_row, local.y + 5u * HEIGHT, sum0[5] - of_left, sum1[5] - of_right, scale0, scale1);
        finish_unsigned(group.y, local.x, first_row, local.y + 6u * HEIGHT, sum0[6] - of_left, sum1[6] - of_right, scale0, scale1);
        finish_unsigned(group.y, local.x, first_row, local.y + 7u * HEIGHT, sum0[7] - of_left, sum1[7] - of_right, scale0, scale1);
    }
}
