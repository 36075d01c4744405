//! The projection as a whole: what must hold for any model, phase, chip and fabric.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use fixture::reached::{BANDWIDTH, PEAK, record};
use proptest::prelude::*;
use supernode_bench::kernels::Family;
use supernode_bench::projection::fabric::{AllToAll, Group, Mode, all_to_all, dispatch, links};
use supernode_bench::projection::machine::Machine;
use supernode_bench::projection::{
    ChipModel, Infeasible, NumberType, Phase, Pins, Projection, ProjectionCaveat, Request, Resource, Workload, compare,
    estimate, project, search,
};
use supernode_bench::record::{self, Caveat, CeilingKind, DeviceType};
use supernode_bench::specs::{Chip, Fabric, Model, Scenario, Sourced};
use supernode_bench::units::{Bytes, Seconds};

const MODELS: [&str; 5] = ["llama-3.1-405b", "qwen3-235b-a22b", "deepseek-v3", "deepseek-v3.2", "qwen3.5-397b-a17b"];
const PHASES: [Phase; 3] = [Phase::Prefill, Phase::Decode, Phase::Training];

fn chip(name: &str) -> ChipModel {
    match name {
        "measured" => ChipModel::from_record(&record()).unwrap(),
        name => ChipModel::from_spec(&Chip::load(name).unwrap()),
    }
}

fn request(model: &str, phase: Phase, chip_name: &str, fabric: &str) -> Request {
    Request {
        model: Model::load(model).unwrap(),
        chip: chip(chip_name),
        fabric: Fabric::load(fabric).unwrap(),
        chips: 384,
        phase,
        number_type: None,
        cache_type: None,
        // A slow device has no plan within 50 ms: that is a typed answer, tested elsewhere.
        workload: Workload { tpot_limit_s: 100.0, ..Workload::default() },
        pins: Pins::default(),
        framework: None,
    }
}

fn rate(projection: &Projection) -> f64 {
    projection.tokens_per_s_per_chip.median
}

/// A fabric without latency, overheads and with endless bandwidth.
fn ideal_fabric() -> Fabric {
    let mut fabric = Fabric::load("cloudmatrix384").unwrap();
    (fabric.dispatch_copy_s, fabric.dies) = (None, None);
    for tier in &mut fabric.tiers {
        tier.bandwidth_bytes_per_s = Some(exactly(1e30));
        tier.link_efficiency = exactly(1.0);
        tier.all_to_all_efficiency = None;
        for time in [
            &mut tier.latency_s,
            &mut tier.message_overhead_s,
            &mut tier.collective_fixed_s,
            &mut tier.all_to_all_fixed_s,
        ] {
            *time = exactly(0.0);
        }
    }
    fabric
}

/// A schedule of interleaved micro-batches is cut to a few layers: its period is right to about a hundredth.
const MONOTONE: f64 = 0.99;

fn exactly(value: f64) -> Sourced {
    Sourced::assumed(value, value, value, "a test")
}

#[test]
fn terms_add_up_to_the_step_for_each_model_phase_fabric_and_chip() {
    for model in MODELS {
        for phase in PHASES {
            // All but the fabric of a single node.
            for fabric in Fabric::builtin_names().into_iter().filter(|name| *name != "xgmi8") {
                for chip in ["ascend-910c", "h100", "measured"] {
                    let projection = project(&request(model, phase, chip, fabric)).unwrap();
                    let sum: f64 = projection.terms_s.named().iter().map(|(_, time)| time.get()).sum();
                    assert!((sum / projection.step_s.get() - 1.0).abs() < 1e-12);
                    assert!(projection.terms_s.named().iter().all(|(_, time)| time.get() >= 0.0 && time.is_finite()));
                    let interval = projection.tokens_per_s_per_chip;
                    assert!(0.0 < interval.low && interval.low <= interval.median && interval.median <= interval.high);
                    assert!(projection.mfu > 0.0 && projection.mfu < 1.0, "{model} {phase:?} {chip}");
                    assert!(projection.memory_bytes_per_chip.used() <= projection.memory_bytes_per_chip.capacity);
                    let plan = projection.plan;
                    let dies = if chip == "ascend-910c" { 2 } else { 1 };
                    assert_eq!(plan.tp * plan.cp * plan.pp * plan.dp, 384 * dies);
                    assert_eq!((plan.tp * plan.dp) % plan.ep, 0);
                }
            }
        }
    }
}

#[test]
fn one_chip_without_traffic_takes_what_the_record_says() {
    // A dense model in prefill on one chip is bound by arithmetic: the record's share of its f32 peak.
    let mut request = request("llama-3.1-8b", Phase::Prefill, "measured", "cloudmatrix384");
    request.chips = 1;
    request.chip.step = exactly(0.0);
    let projection = project(&request).unwrap();
    assert_eq!(projection.number_type, NumberType::F32);
    let terms = projection.terms_s;
    assert_eq!(terms.dispatch + terms.combine + terms.other_collectives + terms.bubble + terms.launch, Seconds::ZERO);
    let model = &request.model;
    let (layers, tokens) = (model.layers as f64, 16384.0);
    let products = layers * (model.attention_parameters() + model.dense_ffn_parameters());
    // Logits of the last position of each of four prompts alone: their weights are read once.
    let logits = 4.0 * (model.embedding_parameters() + 4.0 * (4096.0 + 2.0 * model.vocab as f64)) / (BANDWIDTH * 0.8);
    let matmul = 2.0 * tokens * products / (PEAK * 0.5) + logits;
    // Two norms of four accesses, rotation of queries, keys and values, SwiGLU of two inputs and one output.
    let accesses = 2.0 * 4.0 * 4096.0 + 2.0 * 48.0 * 128.0 + 3.0 * model.dense_intermediate() as f64;
    let elementwise = layers * tokens * accesses * 4.0 / (BANDWIDTH * 0.8);
    assert!((terms.dense.get() / (matmul + elementwise) - 1.0).abs() < 1e-9);
    let attention = model.layers as f64 * tokens * 2048.0 * 4.0 * 32.0 * 128.0 / (PEAK * 0.5);
    assert!((terms.attention.get() / attention - 1.0).abs() < 1e-9);
}

#[test]
fn a_device_twice_as_fast_takes_half_the_time() {
    let mut fast = record();
    for kind in [CeilingKind::FmaF32, CeilingKind::MemoryRead] {
        fast.ceilings.get_mut(&kind).unwrap().value *= 2.0;
    }
    for phase in [Phase::Prefill, Phase::Decode] {
        let mut request = request("llama-3.1-8b", phase, "measured", "cloudmatrix384");
        (request.chips, request.pins.batch_per_chip) = (1, Some(4.0));
        request.chip.step = exactly(0.0);
        let slow_step = project(&request).unwrap().step_s;
        request.chip = ChipModel { step: exactly(0.0), ..ChipModel::from_record(&fast).unwrap() };
        assert!((slow_step / project(&request).unwrap().step_s - 2.0).abs() < 1e-9);
    }
}

#[test]
fn without_latency_and_with_endless_bandwidth_no_time_goes_into_communication() {
    for model in MODELS {
        for phase in PHASES {
            let request = Request { fabric: ideal_fabric(), ..request(model, phase, "ascend-910c", "cloudmatrix384") };
            let projection = project(&request).unwrap();
            let terms = projection.terms_s;
            let communication = terms.dispatch + terms.combine + terms.other_collectives;
            assert!(communication.get() < 1e-9 * projection.step_s.get());
            assert!(projection.bound_by.resource != Some(Resource::LinkBandwidth), "{}", projection.bound_by);
        }
    }
}

#[test]
fn changing_the_topology_changes_the_answer() {
    for (model, phase) in [("deepseek-v3", Phase::Decode), ("qwen3-235b-a22b", Phase::Training)] {
        let on = |fabric| {
            let mut request = request(model, phase, "ascend-910c", fabric);
            // With large batches the bus hides behind compute; with small ones its fixed costs show.
            request.pins.batch_per_chip = (phase == Phase::Decode).then_some(8.0);
            rate(&project(&request).unwrap())
        };
        assert!(on("cloudmatrix384") > 1.02 * on("roce-cluster"), "{model}");
    }
}

#[test]
fn llama_405b_on_eight_small_chips_is_refused_with_the_missing_bytes() {
    let mut request = request("llama-3.1-405b", Phase::Decode, "h100", "cloudmatrix384");
    (request.chips, request.number_type) = (8, Some(NumberType::Bf16));
    let Err(Infeasible::Memory { needed_bytes, over_bytes, plan }) = project(&request) else {
        panic!("810 GB do not fit into 687")
    };
    assert_eq!(plan.tp * plan.pp, 8);
    assert!(needed_bytes > 100e9);
    assert!((needed_bytes - over_bytes - 0.9 * 85.9e9).abs() < 1.0);
    request.chip.set_capacity(160e9);
    assert!(project(&request).is_ok());
}

/// Models whose layers are not all alike, or that no built-in file has, with sizes of published ones.
fn of_many_kinds() -> Vec<Model> {
    let builtin = ["qwen3.5-397b-a17b", "deepseek-v3.2", "gpt-oss-120b", "kimi-k2.5"];
    let mut models: Vec<Model> = builtin.into_iter().map(|name| Model::load(name).unwrap()).collect();
    let ratios: Vec<u64> = [0, 0].into_iter().chain([4, 128].into_iter().cycle().take(41)).chain([0]).collect();
    let compressed = serde_json::json!({"model_type": "deepseek_v4", "hidden_size": 4096, "vocab_size": 129280,
        "num_hidden_layers": 43, "num_attention_heads": 64, "num_key_value_heads": 1, "head_dim": 512, "q_lora_rank": 1024,
        "o_groups": 8, "o_lora_rank": 1024, "qk_rope_head_dim": 64, "sliding_window": 128, "index_topk": 512,
        "index_n_heads": 64, "index_head_dim": 128, "compress_ratios": ratios, "hc_mult": 4, "n_routed_experts": 256,
        "num_experts_per_tok": 6, "n_shared_experts": 1, "moe_intermediate_size": 2048, "num_nextn_predict_layers": 1,
        "quantization_config": {"quant_method": "fp8"}, "expert_dtype": "fp4"});
    let pattern = "MEMEMEM*E".repeat(9) + "MEMEMEM";
    let blocks = serde_json::json!({"model_type": "nemotron_h", "hidden_size": 4096, "vocab_size": 131072,
        "num_hidden_layers": 88, "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128,
        "hybrid_override_pattern": pattern, "mamba_num_heads": 128, "mamba_head_dim": 64,
        "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4, "n_routed_experts": 512, "num_experts_per_tok": 22,
        "moe_intermediate_size": 2688, "moe_latent_size": 1024, "moe_shared_expert_intermediate_size": 5376,
        "n_shared_experts": 1, "num_nextn_predict_layers": 1, "mlp_hidden_act": "relu2"});
    let kinds = [["sliding_attention"; 5].as_slice(), &["full_attention"]].concat().repeat(10);
    let windowed = serde_json::json!({"model_type": "gemma4_text", "hidden_size": 5376, "vocab_size": 262144,
        "num_hidden_layers": 60, "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 256,
        "global_head_dim": 512, "num_global_key_value_heads": 4, "attention_k_eq_v": true, "intermediate_size": 21504,
        "sliding_window": 1024, "layer_types": kinds,
        "tie_word_embeddings": true});
    for (name, fields) in [("compressed", compressed), ("blocks", blocks), ("windowed", windowed)] {
        models.push(Model::parse(name, name, &fields.to_string()).unwrap());
    }
    models
}

#[test]
fn terms_add_up_to_the_step_for_models_whose_layers_are_not_all_alike() {
    for model in of_many_kinds() {
        for phase in PHASES {
            for (chip_name, fabric) in
                [("ascend-910c", "cloudmatrix384"), ("h100", "h800-ib"), ("measured", "cloudmatrix384")]
            {
                let asked = Request { model: model.clone(), ..request("deepseek-v3", phase, chip_name, fabric) };
                let projection = project(&asked).unwrap();
                let sum: f64 = projection.terms_s.named().iter().map(|(_, time)| time.get()).sum();
                assert!((sum / projection.step_s.get() - 1.0).abs() < 1e-12);
                assert!(projection.terms_s.named().iter().all(|(_, time)| time.get() >= 0.0 && time.is_finite()));
                assert!(projection.terms_s.attention.is_positive(), "{} {phase:?}", model.name);
                assert!(projection.mfu > 0.0 && projection.mfu < 1.0, "{} {phase:?} {chip_name}", model.name);
                let memory = projection.memory_bytes_per_chip;
                assert!(memory.used() <= memory.capacity && memory.weights > 0.0);
            }
        }
    }
}

/// One sequence per chip in decode on 32 chips in one piece, with this many tokens in the cache.
fn one_sequence(model: &str, kv_len: f64) -> Projection {
    let mut asked = request(model, Phase::Decode, "h200", "h800-ib");
    asked.chips = 32;
    asked.workload.kv_len = kv_len;
    asked.pins = Pins { tp: Some(1), pp: Some(1), microbatches: Some(1), batch_per_chip: Some(1.0), ..Pins::default() };
    project(&asked).unwrap()
}

#[test]
fn the_cache_of_a_recurrent_model_grows_by_its_attention_layers_alone() {
    let kept = |kv_len: f64| one_sequence("qwen3.5-397b-a17b", kv_len).memory_bytes_per_chip.kv_cache;
    // 15 layers of two heads of 256 for keys and for values, 16 bits each.
    let per_token = 15.0 * 2.0 * 2.0 * 256.0 * 2.0;
    assert!(((kept(32768.0) - kept(16384.0)) / (16384.0 * per_token) - 1.0).abs() < 1e-9);
    // 45 layers of 64 heads of 128 x 128 in 32 bits, and the last three inputs of the convolution in 16.
    let state = 45.0 * (64.0 * 128.0 * 128.0 * 4.0 + (2.0 * 2048.0 + 8192.0) * 3.0 * 2.0);
    assert!(((kept(16384.0) - 16384.0 * per_token) / state - 1.0).abs() < 1e-9);
}

#[test]
fn a_window_bounds_the_cache_and_the_time_of_its_layers() {
    let (short, long) = (one_sequence("gpt-oss-120b", 4096.0), one_sequence("gpt-oss-120b", 8192.0));
    let per_token = 18.0 * 2.0 * 8.0 * 64.0 * 2.0;
    let grown = long.memory_bytes_per_chip.kv_cache - short.memory_bytes_per_chip.kv_cache;
    assert!((grown / (4096.0 * per_token) - 1.0).abs() < 1e-9);
}

#[test]
fn attention_to_chosen_tokens_pays_at_long_contexts_and_costs_at_short_ones() {
    let attention = |model: &str, kv_len: f64| {
        let mut asked = request(model, Phase::Decode, "h200", "h800-ib");
        (asked.chips, asked.workload.kv_len) = (64, kv_len);
        let pins =
            Pins { tp: Some(1), pp: Some(1), microbatches: Some(1), batch_per_chip: Some(8.0), ..Pins::default() };
        project(&Request { pins, ..asked }).unwrap().terms_s.attention.get()
    };
    assert!(attention("deepseek-v3.2", 65536.0) < 0.5 * attention("deepseek-v3", 65536.0));
    assert!(attention("deepseek-v3.2", 1024.0) > attention("deepseek-v3", 1024.0));
}

#[test]
fn a_quantised_checkpoint_keeps_the_types_of_its_parts() {
    let asked =
        Request { number_type: Some(NumberType::Fp8), ..request("kimi-k2.5", Phase::Decode, "h200", "h800-ib") };
    let widths = Machine::new(&asked, Scenario::Nominal).unwrap().widths;
    // Four bits and a scale of 16 for each 32, multiplied in 8.
    assert!((widths.experts.weight - 0.5625).abs() < 1e-12 && (widths.experts.peak - 1.0).abs() < 1e-12);
    // Attention has 16 bits, and half the peak of 8.
    assert!((widths.mixer.weight - 2.0).abs() < 1e-12 && (widths.mixer.operand - 2.0).abs() < 1e-12);
    assert!((0.45..0.55).contains(&widths.mixer.peak), "{widths:?}");
    let training = Request { number_type: None, phase: Phase::Training, ..asked };
    let widths = Machine::new(&training, Scenario::Nominal).unwrap().widths;
    assert!((widths.experts.weight - 2.0).abs() < 1e-12);
    let caveats = project(&request("kimi-k2.5", Phase::Decode, "h200", "h800-ib")).unwrap().caveats;
    assert!(caveats.contains(&ProjectionCaveat::FourBitWeights));
    assert!(caveats.contains(&ProjectionCaveat::LeftOut(vec!["its vision tower"])));
}

#[test]
fn a_cache_of_eight_bits_takes_half_the_memory_in_serving() {
    let text = include_str!("../specs/models/llama-3.1-8b.json");
    let beside = r#"{"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}"#;
    let kept = |quantisation: Option<&str>| {
        let model = Model::parse_with("llama", "config.json", text, quantisation).unwrap();
        let pins = Pins { tp: Some(1), pp: Some(1), batch_per_chip: Some(8.0), ..Pins::default() };
        let asked = request("llama-3.1-8b", Phase::Decode, "h200", "h800-ib");
        project(&Request { model, pins, chips: 8, ..asked }).unwrap().memory_bytes_per_chip.kv_cache
    };
    assert!((kept(None) / kept(Some(beside)) - 2.0).abs() < 1e-9);
}

#[test]
fn the_cache_has_the_type_that_is_asked_for_except_in_training() {
    let of = |phase: Phase, cache_type: Option<NumberType>| {
        let pins = Pins { tp: Some(8), pp: Some(1), batch_per_chip: Some(8.0), ..Pins::default() };
        let pins = if phase == Phase::Decode { pins } else { Pins::default() };
        project(&Request { cache_type, pins, ..request("llama-3.1-70b", phase, "h200", "h800-ib") }).unwrap()
    };
    let [own, narrow] = [None, Some(NumberType::Fp8)].map(|cache_type| of(Phase::Decode, cache_type));
    assert!((own.memory_bytes_per_chip.kv_cache / narrow.memory_bytes_per_chip.kv_cache - 2.0).abs() < 1e-9);
    assert!(narrow.terms_s.attention < own.terms_s.attention && narrow.cache_type == Some(NumberType::Fp8));
    let [own, narrow] = [None, Some(NumberType::Fp8)].map(|cache_type| of(Phase::Training, cache_type));
    assert_eq!((own.step_s, own.memory_bytes_per_chip), (narrow.step_s, narrow.memory_bytes_per_chip));
}

#[test]
fn the_best_plan_of_decode_is_the_best_of_all_plans() {
    for (model, chip, fabric, chips) in [
        ("deepseek-v3", "ascend-910c", "cloudmatrix384", 64),
        ("qwen3-235b-a22b", "ascend-910c", "roce-cluster", 48),
        ("llama-3.1-405b", "ascend-910c", "cloudmatrix384", 96),
        ("qwen3-235b-a22b", "measured", "cloudmatrix384", 96),
        ("gpt-oss-120b", "h800", "h800-ib", 32),
        ("qwen3.5-397b-a17b", "h800", "h800-ib", 32),
    ] {
        let asked = Request { chips, ..request(model, Phase::Decode, chip, fabric) };
        // Their front holds the best at every limit, the shortest latency first.
        let front = search(&asked, &|_| {}).unwrap().front;
        for place in [0, front.len() / 3, 2 * front.len() / 3, front.len() - 1] {
            let best = &front[place];
            let workload = Workload { tpot_limit_s: best.latency_s, ..asked.workload.clone() };
            let (plan, outcome) = estimate(&Request { workload, ..asked.clone() }).unwrap();
            let found = outcome.throughput(&plan);
            let ratio = found / best.tokens_per_s_per_chip;
            assert!((ratio - 1.0).abs() < 1e-8, "{model} on {fabric}: {plan:?} {found}, not {best:?}");
        }
        let limit_s = front[0].latency_s * 0.5;
        let workload = Workload { tpot_limit_s: limit_s, ..asked.workload.clone() };
        let none = estimate(&Request { workload, ..asked.clone() }).unwrap_err();
        assert_eq!(none, Infeasible::Latency { limit_s, best_s: front[0].latency_s }, "{model} on {fabric}");
    }
}

#[test]
fn a_limit_that_no_plan_keeps_is_a_typed_answer_with_the_fastest_plan() {
    let mut request = request("deepseek-v3", Phase::Decode, "ascend-910c", "roce-cluster");
    request.workload.tpot_limit_s = 1e-3;
    request.workload.tpot_limit_binds = true;
    let Err(Infeasible::Latency { best_s, .. }) = project(&request) else { panic!("1 ms is out of reach") };
    assert!(best_s > 1e-3);
    request.workload.tpot_limit_s = best_s * 1.001;
    assert!(project(&request).is_ok());
}

#[test]
fn degrees_that_do_not_go_together_are_refused_in_one_line() {
    let base = request("llama-3.1-405b", Phase::Decode, "ascend-910c", "cloudmatrix384");
    let pins = [
        (Pins { tp: Some(5), ..Pins::default() }, "does not divide 768 dies of 384"),
        (Pins { ep: Some(4), ..Pins::default() }, "no experts"),
        (Pins { pp: Some(192), ..Pins::default() }, "126 layers"),
        (Pins { tp: Some(8), dp: Some(64), ..Pins::default() }, "must be the number of chips"),
        (Pins { tp: Some(0), ..Pins::default() }, "does not divide"),
    ];
    for (pins, expected) in pins {
        let message = project(&Request { pins, ..base.clone() }).unwrap_err().to_string();
        assert!(message.contains(expected) && !message.contains('\n'), "{message}");
    }
    let many = Request { chips: 1_000_000, ..base.clone() };
    assert!(matches!(project(&many), Err(Infeasible::TooManyChips { .. })));
    let typed = Request { number_type: Some(NumberType::Fp8), ..base };
    assert!(project(&typed).unwrap_err().to_string().contains("int8"));
}

#[test]
fn a_software_adapter_and_assumed_inputs_are_caveats_of_the_projection() {
    let mut record = record();
    record.device.device_type = DeviceType::Software;
    record.caveats = vec![Caveat::WallClock];
    let chip = ChipModel::from_record(&record).unwrap();
    let request = Request { chip, ..request("qwen3-235b-a22b", Phase::Prefill, "measured", "cloudmatrix384") };
    let caveats: Vec<String> = project(&request).unwrap().caveats.iter().map(ToString::to_string).collect();
    let caveats = caveats.join("\n");
    for expected in ["software adapter", "wall clock", "memory size", "projection, not a measurement"] {
        assert!(caveats.contains(expected), "{caveats}");
    }
}

#[test]
fn a_record_without_cases_falls_back_on_assumed_shares_and_says_so() {
    let mut record = record();
    record.cases.clear();
    let chip = ChipModel::from_record(&record).unwrap();
    assert!(chip.caveats.contains(&ProjectionCaveat::FewCases(Family::Attention)), "{:?}", chip.caveats);
    record.ceilings.clear();
    assert!(ChipModel::from_record(&record).unwrap_err().contains("memory ceiling"));
}

#[test]
fn speculation_with_certain_acceptance_yields_two_tokens_a_step() {
    let mut request = request("deepseek-v3", Phase::Decode, "ascend-910c", "cloudmatrix384");
    request.pins.batch_per_chip = Some(8.0);
    let plain = project(&request).unwrap();
    (request.workload.mtp_tokens, request.workload.mtp_acceptance) = (1, 1.0);
    let sure = project(&request).unwrap();
    assert!((sure.step_s / sure.tpot_s.unwrap() - 2.0).abs() < 1e-12);
    assert!(sure.step_s > plain.step_s && rate(&sure) > rate(&plain));
    request.workload.mtp_acceptance = 0.0;
    assert!(rate(&project(&request).unwrap()) < rate(&plain));
}

#[test]
fn a_comparison_states_both_ratios() {
    let comparison = compare(
        &request("deepseek-v3", Phase::Decode, "ascend-910c", "cloudmatrix384"),
        &Fabric::load("roce-cluster").unwrap(),
    );
    let (on, below) = (comparison.on.unwrap(), comparison.baseline.unwrap());
    assert!((comparison.speedup.unwrap() - rate(&on) / rate(&below)).abs() < 1e-12);
    // The baseline's own plan is at least as good as one made for another fabric.
    assert!(comparison.same_plan_speedup.unwrap() >= comparison.speedup.unwrap() - 1e-9);
}

/// The closed form that plans are searched with, in chips: 128 tokens a die are 256 a chip. `supernode validate` has the rest.
#[test]
fn published_dispatch_and_combine_come_out_within_12_percent() {
    let fabric = Fabric::load("cloudmatrix384").unwrap();
    let links = links(&fabric, &exactly(392e9), Scenario::Nominal);
    // Dies, dispatch and combine in microseconds: arXiv:2506.12708.
    for (dies, out, back) in [(8.0, 116.0, 118.0), (32.0, 133.0, 146.0), (128.0, 152.0, 150.0), (256.0, 152.0, 149.0)] {
        let group = Group { size: dies / 2.0, stride: 1.0 };
        let traffic = |bytes| AllToAll {
            tokens: 256.0,
            copies: 8.0,
            bytes: Bytes::new(bytes),
            mode: Mode::LowLatency,
            most_groups: None,
        };
        let modelled = [
            (dispatch(&links, group, &traffic(7168.0 + 512.0)), out),
            (all_to_all(&links, group, &traffic(2.0 * 7168.0)), back),
        ];
        for (time, published) in modelled {
            let error = time.get() * 1e6 / published - 1.0;
            assert!(error.abs() < 0.12, "{dies} dies: {error:.3} of {published}");
        }
    }
}

#[test]
fn a_measured_chip_that_went_through_json_gives_the_same_answer() {
    let record = record::load("results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json".as_ref()).unwrap();
    let chip = ChipModel::from_record(&record).unwrap();
    let request = Request { chip, ..request("deepseek-v3", Phase::Decode, "measured", "cloudmatrix384") };
    let text = serde_json::to_string(&request.chip).unwrap();
    let chip: ChipModel = serde_json::from_str(&text).unwrap();
    assert_eq!(chip.costs, request.chip.costs);
    let again = project(&Request { chip, ..request.clone() }).unwrap();
    let first = project(&request).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&first).unwrap());
    let other = text.replacen("\"gate_up\"", "\"coffee\\u001b\"", 1);
    let refused = serde_json::from_str::<ChipModel>(&other).unwrap_err().to_string();
    assert!(refused.contains("coffee") && !refused.contains('\u{1b}'), "{refused}");
}

#[test]
fn a_record_given_by_its_path_becomes_the_measured_chip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("device.json");
    std::fs::write(&path, serde_json::to_string(&record()).unwrap()).unwrap();
    let arguments = ["--model", "deepseek-v3", "--phase", "decode", "--fabric", "cloudmatrix384", "--json"];
    let run = |extra: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("supernode").unwrap();
        command.arg("project").args(extra).args(arguments).args(["--tpot-limit-ms", "5000"]);
        let output = command.assert().success().get_output().stdout.clone();
        serde_json::from_slice::<serde_json::Value>(&output).unwrap()
    };
    let positional = run(&[path.to_str().unwrap()]);
    assert_eq!(positional["chip"], "test device");
    assert!(positional["provenance"].to_string().contains("\"measured\""));
    assert_eq!(positional, run(&["--record", path.to_str().unwrap(), "--chip", "measured"]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn more_bandwidth_is_never_slower(model in 0usize..3, phase in 0usize..3, factor in 1.0f64..20.0, tier in 0usize..2) {
        let slow = request(MODELS[model], PHASES[phase], "ascend-910c", "cloudmatrix384");
        let mut fast = slow.clone();
        let link = fast.fabric.tiers[tier].bandwidth_bytes_per_s.as_mut().unwrap();
        *link = exactly(link.value * factor);
        prop_assert!(rate(&project(&fast).unwrap()) >= rate(&project(&slow).unwrap()) * MONOTONE);
    }

    #[test]
    fn faster_memory_or_arithmetic_is_never_slower(model in 0usize..3, phase in 0usize..3, factor in 1.0f64..8.0) {
        let slow = request(MODELS[model], PHASES[phase], "h100", "roce-cluster");
        let base = rate(&project(&slow).unwrap());
        let mut fast = slow.clone();
        fast.chip.bandwidth = exactly(fast.chip.bandwidth.value * factor);
        prop_assert!(rate(&project(&fast).unwrap()) >= base * MONOTONE);
        let mut fast = slow;
        for peak in fast.chip.peaks.values_mut() {
            *peak = exactly(peak.value * factor);
        }
        prop_assert!(rate(&project(&fast).unwrap()) >= base * MONOTONE);
    }

    #[test]
    fn more_memory_never_lowers_the_best_plans_throughput(model in 0usize..3, phase in 0usize..3, factor in 1.0f64..4.0) {
        let small = request(MODELS[model], PHASES[phase], "ascend-910c", "cloudmatrix384");
        let mut large = small.clone();
        large.chip.set_capacity(128e9 * factor);
        prop_assert!(rate(&project(&large).unwrap()) >= rate(&project(&small).unwrap()) * (1.0 - 1e-9));
    }

    #[test]
    fn intervals_hold_the_point_and_are_the_same_each_time(model in 0usize..3, phase in 0usize..3) {
        let request = request(MODELS[model], PHASES[phase], "ascend-910c", "cloudmatrix384");
        let (once, again) = (project(&request).unwrap(), project(&request).unwrap());
        prop_assert_eq!(&once, &again);
        let step = once.intervals.step_s.unwrap();
        prop_assert!(step.low <= once.step_s.get() && once.step_s.get() <= step.high);
        prop_assert!(!once.tornado.is_empty() && once.operators.len() > 8);
    }

    #[test]
    fn any_number_of_chips_and_any_lengths_get_an_answer_or_a_reason(
        chips in 1u32..1000, prompt in 1.0f64..200_000.0, batch in 0.01f64..5000.0, phase in 0usize..3, tp in 0u32..20
    ) {
        let mut request = request("deepseek-v3", PHASES[phase], "ascend-910c", "cloudmatrix384");
        request.chips = chips;
        request.workload = Workload { prompt_len: prompt, kv_len: prompt, sequence_len: prompt, ..request.workload };
        request.pins = Pins { tp: (tp > 10).then(|| tp - 10), batch_per_chip: Some(batch), ..Pins::default() };
        match project(&request) {
            Ok(projection) => prop_assert!(rate(&projection).is_finite() && rate(&projection) > 0.0),
            Err(reason) => prop_assert!(!reason.to_string().contains('\n')),
        }
    }
}
