// Roof of arithmetic: 3 independent chains of vec4 multiply-adds in registers, 16 unrolled steps a round.
// x <- x * factor + addend, ROUNDS * 16 times. Every invocation writes its chains' sum, so nothing can be left out.
alias Element = f32;
alias Element4 = vec4<Element>;

override WORKGROUP: u32 = 64u;

const CHAINS: u32 = 3u; // vec4: 12 numbers a lane stay in registers everywhere, 32 do not on a CPU
const STEPS: u32 = 16u;

struct Params {
    rounds: u32,
    factor: f32,
    addend: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> start: array<f32>;           // [invocations]
@group(0) @binding(2) var<storage, read_write> finish: array<f32>;    // [invocations]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let factor = Element4(Element(params.factor));
    let addend = Element4(Element(params.addend));
    var x: array<Element4, CHAINS>;
    for (var c = 0u; c < CHAINS; c++) {
        x[c] = Element4(Element(start[id.x] + f32(c) * 0.125));
    }
    for (var round = 0u; round < params.rounds; round++) {
        for (var step = 0u; step < STEPS; step++) {
            for (var c = 0u; c < CHAINS; c++) {
                x[c] = fma(x[c], factor, addend);
            }
        }
    }
    var sum = vec4<f32>();
    for (var c = 0u; c < CHAINS; c++) {
        sum += vec4<f32>(x[c]);
    }
    finish[id.x] = sum.x + sum.y + sum.z + sum.w;
}
