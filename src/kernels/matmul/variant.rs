//! The ways to multiply: techniques with their tile configurations, as data.

use std::sync::LazyLock;

use crate::kernels::plan::{Launch, Need};
use crate::kernels::types::{StorageType, word};

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
    /// Rows per invocation, or per subgroup of the matrix technique.
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
    /// The same, with codes multiplied as f32: where a device has no packed dot product of its own.
    TiledWidened,
    /// Operands through workgroup memory, as they are stored.
    Packed,
    /// Few rows, with k divided among invocations.
    Streamed,
    /// The same, with codes multiplied as f32.
    StreamedWidened,
    /// Cooperative matrices of `size` x `size`, for subgroups of `lanes`.
    Matrix { size: usize, lanes: usize },
    /// Few rows with cooperative matrices, for subgroups of `lanes`.
    MatrixStreamed { size: usize, lanes: usize },
}

/// Cooperative matrices of 8 x 8, as Apple's GPUs have them.
const MATRIX8: Technique = Technique::Matrix { size: 8, lanes: 32 };
/// Cooperative matrices of 16 x 16 in subgroups of 32.
const MATRIX16: Technique = Technique::Matrix { size: 16, lanes: 32 };
/// Cooperative matrices of 16 x 16 in subgroups of 64.
const MATRIX16_LANES64: Technique = Technique::Matrix { size: 16, lanes: 64 };

/// One or two rows of matrices of 8 x 8.
const MATRIX8_STREAMED: Technique = Technique::MatrixStreamed { size: 8, lanes: 32 };
/// One or two rows of matrices of 16 x 16 in subgroups of 32.
const MATRIX16_STREAMED: Technique = Technique::MatrixStreamed { size: 16, lanes: 32 };
/// One or two rows of matrices of 16 x 16 in subgroups of 64.
const MATRIX16_STREAMED_LANES64: Technique = Technique::MatrixStreamed { size: 16, lanes: 64 };

/// k of a tile of the matrix techniques. The weights of a column are neighbours in memory that far.
pub(super) const MATRIX_STEP: usize = 32;

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
    use StorageType::{F16, F32, Fp8, Int4, Int8, Mxfp4, Nvfp4};
    let elements: &[StorageType] = match technique {
        Technique::Tiled => &StorageType::ALL,
        Technique::Packed => &[F16],
        Technique::TiledWidened | Technique::StreamedWidened => &[Int8],
        Technique::Matrix { size: 8, .. } => &[F32, F16, Int8, Int4, Fp8, Mxfp4, Nvfp4],
        Technique::Matrix { .. } => &[F16, Int8, Int4, Fp8, Mxfp4, Nvfp4],
        // With one row of matrices, the packed dot product needs fewer instructions in int8.
        Technique::MatrixStreamed { size: 8, .. } if row_tile == 8 => &[F32, F16, Int4, Fp8, Mxfp4, Nvfp4],
        Technique::MatrixStreamed { size: 8, .. } => &[F32, F16, Int8, Int4, Fp8, Mxfp4, Nvfp4],
        Technique::MatrixStreamed { size, .. } if row_tile == size => &[F16, Int4, Fp8, Mxfp4, Nvfp4],
        Technique::MatrixStreamed { .. } => &[F16, Int8, Int4, Fp8, Mxfp4, Nvfp4],
        // For codes it spills on GPUs, whose tiled and streamed variants are better; narrow ones win elsewhere.
        Technique::Blocked if row_tile > invocation_rows => StorageType::FLOATS,
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
    variant("tiled_64x64", Technique::Tiled, [64, 4], 8, 1, ANY),
    variant("tiled_64x128", Technique::Tiled, [64, 8], 16, 1, ANY),
    variant("tiled_128x128", Technique::Tiled, [128, 8], 16, 1, ANY),
    variant("packed_128x128", Technique::Packed, [128, 8], 16, 1, ANY),
    variant("tiled_widened_64x128", Technique::TiledWidened, [64, 4], 16, 1, ANY),
    variant("matrix8_32x64", MATRIX8, [32, 16], 8, 1, ANY),
    variant("matrix8_64x64", MATRIX8, [64, 32], 8, 1, ANY),
    variant("matrix16_64x128", MATRIX16, [64, 32], 16, 1, ANY),
    variant("matrix16_128x128", MATRIX16, [128, 32], 16, 1, ANY),
    variant("matrix16_64x128_lanes64", MATRIX16_LANES64, [64, 32], 16, 1, ANY),
    variant("matrix16_128x128_lanes64", MATRIX16_LANES64, [128, 64], 16, 1, ANY),
    variant("matrix8_8x64", MATRIX8_STREAMED, [8, 8], 8, 1, 64),
    variant("matrix8_16x64", MATRIX8_STREAMED, [16, 16], 8, 1, 64),
    variant("matrix16_16x128", MATRIX16_STREAMED, [16, 16], 16, 1, 64),
    variant("matrix16_32x128", MATRIX16_STREAMED, [32, 32], 16, 1, 64),
    variant("matrix16_16x128_lanes64", MATRIX16_STREAMED_LANES64, [16, 16], 16, 1, 64),
    variant("matrix16_32x128_lanes64", MATRIX16_STREAMED_LANES64, [32, 32], 16, 1, 64),
    variant("streamed_2x256", Technique::Streamed, [2, 2], 32, 8, 4),
    variant("streamed_8x256", Technique::Streamed, [8, 8], 32, 8, 64),
    variant("streamed_16x256", Technique::Streamed, [16, 8], 32, 4, 64),
    variant("streamed_32x256", Technique::Streamed, [32, 8], 32, 2, 128),
    variant("streamed_widened_2x256", Technique::StreamedWidened, [2, 2], 32, 8, 4),
    variant("streamed_widened_8x256", Technique::StreamedWidened, [8, 8], 32, 8, 64),
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
            (Technique::Tiled, StorageType::Int8) => "matmul_int8_tiled",
            (Technique::Tiled, _) if quantised => "matmul_dequant_tiled",
            (Technique::Tiled, _) => "matmul_tiled",
            (Technique::TiledWidened, _) => "matmul_int8_tiled_widened",
            (Technique::StreamedWidened, _) => "matmul_int8_streamed_widened",
            (Technique::Packed, _) => "matmul_packed",
            (Technique::Matrix { .. }, StorageType::Int8) => "matmul_int8_matrix",
            (Technique::Matrix { .. }, _) => "matmul_matrix",
            (Technique::MatrixStreamed { .. }, StorageType::Int8) => "matmul_int8_matrix_streamed",
            (Technique::MatrixStreamed { .. }, _) => "matmul_matrix_streamed",
        }
    }

    /// The launch of its shader with its tile; shape, buffers and grid are still missing.
    pub(super) fn launch(&self, element: StorageType) -> Launch {
        let mut launch = Launch::of(self.shader(element), element);
        if let Some(step) = element.weight_step().filter(|_| !self.has_matrices()) {
            launch = launch.constant("STEP4", word(step / 4));
        }
        let width = ("WIDTH", self.width as f64);
        let rows = ("ROWS", u32::try_from(self.invocation_rows).unwrap_or(1));
        let groups = ("GROUPS", (self.row_tile / self.invocation_rows) as f64);
        let dots: &[Need] = match (element, self.technique) {
            (StorageType::Int8, Technique::Blocked | Technique::Tiled | Technique::Streamed) => &[Need::PackedDot],
            _ => &[],
        };
        match self.technique {
            Technique::Blocked => launch.constants([rows]).overrides([width, groups]).needs(dots),
            Technique::Subgroup => launch.constants([rows]).overrides([width]).needs(&[Need::Subgroup]),
            Technique::Streamed | Technique::StreamedWidened => {
                let launch = launch.constants([rows]).overrides([width, ("SPLIT_K", self.split_k as f64)]).needs(dots);
                // Not all of these shaders have invocations along the rows.
                if groups.1 > 1.0 { launch.overrides([groups]) } else { launch }
            }
            Technique::Tiled | Technique::TiledWidened | Technique::Packed => {
                let height = u32::try_from(self.row_tile / self.invocation_rows).unwrap_or(1);
                launch.constants([rows, ("HEIGHT", height)]).needs(dots)
            }
            Technique::Matrix { size, lanes } => {
                let shares = self.row_tile / self.invocation_rows;
                launch.matrices(size).most_lanes(word(lanes)).constants([
                    ("MATRIX_ROWS", word(self.invocation_rows / size)),
                    ("ROW_SHARES", word(shares)),
                    // Two subgroups are along the columns.
                    ("INVOCATIONS", word(2 * shares * lanes)),
                ])
            }
            Technique::MatrixStreamed { size, lanes } => launch
                .matrices(size)
                .most_lanes(word(lanes))
                .constants([("MATRIX_ROWS", word(self.row_tile / size)), ("MATRIX_COLUMNS", word(lanes / 32))]),
        }
    }

    /// Whether subgroups multiply matrices.
    pub(super) fn has_matrices(&self) -> bool {
        matches!(self.technique, Technique::Matrix { .. } | Technique::MatrixStreamed { .. })
    }

    /// Neighbours along k that follow one another in the memory of the weights.
    pub(super) fn k_together(&self, element: StorageType) -> usize {
        match (self.technique, element) {
            _ if self.has_matrices() => MATRIX_STEP,
            (_, StorageType::Int8) => 4,
            _ => 1,
        }
    }

    /// A key of the weights' order in memory, which depends on the width of a panel and on what is together inside.
    pub(super) fn weights_key(&self) -> usize {
        self.panel_columns() * 64 + self.k_together(StorageType::F32)
    }

    /// The parameter that counts steps along k, and the k per step.
    pub(super) fn k_step(&self, element: StorageType) -> (&'static str, usize) {
        if let Some(step) = element.weight_step().filter(|_| !self.has_matrices()) {
            return ("steps", step);
        }
        match (element, self.technique) {
            (StorageType::Int8, Technique::Subgroup | Technique::StreamedWidened) => ("k4", 4),
            (StorageType::Int8, Technique::TiledWidened) => ("k8", 8),
            (StorageType::Int8, _) => ("k16", 16),
            _ => ("k4", 4),
        }
    }
}
