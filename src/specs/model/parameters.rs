//! The number of weights that follows from a model's sizes.
//!
//! Counts are `f64`: exact up to 2^53, and no product of sizes can overflow. Norms count where they are as wide as the
//! residual stream; biases, decays and other vectors do not.

use crate::specs::model::architecture::{
    Attention, AttentionLayer, EntryChoice, Ffn, Indexer, Layer, LinearAttention, Mixer, Model, Moe, Reach,
};

/// Weights of a mixer, by whether a tensor-parallel group splits them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MixerParameters {
    /// Split by head.
    pub split: f64,
    /// Held whole by every rank: latent attention's down projections, indexers, compressors.
    pub whole: f64,
}

impl MixerParameters {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.split + self.whole
    }
}

impl Model {
    /// Weights of a layer's mixer.
    pub fn mixer_parameters(&self, mixer: &Mixer) -> MixerParameters {
        match mixer {
            Mixer::Attention(layer) => self.softmax_parameters(layer),
            Mixer::Linear(linear) => self.linear_parameters(linear),
            Mixer::None => MixerParameters::default(),
        }
    }

    /// Weights of the attention that [`Model::attention`] names; 0 without one.
    pub fn attention_parameters(&self) -> f64 {
        self.attention().map_or(0.0, |layer| self.softmax_parameters(layer).total())
    }

    fn softmax_parameters(&self, layer: &AttentionLayer) -> MixerParameters {
        let h = self.hidden as f64;
        let gate = if layer.gated { h * layer.sizes.output_width() } else { 0.0 };
        let (split, whole) = match layer.sizes {
            Attention::Gqa { heads, kv_heads, head_dim, v_head_dim, shared_projection } => {
                let (heads, kv_heads) = (heads as f64, kv_heads as f64);
                let (keys, values) = (head_dim as f64, v_head_dim as f64);
                let projected = if shared_projection { keys } else { keys + values };
                (h * heads * (keys + values) + h * kv_heads * projected, 0.0)
            }
            Attention::Mla { heads, q_lora_rank, kv_lora_rank, rope_head_dim, nope_head_dim, v_head_dim } => {
                let (n, q, kv) = (heads as f64, q_lora_rank as f64, kv_lora_rank as f64);
                let (rope, nope, v) = (rope_head_dim as f64, nope_head_dim as f64, v_head_dim as f64);
                let query_input = if q_lora_rank == 0 { h } else { q };
                (query_input * n * (nope + rope) + kv * n * (nope + v) + n * v * h, h * (q + kv + rope))
            }
            Attention::Shared { heads, head_dim, q_lora_rank, output_groups, output_rank } => {
                let (n, d, q) = (heads as f64, head_dim as f64, q_lora_rank as f64);
                let out = output_rank as f64;
                (q * n * d + n * d * out + output_groups as f64 * out * h, h * (q + d))
            }
        };
        MixerParameters { split: split + gate, whole: whole + self.reach_parameters(layer) }
    }

    /// Weights of what chooses or compresses cached entries.
    fn reach_parameters(&self, layer: &AttentionLayer) -> f64 {
        let indexer = |choice: Option<EntryChoice>| choice.and_then(|choice| choice.indexer);
        match layer.reach {
            Reach::All | Reach::Window(_) | Reach::Chunk(_) => 0.0,
            Reach::Chosen(choice) => {
                indexer(Some(choice)).map_or(0.0, |indexer| self.indexer_parameters(&indexer, indexer.head_dim as f64))
            }
            Reach::Compressed { choice, .. } => {
                let compressor = self.hidden as f64 * compressor_columns(&layer.sizes, choice.is_some());
                let of_indexer = |indexer: Indexer| {
                    // Its keys are compressed too: content and gate, each of two overlapping windows.
                    self.indexer_parameters(&indexer, 4.0 * indexer.head_dim as f64)
                };
                compressor + indexer(choice).map_or(0.0, of_indexer)
            }
        }
    }

    fn indexer_parameters(&self, indexer: &Indexer, key_columns: f64) -> f64 {
        let heads = indexer.heads as f64;
        let weights = if indexer.weighted { heads } else { 0.0 };
        indexer.query_input as f64 * heads * indexer.head_dim as f64 + self.hidden as f64 * (key_columns + weights)
    }

    fn linear_parameters(&self, linear: &LinearAttention) -> MixerParameters {
        let projected = self.hidden as f64 * (linear.columns() + linear.values());
        let low_rank = linear.key_dim as f64 * linear.low_rank_columns();
        MixerParameters { split: projected + low_rank + linear.channels() * linear.taps as f64, whole: 0.0 }
    }

    /// Weights of a feed-forward network of this inner width.
    pub fn dense_parameters(&self, width: u64) -> f64 {
        self.ffn_matrices as f64 * self.hidden as f64 * width as f64
    }

    /// Weights of the dense feed-forward network that most layers have (gate, up, down).
    pub fn dense_ffn_parameters(&self) -> f64 {
        self.dense_parameters(self.dense_intermediate())
    }

    /// Weights of one routed expert; 0 for a dense model.
    pub fn expert_parameters(&self) -> f64 {
        self.moe.map_or(0.0, |moe| self.ffn_matrices as f64 * self.expert_width(&moe) * moe.intermediate as f64)
    }

    /// Width that routed experts work in.
    pub fn expert_width(&self, moe: &Moe) -> f64 {
        moe.latent.unwrap_or(self.hidden) as f64
    }

    /// Weights of a layer's shared experts, all together.
    pub fn shared_parameters(&self) -> f64 {
        self.moe.map_or(0.0, |moe| moe.shared_experts as f64 * self.dense_parameters(moe.intermediate))
    }

    /// Weights of a layer's router, with the projections to and from the experts' width; 0 for a dense model.
    pub fn router_parameters(&self) -> f64 {
        self.moe.map_or(0.0, |moe| {
            let latent = moe.latent.map_or(0.0, |latent| 2.0 * latent as f64);
            self.hidden as f64 * (moe.experts as f64 + latent)
        })
    }

    /// Weights of the embedding (the LM head has as many).
    pub fn embedding_parameters(&self) -> f64 {
        self.vocab as f64 * self.hidden as f64
    }

    /// All weights, without multi-token-prediction modules and what is left out.
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
        2.0 * h * h + self.layer_parameters(&self.mtp, |moe| moe.experts as f64)
    }

    /// One layer, with as many routed experts as `routed` says.
    fn layer_parameters(&self, layer: &Layer, routed: impl Fn(&Moe) -> f64) -> f64 {
        let ffn = match layer.ffn {
            Ffn::Dense(width) => self.dense_parameters(width),
            Ffn::Experts => {
                let experts = self.moe.as_ref().map_or(0.0, routed) * self.expert_parameters();
                experts + self.shared_parameters() + self.router_parameters()
            }
            Ffn::None => 0.0,
        };
        let blocks = f64::from(u8::from(layer.mixer != Mixer::None)) + f64::from(u8::from(layer.ffn != Ffn::None));
        self.mixer_parameters(&layer.mixer).total() + ffn + blocks * (self.hidden as f64 + self.stream_parameters())
    }

    /// Weights that mix the copies of the residual stream around a block: from all copies to one weight for reading and
    /// one for writing each, and for each pair of copies (arXiv:2512.24880).
    fn stream_parameters(&self) -> f64 {
        let n = self.residual_streams as f64;
        if self.residual_streams > 1 { (2.0 * n + n * n) * n * self.hidden as f64 } else { 0.0 }
    }

    fn count(&self, routed: impl Fn(&Moe) -> f64) -> f64 {
        let of_kind = |kind: &crate::specs::LayerKind| kind.count as f64 * self.layer_parameters(&kind.layer, &routed);
        let tables = if self.tied_embeddings { 1.0 } else { 2.0 };
        self.kinds.iter().map(of_kind).sum::<f64>() + tables * self.embedding_parameters() + self.hidden as f64
    }
}

/// Columns of a compressor: content and gate, each of two overlapping windows where entries are chosen afterwards.
pub(super) fn compressor_columns(sizes: &Attention, overlaps: bool) -> f64 {
    let width = if let Attention::Shared { head_dim, .. } = sizes { *head_dim as f64 } else { 0.0 };
    width * if overlaps { 4.0 } else { 2.0 }
}

impl Attention {
    /// Width of the output of all heads.
    pub fn output_width(&self) -> f64 {
        match *self {
            Self::Gqa { heads, v_head_dim, .. } | Self::Mla { heads, v_head_dim, .. } => {
                heads as f64 * v_head_dim as f64
            }
            Self::Shared { heads, head_dim, .. } => heads as f64 * head_dim as f64,
        }
    }
}
