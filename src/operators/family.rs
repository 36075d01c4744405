//! Families of measured operators, and the types that they compute in.

use crate::specs::NumberType;

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorFamily {
    /// A matrix product: `[m, k] x [k, n]`.
    Gemm,
    /// Routed experts on one rank, from their sorted tokens to the summed result.
    Experts,
    /// Causal attention of whole prompts.
    PrefillAttention,
    /// Attention of one token per sequence over a cache.
    DecodeAttention,
    /// Causal latent attention of whole prompts.
    LatentPrefill,
    /// Latent attention of one token per sequence over a cache.
    LatentDecode,
    /// Latent attention over chosen tokens with its projections and its indexer, of whole prompts.
    SparsePrefill,
    /// The same of one token per sequence over a cache.
    SparseDecode,
    /// The short convolution before a recurrence, of whole prompts.
    ConvolutionPrefill,
    /// The same of one token per sequence.
    ConvolutionDecode,
    /// A gated delta rule in chunks.
    GatedDeltaPrefill,
    /// A gated delta rule of one token per sequence.
    GatedDeltaDecode,
    /// Kimi's delta rule in chunks.
    KimiDeltaPrefill,
    /// Kimi's delta rule of one token per sequence.
    KimiDeltaDecode,
    /// All-reduce inside a node.
    AllReduce,
    /// Tokens on their way to the experts, few of them.
    Dispatch,
    /// Tokens on their way back.
    Combine,
}

/// Where a source has the time of a family.
#[cfg(feature = "parquet")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TimeColumn {
    /// Its name.
    pub name: &'static str,
    /// Seconds per unit of it.
    pub unit_s: f64,
}

impl OperatorFamily {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Gemm,
        Self::Experts,
        Self::PrefillAttention,
        Self::DecodeAttention,
        Self::LatentPrefill,
        Self::LatentDecode,
        Self::SparsePrefill,
        Self::SparseDecode,
        Self::ConvolutionPrefill,
        Self::ConvolutionDecode,
        Self::GatedDeltaPrefill,
        Self::GatedDeltaDecode,
        Self::KimiDeltaPrefill,
        Self::KimiDeltaDecode,
        Self::AllReduce,
        Self::Dispatch,
        Self::Combine,
    ];

    /// Its name in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gemm => "gemm",
            Self::Experts => "experts",
            Self::PrefillAttention => "prefill_attention",
            Self::DecodeAttention => "decode_attention",
            Self::LatentPrefill => "latent_prefill",
            Self::LatentDecode => "latent_decode",
            Self::SparsePrefill => "sparse_prefill",
            Self::SparseDecode => "sparse_decode",
            Self::ConvolutionPrefill => "convolution_prefill",
            Self::ConvolutionDecode => "convolution_decode",
            Self::GatedDeltaPrefill => "gated_delta_prefill",
            Self::GatedDeltaDecode => "gated_delta_decode",
            Self::KimiDeltaPrefill => "kimi_delta_prefill",
            Self::KimiDeltaDecode => "kimi_delta_decode",
            Self::AllReduce => "all_reduce",
            Self::Dispatch => "dispatch",
            Self::Combine => "combine",
        }
    }

    /// What its sizes are, in their order.
    pub const fn sizes(self) -> &'static [&'static str] {
        match self {
            Self::Gemm => &["m", "n", "k"],
            Self::Experts => &["tokens", "hidden", "width", "top_k", "experts", "moe_tp", "ep"],
            Self::PrefillAttention => &["sequences", "tokens", "heads", "kv_heads", "head_dim", "window"],
            Self::DecodeAttention => &["sequences", "kv_len", "heads", "kv_heads", "head_dim", "window"],
            Self::LatentPrefill => &["sequences", "tokens", "heads"],
            Self::LatentDecode => &["sequences", "kv_len", "heads"],
            Self::SparsePrefill => &["sequences", "tokens", "heads", "hidden"],
            Self::SparseDecode => &["sequences", "kv_len", "heads", "hidden"],
            Self::ConvolutionPrefill
            | Self::ConvolutionDecode
            | Self::GatedDeltaPrefill
            | Self::GatedDeltaDecode
            | Self::KimiDeltaPrefill
            | Self::KimiDeltaDecode => &["sequences", "tokens", "key_heads", "heads", "key_dim", "value_dim"],
            Self::AllReduce => &["ranks", "elements"],
            Self::Dispatch | Self::Combine => &["nodes", "hidden", "tokens", "top_k", "experts"],
        }
    }

    /// The columns there that name its types; where several are named, the file has one of them.
    pub(super) const fn type_columns(self) -> &'static [&'static str] {
        match self {
            Self::Gemm => &["gemm_dtype"],
            Self::Experts => &["moe_dtype", "distribution"],
            Self::PrefillAttention | Self::DecodeAttention => &["attn_dtype", "kv_cache_dtype"],
            Self::LatentPrefill | Self::LatentDecode => &["mla_dtype", "kv_cache_dtype"],
            // The type of the projections comes first: they have the weights.
            Self::SparsePrefill | Self::SparseDecode => &["gemm_type", "kv_cache_dtype", "mla_dtype"],
            Self::AllReduce => &["allreduce_dtype", "nccl_dtype"],
            _ => &[],
        }
    }

    /// The type of a family whose tables name none.
    pub(super) const fn only_type(self) -> &'static str {
        if matches!(self, Self::Dispatch | Self::Combine) { "fp8" } else { "bfloat16" }
    }

    /// Whether whole prompts are computed, without tokens before them.
    pub(super) const fn is_prefill(self) -> bool {
        matches!(
            self,
            Self::PrefillAttention
                | Self::LatentPrefill
                | Self::SparsePrefill
                | Self::ConvolutionPrefill
                | Self::GatedDeltaPrefill
                | Self::KimiDeltaPrefill
        )
    }
}

#[cfg(feature = "parquet")]
impl OperatorFamily {
    /// The file of aiconfigurator's layout that holds it, without its suffix.
    pub(super) const fn files(self) -> &'static [&'static str] {
        match self {
            Self::Gemm => &["gemm_perf"],
            Self::Experts => &["moe_perf"],
            Self::PrefillAttention => &["context_attention_perf"],
            Self::DecodeAttention => &["generation_attention_perf"],
            Self::LatentPrefill => &["context_mla_perf"],
            Self::LatentDecode => &["generation_mla_perf"],
            Self::SparsePrefill => &["dsa_context_module_perf"],
            Self::SparseDecode => &["dsa_generation_module_perf"],
            Self::ConvolutionPrefill | Self::ConvolutionDecode => &["gdn_perf", "kda_perf", "mamba2_perf"],
            Self::GatedDeltaPrefill | Self::GatedDeltaDecode => &["gdn_perf"],
            Self::KimiDeltaPrefill | Self::KimiDeltaDecode => &["kda_perf"],
            Self::AllReduce => &["custom_allreduce_perf", "nccl_perf"],
            Self::Dispatch | Self::Combine => &["wideep_deepep_ll_perf"],
        }
    }

    /// The columns of its sizes there, in the order of [`OperatorFamily::sizes`]. Where several are named, their sum is meant; a file
    /// has at least one of them besides a step. An architecture stands for its hidden size.
    pub(super) const fn size_columns(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Gemm => &[&["m"], &["n"], &["k"]],
            Self::Experts => &[
                &["num_tokens"],
                &["hidden_size"],
                &["inter_size"],
                &["topk"],
                &["num_experts"],
                &["moe_tp_size"],
                &["moe_ep_size"],
            ],
            Self::PrefillAttention => {
                &[&["batch_size"], &["isl"], &["num_heads"], &["num_key_value_heads"], &["head_dim"], &["window_size"]]
            }
            Self::DecodeAttention => &[
                &["batch_size"],
                &["isl", "step"],
                &["num_heads"],
                &["num_key_value_heads"],
                &["head_dim"],
                &["window_size"],
            ],
            Self::LatentPrefill => &[&["batch_size"], &["isl"], &["num_heads"]],
            Self::LatentDecode => &[&["batch_size"], &["isl", "step"], &["num_heads"]],
            Self::SparsePrefill => &[&["batch_size"], &["isl"], &["num_heads"], &["architecture"]],
            Self::SparseDecode => &[&["batch_size"], &["isl", "step"], &["num_heads"], &["architecture"]],
            Self::ConvolutionPrefill
            | Self::ConvolutionDecode
            | Self::GatedDeltaPrefill
            | Self::GatedDeltaDecode
            | Self::KimiDeltaPrefill
            | Self::KimiDeltaDecode => &[
                &["batch_size"],
                &["seq_len"],
                &["num_k_heads", "n_groups"],
                &["num_v_heads", "nheads"],
                &["head_k_dim", "d_state"],
                &["head_v_dim", "head_dim"],
            ],
            Self::AllReduce => &[&["num_gpus"], &["message_size"]],
            Self::Dispatch | Self::Combine => {
                &[&["node_num"], &["hidden_size"], &["num_token"], &["num_topk"], &["num_experts"]]
            }
        }
    }

    /// The column of its time.
    pub(super) const fn time_column(self) -> TimeColumn {
        match self {
            Self::Dispatch => TimeColumn { name: "dispatch_avg_t_us", unit_s: 1e-6 },
            Self::Combine => TimeColumn { name: "combine_avg_t_us", unit_s: 1e-6 },
            _ => TimeColumn { name: "latency", unit_s: 1e-3 },
        }
    }
}

/// What a type of the tables means: bytes of a weight, bytes of the other operand, and the type that multiplies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TypeMeaning {
    pub weight_bytes: f64,
    pub operand_bytes: f64,
    pub product: NumberType,
}

/// The meaning of a type's name in the tables; `None` for one that the model has no use for.
pub(super) fn meaning(name: &str) -> Option<TypeMeaning> {
    let of = |weight: NumberType, operand: NumberType, product: NumberType| TypeMeaning {
        weight_bytes: weight.size_bytes(),
        operand_bytes: operand.size_bytes(),
        product,
    };
    use NumberType::{Bf16, Fp8, Int8, Mxfp4, Nvfp4};
    Some(match name {
        "bfloat16" | "half" | "float16" => of(Bf16, Bf16, Bf16),
        "fp8" | "fp8_block" | "fp8_e4m3" => of(Fp8, Fp8, Fp8),
        "int8" | "sq" => of(Int8, Int8, Int8),
        "int8_wo" => of(Int8, Bf16, Bf16),
        "nvfp4" => of(Nvfp4, Nvfp4, Nvfp4),
        "int4_wo" => of(Nvfp4, Bf16, Bf16),
        "w4a16_mxfp4" => of(Mxfp4, Bf16, Bf16),
        "w4a8_mxfp4_mxfp8" | "w4afp8" => of(Mxfp4, Fp8, Fp8),
        _ => return None,
    })
}

#[cfg(feature = "parquet")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_a_column_and_every_family_a_file() {
        for family in OperatorFamily::ALL {
            assert_eq!(family.sizes().len(), family.size_columns().len(), "{}", family.name());
            assert!(family.sizes().len() <= 7 && !family.files().is_empty());
        }
    }
}
