//! A model's architecture, and the parameters that follow from its sizes.
//!
//! All sizes are counts. Parameter counts are `f64`: exact up to 2^53, and no product of sizes can overflow.

/// A transformer as far as its costs depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Name, or the path's stem.
    pub name: String,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Vocabulary.
    pub vocab: u64,
    /// Decoder layers.
    pub layers: u64,
    /// Kind and sizes of attention.
    pub attention: Attention,
    /// Inner width of a dense FFN.
    pub dense_intermediate: u64,
    /// How many layers have a dense FFN instead of experts.
    pub dense_layers: u64,
    /// Mixture of experts, in the other layers.
    pub moe: Option<Moe>,
    /// Multi-token-prediction modules.
    pub mtp_layers: u64,
    /// Whether the LM head shares the embedding's weights.
    pub tied_embeddings: bool,
    /// Layers that attend within a window.
    pub window: Option<Window>,
    /// Whether each query head has a sink, a learned logit in the softmax without a value (gpt-oss).
    pub sinks: bool,
    /// Whether a projection as wide as the queries gates the output of attention (Qwen3-Next).
    pub gated_attention: bool,
    /// Layers with linear attention in place of the other kind.
    pub linear: Option<LinearAttention>,
    /// What the weights of matmuls are stored as in the published checkpoint.
    pub checkpoint: CheckpointType,
}

/// Layers whose attention is a recurrence over a state of fixed size (gated delta net). Only their weights are counted: no
/// kernel computes them, and no projection covers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearAttention {
    /// How many layers have it.
    pub layers: u64,
    /// Width of all keys, and of all queries.
    pub key_width: u64,
    /// Width of all values.
    pub value_width: u64,
    /// Heads of values, each with two scalar gates.
    pub value_heads: u64,
    /// Taps of the convolution over queries, keys and values.
    pub taps: u64,
}

/// The storage type of a published checkpoint's weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CheckpointType {
    /// Not quantised: bfloat16.
    #[default]
    Bf16,
    /// e4m3 with one scale per block of 128 x 128.
    Fp8,
    /// e2m1 with one e8m0 scale per 32 numbers.
    Mxfp4,
    /// e2m1 with one e4m3 scale per 16 numbers.
    Nvfp4,
}

/// Windowed attention in some layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Tokens that such a layer attends to.
    pub tokens: u64,
    /// Every n-th layer has it.
    pub every: u64,
}

/// Kind and sizes of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Grouped-query attention.
    Gqa {
        /// Query heads.
        heads: u64,
        /// Key and value heads.
        kv_heads: u64,
        /// Width of a head.
        head_dim: u64,
    },
    /// Multi-head latent attention.
    Mla {
        /// Heads.
        heads: u64,
        /// Rank of the query's down projection.
        q_lora_rank: u64,
        /// Rank of the latent that is cached.
        kv_lora_rank: u64,
        /// Width of the rotary part of a key, shared by all heads and cached.
        rope_head_dim: u64,
        /// Width of the other part of a key.
        nope_head_dim: u64,
        /// Width of a value.
        v_head_dim: u64,
    },
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moe {
    /// Routed experts of a layer.
    pub experts: u64,
    /// Routed experts of a token.
    pub top_k: u64,
    /// Inner width of an expert.
    pub intermediate: u64,
    /// Experts that every token visits.
    pub shared_experts: u64,
    /// Whether the output of the shared experts is multiplied by a gate of their own (Qwen3-Next).
    pub gated_shared: bool,
    /// What makes weights of logits.
    pub scoring: Scoring,
    /// Groups of experts in the router; 1 where there are none.
    pub groups: u64,
    /// Groups that a token may choose from.
    pub kept_groups: u64,
    /// Whether the chosen weights are scaled to sum to one.
    pub renormalise: bool,
    /// Factor on the routed experts' sum.
    pub routed_scaling: f64,
}

/// What makes weights of logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// Softmax over all experts. With weights that are made to sum to one, it is the softmax over the chosen ones.
    Softmax,
    /// Sigmoid of each, with a correction bias for the choice (DeepSeek-V3).
    Sigmoid,
    /// Square root of the softplus of each, with a correction bias for the choice (DeepSeek-V4).
    SqrtSoftplus,
    /// Softmax of logits that have a learned bias (gpt-oss).
    BiasedSoftmax,
}

impl Model {
    /// Weights of one layer's attention.
    pub fn attention_parameters(&self) -> f64 {
        let h = self.hidden as f64;
        match self.attention {
            Attention::Gqa { heads, kv_heads, head_dim } => {
                let (heads, kv_heads, d) = (heads as f64, kv_heads as f64, head_dim as f64);
                let gate = if self.gated_attention { h * heads * d } else { 0.0 };
                2.0 * h * heads * d + 2.0 * h * kv_heads * d + gate
            }
            Attention::Mla { heads, q_lora_rank, kv_lora_rank, rope_head_dim, nope_head_dim, v_head_dim } => {
                let (n, q, kv) = (heads as f64, q_lora_rank as f64, kv_lora_rank as f64);
                let (rope, nope, v) = (rope_head_dim as f64, nope_head_dim as f64, v_head_dim as f64);
                h * q + q * n * (nope + rope) + h * (kv + rope) + kv * n * (nope + v) + n * v * h
            }
        }
    }

    /// Those of them that every rank of a tensor-parallel group holds whole: latent attention's down projections.
    pub fn attention_unsplit_parameters(&self) -> f64 {
        match self.attention {
            Attention::Gqa { .. } => 0.0,
            Attention::Mla { q_lora_rank, kv_lora_rank, rope_head_dim, .. } => {
                self.hidden as f64 * (q_lora_rank + kv_lora_rank + rope_head_dim) as f64
            }
        }
    }

    /// Weights of one layer's linear attention; 0 for a model without such layers.
    pub fn linear_attention_parameters(&self) -> f64 {
        self.linear.map_or(0.0, |linear| {
            let (keys, values) = (linear.key_width as f64, linear.value_width as f64);
            let inputs = 2.0 * keys + values;
            let columns = inputs + values + 2.0 * linear.value_heads as f64;
            self.hidden as f64 * (columns + values) + inputs * linear.taps as f64
        })
    }

    /// Weights of a dense FFN (gate, up, down).
    pub fn dense_ffn_parameters(&self) -> f64 {
        3.0 * self.hidden as f64 * self.dense_intermediate as f64
    }

    /// Weights of one routed or shared expert; 0 for a dense model.
    pub fn expert_parameters(&self) -> f64 {
        self.moe.map_or(0.0, |moe| 3.0 * self.hidden as f64 * moe.intermediate as f64)
    }

    /// Weights of a layer's router; 0 for a dense model.
    pub fn router_parameters(&self) -> f64 {
        self.moe.map_or(0.0, |moe| self.hidden as f64 * moe.experts as f64)
    }

    /// Weights of the embedding (the LM head has as many).
    pub fn embedding_parameters(&self) -> f64 {
        self.vocab as f64 * self.hidden as f64
    }

    /// Layers with experts.
    pub fn moe_layers(&self) -> u64 {
        self.layers - self.dense_layers
    }

    /// All weights, without multi-token-prediction modules.
    pub fn parameters(&self) -> f64 {
        self.count(|moe| moe.experts as f64)
    }

    /// Weights that one token meets, the embedding table included as cards do.
    pub fn active_parameters(&self) -> f64 {
        self.count(|moe| moe.top_k as f64)
    }

    /// Weights of one multi-token-prediction module: a layer and the 2h x h projection into it.
    pub fn mtp_parameters(&self) -> f64 {
        let h = self.hidden as f64;
        2.0 * h * h + self.layer_parameters(|moe| moe.experts as f64)
    }

    /// One layer of the last kind, with as many routed experts as `routed` says.
    fn layer_parameters(&self, routed: impl Fn(&Moe) -> f64) -> f64 {
        let ffn = self.moe.map_or_else(
            || self.dense_ffn_parameters(),
            |moe| (routed(&moe) + moe.shared_experts as f64) * self.expert_parameters() + self.router_parameters(),
        );
        self.attention_parameters() + ffn + 2.0 * self.hidden as f64
    }

    fn count(&self, routed: impl Fn(&Moe) -> f64) -> f64 {
        let norms = 2.0 * self.hidden as f64;
        let dense = self.dense_layers as f64 * (self.attention_parameters() + self.dense_ffn_parameters() + norms);
        let moe = self.moe_layers() as f64 * self.layer_parameters(routed);
        let tables = if self.tied_embeddings { 1.0 } else { 2.0 };
        let linear = self.linear.map_or(0.0, |linear| {
            linear.layers as f64 * (self.linear_attention_parameters() - self.attention_parameters())
        });
        dense + moe + linear + tables * self.embedding_parameters() + self.hidden as f64
    }
}
