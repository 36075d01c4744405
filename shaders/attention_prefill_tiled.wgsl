// Attention of many queries with online softmax, causal or not. A workgroup takes ROWS queries and KEYS keys at a time.
// Its invocations are 8 groups of queries x LANES lanes. An invocation computes QUERIES x EACH scores, then QUERIES rows
// x VALUES vec4 of the output. All operands pass through workgroup memory, in turn:
//   1. queries (transposed) and keys, STEP4 vec4 of their dimensions at a time;
//   2. the largest scores of the lanes;
//   3. the exponentials of all keys, and the values of TURN keys at a time.
//   out[i, h, :] = sum over visible j of softmax_j(scale * q[i, h] . k[j, h / group]) * v[j, h / group, :]
// Under CAUSAL, query i is at position kv_len - q_len + i and sees the `window` keys up to that position. Otherwise it
// sees all keys. The softmax has the sink of head h as one more score, whose value is zero.
alias Element = f32;
alias Element4 = vec4<Element>;
fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }
fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }

override HEAD_DIM4: u32 = 32u;  // head_dim / 4 of queries and keys
override VALUE_DIM4: u32 = 32u; // head_dim / 4 of values, at most 32
override CAUSAL: bool = true;

const LANES: u32 = 16u;  // per group of queries
const QUERIES: u32 = 8u; // per invocation
const EACH: u32 = 4u;    // keys per invocation
const GROUPS: u32 = 8u;
const QUERIES4: u32 = QUERIES / 4u;
const INVOCATIONS: u32 = GROUPS * LANES;
const ROWS: u32 = GROUPS * QUERIES;
const KEYS: u32 = LANES * EACH;
const TURN: u32 = 16u; // keys whose values are in workgroup memory at a time
const STEP4: u32 = 8u;
const KEY_STRIDE: u32 = STEP4 + 1u; // one vec4 of padding keeps lanes on different banks
const ROW_STRIDE: u32 = ROWS / 4u + 1u;
const MAX_VALUES: u32 = 32u / LANES;
override VALUES: u32 = (VALUE_DIM4 + LANES - 1u) / LANES;
const KEYS_AT: u32 = 4u * STEP4 * ROW_STRIDE;
const VALUES_AT: u32 = KEYS * ROW_STRIDE;
const OPERANDS: u32 = KEYS_AT + KEYS * KEY_STRIDE;
override TILE: u32 = max(OPERANDS, VALUES_AT + TURN * LANES * VALUES);

const LOWEST: f32 = -3.0e38;
const LOG2_E: f32 = 1.4426950408889634;
const NO_WINDOW: u32 = 0x7FFFFFFFu;

struct Params {
    q_len: u32,
    kv_len: u32,
    heads: u32,
    kv_heads: u32,
    window: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<Element4>;         // [q_len, heads, head_dim]
@group(0) @binding(2) var<storage, read> k: array<Element4>;         // [kv_len, kv_heads, head_dim]
@group(0) @binding(3) var<storage, read> v: array<Element4>;         // [kv_len, kv_heads, value_dim]
@group(0) @binding(4) var<storage, read> sinks: array<f32>;          // [heads], LOWEST: none
@group(0) @binding(5) var<storage, read_write> out: array<Element4>; // [q_len, heads, value_dim]

var<workgroup> tile: array<vec4<f32>, TILE>;

// The largest of each row over the lanes of a group, from what each lane found.
fn largest_of_lanes(group: u32, lane: u32, own: ptr<function, array<vec4<f32>, QUERIES4>>) {
    let at = group * QUERIES4;
    workgroupBarrier();
    for (var h = 0u; h < QUERIES4; h++) {
        tile[lane * ROW_STRIDE + at + h] = (*own)[h];
    }
    workgroupBarrier();
    for (var other = 0u; other < LANES; other++) {
        for (var h = 0u; h < QUERIES4; h++) {
            (*own)[h] = max((*own)[h], tile[other * ROW_STRIDE + at + h]);
        }
    }
}

// The sum of each row over the lanes of a group.
fn sum_of_lanes(group: u32, lane: u32, own: ptr<function, array<vec4<f32>, QUERIES4>>) {
    let at = group * QUERIES4;
    workgroupBarrier();
    for (var h = 0u; h < QUERIES4; h++) {
        tile[lane * ROW_STRIDE + at + h] = (*own)[h];
        (*own)[h] = vec4<f32>();
    }
    workgroupBarrier();
    for (var other = 0u; other < LANES; other++) {
        for (var h = 0u; h < QUERIES4; h++) {
            (*own)[h] += tile[other * ROW_STRIDE + at + h];
        }
    }
}

@compute @workgroup_size(INVOCATIONS, 1, 1)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % LANES;
    let group = local / LANES;
    let head = workgroup.y;
    let kv_head = head / (params.heads / params.kv_heads);
    let past = params.kv_len - params.q_len;
    let first_row = workgroup.x * ROWS;
    let last_row = min(first_row + ROWS, params.q_len) - 1u;
    // Query i sees key j if position(i) - j, as an unsigned number, is less than the window.
    let window = select(NO_WINDOW, min(params.window, NO_WINDOW), CAUSAL);
    let end = select(params.kv_len, past + last_row + 1u, CAUSAL);
    let begin = select(0u, past + first_row + 1u - min(window, past + first_row + 1u), CAUSAL);

    var position = array<vec4<u32>, QUERIES4>();
    var largest = array<vec4<f32>, QUERIES4>();
    var total = array<vec4<f32>, QUERIES4>();
    for (var h = 0u; h < QUERIES4; h++) {
        let row = first_row + group * QUERIES + h * 4u;
        position[h] = select(vec4(params.kv_len - 1u), vec4(past + row) + vec4(0u, 1u, 2u, 3u), CAUSAL);
        largest[h] = vec4(max(sinks[head] * LOG2_E, LOWEST));
        total[h] = vec4(select(0.0, 1.0, lane == 0u));
    }
    var sum = array<array<vec4<f32>, MAX_VALUES>, QUERIES>();
    for (var first_key = begin; first_key < end; first_key += KEYS) {
        var score = array<array<vec4<f32>, QUERIES4>, EACH>();
        for (var step = 0u; step < HEAD_DIM4; step += STEP4) {
            if step > 0u {
                workgroupBarrier();
            }
            for (var i = local; i < ROWS / 4u * STEP4; i += INVOCATIONS) {
                let d = i % STEP4;
                let row = first_row + i / STEP4 * 4u;
                let at = (row * params.heads + head) * HEAD_DIM4 + step + d;
                let last = (last_row * params.heads + head) * HEAD_DIM4 + HEAD_DIM4 - 1u;
                let next = params.heads * HEAD_DIM4;
                // Rows beyond the last repeat it.
                let x0 = widen(q[min(at, last)]);
                let x1 = widen(q[min(at + next, last)]);
                let x2 = widen(q[min(at + 2u * next, last)]);
                let x3 = widen(q[min(at + 3u * next, last)]);
                let to = d * 4u * ROW_STRIDE + i / STEP4;
                tile[to] = vec4(x0.x, x1.x, x2.x, x3.x);
                tile[to + ROW_STRIDE] = vec4(x0.y, x1.y, x2.y, x3.y);
                tile[to + 2u * ROW_STRIDE] = vec4(x0.z, x1.z, x2.z, x3.z);
                tile[to + 3u * ROW_STRIDE] = vec4(x0.w, x1.w, x2.w, x3.w);
            }
            for (var n = 0u; n < KEYS * STEP4 / INVOCATIONS; n++) {
                let i = n * INVOCATIONS + local;
                let key = min(first_key + i / STEP4, end - 1u);
                let d = min(step + i % STEP4, HEAD_DIM4 - 1u);
                tile[KEYS_AT + i / STEP4 * KEY_STRIDE + i % STEP4] =
                    widen(k[(key * params.kv_heads + kv_head) * HEAD_DIM4 + d]);
            }
            workgroupBarrier();
            let dims4 = select(min(STEP4, HEAD_DIM4 - step), STEP4, HEAD_DIM4 % STEP4 == 0u);
            for (var d = 0u; d < dims4; d++) {
                for (var h = 0u; h < QUERIES4; h++) {
                    let at = d * 4u * ROW_STRIDE + group * QUERIES4 + h;
                    let x0 = tile[at];
                    let x1 = tile[at + ROW_STRIDE];
                    let x2 = tile[at + 2u * ROW_STRIDE];
                    let x3 = tile[at + 3u * ROW_STRIDE];
                    for (var j = 0u; j < EACH; j++) {
                        let y = tile[KEYS_AT + (j * LANES + lane) * KEY_STRIDE + d];
                        score[j][h] = fma(x0, vec4(y.x), score[j][h]);
                        score[j][h] = fma(x1, vec4(y.y), score[j][h]);
                        score[j][h] = fma(x2, vec4(y.z), score[j][h]);
                        score[j][h] = fma(x3, vec4(y.w), score[j][h]);
                    }
                }
            }
        }
        var now = largest;
        for (var j = 0u; j < EACH; j++) {
            let key = first_key + j * LANES + lane;
            for (var h = 0u; h < QUERIES4; h++) {
                let seen = position[h] - vec4(key) < vec4(window);
                score[j][h] = select(vec4(LOWEST), score[j][h] * (params.scale * LOG2_E), seen);
                now[h] = max(now[h], score[j][h]);
            }
        }
        largest_of_lanes(group, lane, &now);
        for (var h = 0u; h < QUERIES4; h++) {
            let shrink = exp2(largest[h] - now[h]);
            largest[h] = now[h];
            // A row that sees no key yet must not count exp2(0).
            let base = select(now[h], vec4<f32>(), now[h] == vec4(LOWEST));
            total[h] *= shrink;
            for (var j = 0u; j < EACH; j++) {
                score[j][h] = exp2(score[j][h] - base);
                total[h] += score[j][h];
            }
            for (var d = 0u; d < VALUES; d++) {
                sum[h * 4u][d] *= shrink.x;
                sum[h * 4u + 1u][d] *= shrink.y;
                sum[h * 4u + 2u][d] *= shrink.z;
                sum[h * 4u + 3u][d] *= shrink.w;
            }
        }
        workgroupBarrier();
        for (var j = 0u; j < EACH; j++) {
            for (var h = 0u; h < QUERIES4; h++) {
                tile[(j * LANES + lane) * ROW_STRIDE + group * QUERIES4 + h] = score[j][h];
            }
        }
        for (var turn = 0u; turn < KEYS; turn += TURN) {
            for (var n = 0u; n < TURN * VALUES / GROUPS; n++) {
                let i = n * INVOCATIONS + local;
                let key = min(first_key + turn + i / (LANES * VALUES), end - 1u);
                let d = min(i % (LANES * VALUES), VALUE_DIM4 - 1u);
                tile[VALUES_AT + i] = widen(v[(key * params.kv_heads + kv_head) * VALUE_DIM4 + d]);
            }
            workgroupBarrier();
            for (var j = 0u; j < TURN; j++) {
                for (var h = 0u; h < QUERIES4; h++) {
                    let p = tile[(turn + j) * ROW_STRIDE + group * QUERIES4 + h];
                    for (var d = 0u; d < VALUES; d++) {
                        let y = tile[VALUES_AT + (j * VALUES + d) * LANES + lane];
                        sum[h * 4u][d] = fma(vec4(p.x), y, sum[h * 4u][d]);
                        sum[h * 4u + 1u][d] = fma(vec4(p.y), y, sum[h * 4u + 1u][d]);
                        sum[h * 4u + 2u][d] = fma(vec4(p.z), y, sum[h * 4u + 2u][d]);
                        sum[h * 4u + 3u][d] = fma(vec4(p.w), y, sum[h * 4u + 3u][d]);
                    }
                }
            }
            workgroupBarrier();
        }
    }
    sum_of_lanes(group, lane, &total);
    for (var i = 0u; i < QUERIES; i++) {
        let row = first_row + group * QUERIES + i;
        if row < params.q_len {
            let out_at = (row * params.heads + head) * VALUE_DIM4 + lane;
            for (var d = 0u; d < VALUES; d++) {
                if d * LANES + lane < VALUE_DIM4 {
                    out[out_at + d * LANES] = narrow(sum[i][d] / total[i / 4u][i % 4u]);
                }
            }
        }
    }
}
