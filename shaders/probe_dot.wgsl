// Roof of packed int8 arithmetic: 8 independent sums of dot4(x, factor), 16 steps a round, unrolled by hand: a compiler that
// does not unroll would time its loop. All sums share x, as the columns of a product share a row, which is what counts where
// the bytes are taken apart first; x moves on each step, so none can be left out. Integers wrap, so the result is exact.
override WORKGROUP: u32 = 64u;

struct Params {
    rounds: u32,
    factor: u32, // four int8
    step: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> start: array<i32>;           // [invocations]
@group(0) @binding(2) var<storage, read_write> finish: array<i32>;    // [invocations]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var x = bitcast<u32>(start[id.x]);
    let step = params.step;
    let f0 = params.factor;
    let f1 = params.factor ^ (1u * 0x09050301u);
    let f2 = params.factor ^ (2u * 0x09050301u);
    let f3 = params.factor ^ (3u * 0x09050301u);
    let f4 = params.factor ^ (4u * 0x09050301u);
    let f5 = params.factor ^ (5u * 0x09050301u);
    let f6 = params.factor ^ (6u * 0x09050301u);
    let f7 = params.factor ^ (7u * 0x09050301u);
    var a = 0;
    var b = 0;
    var c = 0;
    var d = 0;
    var e = 0;
    var f = 0;
    var g = 0;
    var h = 0;
    for (var round = 0u; round < params.rounds; round++) {
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
        x += step;
        a += dot4I8Packed(x, f0); b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3);
        e += dot4I8Packed(x, f4); f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7);
    }
    finish[id.x] = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
}
