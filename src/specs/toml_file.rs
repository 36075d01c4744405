//! Loading of TOML files of facts: embedded by name, or by path.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::{SpecError, looks_like_path, read_small_file};

/// Embedded files of one kind: name and text.
pub(super) type Builtin = [(&'static str, &'static str)];

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
    let known = builtin.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    Err(SpecError::Unknown { kind, name: name_or_path.to_owned(), known, format: "TOML" })
}

/// A value from TOML; the parser's reason and line on one line.
pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, SpecError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
        let reason = format!("line {line}: {}", error.message().replace('\n', " "));
        SpecError::Syntax { file: file.to_owned(), reason }
    })
}

/// An error about a field's value.
pub(super) fn bad(file: &str, field: &str, value: impl ToString, remedy: &str) -> SpecError {
    let (file, field) = (file.to_owned(), field.to_owned());
    SpecError::Value { file, field, value: value.to_string(), remedy: remedy.to_owned() }
}
