//! Models: architectures as Hugging Face's `config.json` describes them, by name or by path.

mod architecture;
mod checkpoint;
mod config;
mod experts;
mod fields;
mod grouped;
mod harmless;
mod hybrid;
mod latent;
mod parameters;
mod quantisation;
#[cfg(test)]
mod tests;

use std::path::Path;

use config::Config;

use crate::printable::printable;
use crate::specs::error::{SpecError, looks_like_path, read_small_file};

pub use architecture::{
    Attention, AttentionLayer, EntryChoice, Ffn, Indexer, Layer, LayerKind, LinearAttention, Mixer, Model, Moe, Reach,
    Recurrence, Scoring,
};
pub use checkpoint::{Checkpoint, CheckpointType};
pub use parameters::MixerParameters;

const BUILTIN: [(&str, &str); 17] = [
    ("deepseek-v3", include_str!("../../../specs/models/deepseek-v3.json")),
    ("kimi-k2", include_str!("../../../specs/models/kimi-k2.json")),
    ("llama-3.1-8b", include_str!("../../../specs/models/llama-3.1-8b.json")),
    ("llama-3.1-70b", include_str!("../../../specs/models/llama-3.1-70b.json")),
    ("llama-3.1-405b", include_str!("../../../specs/models/llama-3.1-405b.json")),
    ("mixtral-8x7b", include_str!("../../../specs/models/mixtral-8x7b.json")),
    ("qwen2.5-72b", include_str!("../../../specs/models/qwen2.5-72b.json")),
    ("qwen3-30b-a3b", include_str!("../../../specs/models/qwen3-30b-a3b.json")),
    ("qwen3-235b-a22b", include_str!("../../../specs/models/qwen3-235b-a22b.json")),
    ("qwen3-next-80b-a3b", include_str!("../../../specs/models/qwen3-next-80b-a3b.json")),
    ("gpt-oss-120b", include_str!("../../../specs/models/gpt-oss-120b.json")),
    ("qwen3-32b", include_str!("../../../specs/models/qwen3-32b.json")),
    ("qwen3.5-397b-a17b", include_str!("../../../specs/models/qwen3.5-397b-a17b.json")),
    ("deepseek-v3.2", include_str!("../../../specs/models/deepseek-v3.2.json")),
    ("glm-5", include_str!("../../../specs/models/glm-5.json")),
    ("kimi-k2.5", include_str!("../../../specs/models/kimi-k2.5.json")),
    ("minimax-m2.5", include_str!("../../../specs/models/minimax-m2.5.json")),
];

impl Model {
    /// The names of the embedded models.
    pub fn builtin_names() -> Vec<&'static str> {
        BUILTIN.iter().map(|(name, _)| *name).collect()
    }

    /// An embedded model by name, else the `config.json` at this path (or in this folder).
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn load(name_or_path: &str) -> Result<Self, SpecError> {
        if let Some((name, text)) = BUILTIN.iter().find(|(name, _)| name.eq_ignore_ascii_case(name_or_path)) {
            return Self::parse(name, name, text);
        }
        if !looks_like_path(name_or_path) {
            return Err(SpecError::Unknown {
                kind: "model",
                name: name_or_path.to_owned(),
                known: Self::builtin_names().join(", "),
                format: "config.json",
            });
        }
        let given = Path::new(name_or_path);
        let path = if given.is_dir() { given.join("config.json") } else { given.to_owned() };
        let text = read_small_file(&path)?;
        let beside = path.with_file_name("hf_quant_config.json");
        let quantisation = if beside.is_file() { Some(read_small_file(&beside)?) } else { None };
        Self::parse_with(&display_name(&path), &path.display().to_string(), &text, quantisation.as_deref())
    }

    /// A model from the text of a `config.json`; `file` is named in errors.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, SpecError> {
        // The name may be that of a stranger's file.
        Self::parse_with(name, file, text, None)
    }

    /// The same with the text of the `hf_quant_config.json` that lies beside it, which says how weights are quantised
    /// where the first file does not.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn parse_with(name: &str, file: &str, text: &str, quantisation: Option<&str>) -> Result<Self, SpecError> {
        Config::parse(file, text, quantisation)?.model(&printable(name, 100))
    }
}

/// What to call a model that came from a path: the folder of a `config.json`, else the file's stem.
fn display_name(path: &Path) -> String {
    let stem = path.file_stem().map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned());
    match path.parent().and_then(Path::file_name) {
        Some(folder) if stem == "config" => folder.to_string_lossy().into_owned(),
        _ => stem,
    }
}
