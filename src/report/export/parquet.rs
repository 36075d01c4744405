//! Cases as a Parquet file.

use parquet::errors::ParquetError;

use crate::record::Record;
use crate::report::export::cell::ColumnKind;
use crate::report::export::columns::{COLUMNS, CaseRow, rows};
use crate::report::export::parquet_file::ParquetFile;

/// One row per case, with the columns of the CSV; every column may be null.
///
/// # Errors
/// None in practice: the file is built in memory.
pub fn parquet(records: &[(String, Record)]) -> Result<Vec<u8>, ParquetError> {
    let columns: Vec<(&str, ColumnKind)> = COLUMNS.iter().map(|column| (column.name, column.kind)).collect();
    let mut file = ParquetFile::new(Vec::new(), "case", &columns)?;
    let rows: Vec<CaseRow<'_>> = rows(records).collect();
    file.group(COLUMNS.iter().map(|column| rows.iter().map(|row| column.of(row)).collect()))?;
    file.finish()
}
