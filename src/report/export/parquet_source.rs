//! A Parquet file of plain columns that is read group by group.

use std::fs::File;
use std::path::Path;

use parquet::basic::{ConvertedType, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::report::export::cell::{CellValue, ColumnKind};

/// An open file.
pub(crate) struct ParquetSource {
    /// For bytes that are copied as they lie.
    pub(super) file: File,
    /// For all else.
    pub(super) reader: SerializedFileReader<File>,
    /// Names and kinds of the columns.
    pub(super) columns: Vec<(String, ColumnKind)>,
}

impl ParquetSource {
    /// Opens a file and reads what columns it has.
    ///
    /// # Errors
    /// For a file that is no Parquet, or has columns that no [`ColumnKind`] is for.
    pub(crate) fn open(path: &Path) -> Result<Self, ParquetError> {
        let file = File::open(path)?;
        let reader = SerializedFileReader::new(file.try_clone()?)?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let columns = schema.columns().iter().map(|column| {
            let kind = match (column.physical_type(), column.converted_type()) {
                (Physical::INT64, ConvertedType::UINT_64) => ColumnKind::Count,
                (Physical::INT64, _) => ColumnKind::Integer,
                (Physical::BOOLEAN, _) => ColumnKind::Flag,
                (Physical::DOUBLE, _) => ColumnKind::Number,
                (Physical::BYTE_ARRAY, ConvertedType::UTF8) => ColumnKind::Text,
                (other, _) => return Err(unusable(&format!("column {} is {other}", column.name()))),
            };
            let plain = column.max_def_level() == 1 && column.max_rep_level() == 0;
            if plain {
                Ok((column.name().to_owned(), kind))
            } else {
                Err(unusable(&format!("column {}", column.name())))
            }
        });
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Self { file, reader, columns })
    }

    /// Names and kinds of the columns.
    pub(crate) fn columns(&self) -> &[(String, ColumnKind)] {
        &self.columns
    }

    /// How many groups of rows.
    pub(crate) fn groups(&self) -> usize {
        self.reader.num_row_groups()
    }

    /// Rows of a group.
    pub(crate) fn rows(&self, group: usize) -> usize {
        usize::try_from(self.reader.metadata().row_group(group).num_rows()).unwrap_or(0)
    }

    /// The cells of a column of a group, both by their place.
    ///
    /// # Errors
    /// Where the file is damaged.
    pub(crate) fn cells(&self, group: usize, column: usize) -> Result<Vec<CellValue>, ParquetError> {
        let rows = self.rows(group);
        let kind = self.columns.get(column).map(|(_, kind)| *kind);
        match self.reader.get_row_group(group)?.get_column_reader(column)? {
            ColumnReader::Int64ColumnReader(reader) if kind == Some(ColumnKind::Count) => {
                read(reader, rows, |bits: i64| Some(CellValue::Count(bits.cast_unsigned())))
            }
            ColumnReader::Int64ColumnReader(reader) => read(reader, rows, |value| Some(CellValue::Integer(value))),
            ColumnReader::BoolColumnReader(reader) => read(reader, rows, |value| Some(CellValue::Flag(value))),
            ColumnReader::DoubleColumnReader(reader) => read(reader, rows, |value| Some(CellValue::Number(value))),
            ColumnReader::ByteArrayColumnReader(reader) => {
                read(reader, rows, |value| Some(CellValue::Text(value.as_utf8().ok()?.to_owned())))
            }
            _ => Err(unusable("a column of an unknown kind")),
        }
    }
}

/// The cells of a column, in the order of the rows.
fn read<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    cell: impl Fn(T::T) -> Option<CellValue>,
) -> Result<Vec<CellValue>, ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    while levels.len() < rows {
        let (records, _, _) = reader.read_records(rows - levels.len(), Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Err(unusable("fewer values than rows"));
        }
    }
    let mut values = values.into_iter();
    let missing = || unusable("a value that is missing or is no text");
    let cells = levels.iter().map(|level| match level {
        0 => Ok(CellValue::Missing),
        _ => values.next().and_then(&cell).ok_or_else(missing),
    });
    cells.collect()
}

fn unusable(what: &str) -> ParquetError {
    ParquetError::General(format!("{what}, which no table of this program has"))
}
