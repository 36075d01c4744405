//! A file of rows as one CSV file.

use std::io;
use std::path::Path;

use crate::cli::error::Error;
use crate::cli::sweep::table::{cell, columns, each_row};
use crate::files::replace_with;

/// Writes the rows to `output`, whole or not at all (RFC 4180). What a row lacks is an empty cell.
pub(super) fn write(rows: &Path, output: &Path) -> Result<(), Error> {
    let columns = columns(rows)?;
    let mut bad_row = None;
    let written = replace_with(output, |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(columns.keys())?;
        let outcome = each_row::<Failed>(rows, |row| {
            let cells = columns.iter().map(|(name, kind)| cell(row.get(name), *kind).into_csv());
            Ok(writer.write_record(cells)?)
        });
        outcome.map_err(|error| match error {
            Failed::Csv(error) => io::Error::from(error),
            Failed::Rows(error) => {
                bad_row = Some(error);
                io::ErrorKind::InvalidData.into()
            }
        })?;
        writer.flush()
    });
    written.map_err(|error| bad_row.unwrap_or_else(|| Error::Input(format!("{}: {error}", output.display()))))
}

/// How many rows a file has.
pub(super) fn row_count(path: &Path) -> Result<u64, Error> {
    let fail = |error: csv::Error| Error::Input(format!("{}: {error}", path.display()));
    let mut reader = csv::Reader::from_path(path).map_err(fail)?;
    reader.records().try_fold(0, |rows, record| record.map(|_| rows + 1)).map_err(fail)
}

enum Failed {
    Rows(Error),
    Csv(csv::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Rows(error)
    }
}

impl From<csv::Error> for Failed {
    fn from(error: csv::Error) -> Self {
        Self::Csv(error)
    }
}
