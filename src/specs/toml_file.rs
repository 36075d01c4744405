//! Loading of TOML files of facts: embedded by name, or by path.
//!
//! Chips, fabrics and frameworks are embedded as the JSON that `build.rs` makes of their files, so that a page in a browser,
//! which has no files of its own, needs no parser of TOML.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, Deserializer};

use crate::printable::{is_unprintable, printable};
use crate::specs::error::{SpecError, looks_like_path, read_small_file};

/// The longest message of the parser that is passed on, in characters.
const MAX_MESSAGE: usize = 400;

/// Embedded files of one kind: name and text.
pub(super) type Builtin = [(&'static str, &'static str)];

/// The files of a folder of `specs/` by name, as the JSON that `build.rs` makes of them.
macro_rules! embedded {
    ($folder:literal, [$($name:literal),+ $(,)?]) => {
        &[$(($name, include_str!(concat!(env!("OUT_DIR"), "/", $folder, "/", $name, ".json")))),+]
    };
}
pub(super) use embedded;

/// The file's display name and text, by embedded name or by path.
pub(super) fn find(
    kind: &'static str,
    builtin: &'static Builtin,
    name_or_path: &str,
) -> Result<(String, String), SpecError> {
    if let Some((name, text)) = builtin.iter().find(|(name, _)| name.eq_ignore_ascii_case(name_or_path)) {
        return Ok((format!("specs/{kind}s/{name}.toml"), (*text).to_owned()));
    }
    if looks_like_path(name_or_path) {
        return Ok((name_or_path.to_owned(), read_small_file(Path::new(name_or_path))?));
    }
    Err(unknown(kind, builtin, name_or_path))
}

/// Facts that were found.
pub(super) struct SpecFacts {
    /// What errors call the file.
    pub(super) file: String,
    text: FactText,
}

enum FactText {
    /// JSON of an embedded file.
    Embedded(&'static str),
    /// TOML of a file by path.
    #[cfg(not(target_arch = "wasm32"))]
    File(String),
}

impl SpecFacts {
    /// The facts of an embedded name, else of the file at this path. `embedded` has JSON.
    pub(super) fn find(kind: &'static str, embedded: &'static Builtin, name_or_path: &str) -> Result<Self, SpecError> {
        if let Some((name, json)) = embedded.iter().find(|(name, _)| name.eq_ignore_ascii_case(name_or_path)) {
            return Ok(Self { file: format!("specs/{kind}s/{name}.toml"), text: FactText::Embedded(json) });
        }
        #[cfg(not(target_arch = "wasm32"))]
        if looks_like_path(name_or_path) {
            let text = FactText::File(read_small_file(Path::new(name_or_path))?);
            return Ok(Self { file: name_or_path.to_owned(), text });
        }
        Err(unknown(kind, embedded, name_or_path))
    }

    /// The value that they say.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, SpecError> {
        match &self.text {
            FactText::Embedded(json) => serde_json::from_str(json)
                .map_err(|error| SpecError::Syntax { file: self.file.clone(), reason: error.to_string() }),
            #[cfg(not(target_arch = "wasm32"))]
            FactText::File(text) => parse(&self.file, text),
        }
    }
}

fn unknown(kind: &'static str, builtin: &'static Builtin, name: &str) -> SpecError {
    let known = builtin.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    SpecError::Unknown { kind, name: name.to_owned(), known, format: "TOML" }
}

/// A value from TOML; the parser's reason and line on one line. Text that could steer a terminal is refused, since
/// names, titles and sources are shown.
pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, SpecError> {
    let told = |error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
        let reason = printable(&format!("line {line}: {}", error.message()), MAX_MESSAGE);
        SpecError::Syntax { file: file.to_owned(), reason }
    };
    let table = DeTable::parse(text).map_err(told)?;
    if has_control_characters(table.get_ref()) {
        let reason = "a text has control characters; write it without them".to_owned();
        return Err(SpecError::Syntax { file: file.to_owned(), reason });
    }
    T::deserialize(Deserializer::from(table)).map_err(told)
}

/// Whether any text in it has control characters. The parser bounds the depth.
fn has_control_characters(table: &DeTable<'_>) -> bool {
    table.iter().any(|(key, value)| key.get_ref().contains(is_unprintable) || steers(value.get_ref()))
}

/// The same of a value.
fn steers(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => text.contains(is_unprintable),
        DeValue::Array(values) => values.iter().any(|value| steers(value.get_ref())),
        DeValue::Table(table) => has_control_characters(table),
        _ => false,
    }
}

/// An error about a field's value.
pub(super) fn bad(file: &str, field: &str, value: impl ToString, remedy: &str) -> SpecError {
    let (file, field) = (file.to_owned(), field.to_owned());
    SpecError::Value { file, field, value: value.to_string(), remedy: remedy.to_owned() }
}

/// Whether `given` is the key, with or without its unit.
pub(super) fn is_key(given: &str, key: &str) -> bool {
    given == key
        || key.strip_suffix("_bytes_per_s").or_else(|| key.strip_suffix("_s")).is_some_and(|short| short == given)
}
