//! Changing keys of a file of facts: the settings of a grid, `--set` of the command line, and what a fit found. All of
//! them change the TOML tree, and the strict parser reads the result.

use toml::{Table, Value as Toml};

use crate::specs::chip::Chip;
use crate::specs::error::SpecError;
use crate::specs::fabric::Fabric;
use crate::specs::grid::GridValue;
use crate::specs::sourced::Sourced;
use crate::specs::toml_file::{SpecFacts, bad, is_key};

/// Keys to set: the path inside the file with dots, and the value. An entry of a list is called by its `name` or index.
pub type Settings = [(String, GridValue)];

/// Keys of a fabric that its file may leave out.
const OPTIONAL: [&str; 4] = ["dispatch_copy_s", "bandwidth_bytes_per_s", "all_to_all_efficiency", "oversubscription"];

impl Chip {
    /// An embedded chip or file, with `settings` in place of its own values. A set number is exact and assumed.
    ///
    /// # Errors
    /// [`SpecError`], one line: as [`Chip::load`], or a key that the file does not have.
    pub fn load_with(name_or_path: &str, settings: &Settings) -> Result<Self, SpecError> {
        let facts = Self::facts(name_or_path)?;
        Self::parse(&facts.file, &with(&facts, settings)?)
    }
}

impl Fabric {
    /// An embedded fabric or file, with `settings` in place of its own values. A set number is exact and assumed.
    ///
    /// # Errors
    /// [`SpecError`], one line: as [`Fabric::load`], or a key that the file does not have.
    pub fn load_with(name_or_path: &str, settings: &Settings) -> Result<Self, SpecError> {
        let facts = Self::facts(name_or_path)?;
        Self::parse(&facts.file, &with(&facts, settings)?)
    }

    /// Applies `key=value`, e.g. `supernode.bandwidth=400e9`. The unit of a key may be left out. The result is checked
    /// as a file is.
    ///
    /// # Errors
    /// [`SpecError`], one line that names the key.
    pub fn set(&mut self, assignment: &str) -> Result<(), SpecError> {
        let file = "--set";
        let Some((key, text)) = assignment.split_once('=') else {
            let shown = assignment.escape_debug();
            return Err(bad(file, &shown.to_string(), "without `=`", "give TIER.KEY=VALUE, e.g. node.bandwidth=400e9"));
        };
        let (key, text) = (key.trim(), text.trim());
        let tiers: Vec<&str> = self.tiers.iter().map(|tier| tier.name.as_str()).collect();
        let path = match key.split_once('.') {
            Some((tier, _)) if tiers.contains(&tier) => format!("tiers.{key}"),
            _ => key.to_owned(),
        };
        let no_key = || {
            let remedy = format!("give TIER.KEY with a tier of {} and a key as in its file", tiers.join(", "));
            bad(file, &key.escape_debug().to_string(), "not a key of this fabric", &remedy)
        };
        let mut root = Toml::try_from(&*self).map_err(|_| no_key())?;
        let slot = settable(&mut root, &path).ok_or_else(no_key)?;
        let number = text.parse::<f64>().map_err(|_| bad(file, key, text.escape_debug(), "give a number"))?;
        let value = match slot {
            Some(Toml::Integer(_)) => GridValue::Integer(
                text.parse().map_err(|_| bad(file, key, text.escape_debug(), "give a whole number"))?,
            ),
            _ => GridValue::Number(number),
        };
        set(file, &mut root, &path, &value)?;
        let changed: Self = root.try_into().map_err(|_| bad(file, key, text.escape_debug(), "give a finite number"))?;
        changed.validate(file)?;
        *self = changed;
        Ok(())
    }

    /// The file of an embedded fabric or a path as TOML, with another name and title. `values` (tier, key, value)
    /// replace those of the file, and its `[fit]` is left out. The text can be loaded.
    ///
    /// # Errors
    /// [`SpecError`], one line: the file cannot be read, or the values cannot be.
    pub fn rewritten(
        name_or_path: &str,
        name: &str,
        title: &str,
        values: &[(&str, &str, Sourced)],
    ) -> Result<String, SpecError> {
        let facts = Self::facts(name_or_path)?;
        let syntax = |reason: String| SpecError::Syntax { file: facts.file.clone(), reason };
        let mut table = facts.parse::<Table>()?;
        table.remove("fit");
        table.insert("name".to_owned(), Toml::String(name.to_owned()));
        table.insert("title".to_owned(), Toml::String(title.to_owned()));
        let mut root = Toml::Table(table);
        for (tier, key, value) in values {
            let value = Toml::try_from(value).map_err(|error| syntax(error.to_string()))?;
            let place = child(&mut root, "tiers").and_then(|tiers| child(tiers, tier)).and_then(Toml::as_table_mut);
            if let Some(table) = place {
                table.insert((*key).to_owned(), value);
            }
        }
        let text = toml::to_string(&root).map_err(|error| syntax(error.to_string()))?;
        Self::parse(&facts.file, &text)?;
        Ok(text)
    }
}

/// The value at a path that may be set: `Some(None)` if it may be, but the file leaves it out.
fn settable<'a>(root: &'a mut Toml, path: &str) -> Option<Option<&'a Toml>> {
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let mut place = root;
    for step in parents.into_iter().flat_map(|parents| parents.split('.')) {
        place = child(place, step)?;
    }
    let place: &'a Toml = place;
    let table = place.as_table()?;
    let name = full_key(table, last);
    match table.get(&name) {
        Some(Toml::Integer(_)) => Some(table.get(&name)),
        Some(Toml::Table(value)) if value.contains_key("value") => Some(table.get(&name)),
        None if OPTIONAL.contains(&name.as_str()) => Some(None),
        _ => None,
    }
}

/// The key of a table that `given` means, with or without its unit; `given` itself if it means none.
fn full_key(table: &Table, given: &str) -> String {
    let known = table.keys().map(String::as_str).chain(OPTIONAL);
    let found = known.into_iter().find(|key| is_key(given, key));
    found.unwrap_or(given).to_owned()
}

/// The facts with the settings made, as TOML.
fn with(facts: &SpecFacts, settings: &Settings) -> Result<String, SpecError> {
    let mut root = Toml::Table(facts.parse()?);
    for (path, value) in settings {
        set(&facts.file, &mut root, path, value)?;
    }
    toml::to_string(&root).map_err(|error| SpecError::Syntax { file: facts.file.clone(), reason: error.to_string() })
}

/// Sets one key. A value with its source keeps one: an assumption of the user.
fn set(file: &str, root: &mut Toml, path: &str, value: &GridValue) -> Result<(), SpecError> {
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let mut place = root;
    for step in parents.into_iter().flat_map(|parents| parents.split('.')) {
        let known = names(place).join(", ");
        place = child(place, step).ok_or_else(|| no_key(file, path, step, &known))?;
    }
    let known = names(place).join(", ");
    let Toml::Table(table) = place else { return Err(no_key(file, path, last, &known)) };
    let name = full_key(table, last);
    let new = match (table.get(&name), value) {
        (Some(Toml::Table(old)), number) if old.contains_key("value") => sourced(number),
        (Some(Toml::Table(_) | Toml::Array(_)), _) => {
            return Err(bad(file, path, "a group of keys", "name one key inside it"));
        }
        (None, number @ (GridValue::Integer(_) | GridValue::Number(_))) => sourced(number),
        (None, GridValue::Text(_)) => return Err(no_key(file, path, last, &known)),
        (Some(_), value) => plain(value),
    };
    table.insert(name, new);
    Ok(())
}

/// The entry below a table or a list.
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

/// What lies below a table or a list.
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

fn plain(value: &GridValue) -> Toml {
    match value {
        GridValue::Integer(value) => Toml::Integer(*value),
        GridValue::Number(value) => Toml::Float(*value),
        GridValue::Text(text) => Toml::String(text.clone()),
    }
}

fn sourced(value: &GridValue) -> Toml {
    let value = match value {
        // A `Sourced` takes a float.
        GridValue::Integer(value) => Toml::Float(*value as f64),
        other => plain(other),
    };
    let text = |text: &str| Toml::String(text.to_owned());
    let entries = [("value", value), ("provenance", text("assumed")), ("source", text("set by the user"))];
    Toml::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: &str, value: GridValue) -> Vec<(String, GridValue)> {
        vec![(path.to_owned(), value)]
    }

    #[test]
    fn a_set_value_is_exact_and_assumed_and_the_others_stay() {
        let before = Chip::load("ascend-910c").unwrap();
        let set = settings("memory.bandwidth_bytes_per_s", GridValue::Integer(4_000_000_000_000));
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
            ("tiers.supernode.latency_s".to_owned(), GridValue::Number(2e-7)),
            ("tiers.supernode.chips".to_owned(), GridValue::Integer(768)),
            ("tiers.0.port".to_owned(), GridValue::Text("own".to_owned())),
        ];
        let fabric = Fabric::load_with("cloudmatrix384", &set).unwrap();
        assert_eq!(fabric.tiers[1].latency_s.value, 2e-7);
        assert_eq!(fabric.tiers[1].chips, 768);
        assert_eq!(fabric.tiers[0].port, "own");
    }

    #[test]
    fn a_key_that_does_not_exist_is_one_line_with_those_that_do() {
        let cases = [
            ("tiers.rack.latency_s", GridValue::Number(1.0), "node, supernode, scale-out"),
            ("tiers.node.lag_s", GridValue::Number(1.0), "lag_s"),
            ("tiers.node", GridValue::Number(1.0), "rack"),
            ("tiers.node.latency_s.value.x", GridValue::Number(1.0), "nothing below it"),
            ("tiers", GridValue::Number(1.0), "name one key inside it"),
            ("tiers.node.latency_s", GridValue::Text("fast".to_owned()), "invalid type"),
            ("tiers.node.latency_s", GridValue::Number(-1.0), "tiers.node.latency_s"),
            ("tiers.supernode.chips", GridValue::Integer(12), "multiple"),
        ];
        for (path, value, expected) in cases {
            let message = Fabric::load_with("cloudmatrix384", &settings(path, value)).unwrap_err().to_string();
            let expected = if path == "tiers.node" { "tiers.node" } else { expected };
            assert!(message.contains(expected) && !message.contains('\n'), "{path}: {message}");
        }
    }
}
