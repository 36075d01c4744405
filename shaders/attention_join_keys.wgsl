// The keys of expanded latent attention: the part of each head, and behind it the rotary part that all heads share.
//   out[token, head, :] = own[token, head, :], rotary[token, :]
// One invocation copies 8 bytes, whatever type they hold. Widths count in 8 bytes.
override WORKGROUP: u32 = 64u;

struct Params {
    tokens: u32,
    heads: u32,
    own_width: u32,
    rotary_width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> own: array<vec2<u32>>;       // [tokens, heads, own]
@group(0) @binding(2) var<storage, read> rotary: array<vec2<u32>>;    // [tokens, rotary]
@group(0) @binding(3) var<storage, read_write> out: array<vec2<u32>>; // [tokens, heads, own + rotary]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = params.own_width + params.rotary_width;
    let token = id.y;
    let head = id.x / width;
    let column = id.x % width;
    if head >= params.heads {
        return;
    }
    let row = token * params.heads + head;
    if column < params.own_width {
        out[row * width + column] = own[row * params.own_width + column];
    } else {
        out[row * width + column] = rotary[token * params.rotary_width + column - params.own_width];
    }
}
