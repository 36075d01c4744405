//! The WGSL files, and the two substitutions made to them.
//!
//! *Type*: the files are valid for f32 as they stand. Where one begins its declarations with the four lines of
//! [`STORAGE`], each becomes what stands beside it for f16 or bf16, so that `widen` reads four stored numbers and
//! `narrow` rounds four sums; both need no extension. A file with the first line alone, or the first two, computes with
//! `f16` itself and needs the extension. Files for int8 and int4 have the type in their name and are taken as they are.
//!
//! *Constants*: a launch may change the number in a line `const NAME: u32 = 8u;`.

use std::borrow::Cow;

use super::Element;

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
    "attention_decode_row",
    "attention_decode_subgroup",
    "attention_mla_subgroup",
    "attention_mla_tiled",
    "attention_paged_row",
    "attention_paged_subgroup",
    "attention_prefill_matrix_16",
    "attention_prefill_matrix_8",
    "attention_prefill_row",
    "attention_prefill_subgroup",
    "attention_prefill_tiled",
    "attention_reduce",
    "combine",
    "gate_subgroup",
    "gate_token",
    "gate_workgroup",
    "matmul_blocked",
    "matmul_int4_blocked",
    "matmul_int4_streamed",
    "matmul_int4_subgroup",
    "matmul_int8_blocked",
    "matmul_int8_streamed",
    "matmul_int8_subgroup",
    "matmul_matrix_16",
    "matmul_matrix_8",
    "matmul_streamed",
    "matmul_subgroup",
    "matmul_tiled",
    "probe_cache",
    "probe_copy",
    "probe_dot",
    "probe_fma",
    "probe_launch",
    "probe_matrix_16",
    "probe_matrix_8",
    "probe_outer",
    "probe_read",
    "probe_subgroup",
    "probe_write",
    "sort_count",
    "sort_scan",
    "sort_scatter",
];

/// The lines that say how four numbers are stored: for f32 (as in the files), f16, bf16.
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

/// The text of a shader for a storage type; `None` for a name that is not there.
pub fn wgsl(shader: &str, element: Element) -> Option<Cow<'static, str>> {
    let (_, text) = SHADERS.iter().find(|(name, _)| *name == shader)?;
    let column = match element {
        Element::F32 | Element::Int8 | Element::Int4 => return Some(Cow::Borrowed(*text)),
        // A file that enables f16 itself exists for nothing else.
        Element::F16 if text.contains("enable f16;") => return Some(Cow::Borrowed(*text)),
        Element::F16 => 1,
        Element::Bf16 => 2,
    };
    if element == Element::F16 && STORAGE.iter().any(|lines| !text.contains(lines[0])) {
        return Some(Cow::Owned(format!("enable f16;\n{}", text.replace(STORAGE[0][0], "alias Element = f16;"))));
    }
    let text = STORAGE.iter().fold((*text).to_owned(), |text, lines| text.replace(lines[0], lines[column]));
    Some(Cow::Owned(text))
}

/// `text` with another number in its line `const NAME: u32 = 8u;`. A text without the line comes back as it was, which
/// the tests of the plans notice.
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
}
