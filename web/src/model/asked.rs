//! Questions of the page, in the keys of a grid: read strictly, and made into those that the model answers.

use serde::Deserialize;
use serde_json::Value;
use supernode_bench::projection::catalogue::{MEASURED, Subject};
use supernode_bench::projection::model_table::{DEFAULT_BASELINE, DEFAULT_CHIP, DEFAULT_CHIPS, DEFAULT_FABRIC};
use supernode_bench::projection::serving::ServingRequest;
use supernode_bench::projection::serving_point::{is_serving, serving_request};
use supernode_bench::projection::{ChipModel, ExpertLoad, Phase, Prices, Request, surface};
use supernode_bench::specs::{Chip, Fabric, Framework, Model, Point, TrainingFramework};

use super::offer::parse_model;

/// The largest factor on bandwidth or latency, and its inverse the smallest.
const MOST_FACTOR: f64 = 1e3;
/// The highest price.
const MOST_PRICE: f64 = 1e12;

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
    /// Factor on the bandwidth of each tier of the fabric.
    #[serde(default = "one")]
    bandwidth_factor: f64,
    /// Factor on latencies and fixed costs of each tier.
    #[serde(default = "one")]
    latency_factor: f64,
    /// Price of a chip with its share of the system for an hour, in any currency.
    price_per_chip_hour: Option<f64>,
    /// Price of a kilowatt-hour, in the same.
    price_per_kwh: Option<f64>,
}

/// A question as the model takes it.
pub(super) enum Question {
    /// About one step.
    Step(Request),
    /// About serving.
    Serving(ServingRequest),
}

/// A question with what stands beside it.
pub(super) struct Read {
    /// The question.
    pub(super) question: Question,
    /// The fabric that a step is compared with.
    pub(super) baseline: Fabric,
    /// What the user pays.
    pub(super) prices: Prices,
}

fn one() -> f64 {
    1.0
}

/// Reads a question.
///
/// # Errors
/// One line.
pub(super) fn read(text: &str) -> Result<Read, String> {
    let asked: Asked = serde_json::from_str(text).map_err(|error| format!("the question: {error}"))?;
    let prices = Prices { chip_hour: price(asked.price_per_chip_hour)?, kwh: price(asked.price_per_kwh)? };
    let point = Point::from_json("the question", asked.question).map_err(|error| error.to_string())?;
    let missing = |key: &str| format!("the question: `{key}` is missing; give one");
    let model = match (&asked.config, point.text("model")) {
        (Some(config), _) => parse_model(&config.name, &config.text)?,
        (None, Some(name)) => Model::load(name).map_err(|error| error.to_string())?,
        (None, None) => return Err(missing("model")),
    };
    let phase = point.text("phase").ok_or_else(|| missing("phase"))?;
    // Serving has steps of decode.
    let phase = Phase::named(phase).unwrap_or(Phase::Decode);
    let mut chip = chip(point.text("chip").unwrap_or(DEFAULT_CHIP), asked.chip)?;
    let load = |key: &str, default| Fabric::load(point.text(key).unwrap_or(default)).map_err(|error| error.to_string());
    let (fabric, baseline) = (load("fabric", DEFAULT_FABRIC)?, load("baseline", DEFAULT_BASELINE)?);
    let fabric = with_factors(fabric, &chip, asked.bandwidth_factor, asked.latency_factor)?;
    let framework = framework(phase, point.text("framework"), &mut chip)?;
    let subject = Subject { model, chip, fabric, expert_load: ExpertLoad::Replicated, framework };
    let request = subject.request(phase, &point, DEFAULT_CHIPS);
    let question =
        if is_serving(&point) { Question::Serving(serving_request(request, &point)?) } else { Question::Step(request) };
    Ok(Read { question, baseline, prices })
}

/// What trains, or gives the chip what serves on it.
fn framework(phase: Phase, name: Option<&str>, chip: &mut ChipModel) -> Result<Option<TrainingFramework>, String> {
    if phase == Phase::Training {
        return TrainingFramework::chosen(name).map_err(|error| error.to_string());
    }
    if let Some(name) = name.filter(|name| *name != "none") {
        chip.set_serving_framework(&Framework::load(name).map_err(|error| error.to_string())?);
    }
    Ok(None)
}

/// A price that can be.
fn price(given: Option<f64>) -> Result<Option<f64>, String> {
    match given {
        Some(price) if !(price > 0.0 && price <= MOST_PRICE) => Err("a price: give a number above 0".to_owned()),
        _ => Ok(given),
    }
}

/// The fabric with factors; at 1 it stays as its file has it.
///
/// # Errors
/// One line: a factor that is none.
pub(super) fn with_factors(fabric: Fabric, chip: &ChipModel, bandwidth: f64, latency: f64) -> Result<Fabric, String> {
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
