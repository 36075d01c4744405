// Peak rate of cooperative matrices: f16 operands, f32 sums. Four independent chains alternate c <- a * b + c and c <-
// (-a) * b + c, so that sums stay bounded and keep changing. One more product follows at the end. Each subgroup of a
// workgroup computes tiles of its own, and each workgroup reports how many subgroups it had: only computed work is
// counted. The lines of MatrixA, MatrixB, MatrixC and SIZE are replaced for 16 x 16 matrices.
enable f16;
enable wgpu_cooperative_matrix;
alias MatrixA = coop_mat8x8<f16, A>;
alias MatrixB = coop_mat8x8<f16, B>;
alias MatrixC = coop_mat8x8<f32, C>;
const SIZE: u32 = 8u;

override WORKGROUP: u32 = 128u;

const STEPS: u32 = 8u;

struct Params {
    rounds: u32,
    subgroups: u32, // per workgroup, as many as c has room for
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f16>;         // [2, SIZE, SIZE]: a and -a
@group(0) @binding(2) var<storage, read> b: array<f16>;         // [4, SIZE, SIZE]: one per chain
@group(0) @binding(3) var<storage, read_write> c: array<f32>;   // [workgroups, subgroups, 4, SIZE, SIZE]
@group(0) @binding(4) var<storage, read_write> ran: array<u32>; // [workgroups]: number of subgroups

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let tile = SIZE * SIZE;
    let plus = coopLoadT<MatrixA>(&a[0], SIZE);
    let minus = coopLoadT<MatrixA>(&a[tile], SIZE);
    let b0 = coopLoadT<MatrixB>(&b[0], SIZE);
    let b1 = coopLoadT<MatrixB>(&b[tile], SIZE);
    let b2 = coopLoadT<MatrixB>(&b[2u * tile], SIZE);
    let b3 = coopLoadT<MatrixB>(&b[3u * tile], SIZE);
    var c0 = MatrixC();
    var c1 = MatrixC();
    var c2 = MatrixC();
    var c3 = MatrixC();
    for (var round = 0u; round < params.rounds; round++) {
        for (var step = 0u; step < STEPS; step++) {
            c0 = coopMultiplyAdd(plus, b0, c0);
            c1 = coopMultiplyAdd(plus, b1, c1);
            c2 = coopMultiplyAdd(plus, b2, c2);
            c3 = coopMultiplyAdd(plus, b3, c3);
            c0 = coopMultiplyAdd(minus, b0, c0);
            c1 = coopMultiplyAdd(minus, b1, c1);
            c2 = coopMultiplyAdd(minus, b2, c2);
            c3 = coopMultiplyAdd(minus, b3, c3);
        }
    }
    // If there are more subgroups than room, the last ones share tiles, and `ran` makes the result fail.
    let at = (group.x * params.subgroups + min(subgroup, params.subgroups - 1u)) * 4u * tile;
    coopStoreT(coopMultiplyAdd(plus, b0, c0), &c[at], SIZE);
    coopStoreT(coopMultiplyAdd(plus, b1, c1), &c[at + tile], SIZE);
    coopStoreT(coopMultiplyAdd(plus, b2, c2), &c[at + 2u * tile], SIZE);
    coopStoreT(coopMultiplyAdd(plus, b3, c3), &c[at + 3u * tile], SIZE);
    if index == 0u {
        ran[group.x] = subgroups;
    }
}
