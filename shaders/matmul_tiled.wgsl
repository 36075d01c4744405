// Grouped GEMM through workgroup memory. A workgroup computes TILE_ROWS rows x 128 columns and takes 16 of k at a time.
// Each of its 256 invocations computes ROWS rows x 8 columns. It suits compute-bound work on GPUs (prefill, training).
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

const ROWS: u32 = 4u; // per invocation; a multiple of 4
const TILE_ROWS: u32 = 16u * ROWS;
const TILE_K4: u32 = 4u;
const WIDTH: u32 = 16u; // invocations along the columns; each owns two vec4
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
// k-major: [k, vec4 of rows] and [k, vec4 of columns].
var<workgroup> tile_a: array<array<vec4<f32>, TILE_ROWS / 4u>, 16>;
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
    // The first invocations load four rows x four k of the A tile each; all load two vec4 of the B tile.
    let loads_a = index < TILE_ROWS;
    let a_k4 = index % TILE_K4;
    let a_rows4 = min(index / TILE_K4, TILE_ROWS / 4u - 1u);
    var a_at = array<u32, 4>();
    for (var i = 0u; i < 4u; i++) {
        a_at[i] = source(first_row + a_rows4 * 4u + i) * params.k4;
    }
    let b_column = index % 32u;
    let b_k = index / 32u;
    let b_at = (expert * params.panels + group.y) * params.k4 * 4u * 32u + b_column;

    var sum0 = array<vec4<f32>, ROWS>();
    var sum1 = array<vec4<f32>, ROWS>();
    for (var k4 = 0u; k4 < params.k4; k4 += TILE_K4) {
        if loads_a {
            var x = array<vec4<f32>, 4>();
            if k4 + a_k4 < params.k4 {
                for (var i = 0u; i < 4u; i++) {
                    x[i] = widen(a[a_at[i] + k4 + a_k4]);
                }
            }
            for (var j = 0u; j < 4u; j++) {
                tile_a[a_k4 * 4u + j][a_rows4] = vec4(x[0][j], x[1][j], x[2][j], x[3][j]);
            }
        }
        for (var half = 0u; half < 2u; half++) {
            let k = b_k + half * 8u;
            var y = vec4<f32>();
            if k4 * 4u + k < params.k4 * 4u {
                y = widen(b[b_at + (k4 * 4u + k) * 32u]);
            }
            tile_b[k][b_column] = y;
        }
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            let y0 = tile_b[k][local.x];
            let y1 = tile_b[k][local.x + WIDTH];
            for (var i = 0u; i < ROWS / 4u; i++) {
                let x = tile_a[k][local.y * (ROWS / 4u) + i];
                for (var j = 0u; j < 4u; j++) {
                    sum0[i * 4u + j] = fma(vec4(x[j]), y0, sum0[i * 4u + j]);
                    sum1[i * 4u + j] = fma(vec4(x[j]), y1, sum1[i * 4u + j]);
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < ROWS; i++) {
        store(group.y, local.x, first_row + local.y * ROWS + i, sum0[i], sum1[i]);
    }
}
