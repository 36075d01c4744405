//! Cells of a table for other tools, and what a column of them holds.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ColumnKind {
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "of sweeps, which write it to Parquet alone"))]
    Integer,
    Count,
    Flag,
    Number,
    Text,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CellValue {
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "of sweeps, which write it to Parquet alone"))]
    Integer(i64),
    Count(u64),
    Flag(bool),
    Number(f64),
    Text(String),
    Missing,
}
