// Peak rate of multiply-adds. Three independent chains x <- x * factor + addend of vec4 stay in registers; a round is
// 16 steps. The steps are written out, since a compiler that does not unroll would time its loop. Every invocation
// writes the sum of its chains, so that no work can be removed.
alias Element = f32;
alias Element4 = vec4<Element>;

override WORKGROUP: u32 = 64u;

struct Params {
    rounds: u32,
    factor: f32,
    addend: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> start: array<f32>;        // [invocations]
@group(0) @binding(2) var<storage, read_write> finish: array<f32>; // [invocations]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let factor = Element4(Element(params.factor));
    let addend = Element4(Element(params.addend));
    // 12 numbers per lane stay in registers on every device; 32 do not on a CPU.
    var a = Element4(Element(start[id.x]));
    var b = Element4(Element(start[id.x] + 0.125));
    var c = Element4(Element(start[id.x] + 0.25));
    for (var round = 0u; round < params.rounds; round++) {
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
        a = fma(a, factor, addend); b = fma(b, factor, addend); c = fma(c, factor, addend);
    }
    let sum = vec4<f32>(a) + vec4<f32>(b) + vec4<f32>(c);
    finish[id.x] = sum.x + sum.y + sum.z + sum.w;
}
