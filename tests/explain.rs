//! `supernode explain`: the causes multiply to the ratio, and each means what it says.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use assert_cmd::Command;
use proptest::prelude::*;
use serde_json::Value;
use supernode_bench::projection::explain::{CAUSES, Explanation, explain};
use supernode_bench::projection::explain_chips::explain_with_chips;
use supernode_bench::projection::explain_serving::{SERVING_CAUSES, ServingExplanation, explain_serving};
use supernode_bench::projection::explain_slowest::{SLOWEST_RANK, explain_with_slowest_rank};
use supernode_bench::projection::serving::{
    Lengths, ServiceLimits, ServingLoad, ServingMode, ServingRequest, WorkerPins,
};
use supernode_bench::projection::slowest::DeviceSpread;
use supernode_bench::projection::{ChipModel, Phase, Pins, Request, Workload, compare};
use supernode_bench::specs::{Chip, Fabric, Framework, Model};

const MODELS: [&str; 4] = ["llama-3.1-70b", "qwen3-30b-a3b", "qwen3-235b-a22b", "deepseek-v3"];
const PHASES: [Phase; 3] = [Phase::Prefill, Phase::Decode, Phase::Training];

fn request(model: &str, phase: Phase, fabric: Fabric, chips: u32) -> Request {
    Request {
        model: Model::load(model).unwrap(),
        chip: ChipModel::from_spec(&Chip::load("ascend-910c").unwrap()),
        fabric,
        chips,
        phase,
        number_type: None,
        cache_type: None,
        workload: Workload { global_batch_tokens: 16384.0 * f64::from(chips), ..Workload::default() },
        pins: Pins::default(),
        framework: None,
    }
}

fn cluster() -> Fabric {
    Fabric::load("roce-cluster").unwrap()
}

fn assert_adds_up(explanation: &Explanation) {
    let product: f64 = explanation.steps.iter().map(|step| step.factor.median).product();
    assert!((product / explanation.ratio.median - 1.0).abs() < 1e-9, "{product} {}", explanation.ratio.median);
    let rate = |projection: &supernode_bench::projection::Projection| projection.tokens_per_s_per_chip.median;
    let (start, end) = (rate(&explanation.baseline), rate(&explanation.on));
    let sum: f64 = explanation.steps.iter().map(|step| step.tokens_per_s_per_chip).sum();
    assert!((start + sum - end).abs() < 1e-9 * end.max(start), "{start} + {sum} is not {end}");
    for step in &explanation.steps {
        let [least, most] = step.factor_over_orders;
        assert!(least <= step.factor.median * (1.0 + 1e-12) && step.factor.median <= most * (1.0 + 1e-12), "{step:?}");
        assert!(step.factor.low <= step.factor.median && step.factor.median <= step.factor.high, "{step:?}");
        if !step.parts.is_empty() {
            let product: f64 = step.parts.iter().map(|part| part.factor).product();
            assert!((product / step.factor.median - 1.0).abs() < 1e-9, "{step:?}");
            let sum: f64 = step.parts.iter().map(|part| part.tokens_per_s_per_chip).sum();
            assert!((sum - step.tokens_per_s_per_chip).abs() < 1e-9 * end, "{step:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_waterfall_sums_to_the_ratio_whatever_the_fabric(
        model in 0..MODELS.len(),
        phase in 0..PHASES.len(),
        nodes in 2u32..9,
        bandwidth in 5e9..8e11f64,
        latency in 1e-7..1e-5f64,
        fixed in 0.0..1e-4f64,
        own_port in any::<bool>(),
    ) {
        let mut fabric = Fabric::load("cloudmatrix384").unwrap();
        let tier = &mut fabric.tiers[1];
        tier.bandwidth_bytes_per_s.as_mut().unwrap().value = bandwidth;
        tier.latency_s.value = latency;
        tier.all_to_all_fixed_s.value = fixed;
        if own_port {
            tier.port = "own".to_owned();
        }
        let asked = request(MODELS[model], PHASES[phase], fabric, nodes * 8);
        if let Ok(explanation) = explain(&asked, &cluster()) {
            assert_adds_up(&explanation);
        }
    }
}

#[test]
fn both_ends_are_the_projections_and_each_cause_is_there() {
    for phase in PHASES {
        let asked = request("deepseek-v3", phase, Fabric::load("cloudmatrix384").unwrap(), 384);
        let explanation = explain(&asked, &cluster()).unwrap();
        assert_adds_up(&explanation);
        let comparison = compare(&asked, &cluster());
        assert_eq!(Ok(&explanation.on), comparison.on.as_ref());
        assert_eq!(Ok(&explanation.baseline), comparison.baseline.as_ref());
        assert_eq!(Some(explanation.ratio.median), comparison.speedup);
        assert!(explanation.steps.iter().map(|step| step.cause.as_str()).eq(CAUSES));
        assert_eq!(explanation.hybrids.len(), 32);
    }
}

#[test]
fn the_chip_is_a_cause_where_the_chips_differ_and_none_where_they_do_not() {
    let asked = request("llama-3.1-70b", Phase::Training, Fabric::load("cloudmatrix384").unwrap(), 64);
    let older = ChipModel::from_spec(&Chip::load("ascend-910b").unwrap());
    let explanation = explain_with_chips(&asked, &cluster(), &older).unwrap();
    assert_adds_up(&explanation);
    assert!(explanation.steps.iter().map(|step| step.cause.as_str()).eq(["chip"].into_iter().chain(CAUSES)));
    assert_eq!(explanation.baseline.chip, "ascend-910b");
    let chip = &explanation.steps[0];
    assert!(chip.factor.median > 1.5 && chip.what == "ascend-910b becomes ascend-910c", "{chip:?}");
    let same = explain_with_chips(&asked, &cluster(), &asked.chip).unwrap();
    assert_eq!(same, explain(&asked, &cluster()).unwrap());
}

#[test]
fn a_fabric_explains_nothing_against_itself() {
    let explanation = explain(&request("qwen3-235b-a22b", Phase::Training, cluster(), 64), &cluster()).unwrap();
    assert_eq!(explanation.ratio.median, 1.0);
    for step in explanation.steps {
        assert!((step.factor.median - 1.0).abs() < 1e-9 && step.tokens_per_s_per_chip.abs() < 1e-6, "{step:?}");
    }
}

#[test]
fn a_change_of_one_property_is_the_factor_of_that_cause_alone() {
    let mut faster = cluster();
    faster.name = "faster".to_owned();
    faster.tiers[1].bandwidth_bytes_per_s.as_mut().unwrap().value *= 4.0;
    let mut asked = request("deepseek-v3", Phase::Decode, faster, 64);
    // With the plan given, nothing but the bandwidth can change.
    asked.pins = Pins {
        tp: Some(1),
        pp: Some(1),
        // Degrees count dies, two a chip.
        ep: Some(128),
        dp: Some(128),
        cp: Some(1),
        microbatches: Some(1),
        batch_per_chip: Some(16.0),
        ..Pins::default()
    };
    let explanation = explain(&asked, &cluster()).unwrap();
    let factor = |cause: &str| explanation.steps.iter().find(|step| step.cause == cause).unwrap().factor.median;
    assert!(explanation.ratio.median > 1.2, "{}", explanation.ratio.median);
    assert!((factor("bandwidth") / explanation.ratio.median - 1.0).abs() < 1e-9);
    for cause in ["latency", "topology", "overlap"] {
        assert!((factor(cause) - 1.0).abs() < 1e-9, "{cause}");
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("supernode").unwrap();
    command.arg("explain").args(arguments);
    command
}

#[test]
fn the_command_shows_factors_steps_bars_and_caveats_and_the_same_as_json() {
    let arguments = ["--model", "deepseek-v3", "--phase", "decode", "--chips", "64"];
    let output = command(&arguments).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    for expected in
        ["bandwidth", "latency", "topology", "overlap", "tiers and ports", "|####", "Keep in mind", "over orders"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.is_ascii() && !text.contains('\u{1b}'));
    let output = command(&arguments).arg("--json").assert().success().get_output().stdout.clone();
    let json: Value = serde_json::from_slice(&output).unwrap();
    let factors = json["steps"].as_array().unwrap().iter().map(|step| step["factor"]["median"].as_f64().unwrap());
    assert!((factors.product::<f64>() / json["ratio"]["median"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    assert!(!json["on"]["caveats"].as_array().unwrap().is_empty());
}

#[test]
fn without_a_plan_at_one_end_there_is_one_line_and_exit_code_1() {
    let arguments = ["--model", "llama-3.1-405b", "--phase", "decode", "--chips", "2"];
    let error = command(&arguments).assert().code(1).stdout("").get_output().stderr.clone();
    let error = String::from_utf8(error).unwrap();
    assert!(
        error.contains("roce-cluster") && error.contains("GB more") && error.trim_end().lines().count() == 1,
        "{error}"
    );
    command(&["--model", "gpt-9"]).assert().code(2);
    let error = command(&["--baseline-chip", "z80"]).assert().code(2).stdout("").get_output().stderr.clone();
    let error = String::from_utf8(error).unwrap();
    assert!(error.contains("no chip is called `z80`") && error.trim_end().lines().count() == 1, "{error}");
}

#[test]
fn overlap_in_training_is_what_the_same_plan_gains_from_hiding_its_traffic() {
    let asked = request("deepseek-v3", Phase::Training, cluster(), 384);
    let gain = |request: &Request| {
        let with = supernode_bench::projection::project(request).unwrap();
        let workload = Workload { overlap: false, ..request.workload.clone() };
        let without =
            supernode_bench::projection::project(&Request { workload, pins: (&with.plan).into(), ..request.clone() });
        with.tokens_per_s_per_chip.median / without.unwrap().tokens_per_s_per_chip.median
    };
    let on = request("deepseek-v3", Phase::Training, Fabric::load("cloudmatrix384").unwrap(), 384);
    let explanation = explain(&on, &cluster()).unwrap();
    assert!((explanation.overlap_gain[0] - gain(&asked)).abs() < 1e-12, "{:?}", explanation.overlap_gain);
    // A slow network has something to hide.
    assert!(explanation.overlap_gain[0] > 1.02, "{:?}", explanation.overlap_gain);
}

const APART: ServingMode = ServingMode::Disaggregated {
    prefill: WorkerPins { workers: None, tp: None, dp: None, ep: None },
    decode: WorkerPins { workers: None, tp: None, dp: None, ep: None },
};

fn serving(model: &str, chip: &str, fabric: &str, load: Option<ServingLoad>, mode: ServingMode) -> ServingRequest {
    let lengths = Lengths { prompt: 3000.0, output: 400.0, cached: 0.0, spread: 0.0 };
    let mut on = request(model, Phase::Decode, Fabric::load(fabric).unwrap(), 16);
    on.chip = ChipModel::from_spec(&Chip::load(chip).unwrap());
    on.workload.kv_len = lengths.in_decode();
    ServingRequest {
        on,
        load,
        lengths,
        trace: Vec::new(),
        caches_repeats: false,
        limits: ServiceLimits { ttft_s: f64::INFINITY, tpot_s: 0.05 },
        limits_bind: false,
        chunk: 8192.0,
        mode,
    }
}

fn assert_multiplies(told: &ServingExplanation) {
    let rates = told.causes.iter().map(|cause| cause.tokens_per_s_per_chip);
    let times = told.causes.iter().map(|cause| cause.tpot);
    let product: f64 = rates.clone().map(|factor| factor.mean).product();
    assert!((product / told.tokens_per_s_per_chip_ratio - 1.0).abs() < 1e-9, "{product} {told:?}");
    let product: f64 = times.clone().map(|factor| factor.mean).product();
    assert!((product / told.tpot_ratio - 1.0).abs() < 1e-9, "{product} {told:?}");
    for factor in rates.chain(times) {
        assert!(factor.least <= factor.mean * (1.0 + 1e-12) && factor.mean <= factor.most * (1.0 + 1e-12), "{told:?}");
    }
    for cause in told.causes.iter().filter(|cause| !cause.parts.is_empty()) {
        let product: f64 = cause.parts.iter().map(|part| part.tokens_per_s_per_chip).product();
        assert!((product / cause.tokens_per_s_per_chip.mean - 1.0).abs() < 1e-9, "{cause:?}");
        let product: f64 = cause.parts.iter().map(|part| part.tpot).product();
        assert!((product / cause.tpot.mean - 1.0).abs() < 1e-9, "{cause:?}");
    }
}

#[test]
fn the_causes_of_serving_multiply_to_both_ratios_whatever_differs() {
    const ENDS: [(&str, &str, ServingMode); 6] = [
        ("h200", "hgx-400g", ServingMode::Aggregated),
        ("h200", "hgx-400g", APART),
        ("b200", "hgx-800g", ServingMode::Aggregated),
        // Two dies a chip, so that its plans have degrees of their own.
        ("ascend-910c", "cloudmatrix384", ServingMode::Aggregated),
        ("ascend-910c", "roce-cluster", ServingMode::Aggregated),
        ("ascend-910c", "cloudmatrix384", APART),
    ];
    for model in ["llama-3.1-70b", "qwen3-235b-a22b"] {
        for load in [None, Some(ServingLoad::Concurrency(96.0)), Some(ServingLoad::RequestRate(1.5))] {
            let asked = ENDS.map(|(chip, fabric, mode)| serving(model, chip, fabric, load, mode));
            for on in &asked {
                for below in &asked {
                    let told = explain_serving(on, below).unwrap();
                    assert_multiplies(&told);
                    assert!(told.causes.iter().map(|cause| cause.cause).eq(SERVING_CAUSES));
                    if on == below {
                        assert_eq!((told.tokens_per_s_per_chip_ratio, told.tpot_ratio), (1.0, 1.0));
                        assert!(told.causes.iter().all(|cause| (cause.tpot.mean - 1.0).abs() < 1e-12), "{told:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_alone_differs_is_the_one_cause_of_serving() {
    let mut slow =
        serving("qwen3-235b-a22b", "h200", "hgx-400g", Some(ServingLoad::Concurrency(128.0)), ServingMode::Aggregated);
    slow.on.pins = Pins { tp: Some(4), pp: Some(1), ep: Some(16), ..Pins::default() };
    let mut fast = slow.clone();
    for tier in &mut fast.on.fabric.tiers {
        tier.latency_s.value /= 3.0;
        tier.all_to_all_fixed_s.value /= 3.0;
        tier.collective_fixed_s.value /= 3.0;
    }
    let told = explain_serving(&fast, &slow).unwrap();
    assert_multiplies(&told);
    let of = |cause: &str| told.causes.iter().find(|one| one.cause == cause).unwrap();
    assert!(of("fabric").tpot.mean < 0.99, "{told:?}");
    let parts = &of("fabric").parts;
    assert!((parts[1].tpot / of("fabric").tpot.mean - 1.0).abs() < 1e-9 && parts[1].name == "latency", "{parts:?}");
    for cause in ["kernels", "plan", "chips for answers"] {
        assert!((of(cause).tpot.mean - 1.0).abs() < 1e-9, "{cause}: {told:?}");
    }
}

#[test]
fn a_framework_is_a_cause_of_its_own_and_the_only_one_of_a_step_where_it_alone_differs() {
    let load = Some(ServingLoad::Concurrency(16.0));
    let mut bare = serving("llama-3.1-70b", "h200", "hgx-400g", load, ServingMode::Aggregated);
    bare.on.pins.tp = Some(8);
    bare.on.pins.pp = Some(1);
    let mut framed = bare.clone();
    framed.on.chip.set_serving_framework(&Framework::load("vllm").unwrap());
    let told = explain_serving(&framed, &bare).unwrap();
    assert_multiplies(&told);
    for cause in &told.causes {
        let mean = cause.tpot.mean;
        match cause.cause {
            "framework" => {
                let steps = told.on.step_s / told.baseline.step_s;
                assert!((mean / steps - 1.0).abs() < 0.05 && mean > 1.0, "{mean} {steps}");
                assert!(cause.what.contains("no framework becomes vLLM"), "{}", cause.what);
            }
            "batch" | "prompts beside" => {}
            other => assert!((mean - 1.0).abs() < 1e-9, "{other}: {mean}"),
        }
    }
    let back = explain_serving(&bare, &framed).unwrap();
    assert!((back.tpot_ratio * told.tpot_ratio - 1.0).abs() < 1e-9);
}

#[test]
fn a_faster_supernode_serves_faster_by_its_fabric_and_the_command_says_so() {
    let arguments = "--model deepseek-v3 --phase serving --concurrency 4096 --prompt-len 4000 --output-len 1000";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let output = command(&arguments).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    for expected in
        ["bandwidth", "prompts beside", "chips for answers", "time per token", "4096 clients", "Keep in mind"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let table = text.split("What changes").next().unwrap();
    assert!(table.is_ascii() && table.lines().skip(3).all(|line| line.len() <= 100), "{text}");
    let output = command(&arguments).arg("--json").assert().success().get_output().stdout.clone();
    let json: Value = serde_json::from_slice(&output).unwrap();
    let causes = json["causes"].as_array().unwrap();
    let fabric = causes.iter().find(|cause| cause["cause"] == "fabric").unwrap();
    assert!(fabric["tokens_per_s_per_chip"]["mean"].as_f64().unwrap() > 1.1, "{fabric}");
    // It is the deployment that `project` chooses for the same question.
    let mut project = Command::cargo_bin("supernode").unwrap();
    let output = project.arg("project").args(&arguments).arg("--json").assert().success().get_output().stdout.clone();
    let answer: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(json["on"]["point"], answer["closed_form"]);
}

#[test]
fn what_cannot_be_explained_of_serving_is_one_line() {
    let base = ["--model", "llama-3.1-70b", "--chips", "8", "--prompt-len", "2000", "--output-len", "100"];
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.jsonl");
    std::fs::write(&trace, "{\"timestamp\": 1, \"input_length\": 20, \"output_length\": 6, \"hash_ids\": [1]}\n")
        .unwrap();
    let trace = trace.to_str().unwrap();
    for (arguments, code, expected) in [
        (&["--phase", "serving", "--request-rate", "100000"][..], 1, "unstable above"),
        (&["--phase", "serving", "--batch-per-chip", "3"], 2, "the batch follows from the load"),
        (&["--phase", "serving", "--requests", trace], 2, "a trace is served request by request"),
        (&["--phase", "serving", "--baseline-chip", "z80"], 2, "no chip is called `z80`"),
        (&["--phase", "decode", "--baseline-mode", "disaggregated"], 2, "add --phase serving"),
        (&["--phase", "decode", "--baseline-framework", "vllm"], 2, "add --phase serving"),
        (&["--phase", "serving", "--baseline-framework", "megatron"], 2, "serving takes vllm"),
        (&["--phase", "decode", "--concurrency", "3"], 2, "add --phase serving"),
    ] {
        let error =
            command(&[base.as_slice(), arguments].concat()).assert().code(code).stdout("").get_output().stderr.clone();
        let error = String::from_utf8(error).unwrap();
        assert!(error.contains(expected) && error.trim_end().lines().count() == 1, "{arguments:?}: {error}");
    }
}

#[test]
fn the_wait_for_the_slowest_rank_is_a_cause_that_the_others_leave_room_for() {
    for phase in PHASES {
        let mut asked = request("deepseek-v3", phase, Fabric::load("cloudmatrix384").unwrap(), 384);
        let equal = explain_with_slowest_rank(&asked, &cluster(), &asked.chip).unwrap();
        assert_eq!(equal, explain(&asked, &cluster()).unwrap(), "devices that are alike leave the causes as they are");
        asked.chip.spread = Some(DeviceSpread::stated(0.03));
        let explanation = explain_with_slowest_rank(&asked, &cluster(), &asked.chip).unwrap();
        assert_adds_up(&explanation);
        let step = explanation.steps.last().unwrap();
        assert_eq!((step.cause.as_str(), explanation.steps.len()), (SLOWEST_RANK, CAUSES.len() + 1));
        // The slowest of 768 dies is expected 3.2 deviations out.
        assert!(step.what.contains("x 1.09") && step.what.contains("slowest of 768 ranks"), "{}", step.what);
        assert_eq!(explanation.steps[..CAUSES.len()], equal.steps, "the other causes are those of equal devices");
        assert!(explanation.on.tokens_per_s_per_chip.median < equal.on.tokens_per_s_per_chip.median);
        // The faster network leaves more of a step to the devices, so that their spread costs it more.
        assert!(step.factor.median <= 1.0 + 1e-9, "{step:?}");
        // Only one of the two machines has a spread.
        let older = ChipModel::from_spec(&Chip::load("ascend-910b").unwrap());
        assert_adds_up(&explain_with_slowest_rank(&asked, &cluster(), &older).unwrap());
    }
}
