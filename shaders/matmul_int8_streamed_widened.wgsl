// Grouped GEMM in int8, widened to f32, for few rows per expert (decode). At most ROWS rows share each weight. A weight is
// read once, with 15 others, by one of SPLIT_K invocations. These divide k between them and add their sums through
// workgroup memory. Codes are multiplied as f32. The sums are added in int32 before they could exceed the 24 bits that f32
// holds exactly. The result equals that of the packed dot product; it is faster where a device emulates that.
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

const ROWS: u32 = 8u; // per workgroup
const FLUSH: u32 = 256u; // words of k per invocation: 1024 products of at most 127 * 127 stay below 2^24
const NONE: u32 = 0xFFFFFFFFu;

struct Params {
    k4: u32,       // k / 4, rounded up to a multiple of 4
    n4: u32,       // columns of c / 4, rounded up
    panels: u32,   // column panels per expert
    top_k: u32,    // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<u32>;             // [tokens or rows, k], four per word
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;       // [experts, panels, k / 4, 2, WIDTH], four of k per word
@group(0) @binding(3) var<storage, read> block_expert: array<u32>;  // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;   // [rows], NONE: padding
@group(0) @binding(5) var<storage, read> a_scale: array<f32>;       // [tokens or rows]
@group(0) @binding(6) var<storage, read> b_scale: array<vec4<f32>>; // [experts, panels, 2, WIDTH]
@group(0) @binding(7) var<storage, read_write> c: array<vec2<u32>>; // [rows, n]

var<workgroup> partial: array<vec4<i32>, WIDTH * SPLIT_K>;
// [row, left or right, column]: the sums of k so far.
var<workgroup> total: array<vec4<i32>, ROWS * 2u * WIDTH>;

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

fn signed_byte(x: vec4<u32>, shift: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(x << vec4(24u - shift)) >> vec4(24u));
}

// The sum of `value` over the SPLIT_K invocations of a column; valid where local.y = 0.
fn add_up(local: vec3<u32>, value: vec4<i32>) -> vec4<i32> {
    workgroupBarrier();
    partial[local.y * WIDTH + local.x] = value;
    workgroupBarrier();
    var sum = vec4<i32>();
    if local.y == 0u {
        for (var part = 0u; part < SPLIT_K; part++) {
            sum += partial[part * WIDTH + local.x];
        }
    }
    return sum;
}

@compute @workgroup_size(WIDTH, SPLIT_K, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let expert = block_expert[group.x];
    if expert == NONE {
        return;
    }
    let first_row = group.x * ROWS;
    var a_at = array<u32, ROWS>();
    for (var i = 0u; i < ROWS; i++) {
        a_at[i] = source(first_row + i) * params.k4;
    }
    for (var at = index; at < ROWS * 2u * WIDTH; at += WIDTH * SPLIT_K) {
        total[at] = vec4<i32>();
    }
    let begin = (expert * params.panels + group.y) * params.k4 * 2u * WIDTH + local.x;
    for (var flush = 0u; flush < params.k4; flush += FLUSH * SPLIT_K) {
        var sum0 = array<vec4<f32>, ROWS>();
        var sum1 = array<vec4<f32>, ROWS>();
        let end = min(flush + FLUSH * SPLIT_K, params.k4);
        for (var k = flush + local.y; k < end; k += SPLIT_K) {
            let left = b[begin + k * 2u * WIDTH];
            let right = b[begin + k * 2u * WIDTH + WIDTH];
            let left0 = signed_byte(left, 0u);
            let left1 = signed_byte(left, 8u);
            let left2 = signed_byte(left, 16u);
            let left3 = signed_byte(left, 24u);
            let right0 = signed_byte(right, 0u);
            let right1 = signed_byte(right, 8u);
            let right2 = signed_byte(right, 16u);
            let right3 = signed_byte(right, 24u);
            for (var i = 0u; i < ROWS; i++) {
                let x = vec4<f32>(unpack4xI8(a[a_at[i] + k]));
                sum0[i] = add_four_products(x, left0, left1, left2, left3, sum0[i]);
                sum1[i] = add_four_products(x, right0, right1, right2, right3, sum1[i]);
            }
        }
        for (var i = 0u; i < ROWS; i++) {
            let both0 = add_up(local, vec4<i32>(sum0[i]));
            let both1 = add_up(local, vec4<i32>(sum1[i]));
            if local.y == 0u {
                total[i * 2u * WIDTH + local.x] += both0;
                total[(i * 2u + 1u) * WIDTH + local.x] += both1;
            }
        }
    }
    if local.y > 0u {
        return;
    }
    let scale_at = (expert * params.panels + group.y) * 2u * WIDTH + local.x;
    let scale0 = b_scale[scale_at];
    let scale1 = b_scale[scale_at + WIDTH];
    for (var i = 0u; i < ROWS; i++) {
        let scale = a_scale[source(first_row + i)];
        let total0 = vec4<f32>(total[i * 2u * WIDTH + local.x]) * scale0 * scale;
        let total1 = vec4<f32>(total[(i * 2u + 1u) * WIDTH + local.x]) * scale1 * scale;
        store(group.y, local.x, first_row + i, total0, total1);
    }
}
