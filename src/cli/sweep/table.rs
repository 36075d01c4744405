//! A file of rows as a table: a column for each scalar of a row, named by its path.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use crate::cli::error::Error;
use crate::cli::sweep::whole::cannot;
use crate::report::export::cell::{CellValue, ColumnKind};

/// The scalars of a row by their path.
pub(super) type Scalars = BTreeMap<String, Value>;

/// Calls `take` with each row of a file of JSON Lines.
///
/// # Errors
/// [`Error::Input`] for a line that is no row; the first of `take`.
pub(super) fn each_row(rows: &Path, mut take: impl FnMut(Scalars) -> Result<(), Error>) -> Result<(), Error> {
    let file = File::open(rows).map_err(|error| cannot(rows, &error))?;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| cannot(rows, &error))?;
        let row =
            serde_json::from_str(&line).map_err(|error| cannot(rows, &format_args!("line {}: {error}", number + 1)))?;
        let mut scalars = Scalars::new();
        flatten(String::new(), row, &mut scalars);
        take(scalars)?;
    }
    Ok(())
}

fn flatten(path: String, value: Value, scalars: &mut Scalars) {
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                // A column cannot have dots in its name in all readers.
                let key = key.replace(['.', '-'], "_");
                flatten(if path.is_empty() { key } else { format!("{path}_{key}") }, value, scalars);
            }
        }
        Value::Array(list) => {
            let texts: Vec<String> =
                list.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect();
            scalars.insert(path, Value::String(texts.join("; ")));
        }
        scalar => {
            scalars.insert(path, scalar);
        }
    }
}

/// The columns of all rows. Each has the narrowest kind that takes all its values.
///
/// # Errors
/// [`Error::Input`] for a line that is no row.
pub(super) fn columns(rows: &Path) -> Result<BTreeMap<String, ColumnKind>, Error> {
    let mut columns: BTreeMap<String, ColumnKind> = BTreeMap::new();
    each_row(rows, |row| {
        for (name, value) in row {
            let kind = match value {
                Value::Number(number) if number.is_i64() => ColumnKind::Integer,
                Value::Number(_) => ColumnKind::Number,
                _ => ColumnKind::Text,
            };
            let entry = columns.entry(name).or_insert(kind);
            *entry = kind.max(*entry);
        }
        Ok(())
    })?;
    Ok(columns)
}

/// A value as a cell of a column.
pub(super) fn cell(value: Option<&Value>, kind: ColumnKind) -> CellValue {
    let Some(value) = value else { return CellValue::Missing };
    match kind {
        ColumnKind::Integer => value.as_i64().map_or(CellValue::Missing, CellValue::Integer),
        ColumnKind::Number => value.as_f64().map_or(CellValue::Missing, CellValue::Number),
        _ => CellValue::Text(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
    }
}
