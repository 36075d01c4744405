//! Every embedded model counts to its card's figure; every bad file is one clear line.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    total: f64,
    active: f64,
    source: String,
    checked: crate::specs::Checked,
}

fn cards() -> BTreeMap<String, Card> {
    toml::from_str(include_str!("../../../specs/models/published.toml")).unwrap()
}

fn deepseek_with(change: impl Fn(&mut Map<String, Value>)) -> Result<Model, SpecError> {
    let (_, text) = BUILTIN.iter().find(|(name, _)| *name == "deepseek-v3").unwrap();
    let mut fields: Map<String, Value> = serde_json::from_str(text).unwrap();
    change(&mut fields);
    Model::parse("changed", "config.json", &serde_json::to_string(&fields).unwrap())
}

fn one_line(error: &SpecError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn every_embedded_model_counts_to_the_total_of_its_card() {
    let cards = cards();
    assert_eq!(cards.len(), Model::builtin_names().len());
    for (name, card) in cards {
        let model = Model::load(&name).unwrap();
        // This card gives a rounded total.
        let tolerance = if name == "kimi-k2" { 0.015 } else { 0.005 };
        let ratio = model.parameters() / card.total;
        assert!((ratio - 1.0).abs() < tolerance, "{name}: {ratio}");
        // Cards round the active count and differ in whether they count embeddings: these do not.
        let tables = match &*name {
            "gpt-oss-120b" => model.embedding_parameters(),
            "qwen3-next-80b-a3b" => 2.0 * model.embedding_parameters(),
            _ => 0.0,
        };
        let active = (model.active_parameters() - tables) / card.active;
        // This card says 3B.
        let tolerance = if name == "qwen3-next-80b-a3b" { 0.1 } else { 0.05 };
        assert!((active - 1.0).abs() < tolerance, "{name}: active {active}");
        assert!(!card.source.is_empty());
        let _ = card.checked;
    }
}

#[test]
fn deepseek_v3_has_58_layers_with_experts_and_an_mtp_module() {
    let model = Model::load("DeepSeek-V3").unwrap();
    assert_eq!(model.moe_layers(), 58);
    assert_eq!(model.mtp_layers, 1);
    assert!((11.0e9..12.0e9).contains(&model.mtp_parameters()));
}

#[test]
fn three_of_four_layers_of_qwen3_next_are_linear_and_its_shared_expert_has_a_gate() {
    let model = Model::load("qwen3-next-80b-a3b").unwrap();
    assert_eq!(model.linear.unwrap().layers, 36);
    let moe = model.moe.unwrap();
    assert_eq!((moe.shared_experts, moe.gated_shared, moe.top_k), (1, true, 10));
}

#[test]
fn checkpoints_name_the_type_of_their_weights() {
    let of = |name: &str| Model::load(name).unwrap().checkpoint;
    assert_eq!(of("deepseek-v3"), CheckpointType::Fp8);
    assert_eq!(of("gpt-oss-120b"), CheckpointType::Mxfp4);
    assert_eq!(of("qwen3-235b-a22b"), CheckpointType::Bf16);
    let nvfp4 = deepseek_with(|fields| {
        let quantised = serde_json::json!({"quant_method": "modelopt", "quant_algo": "NVFP4"});
        fields.insert("quantization_config".to_owned(), quantised);
    });
    assert_eq!(nvfp4.unwrap().checkpoint, CheckpointType::Nvfp4);
}

#[test]
fn a_score_after_deepseek_v3_is_read_and_an_unknown_one_is_refused() {
    let with = |scoring: &str| deepseek_with(|fields| drop(fields.insert("scoring_func".to_owned(), scoring.into())));
    assert_eq!(with("sqrtsoftplus").unwrap().moe.unwrap().scoring, Scoring::SqrtSoftplus);
    assert!(one_line(&with("tanh").unwrap_err()).contains("`sqrtsoftplus`"));
}

#[test]
fn windows_in_other_layers_than_every_second_are_refused_by_the_field_that_lists_them() {
    let (_, text) = BUILTIN.iter().find(|(name, _)| *name == "gpt-oss-120b").unwrap();
    let with = |kinds: Vec<&str>| {
        let mut fields: Map<String, Value> = serde_json::from_str(text).unwrap();
        fields.insert("layer_types".to_owned(), kinds.into());
        Model::parse("changed", "config.json", &serde_json::to_string(&fields).unwrap())
    };
    let alternating = ["sliding_attention", "full_attention"].repeat(18);
    assert_eq!(with(alternating).unwrap().window.unwrap().tokens, 128);
    assert!(one_line(&with(vec!["sliding_attention"; 36]).unwrap_err()).contains("`layer_types`"));
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let text = one_line(&Model::load("gpt-9").unwrap_err());
    assert!(text.contains("`gpt-9`") && text.contains("deepseek-v3") && text.contains("config.json"), "{text}");
}

#[test]
fn a_missing_field_is_named() {
    let text = one_line(&deepseek_with(|fields| drop(fields.remove("kv_lora_rank"))).unwrap_err());
    assert!(text.contains("config.json") && text.contains("`kv_lora_rank` is missing"), "{text}");
}

#[test]
fn absurd_values_are_refused_with_the_field_and_the_range() {
    for value in [serde_json::json!(0), serde_json::json!(-3), serde_json::json!(1u64 << 40), serde_json::json!("big")]
    {
        let result = deepseek_with(|fields| drop(fields.insert("hidden_size".to_owned(), value.clone())));
        let text = one_line(&result.unwrap_err());
        assert!(text.contains("`hidden_size`") && text.contains("whole number"), "{text}");
    }
}

#[test]
fn more_chosen_experts_than_experts_are_refused() {
    let result = deepseek_with(|fields| drop(fields.insert("num_experts_per_tok".to_owned(), 300.into())));
    assert!(one_line(&result.unwrap_err()).contains("at most `n_routed_experts` = 256"));
}

#[test]
fn heads_that_the_kv_heads_do_not_divide_are_refused() {
    let text = r#"{"model_type":"llama","num_hidden_layers":2,"hidden_size":64,"num_attention_heads":8,
        "num_key_value_heads":3,"intermediate_size":128,"vocab_size":100}"#;
    let error = Model::parse("x", "x.json", text).unwrap_err();
    assert!(one_line(&error).contains("`num_key_value_heads` is 3; it must divide `num_attention_heads` = 8"));
}

#[test]
fn an_unsupported_architecture_lists_the_supported_ones() {
    let error = Model::parse("x", "x.json", r#"{"model_type":"mamba","num_hidden_layers":2}"#).unwrap_err();
    let text = one_line(&error);
    assert!(text.contains("`mamba` is not supported") && text.contains("deepseek_v3"), "{text}");
}

#[test]
fn text_that_is_no_json_object_is_one_line() {
    for text in ["", "[1]", "{", "null", "\u{0}"] {
        one_line(&Model::parse("x", "x.json", text).unwrap_err());
    }
}

#[test]
fn the_largest_sizes_are_refused_without_overflow() {
    let result = deepseek_with(|fields| {
        for field in ["hidden_size", "intermediate_size", "moe_intermediate_size", "vocab_size"] {
            fields.insert(field.to_owned(), (1u64 << 32).into());
        }
    });
    assert!(one_line(&result.unwrap_err()).contains("1e15"));
}

#[test]
fn a_folder_with_a_config_json_is_a_model_named_after_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("my-model");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("config.json"), BUILTIN[0].1).unwrap();
    let model = Model::load(inner.to_str().unwrap()).unwrap();
    assert_eq!((model.name.as_str(), model.layers), ("my-model", 61));
}
