//! Measured operators in one file: Parquet, a group of rows for each table, and what is known of the tables beside them.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use serde::{Deserialize, Serialize};

use crate::operators::family::OperatorFamily;
use crate::operators::tables::{MeasuredOperator, MeasuredTable};
use crate::printable::printable;

/// The key of the description among the file's metadata.
const KEY: &str = "supernode.operators";
/// The version of the layout.
const LAYOUT: u32 = 1;
/// No file has more tables or rows.
const MOST_TABLES: usize = 100_000;
const MOST_ROWS: u64 = 100_000_000;
/// Columns of text before the sizes, and of sizes.
const TEXTS: [&str; 5] = ["system", "framework", "version", "family", "types"];
const SIZES: [&str; 7] = ["size_1", "size_2", "size_3", "size_4", "size_5", "size_6", "size_7"];

/// One table of a file, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableFacts {
    /// System: chip and node, as the source calls it.
    pub system: String,
    /// Framework.
    pub framework: String,
    /// Its version.
    pub version: String,
    /// What the operators do.
    pub family: OperatorFamily,
    /// The source's file, below its folder.
    pub file: String,
    /// Hash of that file.
    pub sha256: String,
    /// Rows taken.
    pub rows: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    layout: u32,
    /// What each family's sizes are.
    sizes: Vec<(OperatorFamily, Vec<String>)>,
    tables: Vec<TableFacts>,
}

/// Why a file of operators is refused.
#[derive(Debug, thiserror::Error)]
pub enum OperatorFileError {
    /// The system's reason.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is no such file.
    #[error("not a file of operators ({0}); make one with `supernode operators import`")]
    Foreign(String),
    /// A row is no good.
    #[error("{0}: times must be positive, sizes whole numbers of 1 or more")]
    BadRow(String),
    /// It has no table of that system.
    #[error("it has no operators of {asked}; it has those of {known}")]
    NoSystem {
        /// The system.
        asked: String,
        /// The ones that it has.
        known: String,
    },
}

impl From<ParquetError> for OperatorFileError {
    fn from(error: ParquetError) -> Self {
        Self::Foreign(printable(&error.to_string(), 200))
    }
}

/// A file whose description has been read.
pub struct OperatorFile {
    reader: SerializedFileReader<File>,
    tables: Vec<TableFacts>,
}

impl std::fmt::Debug for OperatorFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorFile").field("tables", &self.tables).finish_non_exhaustive()
    }
}

impl OperatorFile {
    /// Opens a file and reads its description.
    ///
    /// # Errors
    /// [`OperatorFileError`].
    pub fn open(path: &Path) -> Result<Self, OperatorFileError> {
        let reader = SerializedFileReader::new(File::open(path)?)?;
        let foreign = |reason: &str| OperatorFileError::Foreign(reason.to_owned());
        let about = reader.metadata().file_metadata();
        let entries = about.key_value_metadata().map_or(&[][..], Vec::as_slice);
        let text = entries.iter().find(|entry| entry.key == KEY).and_then(|entry| entry.value.as_deref());
        let text = text.ok_or_else(|| foreign("it does not describe its tables"))?;
        let description: Description = serde_json::from_str(text)
            .map_err(|error| OperatorFileError::Foreign(printable(&error.to_string(), 200)))?;
        if description.layout != LAYOUT {
            return Err(foreign(&format!("layout {}, not {LAYOUT}", description.layout)));
        }
        let (tables, groups) = (description.tables, reader.num_row_groups());
        if tables.len() > MOST_TABLES || tables.len() != groups {
            return Err(foreign(&format!("{} tables in {groups} groups of rows", tables.len())));
        }
        let columns = about.schema_descr().columns().iter().map(|column| column.name());
        let expected = TEXTS.iter().chain(&SIZES).chain(&["time_s"]);
        if !columns.eq(expected.copied()) {
            return Err(foreign("other columns"));
        }
        let has_count = |(index, table): (usize, &TableFacts)| {
            u64::try_from(reader.metadata().row_group(index).num_rows()) == Ok(table.rows) && table.rows <= MOST_ROWS
        };
        if !tables.iter().enumerate().all(has_count) {
            return Err(foreign("the description has other counts of rows"));
        }
        Ok(Self { reader, tables })
    }

    /// What tables it has.
    pub fn tables(&self) -> &[TableFacts] {
        &self.tables
    }

    /// The tables of a system.
    ///
    /// # Errors
    /// [`OperatorFileError`]: it has none, or a row of them is no good.
    pub fn read(&self, system: &str) -> Result<Vec<MeasuredTable>, OperatorFileError> {
        let chosen: Vec<usize> = (0..self.tables.len()).filter(|index| self.tables[*index].system == system).collect();
        if chosen.is_empty() {
            let mut known: Vec<&str> = self.tables.iter().map(|table| table.system.as_str()).collect();
            known.dedup();
            return Err(OperatorFileError::NoSystem {
                asked: printable(system, 60),
                known: printable(&known.join(", "), 300),
            });
        }
        chosen.into_iter().map(|index| self.read_table(index)).collect()
    }

    fn read_table(&self, index: usize) -> Result<MeasuredTable, OperatorFileError> {
        let facts = &self.tables[index];
        let group = self.reader.get_row_group(index)?;
        let count = usize::try_from(facts.rows).unwrap_or(0);
        let texts: Vec<ByteArray> = values(group.get_column_reader(TEXTS.len() - 1)?, count)?.texts()?;
        let mut types: Vec<String> = Vec::new();
        let mut rows = vec![MeasuredOperator { types: 0, sizes: [1; 7], time_s: 0.0 }; count];
        for (row, text) in rows.iter_mut().zip(&texts) {
            let text = text.as_utf8()?;
            let known = types.iter().position(|known| known == text);
            let place = known.unwrap_or_else(|| {
                types.push(text.to_owned());
                types.len() - 1
            });
            row.types = u16::try_from(place).map_err(|_| OperatorFileError::Foreign("too many types".to_owned()))?;
        }
        for place in 0..SIZES.len() {
            let sizes = values(group.get_column_reader(TEXTS.len() + place)?, count)?.integers()?;
            rows.iter_mut()
                .zip(sizes)
                .for_each(|(row, size)| row.sizes[place] = u32::try_from(size).unwrap_or(u32::MAX));
        }
        let times = values(group.get_column_reader(TEXTS.len() + SIZES.len())?, count)?.numbers()?;
        rows.iter_mut().zip(times).for_each(|(row, time)| row.time_s = time);
        let is_good = |row: &MeasuredOperator| row.time_s > 0.0 && row.time_s.is_finite();
        if !rows.iter().all(is_good) {
            return Err(OperatorFileError::BadRow(printable(&facts.file, 200)));
        }
        let (framework, version) = (facts.framework.clone(), facts.version.clone());
        Ok(MeasuredTable { family: facts.family, framework, version, types, rows })
    }
}

/// The values of one column of a group of rows.
enum Column {
    Texts(Vec<ByteArray>),
    Integers(Vec<i32>),
    Numbers(Vec<f32>),
}

fn values(reader: parquet::column::reader::ColumnReader, count: usize) -> Result<Column, OperatorFileError> {
    use parquet::column::reader::ColumnReader;
    macro_rules! read {
        ($reader:expr, $kind:expr) => {{
            let mut values = Vec::with_capacity(count);
            $reader.read_records(count, None, None, &mut values)?;
            $kind(values)
        }};
    }
    Ok(match reader {
        ColumnReader::ByteArrayColumnReader(mut reader) => read!(reader, Column::Texts),
        ColumnReader::Int32ColumnReader(mut reader) => read!(reader, Column::Integers),
        ColumnReader::FloatColumnReader(mut reader) => read!(reader, Column::Numbers),
        _ => return Err(OperatorFileError::Foreign("a column of another type".to_owned())),
    })
}

impl Column {
    fn other() -> OperatorFileError {
        OperatorFileError::Foreign("a column of another type".to_owned())
    }

    fn texts(self) -> Result<Vec<ByteArray>, OperatorFileError> {
        if let Self::Texts(values) = self { Ok(values) } else { Err(Self::other()) }
    }

    fn integers(self) -> Result<Vec<i32>, OperatorFileError> {
        if let Self::Integers(values) = self { Ok(values) } else { Err(Self::other()) }
    }

    fn numbers(self) -> Result<Vec<f32>, OperatorFileError> {
        if let Self::Numbers(values) = self { Ok(values) } else { Err(Self::other()) }
    }
}

/// Writes tables with their facts, in their order.
///
/// # Errors
/// Where the target cannot be written.
pub(super) fn write(
    target: &mut (impl Write + Send),
    tables: &[(TableFacts, MeasuredTable)],
) -> Result<(), ParquetError> {
    let sizes =
        OperatorFamily::ALL.map(|family| (family, family.sizes().iter().map(|size| (*size).to_owned()).collect()));
    let facts = tables.iter().map(|(facts, _)| facts.clone()).collect();
    let description = Description { layout: LAYOUT, sizes: sizes.to_vec(), tables: facts };
    let description = serde_json::to_string(&description).map_err(|error| ParquetError::General(error.to_string()))?;
    let properties = WriterProperties::builder()
        .set_created_by("supernode-bench".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(6)?))
        .set_key_value_metadata(Some(vec![KeyValue::new(KEY.to_owned(), description)]))
        .build();
    let mut writer = SerializedFileWriter::new(target, Arc::new(schema()?), Arc::new(properties))?;
    for (facts, table) in tables {
        let mut group = writer.next_row_group()?;
        write_table(&mut group, facts, table)?;
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

fn schema() -> Result<Type, ParquetError> {
    let field = |name: &str, kind: Physical, logical: Option<LogicalType>| {
        let builder = Type::primitive_type_builder(name, kind).with_repetition(Repetition::REQUIRED);
        builder.with_logical_type(logical).build().map(Arc::new)
    };
    let mut fields = Vec::new();
    for name in TEXTS {
        fields.push(field(name, Physical::BYTE_ARRAY, Some(LogicalType::String))?);
    }
    for name in SIZES {
        fields.push(field(name, Physical::INT32, None)?);
    }
    fields.push(field("time_s", Physical::FLOAT, None)?);
    Type::group_type_builder("operator").with_fields(fields).build()
}

fn write_table<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    facts: &TableFacts,
    table: &MeasuredTable,
) -> Result<(), ParquetError> {
    macro_rules! column {
        ($kind:ty, $values:expr) => {{
            if let Some(mut column) = group.next_column()? {
                column.typed::<$kind>().write_batch(&$values, None, None)?;
                column.close()?;
            }
        }};
    }
    for text in [&facts.system, &facts.framework, &facts.version, facts.family.name()] {
        column!(ByteArrayType, vec![ByteArray::from(text); table.rows.len()]);
    }
    let names: Vec<ByteArray> = table.types.iter().map(|name| ByteArray::from(name.as_str())).collect();
    let types: Vec<ByteArray> = table.rows.iter().map(|row| names[usize::from(row.types)].clone()).collect();
    column!(ByteArrayType, types);
    for place in 0..SIZES.len() {
        let sizes: Vec<i32> = table.rows.iter().map(|row| row.sizes[place].cast_signed()).collect();
        column!(Int32Type, sizes);
    }
    let times: Vec<f32> = table.rows.iter().map(|row| row.time_s).collect();
    column!(FloatType, times);
    Ok(())
}
