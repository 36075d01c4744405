//! A record's cases for other tools: CSV, JSON lines, Parquet, OpenMetrics text, and criterion's folders.
//!
//! CSV, JSON lines and Parquet have the same columns, from one list, `columns::COLUMNS`.

mod columns;
mod criterion;
mod openmetrics;
#[cfg(feature = "parquet")]
mod parquet;

pub use criterion::{CriterionFile, criterion};
pub use openmetrics::openmetrics;
#[cfg(feature = "parquet")]
pub use parquet::parquet;

use columns::{COLUMNS, Value};

use super::compare::spreadsheet_safe;
use crate::record::Record;

/// One case a line with a header (RFC 4180). A missing figure is empty; text that a spreadsheet would run as a formula has
/// an apostrophe in front.
///
/// # Errors
/// None in practice: the text is built in memory.
pub fn csv(records: &[(String, Record)]) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS.iter().map(|column| column.name))?;
    for row in columns::rows(records) {
        writer.write_record(COLUMNS.iter().map(|column| match column.of(&row) {
            Value::Text(text) => spreadsheet_safe(&text),
            Value::Number(number) => number.to_string(),
            Value::Count(count) => count.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Missing => String::new(),
        }))?;
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One JSON object a case and line: the columns, the shape by name, and every sample.
///
/// # Errors
/// None in practice: a loaded record has only finite numbers.
pub fn jsonl(records: &[(String, Record)]) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    for row in columns::rows(records) {
        let mut object = serde_json::Map::new();
        for column in COLUMNS {
            let value = match column.of(&row) {
                Value::Text(text) => text.into(),
                Value::Number(number) => number.into(),
                Value::Count(count) => count.into(),
                Value::Flag(flag) => flag.into(),
                Value::Missing => serde_json::Value::Null,
            };
            object.insert(column.name.to_owned(), value);
        }
        object.insert("shape".to_owned(), serde_json::to_value(&row.case.shape)?);
        object.insert("samples_s".to_owned(), serde_json::to_value(&row.case.timing.samples_s)?);
        out.push_str(&serde_json::to_string(&object)?);
        out.push('\n');
    }
    Ok(out)
}
