//! What the page asks of specifications and of the projection.

use serde::{Deserialize, Serialize};
use supernode_bench::projection::{self, ChipModel, Phase, Request};
use supernode_bench::report::ProjectedRow;
use supernode_bench::specs::{Chip, Fabric, Model};
use wasm_bindgen::prelude::*;

use crate::errors::thrown;

#[derive(Serialize)]
struct Catalogue {
    models: Vec<&'static str>,
    chips: Vec<&'static str>,
    fabrics: Vec<&'static str>,
}

/// The names of the built-in models, chips and fabrics, as JSON.
///
/// # Errors
/// Where they cannot be written as JSON.
#[wasm_bindgen]
pub fn catalogue() -> Result<String, JsError> {
    let catalogue =
        Catalogue { models: Model::builtin_names(), chips: Chip::builtin_names(), fabrics: Fabric::builtin_names() };
    serde_json::to_string(&catalogue).map_err(thrown)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    model: String,
    chip: String,
    fabric: String,
    baseline: String,
    phase: Phase,
    chips: u32,
}

/// What a chip would deliver on a fabric, as `supernode project --json` prints it.
///
/// # Errors
/// For a question that cannot be read, and for names that nothing built in has.
#[wasm_bindgen]
pub fn project(question: &str) -> Result<String, JsError> {
    let asked: Question = serde_json::from_str(question).map_err(thrown)?;
    let model = Model::load(&asked.model).map_err(thrown)?;
    let chip = ChipModel::from_spec(&Chip::load(&asked.chip).map_err(thrown)?);
    let fabric = Fabric::load(&asked.fabric).map_err(thrown)?;
    let baseline = Fabric::load(&asked.baseline).map_err(thrown)?;
    let request = Request::new(model, chip, fabric, asked.chips, asked.phase);
    let comparison = projection::compare(&request, &baseline);
    let row = ProjectedRow { request, baseline: baseline.name, comparison };
    serde_json::to_string_pretty(&row.json()).map_err(thrown)
}
