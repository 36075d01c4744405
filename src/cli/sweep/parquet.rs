//! A file of rows as one Parquet file: a column for each scalar of a row, named by its path.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

use super::super::Error;

/// Rows of a row group: what is held in memory at once.
const GROUP_ROWS: usize = 20_000;

/// What a column holds: the narrowest type that takes all its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Integer,
    Number,
    Text,
}

/// Writes the rows to `output`, whole or not at all, and removes `rows`.
pub(super) fn write(rows: &Path, output: &Path) -> Result<(), Error> {
    let fail = |error: &dyn std::fmt::Display| Error::Input(format!("{}: {error}", output.display()));
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder).map_err(|error| fail(&error))?;
    let columns = columns(rows)?;
    write_columns(rows, &columns, file.as_file()).map_err(|error| match error {
        Failed::Rows(error) => error,
        Failed::Parquet(error) => fail(&error),
    })?;
    file.as_file().sync_all().map_err(|error| fail(&error))?;
    file.persist(output).map_err(|error| fail(&error.error))?;
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

fn columns(rows: &Path) -> Result<BTreeMap<String, Kind>, Error> {
    let mut columns: BTreeMap<String, Kind> = BTreeMap::new();
    let outcome = each_row(rows, |row| {
        for (name, value) in row {
            let kind = match value {
                Value::Number(number) if number.is_i64() => Kind::Integer,
                Value::Number(_) => Kind::Number,
                _ => Kind::Text,
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

fn write_columns(rows: &Path, columns: &BTreeMap<String, Kind>, file: &File) -> Result<(), Failed> {
    let fields: String = columns
        .iter()
        .map(|(name, kind)| match kind {
            Kind::Integer => format!("optional int64 {name};\n"),
            Kind::Number => format!("optional double {name};\n"),
            Kind::Text => format!("optional binary {name} (UTF8);\n"),
        })
        .collect();
    let schema = Arc::new(parse_message_type(&format!("message sweep {{\n{fields}}}"))?);
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::builder().build()))?;
    let mut group = Vec::new();
    each_row(rows, |row| {
        group.push(row);
        if group.len() == GROUP_ROWS { write_group(&mut writer, columns, &std::mem::take(&mut group)) } else { Ok(()) }
    })?;
    if !group.is_empty() {
        write_group(&mut writer, columns, &group)?;
    }
    writer.close()?;
    Ok(())
}

fn write_group(
    writer: &mut SerializedFileWriter<&File>,
    columns: &BTreeMap<String, Kind>,
    rows: &[BTreeMap<String, Value>],
) -> Result<(), Failed> {
    let mut group = writer.next_row_group()?;
    for (name, kind) in columns {
        let Some(mut column) = group.next_column()? else { break };
        let present: Vec<i16> = rows.iter().map(|row| i16::from(row.contains_key(name))).collect();
        let values = rows.iter().filter_map(|row| row.get(name));
        write_column(&mut column, *kind, &present, values)?;
        column.close()?;
    }
    group.close()?;
    Ok(())
}

fn write_column<'a>(
    column: &mut SerializedColumnWriter<'_>,
    kind: Kind,
    present: &[i16],
    values: impl Iterator<Item = &'a Value>,
) -> Result<(), ParquetError> {
    let levels = Some(present);
    match kind {
        Kind::Integer => {
            let values: Vec<i64> = values.filter_map(Value::as_i64).collect();
            column.typed::<Int64Type>().write_batch(&values, levels, None)?;
        }
        Kind::Number => {
            let values: Vec<f64> = values.filter_map(Value::as_f64).collect();
            column.typed::<DoubleType>().write_batch(&values, levels, None)?;
        }
        Kind::Text => {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let values: Vec<ByteArray> = values.map(|value| ByteArray::from(text(value).into_bytes())).collect();
            column.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
        }
    }
    Ok(())
}
