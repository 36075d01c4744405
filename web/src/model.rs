//! What a page asks of the model: what can be projected, and projections. It reads no records: a measured chip comes as the
//! JSON that `reader` makes of one.
//!
//! Strings go in and out: JSON, and HTML whose texts are escaped. Every error is one line that says what to do.

mod answered;
mod asked;
mod offer;
mod projected;
mod served;

use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::errors::thrown;

/// What can be asked for: JSON with the names of models, chips, fabrics, phases and types, and the defaults.
#[wasm_bindgen]
pub fn catalogue() -> String {
    offer::catalogue()
}

/// A model of the caller's own from the text of its `config.json`: JSON with its name and its parameters in words.
///
/// # Errors
/// One line: the text is no model that can be projected.
#[wasm_bindgen]
pub fn describe_model(config_json: &str, name: &str) -> Result<String, JsError> {
    offer::describe_model(config_json, name).map_err(thrown)
}

/// Answers a question as `supernode project --json` does. The JSON has that answer, its words, and its sections as a report
/// has them.
///
/// # Errors
/// One line: the question cannot be asked so.
#[wasm_bindgen]
pub fn project(request_json: &str) -> Result<String, JsError> {
    answer(request_json).map_err(thrown)
}

/// The front of tokens per second of a chip against those of a user, for a question of `project` about serving, whatever its
/// load: JSON with a list of points.
///
/// # Errors
/// One line: the question cannot be asked so, or no deployment answers it.
#[wasm_bindgen]
pub fn serving_front(request_json: &str) -> Result<String, JsError> {
    served::front(request_json).map_err(thrown)
}

/// The best deployment of a question of `project` about serving, in closed form: JSON with its figures in words. It takes
/// less time than the whole answer, for a table of several systems.
///
/// # Errors
/// One line: the question cannot be asked so.
#[wasm_bindgen]
pub fn service(request_json: &str) -> Result<String, JsError> {
    served::service(request_json).map_err(thrown)
}

/// The what-ifs of a report: tokens per second and chip for a question of `project` about one step, without a limit of
/// latency, at factors on the fabric's bandwidth. `factors_json` is a list of them, and so is the answer; `null` is where no
/// plan fits.
///
/// # Errors
/// One line: the question cannot be asked so.
#[wasm_bindgen]
pub fn what_if(request_json: &str, factors_json: &str) -> Result<String, JsError> {
    projected::what_if(request_json, factors_json).map_err(thrown)
}

/// Throughput over factors on the fabric's bandwidth, for a question of `project` about one step: JSON with points and a
/// baseline.
///
/// # Errors
/// One line: the question cannot be asked so.
#[wasm_bindgen]
pub fn bandwidth_curve(request_json: &str) -> Result<String, JsError> {
    projected::bandwidth_curve(request_json).map_err(thrown)
}

/// The answer to a question.
///
/// # Errors
/// One line.
fn answer(request: &str) -> Result<String, String> {
    let read = asked::read(request)?;
    match read.question {
        asked::Question::Step(request) => projected::project(request, &read.baseline, read.prices),
        asked::Question::Serving(asked) => served::serve(asked, read.prices),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use supernode_bench::projection::ChipModel;

    use super::*;

    fn asked(question: Value) -> Value {
        serde_json::from_str(&answer(&json!({"question": question}).to_string()).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_has_the_json_of_the_command_its_words_and_its_sections() {
        let answer = asked(json!({"model": "deepseek-v3", "phase": "decode", "chips": 128, "plan": {"tp": 1}}));
        assert_eq!(answer["answer"]["plan"]["chips"], 128);
        assert!(answer["answer"]["baseline"]["tokens_per_s_per_chip"]["median"].is_number());
        assert!(answer["sections"]["html"].as_str().unwrap().contains("id=\"projections\""));
        let figures = answer["words"]["figures"].as_array().unwrap();
        let names: Vec<&Value> = figures.iter().map(|figure| &figure["name"]).collect();
        assert!(names.contains(&&json!("time per output token")) && names.contains(&&json!("tokens per joule")));
    }

    #[test]
    fn no_plan_is_an_answer_and_a_bad_question_is_one_line() {
        let told = asked(json!({"model": "llama-3.1-405b", "phase": "decode", "chips": 2}));
        assert!(told["infeasible"].as_str().unwrap().contains("not enough memory"));
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
            decode(json!({"phase": "serving", "workload": {"output_len": 100}, "framework": "megatron"})),
            decode(json!({"phase": "training", "framework": "vllm"})),
            decode(json!({"phase": "serving", "workload": {"output_len": 100, "concurrency": 0}})),
            json!({"question": {"model": "deepseek-v3", "phase": "decode"}, "price_per_kwh": -0.1}),
            json!({"question": {"model": "deepseek-v3", "phase": "decode"}, "bandwidth_factor": 0.0}),
            json!({"question": {"phase": "decode"}, "config": {"name": "x", "text": "{}"}}),
        ];
        for request in bad {
            let line = answer(&request.to_string()).unwrap_err();
            assert!(!line.contains('\n') && line.len() > 10, "{request}: {line}");
        }
    }

    #[test]
    fn a_measured_chip_and_a_model_of_ones_own_are_projected_and_more_bandwidth_is_not_slower() {
        let record = include_bytes!("../../results/google-swiftshader-device-subzero-vulkan.json");
        let record = supernode_bench::record::parse(record, "r.json".as_ref()).unwrap();
        let config = include_str!("../../specs/models/qwen3-30b-a3b.json");
        let mut request = json!({
            "question": {"phase": "decode", "chip": "measured", "chips": 8},
            "chip": ChipModel::from_record(&record).unwrap(),
            "config": {"name": "mine.json", "text": config},
        });
        let rate = |request: &Value| {
            let answer: Value = serde_json::from_str(&answer(&request.to_string()).unwrap()).unwrap();
            assert_eq!(answer["answer"]["model"], "mine");
            answer["answer"]["tokens_per_s_per_chip"]["median"].as_f64().unwrap()
        };
        let before = rate(&request);
        request["bandwidth_factor"] = json!(10.0);
        assert!(rate(&request) >= before);
        request["bandwidth_factor"] = json!(1.0);
        let curve: Value = serde_json::from_str(&projected::bandwidth_curve(&request.to_string()).unwrap()).unwrap();
        // The middle is the fabric as it is, where the curve goes through the answer.
        let middle = curve["points"][10]["rate"].as_f64().unwrap();
        assert!((middle / before - 1.0).abs() < 1e-9, "{middle} {before}");
    }

    fn serving(more: Value) -> Value {
        let mut question = json!({
            "model": "qwen3-235b-a22b", "phase": "serving", "chip": "h200", "fabric": "hgx-400g", "chips": 16,
            "workload": {"prompt_len": 4000, "output_len": 512, "concurrency": 256},
        });
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"question": question, "price_per_chip_hour": 3, "price_per_kwh": 0.1})
    }

    #[test]
    fn serving_has_times_goodput_and_costs_and_its_front_beats_no_limit() {
        let request = serving(json!({"framework": "vllm"})).to_string();
        let told: Value = serde_json::from_str(&answer(&request).unwrap()).unwrap();
        let answer = &told["answer"];
        assert!(answer["ttft_s"]["p99"].as_f64() >= answer["ttft_s"]["p50"].as_f64());
        assert!(answer["ttft_s_interval"]["low"].as_f64() < answer["ttft_s_interval"]["high"].as_f64());
        assert!(answer["cost_per_million_tokens"]["median"].as_f64().unwrap() > 0.0);
        let keys: Vec<&str> =
            told["words"]["figures"].as_array().unwrap().iter().filter_map(|one| one["key"].as_str()).collect();
        let expected = ["rate", "user", "ttft", "queueing", "tpot", "goodput", "requests", "joule", "cost"];
        assert_eq!(keys, expected);
        assert!(told["sections"]["html"].as_str().unwrap().contains("band of the mean"));
        let front: Value = serde_json::from_str(&served::front(&request).unwrap()).unwrap();
        assert!(front.as_array().unwrap().len() > 5, "{front}");
    }

    #[test]
    fn a_load_beyond_capacity_is_an_answer() {
        let workload = json!({"prompt_len": 4000, "output_len": 512, "request_rate": 1e6});
        let told: Value =
            serde_json::from_str(&answer(&serving(json!({"workload": workload})).to_string()).unwrap()).unwrap();
        assert!(told["infeasible"].as_str().unwrap().contains("unstable above"), "{told}");
    }
}
