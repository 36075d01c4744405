// Grouped GEMM, register-blocked, without barriers. One invocation computes ROWS rows x 8 columns and reads its
// operands straight from storage. It suits devices on which workgroup memory and barriers are expensive and shuffles
// are missing.
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
override WIDTH: u32 = 8u;  // invocations along the columns; each owns two vec4
override GROUPS: u32 = 1u; // invocations along the rows

const ROWS: u32 = 8u; // per invocation
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

@compute @workgroup_size(WIDTH, GROUPS, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let expert = block_expert[group.x];
    if expert == NONE {
        return;
    }
    let first_row = (group.x * GROUPS + local.y) * ROWS;
    var a_at = array<u32, ROWS>();
    for (var i = 0u; i < ROWS; i++) {
        a_at[i] = source(first_row + i) * params.k4;
    }
    var sum0 = array<vec4<f32>, ROWS>();
    var sum1 = array<vec4<f32>, ROWS>();
    var at = (expert * params.panels + group.y) * params.k4 * 8u * WIDTH + local.x;
    for (var k = 0u; k < params.k4; k++) {
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
        store(group.y, local.x, first_row + i, sum0[i], sum1[i]);
    }
}
