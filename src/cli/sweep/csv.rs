//! A file of rows as one CSV file.

use std::path::Path;

use crate::cli::error::Error;
use crate::cli::sweep::table::{cell, columns, each_row};
use crate::cli::sweep::whole::{cannot, write_whole};

/// Writes the rows to `output`, whole or not at all (RFC 4180). What a row lacks is an empty cell.
pub(super) fn write(rows: &Path, output: &Path) -> Result<(), Error> {
    let columns = columns(rows)?;
    let fail = |error: csv::Error| cannot(output, &error);
    write_whole(output, |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(columns.keys()).map_err(fail)?;
        each_row(rows, |row| {
            let cells = columns.iter().map(|(name, kind)| cell(row.get(name), *kind).into_csv());
            writer.write_record(cells).map_err(fail)
        })?;
        writer.flush().map_err(|error| cannot(output, &error))
    })
}

/// How many rows a file has.
pub(super) fn row_count(path: &Path) -> Result<u64, Error> {
    let fail = |error: csv::Error| cannot(path, &error);
    let mut reader = csv::Reader::from_path(path).map_err(fail)?;
    reader.byte_records().try_fold(0, |rows, record| record.map(|_| rows + 1)).map_err(fail)
}
