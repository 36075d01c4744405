//! A record's cases as CSV and as JSON lines.

use crate::record::Record;
use crate::report::escape::csv_text;
use crate::report::export::cell::CellValue;
use crate::report::export::columns::{self, COLUMNS};

/// One case per line with a header (RFC 4180). A missing figure is empty; text that a spreadsheet would run as a formula has
/// an apostrophe in front.
///
/// # Errors
/// None in practice: the text is built in memory.
pub fn csv(records: &[(String, Record)]) -> Result<String, csv::Error> {
    let header: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    let rows =
        columns::rows(records).map(|row| COLUMNS.iter().map(|column| column.of(&row).into_csv()).collect::<Vec<_>>());
    csv_text(&header, rows)
}

/// One JSON object per case and line: the columns, the shape by name, and every sample.
///
/// # Errors
/// None in practice: a loaded record has only finite numbers.
pub fn jsonl(records: &[(String, Record)]) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    for row in columns::rows(records) {
        let mut object = serde_json::Map::new();
        for column in COLUMNS {
            let value = match column.of(&row) {
                CellValue::Text(text) => text.into(),
                CellValue::Number(number) => number.into(),
                CellValue::Integer(integer) => integer.into(),
                CellValue::Count(count) => count.into(),
                CellValue::Flag(flag) => flag.into(),
                CellValue::Missing => serde_json::Value::Null,
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
