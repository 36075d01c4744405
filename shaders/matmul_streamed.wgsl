// Grouped GEMM for few rows an expert (decode): 8 rows at most share each weight, which is read once, 16 bytes at a
// time, by one of SPLIT_K invocations that divide k between them and add up through workgroup memory.
//
//   c[row, :] = a[source(row), :] * b[expert(row)]               SWIGLU = false
//   c[row, :] = silu(a * b_gate) .* (a * b_up)                   SWIGLU = true; gate and up lie side by side in b
//
// Rows are sorted by expert and padded so that 8 rows never mix experts. Strides are in vec4 units; columns and k are
// padded to a multiple of 4 with zeros.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override SWIGLU: bool = false;
override WIDTH: u32 = 32u;   // invocations side by side along the columns
override SPLIT_K: u32 = 8u;  // invocations that share one column's k

const NONE: u32 = 0xFFFFFFFFu;
const ROWS: u32 = 8u;

struct Params {
    k4: u32,         // k / 4, rounded up
    n4: u32,         // columns of c / 4, rounded up
    a_stride4: u32,  // from one row of a to the next
    b_stride4: u32,  // from one row of b to the next
    up_offset4: u32, // from a gate column to its up column
    top_k: u32,      // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Element4>;           // [tokens or rows, k]
@group(0) @binding(2) var<storage, read> b: array<Element4>;           // [experts, k, n or 2n]
@group(0) @binding(3) var<storage, read> block_expert: array<u32>;     // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;      // [rows], NONE: padding
@group(0) @binding(5) var<storage, read_write> c: array<Element4>;     // [rows, n]

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

// Adds `value` over the SPLIT_K invocations of a column; the sum is valid where local.y = 0.
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
    var column0 = group.y * WIDTH + local.x;
    var column1 = column0 + params.up_offset4;
    if !SWIGLU {
        column0 = group.y * WIDTH * 2u + local.x;
        column1 = column0 + WIDTH;
    }
    let load0 = min(column0, params.n4 - 1u);
    let load1 = select(min(column1, params.n4 - 1u), load0 + params.up_offset4, SWIGLU);

    var at: array<u32, ROWS>;
    for (var i = 0u; i < ROWS; i++) {
        at[i] = source(first_row + i) * params.a_stride4;
    }
    var sum0: array<vec4<f32>, ROWS>;
    var sum1: array<vec4<f32>, ROWS>;
    let expert_at = expert * params.k4 * 4u * params.b_stride4;
    for (var k = local.y; k < params.k4; k += SPLIT_K) {
        let b_row = expert_at + k * 4u * params.b_stride4;
        let p0 = widen(b[b_row + load0]);
        let p1 = widen(b[b_row + params.b_stride4 + load0]);
        let p2 = widen(b[b_row + 2u * params.b_stride4 + load0]);
        let p3 = widen(b[b_row + 3u * params.b_stride4 + load0]);
        let q0 = widen(b[b_row + load1]);
        let q1 = widen(b[b_row + params.b_stride4 + load1]);
        let q2 = widen(b[b_row + 2u * params.b_stride4 + load1]);
        let q3 = widen(b[b_row + 3u * params.b_stride4 + load1]);
        for (var i = 0u; i < ROWS; i++) {
            let x = widen(a[at[i] + k]);
            sum0[i] = fma(vec4(x.w), p3, fma(vec4(x.z), p2, fma(vec4(x.y), p1, fma(vec4(x.x), p0, sum0[i]))));
            sum1[i] = fma(vec4(x.w), q3, fma(vec4(x.z), q2, fma(vec4(x.y), q1, fma(vec4(x.x), q0, sum1[i]))));
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        let row = first_row + i;
        let total0 = add_up(local, sum0[i]);
        let total1 = add_up(local, sum1[i]);
        if local.y == 0u && column0 < params.n4 && slot_of_row[row] != NONE {
            if SWIGLU {
                c[row * params.n4 + column0] = narrow(silu(total0) * total1);
            } else {
                c[row * params.n4 + column0] = narrow(total0);
                if column1 < params.n4 {
                    c[row * params.n4 + column1] = narrow(total1);
                }
            }
        }
    }
}
