//! Projections of one step, answered as the command `project` answers.

use serde_json::{Value, json};
use supernode_bench::projection::{Infeasible, Prices, Request, estimate, surface};
use supernode_bench::report::{ProjectedRow, projected_fragment};
use supernode_bench::specs::Fabric;

use super::answered::{Answer, text};
use super::asked::{Question, Read, read, with_factors};

/// Points of the curve over bandwidth, from a tenth to ten times.
const CURVE_POINTS: i32 = 21;

/// Answers a question.
///
/// # Errors
/// One line.
pub(super) fn project(request: Request, baseline: &Fabric, prices: Prices) -> Result<String, String> {
    let row = ProjectedRow::ask(request, baseline).priced(prices);
    text(&Answer {
        answer: row.json(),
        title: row.title(),
        infeasible: row.comparison.on.as_ref().err().map(ToString::to_string),
        words: row.words(),
        sections: row.pair().map(|pair| projected_fragment(&[pair])),
    })
}

/// A question about one step.
///
/// # Errors
/// One line: it is about serving.
fn read_step(text: &str) -> Result<(Request, Fabric), String> {
    match read(text)? {
        Read { question: Question::Step(request), baseline, .. } => Ok((request, baseline)),
        Read { .. } => Err("the question is about serving, which has no curve over the bandwidth".to_owned()),
    }
}

/// Tokens per second and chip over factors on the bandwidth, each point at its own best plan.
///
/// # Errors
/// One line.
pub(super) fn bandwidth_curve(request: &str) -> Result<String, String> {
    let (request, baseline) = read_step(request)?;
    let points: Vec<Value> = (0..CURVE_POINTS)
        .map(|i| {
            let factor = 10f64.powf(f64::from(2 * i) / f64::from(CURVE_POINTS - 1) - 1.0);
            let fabric = surface::scaled(&request.fabric, &request.chip.scale_up, factor, 1.0);
            json!({"factor": factor, "rate": rate(&request.on(fabric))})
        })
        .collect();
    let below = rate(&request.on(baseline.clone()));
    Ok(json!({"points": points, "baseline": baseline.name, "baseline_rate": below}).to_string())
}

/// Tokens per second and chip at factors on the bandwidth, whatever the latency.
///
/// # Errors
/// One line.
pub(super) fn what_if(request: &str, factors: &str) -> Result<String, String> {
    let request = read_step(request)?.0.without_limit();
    let factors: Vec<f64> = serde_json::from_str(factors).map_err(|error| format!("the factors: {error}"))?;
    let rate = |factor: f64| {
        let fabric = with_factors(request.fabric.clone(), &request.chip, factor, 1.0)?;
        Ok(estimate(&request.on(fabric)).ok().map(|(plan, outcome)| outcome.throughput(&plan)))
    };
    let rates = factors.into_iter().map(rate).collect::<Result<Vec<Option<f64>>, String>>()?;
    serde_json::to_string(&rates).map_err(|error| error.to_string())
}

/// The central throughput under the limits that the projection itself keeps; `None` where no plan fits.
fn rate(request: &Request) -> Option<f64> {
    let found = match estimate(request) {
        Err(Infeasible::Latency { .. }) if !request.workload.tpot_limit_binds => estimate(&request.without_limit()),
        other => other,
    };
    found.ok().map(|(plan, outcome)| outcome.throughput(&plan))
}
