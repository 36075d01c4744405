// Merges the parts of a split decode. One invocation merges a share of the parts, in one vec4 of the output; the first
// one of a column merges the shares.
//   out = sum_s exp(m_s - m) part_out_s / sum_s exp(m_s - m) l_s
// Part s has the largest score m_s and the sum of exponentials l_s; m is the largest of all m_s. A head's sink counts as
// one more part: m_s is its logit, l_s is 1 and its output zero.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override SHARES: u32 = 1u;

const COLUMNS: u32 = 32u;
const LOWEST: f32 = -3.0e38;

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

var<workgroup> share_out: array<vec4<f32>, SHARES * COLUMNS>;
var<workgroup> share_state: array<vec2<f32>, SHARES * COLUMNS>;

@compute @workgroup_size(COLUMNS, SHARES, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let column = min(id.x, params.head_dim4 - 1u);
    let share = local.y;
    let head = id.z * params.heads + id.y / SHARES;
    let sink = select(LOWEST, sinks[id.y / SHARES], share == 0u);
    var largest = sink;
    for (var s = share; s < params.splits; s += SHARES) {
        largest = max(largest, part_state[head * params.splits + s].x);
    }
    var total = exp(sink - largest);
    var sum = vec4<f32>();
    for (var s = share; s < params.splits; s += SHARES) {
        let part = head * params.splits + s;
        let factor = exp(part_state[part].x - largest);
        total = fma(factor, part_state[part].y, total);
        sum = fma(vec4(factor), part_out[part * params.head_dim4 + column], sum);
    }
    if SHARES > 1u {
        share_state[share * COLUMNS + local.x] = vec2(largest, total);
        share_out[share * COLUMNS + local.x] = sum;
        workgroupBarrier();
        for (var other = 1u; other < SHARES && share == 0u; other++) {
            let state = share_state[other * COLUMNS + local.x];
            let now = max(largest, state.x);
            let shrink = exp(largest - now);
            let factor = exp(state.x - now);
            largest = now;
            total = fma(factor, state.y, total * shrink);
            sum = fma(vec4(factor), share_out[other * COLUMNS + local.x], sum * shrink);
        }
    }
    if share == 0u && id.x < params.head_dim4 {
        out[head * params.head_dim4 + column] = narrow(sum / total);
    }
}
