//! Cells of a table for other tools, and what a column of them holds.

use crate::report::escape::spreadsheet_safe;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ColumnKind {
    #[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "only files that a page does not read have them"))]
    Integer,
    Count,
    Flag,
    Number,
    Text,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CellValue {
    #[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "only files that a page does not read have them"))]
    Integer(i64),
    Count(u64),
    Flag(bool),
    Number(f64),
    Text(String),
    Missing,
}

impl CellValue {
    /// As a cell of a column that takes more than its own kind: an integer as a number, a number as a text. What the column
    /// does not take is missing.
    #[cfg(feature = "parquet")]
    pub(crate) fn in_kind(self, kind: ColumnKind) -> Self {
        match (self, kind) {
            (Self::Integer(integer), ColumnKind::Number) => Self::Number(integer as f64),
            (Self::Integer(integer), ColumnKind::Text) => Self::Text(integer.to_string()),
            (Self::Number(number), ColumnKind::Text) => Self::Text(serde_json::Value::from(number).to_string()),
            (own, _) => own,
        }
    }

    /// As a cell of CSV. What is missing is empty; text that a spreadsheet would run as a formula has an apostrophe in front.
    pub(crate) fn into_csv(self) -> String {
        match self {
            Self::Text(text) => spreadsheet_safe(&text),
            Self::Number(number) => number.to_string(),
            Self::Integer(integer) => integer.to_string(),
            Self::Count(count) => count.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Missing => String::new(),
        }
    }
}
