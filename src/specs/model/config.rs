//! The fields of a `config.json`, each checked as it is read.

use serde_json::{Map, Value};

use crate::printable::printable;
use crate::specs::error::SpecError;
use crate::specs::model::architecture::{Attention, CheckpointType, LinearAttention, Model, Moe, Scoring, Window};

/// The most that is shown of a value that is refused, in characters.
const MAX_VALUE: usize = 60;

/// More layers than any model has; keeps what is counted layer by layer cheap.
const MOST_LAYERS: u64 = 10_000;

const SUPPORTED: &str = "llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, qwen3_next, deepseek_v3, kimi_k2, gpt_oss";

/// The parsed file with its name, for errors.
pub(super) struct Config<'a> {
    file: &'a str,
    fields: Map<String, Value>,
}

impl<'a> Config<'a> {
    /// The fields of a JSON object.
    pub(super) fn parse(file: &'a str, text: &str) -> Result<Self, SpecError> {
        let fields = serde_json::from_str(text).map_err(|error| SpecError::Syntax {
            file: file.to_owned(),
            reason: printable(&format!("not a JSON object: {error}"), 200),
        })?;
        Ok(Self { file, fields })
    }
}

impl Config<'_> {
    /// The model, with sizes that no arithmetic on them can overflow.
    pub(super) fn model(&self, name: &str) -> Result<Model, SpecError> {
        let model = self.architecture(name)?;
        if model.parameters() > 1e15 {
            return Err(self.bad("hidden_size", "part of more than 1e15 parameters", "check the sizes"));
        }
        Ok(model)
    }

    fn architecture(&self, name: &str) -> Result<Model, SpecError> {
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
            "qwen3_next" => (self.gqa()?, Some(self.qwen_next_moe()?), self.qwen_dense_layers(layers)?),
            "deepseek_v3" | "kimi_k2" => (self.mla()?, Some(self.deepseek_moe()?), self.deepseek_dense_layers(layers)?),
            "gpt_oss" => (self.gqa()?, Some(Moe { scoring: Scoring::BiasedSoftmax, ..self.mixtral_moe()? }), 0),
            other => {
                return Err(SpecError::Architecture {
                    file: self.file.to_owned(),
                    architecture: printable(other, MAX_VALUE),
                    supported: SUPPORTED.to_owned(),
                });
            }
        };
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
            window: self.window(architecture, layers)?,
            sinks: architecture == "gpt_oss",
            gated_attention: architecture == "qwen3_next",
            linear: if architecture == "qwen3_next" { Some(self.linear(layers)?) } else { None },
            checkpoint: self.checkpoint(),
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
        Ok(Attention::Gqa { heads, kv_heads, head_dim })
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
        self.checked_moe("num_local_experts", self.count("intermediate_size")?, Scoring::Softmax, true)
    }

    fn qwen_moe(&self) -> Result<Moe, SpecError> {
        let renormalise = self.flag_or("norm_topk_prob", false)?;
        self.checked_moe("num_experts", self.count("moe_intermediate_size")?, Scoring::Softmax, renormalise)
    }

    /// Qwen's gate with shared experts beside it, which together have a gate of their own.
    fn qwen_next_moe(&self) -> Result<Moe, SpecError> {
        let base = self.qwen_moe()?;
        let shared = self.count_or("shared_expert_intermediate_size", 0)?;
        if !shared.is_multiple_of(base.intermediate) {
            let remedy = format!("it must be a multiple of `moe_intermediate_size` = {}", base.intermediate);
            return Err(self.bad("shared_expert_intermediate_size", &shared.to_string(), &remedy));
        }
        Ok(Moe { shared_experts: shared / base.intermediate, gated_shared: shared > 0, ..base })
    }

    /// The linear attention of all layers but those that are listed, or every n-th one, as full.
    fn linear(&self, layers: u64) -> Result<LinearAttention, SpecError> {
        let full = match self.layer_types()? {
            Some(kinds) => kinds.iter().filter(|kind| *kind == "full_attention").count() as u64,
            None => layers / self.positive_or("full_attention_interval", 4)?,
        };
        let width = |heads: &str, dim: &str| -> Result<u64, SpecError> {
            Ok(self.count(heads)?.saturating_mul(self.count(dim)?))
        };
        Ok(LinearAttention {
            layers: layers.saturating_sub(full),
            key_width: width("linear_num_key_heads", "linear_key_head_dim")?,
            value_width: width("linear_num_value_heads", "linear_value_head_dim")?,
            value_heads: self.count("linear_num_value_heads")?,
            taps: self.count("linear_conv_kernel_dim")?,
        })
    }

    /// The kind of attention of each layer, where the file lists it.
    fn layer_types(&self) -> Result<Option<Vec<String>>, SpecError> {
        let Some(list) = self.fields.get("layer_types").filter(|list| !list.is_null()) else { return Ok(None) };
        let kinds = serde_json::from_value(list.clone());
        kinds.map(Some).map_err(|_| self.bad("layer_types", &list.to_string(), "give a list of names"))
    }

    /// The storage type that `quantization_config` names. One that no kernel reads counts as not quantised.
    fn checkpoint(&self) -> CheckpointType {
        let text = |field: &str| self.fields.get("quantization_config")?.get(field)?.as_str();
        match (text("quant_method"), text("quant_algo")) {
            (Some("fp8"), _) => CheckpointType::Fp8,
            (Some("mxfp4"), _) => CheckpointType::Mxfp4,
            (_, Some("NVFP4")) => CheckpointType::Nvfp4,
            _ => CheckpointType::Bf16,
        }
    }

    fn deepseek_moe(&self) -> Result<Moe, SpecError> {
        let scoring = match self.fields.get("scoring_func").and_then(Value::as_str) {
            None | Some("sigmoid") => Scoring::Sigmoid,
            Some("softmax") => Scoring::Softmax,
            Some("sqrtsoftplus") => Scoring::SqrtSoftplus,
            Some(other) => return Err(self.bad("scoring_func", other, "give `sigmoid`, `softmax` or `sqrtsoftplus`")),
        };
        let renormalise = self.flag_or("norm_topk_prob", true)?;
        let base = self.checked_moe("n_routed_experts", self.count("moe_intermediate_size")?, scoring, renormalise)?;
        let groups = self.positive_or("n_group", 1)?;
        let kept_groups = self.positive_or("topk_group", groups)?;
        if kept_groups > groups || !base.experts.is_multiple_of(groups) {
            let remedy =
                format!("{} experts need a divisor of them as groups, of which at most all are kept", base.experts);
            return Err(self.bad("n_group", &format!("{groups} with `topk_group` {kept_groups}"), &remedy));
        }
        let shared_experts = self.count_or("n_shared_experts", 0)?;
        let routed_scaling = self.number_or("routed_scaling_factor", 1.0)?;
        Ok(Moe { shared_experts, groups, kept_groups, routed_scaling, ..base })
    }

    fn checked_moe(
        &self,
        experts_field: &str,
        intermediate: u64,
        scoring: Scoring,
        renormalise: bool,
    ) -> Result<Moe, SpecError> {
        let experts = self.count(experts_field)?;
        // gpt-oss has both names.
        let other_name = self.is_present("experts_per_token") && !self.is_present("num_experts_per_tok");
        let field = if other_name { "experts_per_token" } else { "num_experts_per_tok" };
        let top_k = self.count(field)?;
        if top_k > experts {
            let remedy = format!("it can be at most `{experts_field}` = {experts}");
            return Err(self.bad(field, &top_k.to_string(), &remedy));
        }
        Ok(Moe {
            experts,
            top_k,
            intermediate,
            shared_experts: 0,
            gated_shared: false,
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
        if listed.len() as u64 > layers {
            let value = format!("a list of {}", listed.len());
            return Err(self.bad("mlp_only_layers", &value, "it can name each layer once"));
        }
        let dense =
            (0..layers).filter(|layer| listed.contains(layer) || !(layer + 1).is_multiple_of(step)).count() as u64;
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
            return Err(self.bad(field, &value, "a mixture of experts needs at least one layer with experts"));
        }
        Ok(dense)
    }

    /// gpt-oss attends within a window in every second layer. Elsewhere windowed attention costs less than the closed
    /// forms say, so it is refused rather than overstated.
    fn window(&self, architecture: &str, layers: u64) -> Result<Option<Window>, SpecError> {
        let windowed = match architecture {
            "gpt_oss" if self.is_present("sliding_window") => {
                let kinds = self.layer_types()?.unwrap_or_default();
                let windows = kinds.iter().filter(|kind| *kind == "sliding_attention").count() as u64;
                if !kinds.is_empty() && windows != layers.div_ceil(2) {
                    let value = format!("such that {windows} of {layers} layers have a window");
                    return Err(self.bad("layer_types", &value, "only a window in every second layer is supported"));
                }
                return Ok(Some(Window { tokens: self.count("sliding_window")?, every: 2 }));
            }
            "gpt_oss" => return Ok(None),
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
        Ok(None)
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
        if self.is_present(field) { self.count(field) } else { Ok(default) }
    }

    /// A count that may be 0 or absent.
    fn count_or(&self, field: &str, default: u64) -> Result<u64, SpecError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => self.in_range(field, value, 0),
        }
    }

    fn in_range(&self, field: &str, value: &Value, least: u64) -> Result<u64, SpecError> {
        let most = if field == "num_hidden_layers" { MOST_LAYERS } else { 1 << 32 };
        value.as_u64().filter(|count| (least..=most).contains(count)).ok_or_else(|| {
            self.bad(field, &value.to_string(), &format!("it must be a whole number from {least} to {most}"))
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
        SpecError::Missing { file: self.file.to_owned(), field: field.to_owned(), remedy: remedy.to_owned() }
    }

    fn bad(&self, field: &str, value: &str, remedy: &str) -> SpecError {
        let (file, field) = (self.file.to_owned(), field.to_owned());
        // A hostile value may be long: what is shown of it is not.
        let value = printable(value, MAX_VALUE);
        SpecError::Value { file, field, value, remedy: remedy.to_owned() }
    }
}
