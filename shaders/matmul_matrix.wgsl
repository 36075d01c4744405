// Grouped GEMM with cooperative matrices: f16 operands, f32 sums. A workgroup computes 64 rows x 128 columns and takes
// 32 of k at a time through workgroup memory. Its tile has eight octants of 32 x 32. Subgroups of 16 or 32 lanes take
// one octant each, subgroups of 64 lanes two. The lines of MatrixA, MatrixB, MatrixC and SIZE are replaced for 16 x 16
// matrices.
//
//   c[row, :] = a[source(row), :] * b[expert(row)]               SWIGLU = false
//   c[row, :] = silu(a * b_gate) .* (a * b_up)                   SWIGLU = true
//
// Rows are sorted by expert and padded, so that all rows of a workgroup belong to one expert. Weights are stored in
// panels as wide as a workgroup: [experts, panels, k, 2, WIDTH] in vec4. The 2 are neighbouring blocks of columns, or
// gate and up. Each workgroup therefore reads one stream. Padding of k and of the last panel holds zeros.
enable f16;
enable wgpu_cooperative_matrix;
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
const SIZE: u32 = 8u;

override SWIGLU: bool = false;

const ROWS: u32 = 64u;     // per tile
const COLUMNS: u32 = 128u; // per tile
const STEP: u32 = 32u;     // of k per tile
const OCTANT: u32 = 32u; // rows and columns
const SIDE: u32 = OCTANT / SIZE; // matrices along it
const INVOCATIONS: u32 = 256u;
const WIDTH: u32 = 16u; // vec4 in half a panel
const NONE: u32 = 0xFFFFFFFFu;

struct Params {
    k4: u32,       // k / 4, rounded up
    n4: u32,       // columns of c / 4, rounded up
    panels: u32,   // column panels per expert
    top_k: u32,    // source(row) = slot_of_row[row] / top_k; 0: source(row) = row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;       // [tokens or rows, k]
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;       // [experts, panels, k, 2, WIDTH]
@group(0) @binding(3) var<storage, read> block_expert: array<u32>;  // [row blocks], NONE: unused
@group(0) @binding(4) var<storage, read> slot_of_row: array<u32>;   // [rows], NONE: padding
@group(0) @binding(5) var<storage, read_write> c: array<vec4<f16>>; // [rows, n]

var<workgroup> tile_expert: u32;
var<workgroup> tile_a: array<f16, ROWS * STEP>; // [row, k]
var<workgroup> tile_b: array<f16, STEP * COLUMNS>; // [k, column]
var<workgroup> strip: array<f32, 2u * SIZE * COLUMNS>; // of the result: [upper or lower octants, row, column]

fn narrow(x: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(x);
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

// Adds the product of both tiles to the sums of an octant.
fn multiply(octant: u32, sums: ptr<function, array<MatrixC, SIDE * SIDE>>) {
    let row = octant / 4u * OCTANT;
    let column = octant % 4u * OCTANT;
    for (var k = 0u; k < STEP; k += SIZE) {
        for (var i = 0u; i < SIDE; i++) {
            let x = coopLoadT<MatrixA>(&tile_a[(row + i * SIZE) * STEP + k], STEP);
            for (var j = 0u; j < SIDE; j++) {
                let y = coopLoadT<MatrixB>(&tile_b[k * COLUMNS + column + j * SIZE], COLUMNS);
                (*sums)[i * SIDE + j] = coopMultiplyAdd(x, y, (*sums)[i * SIDE + j]);
            }
        }
    }
}

// Writes the i-th row of matrices of an octant into the strip.
fn put(octant: u32, i: u32, sums: ptr<function, array<MatrixC, SIDE * SIDE>>) {
    let at = octant / 4u * SIZE * COLUMNS + octant % 4u * OCTANT;
    for (var j = 0u; j < SIDE; j++) {
        coopStoreT((*sums)[i * SIDE + j], &strip[at + j * SIZE], COLUMNS);
    }
}

@compute @workgroup_size(INVOCATIONS, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    if index == 0u {
        tile_expert = block_expert[group.x];
    }
    let expert = workgroupUniformLoad(&tile_expert);
    if expert == NONE {
        return;
    }
    let first_row = group.x * ROWS;
    // Each invocation loads two vec4 of a row of the A tile and four of a column of the B tile.
    let a_row = index / 4u;
    let a_at = source(first_row + a_row) * params.k4;
    let b_at = (expert * params.panels + group.y) * params.k4 * COLUMNS;
    // With more subgroups than octants, two subgroups compute the same octant with the same result.
    let octant = subgroup % 8u;
    let second = subgroups < 8u;

    var sums0 = array<MatrixC, SIDE * SIDE>();
    var sums1 = array<MatrixC, SIDE * SIDE>();
    for (var k4 = 0u; k4 < params.k4; k4 += STEP / 4u) {
        for (var i = 0u; i < 2u; i++) {
            let own = index % 4u + i * 4u;
            var x = vec4<f16>();
            if k4 + own < params.k4 {
                x = a[a_at + k4 + own];
            }
            let at = a_row * STEP + own * 4u;
            tile_a[at] = x.x;
            tile_a[at + 1u] = x.y;
            tile_a[at + 2u] = x.z;
            tile_a[at + 3u] = x.w;
        }
        for (var i = 0u; i < 4u; i++) {
            let k = index / 32u + i * 8u;
            let column4 = index % 32u;
            var y = vec4<f16>();
            if k4 * 4u + k < params.k4 * 4u {
                y = b[b_at + (k4 * 4u + k) * (COLUMNS / 4u) + column4];
            }
            let at = k * COLUMNS + column4 * 4u;
            tile_b[at] = y.x;
            tile_b[at + 1u] = y.y;
            tile_b[at + 2u] = y.z;
            tile_b[at + 3u] = y.w;
        }
        workgroupBarrier();
        multiply(octant, &sums0);
        if second {
            multiply(octant + 4u, &sums1);
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < SIDE; i++) {
        put(octant, i, &sums0);
        if second {
            put(octant + 4u, i, &sums1);
        }
        workgroupBarrier();
        for (var item = index; item < 2u * SIZE * WIDTH; item += INVOCATIONS) {
            let row = item / WIDTH;
            let column = item % WIDTH;
            let at = row * COLUMNS + column * 4u;
            let up = at + COLUMNS / 2u;
            let sum0 = vec4(strip[at], strip[at + 1u], strip[at + 2u], strip[at + 3u]);
            let sum1 = vec4(strip[up], strip[up + 1u], strip[up + 2u], strip[up + 3u]);
            let tile_row = row / SIZE * OCTANT + i * SIZE + row % SIZE;
            store(group.y, column, first_row + tile_row, sum0, sum1);
        }
        workgroupBarrier();
    }
}
