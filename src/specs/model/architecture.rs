//! A model's architecture, as far as its costs depend on it.
//!
//! All sizes are counts. `parameters.rs` counts the weights that follow from them.

use crate::specs::model::checkpoint::{Checkpoint, CheckpointType};

/// A model that generates text: an embedding, layers of a few kinds, and an LM head.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Name, or the path's stem.
    pub name: String,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Copies of the residual stream that layers mix: 1, or 4 in DeepSeek-V4's hyper-connections.
    pub residual_streams: u64,
    /// Vocabulary.
    pub vocab: u64,
    /// Layers, all kinds together.
    pub layers: u64,
    /// Each kind of layer once, those with experts first.
    pub kinds: Vec<LayerKind>,
    /// The experts, which are the same in all layers that have them.
    pub moe: Option<Moe>,
    /// Matrices of a feed-forward network: 3 with a gate (gate, up, down), else 2 (up, down).
    pub ffn_matrices: u64,
    /// Multi-token-prediction modules.
    pub mtp_layers: u64,
    /// The layer of such a module.
    pub mtp: Layer,
    /// Whether the LM head shares the embedding's weights.
    pub tied_embeddings: bool,
    /// What the weights of matmuls are stored as in the published checkpoint.
    pub checkpoint: Checkpoint,
    /// Parts of the file that are left out, such as a vision tower: what follows "without" in a sentence.
    pub left_out: Vec<&'static str>,
}

/// How many layers are like this one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerKind {
    /// The layer.
    pub layer: Layer,
    /// How many there are.
    pub count: u64,
}

/// A layer: what mixes tokens, then what works on each alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layer {
    /// What mixes tokens.
    pub mixer: Mixer,
    /// The feed-forward network.
    pub ffn: Ffn,
}

/// What mixes tokens in a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mixer {
    /// Attention with a softmax over cached keys.
    Attention(AttentionLayer),
    /// A recurrence over a state of fixed size.
    Linear(LinearAttention),
    /// Nothing.
    None,
}

/// The feed-forward network of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ffn {
    /// One network of this inner width.
    Dense(u64),
    /// Experts.
    Experts,
    /// Nothing.
    None,
}

/// Attention with a softmax.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionLayer {
    /// Kind and sizes.
    pub sizes: Attention,
    /// Which tokens a token attends to.
    pub reach: Reach,
    /// Whether each query head has a sink, a learned logit in the softmax without a value (gpt-oss).
    pub sinks: bool,
    /// Whether a projection as wide as the output of attention gates it (Qwen3-Next).
    pub gated: bool,
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
        /// Width of a query or key.
        head_dim: u64,
        /// Width of a value.
        v_head_dim: u64,
        /// Whether values are projected like keys, by the same weights (Gemma 4). Both are cached.
        shared_projection: bool,
    },
    /// Multi-head latent attention.
    Mla {
        /// Heads.
        heads: u64,
        /// Rank of the query's down projection; 0 where the query is projected at once.
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
    /// One key head that is also the value, with low-rank projections of queries and outputs (DeepSeek-V4).
    Shared {
        /// Query heads.
        heads: u64,
        /// Width of a query, key or value.
        head_dim: u64,
        /// Rank of the query's down projection.
        q_lora_rank: u64,
        /// Groups of heads, each with an output projection of its own.
        output_groups: u64,
        /// Rank of the output of a group.
        output_rank: u64,
    },
}

/// Which tokens a token attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All before it.
    All,
    /// The last ones, this many.
    Window(u64),
    /// Those of its own chunk of this many tokens (Llama 4).
    Chunk(u64),
    /// Those that an indexer chooses among all before it (DeepSeek-V3.2).
    Chosen(EntryChoice),
    /// The last ones, and compressed ones before them (DeepSeek-V4).
    Compressed {
        /// Tokens of the window.
        window: u64,
        /// Tokens that become one entry of the cache.
        ratio: u64,
        /// Which entries; all where there is no choice.
        choice: Option<EntryChoice>,
    },
}

/// A choice among cached entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryChoice {
    /// Entries that are chosen.
    pub entries: u64,
    /// What chooses; `None` where the choice of an earlier layer is taken (GLM-5.2).
    pub indexer: Option<Indexer>,
}

/// A small attention that scores all cached entries by keys of its own, without values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indexer {
    /// Query heads. One key head serves all.
    pub heads: u64,
    /// Width of a key.
    pub head_dim: u64,
    /// Width of what its queries are projected from.
    pub query_input: u64,
    /// Whether each token weighs the heads by a projection of its own (DeepSeek); else the largest score counts.
    pub weighted: bool,
}

/// Attention as a recurrence over a state of fixed size: a matrix of `key_dim` x `value_dim` per head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearAttention {
    /// The recurrence.
    pub rule: Recurrence,
    /// Heads of values, each with a state.
    pub heads: u64,
    /// Heads of keys and queries, or groups of B and C.
    pub key_heads: u64,
    /// Width of a key.
    pub key_dim: u64,
    /// Width of a value.
    pub value_dim: u64,
    /// Taps of the convolution before the recurrence; 0 where there is none.
    pub taps: u64,
    /// Bytes of an element of the state.
    pub state_bytes: u64,
}

/// How the state is updated, which says what is projected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recurrence {
    /// Gated delta rule with a scalar decay per head (Qwen3-Next; arXiv:2412.06464).
    GatedDelta,
    /// The same with a decay per channel, projected through a rank of `key_dim` (Kimi Delta Attention,
    /// arXiv:2510.26692). The output's gate has that rank too, or full rank.
    KimiDelta {
        /// Whether the output's gate has full rank.
        full_rank_gate: bool,
    },
    /// Selective state space with a scalar decay per head (Mamba-2, arXiv:2405.21060).
    StateSpace,
    /// A fixed decay per head (Lightning Attention, arXiv:2401.04658).
    Lightning,
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
    /// Width that routed experts work in, where tokens are projected down to it before the dispatch and up after the
    /// combine (Nemotron 3, Kimi-K3).
    pub latent: Option<u64>,
    /// Experts that every token visits, at full width.
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
    /// The sizes of the attention that most of the layers with a softmax have; of equals, the one that reaches farther.
    pub fn attention(&self) -> Option<&AttentionLayer> {
        let with_softmax = self.kinds.iter().filter_map(|kind| match &kind.layer.mixer {
            Mixer::Attention(attention) => Some((kind.count, attention)),
            Mixer::Linear(_) | Mixer::None => None,
        });
        let far = |attention: &AttentionLayer| attention.reach == Reach::All;
        with_softmax.max_by_key(|(count, attention)| (far(attention), *count)).map(|(_, attention)| attention)
    }

    /// The window of layers that attend within one, if there are any.
    pub fn window(&self) -> Option<u64> {
        self.kinds.iter().find_map(|kind| match kind.layer.mixer {
            Mixer::Attention(AttentionLayer { reach: Reach::Window(tokens), .. }) => Some(tokens),
            _ => None,
        })
    }

    /// The inner width of a dense feed-forward network, of the kind that most layers have; 0 where none has one.
    pub fn dense_intermediate(&self) -> u64 {
        let width =
            |kind: &LayerKind| if let Ffn::Dense(width) = kind.layer.ffn { Some((kind.count, width)) } else { None };
        self.kinds.iter().filter_map(width).max().map_or(0, |(_, width)| width)
    }

    /// Layers with experts.
    pub fn moe_layers(&self) -> u64 {
        self.kinds.iter().filter(|kind| kind.layer.ffn == Ffn::Experts).map(|kind| kind.count).sum()
    }

    /// Layers with a state of fixed size.
    pub fn linear_layers(&self) -> u64 {
        self.kinds.iter().filter(|kind| matches!(kind.layer.mixer, Mixer::Linear(_))).map(|kind| kind.count).sum()
    }

    /// The storage type of most weights: that of the experts, or of the dense networks.
    pub fn checkpoint_type(&self) -> CheckpointType {
        if self.moe.is_some() { self.checkpoint.experts } else { self.checkpoint.dense }
    }
}

impl Attention {
    /// Query heads.
    pub const fn heads(&self) -> u64 {
        match *self {
            Self::Gqa { heads, .. } | Self::Mla { heads, .. } | Self::Shared { heads, .. } => heads,
        }
    }

    /// Heads whose keys and values are cached; one where all query heads share what is cached.
    pub const fn key_value_heads(&self) -> u64 {
        match *self {
            Self::Gqa { kv_heads, .. } => kv_heads,
            Self::Mla { .. } | Self::Shared { .. } => 1,
        }
    }
}

impl Reach {
    /// The choice of an indexer, if one chooses.
    pub const fn choice(&self) -> Option<EntryChoice> {
        match *self {
            Self::Chosen(choice) => Some(choice),
            Self::Compressed { choice, .. } => choice,
            Self::All | Self::Window(_) | Self::Chunk(_) => None,
        }
    }

    /// Tokens that become one entry of the cache.
    pub const fn ratio(&self) -> u64 {
        if let Self::Compressed { ratio, .. } = *self { ratio } else { 1 }
    }
}

impl LinearAttention {
    /// Width of all keys, and of all queries.
    pub fn keys(&self) -> f64 {
        self.key_heads as f64 * self.key_dim as f64
    }

    /// Width of all values.
    pub fn values(&self) -> f64 {
        self.heads as f64 * self.value_dim as f64
    }

    /// Width of what is projected from the residual stream at once: keys, queries, values, gates.
    pub fn columns(&self) -> f64 {
        let inputs = 2.0 * self.keys() + self.values();
        match self.rule {
            Recurrence::GatedDelta => inputs + self.values() + 2.0 * self.heads as f64,
            Recurrence::KimiDelta { full_rank_gate } => {
                let gate = if full_rank_gate { self.values() } else { self.key_dim as f64 };
                inputs + gate + self.key_dim as f64 + self.heads as f64
            }
            Recurrence::StateSpace => inputs + self.values() + self.heads as f64,
            Recurrence::Lightning => inputs + self.values(),
        }
    }

    /// Width of what is projected through a rank of `key_dim`.
    pub fn low_rank_columns(&self) -> f64 {
        match self.rule {
            Recurrence::KimiDelta { full_rank_gate } => self.keys() + if full_rank_gate { 0.0 } else { self.values() },
            Recurrence::GatedDelta | Recurrence::StateSpace | Recurrence::Lightning => 0.0,
        }
    }

    /// Channels of the convolution.
    pub fn channels(&self) -> f64 {
        if self.taps == 0 { 0.0 } else { 2.0 * self.keys() + self.values() }
    }

    /// Elements of the states of all heads.
    pub fn state_elements(&self) -> f64 {
        self.heads as f64 * self.key_dim as f64 * self.value_dim as f64
    }
}
