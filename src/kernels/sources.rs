//! The WGSL files, and the four substitutions made to them.
//!
//! *Storage type*: the files are valid for f32 as they are. A file may begin its declarations with the four lines of
//! [`STORAGE`]. For f16 and bf16 each line is replaced by the one in its row. Then `widen` reads four stored numbers, and
//! `narrow` rounds four sums. Neither needs an extension. A file with only the first line, or the first two, computes in
//! `f16` itself and needs the extension. Files for int8 have the type in their name and are not changed.
//!
//! *Quantised weights*: the files `matmul_dequant_*` are valid for int4 as they are. For the other types that quantise only
//! the weights, the declarations of [`WEIGHTS`] are replaced.
//!
//! *Constants*: a launch may change the number in a line `const NAME: u32 = 8u;`.
//!
//! *Matrix size*: the files with cooperative matrices are valid for 8 x 8. For 16 x 16 the lines of [`MATRICES`] are
//! replaced, and the constant `SIZE` is 16.

use std::borrow::Cow;

use crate::kernels::types::StorageType;

macro_rules! shaders {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every file under shaders/.
        pub const SHADERS: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../shaders/", $name, ".wgsl")))),*
        ];
    };
}

shaders![
    "attention_decode_group",
    "attention_decode_mla_subgroup",
    "attention_decode_mla_tiled",
    "attention_decode_paged_group",
    "attention_decode_paged_row",
    "attention_decode_paged_subgroup",
    "attention_decode_row",
    "attention_decode_subgroup",
    "attention_head_matmul",
    "attention_join_keys",
    "attention_prefill_matrix",
    "attention_prefill_row",
    "attention_prefill_subgroup",
    "attention_prefill_tiled",
    "attention_reduce",
    "combine",
    "combine_shared",
    "gate_subgroup",
    "gate_token",
    "gate_workgroup",
    "matmul_blocked",
    "matmul_dequant_blocked",
    "matmul_dequant_streamed",
    "matmul_dequant_subgroup",
    "matmul_int8_blocked",
    "matmul_int8_streamed",
    "matmul_int8_subgroup",
    "matmul_matrix",
    "matmul_streamed",
    "matmul_subgroup",
    "matmul_tiled",
    "probe_cache",
    "probe_copy",
    "probe_dot",
    "probe_fma",
    "probe_launch",
    "probe_matrix",
    "probe_outer",
    "probe_read",
    "probe_subgroup",
    "probe_write",
    "sort_count",
    "sort_scan",
    "sort_scatter",
];

/// The lines that say how four numbers are stored: a row per line; for f32 (as in the files), f16 and bf16.
pub const STORAGE: [[&str; 3]; 4] = [
    ["alias Element = f32;", "alias Element = u32; // two binary16", "alias Element = u32; // two bfloat16"],
    ["alias Element4 = vec4<Element>;", "alias Element4 = vec2<Element>;", "alias Element4 = vec2<Element>;"],
    [
        "fn widen(x: Element4) -> vec4<f32> { return vec4<f32>(x); }",
        "fn widen(x: Element4) -> vec4<f32> { return vec4(unpack2x16float(x.x), unpack2x16float(x.y)); }",
        "fn widen(x: Element4) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4(x.x << 16u, x.x & 0xFFFF0000u, x.y << 16u, x.y & 0xFFFF0000u));
}",
    ],
    [
        "fn narrow(x: vec4<f32>) -> Element4 { return Element4(x); }",
        "fn narrow(x: vec4<f32>) -> Element4 { return vec2(pack2x16float(x.xy), pack2x16float(x.zw)); }",
        // To the nearest, ties to even.
        "fn narrow(x: vec4<f32>) -> Element4 {
    let bits = bitcast<vec4<u32>>(x);
    let rounded = bits + 0x7FFFu + ((bits >> vec4(16u)) & vec4(1u));
    return (rounded.xz >> vec2(16u)) | (rounded.yw & vec2(0xFFFF0000u));
}",
    ],
];

/// The lines that name the types of cooperative matrices: a row per line; for 8 x 8 (as in the files) and 16 x 16.
pub const MATRICES: [[&str; 2]; 3] = [
    ["alias MatrixA = coop_mat8x8<f16, A>;", "alias MatrixA = coop_mat16x16<f16, A>;"],
    ["alias MatrixB = coop_mat8x8<f16, B>;", "alias MatrixB = coop_mat16x16<f16, B>;"],
    ["alias MatrixC = coop_mat8x8<f32, C>;", "alias MatrixC = coop_mat16x16<f32, C>;"],
];

/// The declarations that say how quantised weights are stored: a row per declaration; for int4 (as in the files), fp8,
/// mxfp4 and nvfp4. A file holds one of the last two rows. Both decode int4: the first is cheap where integers are
/// converted fast, as on CPUs, the second where binary16 is.
pub const WEIGHTS: [[&str; 4]; 7] = [
    [
        "alias Codes = u32; // of eight columns at one k",
        "alias Codes = vec2<u32>; // of four and four columns at one k",
        "alias Codes = u32; // of eight columns at one k",
        "alias Codes = u32; // of eight columns at one k",
    ],
    [
        "alias ColumnScales = vec4<u32>; // eight binary16",
        "alias ColumnScales = f32; // of 128 columns",
        "alias ColumnScales = vec2<u32>; // eight e8m0",
        "alias ColumnScales = vec2<u32>; // eight e4m3
@group(0) @binding(7) var<storage, read> matrix_scale: array<f32>; // [experts], of gate and up [experts, 2]",
    ],
    [
        "struct Scales {
    left: vec4<f32>,
    right: vec4<f32>,
    left_zero: vec4<f32>, // what the code of zero makes, negative
    right_zero: vec4<f32>,
}",
        PLAIN_SCALES,
        PLAIN_SCALES,
        PLAIN_SCALES,
    ],
    [
        "// The scales of this invocation's columns in one step of k.
fn scales(expert: u32, panel: u32, step: u32, column: u32) -> Scales {
    let x = b_scale[((expert * params.panels + panel) * params.steps + step) * WIDTH + column];
    let left = vec4(unpack2x16float(x.x), unpack2x16float(x.y));
    let right = vec4(unpack2x16float(x.z), unpack2x16float(x.w));
    return Scales(left, right, left * -1032.0, right * -1032.0);
}",
        "// The scales of this invocation's columns in one step of k, times 2^8 for `e4m3`. A scale is that of 128 x 128 weights.
fn scales(expert: u32, panel: u32, step: u32, column: u32) -> Scales {
    let blocks = (params.n4 + 31u) / 32u;
    var row = expert * ((params.steps + 3u) / 4u) + step / 4u;
    if SWIGLU {
        let at = row * 2u * blocks + min((panel * WIDTH + column) / 32u, blocks - 1u);
        return Scales(vec4(b_scale[at] * 256.0), vec4(b_scale[at + blocks] * 256.0));
    }
    let left = min((panel * WIDTH * 2u + column) / 32u, blocks - 1u);
    let right = min((panel * WIDTH * 2u + WIDTH + column) / 32u, blocks - 1u);
    return Scales(vec4(b_scale[row * blocks + left] * 256.0), vec4(b_scale[row * blocks + right] * 256.0));
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
        "// The weights of one k. A code is the value plus 8.
fn decode(codes: Codes, scale: Scales) -> Columns {
    let left = vec4<f32>(unpack4xU8(codes & 0x0F0F0F0Fu));
    let right = vec4<f32>(unpack4xU8((codes >> 4u) & 0x0F0F0F0Fu));
    return Columns((left - 8.0) * scale.left, (right - 8.0) * scale.right);
}",
        DECODE_FP8,
        DECODE_E2M1,
        DECODE_E2M1,
    ],
    [
        "// The weights of one k. A code is the value plus 8. As the last bits of a binary16 it makes 1024 + code.
fn decode(codes: Codes, scale: Scales) -> Columns {
    let halves = ((vec4(codes) >> vec4(0u, 4u, 8u, 12u)) & vec4(0x000F000Fu)) | vec4(0x64006400u);
    let x = unpack2x16float(halves.x);
    let y = unpack2x16float(halves.y);
    let z = unpack2x16float(halves.z);
    let w = unpack2x16float(halves.w);
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

/// The text of a shader for a storage type; `None` for a name that is not there.
pub fn wgsl(shader: &str, element: StorageType) -> Option<Cow<'static, str>> {
    let (_, text) = SHADERS.iter().find(|(name, _)| *name == shader)?;
    let column = match element {
        StorageType::F32 | StorageType::Int8 | StorageType::Int4 => return Some(Cow::Borrowed(*text)),
        StorageType::Fp8 => return Some(Cow::Owned(of_weights(text, 1))),
        StorageType::Mxfp4 => return Some(Cow::Owned(of_weights(text, 2))),
        StorageType::Nvfp4 => return Some(Cow::Owned(of_weights(text, 3))),
        // A file that enables f16 itself exists only for f16.
        StorageType::F16 if text.contains("enable f16;") => return Some(Cow::Borrowed(*text)),
        StorageType::F16 => 1,
        StorageType::Bf16 => 2,
    };
    if element == StorageType::F16 && STORAGE.iter().any(|lines| !text.contains(lines[0])) {
        return Some(Cow::Owned(format!("enable f16;\n{}", text.replace(STORAGE[0][0], "alias Element = f16;"))));
    }
    let text = STORAGE.iter().fold((*text).to_owned(), |text, lines| text.replace(lines[0], lines[column]));
    Some(Cow::Owned(text))
}

fn of_weights(text: &str, column: usize) -> String {
    WEIGHTS.iter().fold(text.to_owned(), |text, row| text.replace(row[0], row[column]))
}

/// `text` with cooperative matrices of 16 x 16. The constant `SIZE` is changed by [`with_constant`].
pub(super) fn with_matrices_of_16(text: &str) -> String {
    MATRICES.iter().fold(text.to_owned(), |text, [small, large]| text.replace(small, large))
}

/// `text` with another number in its line `const NAME: u32 = 8u;`. A text without that line is returned unchanged; the
/// tests of the plans would notice.
pub(super) fn with_constant(text: &str, name: &str, value: u32) -> String {
    let begin = format!("const {name}: u32 = ");
    let Some((before, line)) = text.split_once(&begin) else { return text.to_owned() };
    let after = line.split_once(';').map_or("", |(_, after)| after);
    format!("{before}{begin}{value}u;{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_changed_in_its_line_and_nowhere_else() {
        let text = "const A: u32 = 8u; // rows\nconst AB: u32 = 8u;\n";
        assert_eq!(with_constant(text, "A", 16), "const A: u32 = 16u; // rows\nconst AB: u32 = 8u;\n");
        assert_eq!(with_constant(text, "C", 16), text);
    }

    #[test]
    fn a_file_with_matrices_is_changed_in_every_line_that_names_their_size() {
        let text = wgsl("matmul_matrix", StorageType::F16).unwrap();
        let large = with_matrices_of_16(&text);
        for [small_line, large_line] in MATRICES {
            assert!(text.contains(small_line) && !large.contains(small_line) && large.contains(large_line));
        }
        assert!(!large.contains("8x8"));
    }
}
