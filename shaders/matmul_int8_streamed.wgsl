// Grouped GEMM in int8 for few rows per expert (decode). A weight is read with 15 others by one of SPLIT_K invocations,
// which divide k between them and add their sums through workgroup memory. An invocation multiplies it with ROWS rows. With
// more rows, GROUPS invocations read it at about the same time, so that it comes from memory once. All rows of `a` pass
// through workgroup memory, CHUNK_K16 of k at a time.
//
//   c[row, :] = a_scale * b_scale * (a[source(row), :] * b[expert(row)])     SWIGLU = false
//   c[row, :] = silu(the same of gate) .* (the same of up)                   SWIGLU = true
//
// Sums are int32, which is exact. a_scale has one value per token, b_scale one per column.
//
// Rows are sorted by expert and padded, so that all rows of a workgroup belong to one expert. Weights are stored in
// panels as wide as a workgroup: [experts, panels, k / 4, 2, WIDTH] in vec4 of words. The 2 are neighbouring blocks of
// columns, or gate and up. Each workgroup therefore reads one stream. Padding of k and of the last panel holds zeros.

override SWIGLU: bool = false;
override WIDTH: u32 = 32u;  // invocations along the columns; each owns two vec4
override SPLIT_K: u32 = 8u; // invocations that share the k of a column
override GROUPS: u32 = 1u;  // invocations along the rows

const ROWS: u32 = 8u; // per invocation: 2 or 8
override TILE_ROWS: u32 = ROWS * GROUPS;
override INVOCATIONS: u32 = WIDTH * SPLIT_K * GROUPS;
override CHUNK_K16: u32 = 2u * INVOCATIONS / TILE_ROWS;
const NONE: u32 = 0xFFFFFFFFu;

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

var<workgroup> tile: array<vec4<u32>, 2u * INVOCATIONS>; // [rows, CHUNK_K16]
var<workgroup> partial: array<vec4<i32>, INVOCATIONS>; // [GROUPS, SPLIT_K, WIDTH]

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

// sum + the dot products of four k with four columns.
fn add_dots(x: u32, y: vec4<u32>, sum: vec4<i32>) -> vec4<i32> {
    return sum + vec4(dot4I8Packed(x, y.x), dot4I8Packed(x, y.y), dot4I8Packed(x, y.z), dot4I8Packed(x, y.w));
}

// The same for sixteen k.
fn add_sixteen_dots(
    x: vec4<u32>,
    y0: vec4<u32>,
    y1: vec4<u32>,
    y2: vec4<u32>,
    y3: vec4<u32>,
    sum: vec4<i32>,
) -> vec4<i32> {
    return add_dots(x.w, y3, add_dots(x.z, y2, add_dots(x.y, y1, add_dots(x.x, y0, sum))));
}

// The sum of `value` over the SPLIT_K invocations of a column and group; valid where local.y = 0.
fn add_up(local: vec3<u32>, value: vec4<i32>) -> vec4<i32> {
    let first = local.z * SPLIT_K * WIDTH + local.x;
    workgroupBarrier();
    partial[first + local.y * WIDTH] = value;
    workgroupBarrier();
    var sum = vec4<i32>();
    if local.y == 0u {
        for (var part = 0u; part < SPLIT_K; part++) {
            sum += partial[first + part * WIDTH];
        }
    }
    return sum;
}

// Adds up, scales and stores the sums of a row.
fn finish_row(
    panel: u32,
    local: vec3<u32>,
    row: u32,
    sum0: vec4<i32>,
    sum1: vec4<i32>,
    scale0: vec4<f32>,
    scale1: vec4<f32>,
) {
    let total0 = vec4<f32>(add_up(local, sum0)) * scale0;
    let total1 = vec4<f32>(add_up(local, sum1)) * scale1;
    if local.y == 0u {
        let scale = a_scale[source(row)];
        store(panel, local.x, row, total0 * scale, total1 * scale);
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
    let a_k16 = index % CHUNK_K16;
    let a_row = group.x * TILE_ROWS + index / CHUNK_K16;
    let a_at0 = source(a_row) * params.k16;
    let a_at1 = source(a_row + TILE_ROWS / 2u) * params.k16;
    let b_at = (expert * params.panels + group.y) * params.k16 * 8u * WIDTH + local.x;
    let rows = local.z * ROWS * CHUNK_K16;

    var sum0 = array<vec4<i32>, 8>();
    var sum1 = array<vec4<i32>, 8>();
    for (var begin = 0u; begin < params.k16; begin += CHUNK_K16) {
        // Loads past the end of k are not used.
        let a_k = min(begin + a_k16, params.k16 - 1u);
        let first = a[a_at0 + a_k];
        let second = a[a_at1 + a_k];
        workgroupBarrier();
        tile[index] = first;
        tile[index + INVOCATIONS] = second;
        workgroupBarrier();
        let end = min(begin + CHUNK_K16, params.k16);
        for (var k = begin + local.y; k < end; k += SPLIT_K) {
            let at = b_at + k * 8u * WIDTH;
            let left0 = b[at];
            let right0 = b[at + WIDTH];
            let left1 = b[at + 2u * WIDTH];
            let right1 = b[at + 3u * WIDTH];
            let left2 = b[at + 4u * WIDTH];
            let right2 = b[at + 5u * WIDTH];
            let left3 = b[at + 6u * WIDTH];
            let right3 = b[at + 7u * WIDTH];
            let x = rows + k - begin;
            let row0 = tile[x];
            sum0[0] = add_sixteen_dots(row0, left0, left1, left2, left3, sum0[0]);
            sum1[0] = add_sixteen_dots(row0, right0, right1, right2, right3, sum1[0]);
            let row1 = tile[x + CHUNK_K16];
            sum0[1] = add_sixteen_dots(row1, left0, left1, left2, left3, sum0[1]);
            sum1[1] = add_sixteen_dots(row1, right0, right1, right2, right3, sum1[1]);
            if ROWS > 2u {
                let row2 = tile[x + 2u * CHUNK_K16];
                sum0[2] = add_sixteen_dots(row2, left0, left1, left2, left3, sum0[2]);
                sum1[2] = add_sixteen_dots(row2, right0, right1, right2, right3, sum1[2]);
                let row3 = tile[x + 3u * CHUNK_K16];
                sum0[3] = add_sixteen_dots(row3, left0, left1, left2, left3, sum0[3]);
                sum1[3] = add_sixteen_dots(row3, right0, right1, right2, right3, sum1[3]);
                let row4 = tile[x + 4u * CHUNK_K16];
                sum0[4] = add_sixteen_dots(row4, left0, left1, left2, left3, sum0[4]);
                sum1[4] = add_sixteen_dots(row4, right0, right1, right2, right3, sum1[4]);
                let row5 = tile[x + 5u * CHUNK_K16];
                sum0[5] = add_sixteen_dots(row5, left0, left1, left2, left3, sum0[5]);
                sum1[5] = add_sixteen_dots(row5, right0, right1, right2, right3, sum1[5]);
                let row6 = tile[x + 6u * CHUNK_K16];
                sum0[6] = add_sixteen_dots(row6, left0, left1, left2, left3, sum0[6]);
                sum1[6] = add_sixteen_dots(row6, right0, right1, right2, right3, sum1[6]);
                let row7 = tile[x + 7u * CHUNK_K16];
                sum0[7] = add_sixteen_dots(row7, left0, left1, left2, left3, sum0[7]);
                sum1[7] = add_sixteen_dots(row7, right0, right1, right2, right3, sum1[7]);
            }
        }
    }
    let scale_at = (expert * params.panels + group.y) * 2u * WIDTH + local.x;
    let scale0 = b_scale[scale_at];
    let scale1 = b_scale[scale_at + WIDTH];
    let row = group.x * TILE_ROWS + local.z * ROWS;
    finish_row(group.y, local, row, sum0[0], sum1[0], scale0, scale1);
    finish_row(group.y, local, row + 1u, sum0[1], sum1[1], scale0, scale1);
    if ROWS > 2u {
        finish_row(group.y, local, row + 2u, sum0[2], sum1[2], scale0, scale1);
        finish_row(group.y, local, row + 3u, sum0[3], sum1[3], scale0, scale1);
        finish_row(group.y, local, row + 4u, sum0[4], sum1[4], scale0, scale1);
        finish_row(group.y, local, row + 5u, sum0[5], sum1[5], scale0, scale1);
        finish_row(group.y, local, row + 6u, sum0[6], sum1[6], scale0, scale1);
        finish_row(group.y, local, row + 7u, sum0[7], sum1[7], scale0, scale1);
    }
}
