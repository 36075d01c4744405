//! Attention and experts on different chips: laws of its step, of its memory and of its search.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use supernode_bench::projection::fabric::Link;
use supernode_bench::projection::machine::Machine;
use supernode_bench::projection::phases::{ServingStep, apart_step, serving_step};
use supernode_bench::projection::plan::ranks;
use supernode_bench::projection::serving::apart_plans::apart_plans;
use supernode_bench::projection::serving::deployment::Deployment;
use supernode_bench::projection::serving::engine::{Engine, ServingMachines};
use supernode_bench::projection::serving::search::splits;
use supernode_bench::projection::serving::{
    ApartPins, Lengths, ServiceLimits, ServingLoad, ServingMode, ServingRequest, WorkerPins, answer, front,
};
use supernode_bench::projection::{ChipModel, ExpertExchange, ExpertWorker, ParallelPlan, Phase, Pins, Request, Terms};
use supernode_bench::specs::{Chip, Fabric, Model, Scenario};

/// Mixtures with latent and grouped attention, with and without shared experts, and one whose experts work in a width of
/// their own.
const MODELS: [&str; 5] = ["deepseek-v3", "qwen3-235b-a22b", "gpt-oss-120b", "kimi-k2", NARROW];
/// DeepSeek-V3 with experts of a smaller width, as Nemotron 3 has them.
const NARROW: &str = "narrow";
const LENGTHS: Lengths = Lengths { prompt: 2000.0, output: 300.0, cached: 0.0, spread: 0.0 };

fn on(model: &str, chip: &str, fabric: &str, chips: u32) -> Request {
    let chip = ChipModel::from_spec(&Chip::load(chip).unwrap());
    Request::new(Model::load(model).unwrap(), chip, Fabric::load(fabric).unwrap(), chips, Phase::Decode)
}

fn supernode(model: &str) -> Request {
    let name = if model == NARROW { "deepseek-v3" } else { model };
    let mut request = on(name, "ascend-910c", "cloudmatrix384", 384);
    if let (NARROW, Some(moe)) = (model, &mut request.model.moe) {
        moe.latent = Some(2048);
    }
    request
}

fn machine(request: &Request) -> Machine {
    Machine::new(request, Scenario::Nominal).unwrap()
}

/// The same machine with links that take no time.
fn free(machine: &Machine) -> Machine {
    Machine { links: Vec::new(), ..machine.clone() }
}

/// A decode worker: attention workers, replicas and micro-batches of each, ranks of the experts.
#[derive(Debug, Clone, Copy)]
struct Shape {
    workers: u32,
    dp: u32,
    microbatches: u32,
    ep: u32,
}

impl Shape {
    /// On chips of two ranks.
    fn plan(self) -> (ParallelPlan, ExpertWorker) {
        let Self { workers, dp, microbatches, ep } = self;
        let experts = ExpertWorker { chips: ep / 2, ep, moe_tp: 1, attention_workers: workers };
        let dp = dp * workers;
        (ParallelPlan { chips: dp / 2, dp, ep: 1, microbatches, ..experts.plan() }, experts)
    }

    fn step(self, request: &Request, machine: &Machine, sequences: f64) -> (Terms, f64, f64) {
        let (plan, experts) = self.plan();
        let step = ServingStep { sequences, kv_len: 3000.0, prompts: None };
        let found = apart_step(request, &plan, &experts, machine, &step);
        (found.terms, found.attention_busy, found.experts_busy)
    }

    fn time(self, request: &Request, machine: &Machine, sequences: f64) -> f64 {
        self.step(request, machine, sequences).0.total().get()
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1_u32..4, 1_u32..40, 1_u32..5, 0_u32..6).prop_map(|(workers, half, microbatches, power)| Shape {
        workers,
        dp: 2 * half,
        microbatches,
        ep: 2 << power,
    })
}

#[test]
fn without_a_fabric_and_with_one_micro_batch_a_step_is_that_of_attention_and_then_of_experts() {
    for name in MODELS {
        let mut request = supernode(name);
        for speculated in [0, 1] {
            request.workload.mtp_tokens = speculated;
            let machine = free(&machine(&request));
            let shape = Shape { workers: 1, dp: 32, microbatches: 1, ep: 32 };
            let (terms, attention, experts) = shape.step(&request, &machine, 24.0);
            let all = terms.total().get();
            assert!((all * (attention + experts) + machine.step.get() - all).abs() < 1e-12, "{name}");
            // As many ranks that have both take as long.
            let (plan, _) = shape.plan();
            let both = ParallelPlan { ep: 32, ..plan };
            let step = ServingStep { sequences: 24.0, kv_len: 3000.0, prompts: None };
            let together = serving_step(&request, &both, &machine, &step).get();
            assert!((all / together - 1.0).abs() < 1e-9, "{name} {speculated}: {all} for {together}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_step_is_as_long_as_its_slower_side_and_no_longer_than_all_of_it_in_turn(
        shape in shapes(), sequences in 1_u32..200, model in 0..MODELS.len(),
    ) {
        let request = supernode(MODELS[model]);
        let machine = machine(&request);
        let (terms, attention, experts) = shape.step(&request, &machine, f64::from(sequences));
        prop_assert!(attention > 0.0 && experts > 0.0);
        let fixed = machine.step.get() / terms.total().get();
        prop_assert!(attention.max(experts) + fixed <= 1.0 + 1e-9, "{attention} {experts} {fixed}");
        // In turn: each side's work, and the exposed way, for every micro-batch.
        let alone = Shape { workers: 1, microbatches: 1, ..shape }.time(&request, &machine, f64::from(sequences));
        let turns = f64::from(shape.workers * shape.microbatches);
        prop_assert!(terms.total().get() <= turns * alone * (1.0 + 1e-9));
    }

    #[test]
    fn a_step_of_more_sequences_is_never_shorter(shape in shapes(), sequences in 1_u32..200, model in 0..MODELS.len()) {
        let request = supernode(MODELS[model]);
        let machine = machine(&request);
        let time = |sequences: u32| shape.time(&request, &machine, f64::from(sequences));
        prop_assert!(time(sequences + 1) >= time(sequences) * (1.0 - 1e-9));
    }

    #[test]
    fn more_expert_ranks_never_make_a_step_longer(
        shape in shapes(), sequences in 1_u32..200, model in 0..MODELS.len(),
    ) {
        let request = supernode(MODELS[model]);
        let machine = free(&machine(&request));
        let twice = Shape { ep: 2 * shape.ep, ..shape };
        let (few, more) = (shape.time(&request, &machine, f64::from(sequences)), twice.time(&request, &machine, f64::from(sequences)));
        prop_assert!(more <= few * (1.0 + 1e-9), "{more} for {few}");
    }

    #[test]
    fn a_faster_fabric_never_makes_a_step_longer(shape in shapes(), sequences in 1_u32..200, model in 0..MODELS.len()) {
        let request = supernode(MODELS[model]);
        let slow = machine(&request);
        let faster = |link: &Link| Link {
            bandwidth: link.bandwidth * 2.0,
            all_to_all_bandwidth: link.all_to_all_bandwidth * 2.0,
            ..*link
        };
        let fast = Machine { links: slow.links.iter().map(faster).collect(), ..slow.clone() };
        let time = |machine| shape.time(&request, machine, f64::from(sequences));
        prop_assert!(time(&fast) <= time(&slow) * (1.0 + 1e-9));
        prop_assert!(time(&free(&slow)) <= time(&fast) * (1.0 + 1e-9));
    }
}

#[test]
fn both_sides_together_keep_the_weights_of_the_model_once() {
    for name in MODELS {
        let request = supernode(name);
        let machines = ServingMachines::new(&request).unwrap();
        let shape = Shape { workers: 1, dp: 32, microbatches: 1, ep: 32 };
        let (plan, experts) = shape.plan();
        let apart =
            Engine { request: &request, plan: &plan, experts: Some(&experts), machines: &machines, chunk: 8192.0 };
        let both = ParallelPlan { ep: 32, ..plan };
        let together = Engine { plan: &both, experts: None, ..apart };
        let (length, of) = (3000.0, |engine: &Engine<'_>| engine.memory(8.0, 3000.0));
        let (attention, whole, there) = (of(&apart), of(&together), apart.experts_memory().unwrap());
        assert!((attention.weights + there.weights - whole.weights).abs() < 1.0, "{name}");
        assert!((attention.kv_cache - whole.kv_cache).abs() < 1.0 && there.kv_cache == 0.0, "{name}");
        assert!(apart.most(length) >= together.most(length), "{name}: attention has more room without experts");
        // Two ranks cannot hold all experts of a large model, however much room attention has.
        let two = Shape { ep: 2, ..shape }.plan();
        let engine = Engine { plan: &two.0, experts: Some(&two.1), ..apart };
        assert_eq!(engine.most(length) < 1.0, name != "gpt-oss-120b", "{name}");
    }
}

fn asked(on: Request, load: Option<ServingLoad>, mode: ServingMode) -> ServingRequest {
    let limits = ServiceLimits { ttft_s: f64::INFINITY, tpot_s: f64::INFINITY };
    let (trace, caches_repeats, limits_bind, chunk) = (Vec::new(), false, false, 8192.0);
    ServingRequest { on, load, lengths: LENGTHS, trace, caches_repeats, limits, limits_bind, chunk, mode }
}

fn apart(decode: ApartPins) -> ServingMode {
    ServingMode::AttentionFfn { prefill: WorkerPins::default(), decode }
}

#[test]
fn what_is_given_is_used_and_simulated_as_in_closed_form() {
    let decode = ApartPins {
        workers: Some(1),
        attention_workers: Some(3),
        attention_tp: Some(1),
        attention_dp: Some(96),
        ffn_ep: Some(288),
        ffn_tp: Some(1),
        microbatches: Some(2),
    };
    let found =
        answer(&asked(supernode("deepseek-v3"), Some(ServingLoad::Concurrency(4096.0)), apart(decode))).unwrap();
    let Deployment::AttentionFfn { decode_workers, attention, experts, .. } = found.deployment else {
        panic!("{:?}", found.deployment)
    };
    assert_eq!((decode_workers, attention.chips, attention.dp, attention.microbatches), (1, 144, 288, 2));
    assert_eq!((experts.chips, experts.ep, experts.attention_workers), (144, 288, 3));
    let close = |a: f64, b: f64| (a / b - 1.0).abs() < 0.03;
    assert!(close(found.tpot_s.mean, found.closed_form.tpot_s), "{found:?}");
    assert!(close(found.request_rate, found.closed_form.request_rate), "{found:?}");
    let sides = found.apart.unwrap();
    assert!(sides.attention_busy.max(sides.experts_busy) < 1.0);
    assert_eq!(serde_json::to_value(found.deployment).unwrap()["mode"], "attention-ffn");
}

#[test]
fn a_search_of_all_modes_is_beaten_by_none_of_them() {
    let mut request = on("qwen3-235b-a22b", "h200", "hgx-400g", 16);
    request.workload.kv_len = LENGTHS.in_decode();
    let workers = WorkerPins::default();
    let modes = [
        ServingMode::Aggregated,
        ServingMode::Disaggregated { prefill: workers, decode: workers },
        apart(ApartPins::default()),
    ];
    let all = front(&asked(request.clone(), None, ServingMode::Any)).unwrap();
    for mode in modes {
        let one = front(&asked(request.clone(), None, mode)).unwrap();
        assert!(one.len() > 5, "{mode:?}");
        for point in one {
            // A point of a front gains 2 % over the one before.
            let beaten = |other: &&_| {
                let other: &supernode_bench::projection::serving::deployment::ServingPoint = other;
                other.tokens_per_s_per_user >= point.tokens_per_s_per_user
                    && other.tokens_per_s_per_chip * 1.021 >= point.tokens_per_s_per_chip
            };
            assert!(all.iter().any(|other| beaten(&other)), "{point:?}");
        }
    }
}

#[test]
fn a_search_of_all_modes_leaves_out_what_a_model_has_not() {
    let mut request = on("llama-3.1-70b", "h200", "hgx-400g", 16);
    request.workload.kv_len = LENGTHS.in_decode();
    let all = front(&asked(request.clone(), None, ServingMode::Any)).unwrap();
    assert!(all.iter().all(|point| !matches!(point.deployment, Deployment::AttentionFfn { .. })));
    let refused = front(&asked(request, None, apart(ApartPins::default()))).unwrap_err();
    assert!(refused.to_string().contains("llama-3.1-70b has no experts to put on other chips"), "{refused}");
}

#[test]
fn workers_that_no_fabric_joins_are_refused() {
    let workers = WorkerPins::default();
    let disaggregated = ServingMode::Disaggregated { prefill: workers, decode: workers };
    for mode in [disaggregated, apart(ApartPins::default()), ServingMode::Any] {
        let request = on("gpt-oss-120b", "mi325x", "xgmi8", 16);
        let found = front(&asked(request, None, mode));
        let refused = found.map(|front| front.len()).unwrap_err().to_string();
        assert!(refused.contains("xgmi8 joins at most 8 chips, 16 were asked for"), "{refused}");
    }
}

#[test]
fn the_side_without_memory_is_named() {
    // A chip of two dies has no room for half of the experts of a layer, times 58 layers.
    let decode = ApartPins { ffn_ep: Some(2), ffn_tp: Some(1), ..ApartPins::default() };
    let found = front(&asked(supernode("deepseek-v3"), None, apart(decode)));
    let refused = found.map(|front| front.len()).unwrap_err().to_string();
    assert!(refused.contains("not enough memory") && refused.contains("ep 2"), "{refused}");
}

#[test]
fn degrees_that_do_not_go_together_are_refused_in_a_line() {
    let none = ApartPins::default();
    for (pins, expected) in [
        (ApartPins { attention_tp: Some(3), ..none }, "attention-tp 3 does not divide the 128 heads"),
        (ApartPins { ffn_tp: Some(3), ..none }, "ffn-tp 3 does not divide the 2048 columns of an expert"),
        (ApartPins { ffn_ep: Some(600), ..none }, "ffn-ep 600 is more than twice the 256 experts"),
        (ApartPins { attention_workers: Some(0), ..none }, "attention-workers 0 leaves nothing"),
        (ApartPins { microbatches: Some(0), ..none }, "microbatches 0 leaves nothing"),
        (ApartPins { ffn_ep: Some(0), ..none }, "ffn-ep 0 leaves nothing"),
        (ApartPins { ffn_ep: Some(3), ..none }, "ffn-ep * ffn-tp is 3 dies, which do not fill chips of 2"),
        (
            ApartPins { attention_workers: Some(3), attention_tp: Some(1), attention_dp: Some(1), ..none },
            "attention-workers * attention-tp * attention-dp is 3 dies, which do not fill chips of 2",
        ),
        (
            ApartPins { attention_workers: Some(3), attention_dp: Some(160), ffn_ep: Some(288), ..none },
            "must leave a chip of 384 for prompts",
        ),
    ] {
        let refused = apart_plans(&supernode("deepseek-v3"), &pins).unwrap_err().to_string();
        assert!(refused.contains(expected) && refused.lines().count() == 1, "{refused}");
    }
    let sizes = apart_plans(&supernode("deepseek-v3"), &none).unwrap();
    for (plan, experts) in sizes {
        let dies = ranks(&supernode("deepseek-v3")) / 384;
        assert_eq!(plan.tp * plan.dp, plan.chips * dies);
        assert_eq!(experts.ep * experts.moe_tp, experts.chips * dies);
        assert!(plan.chips + experts.chips < 384 && plan.dp % experts.attention_workers == 0);
    }
}

#[test]
fn what_is_left_open_of_experts_and_caches_is_searched_and_what_is_given_is_not() {
    let request = on("deepseek-v3", "h200", "hgx-400g", 16);
    let open = splits(&request).unwrap();
    assert!(open.iter().any(|plan| plan.moe_tp > 1) && open.iter().any(|plan| plan.dcp > 1));
    assert!(open.iter().any(|plan| plan.moe_exchange == ExpertExchange::AllGather));
    assert!(open.iter().all(|plan| plan.ep * plan.moe_tp <= 8 || plan.moe_tp == 1));
    let (moe_tp, moe_exchange, dcp) = (Some(1), Some(ExpertExchange::AllToAll), Some(1));
    let pins = Pins { moe_tp, moe_exchange, dcp, ..Pins::default() };
    let given = splits(&Request { pins, ..request.clone() }).unwrap();
    assert!(given.len() < open.len());
    assert!(given.iter().all(|plan| plan.moe_tp == 1 && plan.dcp == 1));
    assert_eq!(open[..given.len()], given);
    let given = splits(&Request { pins: Pins { moe_tp: Some(4), ..Pins::default() }, ..request }).unwrap();
    assert!(given.iter().all(|plan| plan.moe_tp == 4));
}
