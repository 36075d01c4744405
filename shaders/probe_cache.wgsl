// Read bandwidth of the last-level cache: a working set that fits it is read PASSES times. An invocation reads from
// another place in each pass. Caches closer to it hold only a part of the set and cannot answer.
override WORKGROUP: u32 = 64u;

struct Params {
    vectors: u32,     // length of data in vec4, a power of two
    invocations: u32, // of the whole grid, a power of two
    passes: u32,
    shift: u32,       // vec4 by which the reads move from pass to pass
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
    let mask = params.vectors - 1u;
    for (var pass_ = 0u; pass_ < params.passes; pass_++) {
        let start = id.x + pass_ * params.shift;
        for (var i = 0u; i < params.vectors; i += 4u * step) {
            x0 += data[(start + i) & mask];
            x1 += data[(start + i + step) & mask];
            x2 += data[(start + i + 2u * step) & mask];
            x3 += data[(start + i + 3u * step) & mask];
        }
    }
    sum[id.x] = (x0 + x1) + (x2 + x3);
}
