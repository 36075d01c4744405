// Peak rate of multiply-adds as a matrix product issues them: 16 sums c_ij <- a_i * b_j + c_ij stay in registers. A
// round is 16 steps, written out, since a compiler that does not unroll would time its loop. A compiler could multiply
// less if a product came twice, or if two consecutive products of one sum shared a factor. Therefore the a take turns,
// and b = (p, q) changes in each step by multiply-adds, which are counted too: p <- p - q, q <- q + p. This has a
// period of six steps, over which p and q add up to zero. The sums return to their start after twelve steps.
alias Element = f32;
alias Element4 = vec4<Element>;

override WORKGROUP: u32 = 64u;

struct Params {
    rounds: u32,
    minus: f32,
    plus: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> start: array<vec4<f32>>;  // [invocations]
@group(0) @binding(2) var<storage, read_write> finish: array<f32>; // [invocations]

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
