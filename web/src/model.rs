//! What a page asks of the model: what can be projected, and projections. It reads no records: a measured chip comes as the
//! JSON that `reader` makes of one.
//!
//! Strings go in and out: JSON, and HTML whose texts are escaped. Every error is one line that says what to do.

mod offer;
mod projected;

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
    projected::project(request_json).map_err(thrown)
}

/// The what-ifs of a report: tokens per second and chip for the question of `project` without a limit of latency, at factors
/// on the fabric's bandwidth. `factors_json` is a list of them, and so is the answer; `null` is where no plan fits.
///
/// # Errors
/// One line: the question cannot be asked so.
#[wasm_bindgen]
pub fn what_if(request_json: &str, factors_json: &str) -> Result<String, JsError> {
    projected::what_if(request_json, factors_json).map_err(thrown)
}

/// Throughput over factors on the fabric's bandwidth, for the question of `project`: JSON with points and a baseline.
///
/// # Errors
/// One line: the question cannot be asked so.
#[wasm_bindgen]
pub fn bandwidth_curve(request_json: &str) -> Result<String, JsError> {
    projected::bandwidth_curve(request_json).map_err(thrown)
}
