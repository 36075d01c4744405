// A small matrix of its own for every head: the projections of multi-head latent attention that are folded into decode.
//   out[token, head, :n] = a[token, head, :k] * b[head]          out[token, head, n:] = a[token, head, k:]
// The rest of a row behind k, the rotary part of a query, is copied behind the product. An invocation computes one vec4
// for ROWS tokens, so that it reads each vec4 of b once for them. GROUPS groups of rows share a workgroup.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override WIDTH: u32 = 64u; // invocations along the columns
override GROUPS: u32 = 1u;

const ROWS: u32 = 8u;

struct Params {
    tokens: u32,
    heads: u32,
    k4: u32,
    n4: u32,
    rest4: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Element4>;         // [tokens, heads, k + rest]
@group(0) @binding(2) var<storage, read> b: array<Element4>;         // [heads, k, n]
@group(0) @binding(3) var<storage, read_write> out: array<Element4>; // [tokens, heads, n + rest]

// sum + x.x * y0 + x.y * y1 + x.z * y2 + x.w * y3
fn add_four_products(
    x: vec4<f32>,
    y0: vec4<f32>,
    y1: vec4<f32>,
    y2: vec4<f32>,
    y3: vec4<f32>,
    sum: vec4<f32>,
) -> vec4<f32> {
    return fma(vec4(x.w), y3, fma(vec4(x.z), y2, fma(vec4(x.y), y1, fma(vec4(x.x), y0, sum))));
}

@compute @workgroup_size(WIDTH, GROUPS, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let column = group.x * WIDTH + local.x;
    let first = (group.y * GROUPS + local.y) * ROWS;
    let head = group.z;
    let width = params.n4 + params.rest4;
    if column >= width || first >= params.tokens {
        return;
    }
    // The last rows may be read twice; each is stored once.
    var a_at = array<u32, ROWS>();
    for (var i = 0u; i < ROWS; i++) {
        let token = min(first + i, params.tokens - 1u);
        a_at[i] = (token * params.heads + head) * (params.k4 + params.rest4);
    }
    let last = min(first + ROWS, params.tokens);
    if column >= params.n4 {
        for (var token = first; token < last; token++) {
            let row = token * params.heads + head;
            out[row * width + column] = a[row * (params.k4 + params.rest4) + params.k4 + column - params.n4];
        }
        return;
    }
    var sum = array<vec4<f32>, ROWS>();
    var at = head * params.k4 * 4u * params.n4 + column;
    for (var k = 0u; k < params.k4; k++) {
        let y0 = widen(b[at]);
        let y1 = widen(b[at + params.n4]);
        let y2 = widen(b[at + 2u * params.n4]);
        let y3 = widen(b[at + 3u * params.n4]);
        at += 4u * params.n4;
        for (var i = 0u; i < ROWS; i++) {
            sum[i] = add_four_products(widen(a[a_at[i] + k]), y0, y1, y2, y3, sum[i]);
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        if first + i < params.tokens {
            out[((first + i) * params.heads + head) * width + column] = narrow(sum[i]);
        }
    }
}
