// Grouped GEMM through workgroup memory: a tile of 64 rows x 128 columns, 16 of k at a time, 256 invocations of
// 4 rows x 8 columns each. Compute-bound work on GPUs (prefill, training).
//
//   c[row, :] = a[source(row), :] * b[expert(row)]               SWIGLU = false
//   c[row, :] = silu(a * b_gate) .* (a * b_up)                   SWIGLU = true: 64 gate and 64 up columns a tile
//
// Rows are sorted by expert and padded so that 64 rows never mix experts. Strides are in vec4 units; columns and k are
// padded to a multiple of 4 with zeros.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override SWIGLU: bool = false;

const NONE: u32 = 0xFFFFFFFFu;
const TILE_ROWS: u32 = 64u;
const TILE_K4: u32 = 4u;
const LANES: u32 = 16u;

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
// k-major, so that one k step reads neighbours: [k, rows] and [k, vec4 columns].
var<workgroup> tile_a: array<array<f32, TILE_ROWS>, 16>;
var<workgroup> tile_b: array<array<vec4<f32>, 32>, 16>;

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

// The vec4 column of b behind column `lane` (0 to 31) of the tile.
fn column_of(tile: u32, lane: u32) -> u32 {
    if SWIGLU {
        let column = min(tile * LANES + lane % LANES, params.n4 - 1u);
        return select(column, column + params.up_offset4, lane >= LANES);
    }
    return min(tile * LANES * 2u + lane, params.n4 - 1u);
}

@compute @workgroup_size(LANES, LANES, 1)
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
    // Each invocation carries one vec4 of the A tile (row index / 4, k4 index % 4) and two of the B tile.
    let a_at = source(first_row + index / TILE_K4) * params.a_stride4;
    let b_column = column_of(group.y, index % 32u);
    let b_k = index / 32u;
    let b_at = expert * params.k4 * 4u * params.b_stride4 + b_column;

    var sum0: array<vec4<f32>, 4>;
    var sum1: array<vec4<f32>, 4>;
    for (var k4 = 0u; k4 < params.k4; k4 += TILE_K4) {
        let source_k4 = k4 + index % TILE_K4;
        var x = vec4<f32>();
        if source_k4 < params.k4 {
            x = widen(a[a_at + source_k4]);
        }
        let k = (index % TILE_K4) * 4u;
        tile_a[k][index / TILE_K4] = x.x;
        tile_a[k + 1u][index / TILE_K4] = x.y;
        tile_a[k + 2u][index / TILE_K4] = x.z;
        tile_a[k + 3u][index / TILE_K4] = x.w;
        for (var half = 0u; half < 2u; half++) {
            let b_row = k4 * 4u + b_k + half * 8u;
            var y = vec4<f32>();
            if b_row < params.k4 * 4u {
                y = widen(b[b_at + b_row * params.b_stride4]);
            }
            tile_b[b_k + half * 8u][index % 32u] = y;
        }
        workgroupBarrier();
        for (var step = 0u; step < 16u; step++) {
            let y0 = tile_b[step][local.x];
            let y1 = tile_b[step][local.x + LANES];
            for (var i = 0u; i < 4u; i++) {
                let x0 = vec4(tile_a[step][local.y * 4u + i]);
                sum0[i] = fma(x0, y0, sum0[i]);
                sum1[i] = fma(x0, y1, sum1[i]);
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < 4u; i++) {
        let row = first_row + local.y * 4u + i;
        if slot_of_row[row] == NONE {
            continue;
        }
        if SWIGLU {
            let column = group.y * LANES + local.x;
            if column < params.n4 {
                c[row * params.n4 + column] = narrow(silu(sum0[i]) * sum1[i]);
            }
        } else {
            let column = group.y * LANES * 2u + local.x;
            if column < params.n4 {
                c[row * params.n4 + column] = narrow(sum0[i]);
            }
            if column + LANES < params.n4 {
                c[row * params.n4 + column + LANES] = narrow(sum1[i]);
            }
        }
    }
}
