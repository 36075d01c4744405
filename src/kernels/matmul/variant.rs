//! The ways to multiply: techniques with their tile configurations, as data.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::kernels::Element;

/// One technique with one tile.
#[derive(Debug)]
pub(super) struct Variant {
    /// `technique_ROWSxCOLUMNS`: the tile of a workgroup.
    pub(super) name: &'static str,
    technique: Technique,
    /// Types that it exists for.
    pub(super) elements: &'static [Element],
    /// Rows of a workgroup, which must belong to one expert.
    pub(super) row_tile: usize,
    /// Rows of an invocation.
    invocation_rows: usize,
    /// Invocations side by side along the columns, each with two vec4.
    pub(super) width: usize,
    /// Invocations that divide k between them.
    split_k: usize,
    /// Rows an expert beyond which it is not planned.
    pub(super) most_rows_an_expert: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Technique {
    /// Registers only.
    Blocked,
    /// Registers, rows shared by broadcast.
    Subgroup,
    /// Workgroup memory.
    Tiled,
    /// Few rows, k divided.
    Streamed,
    /// Cooperative matrices of 8 x 8.
    Matrix8,
    /// Cooperative matrices of 16 x 16.
    Matrix16,
}

const FLOATS: &[Element] = &[Element::F32, Element::F16, Element::Bf16];

/// Everything that a technique needs is a row of this table: rows of the tile and of an invocation, invocations along the
/// columns, along k, and rows an expert beyond which it is not tried.
const fn variant(
    name: &'static str,
    technique: Technique,
    [row_tile, invocation_rows]: [usize; 2],
    width: usize,
    split_k: usize,
    most_rows_an_expert: usize,
) -> Variant {
    let elements: &[Element] = match technique {
        Technique::Tiled => FLOATS,
        Technique::Matrix8 | Technique::Matrix16 => &[Element::F16],
        _ => &Element::ALL,
    };
    Variant { name, technique, elements, row_tile, invocation_rows, width, split_k, most_rows_an_expert }
}

/// Any number of rows.
const ANY: usize = usize::MAX;

/// All of them. Narrow workgroups without barriers are for software adapters, where each invocation runs to its end.
pub(super) const VARIANTS: &[Variant] = &[
    variant("blocked_8x64", Technique::Blocked, [8, 8], 8, 1, ANY),
    variant("blocked_64x64", Technique::Blocked, [64, 8], 8, 1, ANY),
    variant("subgroup_8x64", Technique::Subgroup, [8, 8], 8, 1, 64),
    variant("subgroup_16x64", Technique::Subgroup, [16, 16], 8, 1, ANY),
    variant("subgroup_32x64", Technique::Subgroup, [32, 32], 8, 1, ANY),
    variant("subgroup_16x256", Technique::Subgroup, [16, 16], 32, 1, ANY),
    variant("tiled_64x128", Technique::Tiled, [64, 4], 16, 1, ANY),
    variant("tiled_128x128", Technique::Tiled, [128, 8], 16, 1, ANY),
    variant("matrix8_64x128", Technique::Matrix8, [64, 64], 16, 1, ANY),
    variant("matrix16_64x128", Technique::Matrix16, [64, 64], 16, 1, ANY),
    variant("streamed_2x256", Technique::Streamed, [2, 2], 32, 8, 4),
    variant("streamed_8x256", Technique::Streamed, [8, 8], 32, 8, 64),
];

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| VARIANTS.iter().map(|variant| variant.name).collect());

pub(super) fn named_variants() -> &'static [&'static str] {
    &NAMES
}

impl Variant {
    /// The variant of a name that [`named_variants`] lists; the first for any other.
    pub(super) fn of(name: &str) -> &'static Self {
        VARIANTS.iter().find(|variant| variant.name == name).unwrap_or(&VARIANTS[0])
    }

    /// Columns of one panel of weights, gate and up together.
    pub(super) fn panel_columns(&self) -> usize {
        8 * self.width
    }

    /// The file under shaders/.
    pub(super) fn shader(&self, element: Element) -> &'static str {
        match (self.technique, element) {
            (Technique::Blocked, Element::Int8) => "matmul_int8_blocked",
            (Technique::Blocked, Element::Int4) => "matmul_int4_blocked",
            (Technique::Blocked, _) => "matmul_blocked",
            (Technique::Subgroup, Element::Int8) => "matmul_int8_subgroup",
            (Technique::Subgroup, Element::Int4) => "matmul_int4_subgroup",
            (Technique::Subgroup, _) => "matmul_subgroup",
            (Technique::Streamed, Element::Int8) => "matmul_int8_streamed",
            (Technique::Streamed, Element::Int4) => "matmul_int4_streamed",
            (Technique::Streamed, _) => "matmul_streamed",
            (Technique::Tiled, _) => "matmul_tiled",
            (Technique::Matrix8, _) => "matmul_matrix_8",
            (Technique::Matrix16, _) => "matmul_matrix_16",
        }
    }

    /// `override` constants but for SWIGLU.
    pub(super) fn overrides(&self) -> BTreeMap<&'static str, f64> {
        let width = ("WIDTH", self.width as f64);
        match self.technique {
            Technique::Blocked => BTreeMap::from([width, ("GROUPS", (self.row_tile / self.invocation_rows) as f64)]),
            Technique::Subgroup => BTreeMap::from([width]),
            Technique::Streamed => BTreeMap::from([width, ("SPLIT_K", self.split_k as f64)]),
            Technique::Tiled | Technique::Matrix8 | Technique::Matrix16 => BTreeMap::new(),
        }
    }

    /// `const` lines to change.
    pub(super) fn constants(&self) -> BTreeMap<&'static str, u32> {
        if matches!(self.technique, Technique::Matrix8 | Technique::Matrix16) {
            return BTreeMap::new();
        }
        BTreeMap::from([("ROWS", u32::try_from(self.invocation_rows).unwrap_or(1))])
    }

    /// The parameter that counts steps along k, and how long a step is.
    pub(super) fn k_step(&self, element: Element) -> (&'static str, usize) {
        match (element, self.technique) {
            (Element::Int4, _) => ("groups", crate::kernels::INT4_GROUP),
            (Element::Int8, Technique::Blocked | Technique::Streamed) => ("k16", 16),
            _ => ("k4", 4),
        }
    }
}
