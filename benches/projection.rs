//! What the projection itself costs: one plan evaluated, and the whole table.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark may panic, and its macros make undocumented items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use supernode_bench::projection::ExpertLoad;
use supernode_bench::projection::fabric::Mode;
use supernode_bench::projection::fabric::exchange::{Direction, Exchange, Payload, Site, exchange, flows};
use supernode_bench::projection::fabric::flows::{Fairness, run};
use supernode_bench::projection::fabric::placement::{Experts, Placement};
use supernode_bench::projection::fabric::{AllToAll, Group, all_to_all, rank_links};
use supernode_bench::projection::machine::Machine;
use supernode_bench::projection::on_network;
use supernode_bench::projection::serving::deployment::aggregated;
use supernode_bench::projection::serving::engine::{Engine, ServingMachines};
use supernode_bench::projection::serving::search::splits;
use supernode_bench::projection::serving::simulate::{Arrivals, EngineKind, Fleet, Run, SimulatedRequest, simulate};
use supernode_bench::projection::serving::step_table::StepTable;
use supernode_bench::projection::serving::{Lengths, ServiceLimits, ServingLoad, ServingMode, ServingRequest, front};
use supernode_bench::projection::{ChipModel, Phase, Request, compare, phases, plan};
use supernode_bench::specs::{Chip, Fabric, Model, Scenario, Sourced};
use supernode_bench::units::Bytes;

fn request(model: &str, phase: Phase) -> Request {
    Request::new(
        Model::load(model).unwrap(),
        ChipModel::from_spec(&Chip::load("ascend-910c").unwrap()),
        Fabric::load("cloudmatrix384").unwrap(),
        384,
        phase,
    )
}

fn one_plan(criterion: &mut Criterion) {
    let request = request("deepseek-v3", Phase::Decode);
    let machine = Machine::new(&request, Scenario::Nominal).unwrap();
    let (plan, _) = plan::best(&request, &machine).unwrap();
    criterion.bench_function("one plan", |bench| {
        bench.iter(|| phases::evaluate(black_box(&request), black_box(&plan), black_box(&machine)));
    });
}

/// The same plan with dispatch and combine over all ports and links, whole and with a plane down.
fn one_plan_by_flows(criterion: &mut Criterion) {
    let request = request("deepseek-v3", Phase::Decode);
    let machine = Machine::new(&request, Scenario::Nominal).unwrap();
    let (plan, _) = plan::best(&request, &machine).unwrap();
    let broken = ["plane=3".parse().unwrap()];
    let mut group = criterion.benchmark_group("one plan by flows");
    group.sample_size(20);
    group.bench_function("whole fabric", |bench| {
        bench.iter(|| on_network::evaluate(black_box(&request), black_box(&plan), &[]).unwrap());
    });
    group.bench_function("a plane down", |bench| {
        bench.iter(|| on_network::evaluate(black_box(&request), black_box(&plan), &broken).unwrap());
    });
    group.finish();
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

fn dispatch(ranks: usize, exponent: f64) -> Exchange {
    let uniform = exponent == 0.0;
    Exchange {
        direction: Direction::Dispatch,
        mode: Mode::LowLatency,
        tokens: 128.0,
        hidden: 7168.0,
        payload: Payload::Int8,
        experts: Experts { experts: ranks, redundant: 0, top_k: 8, ranks, placement: Placement::InOrder },
        load: if uniform { ExpertLoad::Uniform } else { ExpertLoad::PowerLaw { exponent, seed: 1 } },
        most_groups: None,
    }
}

/// Flows that all differ, from 1k to 100k, built and run to their end: 320 ranks have 102,080 (102,400 with those that stay).
fn skewed_flows(criterion: &mut Criterion) {
    let fabric = Fabric::load("cloudmatrix384").unwrap();
    let own = Sourced::assumed(392e9, 392e9, 392e9, "a benchmark");
    let site = Site { fabric: &fabric, scale_up: &own, scenario: Scenario::Nominal };
    let mut group = criterion.benchmark_group("skewed all-to-all, flow by flow");
    group.sample_size(10);
    for ranks in [32, 100, 320] {
        let asked = dispatch(ranks, 0.8);
        group.bench_function(format!("{} flows", ranks * (ranks - 1)), |bench| {
            bench.iter(|| {
                let (network, list) = flows(&site, black_box(&asked), &[]).unwrap();
                run(&network, &list, Fairness::PerCopy).unwrap().makespan_s
            });
        });
    }
    group.finish();
}

/// The same question by port loads and by the closed form, and the largest fabric.
fn port_loads(criterion: &mut Criterion) {
    let own = Sourced::assumed(392e9, 392e9, 392e9, "a benchmark");
    let mut group = criterion.benchmark_group("dispatch by port loads");
    group.sample_size(10);
    let bus = Fabric::load("cloudmatrix384").unwrap();
    let site = Site { fabric: &bus, scale_up: &own, scenario: Scenario::Nominal };
    let skewed = dispatch(320, 0.8);
    group.bench_function("320 ranks, skewed", |bench| bench.iter(|| exchange(&site, black_box(&skewed), &[]).unwrap()));
    let faults = ["plane=3".parse().unwrap()];
    group.bench_function("320 ranks, skewed, a plane down", |bench| {
        bench.iter(|| exchange(&site, black_box(&skewed), &faults).unwrap());
    });
    let large = Fabric::load("supercluster").unwrap();
    let site = Site { fabric: &large, scale_up: &own, scenario: Scenario::Nominal };
    // Ranks are dies there: two for each of 65,536 chips.
    let uniform = dispatch(2 * 65_536, 0.0);
    group.bench_function("65,536 chips, uniform", |bench| {
        bench.iter(|| exchange(&site, black_box(&uniform), &[]).unwrap())
    });
    group.finish();
    let links = rank_links(&bus, &own, Scenario::Nominal);
    let traffic =
        AllToAll { tokens: 128.0, copies: 8.0, bytes: Bytes::new(7680.0), mode: Mode::LowLatency, most_groups: None };
    criterion.bench_function("dispatch in closed form", |bench| {
        bench.iter(|| all_to_all(black_box(&links), Group { size: 320.0, stride: 1.0 }, &traffic));
    });
}

fn full_search(criterion: &mut Criterion) {
    let request = request("deepseek-v3", Phase::Decode);
    let machine = Machine::new(&request, Scenario::Nominal).unwrap();
    let mut group = criterion.benchmark_group("full search");
    group.sample_size(10);
    group.bench_function("DeepSeek-V3 decode, 384 chips", |bench| {
        bench.iter(|| plan::search(black_box(&request), &machine, &|_| {}));
    });
    group.finish();
}

/// Serving: a plan in closed form, the search of all deployments, and a million requests through the simulation.
fn serving_under_load(criterion: &mut Criterion) {
    let lengths = Lengths { prompt: 4000.0, output: 512.0, cached: 0.0, spread: 0.0 };
    let on = request("deepseek-v3", Phase::Decode);
    let machines = ServingMachines::new(&on).unwrap();
    let plans = splits(&on).unwrap();
    let plan = plans.iter().find(|plan| plan.tp == 1 && plan.pp == 1 && plan.ep == 256).unwrap();
    let engine = Engine { request: &on, plan, experts: None, machines: &machines, chunk: 8192.0 };
    let clients = ServingLoad::Concurrency(16.0 * engine.count());
    let rate = ServingLoad::RequestRate(0.7 * engine.capacity(&lengths));
    let mut group = criterion.benchmark_group("serving");
    group.sample_size(10);
    group.bench_function("one plan, clients", |bench| bench.iter(|| aggregated(black_box(&engine), clients, &lengths)));
    group.bench_function("one plan, a rate", |bench| bench.iter(|| aggregated(black_box(&engine), rate, &lengths)));
    let open = |mode| ServingRequest {
        on: on.clone(),
        load: None,
        lengths,
        trace: Vec::new(),
        caches_repeats: false,
        limits: ServiceLimits { ttft_s: f64::INFINITY, tpot_s: 0.1 },
        limits_bind: false,
        chunk: 8192.0,
        mode,
    };
    let every_mode = open(ServingMode::Any);
    group.bench_function("search of all modes, 384 chips", |bench| {
        bench.iter(|| front(black_box(&every_mode)).unwrap().len());
    });
    let steps = StepTable::new(&engine, &lengths, 256);
    let kind = EngineKind { count: 8, steps: &steps, chunk: 8192.0, most: 256, cache_tokens: 2e6 };
    let fleet = Fleet { prompts: kind, decode: None, transfer_s_per_token: 0.0, tokens_per_step: 1.0 };
    let trace: Vec<SimulatedRequest> = (0..1_000_000)
        .map(|at| SimulatedRequest { arrival_s: f64::from(at) * 0.05, cached: 0.0, computed: 4000.0, output: 512.0 })
        .collect();
    let like = trace[0];
    group.bench_function("a million requests of a trace", |bench| {
        let run = Run { arrivals: Arrivals::Trace(&trace), like, spread: 0.0, warm_up: 0, counted: 0 };
        bench.iter(|| simulate(&fleet, &run, &mut ()).ttft_s.len());
    });
    group.finish();
}

/// Measured operators from the file that `SUPERNODE_OPERATORS` names: loaded, one plan of decode, one plan under a load.
#[cfg(feature = "parquet")]
fn measured_operators(criterion: &mut Criterion) {
    use supernode_bench::operators::OperatorFile;
    use supernode_bench::projection::ParallelPlan;
    use supernode_bench::projection::operator_source::{OperatorChoice, tables};
    let Some(path) = std::env::var_os("SUPERNODE_OPERATORS") else { return };
    let chip = ChipModel::from_spec(&Chip::load("h200").unwrap());
    let load = || {
        let file = OperatorFile::open(path.as_ref()).unwrap();
        tables(&file, &chip, "h200", OperatorChoice { system: None, framework: "" }).unwrap()
    };
    let mut group = criterion.benchmark_group("operators");
    group.sample_size(10);
    group.bench_function("loaded for one chip", |bench| bench.iter(load));
    let mut measured = chip.clone();
    measured.set_operators(load(), None);
    let on = Request::new(
        Model::load("deepseek-v3").unwrap(),
        measured,
        Fabric::load("hgx-400g").unwrap(),
        32,
        Phase::Decode,
    );
    let machine = Machine::new(&on, Scenario::Nominal).unwrap();
    let plans = splits(&on).unwrap();
    let plan = plans.iter().find(|plan| plan.tp == 1 && plan.pp == 1 && plan.ep == 32).unwrap();
    let held = ParallelPlan { batch_per_chip: 32.0, ..*plan };
    group.bench_function("one plan", |bench| bench.iter(|| phases::evaluate(black_box(&on), &held, &machine)));
    let machines = ServingMachines::new(&on).unwrap();
    let engine = Engine { request: &on, plan, experts: None, machines: &machines, chunk: 8192.0 };
    let lengths = Lengths { prompt: 4000.0, output: 512.0, cached: 0.0, spread: 0.0 };
    let clients = ServingLoad::Concurrency(16.0 * engine.count());
    group.bench_function("one serving plan", |bench| bench.iter(|| aggregated(black_box(&engine), clients, &lengths)));
    group.finish();
}

#[cfg(not(feature = "parquet"))]
fn measured_operators(_: &mut Criterion) {}

criterion_group!(
    benches,
    one_plan,
    one_plan_by_flows,
    whole_table,
    skewed_flows,
    port_loads,
    full_search,
    serving_under_load,
    measured_operators
);
criterion_main!(benches);
