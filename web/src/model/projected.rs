//! Projections, asked in the keys of a grid and answered as the command `project` answers.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use supernode_bench::projection::catalogue::{MEASURED, Subject};
use supernode_bench::projection::model_table::{DEFAULT_BASELINE, DEFAULT_CHIP, DEFAULT_CHIPS, DEFAULT_FABRIC};
use supernode_bench::projection::{ChipModel, ExpertLoad, Infeasible, Phase, Request, estimate, surface};
use supernode_bench::report::{Fragment, ProjectedJson, ProjectedRow, ProjectedWords, projected_fragment};
use supernode_bench::specs::{Chip, Fabric, Model, Point, TrainingFramework};

use super::offer::parse_model;

/// Points of the curve over bandwidth, from a tenth to ten times.
const CURVE_POINTS: i32 = 21;
/// The largest factor on bandwidth or latency, and its inverse the smallest.
const MOST_FACTOR: f64 = 1e3;

/// A text with the name of the file that it came from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    text: String,
}

/// A question of the page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The keys of a grid, one value each.
    question: Value,
    /// A model of the caller's own; the question then names none.
    config: Option<Named>,
    /// The chip `measured`, as `chip` of the module `reader` gives it.
    chip: Option<ChipModel>,
    /// How tokens spread over the experts, as the flag of the command has it.
    expert_load: Option<String>,
    /// Factor on the bandwidth of each tier of the fabric.
    #[serde(default = "one")]
    bandwidth_factor: f64,
    /// Factor on latencies and fixed costs of each tier.
    #[serde(default = "one")]
    latency_factor: f64,
}

fn one() -> f64 {
    1.0
}

/// An answer: the JSON of the command, its words, and its sections.
#[derive(Serialize)]
struct Answer<'a> {
    answer: ProjectedJson<'a>,
    title: String,
    /// Why there is no plan, where there is none.
    infeasible: Option<String>,
    words: Option<ProjectedWords>,
    sections: Option<Fragment>,
}

/// Answers a question.
///
/// # Errors
/// One line.
pub(super) fn project(request: &str) -> Result<String, String> {
    let (request, baseline) = read(request)?;
    let row = ProjectedRow::ask(request, &baseline);
    let sections = row.pair().map(|pair| projected_fragment(&[pair]));
    let answer = Answer {
        answer: row.json(),
        title: row.title(),
        infeasible: row.comparison.on.as_ref().err().map(ToString::to_string),
        words: row.words(),
        sections,
    };
    serde_json::to_string(&answer).map_err(|error| error.to_string())
}

/// Tokens per second and chip over factors on the bandwidth, each point at its own best plan.
///
/// # Errors
/// One line.
pub(super) fn bandwidth_curve(request: &str) -> Result<String, String> {
    let (request, baseline) = read(request)?;
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
    let request = read(request)?.0.without_limit();
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

/// The question and the fabric that it is compared with.
fn read(text: &str) -> Result<(Request, Fabric), String> {
    let asked: Asked = serde_json::from_str(text).map_err(|error| format!("the question: {error}"))?;
    let point = Point::from_json("the question", asked.question).map_err(|error| error.to_string())?;
    let missing = |key: &str| format!("the question: `{key}` is missing; give one");
    let model = match (&asked.config, point.text("model")) {
        (Some(config), _) => parse_model(&config.name, &config.text)?,
        (None, Some(name)) => Model::load(name).map_err(|error| error.to_string())?,
        (None, None) => return Err(missing("model")),
    };
    let phase = point.text("phase").ok_or_else(|| missing("phase"))?;
    let phase = Phase::named(phase).ok_or_else(|| {
        format!("the question: {phase} is no phase of the page; the command `supernode project` answers it")
    })?;
    let chip = chip(point.text("chip").unwrap_or(DEFAULT_CHIP), asked.chip)?;
    let load = |key: &str, default| Fabric::load(point.text(key).unwrap_or(default)).map_err(|error| error.to_string());
    let (fabric, baseline) = (load("fabric", DEFAULT_FABRIC)?, load("baseline", DEFAULT_BASELINE)?);
    let fabric = with_factors(fabric, &chip, asked.bandwidth_factor, asked.latency_factor)?;
    let expert_load = match asked.expert_load.as_deref() {
        None => ExpertLoad::Replicated,
        Some(text) => ExpertLoad::named(text, 0)
            .map_err(|reason| format!("expert load {text}: {reason}"))?
            .ok_or_else(|| format!("expert load {text}: give `replicated`, `uniform` or `power:ALPHA`"))?,
    };
    let framework = TrainingFramework::chosen(point.text("framework")).map_err(|error| error.to_string())?;
    let subject = Subject { model, chip, fabric, expert_load, framework };
    Ok((subject.request(phase, &point, DEFAULT_CHIPS), baseline))
}

/// The fabric with factors; at 1 it stays as its file has it.
fn with_factors(fabric: Fabric, chip: &ChipModel, bandwidth: f64, latency: f64) -> Result<Fabric, String> {
    for (name, factor) in [("bandwidth", bandwidth), ("latency", latency)] {
        if !(1.0 / MOST_FACTOR..=MOST_FACTOR).contains(&factor) {
            return Err(format!("factor on the {name}: give a number from {} to {MOST_FACTOR}", 1.0 / MOST_FACTOR));
        }
    }
    let as_it_is = bandwidth == 1.0 && latency == 1.0;
    Ok(if as_it_is { fabric } else { surface::scaled(&fabric, &chip.scale_up, bandwidth, latency) })
}

/// The chip of this name, or the measured one.
fn chip(name: &str, measured: Option<ChipModel>) -> Result<ChipModel, String> {
    if name == MEASURED {
        return measured
            .ok_or_else(|| "chip `measured` needs a record: measure this device, or open a record".to_owned());
    }
    Ok(ChipModel::from_spec(&Chip::load(name).map_err(|error| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(question: Value) -> Value {
        serde_json::from_str(&project(&json!({"question": question}).to_string()).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_has_the_json_of_the_command_its_words_and_its_sections() {
        let answer = asked(json!({"model": "deepseek-v3", "phase": "decode", "chips": 128, "plan": {"tp": 1}}));
        assert_eq!(answer["answer"]["plan"]["chips"], 128);
        assert!(answer["answer"]["baseline"]["tokens_per_s_per_chip"]["median"].is_number());
        assert!(answer["sections"]["html"].as_str().unwrap().contains("id=\"projections\""));
        assert_eq!(answer["words"]["time_of"], "time per output token");
    }

    #[test]
    fn no_plan_is_an_answer_and_a_bad_question_is_one_line() {
        let answer = asked(json!({"model": "llama-3.1-405b", "phase": "decode", "chips": 2}));
        assert!(answer["infeasible"].as_str().unwrap().contains("not enough memory"));
        let decode = |more: Value| {
            let mut question = json!({"model": "deepseek-v3", "phase": "decode"});
            question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "question": question })
        };
        let bad = [
            decode(json!({"chips": 0})),
            decode(json!({"chips": [1, 2]})),
            decode(json!({"chip": "measured"})),
            decode(json!({"plan": {"tp": null}})),
            decode(json!({"workload": {"kv_len": -1}})),
            decode(json!({"coffee": 1})),
            decode(json!({"phase": "serving"})),
            json!({"question": {"model": "deepseek-v3"}}),
            json!({"question": 7}),
            json!({"question": {"model": "deepseek-v3", "phase": "decode"}, "bandwidth_factor": 0.0}),
            json!({"question": {"model": "deepseek-v3", "phase": "decode"}, "expert_load": "often"}),
            json!({"question": {"phase": "decode"}, "config": {"name": "x", "text": "{}"}}),
        ];
        for request in bad {
            let line = project(&request.to_string()).unwrap_err();
            assert!(!line.contains('\n') && line.len() > 10, "{request}: {line}");
        }
    }

    #[test]
    fn a_measured_chip_and_a_model_of_ones_own_are_projected_and_more_bandwidth_is_not_slower() {
        let record = include_bytes!("../../../results/google-swiftshader-device-subzero-vulkan.json");
        let record = supernode_bench::record::parse(record, "r.json".as_ref()).unwrap();
        let config = include_str!("../../../specs/models/qwen3-30b-a3b.json");
        let mut request = json!({
            "question": {"phase": "decode", "chip": "measured", "chips": 8},
            "chip": ChipModel::from_record(&record).unwrap(),
            "config": {"name": "mine.json", "text": config},
        });
        let rate = |request: &Value| {
            let answer: Value = serde_json::from_str(&project(&request.to_string()).unwrap()).unwrap();
            assert_eq!(answer["answer"]["model"], "mine");
            answer["answer"]["tokens_per_s_per_chip"]["median"].as_f64().unwrap()
        };
        let before = rate(&request);
        request["bandwidth_factor"] = json!(10.0);
        assert!(rate(&request) >= before);
        request["bandwidth_factor"] = json!(1.0);
        let curve: Value = serde_json::from_str(&bandwidth_curve(&request.to_string()).unwrap()).unwrap();
        // The middle is the fabric as it is, where the curve goes through the answer.
        let middle = curve["points"][10]["rate"].as_f64().unwrap();
        assert!((middle / before - 1.0).abs() < 1e-9, "{middle} {before}");
    }
}
