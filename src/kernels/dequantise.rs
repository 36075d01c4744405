//! Declarations in WGSL that say how quantised weights are stored and decoded.

use crate::kernels::types::StorageType;

/// The declarations of the files `matmul_dequant_*`: a row per declaration; for int4 (as in the files), fp8, mxfp4 and
/// nvfp4. A file reads codes by one of the two functions after the first four declarations, and decodes by one of the last
/// two. The first decoder of int4 is cheap where integers are converted fast, as on CPUs, the second where binary16 is.
pub const WEIGHTS: [[&str; 4]; 8] = [
    [
        "alias Codes = u32; // of eight columns at one k",
        "alias Codes = vec2<u32>; // of four and four columns at one k",
        "alias Codes = u32; // of eight columns at one k",
        "alias Codes = u32; // of eight columns at one k",
    ],
    [
        "alias ColumnScales = vec4<u32>; // eight binary16",
        "alias ColumnScales = vec2<f32>; // of all columns of the left and of the right half",
        "alias ColumnScales = vec2<u32>; // eight e8m0",
        "alias ColumnScales = vec2<u32>; // eight e4m3
@group(0) @binding(7) var<storage, read> matrix_scale: array<f32>; // [experts], of gate and up [experts, 2]",
    ],
    [
        "struct Scales {
    left: vec4<f32>,
    right: vec4<f32>,
    left_zero: vec4<f32>, // what a weight of zero makes in `decode`, negative
    right_zero: vec4<f32>,
}",
        PLAIN_SCALES,
        PLAIN_SCALES,
        PLAIN_SCALES,
    ],
    [
        "// The scales of this invocation's columns in one step of k; on the right they are divided by 16 for `decode`.
fn scales(expert: u32, panel: u32, step: u32, column: u32) -> Scales {
    let x = b_scale[((expert * params.panels + panel) * params.steps + step) * WIDTH + column];
    let left = vec4(unpack2x16float(x.x), unpack2x16float(x.y));
    let right = vec4(unpack2x16float(x.z), unpack2x16float(x.w)) / 16.0;
    return Scales(left, right, left * -1032.0, right * -1152.0);
}",
        "// The scales of the columns of either half of the panel in one step of k, times 2^8 for `e4m3`. A block of 128 x 128
// weights has one scale, so all columns of a half have the same.
fn scales(expert: u32, panel: u32, step: u32, column: u32) -> Scales {
    let x = b_scale[(expert * params.panels + panel) * params.steps + step] * 256.0;
    return Scales(vec4(x.x), vec4(x.y));
}",
        "// The scales of this invocation's columns in one step of k, times 2^14 for `decode`. The bits of 2^(x - 127) are x << 23.
fn scales(expert: u32, panel: u32, step: u32, column: u32) -> Scales {
    let x = b_scale[((expert * params.panels + panel) * params.steps + step) * WIDTH + column];
    let left = bitcast<vec4<f32>>(unpack4xU8(x.x) << vec4(23u)) * 16384.0;
    return Scales(left, bitcast<vec4<f32>>(unpack4xU8(x.y) << vec4(23u)) * 16384.0);
}",
        "// Four e4m3 numbers times 2^-8: sign, exponent and mantissa move to their places in a binary16.
fn e4m3(x: u32) -> vec4<f32> {
    let even = unpack2x16float(((x << 8u) & 0x80008000u) | ((x << 7u) & 0x3F803F80u));
    let odd = unpack2x16float((x & 0x80008000u) | ((x >> 1u) & 0x3F803F80u));
    return vec4(even.x, odd.x, even.y, odd.y);
}

// The scales of this invocation's columns in one step of k, times 2^8 for `e4m3` and 2^14 for `decode`.
fn scales(expert: u32, panel: u32, step: u32, column: u32) -> Scales {
    let x = b_scale[((expert * params.panels + panel) * params.steps + step) * WIDTH + column];
    let left = matrix_scale[select(expert, 2u * expert, SWIGLU)] * 4194304.0;
    let right = matrix_scale[select(expert, 2u * expert + 1u, SWIGLU)] * 4194304.0;
    return Scales(e4m3(x.x) * left, e4m3(x.y) * right);
}",
    ],
    [
        "// The codes of four k.
fn four_codes(row: u32, column: u32) -> array<Codes, 4> {
    let x = b[row * WIDTH + column];
    return array<Codes, 4>(x.x, x.y, x.z, x.w);
}",
        "// The codes of four k.
fn four_codes(row: u32, column: u32) -> array<Codes, 4> {
    let x = b[row * 2u * WIDTH + column];
    let y = b[row * 2u * WIDTH + WIDTH + column];
    return array<Codes, 4>(vec2(x.x, y.x), vec2(x.y, y.y), vec2(x.z, y.z), vec2(x.w, y.w));
}",
        "// The codes of four k.
fn four_codes(row: u32, column: u32) -> array<Codes, 4> {
    let x = b[row * WIDTH + column];
    return array<Codes, 4>(x.x, x.y, x.z, x.w);
}",
        "// The codes of four k.
fn four_codes(row: u32, column: u32) -> array<Codes, 4> {
    let x = b[row * WIDTH + column];
    return array<Codes, 4>(x.x, x.y, x.z, x.w);
}",
    ],
    [
        "// The codes of one k: `place` is 4 * column + k % 4.
fn one_code(row: u32, place: u32) -> Codes { return b[row * 4u * WIDTH + place]; }",
        "// The codes of one k: `place` is 4 * column + k % 4.
fn one_code(row: u32, place: u32) -> Codes {
    return vec2(b[row * 8u * WIDTH + place], b[row * 8u * WIDTH + 4u * WIDTH + place]);
}",
        "// The codes of one k: `place` is 4 * column + k % 4.
fn one_code(row: u32, place: u32) -> Codes { return b[row * 4u * WIDTH + place]; }",
        "// The codes of one k: `place` is 4 * column + k % 4.
fn one_code(row: u32, place: u32) -> Codes { return b[row * 4u * WIDTH + place]; }",
    ],
    [
        "// The weights of one k. A code is the value plus 8; that of the right is taken times 16.
fn decode(codes: Codes, scale: Scales) -> Columns {
    let bytes = vec4(codes) >> vec4(0u, 8u, 16u, 24u);
    let left = vec4<f32>(bytes & vec4(0x0Fu));
    let right = vec4<f32>(bytes & vec4(0xF0u));
    return Columns((left - 8.0) * scale.left, (right - 128.0) * scale.right);
}",
        DECODE_FP8,
        DECODE_E2M1,
        DECODE_E2M1,
    ],
    [
        "// The weights of one k. A code is the value plus 8. As the last bits of a binary16 it makes 1024 + code on the left,
// and 1024 + 16 * code on the right.
fn decode(codes: Codes, scale: Scales) -> Columns {
    let x = unpack2x16float((codes & 0x000F000Fu) | 0x64006400u);
    let y = unpack2x16float((codes & 0x00F000F0u) | 0x64006400u);
    let z = unpack2x16float(((codes >> 8u) & 0x000F000Fu) | 0x64006400u);
    let w = unpack2x16float(((codes >> 8u) & 0x00F000F0u) | 0x64006400u);
    let left = fma(vec4(x.x, z.x, x.y, z.y), scale.left, scale.left_zero);
    let right = fma(vec4(y.x, w.x, y.y, w.y), scale.right, scale.right_zero);
    return Columns(left, right);
}",
        DECODE_FP8,
        DECODE_E2M1,
        DECODE_E2M1,
    ],
];

const PLAIN_SCALES: &str = "struct Scales {
    left: vec4<f32>,
    right: vec4<f32>,
}";

const DECODE_FP8: &str =
    "// Four e4m3 numbers times 2^-8: sign, exponent and mantissa move to their places in a binary16.
fn e4m3(x: u32) -> vec4<f32> {
    let even = unpack2x16float(((x << 8u) & 0x80008000u) | ((x << 7u) & 0x3F803F80u));
    let odd = unpack2x16float((x & 0x80008000u) | ((x >> 1u) & 0x3F803F80u));
    return vec4(even.x, odd.x, even.y, odd.y);
}

// The weights of one k.
fn decode(codes: Codes, scale: Scales) -> Columns {
    return Columns(e4m3(codes.x) * scale.left, e4m3(codes.y) * scale.right);
}";

const DECODE_E2M1: &str = "// The weights of one k: eight e2m1 numbers. Sign, exponent and mantissa move to their places in a binary16. That makes
// the numbers times 2^-14.
fn decode(codes: Codes, scale: Scales) -> Columns {
    let x = unpack2x16float(((codes << 12u) & 0x80008000u) | ((codes << 9u) & 0x0E000E00u));
    let y = unpack2x16float(((codes << 8u) & 0x80008000u) | ((codes << 5u) & 0x0E000E00u));
    let z = unpack2x16float(((codes << 4u) & 0x80008000u) | ((codes << 1u) & 0x0E000E00u));
    let w = unpack2x16float((codes & 0x80008000u) | ((codes >> 3u) & 0x0E000E00u));
    return Columns(vec4(x.x, z.x, x.y, z.y) * scale.left, vec4(y.x, w.x, y.y, w.y) * scale.right);
}";

/// The declarations of the files with cooperative matrices: a row per declaration; for floating-point numbers (as in the
/// files), int4, fp8, mxfp4 and nvfp4. Words hold neighbours along k there, and decoded numbers become binary16.
pub const MATRIX_WEIGHTS: [[&str; 5]; 4] = [
    [
        "@group(0) @binding(2) var<storage, read> b: array<Element4>;        // [experts, panels, k / 32, 2, columns, 32]",
        "@group(0) @binding(2) var<storage, read> b: array<u32>; // [experts, panels, k / 32, 2, columns, 32]
@group(0) @binding(6) var<storage, read> b_scale: array<u32>; // [experts, panels, k / 32, 2, columns] binary16",
        "@group(0) @binding(2) var<storage, read> b: array<vec2<u32>>; // [experts, panels, k / 32, 2, columns, 32]
@group(0) @binding(6) var<storage, read> b_scale: array<f32>; // [experts, panels, k / 32, 2]",
        "@group(0) @binding(2) var<storage, read> b: array<u32>; // [experts, panels, k / 32, 2, columns, 32]
@group(0) @binding(6) var<storage, read> b_scale: array<u32>; // [experts, panels, k / 32, 2, columns] e8m0",
        "@group(0) @binding(2) var<storage, read> b: array<u32>; // [experts, panels, k / 32, 2, columns, 32]
@group(0) @binding(6) var<storage, read> b_scale: array<u32>; // [experts, panels, k / 32, 2, columns, 2] e4m3
@group(0) @binding(7) var<storage, read> matrix_scale: array<f32>; // [experts, panels, k / 32, 2]",
    ],
    [
        "struct Eight {
    low: Element4,
    high: Element4,
}",
        EIGHT_OF_A_WORD,
        "struct Eight {
    codes: vec2<u32>,
    scale: f32,
}",
        EIGHT_OF_A_WORD,
        EIGHT_OF_A_WORD,
    ],
    [
        "fn weights(at: u32) -> Eight {
    return Eight(b[at * 2u], b[at * 2u + 1u]);
}",
        "fn weights(at: u32) -> Eight {
    let scales = b_scale[at / 8u] >> (at / 4u % 2u * 16u);
    return Eight(b[at], unpack2x16float(scales).x);
}",
        "fn weights(at: u32) -> Eight {
    return Eight(b[at], b_scale[at / (COLUMNS * 2u)] * 256.0);
}",
        "fn weights(at: u32) -> Eight {
    let exponent = (b_scale[at / 16u] >> (at / 4u % 4u * 8u)) & 0xFFu;
    return Eight(b[at], bitcast<f32>(exponent << 23u) * 16384.0);
}",
        "// The scale's bits move to their places in a binary16, which makes it times 2^-8.
fn weights(at: u32) -> Eight {
    let code = (b_scale[at / 8u] >> (at / 2u % 4u * 8u)) & 0xFFu;
    return Eight(b[at], unpack2x16float(code << 7u).x * 4194304.0 * matrix_scale[at / (COLUMNS * 2u)]);
}",
    ],
    [
        "fn put_weights(at: u32, x: Eight) {
    put_four(at, x.low);
    put_four(at + 4u, x.high);
}",
        "fn put_numbers(at: u32, x: vec4<f32>) {
    let y = vec4<Number>(x);
    tile[at] = y.x;
    tile[at + 1u] = y.y;
    tile[at + 2u] = y.z;
    tile[at + 3u] = y.w;
}

// A code is the value plus 8. As the last bits of a binary16 it makes 1024 + code, or 1024 + 16 * code.
fn put_weights(at: u32, x: Eight) {
    let y = unpack2x16float((x.codes & 0x000F000Fu) | 0x64006400u);
    let z = unpack2x16float((x.codes & 0x00F000F0u) | 0x64006400u);
    let v = unpack2x16float(((x.codes >> 8u) & 0x000F000Fu) | 0x64006400u);
    let w = unpack2x16float(((x.codes >> 8u) & 0x00F000F0u) | 0x64006400u);
    let scale = vec4(x.scale, x.scale / 16.0, x.scale, x.scale / 16.0);
    let zero = scale * vec4(-1032.0, -1152.0, -1032.0, -1152.0);
    put_numbers(at, fma(vec4(y.x, z.x, v.x, w.x), scale, zero));
    put_numbers(at + 4u, fma(vec4(y.y, z.y, v.y, w.y), scale, zero));
}",
        "fn e4m3(x: u32) -> vec4<f32> {
    let even = unpack2x16float(((x << 8u) & 0x80008000u) | ((x << 7u) & 0x3F803F80u));
    let odd = unpack2x16float((x & 0x80008000u) | ((x >> 1u) & 0x3F803F80u));
    return vec4(even.x, odd.x, even.y, odd.y);
}

fn put_numbers(at: u32, x: vec4<f32>) {
    let y = vec4<Number>(x);
    tile[at] = y.x;
    tile[at + 1u] = y.y;
    tile[at + 2u] = y.z;
    tile[at + 3u] = y.w;
}

fn put_weights(at: u32, x: Eight) {
    put_numbers(at, e4m3(x.codes.x) * x.scale);
    put_numbers(at + 4u, e4m3(x.codes.y) * x.scale);
}",
        PUT_E2M1,
        PUT_E2M1,
    ],
];

const EIGHT_OF_A_WORD: &str = "struct Eight {
    codes: u32,
    scale: f32,
}";

const PUT_E2M1: &str = "fn put_numbers(at: u32, x: vec4<f32>) {
    let y = vec4<Number>(x);
    tile[at] = y.x;
    tile[at + 1u] = y.y;
    tile[at + 2u] = y.z;
    tile[at + 3u] = y.w;
}

// Sign, exponent and mantissa of e2m1 move to their places in a binary16, which makes the numbers times 2^-14.
fn put_weights(at: u32, x: Eight) {
    let y = unpack2x16float(((x.codes << 12u) & 0x80008000u) | ((x.codes << 9u) & 0x0E000E00u)) * x.scale;
    let z = unpack2x16float(((x.codes << 8u) & 0x80008000u) | ((x.codes << 5u) & 0x0E000E00u)) * x.scale;
    let v = unpack2x16float(((x.codes << 4u) & 0x80008000u) | ((x.codes << 1u) & 0x0E000E00u)) * x.scale;
    let w = unpack2x16float((x.codes & 0x80008000u) | ((x.codes >> 3u) & 0x0E000E00u)) * x.scale;
    put_numbers(at, vec4(y.x, z.x, v.x, w.x));
    put_numbers(at + 4u, vec4(y.y, z.y, v.y, w.y));
}";

/// `text` with the declarations of a type that quantises only the weights.
pub(super) fn of(text: &str, element: StorageType) -> String {
    let column = match element {
        StorageType::Fp8 => 1,
        StorageType::Mxfp4 => 2,
        StorageType::Nvfp4 => 3,
        _ => 0,
    };
    let text = WEIGHTS.iter().fold(text.to_owned(), |text, row| text.replace(row[0], row[column]));
    MATRIX_WEIGHTS.iter().fold(text, |text, row| text.replace(row[0], row[column + 1]))
}
