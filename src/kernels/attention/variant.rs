//! The ways to compute attention, as tables: prefill, decode over a contiguous or a paged cache, and latent decode.

use std::sync::LazyLock;

use crate::kernels::attention::heads::Heads;
use crate::kernels::attention::split::splits;
use crate::kernels::plan::{Launch, Need};
use crate::kernels::types::{StorageType, word};

/// The names of a table's variants, in its order.
pub(super) type Names = LazyLock<Vec<&'static str>>;

/// One way to compute prefill.
#[derive(Debug)]
pub(super) struct PrefillVariant {
    name: &'static str,
    technique: Technique,
    /// Queries per workgroup.
    rows: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Technique {
    /// One invocation per query, keys straight from storage.
    Row,
    /// Keys shared by broadcast among the lanes of a subgroup, four queries per lane.
    Subgroup,
    /// Queries, keys and values through workgroup memory. An invocation computes `queries` x `keys` scores. `lanes` of them
    /// share the queries.
    Tiled { queries: u32, keys: u32, lanes: u32 },
    /// Square cooperative matrices of this size, so many keys at a time: f16 operands, f32 sums.
    ///
    /// The results with 8 x 8 matrices were compared with the twin on Mesa 26.1's software adapter, which multiplies that
    /// size. The 16 x 16 matrices are the same file with another size; they have not run on any device yet. No GPU was at
    /// hand, so their speed is not known.
    Matrix { size: usize, keys: u32 },
}

/// Lanes per workgroup of the subgroup variant.
const SUBGROUP_LANES: usize = 8;

const fn prefill(name: &'static str, technique: Technique, rows: usize) -> PrefillVariant {
    PrefillVariant { name, technique, rows }
}

const fn tiled(name: &'static str, [queries, keys, lanes]: [u32; 3]) -> PrefillVariant {
    prefill(name, Technique::Tiled { queries, keys, lanes }, 8 * queries as usize)
}

/// All variants of prefill. `row` and `subgroup_8x4` are for software adapters: a query's whole output per lane needs more
/// registers than a GPU has. The tiled variants are named after queries and keys of a tile, as the matrix variants are.
const PREFILL: &[PrefillVariant] = &[
    prefill("row", Technique::Row, 32),
    prefill("subgroup_8x4", Technique::Subgroup, 4 * SUBGROUP_LANES),
    tiled("tiled_64x64", [8, 4, 16]),
    tiled("tiled_32x128", [4, 8, 16]),
    prefill("matrix16_64x64", Technique::Matrix { size: 16, keys: 64 }, 64),
    prefill("matrix16_64x32", Technique::Matrix { size: 16, keys: 32 }, 64),
    prefill("matrix8_64x32", Technique::Matrix { size: 8, keys: 32 }, 64),
];

/// The names of all variants of prefill.
pub(super) static PREFILL_NAMES: Names = LazyLock::new(|| PREFILL.iter().map(|variant| variant.name).collect());

impl PrefillVariant {
    /// The variant of this name; the first for any other name.
    pub(super) fn of(name: &str) -> &'static Self {
        PREFILL.iter().find(|variant| variant.name == name).unwrap_or(&PREFILL[0])
    }

    /// The storage types that it exists for.
    pub(super) fn elements(&self) -> &'static [StorageType] {
        match self.technique {
            Technique::Matrix { .. } => &[StorageType::F16],
            _ => StorageType::FLOATS,
        }
    }

    /// Whether it can compute heads of these sizes.
    pub(super) fn suits(&self, head_dim: usize, value_dim: usize) -> bool {
        match self.technique {
            // With the wider keys of latent attention, 64 of them exceed the 48 KB of an NVIDIA GPU's workgroup memory.
            Technique::Matrix { keys: 64, .. } => head_dim == value_dim,
            _ => true,
        }
    }

    /// Queries per workgroup.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The launch of its shader for heads of these sizes; masking, parameters, buffers and grid are still missing.
    pub(super) fn launch(&self, element: StorageType, head_dim: usize, value_dim: usize) -> Launch {
        let launch = match self.technique {
            Technique::Row => Launch::of("attention_prefill_row", element).overrides([("WORKGROUP", self.rows as f64)]),
            Technique::Subgroup => Launch::of("attention_prefill_subgroup", element).needs(&[Need::Subgroup]),
            Technique::Tiled { queries, keys, lanes } => Launch::of("attention_prefill_tiled", element).constants([
                ("QUERIES", queries),
                ("EACH", keys),
                ("LANES", lanes),
            ]),
            Technique::Matrix { size, keys } => {
                Launch::of("attention_prefill_matrix", element).matrices(size).constant("KEYS", keys)
            }
        };
        launch.overrides([("HEAD_DIM4", (head_dim / 4) as f64), ("VALUE_DIM4", (value_dim / 4) as f64)])
    }
}

/// One way to compute decode over a cache of grouped heads.
#[derive(Debug)]
pub(super) struct DecodeVariant {
    name: &'static str,
    /// The file under shaders/ for a contiguous cache, and for a paged one, if there is one.
    shader: &'static str,
    paged_shader: Option<&'static str>,
    work_of: WorkOf,
}

/// What one invocation or workgroup of decode computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WorkOf {
    /// An invocation computes one (sequence, head, split).
    Invocation,
    /// A lane computes one query head, a workgroup up to 8 query heads of one (sequence, KV head, split).
    Lane,
    /// A workgroup computes up to [`MAX_GROUP`] query heads of one (sequence, KV head, split), this many keys at a time. It
    /// has an invocation per key up to 8 heads, and two beyond.
    Workgroup(u32),
}

/// Query heads per workgroup of the subgroup variants of decode, and splits per workgroup of the row variants.
pub(super) const SUBGROUP_HEADS: usize = 8;
/// The largest head that an invocation holds in registers, where it computes a whole one.
const MOST_OWN_DIM: usize = 128;
/// The most query heads of a workgroup of the group variant.
const MAX_GROUP: usize = 16;

const DECODE: &[DecodeVariant] = &[
    DecodeVariant {
        name: "row",
        shader: "attention_decode_row",
        paged_shader: Some("attention_decode_paged_row"),
        work_of: WorkOf::Invocation,
    },
    DecodeVariant {
        name: "subgroup",
        shader: "attention_decode_subgroup",
        paged_shader: Some("attention_decode_paged_subgroup"),
        work_of: WorkOf::Lane,
    },
    DecodeVariant {
        name: "group",
        shader: "attention_decode_group",
        paged_shader: Some("attention_decode_paged_group"),
        work_of: WorkOf::Workgroup(64),
    },
    // A workgroup of one subgroup of 32 lanes: its barriers cost nothing.
    DecodeVariant {
        name: "group_32",
        shader: "attention_decode_group",
        paged_shader: Some("attention_decode_paged_group"),
        work_of: WorkOf::Workgroup(32),
    },
];

/// The names of all variants of decode over a contiguous cache.
pub(super) static DECODE_NAMES: Names = LazyLock::new(|| DECODE.iter().map(|variant| variant.name).collect());

/// The names of all variants of decode over a paged cache.
pub(super) static PAGED_NAMES: Names = LazyLock::new(|| {
    DECODE.iter().filter(|variant| variant.paged_shader.is_some()).map(|variant| variant.name).collect()
});

impl DecodeVariant {
    /// The variant of this name; the first for any other name.
    pub(super) fn of(name: &str) -> &'static Self {
        DECODE.iter().find(|variant| variant.name == name).unwrap_or(&DECODE[0])
    }

    /// Whether it can compute heads of this size. Without a workgroup an invocation holds a whole head in registers; a
    /// workgroup has an invocation per vec4 of a head.
    pub(super) fn suits(&self, heads: &Heads) -> bool {
        match self.work_of {
            WorkOf::Workgroup(keys) => word(heads.head_dim4()) <= keys,
            WorkOf::Invocation | WorkOf::Lane => heads.head_dim <= MOST_OWN_DIM,
        }
    }

    /// Parts of a cache of `kv_len` keys.
    pub(super) fn splits(&self, heads: &Heads, sequences: usize, kv_len: usize) -> usize {
        match self.work_of {
            WorkOf::Invocation => splits(4096, sequences * heads.heads, kv_len),
            WorkOf::Lane => splits(1024, sequences * heads.kv_heads, kv_len),
            WorkOf::Workgroup(_) => splits(4096, sequences * heads.kv_heads * passes(heads), kv_len),
        }
    }

    /// The launch over a contiguous cache; parameters and buffers are still missing.
    pub(super) fn launch(&self, element: StorageType, heads: &Heads, sequences: usize, splits: usize) -> Launch {
        self.launch_of(self.shader, element, heads, [splits, sequences])
    }

    /// The launch over a paged cache; parameters, buffers and the size of a block are still missing.
    pub(super) fn paged_launch(&self, element: StorageType, heads: &Heads, sequences: usize, splits: usize) -> Launch {
        self.launch_of(self.paged_shader.unwrap_or(self.shader), element, heads, [splits, sequences])
    }

    fn launch_of(
        &self,
        shader: &'static str,
        element: StorageType,
        heads: &Heads,
        [splits, sequences]: [usize; 2],
    ) -> Launch {
        let launch = Launch::of(shader, element).overrides([("HEAD_DIM4", heads.head_dim4() as f64)]);
        let workgroup = ("WORKGROUP", SUBGROUP_HEADS as f64);
        match self.work_of {
            WorkOf::Invocation => launch.overrides([workgroup]).grid([
                word(splits.div_ceil(SUBGROUP_HEADS)),
                word(heads.heads),
                word(sequences),
            ]),
            WorkOf::Lane => {
                let passes = heads.group().div_ceil(SUBGROUP_HEADS);
                launch.needs(&[Need::Subgroup]).overrides([workgroup]).grid([
                    word(splits),
                    word(heads.kv_heads * passes),
                    word(sequences),
                ])
            }
            WorkOf::Workgroup(keys) => launch.constants(group_constants(heads, keys, element)).grid([
                word(splits),
                word(heads.kv_heads * passes(heads)),
                word(sequences),
            ]),
        }
    }
}

/// Workgroups of the group variant that share a KV head.
fn passes(heads: &Heads) -> usize {
    heads.group().div_ceil(MAX_GROUP)
}

/// The constants of the group variant. More heads than 8 want more invocations, since an invocation holds their outputs in
/// registers; an Apple GPU has 128 of them. An invocation reads 16 bytes of f32 or f16 at once, but 8 of bf16: widening
/// takes more registers.
fn group_constants(heads: &Heads, keys: u32, element: StorageType) -> [(&'static str, u32); 4] {
    let group = heads.group().div_ceil(passes(heads));
    let halves = if group > 8 { 2 } else { 1 };
    let width = if element == StorageType::F16 { 2 } else { 1 };
    [("GROUP", word(group)), ("HALVES", halves), ("KEYS", keys), ("WIDTH", width)]
}

/// One way to compute latent decode.
#[derive(Debug)]
pub(super) struct MlaVariant {
    name: &'static str,
    technique: MlaTechnique,
    /// Heads per workgroup.
    pub(super) heads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MlaTechnique {
    /// Entries of the cache through workgroup memory; so many heads per row of invocations.
    Tiled(u32),
    /// Entries shared by broadcast, a head per lane. It is shaped for subgroups of 8.
    Subgroup,
    /// Square cooperative matrices of this size: f16 operands, f32 sums. They too go through workgroup memory.
    Matrix(usize),
}

const fn mla(name: &'static str, technique: MlaTechnique, heads: usize) -> MlaVariant {
    MlaVariant { name, technique, heads }
}

/// All variants of latent decode. Two heads per row of invocations take half the registers of four, for GPUs that have
/// few. More heads per workgroup read the cache less often; 32 exceed the registers of RDNA3, which stores each tile of
/// the queries twice.
const MLA: &[MlaVariant] = &[
    mla("tiled", MlaTechnique::Tiled(4), 16),
    mla("tiled_8x2", MlaTechnique::Tiled(2), 16),
    mla("subgroup", MlaTechnique::Subgroup, SUBGROUP_HEADS),
    mla("matrix16_16x16", MlaTechnique::Matrix(16), 16),
    mla("matrix16_32x16", MlaTechnique::Matrix(16), 32),
    mla("matrix8_16x16", MlaTechnique::Matrix(8), 16),
    mla("matrix8_32x16", MlaTechnique::Matrix(8), 32),
];

/// The largest latent and rotary dimension of the variants that keep them in registers.
const MAX_LATENT: [usize; 2] = [512, 64];
/// The least numbers of an entry whose room in workgroup memory holds what the matrix variants load of the queries at once.
const MATRIX_ENTRY: usize = 128;

/// The names of all variants of latent decode.
pub(super) static MLA_NAMES: Names = LazyLock::new(|| MLA.iter().map(|variant| variant.name).collect());

impl MlaVariant {
    /// The variant of this name; the first for any other name.
    pub(super) fn of(name: &str) -> &'static Self {
        MLA.iter().find(|variant| variant.name == name).unwrap_or(&MLA[0])
    }

    /// The storage types that it exists for.
    pub(super) fn elements(&self) -> &'static [StorageType] {
        if matches!(self.technique, MlaTechnique::Matrix(_)) { &[StorageType::F16] } else { StorageType::FLOATS }
    }

    /// Whether it can compute latents of these sizes.
    pub(super) fn suits(&self, latent_dim: usize, rope_dim: usize) -> bool {
        let dims = [latent_dim, rope_dim];
        let divides = |size: usize| dims.iter().all(|dim| dim.is_multiple_of(size));
        let fits = dims.iter().zip(MAX_LATENT).all(|(dim, most)| *dim <= most);
        match self.technique {
            MlaTechnique::Tiled(_) => divides(4) && fits,
            MlaTechnique::Subgroup => divides(4),
            MlaTechnique::Matrix(size) => divides(size) && fits && latent_dim + rope_dim >= MATRIX_ENTRY,
        }
    }

    /// The launch of its shader for latents of these sizes; blocks, parameters, buffers and grid are still missing.
    pub(super) fn launch(&self, element: StorageType, latent_dim: usize, rope_dim: usize) -> Launch {
        let dims4 = [("LATENT_DIM4", (latent_dim / 4) as f64), ("ROPE_DIM4", (rope_dim / 4) as f64)];
        match self.technique {
            MlaTechnique::Tiled(each) => {
                // What f32 needs in workgroup memory for 4 entries, types of 16 bits need for 8.
                let (keys, pair) = if element == StorageType::F32 { (4, 1) } else { (8, 2) };
                Launch::of("attention_decode_mla_tiled", element)
                    .constants([("EACH", each), ("KEYS", keys), ("PAIR", pair)])
                    .overrides(dims4)
            }
            MlaTechnique::Subgroup => Launch::of("attention_decode_mla_subgroup", element)
                .needs(&[Need::Subgroup])
                .overrides(dims4)
                .overrides([("WORKGROUP", SUBGROUP_HEADS as f64)]),
            MlaTechnique::Matrix(size) => Launch::of("attention_decode_mla_matrix", element)
                .matrices(size)
                .constant("HEADS", word(self.heads))
                .overrides([("LATENT_DIM", latent_dim as f64), ("ROPE_DIM", rope_dim as f64)]),
        }
    }
}
