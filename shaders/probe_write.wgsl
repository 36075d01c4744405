// Bandwidth of streaming writes: 16 bytes per invocation and step, four steps.
override WORKGROUP: u32 = 256u;

struct Params {
    invocations: u32, // of the whole grid; the buffer holds 4 times as many vec4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> seed: array<u32>;               // [1]
@group(0) @binding(2) var<storage, read_write> filled: array<vec4<u32>>;

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let value = seed[0];
    for (var i = 0u; i < 4u; i++) {
        let at = id.x + i * params.invocations;
        filled[at] = vec4(at) * 4u + vec4(0u, 1u, 2u, 3u) + vec4(value);
    }
}
