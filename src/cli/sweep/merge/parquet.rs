//! Parts in Parquet: groups of rows are copied as they lie, where the columns are the same.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::error::Error;
use crate::cli::sweep::identity::{METADATA_KEY, SweepIdentity};
use crate::cli::sweep::merge::parts::{Expected, Part};
use crate::cli::sweep::parquet::MESSAGE;
use crate::cli::sweep::whole::{cannot, write_whole};
use crate::report::export::cell::{CellValue, ColumnKind};
use crate::report::export::parquet_file::ParquetFile;
use crate::report::export::parquet_source::ParquetSource;

/// Writes all rows in their order, under the columns of all parts. Which columns a part has, and whether a column holds
/// integers alone, follows from its rows; the whole has the columns that one process would have found.
pub(super) fn merge(parts: &[Part], output: &Path, whole: &SweepIdentity) -> Result<(), Error> {
    let mut columns: BTreeMap<String, ColumnKind> = BTreeMap::new();
    for part in parts {
        for (name, kind) in source(part)?.columns() {
            let entry = columns.entry(name.clone()).or_insert(*kind);
            *entry = (*kind).max(*entry);
        }
    }
    let heads: Vec<(&str, ColumnKind)> = columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    write_whole(output, |file| {
        let mut target = ParquetFile::new(&*file, MESSAGE, &heads).map_err(|error| cannot(output, &error))?;
        target.say(METADATA_KEY, whole.to_json());
        for part in parts {
            let source = source(part)?;
            let mut expected = Expected::new(part);
            for group in 0..source.groups() {
                check_numbers(part, &source, group, &mut expected)?;
                target.copy_group(&source, group).map_err(|error| cannot(&part.path, &error))?;
            }
            expected.end()?;
        }
        target.finish().map_err(|error| cannot(output, &error)).map(drop)
    })
}

fn source(part: &Part) -> Result<ParquetSource, Error> {
    ParquetSource::open(&part.path).map_err(|error| cannot(&part.path, &error))
}

fn check_numbers(part: &Part, source: &ParquetSource, group: usize, expected: &mut Expected<'_>) -> Result<(), Error> {
    let place = source.columns().iter().position(|(name, _)| name == "index");
    let place = place.ok_or_else(|| cannot(&part.path, &"it has no column `index`; compute its shard again"))?;
    let cells = source.cells(group, place).map_err(|error| cannot(&part.path, &error))?;
    cells.into_iter().try_for_each(|cell| {
        expected.take(if let CellValue::Integer(index) = cell { u64::try_from(index).ok() } else { None })
    })
}
