//! Parts in CSV: one header with the columns of all.

use std::collections::BTreeSet;
use std::path::Path;

use csv::{ByteRecord, Reader, Writer};

use crate::cli::error::Error;
use crate::cli::sweep::identity::SweepIdentity;
use crate::cli::sweep::merge::parts::{Expected, Part};
use crate::cli::sweep::whole::{cannot, write_whole};

/// Writes all rows in their order, under the columns of all parts. What a part lacks is an empty cell.
pub(super) fn merge(parts: &[Part], output: &Path, whole: &SweepIdentity) -> Result<(), Error> {
    let mut columns = BTreeSet::new();
    for part in parts {
        let mut reader = Reader::from_path(&part.path).map_err(|error| cannot(&part.path, &error))?;
        let header = reader.byte_headers().map_err(|error| cannot(&part.path, &error))?;
        columns.extend(header.iter().map(<[u8]>::to_vec));
    }
    whole.write_beside(output)?;
    write_whole(output, |file| {
        let fail = |error: csv::Error| cannot(output, &error);
        let mut writer = Writer::from_writer(file);
        writer.write_byte_record(&columns.iter().collect()).map_err(fail)?;
        for part in parts {
            copy(part, &columns, &mut |row| writer.write_byte_record(row).map_err(fail))?;
        }
        writer.flush().map_err(|error| cannot(output, &error))
    })
}

fn copy(
    part: &Part,
    columns: &BTreeSet<Vec<u8>>,
    take: &mut dyn FnMut(&ByteRecord) -> Result<(), Error>,
) -> Result<(), Error> {
    let fail = |error: csv::Error| cannot(&part.path, &error);
    let mut reader = Reader::from_path(&part.path).map_err(fail)?;
    let header = reader.byte_headers().map_err(fail)?;
    let places: Vec<Option<usize>> = columns.iter().map(|column| header.iter().position(|own| own == column)).collect();
    let index = header.iter().position(|own| own == b"index");
    let mut expected = Expected::new(part);
    for row in reader.byte_records() {
        let row = row.map_err(fail)?;
        let cell = |place: Option<usize>| row.get(place?);
        expected.take(cell(index).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()))?;
        take(&places.iter().map(|place| cell(*place).unwrap_or_default()).collect())?;
    }
    expected.end()
}
