//! A file of rows as one Parquet file: a column for each scalar of a row, named by its path.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use crate::cli::error::Error;
use crate::files::replace_with;
use crate::report::export::cell::{CellValue, ColumnKind};
use crate::report::export::parquet_file::ParquetFile;

/// Rows of a row group: what is held in memory at once.
const GROUP_ROWS: usize = 20_000;

/// Writes the rows to `output`, whole or not at all, and removes `rows`.
pub(super) fn write(rows: &Path, output: &Path) -> Result<(), Error> {
    let fail = |error: &dyn std::fmt::Display| Error::Input(format!("{}: {error}", output.display()));
    let columns = columns(rows)?;
    let mut bad_row = None;
    let written = replace_with(output, |file| {
        write_columns(rows, &columns, file).map_err(|error| match error {
            Failed::Parquet(error) => io::Error::other(error),
            Failed::Rows(error) => {
                bad_row = Some(error);
                io::ErrorKind::InvalidData.into()
            }
        })
    });
    written.map_err(|error| bad_row.unwrap_or_else(|| fail(&error)))?;
    std::fs::remove_file(rows).map_err(|error| Error::Input(format!("{}: {error}", rows.display())))
}

/// How many rows a file has.
pub(super) fn row_count(path: &Path) -> Result<u64, Error> {
    let fail = |error: String| Error::Input(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| fail(error.to_string()))?;
    let reader = SerializedFileReader::new(file).map_err(|error| fail(error.to_string()))?;
    Ok(u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0))
}

enum Failed {
    Rows(Error),
    Parquet(ParquetError),
}

impl From<ParquetError> for Failed {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

/// The scalars of each row by their path.
fn each_row(rows: &Path, mut take: impl FnMut(BTreeMap<String, Value>) -> Result<(), Failed>) -> Result<(), Failed> {
    let fail = |reason: String| Failed::Rows(Error::Input(format!("{}: {reason}", rows.display())));
    let file = File::open(rows).map_err(|error| fail(error.to_string()))?;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| fail(error.to_string()))?;
        let row = serde_json::from_str(&line).map_err(|error| fail(format!("line {}: {error}", number + 1)))?;
        let mut scalars = BTreeMap::new();
        flatten(String::new(), row, &mut scalars);
        take(scalars)?;
    }
    Ok(())
}

fn flatten(path: String, value: Value, scalars: &mut BTreeMap<String, Value>) {
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
fn columns(rows: &Path) -> Result<BTreeMap<String, ColumnKind>, Error> {
    let mut columns: BTreeMap<String, ColumnKind> = BTreeMap::new();
    let outcome = each_row(rows, |row| {
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
    });
    match outcome {
        Ok(()) => Ok(columns),
        Err(Failed::Rows(error)) => Err(error),
        Err(Failed::Parquet(error)) => Err(Error::Input(error.to_string())),
    }
}

fn write_columns(rows: &Path, columns: &BTreeMap<String, ColumnKind>, file: &File) -> Result<(), Failed> {
    let heads: Vec<(&str, ColumnKind)> = columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let mut file = ParquetFile::new(file, "sweep", &heads)?;
    let mut write_group = |group: &[BTreeMap<String, Value>]| {
        file.group(heads.iter().map(|(name, kind)| group.iter().map(|row| cell(row.get(*name), *kind)).collect()))
    };
    let mut group = Vec::new();
    each_row(rows, |row| {
        group.push(row);
        if group.len() == GROUP_ROWS { write_group(&std::mem::take(&mut group)).map_err(Failed::from) } else { Ok(()) }
    })?;
    if !group.is_empty() {
        write_group(&group)?;
    }
    file.finish()?;
    Ok(())
}

fn cell(value: Option<&Value>, kind: ColumnKind) -> CellValue {
    let Some(value) = value else { return CellValue::Missing };
    match kind {
        ColumnKind::Integer => value.as_i64().map_or(CellValue::Missing, CellValue::Integer),
        ColumnKind::Number => value.as_f64().map_or(CellValue::Missing, CellValue::Number),
        _ => CellValue::Text(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
    }
}
