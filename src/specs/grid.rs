//! Grids of questions in TOML: axes with their values, read strictly.
//!
//! A key has one value, a list of values, or a range `{ from, to, count, spacing = "linear" | "log" }`. A grid is the
//! product of its axes; `[[grid]]` adds grids that share what stands outside them.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use toml::{Table, Value as Toml};

use super::error::SpecError;
use super::toml_file::bad;

/// One value of an axis.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A count.
    Integer(i64),
    /// A quantity.
    Number(f64),
    /// A name.
    Text(String),
}

impl Value {
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

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(value) if *value != 0.0 && !(1e-3..1e6).contains(&value.abs()) => write!(f, "{value:e}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What an axis takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A name or path.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number in this range.
    Count(i64, i64),
    /// A number in this range.
    Number(f64, f64),
    /// Whatever the key of a chip or fabric takes.
    Any,
}

/// The types that a model may be computed in, as written in files and flags.
pub const TYPES: &[&str] = &["int8", "fp8", "bf16", "f16", "f32"];
/// The phases, as written in files and flags.
pub const PHASES: &[&str] = &["prefill", "decode", "training"];
/// The schedules of a training pipeline, as written in files and flags.
pub const PIPELINES: &[&str] = &["1f1b", "interleaved", "zero-bubble"];
const DEGREE: Kind = Kind::Count(1, 1_000_000);
const TOKENS: Kind = Kind::Number(1.0, 1e12);

/// Every key of a question, in the order of a point.
pub const KEYS: &[(&str, Kind)] = &[
    ("model", Kind::Text),
    ("phase", Kind::Word(PHASES)),
    ("chip", Kind::Text),
    ("fabric", Kind::Text),
    ("baseline", Kind::Text),
    ("chips", Kind::Count(1, 1_000_000)),
    ("type", Kind::Word(TYPES)),
    ("workload.prompt_len", TOKENS),
    ("workload.kv_len", TOKENS),
    ("workload.output_len", Kind::Number(0.0, 1e12)),
    ("workload.tpot_limit_ms", Kind::Number(1e-3, 1e9)),
    ("workload.mtp", Kind::Count(0, 16)),
    ("workload.mtp_acceptance", Kind::Number(0.0, 1.0)),
    ("workload.sequence_len", TOKENS),
    ("workload.global_batch_tokens", TOKENS),
    ("workload.chunk_tokens", TOKENS),
    ("workload.pipeline", Kind::Word(PIPELINES)),
    ("plan.tp", DEGREE),
    ("plan.pp", DEGREE),
    ("plan.ep", DEGREE),
    ("plan.dp", DEGREE),
    ("plan.cp", DEGREE),
    ("plan.microbatches", DEGREE),
    ("plan.batch_per_chip", Kind::Number(1e-3, 1e9)),
];
/// Where keys of chip and fabric files begin.
pub const SETS: [&str; 3] = ["set.chip.", "set.fabric.", "set.baseline."];
/// The most points of one file: more are a slip.
const MOST_POINTS: u64 = 1_000_000_000;
/// The most values of one axis.
const MOST_VALUES: i64 = 100_000;

/// A key and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The key with dots, e.g. `workload.kv_len`.
    pub key: String,
    /// Its values in the order of the file.
    pub values: Vec<Value>,
}

/// One question: a value for each key, in the order of [`KEYS`].
#[derive(Debug, Clone, PartialEq)]
pub struct Point(pub Vec<(String, Value)>);

impl Point {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A name or word.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// A number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key)?.number()
    }

    /// A count: the parser has checked its range.
    pub fn count(&self, key: &str) -> Option<u32> {
        if let Value::Integer(value) = self.get(key)? { u32::try_from(*value).ok() } else { None }
    }

    /// The settings below `prefix`, which is one of [`SETS`].
    pub fn settings(&self, prefix: &str) -> Vec<(String, Value)> {
        let below = |(key, value): &(String, Value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()));
        self.0.iter().filter_map(below).collect()
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// The product of axes, one after another; the last axis varies fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// The grids in the order of the file.
    parts: Vec<Vec<Axis>>,
}

impl Grid {
    /// From the text of a file with the keys of [`KEYS`]; `title` is a free text. `file` is named in errors.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        Self::from_table(file, &super::toml_file::parse(file, text)?, &[])
    }

    /// From the file at this path.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn load(path: &std::path::Path) -> Result<Self, SpecError> {
        Self::parse(&path.display().to_string(), &super::error::read_small_file(path)?)
    }

    /// From a table; `more` are keys beside [`KEYS`].
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub(super) fn from_table(file: &str, table: &Table, more: &[(&str, Kind)]) -> Result<Self, SpecError> {
        let mut shared = Vec::new();
        let mut lists: &[Toml] = &[];
        for (key, value) in table {
            match (key.as_str(), value) {
                ("title", Toml::String(_)) => {}
                ("grid", Toml::Array(grids)) if !grids.is_empty() => lists = grids,
                _ => add(file, key, value, more, &mut shared)?,
            }
        }
        let mut parts = Vec::new();
        for list in lists {
            let Toml::Table(table) = list else {
                return Err(bad(file, "grid", kind_of(list), "write [[grid]] and keys below it"));
            };
            let mut axes = Vec::new();
            for (key, value) in table {
                add(file, key, value, more, &mut axes)?;
            }
            axes.extend(
                shared.iter().filter(|axis| axes.iter().all(|own| own.key != axis.key)).cloned().collect::<Vec<_>>(),
            );
            parts.push(axes);
        }
        if lists.is_empty() {
            parts.push(shared);
        }
        for axes in &mut parts {
            axes.sort_by_key(|axis| (order(&axis.key, more), axis.key.clone()));
        }
        let grid = Self { parts };
        grid.check_size(file)?;
        Ok(grid)
    }

    fn check_size(&self, file: &str) -> Result<(), SpecError> {
        let size =
            |axes: &Vec<Axis>| axes.iter().try_fold(1u64, |size, axis| size.checked_mul(axis.values.len() as u64));
        let total = self.parts.iter().try_fold(0u64, |sum, axes| sum.checked_add(size(axes)?));
        match total {
            Some(total) if total <= MOST_POINTS => Ok(()),
            _ => Err(bad(file, "the grid", "more than 1e9 points", "shorten some axes")),
        }
    }

    /// How many questions.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|axes| part_len(axes)).sum()
    }

    /// Whether there are none; a parsed grid has at least one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The question of this number, counted from 0.
    pub fn point(&self, mut index: u64) -> Option<Point> {
        for axes in &self.parts {
            let len = part_len(axes);
            if index < len {
                return Some(part_point(axes, index));
            }
            index -= len;
        }
        None
    }

    /// All questions in order.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        (0..self.len()).filter_map(|index| self.point(index))
    }

    /// All axes, those of every part.
    pub fn axes(&self) -> impl Iterator<Item = &Axis> {
        self.parts.iter().flatten()
    }

    /// The grids that the file adds up.
    pub fn parts(&self) -> &[Vec<Axis>] {
        &self.parts
    }
}

fn part_len(axes: &[Axis]) -> u64 {
    axes.iter().map(|axis| axis.values.len() as u64).product()
}

fn part_point(axes: &[Axis], mut index: u64) -> Point {
    let mut point = Vec::with_capacity(axes.len());
    for axis in axes.iter().rev() {
        let count = axis.values.len() as u64;
        let at = usize::try_from(index % count).unwrap_or(0);
        index /= count;
        point.extend(axis.values.get(at).map(|value| (axis.key.clone(), value.clone())));
    }
    point.reverse();
    Point(point)
}

/// Place of a key in a point: known keys first, then the additional ones, then settings.
fn order(key: &str, more: &[(&str, Kind)]) -> usize {
    KEYS.iter().chain(more).position(|(known, _)| *known == key).unwrap_or(usize::MAX)
}

/// The axis of a key, or the axes below it.
fn add(file: &str, key: &str, value: &Toml, more: &[(&str, Kind)], axes: &mut Vec<Axis>) -> Result<(), SpecError> {
    if let Toml::Table(table) = value
        && !is_range(table)
    {
        for (inner, value) in table {
            add(file, &format!("{key}.{inner}"), value, more, axes)?;
        }
        return Ok(());
    }
    let kind = kind(file, key, more)?;
    let values = values(file, key, value, kind)?;
    if axes.iter().any(|axis| axis.key == key) {
        return Err(bad(file, key, "given twice", "keep one of them"));
    }
    axes.push(Axis { key: key.to_owned(), values });
    Ok(())
}

fn is_range(table: &Table) -> bool {
    table.contains_key("from") && table.contains_key("to")
}

fn kind(file: &str, key: &str, more: &[(&str, Kind)]) -> Result<Kind, SpecError> {
    if SETS.iter().any(|prefix| key.strip_prefix(prefix).is_some_and(|path| !path.is_empty())) {
        return Ok(Kind::Any);
    }
    let known = KEYS.iter().chain(more).find(|(known, _)| *known == key);
    known.map(|(_, kind)| *kind).ok_or_else(|| {
        let known = KEYS.iter().chain(more).map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
        SpecError::Syntax {
            file: file.to_owned(),
            reason: format!(
                "`{key}` is no key of a grid; give {known}, or set.chip.KEY, set.fabric.KEY, set.baseline.KEY"
            ),
        }
    })
}

fn values(file: &str, key: &str, value: &Toml, kind: Kind) -> Result<Vec<Value>, SpecError> {
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

fn single(file: &str, key: &str, value: &Toml, kind: Kind) -> Result<Value, SpecError> {
    let wrong = |remedy: &str| Err(bad(file, key, kind_of(value), remedy));
    match (kind, value) {
        (Kind::Text | Kind::Any, Toml::String(text)) => Ok(Value::Text(text.clone())),
        (Kind::Text, _) => wrong("give a name or path in quotes"),
        (Kind::Word(words), Toml::String(text)) if words.contains(&text.as_str()) => Ok(Value::Text(text.clone())),
        (Kind::Word(words), _) => wrong(&format!("give one of {}", words.join(", "))),
        (Kind::Count(least, most), Toml::Integer(count)) if (least..=most).contains(count) => {
            Ok(Value::Integer(*count))
        }
        (Kind::Count(least, most), _) => wrong(&format!("give a whole number from {least} to {most}")),
        (Kind::Number(..), Toml::Integer(_) | Toml::Float(_)) => {
            let number = value.as_float().or_else(|| value.as_integer().map(|count| count as f64));
            in_range(file, key, number.unwrap_or(f64::NAN), kind)
        }
        (Kind::Number(least, most), _) => wrong(&format!("give a number from {least} to {most}")),
        (Kind::Any, Toml::Integer(count)) => Ok(Value::Integer(*count)),
        (Kind::Any, Toml::Float(number)) if number.is_finite() => Ok(Value::Number(*number)),
        (Kind::Any, _) => wrong("give a finite number, a text, or a list of them"),
    }
}

/// A number as the kind wants it: a count is rounded.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn in_range(file: &str, key: &str, number: f64, kind: Kind) -> Result<Value, SpecError> {
    let (least, most) = match kind {
        Kind::Number(least, most) => (least, most),
        Kind::Count(least, most) => (least as f64, most as f64),
        _ => (f64::MIN, f64::MAX),
    };
    // A NaN is in no range.
    if !(least..=most).contains(&number) {
        return Err(bad(file, key, number, &format!("give a number from {least} to {most}")));
    }
    Ok(if matches!(kind, Kind::Count(..)) { Value::Integer(number.round() as i64) } else { Value::Number(number) })
}

fn from_range(file: &str, key: &str, range: &Table, kind: Kind) -> Result<Vec<Value>, SpecError> {
    if matches!(kind, Kind::Text | Kind::Word(_)) {
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

fn kind_of(value: &Toml) -> String {
    match value {
        Toml::String(text) => format!("\"{}\"", text.escape_debug()),
        Toml::Integer(count) => count.to_string(),
        Toml::Float(number) => number.to_string(),
        other => format!("a {}", other.type_str()),
    }
}
