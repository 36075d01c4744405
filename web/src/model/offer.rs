//! What can be asked for, and models that the caller brings.

use serde_json::json;
use supernode_bench::projection::catalogue::MEASURED;
use supernode_bench::projection::model_table::{DEFAULT_BASELINE, DEFAULT_CHIP, DEFAULT_CHIPS, DEFAULT_FABRIC};
use supernode_bench::projection::served_systems::SERVED_SYSTEMS;
use supernode_bench::record::Preset;
use supernode_bench::specs::grid::{CACHE_TYPES, PHASES, SERVING, SERVING_MODES, TYPES};
use supernode_bench::specs::{Chip, Fabric, Framework, Model, TrainingFramework};

/// The longest `config.json` that is read, in bytes: as much as a file may have.
const MOST_CONFIG_BYTES: usize = 4 << 20;

/// Names and defaults, as JSON.
pub(super) fn catalogue() -> String {
    let fabrics: Vec<_> = Fabric::builtin_names().into_iter().filter_map(|name| Fabric::load(name).ok()).collect();
    let fabrics = fabrics.iter().map(|one| json!({"name": one.name, "title": one.title, "max_chips": one.max_chips()}));
    let chips: Vec<_> = Chip::builtin_names().into_iter().filter_map(|name| Chip::load(name).ok()).collect();
    let chips = chips.iter().map(|one| json!({"name": one.name, "title": one.title}));
    json!({
        "models": Model::builtin_names(),
        "chips": chips.collect::<Vec<_>>(),
        "fabrics": fabrics.collect::<Vec<_>>(),
        "phases": PHASES.iter().chain(&[SERVING]).collect::<Vec<_>>(),
        "serving": SERVING,
        "modes": SERVING_MODES,
        "systems": SERVED_SYSTEMS,
        "frameworks": {"serving": Framework::builtin_names(), "training": TrainingFramework::builtin_names()},
        "types": TYPES,
        "cache_types": CACHE_TYPES,
        "measured": MEASURED,
        "presets": presets(),
        "defaults": {
            "model": "deepseek-v3",
            "chip": DEFAULT_CHIP,
            "fabric": DEFAULT_FABRIC,
            "baseline": DEFAULT_BASELINE,
            "chips": DEFAULT_CHIPS,
            "phase": "decode",
        },
    })
    .to_string()
}

/// The presets that fit a browser, each with the most minutes and bytes of memory that it takes.
fn presets() -> Vec<serde_json::Value> {
    let bounded = |preset: &Preset| Some((preset.most_minutes()?, preset.most_memory()?));
    let with_bounds = Preset::ALL.iter().filter_map(|preset| bounded(preset).map(|bounds| (preset, bounds)));
    with_bounds.map(|(preset, (minutes, bytes))| json!({"name": preset, "minutes": minutes, "bytes": bytes})).collect()
}

/// A model from its `config.json`.
///
/// # Errors
/// One line.
pub(super) fn parse_model(name: &str, text: &str) -> Result<Model, String> {
    if text.len() > MOST_CONFIG_BYTES {
        return Err(format!("{name}: larger than 4 MiB, which no config.json is; give the file itself"));
    }
    let name = name.trim().trim_end_matches(".json");
    let name = if name.is_empty() { "config" } else { name };
    Model::parse(name, "config.json", text).map_err(|error| error.to_string())
}

/// Its name and parameters, as JSON.
///
/// # Errors
/// One line.
pub(super) fn describe_model(text: &str, name: &str) -> Result<String, String> {
    let model = parse_model(name, text)?;
    let billions = |count: f64| format!("{:.1} billion", count / 1e9);
    let active =
        model.moe.is_some().then(|| format!(", of which {} meet a token", billions(model.active_parameters())));
    let words =
        format!("{} layers, {} parameters{}", model.layers, billions(model.parameters()), active.unwrap_or_default());
    Ok(json!({
        "name": model.name,
        "parameters": model.parameters(),
        "active_parameters": model.active_parameters(),
        "words": words,
    })
    .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_names_everything_that_is_embedded() {
        let all: serde_json::Value = serde_json::from_str(&catalogue()).unwrap();
        for (key, count) in [("models", Model::builtin_names().len()), ("chips", Chip::builtin_names().len())] {
            assert_eq!(all[key].as_array().unwrap().len(), count, "{key}");
        }
        assert_eq!(all["presets"][0], json!({"name": "phone", "minutes": 2, "bytes": 1_000_000_000}));
        assert!(all["fabrics"].to_string().contains("cloudmatrix384"));
    }

    #[test]
    fn a_model_that_cannot_be_read_is_one_line() {
        let huge = " ".repeat(MOST_CONFIG_BYTES + 1);
        for text in ["", "{}", "[1]", "{\"model_type\": \"<script>\"}", huge.as_str()] {
            let line = describe_model(text, "mine").unwrap_err();
            assert!(!line.contains('\n') && !line.is_empty(), "{line}");
        }
        let text = include_str!("../../../specs/models/deepseek-v3.json");
        assert!(describe_model(text, "mine.json").unwrap().contains("37.6 billion meet a token"));
    }
}
