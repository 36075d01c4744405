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
        // These cards round the total.
        let tolerance = match &*name {
            "kimi-k2" => 0.015,
            "kimi-k2.5" => 0.03,
            "minimax-m2.5" => 0.01,
            _ => 0.005,
        };
        let ratio = model.parameters() / card.total;
        assert!((ratio - 1.0).abs() < tolerance, "{name}: {ratio}");
        // Cards round the active count and differ in whether they count embeddings: these do not.
        let tables = match &*name {
            "gpt-oss-120b" | "glm-5" => model.embedding_parameters(),
            "qwen3-next-80b-a3b" | "minimax-m2.5" => 2.0 * model.embedding_parameters(),
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
    assert_eq!(model.linear_layers(), 36);
    let moe = model.moe.unwrap();
    assert_eq!((moe.shared_experts, moe.gated_shared, moe.top_k), (1, true, 10));
}

#[test]
fn a_score_after_deepseek_v3_is_read_and_an_unknown_one_is_refused() {
    let with = |scoring: &str| deepseek_with(|fields| drop(fields.insert("scoring_func".to_owned(), scoring.into())));
    assert_eq!(with("sqrtsoftplus").unwrap().moe.unwrap().scoring, Scoring::SqrtSoftplus);
    assert!(one_line(&with("tanh").unwrap_err()).contains("`sqrtsoftplus`"));
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

/// The fields of any model with grouped heads, and more of them.
fn parse(more: &Value) -> Result<Model, SpecError> {
    let mut fields = serde_json::json!({"hidden_size": 64, "vocab_size": 100, "num_hidden_layers": 4,
        "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 96});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Model::parse("test", "config.json", &fields.to_string())
}

/// How many layers of each kind, and their mixers.
fn mixers(model: &Model) -> Vec<(u64, Mixer)> {
    model.kinds.iter().map(|kind| (kind.count, kind.layer.mixer)).collect()
}

fn reaches(model: &Model) -> Vec<(u64, Reach)> {
    let reach = |(count, mixer)| if let Mixer::Attention(layer) = mixer { Some((count, layer.reach)) } else { None };
    mixers(model).into_iter().filter_map(reach).collect()
}

#[test]
fn a_field_that_is_not_understood_is_refused_by_its_name() {
    let error = parse(&serde_json::json!({"model_type": "llama", "memory_layers": 3})).unwrap_err();
    assert!(one_line(&error).contains("`memory_layers` is 3; it is not understood"), "{error}");
    let nested = serde_json::json!({"model_type": "kimi_k25", "text_config": {"model_type": "llama", "hidden_size": 64,
        "vocab_size": 9, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "memory_layers": 3}});
    let error = Model::parse("test", "config.json", &nested.to_string()).unwrap_err();
    assert!(one_line(&error).contains("`text_config.memory_layers`"), "{error}");
    assert!(parse(&serde_json::json!({"model_type": "llama", "memory_layers": null, "rope_theta": 1e4})).is_ok());
}

#[test]
fn layers_have_the_windows_that_the_file_lists() {
    let kinds = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"];
    let listed = serde_json::json!({"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2,
        "sliding_window": 8, "layer_types": kinds});
    assert_eq!(reaches(&parse(&listed).unwrap()), [(3, Reach::Window(8)), (1, Reach::All)]);
    let alternating = serde_json::json!({"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2,
        "sliding_window": 8});
    assert_eq!(reaches(&parse(&alternating).unwrap()), [(2, Reach::Window(8)), (2, Reach::All)]);
    let short = serde_json::json!({"model_type": "qwen3", "layer_types": kinds[..2]});
    assert!(one_line(&parse(&short).unwrap_err()).contains("`layer_types` is a list of 2"));
    let unknown = serde_json::json!({"model_type": "qwen3", "layer_types": ["a", "a", "a", "a"]});
    assert!(one_line(&parse(&unknown).unwrap_err()).contains("`layer_types` is a"));
    let above = serde_json::json!({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 8,
        "max_window_layers": 3});
    assert_eq!(reaches(&parse(&above).unwrap()), [(3, Reach::All), (1, Reach::Window(8))]);
    let chunks = serde_json::json!({"model_type": "llama4_text", "num_local_experts": 4, "num_experts_per_tok": 1,
        "attention_chunk_size": 32, "interleave_moe_layer_step": 2, "intermediate_size_mlp": 200});
    let model = parse(&chunks).unwrap();
    assert_eq!(reaches(&model), [(1, Reach::Chunk(32)), (1, Reach::All), (2, Reach::Chunk(32))]);
    assert_eq!((model.moe_layers(), model.dense_intermediate(), model.moe.unwrap().shared_experts), (2, 200, 1));
}

#[test]
fn layers_with_and_without_a_window_may_have_heads_of_their_own() {
    let gemma = serde_json::json!({"model_type": "gemma4_text", "sliding_window": 8, "global_head_dim": 32,
        "num_global_key_value_heads": 1, "attention_k_eq_v": true, "tie_word_embeddings": true,
        "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]});
    let model = parse(&gemma).unwrap();
    let h = 64.0;
    let (in_window, everywhere) = (h * 8.0 * 32.0 + h * 2.0 * 32.0, h * 8.0 * 64.0 + h * 32.0);
    let ffn = 4.0 * (3.0 * h * 96.0 + 2.0 * h);
    assert!((model.parameters() - (3.0 * in_window + everywhere + ffn + 100.0 * h + h)).abs() < 0.5);
    let mimo = serde_json::json!({"model_type": "mimo_v2_flash", "v_head_dim": 8, "swa_num_key_value_heads": 4,
        "swa_v_head_dim": 8, "sliding_window": 8, "hybrid_layer_pattern": [0, 1, 1, 1], "moe_layer_freq": [0, 1, 1, 1],
        "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32});
    let model = parse(&mimo).unwrap();
    assert_eq!(reaches(&model), [(3, Reach::Window(8)), (1, Reach::All)]);
    let Mixer::Attention(layer) = model.kinds[0].layer.mixer else { panic!("attention") };
    assert!(matches!(layer.sizes, Attention::Gqa { kv_heads: 4, head_dim: 16, v_head_dim: 8, .. }), "{layer:?}");
}

#[test]
fn an_indexer_chooses_in_its_own_layers_and_lends_its_choice_to_others() {
    let with = |more: Value| {
        deepseek_with(|fields| {
            fields.insert("model_type".to_owned(), "glm_moe_dsa".into());
            fields.extend(more.as_object().unwrap().clone());
        })
    };
    let indexer = serde_json::json!({"index_topk": 2048, "index_n_heads": 64, "index_head_dim": 128});
    let model = with(indexer.clone()).unwrap();
    let own = |model: &Model| {
        let choices = reaches(model).into_iter().filter_map(|(count, reach)| Some((count, reach.choice()?)));
        choices.filter(|(_, top)| top.indexer.is_some()).map(|(count, _)| count).sum::<u64>()
    };
    assert_eq!(own(&model), 61);
    // Queries from the latent, one key, a weight per head.
    let weights = 1536.0 * 64.0 * 128.0 + 7168.0 * (128.0 + 64.0);
    let before = Model::load("deepseek-v3").unwrap();
    assert!((model.parameters() - before.parameters() - 61.0 * weights).abs() < 1.0);
    let mut shared = indexer;
    shared["index_topk_freq"] = 4.into();
    shared["index_skip_topk_offset"] = 3.into();
    // Layers 0, 1, 2, then 6, 10 and so on up to 58.
    assert_eq!(own(&with(shared).unwrap()), 3 + 14);
}

#[test]
fn compressed_layers_have_a_window_and_choose_where_the_ratio_is_four() {
    let model = parse(&serde_json::json!({"model_type": "deepseek_v4", "num_key_value_heads": 1, "q_lora_rank": 32,
        "o_groups": 2, "o_lora_rank": 24, "qk_rope_head_dim": 8, "sliding_window": 128, "index_topk": 512,
        "index_n_heads": 4, "index_head_dim": 16, "compress_ratios": [0, 4, 128, 4, 0], "n_routed_experts": 4,
        "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 32, "num_nextn_predict_layers": 1}));
    let model = model.unwrap();
    let kinds = reaches(&model);
    assert_eq!(kinds[0], (1, Reach::Window(128)));
    assert!(matches!(
        kinds[1],
        (2, Reach::Compressed { ratio: 4, choice: Some(EntryChoice { entries: 512, .. }), .. })
    ));
    assert!(matches!(kinds[2], (1, Reach::Compressed { ratio: 128, choice: None, .. })));
    // The ratio after the layers is that of the module.
    assert!(matches!(model.mtp.mixer, Mixer::Attention(AttentionLayer { reach: Reach::Window(128), .. })));
}

#[test]
fn recurrences_stand_where_the_file_says_and_know_the_width_of_their_state() {
    let linear = serde_json::json!({"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
        "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4, "mamba_ssm_dtype": "bfloat16",
        "model_type": "qwen3_5_text"});
    let model = parse(&linear).unwrap();
    assert_eq!(model.linear_layers(), 3);
    let Mixer::Linear(found) = model.kinds[0].layer.mixer else { panic!("a recurrence") };
    assert_eq!((found.rule, found.state_bytes), (Recurrence::GatedDelta, 2));
    assert!((found.state_elements() - 4.0 * 8.0 * 16.0).abs() < 1e-9);
    assert!(matches!(model.mtp.mixer, Mixer::Attention(_)));
    let lightning = serde_json::json!({"model_type": "minimax_m1", "attn_type_list": [0, 0, 0, 1],
        "num_local_experts": 4, "num_experts_per_tok": 2});
    assert_eq!(parse(&lightning).unwrap().linear_layers(), 3);
    let kimi = serde_json::json!({"model_type": "kimi_linear", "kv_lora_rank": 32, "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 16, "v_head_dim": 16, "linear_attn_config": {"full_attn_layers": [4],
        "kda_layers": [1, 2, 3], "num_heads": 4, "head_dim": 16, "short_conv_kernel_size": 4}});
    assert_eq!(parse(&kimi).unwrap().linear_layers(), 3);
    let mut both = kimi;
    both["linear_attn_config"]["kda_layers"] = serde_json::json!([1, 2, 3, 4]);
    assert!(one_line(&parse(&both).unwrap_err()).contains("`linear_attn_config.kda_layers`"));
}

#[test]
fn blocks_are_layers_of_their_own_and_experts_may_work_in_a_narrower_width() {
    let nemotron = |pattern: &str| {
        let mut fields = serde_json::json!({"model_type": "nemotron_h", "mamba_num_heads": 4, "n_groups": 2,
            "ssm_state_size": 16, "mamba_head_dim": 8, "conv_kernel": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
            "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 64, "n_shared_experts": 1,
            "moe_latent_size": 16, "mlp_hidden_act": "relu2"});
        fields["hybrid_override_pattern"] = pattern.into();
        parse(&fields)
    };
    let model = nemotron("ME*-").unwrap();
    assert_eq!((model.layers, model.moe_layers(), model.linear_layers(), model.ffn_matrices), (4, 1, 1, 2));
    let (h, inner, state) = (64.0, 32.0, 2.0 * 2.0 * 16.0);
    let recurrence = h * (inner + inner + state + 4.0) + h * inner + 4.0 * (inner + state);
    let attention = 2.0 * h * 8.0 * 16.0 + 2.0 * h * 2.0 * 16.0;
    let experts = 4.0 * 2.0 * 16.0 * 32.0 + 2.0 * h * 64.0 + h * (4.0 + 2.0 * 16.0);
    let all = recurrence + attention + experts + 2.0 * h * 96.0 + 4.0 * h + 200.0 * h + h;
    assert!((model.parameters() - all).abs() < 0.5, "{} {all}", model.parameters());
    assert!(one_line(&nemotron("ME*x").unwrap_err()).contains("`hybrid_override_pattern`"));
    assert!(one_line(&nemotron("ME*").unwrap_err()).contains("`num_hidden_layers` is 4; the pattern has 3"));
}

#[test]
fn a_searched_architecture_skips_attention_and_has_networks_of_many_widths() {
    let attention = serde_json::json!({"no_op": false, "n_heads_in_group": 4});
    let none = serde_json::json!({"no_op": true});
    let wide = serde_json::json!({"no_op": false, "ffn_mult": 5.25});
    let with = |attention: &Value, ffn: &Value| serde_json::json!({"attention": attention, "ffn": ffn});
    let fields = |list: Vec<Value>| {
        serde_json::json!({"model_type": "nemotron-nas", "num_hidden_layers": 3,
        "hidden_size": 64, "num_attention_heads": 8, "vocab_size": 100, "block_configs": list})
    };
    let text = fields(vec![with(&attention, &wide), with(&none, &wide), with(&none, &none)]).to_string();
    let model = Model::parse("test", "config.json", &text).unwrap();
    assert_eq!(model.kinds.len(), 3);
    assert_eq!(model.dense_intermediate(), 256);
    let text = fields(vec![with(&attention, &wide)]).to_string();
    assert!(one_line(&Model::parse("test", "config.json", &text).unwrap_err()).contains("`block_configs`"));
}

#[test]
fn what_stands_beside_the_text_is_left_out_by_name() {
    assert_eq!(Model::load("kimi-k2.5").unwrap().left_out, ["its vision tower"]);
    assert!(Model::load("kimi-k2").unwrap().left_out.is_empty());
}

#[test]
fn an_activation_without_a_gate_is_refused() {
    let error = parse(&serde_json::json!({"model_type": "llama", "hidden_act": "relu2"})).unwrap_err();
    assert!(one_line(&error).contains("`hidden_act` is relu2; give one of `silu`"), "{error}");
}
