// Weighted sum of the expert outputs of each token, back in token order, plus the output of a shared expert. One
// invocation computes one vec4 of the output.
//   out[token, :] = sum over j < top_k of weight[token, j] * y[row_of_slot[token * top_k + j], :] + w * shared_y[token, :]
// with w = shared_weight[token], or its sigmoid where the shared expert has a gate of its own.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override WORKGROUP: u32 = 64u;
override GATED: bool = false;

struct Params {
    tokens: u32,
    n4: u32,
    top_k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<Element4>;         // [rows, n]
@group(0) @binding(2) var<storage, read> weight: array<f32>;         // [tokens, top_k]
@group(0) @binding(3) var<storage, read> row_of_slot: array<u32>;    // [tokens * top_k]
@group(0) @binding(4) var<storage, read> shared_y: array<Element4>;  // [tokens, n]
@group(0) @binding(5) var<storage, read> shared_weight: array<vec4<f32>>; // [tokens], in x
@group(0) @binding(6) var<storage, read_write> out: array<Element4>; // [tokens, n]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x;
    let token = id.y;
    if column >= params.n4 {
        return;
    }
    var sum = vec4<f32>();
    for (var j = 0u; j < params.top_k; j++) {
        let slot = token * params.top_k + j;
        sum = fma(vec4(weight[slot]), widen(y[row_of_slot[slot] * params.n4 + column]), sum);
    }
    var w = shared_weight[token].x;
    if GATED {
        w = 1.0 / (1.0 + exp(-w));
    }
    sum = fma(vec4(w), widen(shared_y[token * params.n4 + column]), sum);
    out[token * params.n4 + column] = narrow(sum);
}
