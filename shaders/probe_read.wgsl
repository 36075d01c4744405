// Bandwidth of streaming reads: each invocation adds up every invocations-th vec4 of a large buffer and writes one
// value.
override WORKGROUP: u32 = 64u;

struct Params {
    vectors: u32,     // length of data in vec4
    invocations: u32, // of the whole grid
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> data: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> sum: array<vec4<f32>>; // [invocations]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var x0 = vec4<f32>();
    var x1 = vec4<f32>();
    var x2 = vec4<f32>();
    var x3 = vec4<f32>();
    let step = params.invocations;
    var i = id.x;
    // Four loads are in flight; vectors is a multiple of 4 * invocations.
    for (; i < params.vectors; i += 4u * step) {
        x0 += data[i];
        x1 += data[i + step];
        x2 += data[i + 2u * step];
        x3 += data[i + 3u * step];
    }
    sum[id.x] = (x0 + x1) + (x2 + x3);
}
