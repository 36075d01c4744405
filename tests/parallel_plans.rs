//! Plans whose experts are split as well as shared out, and whose ranks share a KV cache.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use supernode_bench::projection::{
    ChipModel, ExpertExchange, Infeasible, ParallelPlan, Phase, Pins, Projection, Request, Workload, estimate, project,
    search,
};
use supernode_bench::specs::{Chip, Fabric, Model};

/// A request on B200 in nodes of 8.
fn request(model: &str, phase: Phase, chips: u32, pins: Pins) -> Request {
    let chip = ChipModel::from_spec(&Chip::load("b200").unwrap());
    let workload = Workload { tpot_limit_s: 100.0, ..Workload::default() };
    let fabric = Fabric::load("hgx-400g").unwrap();
    Request { pins, workload, ..Request::new(Model::load(model).unwrap(), chip, fabric, chips, phase) }
}

fn answer(model: &str, phase: Phase, chips: u32, pins: Pins) -> Projection {
    project(&request(model, phase, chips, pins)).unwrap()
}

fn refusal(model: &str, phase: Phase, chips: u32, pins: Pins) -> String {
    let message = project(&request(model, phase, chips, pins)).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

/// Eight chips as tensor-parallel attention, with experts shared out to `ep` groups of `moe_tp`.
fn node(ep: u32, moe_tp: u32, batch: f64) -> Pins {
    let (tp, pp, dp, microbatches) = (Some(8), Some(1), Some(1), Some(1));
    Pins {
        tp,
        pp,
        dp,
        microbatches,
        ep: Some(ep),
        moe_tp: Some(moe_tp),
        batch_per_chip: Some(batch),
        ..Pins::default()
    }
}

#[test]
fn degrees_of_1_are_the_answer_without_them() {
    for phase in Phase::ALL {
        for model in ["deepseek-v3", "qwen3-235b-a22b", "llama-3.1-70b"] {
            let pins = Pins { moe_tp: Some(1), dcp: Some(1), ..Pins::default() };
            assert_eq!(answer(model, phase, 256, pins), answer(model, phase, 256, Pins::default()), "{model}");
        }
    }
}

#[test]
fn all_chips_of_a_layer_hold_its_experts_once_however_they_split_them() {
    let of = |ep, moe_tp| {
        let mut asked = request("deepseek-v3", Phase::Decode, 8, node(ep, moe_tp, 8.0));
        asked.chip.set_capacity(400e9);
        project(&asked).unwrap().memory_bytes_per_chip
    };
    let shared = of(8, 1);
    for (ep, moe_tp) in [(4, 2), (2, 4), (1, 8)] {
        let split = of(ep, moe_tp);
        // Of the shared experts a chip holds a slice as well, where it held them whole.
        assert!(split.weights <= shared.weights && split.weights > 0.9 * shared.weights, "{ep} {moe_tp}");
        assert_eq!(split.kv_cache, shared.kv_cache);
    }
    // A group that is not all chips leaves copies.
    assert!(of(2, 2).weights > 1.5 * shared.weights);
}

#[test]
fn split_experts_move_no_tokens_between_groups_of_one_and_add_up() {
    let all_split = answer("qwen3-235b-a22b", Phase::Decode, 8, node(1, 8, 8.0));
    let terms = all_split.terms_s;
    assert_eq!((terms.dispatch.get(), terms.combine.get()), (0.0, 0.0));
    let sum: f64 = terms.named().iter().map(|(_, time)| time.get()).sum();
    assert!((sum / all_split.step_s.get() - 1.0).abs() < 1e-12);
    assert!(all_split.operators.iter().any(|operator| operator.name == "all-reduce of experts"));
    let shared = answer("qwen3-235b-a22b", Phase::Decode, 8, node(8, 1, 8.0));
    assert!(shared.operators.iter().all(|operator| operator.name != "all-reduce of experts"));
    assert!(terms.other_collectives > shared.terms_s.other_collectives);
    // All chips have a slice of each expert, so that none is hotter than the others.
    let flop = |projection: &Projection, name| {
        projection.operators.iter().find(|operator| operator.name == name).unwrap().flop.get()
    };
    let ratio = flop(&all_split, "expert down") / flop(&shared, "expert down");
    assert!((0.4..1.0).contains(&ratio), "{ratio}");
}

#[test]
fn sharing_a_cache_makes_it_smaller_by_as_much_and_costs_an_exchange() {
    let of = |dcp| {
        let pins = Pins { dcp: Some(dcp), ..node(8, 1, 32.0) };
        answer("deepseek-v3", Phase::Decode, 8, pins)
    };
    let whole = of(1);
    for dcp in [2, 4, 8] {
        let shared = of(dcp);
        let ratio = whole.memory_bytes_per_chip.kv_cache / shared.memory_bytes_per_chip.kv_cache;
        assert!((ratio - f64::from(dcp)).abs() < 1e-9);
        assert!(shared.terms_s.other_collectives > whole.terms_s.other_collectives);
    }
    // Of long contexts, most of a step is reading the cache.
    let long = |dcp| {
        let mut asked = request("deepseek-v3", Phase::Decode, 8, Pins { dcp: Some(dcp), ..node(8, 1, 2.0) });
        asked.workload.kv_len = 131_072.0;
        asked.chip.set_capacity(400e9);
        project(&asked).unwrap().step_s.get()
    };
    assert!(long(8) < 0.8 * long(1), "{} {}", long(8), long(1));
}

#[test]
fn degrees_that_do_not_go_together_are_refused_in_one_line() {
    let (decode, moe) = (Phase::Decode, "qwen3-235b-a22b");
    let pins = |moe_tp, ep| Pins { moe_tp: Some(moe_tp), ep, ..Pins::default() };
    assert!(refusal(moe, decode, 8, pins(3, None)).contains("moe-tp 3 does not divide 8 chips"));
    assert!(refusal(moe, decode, 8, pins(0, None)).contains("moe-tp 0 does not divide"));
    assert!(refusal(moe, decode, 8, pins(4, Some(4))).contains("ep * moe-tp must divide tp * cp * dp"));
    assert!(refusal(moe, decode, 12, pins(1536, None)).contains("does not divide 12 chips"));
    assert!(refusal("gpt-oss-120b", decode, 7, pins(7, None)).contains("moe-tp 7 does not divide the 2880 columns"));
    assert!(refusal("llama-3.1-70b", decode, 8, pins(2, None)).contains("has no experts; leave out moe-tp"));
    let gather = Pins { moe_exchange: Some(ExpertExchange::AllGather), ..Pins::default() };
    assert!(refusal("llama-3.1-70b", decode, 8, gather).contains("leave out moe-exchange"));
    let dcp = |dcp, tp| Pins { dcp: Some(dcp), tp, ..Pins::default() };
    // Four KV heads: eight ranks hold each of them twice.
    assert!(refusal(moe, decode, 8, dcp(4, Some(8))).contains("at least 16: 4 ranks to a KV head"));
    assert!(project(&request(moe, decode, 8, dcp(2, Some(8)))).is_ok());
    assert!(refusal(moe, Phase::Prefill, 8, dcp(2, Some(8))).contains("dcp is a degree of decode"));
    assert!(refusal(moe, Phase::Training, 256, dcp(2, Some(8))).contains("leave it out of training"));
}

#[test]
fn the_best_plan_is_the_best_of_all_plans_with_split_experts_and_shared_caches_too() {
    for (model, pins) in [
        ("qwen3-235b-a22b", Pins { moe_tp: Some(4), ..Pins::default() }),
        ("deepseek-v3", Pins { dcp: Some(4), ..Pins::default() }),
    ] {
        let asked = request(model, Phase::Decode, 32, pins);
        let front = search(&asked, &|_| {}).unwrap().front;
        for best in [&front[0], &front[front.len() / 2], &front[front.len() - 1]] {
            let workload = Workload { tpot_limit_s: best.latency_s, ..asked.workload.clone() };
            let (plan, outcome) = estimate(&Request { workload, ..asked.clone() }).unwrap();
            assert!((outcome.throughput(&plan) / best.tokens_per_s_per_chip - 1.0).abs() < 1e-8, "{model} {plan:?}");
        }
    }
}

#[test]
fn gathering_all_tokens_is_the_all_reduce_of_split_experts_with_whole_ones() {
    let gather = |pins| Pins { moe_exchange: Some(ExpertExchange::AllGather), ..pins };
    let model = "qwen3-235b-a22b";
    // Where experts are split over all that hold them, nothing else is left to gather.
    let split = node(1, 8, 8.0);
    let (way, other) = (answer(model, Phase::Decode, 8, gather(split)), answer(model, Phase::Decode, 8, split));
    assert_eq!((way.step_s, way.terms_s), (other.step_s, other.terms_s));
    // Whole experts then move as much, and neither dispatch nor combine.
    let whole = answer(model, Phase::Decode, 8, gather(node(8, 1, 8.0)));
    assert_eq!((whole.terms_s.dispatch.get(), whole.terms_s.combine.get()), (0.0, 0.0));
    let ratio = whole.terms_s.other_collectives / other.terms_s.other_collectives;
    assert!((ratio - 1.0).abs() < 1e-12);
    // Few tokens on a node are faster gathered, many on many nodes are not.
    let sent = answer(model, Phase::Decode, 8, node(8, 1, 8.0));
    assert!(whole.step_s < sent.step_s);
    let many = Pins { tp: Some(1), pp: Some(1), dp: Some(64), ep: Some(64), ..node(64, 1, 128.0) };
    let (gathered, sent) = (answer(model, Phase::Decode, 64, gather(many)), answer(model, Phase::Decode, 64, many));
    assert!(gathered.terms_s.other_collectives > sent.terms_s.dispatch + sent.terms_s.combine);
    assert!(gathered.step_s > sent.step_s);
}

#[test]
fn attention_may_be_data_parallel_beside_split_experts() {
    let pins = Pins { tp: Some(1), dp: Some(8), ..node(1, 8, 8.0) };
    let beside = answer("qwen3-235b-a22b", Phase::Decode, 8, pins);
    let together = answer("qwen3-235b-a22b", Phase::Decode, 8, node(1, 8, 8.0));
    // Replicas of attention reduce nothing among themselves; the experts' sums they do.
    let (less, more) = (beside.terms_s.other_collectives.get(), together.terms_s.other_collectives.get());
    assert!(0.4 * more < less && less < 0.6 * more, "{less} {more}");
    // Each holds the KV heads of its own sequences alone: as much as the heads of all sequences.
    assert!(beside.memory_bytes_per_chip.kv_cache < together.memory_bytes_per_chip.kv_cache);
    assert!(beside.memory_bytes_per_chip.weights > together.memory_bytes_per_chip.weights);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_degrees_are_a_plan_of_all_chips_or_a_refusal_in_one_line(
        chips in prop::sample::select(vec![8u32, 16, 24, 64]),
        tp in prop::option::of(1u32..17), dp in prop::option::of(1u32..17), ep in prop::option::of(1u32..17),
        moe_tp in prop::option::of(1u32..17), dcp in prop::option::of(1u32..9),
        model in prop::sample::select(vec!["deepseek-v3", "qwen3-30b-a3b", "gpt-oss-120b"]),
    ) {
        let pins = Pins { tp, dp, ep, moe_tp, dcp, batch_per_chip: Some(4.0), ..Pins::default() };
        let mut asked = request(model, Phase::Decode, chips, pins);
        asked.chip.set_capacity(4e12);
        match project(&asked) {
            Ok(answer) => {
                let ParallelPlan { tp, pp, ep, moe_tp, dp, cp, dcp, .. } = answer.plan;
                prop_assert_eq!(tp * pp * dp * cp, chips);
                prop_assert_eq!((tp * dp * cp) % (ep * moe_tp), 0);
                prop_assert_eq!((tp % dcp, moe_tp), (0, asked.pins.moe_tp.unwrap_or(1)));
                prop_assert!(answer.step_s.get().is_finite() && answer.step_s.get() > 0.0);
            }
            Err(refused) => {
                prop_assert!(matches!(refused, Infeasible::Split { .. }), "{}", refused);
                prop_assert!(!refused.to_string().contains('\n'));
            }
        }
    }
}
