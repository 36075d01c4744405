//! The WGSL files, and the one substitution made to them.

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
    "attention_prefill_row",
    "attention_prefill_subgroup",
    "attention_prefill_tiled",
    "attention_reduce",
    "combine",
    "gate_token",
    "gate_workgroup",
    "matmul_blocked",
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
    "probe_read",
    "probe_write",
    "sort_count",
    "sort_scan",
    "sort_scatter",
];

/// The text of a shader for a storage type. Each file is valid WGSL for f32 as it stands; for f16 the alias changes and
/// the extension is enabled. `None` for a name that is not there.
pub fn wgsl(shader: &str, element: Element) -> Option<Cow<'static, str>> {
    let (_, text) = SHADERS.iter().find(|(name, _)| *name == shader)?;
    Some(match element {
        Element::F32 => Cow::Borrowed(*text),
        Element::F16 => {
            Cow::Owned(format!("enable f16;\n{}", text.replace("alias Element = f32;", "alias Element = f16;")))
        }
    })
}
