//! Parquet through the crate of Apache Arrow, without Arrow: one row group, plain columns, no compression.

use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use super::columns::{COLUMNS, Column, Kind, Row, Value, rows};
use crate::record::Record;

/// One row a case, with the columns of the CSV; every column may be null.
///
/// # Errors
/// None in practice: the file is built in memory.
pub fn parquet(records: &[(String, Record)]) -> Result<Vec<u8>, ParquetError> {
    let fields = COLUMNS.iter().map(|column| Ok(Arc::new(field(column)?))).collect::<Result<_, ParquetError>>()?;
    let schema = Type::group_type_builder("case").with_fields(fields).build()?;
    let properties = WriterProperties::builder().set_created_by("supernode-bench".to_owned()).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
    let rows: Vec<Row<'_>> = rows(records).collect();
    let mut group = writer.next_row_group()?;
    for column in COLUMNS {
        let Some(mut target) = group.next_column()? else {
            return Err(ParquetError::General(format!("no column {}", column.name)));
        };
        write(&mut target, column, &rows)?;
        target.close()?;
    }
    group.close()?;
    writer.into_inner()
}

fn field(column: &Column) -> Result<Type, ParquetError> {
    let (physical, converted) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
        Kind::Number => (Physical::DOUBLE, ConvertedType::NONE),
        Kind::Count => (Physical::INT64, ConvertedType::UINT_64),
        Kind::Flag => (Physical::BOOLEAN, ConvertedType::NONE),
    };
    let builder = Type::primitive_type_builder(column.name, physical).with_repetition(Repetition::OPTIONAL);
    builder.with_converted_type(converted).build()
}

fn write(target: &mut SerializedColumnWriter<'_>, column: &Column, rows: &[Row<'_>]) -> Result<(), ParquetError> {
    let values: Vec<Value> = rows.iter().map(|row| column.of(row)).collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(*value != Value::Missing)).collect();
    macro_rules! column {
        ($kind:ty, $pattern:pat => $value:expr) => {{
            let present: Vec<_> =
                values.iter().filter_map(|value| if let $pattern = value { Some($value) } else { None }).collect();
            target.typed::<$kind>().write_batch(&present, Some(&levels), None)?
        }};
    }
    match column.kind {
        Kind::Text => column!(ByteArrayType, Value::Text(text) => ByteArray::from(text.as_str())),
        Kind::Number => column!(DoubleType, Value::Number(number) => *number),
        // The bits of an unsigned integer, as the column's type says.
        Kind::Count => column!(Int64Type, Value::Count(count) => count.cast_signed()),
        Kind::Flag => column!(BoolType, Value::Flag(flag) => *flag),
    };
    Ok(())
}
