// Roof of packed int8 arithmetic: 32 independent chains of x <- dot4(x, factor) + addend in registers, 16 unrolled steps
// a round. The operand is the last result, so no step can be left out. Integers wrap, so the result is exact.
override WORKGROUP: u32 = 64u;

const CHAINS: u32 = 32u;
const STEPS: u32 = 16u;

struct Params {
    rounds: u32,
    factor: u32, // four int8
    addend: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> start: array<i32>;           // [invocations]
@group(0) @binding(2) var<storage, read_write> finish: array<i32>;    // [invocations]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var x: array<i32, CHAINS>;
    for (var c = 0u; c < CHAINS; c++) {
        x[c] = start[id.x] + i32(c) * 40503;
    }
    for (var round = 0u; round < params.rounds; round++) {
        for (var step = 0u; step < STEPS; step++) {
            for (var c = 0u; c < CHAINS; c++) {
                x[c] = dot4I8Packed(bitcast<u32>(x[c]), params.factor) + params.addend;
            }
        }
    }
    var sum = 0;
    for (var c = 0u; c < CHAINS; c++) {
        sum += x[c];
    }
    finish[id.x] = sum;
}
