// Roof of arithmetic as a matrix product issues it: 16 sums c_ij <- a * b_j + c_ij in registers, 16 steps a round, unrolled by
// hand: a compiler that does not unroll would time its loop. No product may come twice, and two products in a row of one sum
// may have no factor in common, or a compiler is free to multiply less: so the a take turns, and the b = (p, q) change in each
// step by multiply-adds, which count as well. p <- p - q, q <- q + p has a period of six, over which its numbers add up to
// nothing: the sums swing, and are back after twelve steps.
alias Element = f32;
alias Element4 = vec4<Element>;

override WORKGROUP: u32 = 64u;

struct Params {
    rounds: u32,
    minus: f32,
    plus: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> start: array<vec4<f32>>;     // [invocations]
@group(0) @binding(2) var<storage, read_write> finish: array<f32>;    // [invocations]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let a = Element4(start[id.x]);
    let a0 = Element4(a.x);
    let a1 = Element4(a.y);
    let a2 = Element4(a.z);
    let a3 = Element4(a.w);
    let minus = vec2(Element(params.minus));
    let plus = vec2(Element(params.plus));
    var p = a.wz;
    var q = a.xy;
    var b = vec4(p, q);
    var c0 = a;
    var c1 = a;
    var c2 = a;
    var c3 = a;
    for (var round = 0u; round < params.rounds; round++) {
        c0 = fma(a0, b, c0); c1 = fma(a1, b, c1); c2 = fma(a2, b, c2); c3 = fma(a3, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a1, b, c0); c1 = fma(a2, b, c1); c2 = fma(a3, b, c2); c3 = fma(a0, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a2, b, c0); c1 = fma(a3, b, c1); c2 = fma(a0, b, c2); c3 = fma(a1, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a3, b, c0); c1 = fma(a0, b, c1); c2 = fma(a1, b, c2); c3 = fma(a2, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a0, b, c0); c1 = fma(a1, b, c1); c2 = fma(a2, b, c2); c3 = fma(a3, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a1, b, c0); c1 = fma(a2, b, c1); c2 = fma(a3, b, c2); c3 = fma(a0, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a2, b, c0); c1 = fma(a3, b, c1); c2 = fma(a0, b, c2); c3 = fma(a1, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a3, b, c0); c1 = fma(a0, b, c1); c2 = fma(a1, b, c2); c3 = fma(a2, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a0, b, c0); c1 = fma(a1, b, c1); c2 = fma(a2, b, c2); c3 = fma(a3, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a1, b, c0); c1 = fma(a2, b, c1); c2 = fma(a3, b, c2); c3 = fma(a0, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a2, b, c0); c1 = fma(a3, b, c1); c2 = fma(a0, b, c2); c3 = fma(a1, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a3, b, c0); c1 = fma(a0, b, c1); c2 = fma(a1, b, c2); c3 = fma(a2, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a0, b, c0); c1 = fma(a1, b, c1); c2 = fma(a2, b, c2); c3 = fma(a3, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a1, b, c0); c1 = fma(a2, b, c1); c2 = fma(a3, b, c2); c3 = fma(a0, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a2, b, c0); c1 = fma(a3, b, c1); c2 = fma(a0, b, c2); c3 = fma(a1, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
        c0 = fma(a3, b, c0); c1 = fma(a0, b, c1); c2 = fma(a1, b, c2); c3 = fma(a2, b, c3);
        p = fma(q, minus, p); q = fma(p, plus, q); b = vec4(p, q);
    }
    let sum = vec4<f32>(c0) + vec4<f32>(c1) + vec4<f32>(c2) + vec4<f32>(c3);
    finish[id.x] = sum.x + sum.y + sum.z + sum.w;
}
