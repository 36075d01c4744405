//! What a checkpoint's weights are stored as: the type, and which parts of the model keep 16 bits.
//!
//! Files list modules by name, layer by layer or by pattern. A part of the model counts as kept where most of its layers
//! are listed: all layers of a part have one type here.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::specs::error::SpecError;
use crate::specs::model::architecture::{Ffn, Layer, Mixer};
use crate::specs::model::checkpoint::{Checkpoint, CheckpointType};
use crate::specs::model::fields::Fields;

/// Numbers that share a scale where the file does not say: AWQ's and GPTQ's default.
const DEFAULT_GROUP: u64 = 128;

/// Names of the algorithms of NVIDIA's Model Optimizer.
const ALGORITHMS: [(&str, Option<CheckpointType>); 9] = [
    ("FP8", Some(CheckpointType::Fp8)),
    ("FP8_PB_WO", Some(CheckpointType::Fp8)),
    ("FP8_PER_CHANNEL_PER_TOKEN", Some(CheckpointType::Fp8)),
    ("MXFP8", Some(CheckpointType::Mxfp8)),
    ("NVFP4", Some(CheckpointType::Nvfp4)),
    ("W4A16_NVFP4", Some(CheckpointType::Nvfp4)),
    ("W4A8_NVFP4_FP8", Some(CheckpointType::Nvfp4)),
    ("W4A16_AWQ", Some(CheckpointType::Int4 { group: DEFAULT_GROUP })),
    // Each layer says its own.
    ("MIXED_PRECISION", None),
];

/// A part of the model that has a type of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Mixer,
    Dense,
    Shared,
    Experts,
    Head,
}

/// The types of a checkpoint's parts; 16 bits where nothing is quantised.
pub(super) fn checkpoint(
    own: Option<&Fields<'_>>,
    text: &Fields<'_>,
    layers: &[Layer],
) -> Result<Checkpoint, SpecError> {
    let expert_type = text.word("expert_dtype", &[("fp4", CheckpointType::Mxfp4), ("fp8", CheckpointType::Fp8)])?;
    let Some(own) = own else { return Ok(Checkpoint::default()) };
    let base = base_type(own)?;
    let has_dense = layers.iter().any(|layer| matches!(layer.ffn, Ffn::Dense(_)));
    let (head, cache) = (CheckpointType::Bf16, cache_type(own)?);
    let mut checkpoint = Checkpoint { mixer: base, dense: base, shared: base, experts: base, head, cache };
    checkpoint.experts = expert_type.unwrap_or(checkpoint.experts);
    match own.get("quantized_layers") {
        Some(Value::Object(listed)) => {
            for (name, value) in listed {
                let Some(part) = part_of(name, has_dense) else { continue };
                let algorithm = value.get("quant_algo").and_then(Value::as_str).unwrap_or("none");
                let known = ALGORITHMS.iter().find(|(name, _)| *name == algorithm);
                let Some((_, Some(kind))) = known else {
                    return Err(own.bad(
                        "quantized_layers",
                        algorithm,
                        "this `quant_algo` of a layer is not understood",
                    ));
                };
                *checkpoint.part(part) = *kind;
            }
        }
        _ => {
            for part in kept_parts(own, layers, has_dense)? {
                *checkpoint.part(part) = CheckpointType::Bf16;
            }
        }
    }
    Ok(checkpoint)
}

impl Checkpoint {
    fn part(&mut self, part: Part) -> &mut CheckpointType {
        match part {
            Part::Mixer => &mut self.mixer,
            Part::Dense => &mut self.dense,
            Part::Shared => &mut self.shared,
            Part::Experts => &mut self.experts,
            Part::Head => &mut self.head,
        }
    }
}

/// The type of what is not listed.
fn base_type(own: &Fields<'_>) -> Result<CheckpointType, SpecError> {
    let grouped_integers = || -> Result<CheckpointType, SpecError> {
        let group = own.positive_or("group_size", DEFAULT_GROUP)?;
        match own.positive_or("bits", 4)? {
            4 => Ok(CheckpointType::Int4 { group }),
            8 => Ok(CheckpointType::Int8),
            other => Err(own.bad("bits", &other.to_string(), "only 4 and 8 are modelled")),
        }
    };
    let by_algorithm = || -> Result<CheckpointType, SpecError> {
        let algorithm = own.word("quant_algo", &ALGORITHMS)?;
        Ok(algorithm.ok_or_else(|| own.missing("quant_method", "say how weights are quantised"))?.unwrap_or_default())
    };
    match own.text("quant_method")? {
        Some("fp8" | "fbgemm_fp8") => Ok(CheckpointType::Fp8),
        Some("mxfp4") => Ok(CheckpointType::Mxfp4),
        Some("awq" | "gptq") => grouped_integers(),
        Some("compressed-tensors") => by_groups(own),
        Some("modelopt" | "modelopt_fp4") | None => by_algorithm(),
        Some(other) => {
            let remedy = "only fp8, mxfp4, awq, gptq, compressed-tensors and modelopt are understood";
            Err(own.bad("quant_method", other, remedy))
        }
    }
}

/// The type of the KV cache, by either of the two fields that name one.
fn cache_type(own: &Fields<'_>) -> Result<CheckpointType, SpecError> {
    let scheme = "kv_cache_scheme";
    let named = if matches!(own.get(scheme), Some(Value::String(_))) { scheme } else { "kv_cache_quant_algo" };
    if let Some(Some(kind)) = own.word(named, &ALGORITHMS)? {
        return Ok(kind);
    }
    let Some(scheme) = own.object(scheme)? else { return Ok(CheckpointType::Bf16) };
    match (scheme.text("type")?, scheme.count("num_bits")?) {
        (Some("float"), 8) => Ok(CheckpointType::Fp8),
        (Some("int"), 8) => Ok(CheckpointType::Int8),
        (_, bits) => Err(scheme.bad("num_bits", &bits.to_string(), "only caches of 8 bits are understood")),
    }
}

/// The type that all groups of compressed-tensors share.
fn by_groups(own: &Fields<'_>) -> Result<CheckpointType, SpecError> {
    let remedy = "give groups with `weights` of one type";
    let Some(Value::Object(groups)) = own.get("config_groups") else {
        return Err(own.missing("config_groups", remedy));
    };
    let mut types = groups.values().map(|group| {
        let weights = group.get("weights");
        let number = |name: &str| weights?.get(name)?.as_u64();
        let kind = weights.and_then(|weights| weights.get("type")?.as_str());
        match (kind, number("num_bits"), number("group_size")) {
            (Some("float"), Some(8), _) => Some(CheckpointType::Fp8),
            (Some("float"), Some(4), Some(32)) => Some(CheckpointType::Mxfp4),
            (Some("float"), Some(4), Some(16)) => Some(CheckpointType::Nvfp4),
            (Some("int"), Some(8), _) => Some(CheckpointType::Int8),
            (Some("int"), Some(4), Some(group)) if group > 0 => Some(CheckpointType::Int4 { group }),
            _ => None,
        }
    });
    let first = types.next().flatten();
    first
        .filter(|first| types.all(|other| other == Some(*first)))
        .ok_or_else(|| own.bad("config_groups", "of several types, or of one that is not understood", remedy))
}

/// The parts of which most layers are listed as not quantised.
fn kept_parts(own: &Fields<'_>, layers: &[Layer], has_dense: bool) -> Result<Vec<Part>, SpecError> {
    let field = own.first(&["ignore", "exclude_modules", "modules_to_not_convert"]);
    let Some(field) = field else { return Ok(Vec::new()) };
    let names: Vec<String> = own.list(field, "names of modules")?.unwrap_or_default();
    // By layer, or with no number for all layers.
    let mut listed: BTreeSet<(Part, Option<u64>)> = BTreeSet::new();
    for name in &names {
        let parts = match rest_of_layer(name) {
            // The whole layer.
            Some("*" | ".*") => vec![Part::Mixer, Part::Dense, Part::Shared, Part::Experts],
            _ => part_of(name, has_dense).into_iter().collect(),
        };
        listed.extend(parts.into_iter().map(|part| (part, layer_number(name))));
    }
    let layers_with = |part: Part| {
        let has = |layer: &&Layer| match part {
            Part::Mixer => layer.mixer != Mixer::None,
            Part::Dense => matches!(layer.ffn, Ffn::Dense(_)),
            Part::Shared | Part::Experts => layer.ffn == Ffn::Experts,
            Part::Head => false,
        };
        let numbered = (0_u64..).zip(layers).filter(|(_, layer)| has(layer));
        numbered.map(|(number, _)| number).collect::<Vec<u64>>()
    };
    let mostly = |part: &Part| {
        let all = layers_with(*part);
        let in_layer = |number: &&u64| listed.contains(&(*part, Some(**number)));
        listed.contains(&(*part, None)) || all.iter().filter(in_layer).count() * 2 > all.len()
    };
    Ok([Part::Mixer, Part::Dense, Part::Shared, Part::Experts].into_iter().filter(mostly).collect())
}

/// What follows the word `layers.`.
fn after_layers(name: &str) -> Option<&str> {
    name.split_once("layers.").map(|(_, rest)| rest)
}

/// The number of the layer that a name is of.
fn layer_number(name: &str) -> Option<u64> {
    let rest = after_layers(name)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// What follows the number of a layer.
fn rest_of_layer(name: &str) -> Option<&str> {
    after_layers(name).map(|rest| rest.trim_start_matches(|letter: char| letter.is_ascii_digit()))
}

/// Words of modules that hold few weights, or that are no part of the layers.
const SMALL: [&str; 16] = [
    "norm",
    "indexer",
    "index_",
    "conv1d",
    "router",
    "bias",
    "embed",
    "vision",
    "visual",
    "audio",
    "projector",
    "mtp",
    "eh_proj",
    "shared_expert_gate",
    "sinks",
    "patch_merge",
];

/// The part that most weights of a module belong to; `None` where it is small.
fn part_of(name: &str, has_dense: bool) -> Option<Part> {
    let module = rest_of_layer(name).unwrap_or(name);
    let has = |word: &str| module.contains(word);
    if SMALL.into_iter().any(has) || module.ends_with("gate") {
        return None;
    }
    if has("shared_expert") {
        Some(Part::Shared)
    } else if has("experts") {
        Some(Part::Experts)
    } else if has("attn") {
        Some(Part::Mixer)
    } else if has("mlp") || has("ffn") || has("up_proj") || has("down_proj") {
        // Where no layer is dense, the network beside the experts has that name (Gemma 4).
        Some(if has_dense { Part::Dense } else { Part::Shared })
    } else if has("mixer") {
        Some(Part::Mixer)
    } else if has("head") {
        Some(Part::Head)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::specs::{Checkpoint, CheckpointType, Model, SpecError};

    /// A model with a dense layer and two layers with experts, quantised so.
    fn with(quantisation: Value) -> Result<Checkpoint, SpecError> {
        let mut fields = json!({"model_type": "deepseek_v3", "hidden_size": 64, "vocab_size": 100, "num_hidden_layers": 3,
            "num_attention_heads": 8, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16,
            "v_head_dim": 16, "intermediate_size": 96, "moe_intermediate_size": 32, "n_routed_experts": 4,
            "num_experts_per_tok": 2, "n_shared_experts": 1, "first_k_dense_replace": 1});
        fields["quantization_config"] = quantisation;
        Ok(Model::parse("test", "config.json", &fields.to_string())?.checkpoint)
    }

    const PLAIN: CheckpointType = CheckpointType::Bf16;

    #[test]
    fn built_in_checkpoints_name_the_type_of_their_weights() {
        let of = |name: &str| Model::load(name).unwrap().checkpoint;
        assert_eq!(of("deepseek-v3").experts, CheckpointType::Fp8);
        assert_eq!(of("gpt-oss-120b").experts, CheckpointType::Mxfp4);
        assert!(of("qwen3-235b-a22b").is_plain());
        let kimi = of("kimi-k2.5");
        assert_eq!((kimi.experts, kimi.mixer, kimi.shared), (CheckpointType::Int4 { group: 32 }, PLAIN, PLAIN));
    }

    #[test]
    fn a_part_keeps_16_bits_where_most_of_its_layers_are_listed() {
        let nvfp4 = |ignore: Value| with(json!({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ignore}));
        let all = nvfp4(json!(["lm_head", "model.layers.1.self_attn.kv_a_layernorm"])).unwrap();
        assert_eq!((all.mixer, all.experts, all.head), (CheckpointType::Nvfp4, CheckpointType::Nvfp4, PLAIN));
        let most = nvfp4(json!(["model.layers.0.self_attn*", "model.layers.2.self_attn.o_proj", "model.layers.0*"]));
        let most = most.unwrap();
        assert_eq!((most.mixer, most.dense, most.shared), (PLAIN, PLAIN, CheckpointType::Nvfp4));
        let few = nvfp4(json!(["model.layers.0.self_attn*", "model.layers.1.mlp.gate"])).unwrap();
        assert_eq!((few.mixer, few.experts), (CheckpointType::Nvfp4, CheckpointType::Nvfp4));
        let patterns =
            nvfp4(json!(["re:.*self_attn.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*", "*.shared_experts.*"]));
        let patterns = patterns.unwrap();
        assert_eq!((patterns.mixer, patterns.dense, patterns.shared), (PLAIN, PLAIN, PLAIN));
        assert_eq!(patterns.experts, CheckpointType::Nvfp4);
    }

    #[test]
    fn layers_of_a_mixed_checkpoint_say_their_own_types() {
        let mixed = |algorithm: &str| {
            with(json!({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": {
                "model.layers.1.mlp.experts": {"quant_algo": algorithm},
                "model.layers.1.self_attn.o_proj": {"quant_algo": "FP8"},
                "lm_head": {"quant_algo": "W4A16_NVFP4"}}}))
        };
        let found = mixed("NVFP4").unwrap();
        assert_eq!((found.experts, found.mixer, found.dense), (CheckpointType::Nvfp4, CheckpointType::Fp8, PLAIN));
        assert_eq!(found.head, CheckpointType::Nvfp4);
        let error = mixed("TERNARY").unwrap_err().to_string();
        assert!(error.contains("`quantization_config.quantized_layers` is TERNARY"), "{error}");
    }

    #[test]
    fn a_checkpoint_may_be_made_for_a_cache_of_eight_bits() {
        let with_cache = |field: &str, value: Value| {
            let mut fields = json!({"quant_method": "modelopt", "quant_algo": "NVFP4"});
            fields[field] = value;
            with(fields)
        };
        let scheme = with_cache("kv_cache_scheme", json!({"num_bits": 8, "type": "float"})).unwrap();
        assert_eq!(scheme.cache, CheckpointType::Fp8);
        assert_eq!(with_cache("kv_cache_quant_algo", json!("FP8")).unwrap().cache, CheckpointType::Fp8);
        assert_eq!(with_cache("kv_cache_scheme", json!("FP8")).unwrap().cache, CheckpointType::Fp8);
        assert_eq!(with_cache("kv_cache_scheme", Value::Null).unwrap().cache, PLAIN);
        let error = with_cache("kv_cache_scheme", json!({"num_bits": 3, "type": "float"})).unwrap_err().to_string();
        assert!(error.contains("`quantization_config.kv_cache_scheme.num_bits` is 3"), "{error}");
    }

    #[test]
    fn what_is_not_understood_is_refused_by_the_field() {
        for (quantisation, field) in [
            (json!({"quant_method": "bitsandbytes"}), "`quantization_config.quant_method` is bitsandbytes"),
            (json!({"quant_method": "awq", "bits": 3}), "`quantization_config.bits` is 3"),
            (json!({"quant_method": "modelopt", "quant_algo": "INT3"}), "`quantization_config.quant_algo` is INT3"),
            (json!({"quant_method": "compressed-tensors"}), "`quantization_config.config_groups` is missing"),
            (json!("fp8"), "`quantization_config` is "),
        ] {
            let error = with(quantisation).unwrap_err().to_string();
            assert!(error.contains(field) && !error.contains('\n'), "{error}");
        }
        let awq = with(json!({"quant_method": "awq", "bits": 4, "group_size": 64})).unwrap();
        assert_eq!(awq.experts, CheckpointType::Int4 { group: 64 });
        assert!((awq.experts.bytes() - (0.5 + 2.0 / 64.0)).abs() < 1e-12);
    }

    #[test]
    fn a_second_file_says_how_weights_are_quantised_where_the_first_does_not() {
        let (name, text) = ("config.json", include_str!("../../../specs/models/llama-3.1-8b.json"));
        let beside = json!({"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}).to_string();
        let model = Model::parse_with("test", name, text, Some(&beside)).unwrap();
        assert_eq!((model.checkpoint.mixer, model.checkpoint.head), (CheckpointType::Fp8, PLAIN));
    }
}
