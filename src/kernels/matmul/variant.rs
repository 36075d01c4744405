//! The ways to multiply: techniques with their tile configurations, as data.

use std::sync::LazyLock;

use crate::kernels::plan::{Launch, Need};
use crate::kernels::types::{INT4_GROUP, StorageType};

/// One technique with one tile.
#[derive(Debug)]
pub(super) struct Variant {
    /// `technique_ROWSxCOLUMNS`, with the tile of a workgroup.
    pub(super) name: &'static str,
    technique: Technique,
    /// The storage types that it exists for.
    pub(super) elements: &'static [StorageType],
    /// Rows per workgroup, which must belong to one expert.
    pub(super) row_tile: usize,
    /// Rows per invocation.
    invocation_rows: usize,
    /// Invocations along the columns; each owns two vec4.
    pub(super) width: usize,
    /// Invocations that divide k between them.
    split_k: usize,
    /// The most rows per expert for which it is planned.
    pub(super) most_rows_per_expert: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Technique {
    /// Sums in registers, operands straight from storage.
    Blocked,
    /// Sums in registers, rows shared by broadcast.
    Subgroup,
    /// Operands through workgroup memory, as f32.
    Tiled,
    /// Operands through workgroup memory, as they are stored.
    Packed,
    /// Few rows, with k divided among invocations.
    Streamed,
    /// Cooperative matrices of 8 x 8.
    Matrix8,
    /// Cooperative matrices of 16 x 16.
    Matrix16,
}

/// A row of the table: rows per tile and per invocation, invocations along the columns and along k, and the most rows per
/// expert.
const fn variant(
    name: &'static str,
    technique: Technique,
    [row_tile, invocation_rows]: [usize; 2],
    width: usize,
    split_k: usize,
    most_rows_per_expert: usize,
) -> Variant {
    let elements: &[StorageType] = match technique {
        Technique::Tiled => StorageType::FLOATS,
        Technique::Packed | Technique::Matrix8 | Technique::Matrix16 => &[StorageType::F16],
        _ => &StorageType::ALL,
    };
    Variant { name, technique, elements, row_tile, invocation_rows, width, split_k, most_rows_per_expert }
}

/// Any number of rows.
const ANY: usize = usize::MAX;

/// All variants. Narrow workgroups without barriers suit software adapters, where each invocation runs to its end.
pub(super) const VARIANTS: &[Variant] = &[
    variant("blocked_8x64", Technique::Blocked, [8, 8], 8, 1, ANY),
    variant("blocked_64x64", Technique::Blocked, [64, 8], 8, 1, ANY),
    variant("subgroup_8x64", Technique::Subgroup, [8, 8], 8, 1, 64),
    variant("subgroup_16x64", Technique::Subgroup, [16, 16], 8, 1, ANY),
    variant("subgroup_32x64", Technique::Subgroup, [32, 32], 8, 1, ANY),
    variant("subgroup_16x256", Technique::Subgroup, [16, 16], 32, 1, ANY).for_integers(),
    variant("tiled_64x64", Technique::Tiled, [64, 4], 8, 1, ANY),
    variant("tiled_64x128", Technique::Tiled, [64, 8], 16, 1, ANY),
    variant("tiled_128x128", Technique::Tiled, [128, 8], 16, 1, ANY),
    variant("packed_128x128", Technique::Packed, [128, 8], 16, 1, ANY),
    variant("matrix8_64x128", Technique::Matrix8, [64, 64], 16, 1, ANY),
    variant("matrix16_64x128", Technique::Matrix16, [64, 64], 16, 1, ANY),
    variant("streamed_2x256", Technique::Streamed, [2, 2], 32, 8, 4),
    variant("streamed_8x256", Technique::Streamed, [8, 8], 32, 8, 64),
    variant("streamed_16x256", Technique::Streamed, [16, 8], 32, 4, 64).for_floats(),
    variant("streamed_32x256", Technique::Streamed, [32, 8], 32, 2, 128).for_floats(),
];

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| VARIANTS.iter().map(|variant| variant.name).collect());

pub(super) fn named_variants() -> &'static [&'static str] {
    &NAMES
}

impl Variant {
    const fn for_floats(self) -> Self {
        Self { elements: StorageType::FLOATS, ..self }
    }

    const fn for_integers(self) -> Self {
        Self { elements: &[StorageType::Int8, StorageType::Int4], ..self }
    }

    /// The variant of a name that [`named_variants`] lists; the first for any other.
    pub(super) fn of(name: &str) -> &'static Self {
        VARIANTS.iter().find(|variant| variant.name == name).unwrap_or(&VARIANTS[0])
    }

    /// Columns of one panel of weights, gate and up together.
    pub(super) fn panel_columns(&self) -> usize {
        8 * self.width
    }

    /// The file under shaders/.
    fn shader(&self, element: StorageType) -> &'static str {
        match (self.technique, element) {
            (Technique::Blocked, StorageType::Int8) => "matmul_int8_blocked",
            (Technique::Blocked, StorageType::Int4) => "matmul_int4_blocked",
            (Technique::Blocked, _) => "matmul_blocked",
            (Technique::Subgroup, StorageType::Int8) => "matmul_int8_subgroup",
            (Technique::Subgroup, StorageType::Int4) => "matmul_int4_subgroup",
            (Technique::Subgroup, _) => "matmul_subgroup",
            (Technique::Streamed, StorageType::Int8) => "matmul_int8_streamed",
            (Technique::Streamed, StorageType::Int4) => "matmul_int4_streamed",
            (Technique::Streamed, _) => "matmul_streamed",
            (Technique::Tiled, _) => "matmul_tiled",
            (Technique::Packed, _) => "matmul_packed",
            (Technique::Matrix8 | Technique::Matrix16, _) => "matmul_matrix",
        }
    }

    /// The launch of its shader with its tile; shape, buffers and grid are still missing.
    pub(super) fn launch(&self, element: StorageType) -> Launch {
        let launch = Launch::of(self.shader(element), element);
        let width = ("WIDTH", self.width as f64);
        let rows = ("ROWS", u32::try_from(self.invocation_rows).unwrap_or(1));
        // The subgroup technique multiplies codes as f32; the other two take the packed dot product.
        let dots: &[Need] = if element == StorageType::Int8 { &[Need::PackedDot] } else { &[] };
        let groups = ("GROUPS", (self.row_tile / self.invocation_rows) as f64);
        match self.technique {
            Technique::Blocked => launch.constants([rows]).overrides([width, groups]).needs(dots),
            Technique::Subgroup => launch.constants([rows]).overrides([width]).needs(&[Need::Subgroup]),
            Technique::Streamed => {
                let launch = launch.constants([rows]).overrides([width, ("SPLIT_K", self.split_k as f64)]).needs(dots);
                // Only the floats' shader has invocations along the rows.
                if groups.1 > 1.0 { launch.overrides([groups]) } else { launch }
            }
            Technique::Tiled | Technique::Packed => {
                let height = u32::try_from(self.row_tile / self.invocation_rows).unwrap_or(1);
                launch.constants([rows, ("HEIGHT", height)])
            }
            Technique::Matrix8 => launch.matrices(8),
            Technique::Matrix16 => launch.matrices(16),
        }
    }

    /// The parameter that counts steps along k, and the k per step.
    pub(super) fn k_step(&self, element: StorageType) -> (&'static str, usize) {
        match (element, self.technique) {
            (StorageType::Int4, _) => ("groups", INT4_GROUP),
            (StorageType::Int8, Technique::Blocked | Technique::Streamed) => ("k16", 16),
            _ => ("k4", 4),
        }
    }
}
