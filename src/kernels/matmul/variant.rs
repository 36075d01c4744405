//! The ways to multiply: techniques with their tile configurations, as data.

use std::sync::LazyLock;

use crate::kernels::plan::{Launch, Need};
use crate::kernels::types::StorageType;

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
    /// Operands through workgroup memory.
    Tiled,
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
        Technique::Matrix8 | Technique::Matrix16 => &[StorageType::F16],
        _ => &StorageType::ALL,
    };
    Variant { name, technique, elements, row_tile, invocation_rows, width, split_k, most_rows_per_expert }
}

/// The variant without the types that quantise only the weights: another is the better one of its kind for them.
const fn not_for_quantised_weights(variant: Variant) -> Variant {
    Variant { elements: &[StorageType::F32, StorageType::F16, StorageType::Bf16, StorageType::Int8], ..variant }
}

/// Any number of rows.
const ANY: usize = usize::MAX;

/// All variants. Narrow workgroups without barriers suit software adapters, where each invocation runs to its end.
pub(super) const VARIANTS: &[Variant] = &[
    variant("blocked_8x64", Technique::Blocked, [8, 8], 8, 1, ANY),
    not_for_quantised_weights(variant("blocked_64x64", Technique::Blocked, [64, 8], 8, 1, ANY)),
    variant("subgroup_8x64", Technique::Subgroup, [8, 8], 8, 1, 64),
    variant("subgroup_16x64", Technique::Subgroup, [16, 16], 8, 1, ANY),
    variant("subgroup_32x64", Technique::Subgroup, [32, 32], 8, 1, ANY),
    not_for_quantised_weights(variant("subgroup_16x256", Technique::Subgroup, [16, 16], 32, 1, ANY)),
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
    fn shader(&self, element: StorageType) -> &'static str {
        let quantised = element.weight_group().is_some();
        match (self.technique, element) {
            (Technique::Blocked, StorageType::Int8) => "matmul_int8_blocked",
            (Technique::Blocked, _) if quantised => "matmul_dequant_blocked",
            (Technique::Blocked, _) => "matmul_blocked",
            (Technique::Subgroup, StorageType::Int8) => "matmul_int8_subgroup",
            (Technique::Subgroup, _) if quantised => "matmul_dequant_subgroup",
            (Technique::Subgroup, _) => "matmul_subgroup",
            (Technique::Streamed, StorageType::Int8) => "matmul_int8_streamed",
            (Technique::Streamed, _) if quantised => "matmul_dequant_streamed",
            (Technique::Streamed, _) => "matmul_streamed",
            (Technique::Tiled, _) => "matmul_tiled",
            (Technique::Matrix8 | Technique::Matrix16, _) => "matmul_matrix",
        }
    }

    /// The launch of its shader with its tile; shape, buffers and grid are still missing.
    pub(super) fn launch(&self, element: StorageType) -> Launch {
        let mut launch = Launch::of(self.shader(element), element);
        if let Some(step) = element.weight_step() {
            launch = launch.constant("STEP4", u32::try_from(step / 4).unwrap_or(1));
        }
        let width = ("WIDTH", self.width as f64);
        let rows = ("ROWS", u32::try_from(self.invocation_rows).unwrap_or(1));
        // The subgroup technique multiplies codes as f32; the other two take the packed dot product.
        let dots: &[Need] = if element == StorageType::Int8 { &[Need::PackedDot] } else { &[] };
        match self.technique {
            Technique::Blocked => {
                let groups = ("GROUPS", (self.row_tile / self.invocation_rows) as f64);
                launch.constants([rows]).overrides([width, groups]).needs(dots)
            }
            Technique::Subgroup => launch.constants([rows]).overrides([width]).needs(&[Need::Subgroup]),
            Technique::Streamed => {
                launch.constants([rows]).overrides([width, ("SPLIT_K", self.split_k as f64)]).needs(dots)
            }
            Technique::Tiled => launch.constants([rows]),
            Technique::Matrix8 => launch.matrices(8),
            Technique::Matrix16 => launch.matrices(16),
        }
    }

    /// The parameter that counts steps along k, and the k per step.
    pub(super) fn k_step(&self, element: StorageType) -> (&'static str, usize) {
        if let Some(step) = element.weight_step() {
            return ("steps", step);
        }
        match (element, self.technique) {
            (StorageType::Int8, Technique::Blocked | Technique::Streamed) => ("k16", 16),
            _ => ("k4", 4),
        }
    }
}
