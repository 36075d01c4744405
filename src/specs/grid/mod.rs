//! Grids of questions in TOML: axes with their values, read strictly.
//!
//! A key has one value, a list of values, or a range `{ from, to, count, spacing = "linear" | "log" }`. A grid is the
//! product of its axes. `[[grid]]` adds grids that share the keys outside them.

mod keys;
mod values;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value as Json;
use toml::{Table, Value as Toml};

use crate::specs::error::{SpecError, read_small_file};
use crate::specs::toml_file::{bad, parse};

pub use keys::{
    CACHE_TYPES, EXCHANGES, KEYS, KeyKind, PHASES, PIPELINES, SERVING, SERVING_MODES, SettingTarget, TYPES,
};
pub use values::GridValue;

use keys::{kind_of_key, order};
use values::{is_range, kind_of, values};

/// The most points of one file: more are a slip.
const MOST_POINTS: u64 = 1_000_000_000;

/// A key and its values.
#[derive(Debug, Clone, PartialEq)]
pub struct GridAxis {
    /// The key with dots, e.g. `workload.kv_len`.
    pub key: String,
    /// Its values in the order of the file.
    pub values: Vec<GridValue>,
}

/// One question: a value for each key, in the order of [`KEYS`].
#[derive(Debug, Clone, PartialEq)]
pub struct Point(pub Vec<(String, GridValue)>);

impl Point {
    /// From a JSON object with the keys of [`KEYS`], nested at their dots, one value each. `from` is named in errors.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn from_json(from: &str, object: Json) -> Result<Self, SpecError> {
        let Some(Toml::Table(table)) = as_toml(object) else {
            return Err(bad(from, "the question", "no table, or a key without a value", "give each key one value"));
        };
        let grid = Grid::from_table(from, &table, &[])?;
        let only = grid.point(0).filter(|_| grid.len() == 1);
        only.ok_or_else(|| bad(from, "the question", "several questions", "give each key one value"))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&GridValue> {
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
        if let GridValue::Integer(value) = self.get(key)? { u32::try_from(*value).ok() } else { None }
    }

    /// The keys that are set in the file of `target`, as they are called inside the file.
    pub fn settings(&self, target: SettingTarget) -> Vec<(String, GridValue)> {
        let prefix = target.prefix();
        let below = |(key, value): &(String, GridValue)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()));
        self.0.iter().filter_map(below).collect()
    }
}

/// A value as TOML has it; `None` where there is a null. Deserializing would bring along what reads dates.
fn as_toml(value: Json) -> Option<Toml> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(is) => Toml::Boolean(is),
        Json::Number(number) => number.as_i64().map(Toml::Integer).or_else(|| number.as_f64().map(Toml::Float))?,
        Json::String(text) => Toml::String(text),
        Json::Array(values) => Toml::Array(values.into_iter().map(as_toml).collect::<Option<_>>()?),
        Json::Object(entries) => {
            let mut table = Table::new();
            for (key, value) in entries {
                table.insert(key, as_toml(value)?);
            }
            Toml::Table(table)
        }
    })
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
    parts: Vec<Vec<GridAxis>>,
}

impl Grid {
    /// From the text of a file with the keys of [`KEYS`]; `title` is a free text. `file` is named in errors.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        Self::from_table(file, &parse(file, text)?, &[])
    }

    /// From the file at this path.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn load(path: &std::path::Path) -> Result<Self, SpecError> {
        Self::parse(&path.display().to_string(), &read_small_file(path)?)
    }

    /// From a table; `more` are keys in addition to [`KEYS`].
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub(super) fn from_table(file: &str, table: &Table, more: &[(&str, KeyKind)]) -> Result<Self, SpecError> {
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
            |axes: &Vec<GridAxis>| axes.iter().try_fold(1u64, |size, axis| size.checked_mul(axis.values.len() as u64));
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
    pub fn axes(&self) -> impl Iterator<Item = &GridAxis> {
        self.parts.iter().flatten()
    }

    /// The grids that the file adds up.
    pub fn parts(&self) -> &[Vec<GridAxis>] {
        &self.parts
    }
}

fn part_len(axes: &[GridAxis]) -> u64 {
    axes.iter().map(|axis| axis.values.len() as u64).product()
}

fn part_point(axes: &[GridAxis], mut index: u64) -> Point {
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

/// The axis of a key, or the axes below it.
fn add(
    file: &str,
    key: &str,
    value: &Toml,
    more: &[(&str, KeyKind)],
    axes: &mut Vec<GridAxis>,
) -> Result<(), SpecError> {
    if let Toml::Table(table) = value
        && !is_range(table)
    {
        for (inner, value) in table {
            add(file, &format!("{key}.{inner}"), value, more, axes)?;
        }
        return Ok(());
    }
    let kind = kind_of_key(key, more).ok_or_else(|| no_such_key(file, key, more))?;
    let values = values(file, key, value, kind)?;
    if axes.iter().any(|axis| axis.key == key) {
        return Err(bad(file, key, "given twice", "keep one of them"));
    }
    axes.push(GridAxis { key: key.to_owned(), values });
    Ok(())
}

fn no_such_key(file: &str, key: &str, more: &[(&str, KeyKind)]) -> SpecError {
    let known = KEYS.iter().chain(more).map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
    let reason =
        format!("`{key}` is no key of a grid; give {known}, or set.chip.KEY, set.fabric.KEY, set.baseline.KEY");
    SpecError::Syntax { file: file.to_owned(), reason }
}
