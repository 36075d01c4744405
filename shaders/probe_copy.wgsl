// Bandwidth of streaming copies: 16 bytes per invocation and step, four steps.
override WORKGROUP: u32 = 64u;

struct Params {
    invocations: u32, // of the whole grid; the buffers hold 4 times as many vec4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> data: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> copy: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    for (var i = 0u; i < 4u; i++) {
        copy[id.x + i * params.invocations] = data[id.x + i * params.invocations];
    }
}
