// Grouped GEMM in int8 through workgroup memory, with the packed dot product. A workgroup computes TILE_ROWS rows x 128
// columns and takes 64 of k at a time. Each of its 256 invocations computes ROWS rows x 8 columns. It suits compute-bound
// work on GPUs (prefill, training).
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

const ROWS: u32 = 8u; // per invocation; a multiple of 4
const TILE_ROWS: u32 = 16u * ROWS;
const TILE_K16: u32 = 4u;
const WIDTH: u32 = 16u; // invocations along the columns; each owns two vec4
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

// [row, k / 16]
var<workgroup> tile_a: array<array<vec4<u32>, TILE_K16>, TILE_ROWS>;
// [k / 4, vec4 of columns]
var<workgroup> tile_b: array<array<vec4<u32>, 32>, TILE_K16 * 4u>;
// The last, so that the tiles are aligned to 16 bytes.
var<workgroup> tile_expert: u32;

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

// The sum of the sixteen bytes.
fn bytes_of(x: vec4<u32>) -> u32 {
    return dot4U8Packed(x.x, ONES) + dot4U8Packed(x.y, ONES) + dot4U8Packed(x.z, ONES) + dot4U8Packed(x.w, ONES);
}

@compute @workgroup_size(WIDTH, 16, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    if index == 0u {
        tile_expert = block_expert[group.x];
    }
    let expert = workgroupUniformLoad(&tile_expert);
    if expert == NONE {
        return;
    }
    let first_row = group.x * TILE_ROWS;
    // Each invocation loads 16 of k of every 64th row of the A tile, and two vec4 of the B tile.
    let own_row = index / TILE_K16;
    let own_k16 = index % TILE_K16;
    var a_at = array<u32, ROWS / 4u>();
    for (var i = 0u; i < ROWS / 4u; i++) {
        a_at[i] = source(first_row + i * 64u + own_row) * params.k16;
    }
    let b_begin = (expert * params.panels + group.y) * params.k16 * 128u;
    let b_end = b_begin + params.k16 * 128u;

    var sum0 = array<vec4<u32>, ROWS>();
    var sum1 = array<vec4<u32>, ROWS>();
    var of_row = array<u32, ROWS / 4u>();
    var of_column = vec4<u32>();
    for (var k16 = 0u; k16 < params.k16; k16 += TILE_K16) {
        // Loads past the end of k are not used.
        let a_counts = select(0u, NONE, k16 + own_k16 < params.k16);
        for (var i = 0u; i < ROWS / 4u; i++) {
            let x = a[a_at[i] + min(k16 + own_k16, params.k16 - 1u)] ^ vec4(BIAS);
            of_row[i] += bytes_of(x) & a_counts;
            tile_a[i * 64u + own_row][own_k16] = x;
        }
        for (var i = 0u; i < 2u; i++) {
            let at = b_begin + k16 * 128u + i * 256u + index;
            let y = b[min(at, b_end - 1u)] ^ vec4(BIAS);
            of_column = add_dots_unsigned(select(0u, ONES, at < b_end), y, of_column);
            tile_b[i * 8u + index / 32u][index % 32u] = y;
        }
        workgroupBarrier();
        let steps = min(TILE_K16, params.k16 - k16);
        for (var step = 0u; step < steps; step++) {
            let left0 = tile_b[step * 4u][local.x];
            let right0 = tile_b[step * 4u][local.x + WIDTH];
            let left1 = tile_b[step * 4u + 1u][local.x];
            let right1 = tile_b[step * 4u + 1u][local.x + WIDTH];
            let left2 = tile_b[step * 4u + 2u][local.x];
            let right2 = tile_b[step * 4u + 2u][local.x + WIDTH];
            let left3 = tile_b[step * 4u + 3u][local.x];
            let right3 = tile_b[step * 4u + 3u][local.x + WIDTH];
            for (var i = 0u; i < ROWS; i++) {
                let x = tile_a[local.y * ROWS + i][step];
                sum0[i] = add_dots_unsigned(x.w, left3, add_dots_unsigned(x.z, left2, add_dots_unsigned(x.y, left1, add_dots_unsigned(x.x, left0, sum0[i]))));
                sum1[i] = add_dots_unsigned(x.w, right3, add_dots_unsigned(x.z, right2, add_dots_unsigned(x.y, right1, add_dots_unsigned(x.x, right0, sum1[i]))));
            }
        }
        workgroupBarrier();
    }
    // (a + 128) * (b + 128) = a * b + 128 * (a + 128) + 128 * (b + 128) - 128 * 128
    for (var i = 0u; i < ROWS / 4u; i++) {
        tile_a[i * 64u + own_row][own_k16].x = of_row[i];
    }
    tile_b[index / 32u][index % 32u] = of_column;
    workgroupBarrier();
    var of_left = vec4<u32>();
    var of_right = vec4<u32>();
    for (var i = 0u; i < 8u; i++) {
        of_left += tile_b[i][local.x];
        of_right += tile_b[i][local.x + WIDTH];
    }
    let scale_at = (expert * params.panels + group.y) * 2u * WIDTH + local.x;
    let scale0 = b_scale[scale_at];
    let scale1 = b_scale[scale_at + WIDTH];
    for (var i = 0u; i < ROWS; i++) {
        let row = first_row + local.y * ROWS + i;
        let parts = tile_a[local.y * ROWS + i];
        let too_much = (parts[0].x + parts[1].x + parts[2].x + parts[3].x - params.k16 * 16u * 128u) * 128u;
        let total0 = bitcast<vec4<i32>>(sum0[i] - of_left * 128u - vec4(too_much));
        let total1 = bitcast<vec4<i32>>(sum1[i] - of_right * 128u - vec4(too_much));
        let scale = a_scale[source(row)];
        store(group.y, local.x, row, vec4<f32>(total0) * scale0 * scale, vec4<f32>(total1) * scale1 * scale);
    }
}
