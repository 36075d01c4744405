//! A fabric's file with some values replaced: what `supernode fabric fit --nccl` writes.

use toml::{Table, Value as Toml};

use super::super::error::SpecError;
use super::super::sourced::Sourced;
use super::super::toml_file::parse;
use super::Fabric;

impl Fabric {
    /// The file of an embedded fabric or a path as TOML, under another name and title, with these values of its tiers in
    /// place of its own; what it was fitted on before is left out. What is written can be loaded.
    ///
    /// # Errors
    /// [`SpecError`], one line: the file cannot be read, or the values cannot be.
    pub fn rewritten(
        name_or_path: &str,
        name: &str,
        title: &str,
        values: &[(&str, &str, Sourced)],
    ) -> Result<String, SpecError> {
        let (file, text) = Self::text(name_or_path)?;
        let syntax = |reason: String| SpecError::Syntax { file: file.clone(), reason };
        let mut root = parse::<Table>(&file, &text)?;
        root.remove("fit");
        root.insert("name".to_owned(), Toml::String(name.to_owned()));
        root.insert("title".to_owned(), Toml::String(title.to_owned()));
        let tiers = root.get_mut("tiers").and_then(Toml::as_array_mut);
        for tier in tiers.into_iter().flatten().filter_map(Toml::as_table_mut) {
            let own = tier.get("name").and_then(Toml::as_str).map(str::to_owned).unwrap_or_default();
            for (_, key, value) in values.iter().filter(|(tier, ..)| *tier == own) {
                let value = Toml::try_from(value).map_err(|error| syntax(error.to_string()))?;
                tier.insert((*key).to_owned(), value);
            }
        }
        let text = toml::to_string(&root).map_err(|error| syntax(error.to_string()))?;
        Self::parse(&file, &text)?;
        Ok(text)
    }
}
