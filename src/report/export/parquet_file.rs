//! A Parquet file through the crate of Apache Arrow, without Arrow: plain columns, each of which may be null, no compression.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use crate::report::export::cell::{CellValue, ColumnKind};

/// A file that is being written, one group of rows after the other.
pub(crate) struct ParquetFile<W: Write + Send> {
    writer: SerializedFileWriter<W>,
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
        Ok(Self { writer, kinds: columns.iter().map(|(_, kind)| *kind).collect() })
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
