// Roof of cooperative matrices of 16 x 16, f16 operands and f32 sums: four independent chains c <- a * b + c and
// c <- (-a) * b + c in turns, so that sums neither grow nor settle, and one more product at the end. Each subgroup of a
// workgroup computes tiles of its own, and each workgroup says how many subgroups it had: only what was computed is counted.
enable f16;
enable wgpu_cooperative_matrix;

override WORKGROUP: u32 = 128u;

const SIZE: u32 = 16u;
const STEPS: u32 = 8u;

struct Params {
    rounds: u32,
    subgroups: u32, // of a workgroup, as many as c has room for
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f16>;            // [2, SIZE, SIZE]: a and -a
@group(0) @binding(2) var<storage, read> b: array<f16>;            // [4, SIZE, SIZE]: one for each chain
@group(0) @binding(3) var<storage, read_write> c: array<f32>;      // [workgroups, subgroups, 4, SIZE, SIZE]
@group(0) @binding(4) var<storage, read_write> ran: array<u32>;    // [workgroups]: subgroups

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let tile = SIZE * SIZE;
    let plus = coopLoadT<coop_mat16x16<f16, A>>(&a[0], SIZE);
    let minus = coopLoadT<coop_mat16x16<f16, A>>(&a[tile], SIZE);
    let b0 = coopLoadT<coop_mat16x16<f16, B>>(&b[0], SIZE);
    let b1 = coopLoadT<coop_mat16x16<f16, B>>(&b[tile], SIZE);
    let b2 = coopLoadT<coop_mat16x16<f16, B>>(&b[2u * tile], SIZE);
    let b3 = coopLoadT<coop_mat16x16<f16, B>>(&b[3u * tile], SIZE);
    var c0 = coop_mat16x16<f32, C>();
    var c1 = coop_mat16x16<f32, C>();
    var c2 = coop_mat16x16<f32, C>();
    var c3 = coop_mat16x16<f32, C>();
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
    // More subgroups than there is room for share the last tiles; what `ran` says then is refused.
    let at = (group.x * params.subgroups + min(subgroup, params.subgroups - 1u)) * 4u * tile;
    coopStoreT(coopMultiplyAdd(plus, b0, c0), &c[at], SIZE);
    coopStoreT(coopMultiplyAdd(plus, b1, c1), &c[at + tile], SIZE);
    coopStoreT(coopMultiplyAdd(plus, b2, c2), &c[at + 2u * tile], SIZE);
    coopStoreT(coopMultiplyAdd(plus, b3, c3), &c[at + 3u * tile], SIZE);
    if index == 0u {
        ran[group.x] = subgroups;
    }
}
