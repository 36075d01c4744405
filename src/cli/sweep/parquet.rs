//! A file of rows as one Parquet file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::cli::error::Error;
use crate::cli::sweep::identity::{METADATA_KEY, SweepIdentity};
use crate::cli::sweep::table::{Scalars, cell, columns, each_row};
use crate::cli::sweep::whole::{cannot, write_whole};
use crate::report::export::cell::ColumnKind;
use crate::report::export::parquet_file::ParquetFile;

/// The name of the message, which is that of a row.
pub(super) const MESSAGE: &str = "sweep";
/// Rows of a row group: what is held in memory at once.
const GROUP_ROWS: usize = 20_000;

/// Writes the rows to `output`, whole or not at all.
pub(super) fn write(rows: &Path, output: &Path, identity: &SweepIdentity) -> Result<(), Error> {
    let columns = columns(rows)?;
    write_whole(output, |file| write_columns(rows, &columns, file, identity, &|error| cannot(output, &error)))
}

/// What the file says that it is.
///
/// # Errors
/// [`Error::Input`] for a file that is no Parquet, or no sweep's, or whose rows are not as many as it says.
pub(super) fn identity(path: &Path) -> Result<SweepIdentity, Error> {
    let file = File::open(path).map_err(|error| cannot(path, &error))?;
    let reader = SerializedFileReader::new(file).map_err(|error| cannot(path, &error))?;
    let metadata = reader.metadata().file_metadata();
    let texts = metadata.key_value_metadata().map_or(&[][..], Vec::as_slice);
    let text = texts.iter().find(|text| text.key == METADATA_KEY).and_then(|text| text.value.as_deref());
    let text = text.ok_or_else(|| cannot(path, &"it does not say what sweep it is of; give another file"))?;
    let identity = SweepIdentity::from_json(text.as_bytes())
        .map_err(|error| cannot(path, &format_args!("metadata {METADATA_KEY}: {error}; give another file")))?;
    let rows = u64::try_from(metadata.num_rows()).unwrap_or(0);
    if rows != identity.points {
        return Err(cannot(path, &format_args!("it has {rows} rows and says {}; compute it again", identity.points)));
    }
    Ok(identity)
}

fn write_columns(
    rows: &Path,
    columns: &BTreeMap<String, ColumnKind>,
    file: &File,
    identity: &SweepIdentity,
    fail: &dyn Fn(ParquetError) -> Error,
) -> Result<(), Error> {
    let heads: Vec<(&str, ColumnKind)> = columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let mut file = ParquetFile::new(file, MESSAGE, &heads).map_err(fail)?;
    file.say(METADATA_KEY, identity.to_json());
    let mut write_group = |group: &[Scalars]| {
        let cells = heads.iter().map(|(name, kind)| group.iter().map(|row| cell(row.get(*name), *kind)).collect());
        file.group(cells).map_err(fail)
    };
    let mut group = Vec::new();
    each_row(rows, |row| {
        group.push(row);
        if group.len() == GROUP_ROWS { write_group(&std::mem::take(&mut group)) } else { Ok(()) }
    })?;
    if !group.is_empty() {
        write_group(&group)?;
    }
    file.finish().map_err(fail).map(drop)
}
