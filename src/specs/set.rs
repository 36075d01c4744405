//! Chips and fabrics with single keys of their files set to other values.

use toml::{Table, Value as Toml};

use super::error::SpecError;
use super::grid::Value;
use super::toml_file::{bad, parse};
use super::{Chip, Fabric};

/// Keys to set: the path inside the file with dots, and the value. An entry of a list is named by its `name` or index.
pub type Settings = [(String, Value)];

impl Chip {
    /// An embedded chip or file, with `settings` in place of its own values. A set number is exact and assumed.
    ///
    /// # Errors
    /// [`SpecError`], one line: as [`Chip::load`], or a key that the file does not have.
    pub fn load_with(name_or_path: &str, settings: &Settings) -> Result<Self, SpecError> {
        let (file, text) = Self::text(name_or_path)?;
        Self::parse(&file, &with(&file, &text, settings)?)
    }
}

impl Fabric {
    /// An embedded fabric or file, with `settings` in place of its own values. A set number is exact and assumed.
    ///
    /// # Errors
    /// [`SpecError`], one line: as [`Fabric::load`], or a key that the file does not have.
    pub fn load_with(name_or_path: &str, settings: &Settings) -> Result<Self, SpecError> {
        let (file, text) = Self::text(name_or_path)?;
        Self::parse(&file, &with(&file, &text, settings)?)
    }
}

/// The file's text with the settings made.
fn with(file: &str, text: &str, settings: &Settings) -> Result<String, SpecError> {
    let mut root = Toml::Table(parse::<Table>(file, text)?);
    for (path, value) in settings {
        set(file, &mut root, path, value)?;
    }
    toml::to_string(&root).map_err(|error| SpecError::Syntax { file: file.to_owned(), reason: error.to_string() })
}

fn set(file: &str, root: &mut Toml, path: &str, value: &Value) -> Result<(), SpecError> {
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let mut place = root;
    for step in parents.into_iter().flat_map(|parents| parents.split('.')) {
        let known = names(place).join(", ");
        place = child(place, step).ok_or_else(|| no_key(file, path, step, &known))?;
    }
    let known = names(place).join(", ");
    let Toml::Table(table) = place else { return Err(no_key(file, path, last, &known)) };
    let new = match (table.get(last), value) {
        // A value with its source stays one.
        (Some(Toml::Table(old)), number) if old.contains_key("value") => sourced(number),
        (Some(Toml::Table(_) | Toml::Array(_)), _) => {
            return Err(bad(file, path, "a group of keys", "name one key inside it"));
        }
        (None, number @ (Value::Integer(_) | Value::Number(_))) => sourced(number),
        (None, Value::Text(_)) => return Err(no_key(file, path, last, &known)),
        (Some(_), value) => plain(value),
    };
    table.insert(last.to_owned(), new);
    Ok(())
}

fn child<'a>(place: &'a mut Toml, step: &str) -> Option<&'a mut Toml> {
    match place {
        Toml::Table(table) => table.get_mut(step),
        Toml::Array(list) => {
            let named = |entry: &Toml| entry.get("name").and_then(Toml::as_str) == Some(step);
            let index = list.iter().position(named).or_else(|| step.parse().ok())?;
            list.get_mut(index)
        }
        _ => None,
    }
}

fn names(place: &Toml) -> Vec<String> {
    match place {
        Toml::Table(table) => table.keys().cloned().collect(),
        Toml::Array(list) => list.iter().filter_map(|entry| entry.get("name")?.as_str()).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn no_key(file: &str, path: &str, step: &str, known: &str) -> SpecError {
    let remedy = if known.is_empty() { "there is nothing below it".to_owned() } else { format!("it has {known}") };
    let field = path.to_owned();
    SpecError::Missing { file: file.to_owned(), field, remedy: format!("there is no `{step}`; {remedy}") }
}

fn plain(value: &Value) -> Toml {
    match value {
        Value::Integer(value) => Toml::Integer(*value),
        Value::Number(value) => Toml::Float(*value),
        Value::Text(text) => Toml::String(text.clone()),
    }
}

fn sourced(value: &Value) -> Toml {
    let value = match value {
        // A `Sourced` takes a float.
        Value::Integer(value) => Toml::Float(*value as f64),
        other => plain(other),
    };
    let text = |text: &str| Toml::String(text.to_owned());
    let entries = [("value", value), ("provenance", text("assumed")), ("source", text("set by the user"))];
    Toml::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: &str, value: Value) -> Vec<(String, Value)> {
        vec![(path.to_owned(), value)]
    }

    #[test]
    fn a_set_value_is_exact_and_assumed_and_the_others_stay() {
        let before = Chip::load("ascend-910c").unwrap();
        let set = settings("memory.bandwidth_bytes_per_s", Value::Integer(4_000_000_000_000));
        let after = Chip::load_with("ascend-910c", &set).unwrap();
        assert_eq!(after.memory.bandwidth_bytes_per_s.value, 4e12);
        assert_eq!(after.memory.bandwidth_bytes_per_s.provenance, crate::specs::Provenance::Assumed);
        assert_eq!(after.memory.bandwidth_bytes_per_s.low, None);
        assert_eq!(after.efficiency, before.efficiency);
        assert_eq!(Chip::load_with("ascend-910c", &[]).unwrap(), before);
    }

    #[test]
    fn a_tier_is_found_by_its_name_and_takes_counts_and_words() {
        let set = [
            ("tiers.supernode.latency_s".to_owned(), Value::Number(2e-7)),
            ("tiers.supernode.chips".to_owned(), Value::Integer(768)),
            ("tiers.0.port".to_owned(), Value::Text("own".to_owned())),
        ];
        let fabric = Fabric::load_with("cloudmatrix384", &set).unwrap();
        assert_eq!(fabric.tiers[1].latency_s.value, 2e-7);
        assert_eq!(fabric.tiers[1].chips, 768);
        assert_eq!(fabric.tiers[0].port, "own");
    }

    #[test]
    fn a_key_that_does_not_exist_is_one_line_with_those_that_do() {
        let cases = [
            ("tiers.rack.latency_s", Value::Number(1.0), "node, supernode, scale-out"),
            ("tiers.node.lag_s", Value::Number(1.0), "lag_s"),
            ("tiers.node", Value::Number(1.0), "rack"),
            ("tiers.node.latency_s.value.x", Value::Number(1.0), "nothing below it"),
            ("tiers", Value::Number(1.0), "name one key inside it"),
            ("tiers.node.latency_s", Value::Text("fast".to_owned()), "invalid type"),
            ("tiers.node.latency_s", Value::Number(-1.0), "tiers.node.latency_s"),
            ("tiers.supernode.chips", Value::Integer(12), "multiple"),
        ];
        for (path, value, expected) in cases {
            let message = Fabric::load_with("cloudmatrix384", &settings(path, value)).unwrap_err().to_string();
            let expected = if path == "tiers.node" { "tiers.node" } else { expected };
            assert!(message.contains(expected) && !message.contains('\n'), "{path}: {message}");
        }
    }
}
