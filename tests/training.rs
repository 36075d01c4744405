//! Training under a framework: what must hold whatever its figures are.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use supernode_bench::projection::{ChipModel, NumberType, Phase, Pins, Request, Workload, project};
use supernode_bench::specs::{Chip, Fabric, Model, TrainingFramework};

#[test]
fn a_framework_never_trains_faster_and_its_terms_add_up() {
    for model in ["llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v3"] {
        for number_type in [NumberType::Bf16, NumberType::Fp8] {
            let chip = ChipModel::from_spec(&Chip::load("h200").unwrap());
            let fabric = Fabric::load("hgx-400g").unwrap();
            let bare = Request::new(Model::load(model).unwrap(), chip, fabric, 256, Phase::Training);
            let bare = Request { number_type: Some(number_type), ..bare };
            let best = project(&bare).unwrap();
            for name in TrainingFramework::builtin_names() {
                let framework = Some(TrainingFramework::load(name).unwrap());
                let slower = project(&Request { framework, ..bare.clone() }).unwrap();
                assert!(slower.throughput() < best.throughput(), "{model} {name}");
                let sum: f64 = slower.terms_s.named().iter().map(|(_, time)| time.get()).sum();
                assert!((sum / slower.step_s.get() - 1.0).abs() < 1e-9, "{model} {name}");
                assert!(slower.caveats.iter().any(|caveat| caveat.to_string().starts_with("Megatron-Core")));
            }
        }
    }
}

#[test]
fn larger_micro_batches_wait_less_for_the_host_and_shared_weights_need_less_memory() {
    let chip = ChipModel::from_spec(&Chip::load("b200").unwrap());
    let fabric = Fabric::load("hgx-400g").unwrap();
    let mut asked = Request::new(Model::load("qwen3-30b-a3b").unwrap(), chip, fabric, 8, Phase::Training);
    asked.framework = Some(TrainingFramework::load("megatron").unwrap());
    asked.pins = Pins { tp: Some(1), pp: Some(1), ep: Some(8), ..Pins::default() };
    // Casts make three launches of each.
    asked.number_type = Some(NumberType::Fp8);
    let at = |sequences: f64| {
        let workload = Workload { microbatch_sequences: sequences, ..asked.workload.clone() };
        project(&Request { workload, ..asked.clone() }).unwrap()
    };
    let (one, four) = (at(1.0), at(4.0));
    assert!(four.throughput() > 1.2 * one.throughput(), "{} {}", one.throughput(), four.throughput());
    assert!(one.terms_s.launch.get() > 3.0 * four.terms_s.launch.get());
    let model = Model::load("llama-3.1-70b").unwrap();
    let whole = Request { model, pins: Pins { tp: Some(8), pp: Some(1), ..Pins::default() }, chips: 64, ..asked };
    let workload = Workload { sharded_weights: true, ..whole.workload.clone() };
    let (whole, shared) = (project(&whole).unwrap(), project(&Request { workload, ..whole.clone() }).unwrap());
    assert!(shared.memory_bytes_per_chip.weights < 0.5 * whole.memory_bytes_per_chip.weights);
    assert!(shared.memory_bytes_per_chip.optimizer < whole.memory_bytes_per_chip.optimizer);
}
