// Grouped GEMM for few rows per expert (decode). At most ROWS rows share each weight. A weight is read once, as part of
// a vec4, by one of SPLIT_K invocations. These divide k between them and add their sums through workgroup memory.
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
override WIDTH: u32 = 32u;  // invocations along the columns; each owns two vec4
override SPLIT_K: u32 = 8u; // invocations that share the k of a column

const ROWS: u32 = 8u; // per workgroup
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

var<workgroup> tile_expert: u32;
var<workgroup> partial: array<vec4<f32>, WIDTH * SPLIT_K>;

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

// The sum of `value` over the SPLIT_K invocations of a column; valid where local.y = 0.
fn add_up(local: vec3<u32>, value: vec4<f32>) -> vec4<f32> {
    workgroupBarrier();
    partial[local.y * WIDTH + local.x] = value;
    workgroupBarrier();
    var sum = vec4<f32>();
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
    if index == 0u {
        tile_expert = block_expert[group.x];
    }
    let expert = workgroupUniformLoad(&tile_expert);
    if expert == NONE {
        return;
    }
    let first_row = group.x * ROWS;
    var a_at = array<u32, ROWS>();
    for (var i = 0u; i < ROWS; i++) {
        a_at[i] = source(first_row + i) * params.k4;
    }
    var sum0 = array<vec4<f32>, ROWS>();
    var sum1 = array<vec4<f32>, ROWS>();
    let begin = (expert * params.panels + group.y) * params.k4 * 8u * WIDTH + local.x;
    for (var k = local.y; k < params.k4; k += SPLIT_K) {
        var at = begin + k * 8u * WIDTH;
        let left0 = widen(b[at]);
        let right0 = widen(b[at + WIDTH]);
        let left1 = widen(b[at + 2u * WIDTH]);
        let right1 = widen(b[at + 3u * WIDTH]);
        let left2 = widen(b[at + 4u * WIDTH]);
        let right2 = widen(b[at + 5u * WIDTH]);
        let left3 = widen(b[at + 6u * WIDTH]);
        let right3 = widen(b[at + 7u * WIDTH]);
        at += 8u * WIDTH;
        for (var i = 0u; i < ROWS; i++) {
            let x = widen(a[a_at[i] + k]);
            sum0[i] = add_four_products(x, left0, left1, left2, left3, sum0[i]);
            sum1[i] = add_four_products(x, right0, right1, right2, right3, sum1[i]);
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        let total0 = add_up(local, sum0[i]);
        let total1 = add_up(local, sum1[i]);
        if local.y == 0u {
            store(group.y, local.x, first_row + i, total0, total1);
        }
    }
}
