// Peak rate of packed int8 arithmetic: 8 sums of dot4(x, factor). A round is 16 steps, written out, since a compiler
// that does not unroll would time its loop. All sums of a step share x, as the columns of a product share a row; a
// device that unpacks bytes then unpacks x once. Two consecutive products of one sum have no common factor: otherwise a
// compiler that unpacks the bytes could add before it multiplies. So x is each of the sums in turn, and the factors
// take turns. The sum that is x in the next step is updated first; the other seven hide its latency. Integers wrap, so
// the result is exact.
override WORKGROUP: u32 = 64u;

struct Params {
    rounds: u32,
    factor: u32, // four int8
    spread: u32, // difference between the starts of two sums
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> start: array<u32>;        // [invocations]
@group(0) @binding(2) var<storage, read_write> finish: array<i32>; // [invocations]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let first = start[id.x];
    let f0 = params.factor;
    let f1 = params.factor ^ (1u * 0x09050301u);
    let f2 = params.factor ^ (2u * 0x09050301u);
    let f3 = params.factor ^ (3u * 0x09050301u);
    let f4 = params.factor ^ (4u * 0x09050301u);
    let f5 = params.factor ^ (5u * 0x09050301u);
    let f6 = params.factor ^ (6u * 0x09050301u);
    let f7 = params.factor ^ (7u * 0x09050301u);
    var a = bitcast<i32>(first);
    var b = bitcast<i32>(first + 1u * params.spread);
    var c = bitcast<i32>(first + 2u * params.spread);
    var d = bitcast<i32>(first + 3u * params.spread);
    var e = bitcast<i32>(first + 4u * params.spread);
    var f = bitcast<i32>(first + 5u * params.spread);
    var g = bitcast<i32>(first + 6u * params.spread);
    var h = bitcast<i32>(first + 7u * params.spread);
    var x = first;
    for (var round = 0u; round < params.rounds; round++) {
        x = bitcast<u32>(a);
        b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3); e += dot4I8Packed(x, f4);
        f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7); a += dot4I8Packed(x, f0);
        x = bitcast<u32>(b);
        c += dot4I8Packed(x, f3); d += dot4I8Packed(x, f4); e += dot4I8Packed(x, f5); f += dot4I8Packed(x, f6);
        g += dot4I8Packed(x, f7); h += dot4I8Packed(x, f0); a += dot4I8Packed(x, f1); b += dot4I8Packed(x, f2);
        x = bitcast<u32>(c);
        d += dot4I8Packed(x, f5); e += dot4I8Packed(x, f6); f += dot4I8Packed(x, f7); g += dot4I8Packed(x, f0);
        h += dot4I8Packed(x, f1); a += dot4I8Packed(x, f2); b += dot4I8Packed(x, f3); c += dot4I8Packed(x, f4);
        x = bitcast<u32>(d);
        e += dot4I8Packed(x, f7); f += dot4I8Packed(x, f0); g += dot4I8Packed(x, f1); h += dot4I8Packed(x, f2);
        a += dot4I8Packed(x, f3); b += dot4I8Packed(x, f4); c += dot4I8Packed(x, f5); d += dot4I8Packed(x, f6);
        x = bitcast<u32>(e);
        f += dot4I8Packed(x, f1); g += dot4I8Packed(x, f2); h += dot4I8Packed(x, f3); a += dot4I8Packed(x, f4);
        b += dot4I8Packed(x, f5); c += dot4I8Packed(x, f6); d += dot4I8Packed(x, f7); e += dot4I8Packed(x, f0);
        x = bitcast<u32>(f);
        g += dot4I8Packed(x, f3); h += dot4I8Packed(x, f4); a += dot4I8Packed(x, f5); b += dot4I8Packed(x, f6);
        c += dot4I8Packed(x, f7); d += dot4I8Packed(x, f0); e += dot4I8Packed(x, f1); f += dot4I8Packed(x, f2);
        x = bitcast<u32>(g);
        h += dot4I8Packed(x, f5); a += dot4I8Packed(x, f6); b += dot4I8Packed(x, f7); c += dot4I8Packed(x, f0);
        d += dot4I8Packed(x, f1); e += dot4I8Packed(x, f2); f += dot4I8Packed(x, f3); g += dot4I8Packed(x, f4);
        x = bitcast<u32>(h);
        a += dot4I8Packed(x, f7); b += dot4I8Packed(x, f0); c += dot4I8Packed(x, f1); d += dot4I8Packed(x, f2);
        e += dot4I8Packed(x, f3); f += dot4I8Packed(x, f4); g += dot4I8Packed(x, f5); h += dot4I8Packed(x, f6);
        x = bitcast<u32>(a);
        b += dot4I8Packed(x, f1); c += dot4I8Packed(x, f2); d += dot4I8Packed(x, f3); e += dot4I8Packed(x, f4);
        f += dot4I8Packed(x, f5); g += dot4I8Packed(x, f6); h += dot4I8Packed(x, f7); a += dot4I8Packed(x, f0);
        x = bitcast<u32>(b);
        c += dot4I8Packed(x, f3); d += dot4I8Packed(x, f4); e += dot4I8Packed(x, f5); f += dot4I8Packed(x, f6);
        g += dot4I8Packed(x, f7); h += dot4I8Packed(x, f0); a += dot4I8Packed(x, f1); b += dot4I8Packed(x, f2);
        x = bitcast<u32>(c);
        d += dot4I8Packed(x, f5); e += dot4I8Packed(x, f6); f += dot4I8Packed(x, f7); g += dot4I8Packed(x, f0);
        h += dot4I8Packed(x, f1); a += dot4I8Packed(x, f2); b += dot4I8Packed(x, f3); c += dot4I8Packed(x, f4);
        x = bitcast<u32>(d);
        e += dot4I8Packed(x, f7); f += dot4I8Packed(x, f0); g += dot4I8Packed(x, f1); h += dot4I8Packed(x, f2);
        a += dot4I8Packed(x, f3); b += dot4I8Packed(x, f4); c += dot4I8Packed(x, f5); d += dot4I8Packed(x, f6);
        x = bitcast<u32>(e);
        f += dot4I8Packed(x, f1); g += dot4I8Packed(x, f2); h += dot4I8Packed(x, f3); a += dot4I8Packed(x, f4);
        b += dot4I8Packed(x, f5); c += dot4I8Packed(x, f6); d += dot4I8Packed(x, f7); e += dot4I8Packed(x, f0);
        x = bitcast<u32>(f);
        g += dot4I8Packed(x, f3); h += dot4I8Packed(x, f4); a += dot4I8Packed(x, f5); b += dot4I8Packed(x, f6);
        c += dot4I8Packed(x, f7); d += dot4I8Packed(x, f0); e += dot4I8Packed(x, f1); f += dot4I8Packed(x, f2);
        x = bitcast<u32>(g);
        h += dot4I8Packed(x, f5); a += dot4I8Packed(x, f6); b += dot4I8Packed(x, f7); c += dot4I8Packed(x, f0);
        d += dot4I8Packed(x, f1); e += dot4I8Packed(x, f2); f += dot4I8Packed(x, f3); g += dot4I8Packed(x, f4);
        x = bitcast<u32>(h);
        a += dot4I8Packed(x, f7); b += dot4I8Packed(x, f0); c += dot4I8Packed(x, f1); d += dot4I8Packed(x, f2);
        e += dot4I8Packed(x, f3); f += dot4I8Packed(x, f4); g += dot4I8Packed(x, f5); h += dot4I8Packed(x, f6);
    }
    finish[id.x] = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
}
