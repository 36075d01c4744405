//! What the projection itself costs: one plan evaluated, and the whole table.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark may panic, and its macros make undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use supernode_bench::projection::machine::Machine;
use supernode_bench::projection::uncertainty::Scenario;
use supernode_bench::projection::{ChipModel, Phase, Pins, Request, Workload, compare, phases, plan};
use supernode_bench::specs::{Chip, Fabric, Model};

fn request(model: &str, phase: Phase) -> Request {
    Request {
        model: Model::load(model).unwrap(),
        chip: ChipModel::from_spec(&Chip::load("ascend-910c").unwrap()),
        fabric: Fabric::load("cloudmatrix384").unwrap(),
        chips: 384,
        phase,
        number_type: None,
        workload: Workload::default(),
        pins: Pins::default(),
    }
}

fn one_plan(criterion: &mut Criterion) {
    let request = request("deepseek-v3", Phase::Decode);
    let machine = Machine::new(&request, Scenario::Nominal).unwrap();
    let (plan, _) = plan::best(&request, &machine).unwrap();
    criterion.bench_function("one plan", |bench| {
        bench.iter(|| phases::evaluate(black_box(&request), black_box(&plan), black_box(&machine)));
    });
}

fn whole_table(criterion: &mut Criterion) {
    let baseline = Fabric::load("roce-cluster").unwrap();
    let mut requests = Vec::new();
    for model in ["llama-3.1-405b", "qwen3-235b-a22b", "deepseek-v3"] {
        for phase in [Phase::Prefill, Phase::Decode, Phase::Training] {
            requests.push(request(model, phase));
        }
    }
    let mut group = criterion.benchmark_group("whole table");
    group.sample_size(10);
    group.bench_function("three models, three phases, two fabrics", |bench| {
        bench.iter(|| requests.iter().map(|request| compare(black_box(request), &baseline)).collect::<Vec<_>>());
    });
    group.finish();
}

criterion_group!(benches, one_plan, whole_table);
criterion_main!(benches);
