//! The WGSL files, and the four substitutions made to them.
//!
//! *Storage type*: the files are valid for f32 as they are. A file may begin its declarations with the four lines of
//! [`STORAGE`]. For f16 and bf16 each line is replaced by the one in its row. Then `widen` reads four stored numbers, and
//! `narrow` rounds four sums. Neither needs an extension. A file with only the first line, or the first two, computes in
//! `f16` itself and needs the extension. A file with the line of [`NUMBER`] reads packed numbers and multiplies matrices of
//! `f16`, which need the extension. Files for int8 have the type in their name and are not changed.
//!
//! *Quantised weights*: the files `matmul_dequant_*` are valid for int4 as they are. For the other types that quantise only
//! the weights, declarations are replaced (`src/kernels/dequantise.rs`). So they are in the files with cooperative matrices,
//! after these have become those of f16.
//!
//! *Constants*: a launch may change the number in a line `const NAME: u32 = 8u;`.
//!
//! *Matrix size*: the files with cooperative matrices are valid for 8 x 8. For 16 x 16 the beginnings of lines in
//! [`MATRICES`] are replaced, and the constant `SIZE` is 16.

use std::borrow::Cow;

use crate::kernels::dequantise;
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
    "attention_decode_mla_matrix",
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
    "matmul_dequant_tiled",
    "matmul_int8_blocked",
    "matmul_int8_matrix",
    "matmul_int8_matrix_streamed",
    "matmul_int8_streamed",
    "matmul_int8_streamed_widened",
    "matmul_int8_subgroup",
    "matmul_int8_tiled",
    "matmul_int8_tiled_widened",
    "matmul_matrix",
    "matmul_matrix_streamed",
    "matmul_packed",
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

/// The line that says what cooperative matrices are made of: for f32 (as in the files) and for f16.
const NUMBER: [&str; 2] = ["alias Number = f32;", "alias Number = f16;"];

/// How the lines begin that name the types of cooperative matrices: a row per line; for 8 x 8 (as in the files) and
/// 16 x 16.
pub const MATRICES: [[&str; 2]; 3] = [
    ["alias MatrixA = coop_mat8x8<", "alias MatrixA = coop_mat16x16<"],
    ["alias MatrixB = coop_mat8x8<", "alias MatrixB = coop_mat16x16<"],
    ["alias MatrixC = coop_mat8x8<", "alias MatrixC = coop_mat16x16<"],
];

/// The text of a shader for a storage type; `None` for a name that is not there.
pub fn wgsl(shader: &str, element: StorageType) -> Option<Cow<'static, str>> {
    let (_, text) = SHADERS.iter().find(|(name, _)| *name == shader)?;
    let column = match element {
        StorageType::F32 | StorageType::Int8 => return Some(Cow::Borrowed(*text)),
        StorageType::Int4 | StorageType::Fp8 | StorageType::Mxfp4 | StorageType::Nvfp4 => {
            let of_activations =
                if text.contains(NUMBER[0]) { wgsl(shader, element.activation())? } else { Cow::Borrowed(*text) };
            return Some(Cow::Owned(dequantise::of(&of_activations, element)));
        }
        // A file that enables f16 itself exists only for f16.
        StorageType::F16 if text.contains("enable f16;") => return Some(Cow::Borrowed(*text)),
        StorageType::F16 => 1,
        StorageType::Bf16 => 2,
    };
    if element == StorageType::F16 && STORAGE.iter().any(|lines| !text.contains(lines[0])) {
        return Some(Cow::Owned(format!("enable f16;\n{}", text.replace(STORAGE[0][0], "alias Element = f16;"))));
    }
    let text = STORAGE.iter().fold((*text).to_owned(), |text, lines| text.replace(lines[0], lines[column]));
    // Packed numbers of storage become numbers of matrices.
    if element == StorageType::F16 && text.contains(NUMBER[0]) {
        return Some(Cow::Owned(format!("enable f16;\n{}", text.replace(NUMBER[0], NUMBER[1]))));
    }
    Some(Cow::Owned(text))
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
        assert!(!large.contains("8x8") && large.contains(NUMBER[1]) && large.starts_with("enable f16;"));
    }
}
