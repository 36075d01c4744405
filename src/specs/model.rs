//! A model's architecture, read from the fields of a Hugging Face `config.json`.
//!
//! All sizes are counts. Parameter counts are `f64`: exact up to 2^53, and no product of sizes can overflow.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::{SpecError, looks_like_path, read_small_file};

const SUPPORTED: &str = "llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, deepseek_v3, kimi_k2";

const BUILTIN: [(&str, &str); 9] = [
    ("deepseek-v3", include_str!("../../specs/models/deepseek-v3.json")),
    ("kimi-k2", include_str!("../../specs/models/kimi-k2.json")),
    ("llama-3.1-8b", include_str!("../../specs/models/llama-3.1-8b.json")),
    ("llama-3.1-70b", include_str!("../../specs/models/llama-3.1-70b.json")),
    ("llama-3.1-405b", include_str!("../../specs/models/llama-3.1-405b.json")),
    ("mixtral-8x7b", include_str!("../../specs/models/mixtral-8x7b.json")),
    ("qwen2.5-72b", include_str!("../../specs/models/qwen2.5-72b.json")),
    ("qwen3-30b-a3b", include_str!("../../specs/models/qwen3-30b-a3b.json")),
    (
        "qwen3-235b-a22b",
        include_str!("../../specs/models/qwen3-235b-a22b.json"),
    ),
];

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
    /// Softmax over all experts.
    Softmax,
    /// Sigmoid of each, with a correction bias for the choice.
    Sigmoid,
}

impl Model {
    /// The names of the embedded models.
    pub fn builtin_names() -> Vec<&'static str> {
        BUILTIN.iter().map(|(name, _)| *name).collect()
    }

    /// An embedded model by name, else the `config.json` at this path (or in this folder).
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn load(name_or_path: &str) -> Result<Self, SpecError> {
        if let Some((name, text)) = BUILTIN.iter().find(|(name, _)| name.eq_ignore_ascii_case(name_or_path)) {
            return Self::parse(name, name, text);
        }
        if !looks_like_path(name_or_path) {
            return Err(SpecError::Unknown {
                kind: "model",
                name: name_or_path.to_owned(),
                known: Self::builtin_names().join(", "),
                format: "config.json",
            });
        }
        let given = Path::new(name_or_path);
        let path = if given.is_dir() {
            given.join("config.json")
        } else {
            given.to_owned()
        };
        let text = read_small_file(&path)?;
        Self::parse(&display_name(&path), &path.display().to_string(), &text)
    }

    /// A model from the text of a `config.json`; `file` is named in errors.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, SpecError> {
        let fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| SpecError::Syntax {
            file: file.to_owned(),
            reason: format!("not a JSON object: {error}"),
        })?;
        let config = Config { file, fields };
        let model = config.model(name)?;
        if model.parameters() > 1e15 {
            return Err(config.bad("hidden_size", "part of more than 1e15 parameters", "check the sizes"));
        }
        Ok(model)
    }

    /// Weights of one layer's attention.
    pub fn attention_parameters(&self) -> f64 {
        let h = self.hidden as f64;
        match self.attention {
            Attention::Gqa {
                heads,
                kv_heads,
                head_dim,
            } => {
                let (heads, kv_heads, d) = (heads as f64, kv_heads as f64, head_dim as f64);
                2.0 * h * heads * d + 2.0 * h * kv_heads * d
            }
            Attention::Mla {
                heads,
                q_lora_rank,
                kv_lora_rank,
                rope_head_dim,
                nope_head_dim,
                v_head_dim,
            } => {
                let (n, q, kv) = (heads as f64, q_lora_rank as f64, kv_lora_rank as f64);
                let (rope, nope, v) = (rope_head_dim as f64, nope_head_dim as f64, v_head_dim as f64);
                h * q + q * n * (nope + rope) + h * (kv + rope) + kv * n * (nope + v) + n * v * h
            }
        }
    }

    /// Weights of a dense FFN (gate, up, down).
    pub fn dense_ffn_parameters(&self) -> f64 {
        3.0 * self.hidden as f64 * self.dense_intermediate as f64
    }

    /// Weights of one routed or shared expert; 0 for a dense model.
    pub fn expert_parameters(&self) -> f64 {
        self.moe
            .map_or(0.0, |moe| 3.0 * self.hidden as f64 * moe.intermediate as f64)
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
        dense + moe + tables * self.embedding_parameters() + self.hidden as f64
    }
}

/// What to call a model that came from a path: the folder of a `config.json`, else the file's stem.
fn display_name(path: &Path) -> String {
    let stem = path
        .file_stem()
        .map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned());
    match path.parent().and_then(Path::file_name) {
        Some(folder) if stem == "config" => folder.to_string_lossy().into_owned(),
        _ => stem,
    }
}

/// The parsed file with its name, for errors.
struct Config<'a> {
    file: &'a str,
    fields: Map<String, Value>,
}

impl Config<'_> {
    fn model(&self, name: &str) -> Result<Model, SpecError> {
        let architecture = self
            .fields
            .get("model_type")
            .and_then(Value::as_str)
            .ok_or_else(|| self.missing("model_type", &format!("give one of {SUPPORTED}")))?;
        let layers = self.count("num_hidden_layers")?;
        let (attention, moe, dense_layers) = match architecture {
            "llama" | "mistral" | "qwen2" | "qwen3" => (self.gqa()?, None, layers),
            "mixtral" => (self.gqa()?, Some(self.mixtral_moe()?), 0),
            "qwen3_moe" => (self.gqa()?, Some(self.qwen_moe()?), self.qwen_dense_layers(layers)?),
            "deepseek_v3" | "kimi_k2" => (
                self.mla()?,
                Some(self.deepseek_moe()?),
                self.deepseek_dense_layers(layers)?,
            ),
            other => {
                return Err(SpecError::Architecture {
                    file: self.file.to_owned(),
                    architecture: other.to_owned(),
                    supported: SUPPORTED.to_owned(),
                });
            }
        };
        self.no_sliding_window(architecture)?;
        Ok(Model {
            name: name.to_owned(),
            hidden: self.count("hidden_size")?,
            vocab: self.count("vocab_size")?,
            layers,
            attention,
            dense_intermediate: self.count("intermediate_size")?,
            dense_layers,
            moe,
            mtp_layers: self.count_or("num_nextn_predict_layers", 0)?,
            tied_embeddings: self.flag_or("tie_word_embeddings", false)?,
        })
    }

    fn gqa(&self) -> Result<Attention, SpecError> {
        let heads = self.count("num_attention_heads")?;
        let kv_heads = self.positive_or("num_key_value_heads", heads)?;
        if !heads.is_multiple_of(kv_heads) {
            let remedy = format!("it must divide `num_attention_heads` = {heads}");
            return Err(self.bad("num_key_value_heads", &kv_heads.to_string(), &remedy));
        }
        let head_dim = if self.is_present("head_dim") {
            self.count("head_dim")?
        } else {
            let hidden = self.count("hidden_size")?;
            if !hidden.is_multiple_of(heads) {
                let remedy = format!("it must be a multiple of `num_attention_heads` = {heads}, or give `head_dim`");
                return Err(self.bad("hidden_size", &hidden.to_string(), &remedy));
            }
            hidden / heads
        };
        Ok(Attention::Gqa {
            heads,
            kv_heads,
            head_dim,
        })
    }

    fn mla(&self) -> Result<Attention, SpecError> {
        Ok(Attention::Mla {
            heads: self.count("num_attention_heads")?,
            q_lora_rank: self.count("q_lora_rank")?,
            kv_lora_rank: self.count("kv_lora_rank")?,
            rope_head_dim: self.count("qk_rope_head_dim")?,
            nope_head_dim: self.count("qk_nope_head_dim")?,
            v_head_dim: self.count("v_head_dim")?,
        })
    }

    fn mixtral_moe(&self) -> Result<Moe, SpecError> {
        self.checked_moe(
            "num_local_experts",
            self.count("intermediate_size")?,
            Scoring::Softmax,
            true,
        )
    }

    fn qwen_moe(&self) -> Result<Moe, SpecError> {
        let renormalise = self.flag_or("norm_topk_prob", false)?;
        self.checked_moe(
            "num_experts",
            self.count("moe_intermediate_size")?,
            Scoring::Softmax,
            renormalise,
        )
    }

    fn deepseek_moe(&self) -> Result<Moe, SpecError> {
        let scoring = match self.fields.get("scoring_func").and_then(Value::as_str) {
            None | Some("sigmoid") => Scoring::Sigmoid,
            Some("softmax") => Scoring::Softmax,
            Some(other) => return Err(self.bad("scoring_func", other, "give `sigmoid` or `softmax`")),
        };
        let renormalise = self.flag_or("norm_topk_prob", true)?;
        let base = self.checked_moe(
            "n_routed_experts",
            self.count("moe_intermediate_size")?,
            scoring,
            renormalise,
        )?;
        let groups = self.positive_or("n_group", 1)?;
        let kept_groups = self.positive_or("topk_group", groups)?;
        if kept_groups > groups || !base.experts.is_multiple_of(groups) {
            let remedy = format!(
                "{} experts need a divisor of them as groups, of which at most all are kept",
                base.experts
            );
            return Err(self.bad("n_group", &format!("{groups} with `topk_group` {kept_groups}"), &remedy));
        }
        let shared_experts = self.count_or("n_shared_experts", 0)?;
        let routed_scaling = self.number_or("routed_scaling_factor", 1.0)?;
        Ok(Moe {
            shared_experts,
            groups,
            kept_groups,
            routed_scaling,
            ..base
        })
    }

    fn checked_moe(
        &self,
        experts_field: &str,
        intermediate: u64,
        scoring: Scoring,
        renormalise: bool,
    ) -> Result<Moe, SpecError> {
        let experts = self.count(experts_field)?;
        let top_k = self.count("num_experts_per_tok")?;
        if top_k > experts {
            let remedy = format!("it can be at most `{experts_field}` = {experts}");
            return Err(self.bad("num_experts_per_tok", &top_k.to_string(), &remedy));
        }
        Ok(Moe {
            experts,
            top_k,
            intermediate,
            shared_experts: 0,
            scoring,
            groups: 1,
            kept_groups: 1,
            renormalise,
            routed_scaling: 1.0,
        })
    }

    /// Layer `i` is dense if it is listed, or if `i + 1` is no multiple of the sparse step.
    fn qwen_dense_layers(&self, layers: u64) -> Result<u64, SpecError> {
        let step = self.positive_or("decoder_sparse_step", 1)?;
        let listed: Vec<u64> = match self.fields.get("mlp_only_layers") {
            None | Some(Value::Null) => Vec::new(),
            Some(list) => serde_json::from_value(list.clone())
                .map_err(|_| self.bad("mlp_only_layers", &list.to_string(), "give a list of layer numbers"))?,
        };
        let count = layers.min(100_000);
        let dense = (0..count)
            .filter(|layer| listed.contains(layer) || !(layer + 1).is_multiple_of(step))
            .count() as u64;
        self.some_moe_layer(dense, layers, "decoder_sparse_step")
    }

    fn deepseek_dense_layers(&self, layers: u64) -> Result<u64, SpecError> {
        if self.positive_or("moe_layer_freq", 1)? != 1 {
            return Err(self.bad(
                "moe_layer_freq",
                "not 1",
                "only models with experts in every later layer are supported",
            ));
        }
        let dense = self.count_or("first_k_dense_replace", 0)?;
        self.some_moe_layer(dense, layers, "first_k_dense_replace")
    }

    fn some_moe_layer(&self, dense: u64, layers: u64, field: &str) -> Result<u64, SpecError> {
        if dense >= layers {
            let value = format!("such that {dense} of {layers} layers are dense");
            return Err(self.bad(
                field,
                &value,
                "a mixture of experts needs at least one layer with experts",
            ));
        }
        Ok(dense)
    }

    /// Windowed attention costs less than the closed forms say, so it is refused rather than overstated.
    fn no_sliding_window(&self, architecture: &str) -> Result<(), SpecError> {
        let windowed = match architecture {
            "mistral" | "mixtral" => self.is_present("sliding_window"),
            _ => self.flag_or("use_sliding_window", false)?,
        };
        if windowed {
            return Err(self.bad(
                "sliding_window",
                "set",
                "windowed attention is not modelled; give a model without it",
            ));
        }
        Ok(())
    }

    fn is_present(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| !value.is_null())
    }

    /// A required count of at least 1.
    fn count(&self, field: &str) -> Result<u64, SpecError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Err(self.missing(field, "copy the model's whole config.json")),
            Some(value) => self.in_range(field, value, 1),
        }
    }

    fn positive_or(&self, field: &str, default: u64) -> Result<u64, SpecError> {
        if self.is_present(field) {
            self.count(field)
        } else {
            Ok(default)
        }
    }

    /// A count that may be 0 or absent.
    fn count_or(&self, field: &str, default: u64) -> Result<u64, SpecError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => self.in_range(field, value, 0),
        }
    }

    fn in_range(&self, field: &str, value: &Value, least: u64) -> Result<u64, SpecError> {
        let most = if field == "num_hidden_layers" { 100_000 } else { 1 << 32 };
        value
            .as_u64()
            .filter(|count| (least..=most).contains(count))
            .ok_or_else(|| {
                self.bad(
                    field,
                    &value.to_string(),
                    &format!("it must be a whole number from {least} to {most}"),
                )
            })
    }

    fn flag_or(&self, field: &str, default: bool) -> Result<bool, SpecError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.bad(field, &other.to_string(), "give true or false")),
        }
    }

    fn number_or(&self, field: &str, default: f64) -> Result<f64, SpecError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_f64()
                .filter(|number| number.is_finite() && *number > 0.0)
                .ok_or_else(|| self.bad(field, &value.to_string(), "give a number above 0")),
        }
    }

    fn missing(&self, field: &str, remedy: &str) -> SpecError {
        SpecError::Missing {
            file: self.file.to_owned(),
            field: field.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    fn bad(&self, field: &str, value: &str, remedy: &str) -> SpecError {
        let (file, field) = (self.file.to_owned(), field.to_owned());
        // A hostile value may be long: what is shown of it is not.
        let value = value.chars().take(60).collect();
        SpecError::Value {
            file,
            field,
            value,
            remedy: remedy.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
