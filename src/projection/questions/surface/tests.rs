use super::*;
use crate::projection::chip::ChipModel;
use crate::specs::{Chip, Model};

fn request(model: &str) -> Request {
    Request::new(
        Model::load(model).unwrap(),
        ChipModel::from_spec(&Chip::load("ascend-910c").unwrap()),
        Fabric::load("cloudmatrix384").unwrap(),
        384,
        Phase::Decode,
    )
}

fn baseline() -> Fabric {
    Fabric::load("roce-cluster").unwrap()
}

/// The axes at one number of chips and one batch.
fn thin(request: &Request, plan: &ParallelPlan, chips: u32, batch: f64) -> Axes {
    Axes { chips: vec![chips], batches_per_chip: vec![batch], ..Axes::of(request, plan) }
}

#[test]
fn between_its_points_a_surface_is_within_two_percent_of_the_model() {
    for (model, chips, batch) in [
        ("deepseek-v3", 384, 96.0),
        ("deepseek-v3", 96, 16.0),
        ("deepseek-v3", 48, 192.0),
        ("qwen3-235b-a22b", 192, 64.0),
        ("llama-3.1-405b", 384, 32.0),
    ] {
        let request = request(model);
        let plan = anchor(&request).unwrap();
        let surface = surface(&request, &plan, &baseline(), thin(&request, &plan, chips, batch));
        for i in 0..60 {
            // Even over the logarithms, and on no point of the grid.
            let (u, v) = (0.5 + i as f64 * 0.754_877_67, 0.5 + i as f64 * 0.569_840_29);
            let bandwidth = BANDWIDTH_REACH.powf(2.0 * u.fract() - 1.0);
            let latency = LATENCY_REACH.powf(2.0 * v.fract() - 1.0);
            let exact = exact(&request, &plan, (chips, batch, bandwidth, latency));
            let between = surface.at(0, 0, bandwidth, latency);
            let (Some(exact), Some(between)) = (exact, between) else {
                assert_eq!(exact.is_some(), between.is_some(), "{model} {chips} {batch}");
                continue;
            };
            let off = (between / exact - 1.0).abs();
            assert!(off < 0.02, "{model} x{bandwidth:.3} x{latency:.3}: {between:.1} for {exact:.1}, off {off:.4}");
        }
    }
}

#[test]
fn at_its_points_a_surface_is_the_model_and_at_one_it_is_the_fabric_as_it_is() {
    let request = request("deepseek-v3");
    let plan = anchor(&request).unwrap();
    let surface = surface(&request, &plan, &baseline(), thin(&request, &plan, 384, plan.batch_per_chip));
    let (_, outcome) = estimate(&Request {
        pins: Pins {
            tp: Some(plan.tp),
            pp: Some(plan.pp),
            batch_per_chip: Some(plan.batch_per_chip),
            ..Pins::default()
        },
        ..request.clone()
    })
    .unwrap();
    let here = surface.at(0, 0, 1.0, 1.0).unwrap();
    assert!((here / outcome.throughput(&plan) - 1.0).abs() < 1e-9, "{here}");
    let below = surface.baseline_tokens_per_s_per_chip[0].unwrap();
    assert!(below < here, "{below} on the baseline, {here} on the bus");
}

#[test]
fn more_bandwidth_and_less_latency_are_never_slower() {
    let request = request("deepseek-v3");
    let plan = anchor(&request).unwrap();
    let surface = surface(&request, &plan, &baseline(), thin(&request, &plan, 384, 64.0));
    let values: Vec<f64> = surface.tokens_per_s_per_chip.iter().map(|value| value.unwrap()).collect();
    for (i, pair) in values.windows(2).enumerate() {
        if (i + 1) % LATENCIES != 0 {
            assert!(pair[1] <= pair[0] * (1.0 + 1e-9), "latency, point {i}");
        }
    }
    for (slow, fast) in values.iter().zip(&values[LATENCIES..]) {
        assert!(*fast >= slow * (1.0 - 1e-9), "bandwidth");
    }
}

#[test]
fn where_no_plan_fits_there_is_no_value_around_it() {
    let request = request("deepseek-v3");
    let plan = anchor(&request).unwrap();
    // A trillion parameters' worth of weights do not fit eight chips with so many sequences.
    let surface = surface(&request, &plan, &baseline(), thin(&request, &plan, 8, 1e6));
    assert!(surface.tokens_per_s_per_chip.iter().all(Option::is_none));
    assert_eq!(surface.at(0, 0, 1.0, 1.0), None);
}
