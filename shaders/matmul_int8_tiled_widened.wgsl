// Grouped GEMM in int8 through workgroup memory, widened to f32. A workgroup computes TILE_ROWS rows x 128 columns and takes
// 32 of k at a time. Each of its 256 invocations computes ROWS rows x 8 columns. The tiles hold the codes as f16, which is
// exact. The sums are flushed into int32 before they could exceed the 24 bits that f32 holds exactly. The result equals
// that of the packed dot product; it is faster where a device emulates that.
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

const ROWS: u32 = 4u; // per invocation
const HEIGHT: u32 = 16u; // invocations along the rows
const TILE_ROWS: u32 = HEIGHT * ROWS;
const TILE_K8: u32 = 4u;
const FLUSH: u32 = 128u; // k / 8: 1024 products of at most 127 * 127 stay below 2^24
const WIDTH: u32 = 16u; // invocations along the columns; each owns two vec4
const NONE: u32 = 0xFFFFFFFFu;

struct Params {
    k8: u32,       // k / 8, rounded up to a multiple of 2
    n4: u32,       // columns of c / 4, rounded up
    panels: u32,   // column panels per expert
    top_k: u32,    // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec2<u32>>;       // [tokens or rows, k], four per word
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;       // [experts, panels, k / 4, 2, WIDTH], four of k per word
@group(0) @binding(3) var<storage, read> block_expert: array<u32>;  // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;   // [rows], NONE: padding
@group(0) @binding(5) var<storage, read> a_scale: array<f32>;       // [tokens or rows]
@group(0) @binding(6) var<storage, read> b_scale: array<vec4<f32>>; // [experts, panels, 2, WIDTH]
@group(0) @binding(7) var<storage, read_write> c: array<vec2<u32>>; // [rows, n]

// [row, k / 8] in f16
var<workgroup> tile_a: array<array<vec4<u32>, TILE_K8>, TILE_ROWS>;
// [k / 2, vec4 of columns] in f16: four columns of one k, then of the next.
var<workgroup> tile_b: array<array<vec4<u32>, 32>, TILE_K8 * 4u>;

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

// Four codes as f16, in two words.
fn halves(word: u32) -> vec2<u32> {
    let codes = vec4<f32>(unpack4xI8(word));
    return vec2(pack2x16float(codes.xy), pack2x16float(codes.zw));
}

// The f16 of four neighbours.
fn widen(x: vec2<u32>) -> vec4<f32> {
    return vec4(unpack2x16float(x.x), unpack2x16float(x.y));
}

// sum + the products of two k with four columns.
fn add_two_codes(x: u32, y: vec4<u32>, sum: vec4<f32>) -> vec4<f32> {
    let both = unpack2x16float(x);
    return fma(vec4(both.y), widen(y.zw), fma(vec4(both.x), widen(y.xy), sum));
}

// Scales a row's sums and stores them.
fn store_scaled(
    panel: u32,
    column: u32,
    row: u32,
    sum0: vec4<i32>,
    sum1: vec4<i32>,
    scale0: vec4<f32>,
    scale1: vec4<f32>,
) {
    let scale = a_scale[source(row)];
    store(panel, column, row, vec4<f32>(sum0) * scale0 * scale, vec4<f32>(sum1) * scale1 * scale);
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
    // Each invocation loads 8 of k of a row of the A tile, and 4 of k of four columns of the B tile.
    let own_row = index / TILE_K8;
    let own_k8 = index % TILE_K8;
    let a_at = source(first_row + own_row) * params.k8;
    let b_k4 = index / 32u;
    let b_column = index % 32u;
    let b_begin = (expert * params.panels + group.y) * params.k8 * 64u;
    let b_end = b_begin + params.k8 * 64u;

    var total0 = array<vec4<i32>, ROWS>();
    var total1 = array<vec4<i32>, ROWS>();
    for (var flush = 0u; flush < params.k8; flush += FLUSH) {
        var sum0 = array<vec4<f32>, ROWS>();
        var sum1 = array<vec4<f32>, ROWS>();
        let end = min(flush + FLUSH, params.k8);
        for (var k8 = flush; k8 < end; k8 += TILE_K8) {
            // Past the end of k the codes of A are zero, and those of B may be any.
            let k = k8 + own_k8;
            let x = select(vec2<u32>(), a[a_at + min(k, params.k8 - 1u)], k < params.k8);
            tile_a[own_row][own_k8] = vec4(halves(x.x), halves(x.y));
            let y = b[min(b_begin + k8 * 64u + index, b_end - 1u)];
            let y0 = vec4<f32>(unpack4xI8(y.x));
            let y1 = vec4<f32>(unpack4xI8(y.y));
            let y2 = vec4<f32>(unpack4xI8(y.z));
            let y3 = vec4<f32>(unpack4xI8(y.w));
            tile_b[b_k4 * 2u][b_column] = vec4(
                pack2x16float(vec2(y0.x, y1.x)),
                pack2x16float(vec2(y2.x, y3.x)),
                pack2x16float(vec2(y0.y, y1.y)),
                pack2x16float(vec2(y2.y, y3.y)),
            );
            tile_b[b_k4 * 2u + 1u][b_column] = vec4(
                pack2x16float(vec2(y0.z, y1.z)),
                pack2x16float(vec2(y2.z, y3.z)),
                pack2x16float(vec2(y0.w, y1.w)),
                pack2x16float(vec2(y2.w, y3.w)),
            );
            workgroupBarrier();
            for (var step = 0u; step < TILE_K8; step++) {
                let row0 = tile_a[local.y][step];
                let row1 = tile_a[local.y + HEIGHT][step];
                let row2 = tile_a[local.y + 2u * HEIGHT][step];
                let row3 = tile_a[local.y + 3u * HEIGHT][step];
                for (var pair = 0u; pair < 4u; pair++) {
                    let left = tile_b[step * 4u + pair][local.x];
                    let right = tile_b[step * 4u + pair][local.x + WIDTH];
                    sum0[0] = add_two_codes(row0[pair], left, sum0[0]);
                    sum1[0] = add_two_codes(row0[pair], right, sum1[0]);
                    sum0[1] = add_two_codes(row1[pair], left, sum0[1]);
                    sum1[1] = add_two_codes(row1[pair], right, sum1[1]);
                    sum0[2] = add_two_codes(row2[pair], left, sum0[2]);
                    sum1[2] = add_two_codes(row2[pair], right, sum1[2]);
                    sum0[3] = add_two_codes(row3[pair], left, sum0[3]);
                    sum1[3] = add_two_codes(row3[pair], right, sum1[3]);
                }
            }
            workgroupBarrier();
        }
        total0[0] += vec4<i32>(sum0[0]);
        total1[0] += vec4<i32>(sum1[0]);
        total0[1] += vec4<i32>(sum0[1]);
        total1[1] += vec4<i32>(sum1[1]);
        total0[2] += vec4<i32>(sum0[2]);
        total1[2] += vec4<i32>(sum1[2]);
        total0[3] += vec4<i32>(sum0[3]);
        total1[3] += vec4<i32>(sum1[3]);
    }
    let scale_at = (expert * params.panels + group.y) * 2u * WIDTH + local.x;
    let scale0 = b_scale[scale_at];
    let scale1 = b_scale[scale_at + WIDTH];
    let row = first_row + local.y;
    store_scaled(group.y, local.x, row, total0[0], total1[0], scale0, scale1);
    store_scaled(group.y, local.x, row + 1u * HEIGHT, total0[1], total1[1], scale0, scale1);
    store_scaled(group.y, local.x, row + 2u * HEIGHT, total0[2], total1[2], scale0, scale1);
    store_scaled(group.y, local.x, row + 3u * HEIGHT, total0[3], total1[3], scale0, scale1);
}
