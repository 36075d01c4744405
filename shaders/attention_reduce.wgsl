// Merges the parts of a split decode. One invocation computes one vec4 of the output.
//   out = sum_s exp(m_s - m) part_out_s / sum_s exp(m_s - m) l_s
// Part s has the largest score m_s and the sum of exponentials l_s; m is the largest of all m_s. A head's sink counts as
// one more part: m_s is its logit, l_s is 1 and its output zero.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override WORKGROUP: u32 = 32u;

struct Params {
    head_dim4: u32,
    heads: u32,
    splits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> part_state: array<vec2<f32>>; // [sequences, heads, splits]: largest, sum
@group(0) @binding(2) var<storage, read> part_out: array<vec4<f32>>;   // [sequences, heads, splits, head_dim]
@group(0) @binding(3) var<storage, read> sinks: array<f32>;            // [heads]; -3.0e38 for a head without
@group(0) @binding(4) var<storage, read_write> out: array<Element4>;   // [sequences, heads, head_dim]

@compute @workgroup_size(WORKGROUP, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x;
    if column >= params.head_dim4 {
        return;
    }
    let head = id.z * params.heads + id.y;
    let sink = sinks[id.y];
    var largest = sink;
    for (var s = 0u; s < params.splits; s++) {
        largest = max(largest, part_state[head * params.splits + s].x);
    }
    var total = exp(sink - largest);
    var sum = vec4<f32>();
    for (var s = 0u; s < params.splits; s++) {
        let part = head * params.splits + s;
        let factor = exp(part_state[part].x - largest);
        total = fma(factor, part_state[part].y, total);
        sum = fma(vec4(factor), part_out[part * params.head_dim4 + column], sum);
    }
    out[head * params.head_dim4 + column] = narrow(sum / total);
}
