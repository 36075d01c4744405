//! The values of a key: one, a list, or a range, each read strictly.

use serde::Serialize;
use toml::{Table, Value as Toml};

use crate::specs::error::SpecError;
use crate::specs::grid::keys::KeyKind;
use crate::specs::toml_file::bad;

/// The most values of one axis.
const MOST_VALUES: i64 = 100_000;

/// One value of an axis.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum GridValue {
    /// A count.
    Integer(i64),
    /// A quantity.
    Number(f64),
    /// A name.
    Text(String),
}

impl GridValue {
    /// As a number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Text(_) => None,
        }
    }

    /// As text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl std::fmt::Display for GridValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(value) if *value != 0.0 && !(1e-3..1e6).contains(&value.abs()) => write!(f, "{value:e}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Whether a table is a range of values, and not a group of keys.
pub(super) fn is_range(table: &Table) -> bool {
    table.contains_key("from") && table.contains_key("to")
}

/// The values that a key is given.
///
/// # Errors
/// [`SpecError`], one line.
pub(super) fn values(file: &str, key: &str, value: &Toml, kind: KeyKind) -> Result<Vec<GridValue>, SpecError> {
    let list = match value {
        Toml::Array(list) if list.is_empty() => {
            return Err(bad(file, key, "an empty list", "give at least one value, or leave the key out"));
        }
        Toml::Array(list) => list.iter().map(|one| single(file, key, one, kind)).collect::<Result<Vec<_>, _>>()?,
        Toml::Table(range) => from_range(file, key, range, kind)?,
        one => vec![single(file, key, one, kind)?],
    };
    for (index, value) in list.iter().enumerate() {
        if list.get(..index).is_some_and(|before| before.contains(value)) {
            return Err(bad(file, key, format!("a list with {value} twice"), "each value once"));
        }
    }
    Ok(list)
}

fn single(file: &str, key: &str, value: &Toml, kind: KeyKind) -> Result<GridValue, SpecError> {
    let wrong = |remedy: &str| Err(bad(file, key, kind_of(value), remedy));
    match (kind, value) {
        (KeyKind::Text | KeyKind::Any, Toml::String(text)) => Ok(GridValue::Text(text.clone())),
        (KeyKind::Text, _) => wrong("give a name or path in quotes"),
        (KeyKind::Word(words), Toml::String(text)) if words.contains(&text.as_str()) => {
            Ok(GridValue::Text(text.clone()))
        }
        (KeyKind::Word(words), _) => wrong(&format!("give one of {}", words.join(", "))),
        (KeyKind::Count(least, most), Toml::Integer(count)) if (least..=most).contains(count) => {
            Ok(GridValue::Integer(*count))
        }
        (KeyKind::Count(least, most), _) => wrong(&format!("give a whole number from {least} to {most}")),
        (KeyKind::Number(..), Toml::Integer(_) | Toml::Float(_)) => {
            let number = value.as_float().or_else(|| value.as_integer().map(|count| count as f64));
            in_range(file, key, number.unwrap_or(f64::NAN), kind)
        }
        (KeyKind::Number(least, most), _) => wrong(&format!("give a number from {least} to {most}")),
        (KeyKind::Any, Toml::Integer(count)) => Ok(GridValue::Integer(*count)),
        (KeyKind::Any, Toml::Float(number)) if number.is_finite() => Ok(GridValue::Number(*number)),
        (KeyKind::Any, _) => wrong("give a finite number, a text, or a list of them"),
    }
}

/// A number as the kind wants it: a count is rounded.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn in_range(file: &str, key: &str, number: f64, kind: KeyKind) -> Result<GridValue, SpecError> {
    let (least, most) = match kind {
        KeyKind::Number(least, most) => (least, most),
        KeyKind::Count(least, most) => (least as f64, most as f64),
        _ => (f64::MIN, f64::MAX),
    };
    // A NaN is in no range.
    if !(least..=most).contains(&number) {
        return Err(bad(file, key, number, &format!("give a number from {least} to {most}")));
    }
    Ok(if matches!(kind, KeyKind::Count(..)) {
        GridValue::Integer(number.round() as i64)
    } else {
        GridValue::Number(number)
    })
}

fn from_range(file: &str, key: &str, range: &Table, kind: KeyKind) -> Result<Vec<GridValue>, SpecError> {
    if matches!(kind, KeyKind::Text | KeyKind::Word(_)) {
        return Err(bad(file, key, "a range", "give names"));
    }
    let unknown = range.keys().find(|name| !["from", "to", "count", "spacing"].contains(&name.as_str()));
    if let Some(name) = unknown {
        return Err(bad(file, &format!("{key}.{name}"), "unknown", "a range has from, to, count and spacing"));
    }
    let number = |name: &str| {
        let value = range.get(name).and_then(|value| value.as_float().or(value.as_integer().map(|count| count as f64)));
        value
            .filter(|value| value.is_finite())
            .ok_or_else(|| bad(file, &format!("{key}.{name}"), "no number", "give one"))
    };
    let (from, to) = (number("from")?, number("to")?);
    let count = range.get("count").and_then(Toml::as_integer).filter(|count| (2..=MOST_VALUES).contains(count));
    let count = count.ok_or_else(|| bad(file, &format!("{key}.count"), "no such number", "give 2 to 100000"))?;
    let log = match range.get("spacing").map(|spacing| spacing.as_str()) {
        None | Some(Some("linear")) => false,
        Some(Some("log")) if from > 0.0 && to > 0.0 => true,
        _ => {
            let remedy = "give \"linear\", or \"log\" between positive numbers";
            return Err(bad(file, &format!("{key}.spacing"), "not possible", remedy));
        }
    };
    let at = |index: i64| {
        let share = index as f64 / (count - 1) as f64;
        match index {
            0 => from,
            last if last == count - 1 => to,
            _ if log => from * (to / from).powf(share),
            _ => from + (to - from) * share,
        }
    };
    (0..count).map(|index| in_range(file, key, at(index), kind)).collect()
}

/// A TOML value as an error shows it.
pub(super) fn kind_of(value: &Toml) -> String {
    match value {
        Toml::String(text) => format!("\"{}\"", text.escape_debug()),
        Toml::Integer(count) => count.to_string(),
        Toml::Float(number) => number.to_string(),
        other => format!("a {}", other.type_str()),
    }
}
