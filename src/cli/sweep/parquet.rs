//! A file of rows as one Parquet file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::cli::error::Error;
use crate::cli::sweep::table::{Scalars, cell, columns, each_row};
use crate::files::replace_with;
use crate::report::export::cell::ColumnKind;
use crate::report::export::parquet_file::ParquetFile;

/// Rows of a row group: what is held in memory at once.
const GROUP_ROWS: usize = 20_000;

/// Writes the rows to `output`, whole or not at all.
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
    written.map_err(|error| bad_row.unwrap_or_else(|| fail(&error)))
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

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Rows(error)
    }
}

impl From<ParquetError> for Failed {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

fn write_columns(rows: &Path, columns: &BTreeMap<String, ColumnKind>, file: &File) -> Result<(), Failed> {
    let heads: Vec<(&str, ColumnKind)> = columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let mut file = ParquetFile::new(file, "sweep", &heads)?;
    let mut write_group = |group: &[Scalars]| {
        file.group(heads.iter().map(|(name, kind)| group.iter().map(|row| cell(row.get(*name), *kind)).collect()))
    };
    let mut group = Vec::new();
    each_row::<Failed>(rows, |row| {
        group.push(row);
        if group.len() == GROUP_ROWS { write_group(&std::mem::take(&mut group)).map_err(Failed::from) } else { Ok(()) }
    })?;
    if !group.is_empty() {
        write_group(&group)?;
    }
    file.finish()?;
    Ok(())
}
