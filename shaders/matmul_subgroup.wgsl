// Grouped GEMM, register-blocked, rows shared by subgroup: one invocation computes 16 rows x 8 columns. Lane i of a
// subgroup loads rows i % 8 and 8 + i % 8 of `a` and broadcasts them, so a subgroup reads each row once and needs no
// barrier. Subgroups of 8 lanes and more.
//
//   c[row, :] = a[source(row), :] * b[expert(row)]               SWIGLU = false
//   c[row, :] = silu(a * b_gate) .* (a * b_up)                   SWIGLU = true; gate and up lie side by side in b
//
// Rows are sorted by expert and padded so that ROW_TILE rows never mix experts. Strides are in vec4 units; columns and
// k are padded to a multiple of 4 with zeros.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override SWIGLU: bool = false;
override ROW_TILE: u32 = 64u; // a multiple of 16
override WORKGROUP: u32 = 8u; // invocations side by side along the columns

const NONE: u32 = 0xFFFFFFFFu;
const ROWS: u32 = 16u;

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

// sum + x.x * p0 + x.y * p1 + x.z * p2 + x.w * p3
fn times(x: vec4<f32>, p0: vec4<f32>, p1: vec4<f32>, p2: vec4<f32>, p3: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
    return fma(vec4(x.w), p3, fma(vec4(x.z), p2, fma(vec4(x.y), p1, fma(vec4(x.x), p0, sum))));
}

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first_row = group.x * ROWS;
    let expert = block_expert[first_row / ROW_TILE];
    if expert == NONE {
        return;
    }
    var column0 = group.y * WORKGROUP + local.x;
    var column1 = column0 + params.up_offset4;
    if !SWIGLU {
        column0 = group.y * WORKGROUP * 2u + local.x;
        column1 = column0 + WORKGROUP;
    }
    // Columns beyond the edge are computed on the last column and not stored: every lane has to broadcast.
    let load0 = min(column0, params.n4 - 1u);
    let load1 = select(min(column1, params.n4 - 1u), load0 + params.up_offset4, SWIGLU);
    let a_at0 = source(first_row + lane % 8u) * params.a_stride4;
    let a_at1 = source(first_row + 8u + lane % 8u) * params.a_stride4;
    var sum0: array<vec4<f32>, ROWS>;
    var sum1: array<vec4<f32>, ROWS>;
    var b_row = expert * params.k4 * 4u * params.b_stride4;
    for (var k = 0u; k < params.k4; k++) {
        let p0 = widen(b[b_row + load0]);
        let q0 = widen(b[b_row + load1]);
        b_row += params.b_stride4;
        let p1 = widen(b[b_row + load0]);
        let q1 = widen(b[b_row + load1]);
        b_row += params.b_stride4;
        let p2 = widen(b[b_row + load0]);
        let q2 = widen(b[b_row + load1]);
        b_row += params.b_stride4;
        let p3 = widen(b[b_row + load0]);
        let q3 = widen(b[b_row + load1]);
        b_row += params.b_stride4;
        let own0 = widen(a[a_at0 + k]);
        let own1 = widen(a[a_at1 + k]);
        // A broadcast wants a constant lane, so these sixteen are written out.
        let x0 = subgroupBroadcast(own0, 0u);
        sum0[0] = times(x0, p0, p1, p2, p3, sum0[0]);
        sum1[0] = times(x0, q0, q1, q2, q3, sum1[0]);
        let x1 = subgroupBroadcast(own0, 1u);
        sum0[1] = times(x1, p0, p1, p2, p3, sum0[1]);
        sum1[1] = times(x1, q0, q1, q2, q3, sum1[1]);
        let x2 = subgroupBroadcast(own0, 2u);
        sum0[2] = times(x2, p0, p1, p2, p3, sum0[2]);
        sum1[2] = times(x2, q0, q1, q2, q3, sum1[2]);
        let x3 = subgroupBroadcast(own0, 3u);
        sum0[3] = times(x3, p0, p1, p2, p3, sum0[3]);
        sum1[3] = times(x3, q0, q1, q2, q3, sum1[3]);
        let x4 = subgroupBroadcast(own0, 4u);
        sum0[4] = times(x4, p0, p1, p2, p3, sum0[4]);
        sum1[4] = times(x4, q0, q1, q2, q3, sum1[4]);
        let x5 = subgroupBroadcast(own0, 5u);
        sum0[5] = times(x5, p0, p1, p2, p3, sum0[5]);
        sum1[5] = times(x5, q0, q1, q2, q3, sum1[5]);
        let x6 = subgroupBroadcast(own0, 6u);
        sum0[6] = times(x6, p0, p1, p2, p3, sum0[6]);
        sum1[6] = times(x6, q0, q1, q2, q3, sum1[6]);
        let x7 = subgroupBroadcast(own0, 7u);
        sum0[7] = times(x7, p0, p1, p2, p3, sum0[7]);
        sum1[7] = times(x7, q0, q1, q2, q3, sum1[7]);
        let x8 = subgroupBroadcast(own1, 0u);
        sum0[8] = times(x8, p0, p1, p2, p3, sum0[8]);
        sum1[8] = times(x8, q0, q1, q2, q3, sum1[8]);
        let x9 = subgroupBroadcast(own1, 1u);
        sum0[9] = times(x9, p0, p1, p2, p3, sum0[9]);
        sum1[9] = times(x9, q0, q1, q2, q3, sum1[9]);
        let x10 = subgroupBroadcast(own1, 2u);
        sum0[10] = times(x10, p0, p1, p2, p3, sum0[10]);
        sum1[10] = times(x10, q0, q1, q2, q3, sum1[10]);
        let x11 = subgroupBroadcast(own1, 3u);
        sum0[11] = times(x11, p0, p1, p2, p3, sum0[11]);
        sum1[11] = times(x11, q0, q1, q2, q3, sum1[11]);
        let x12 = subgroupBroadcast(own1, 4u);
        sum0[12] = times(x12, p0, p1, p2, p3, sum0[12]);
        sum1[12] = times(x12, q0, q1, q2, q3, sum1[12]);
        let x13 = subgroupBroadcast(own1, 5u);
        sum0[13] = times(x13, p0, p1, p2, p3, sum0[13]);
        sum1[13] = times(x13, q0, q1, q2, q3, sum1[13]);
        let x14 = subgroupBroadcast(own1, 6u);
        sum0[14] = times(x14, p0, p1, p2, p3, sum0[14]);
        sum1[14] = times(x14, q0, q1, q2, q3, sum1[14]);
        let x15 = subgroupBroadcast(own1, 7u);
        sum0[15] = times(x15, p0, p1, p2, p3, sum0[15]);
        sum1[15] = times(x15, q0, q1, q2, q3, sum1[15]);
    }
    if column0 >= params.n4 {
        return;
    }
    for (var i = 0u; i < ROWS; i++) {
        let row = first_row + i;
        if slot_of_row[row] == NONE {
            continue;
        }
        if SWIGLU {
            c[row * params.n4 + column0] = narrow(silu(sum0[i]) * sum1[i]);
        } else {
            c[row * params.n4 + column0] = narrow(sum0[i]);
            if column1 < params.n4 {
                c[row * params.n4 + column1] = narrow(sum1[i]);
            }
        }
    }
}
