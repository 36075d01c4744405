//! A Parquet file through the crate of Apache Arrow, without Arrow: plain columns, each of which may be null, no compression.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::FileReader;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use crate::report::export::cell::{CellValue, ColumnKind};
use crate::report::export::parquet_source::ParquetSource;

/// A file that is being written, one group of rows after the other.
pub(crate) struct ParquetFile<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    names: Vec<String>,
    kinds: Vec<ColumnKind>,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Begins a file whose message has this name and these columns.
    ///
    /// # Errors
    /// Where `target` cannot be written.
    pub(crate) fn new(target: W, message: &str, columns: &[(&str, ColumnKind)]) -> Result<Self, ParquetError> {
        let fields = columns.iter().map(|(name, kind)| Ok(Arc::new(field(name, *kind)?)));
        let fields = fields.collect::<Result<_, ParquetError>>()?;
        let schema = Type::group_type_builder(message).with_fields(fields).build()?;
        let properties = WriterProperties::builder().set_created_by("supernode-bench".to_owned()).build();
        let writer = SerializedFileWriter::new(target, Arc::new(schema), Arc::new(properties))?;
        let names = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        Ok(Self { writer, names, kinds: columns.iter().map(|(_, kind)| *kind).collect() })
    }

    /// Adds a text to the file's metadata.
    pub(crate) fn say(&mut self, key: &str, text: String) {
        self.writer.append_key_value_metadata(KeyValue::new(key.to_owned(), text));
    }

    /// Writes a group of rows of another file. A column that the other has in the same kind is copied as it lies there; one
    /// that it lacks is missing in each row; one of another kind is read, and written in this file's.
    ///
    /// # Errors
    /// Where the other file cannot be read, or the target cannot be written.
    pub(crate) fn copy_group(&mut self, from: &ParquetSource, group: usize) -> Result<(), ParquetError> {
        let metadata = from.reader.metadata().row_group(group);
        let mut target = self.writer.next_row_group()?;
        for (name, kind) in self.names.iter().zip(&self.kinds) {
            let place = from.columns.iter().position(|(own, _)| own == name);
            match place.and_then(|place| Some((place, from.columns.get(place)?.1))) {
                Some((place, own)) if own == *kind => {
                    let metadata = metadata.column(place).clone();
                    let close = ColumnCloseResult {
                        bytes_written: u64::try_from(metadata.compressed_size()).unwrap_or(0),
                        rows_written: from.rows(group) as u64,
                        metadata,
                        bloom_filter: None,
                        column_index: None,
                        offset_index: None,
                    };
                    target.append_column(&from.file, close)?;
                }
                found => {
                    let cells = match found {
                        Some((place, _)) => {
                            from.cells(group, place)?.into_iter().map(|cell| cell.in_kind(*kind)).collect()
                        }
                        None => vec![CellValue::Missing; from.rows(group)],
                    };
                    let Some(mut column) = target.next_column()? else {
                        return Err(ParquetError::General("more columns than the file has".to_owned()));
                    };
                    write(&mut column, *kind, &cells)?;
                    column.close()?;
                }
            }
        }
        target.close()?;
        Ok(())
    }

    /// Writes a group of rows, given as the cells of each column.
    ///
    /// # Errors
    /// Where the target cannot be written, or has another number of columns.
    pub(crate) fn group(&mut self, columns: impl IntoIterator<Item = Vec<CellValue>>) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for (kind, cells) in self.kinds.iter().zip(columns) {
            let Some(mut column) = group.next_column()? else {
                return Err(ParquetError::General("more columns than the file has".to_owned()));
            };
            write(&mut column, *kind, &cells)?;
            column.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Where the target cannot be written.
    pub(crate) fn finish(self) -> Result<W, ParquetError> {
        self.writer.into_inner()
    }
}

fn field(name: &str, kind: ColumnKind) -> Result<Type, ParquetError> {
    let (physical, converted) = match kind {
        ColumnKind::Integer => (Physical::INT64, ConvertedType::NONE),
        ColumnKind::Count => (Physical::INT64, ConvertedType::UINT_64),
        ColumnKind::Flag => (Physical::BOOLEAN, ConvertedType::NONE),
        ColumnKind::Number => (Physical::DOUBLE, ConvertedType::NONE),
        ColumnKind::Text => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
    };
    let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    builder.with_converted_type(converted).build()
}

/// The cells of one column. A cell of another kind than the column's is missing.
fn write(target: &mut SerializedColumnWriter<'_>, kind: ColumnKind, cells: &[CellValue]) -> Result<(), ParquetError> {
    macro_rules! column {
        ($kind:ty, $pattern:pat => $value:expr) => {{
            let values: Vec<_> =
                cells.iter().map(|cell| if let $pattern = cell { Some($value) } else { None }).collect();
            let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
            let present: Vec<_> = values.into_iter().flatten().collect();
            target.typed::<$kind>().write_batch(&present, Some(&levels), None)?
        }};
    }
    match kind {
        ColumnKind::Integer => column!(Int64Type, CellValue::Integer(integer) => *integer),
        // The bits of an unsigned integer, as the column's type says.
        ColumnKind::Count => column!(Int64Type, CellValue::Count(count) => count.cast_signed()),
        ColumnKind::Flag => column!(BoolType, CellValue::Flag(flag) => *flag),
        ColumnKind::Number => column!(DoubleType, CellValue::Number(number) => *number),
        ColumnKind::Text => column!(ByteArrayType, CellValue::Text(text) => ByteArray::from(text.as_str())),
    };
    Ok(())
}
