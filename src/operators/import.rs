//! Reads the tables of NVIDIA's aiconfigurator: `SYSTEM/FAMILY/FRAMEWORK/VERSION/OPERATOR_perf.parquet`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::files::replace_with;
use crate::operators::family::{OperatorFamily, meaning};
use crate::operators::file::{TableFacts, write};
use crate::operators::grid::single;
use crate::operators::tables::{MeasuredOperator, MeasuredTable};
use crate::printable::printable;

/// Folders below the given one that are looked through.
const DEPTH: usize = 5;
/// The most files that are read.
const MOST_FILES: usize = 100_000;

/// Why tables were not read.
#[derive(Debug, thiserror::Error)]
pub enum TableImportError {
    /// The system's reason.
    #[error("{0}")]
    Io(String),
    /// No table was found.
    #[error(
        "no tables in the layout SYSTEM/FAMILY/FRAMEWORK/VERSION/OPERATOR_perf.parquet; give the folder systems/data of \
         aiconfigurator"
    )]
    Nothing,
    /// A file is no good.
    #[error("{file}: {reason}")]
    Bad {
        /// The file.
        file: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// What was read.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Imported {
    /// The tables that were taken.
    pub tables: Vec<TableFacts>,
    /// Tables that have the very times of another system's, and are left out: the file, and the one that it is a copy of.
    pub copies: Vec<(String, String)>,
    /// Files of operators that the model has no use for.
    pub unused_files: usize,
    /// Rows of types that the model has no use for, or without a time.
    pub unused_rows: u64,
}

/// Reads all tables below `folder` into the file `output`, whole or not at all. `advanced` is told the share of the files that
/// have been read.
///
/// # Errors
/// [`TableImportError`].
pub fn import(folder: &Path, output: &Path, advanced: &(dyn Fn() + Sync)) -> Result<Imported, TableImportError> {
    let mut files = Vec::new();
    find(folder, DEPTH, &mut files)?;
    files.sort();
    let (known, unused): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(|file| !families(file).is_empty());
    if known.is_empty() {
        return Err(TableImportError::Nothing);
    }
    let read: Vec<Vec<ReadTable>> = known
        .par_iter()
        .map(|file| {
            let tables = read_file(folder, file);
            advanced();
            tables
        })
        .collect::<Result<_, TableImportError>>()?;
    let mut imported = Imported { tables: Vec::new(), copies: Vec::new(), unused_files: unused.len(), unused_rows: 0 };
    let mut kept = Vec::new();
    let mut seen: BTreeMap<[u8; 32], (String, String)> = BTreeMap::new();
    for table in read.into_iter().flatten() {
        imported.unused_rows += table.unused_rows;
        let first = seen.get(&table.content).filter(|(system, _)| *system != table.facts.system);
        if let Some((_, first)) = first {
            imported.copies.push((table.facts.file, first.clone()));
        } else if !table.table.rows.is_empty() {
            seen.entry(table.content).or_insert_with(|| (table.facts.system.clone(), table.facts.file.clone()));
            imported.tables.push(table.facts.clone());
            kept.push((table.facts, table.table));
        }
    }
    imported.copies.dedup();
    replace_with(output, |file| write(file, &kept).map_err(std::io::Error::other))
        .map_err(|error| TableImportError::Io(format!("{}: {error}", output.display())))?;
    Ok(imported)
}

/// How many files of operators a folder has that the model has a use for.
///
/// # Errors
/// [`TableImportError`].
pub fn count(folder: &Path) -> Result<usize, TableImportError> {
    let mut files = Vec::new();
    find(folder, DEPTH, &mut files)?;
    Ok(files.iter().filter(|file| !families(file).is_empty()).count())
}

fn find(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), TableImportError> {
    let fail = |error: std::io::Error| TableImportError::Io(format!("{}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() && depth > 1 {
            find(&path, depth - 1, files)?;
        } else if depth == 1 && path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            return Err(TableImportError::Io(format!("more than {MOST_FILES} files below {}", folder.display())));
        }
    }
    Ok(())
}

/// The families that a file holds, by its name.
fn families(file: &Path) -> Vec<OperatorFamily> {
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    OperatorFamily::ALL.into_iter().filter(|family| family.files().contains(&name)).collect()
}

struct ReadTable {
    facts: TableFacts,
    table: MeasuredTable,
    /// Hash of types, sizes and times.
    content: [u8; 32],
    unused_rows: u64,
}

fn read_file(folder: &Path, file: &Path) -> Result<Vec<ReadTable>, TableImportError> {
    let below = file.strip_prefix(folder).unwrap_or(file);
    let shown = printable(&below.display().to_string(), 200);
    let bad = |reason: String| TableImportError::Bad { file: shown.clone(), reason };
    let parts: Vec<&str> = below.iter().filter_map(|part| part.to_str()).collect();
    let [system, _, framework, version, _] = parts[..] else {
        return Err(bad("its path is not UTF-8; rename it".to_owned()));
    };
    let bytes = fs::read(file).map_err(|error| bad(error.to_string()))?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let reader = File::open(file).map_err(|error| bad(error.to_string()))?;
    let reader = SerializedFileReader::new(reader).map_err(|error| bad(foreign(&error)))?;
    let table = |family| {
        let columns = Columns { reader: &reader };
        let (table, unused_rows) = columns.table(family, framework, version).map_err(&bad)?;
        let facts = TableFacts {
            system: system.to_owned(),
            framework: framework.to_owned(),
            version: version.to_owned(),
            family,
            file: below.display().to_string(),
            sha256: sha256.clone(),
            rows: table.rows.len() as u64,
        };
        Ok(ReadTable { content: content(&table), facts, table, unused_rows })
    };
    families(file).into_iter().map(table).collect()
}

fn foreign(error: &ParquetError) -> String {
    printable(&format!("not a Parquet file ({error}); fetch it again"), 200)
}

/// A hash of what a table says, whoever says it.
fn content(table: &MeasuredTable) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(table.family.name());
    for row in &table.rows {
        hash.update(&table.types[usize::from(row.types)]);
        row.sizes.iter().for_each(|size| hash.update(size.to_le_bytes()));
        hash.update(row.time_s.to_le_bytes());
    }
    hash.finalize().into()
}

/// The columns of one file, by name.
struct Columns<'a> {
    reader: &'a SerializedFileReader<File>,
}

impl Columns<'_> {
    /// The rows of a family, and how many were left out.
    fn table(&self, family: OperatorFamily, framework: &str, version: &str) -> Result<(MeasuredTable, u64), String> {
        let column = family.time_column();
        let times = self.numbers(column.name)?.ok_or_else(|| missing(column.name))?;
        let mut sizes = Vec::new();
        for names in family.size_columns() {
            sizes.push(self.sum(names, times.len())?);
        }
        let types = self.types(family, times.len())?;
        // Chunks after a cached prefix are another shape, which the tables of whole prompts do not have.
        let before = if family.is_prefill() { self.integers("step")? } else { None };
        let named = [self.texts("kernel_source")?, self.texts("op_name")?, self.texts("phase")?];
        let mut table = MeasuredTable {
            family,
            framework: framework.to_owned(),
            version: version.to_owned(),
            types: Vec::new(),
            rows: Vec::with_capacity(times.len()),
        };
        let mut unused = 0;
        for (place, time) in times.iter().enumerate() {
            let has_prefix = before.as_ref().is_some_and(|before| before.get(place).is_some_and(|step| *step != 0));
            let [kernel, operator, phase] =
                named.each_ref().map(|texts| texts.as_ref().and_then(|texts| texts.get(place)).map(String::as_str));
            let is_other = has_prefix || is_other(family, kernel, operator, phase);
            let Some(types) = types.get(place).filter(|types| is_used(family, types) && !is_other) else {
                unused += 1;
                continue;
            };
            let time_s = time * column.unit_s;
            if !(*time > 0.0 && time_s.is_finite()) {
                return Err(format!("row {}: a time of {time}; times are positive", place + 1));
            }
            let sizes = row_sizes(&sizes, place)
                .ok_or_else(|| format!("row {}: a size that is negative or huge", place + 1))?;
            // A module of another architecture.
            if family.sizes().iter().zip(sizes).any(|(name, size)| *name == "hidden" && size == 0) {
                unused += 1;
                continue;
            }
            let types = place_of(&mut table.types, types)?;
            table.rows.push(MeasuredOperator { types, sizes, time_s: single(time_s) });
        }
        Ok((table, unused))
    }

    /// The names of the types of each row, with spaces between.
    fn types(&self, family: OperatorFamily, rows: usize) -> Result<Vec<String>, String> {
        let mut all = vec![String::new(); rows];
        for name in family.type_columns() {
            let Some(texts) = self.texts(name)? else { continue };
            for (all, text) in all.iter_mut().zip(texts) {
                if !all.is_empty() {
                    all.push(' ');
                }
                all.push_str(&printable(&text, 40));
            }
        }
        Ok(all)
    }

    /// The sum of those columns that the file has, of which a window or a step alone is not enough.
    fn sum(&self, names: &[&str], rows: usize) -> Result<Vec<i64>, String> {
        let mut all = vec![0_i64; rows];
        let optional = |name: &&str| matches!(*name, "window_size" | "step");
        let mut is_there = names.iter().all(optional);
        for name in names {
            let values = if *name == "architecture" { self.hidden_sizes(name)? } else { self.integers(name)? };
            is_there |= values.is_some() && !optional(name);
            all.iter_mut().zip(values.unwrap_or_default()).for_each(|(all, value)| *all = all.saturating_add(value));
        }
        if is_there { Ok(all) } else { Err(missing(names.first().unwrap_or(&"of sizes"))) }
    }

    /// The hidden sizes of architectures; 0 for one that the model has no use for.
    fn hidden_sizes(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        let of = |name: &String| match name.as_str() {
            "DeepseekV32ForCausalLM" => 7168,
            "GlmMoeDsaForCausalLM" => 6144,
            _ => 0,
        };
        Ok(self.texts(name)?.map(|names| names.iter().map(of).collect()))
    }

    fn place(&self, name: &str) -> Option<usize> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        schema.columns().iter().position(|column| column.name() == name)
    }

    fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        let mut all = Vec::new();
        let of = |reader, rows, all: &mut Vec<i64>| match reader {
            ColumnReader::Int64ColumnReader(reader) => extend(reader, rows, all),
            ColumnReader::Int32ColumnReader(reader) => {
                let mut own = Vec::new();
                let read = extend(reader, rows, &mut own);
                all.extend(own.into_iter().map(i64::from));
                read
            }
            _ => Err("not whole numbers".to_owned()),
        };
        self.each_group(name, |reader, rows| of(reader, rows, &mut all)).map(|found| found.then_some(all))
    }

    fn numbers(&self, name: &str) -> Result<Option<Vec<f64>>, String> {
        let mut all = Vec::new();
        let of = |reader, rows, all: &mut Vec<f64>| match reader {
            ColumnReader::DoubleColumnReader(reader) => extend(reader, rows, all),
            _ => Err("not numbers".to_owned()),
        };
        self.each_group(name, |reader, rows| of(reader, rows, &mut all)).map(|found| found.then_some(all))
    }

    fn texts(&self, name: &str) -> Result<Option<Vec<String>>, String> {
        let mut all: Vec<ByteArray> = Vec::new();
        let of = |reader, rows, all: &mut Vec<ByteArray>| match reader {
            ColumnReader::ByteArrayColumnReader(reader) => extend(reader, rows, all),
            _ => Err("not text".to_owned()),
        };
        let found = self.each_group(name, |reader, rows| of(reader, rows, &mut all))?;
        let texts = all.iter().map(|text| String::from_utf8_lossy(text.data()).into_owned());
        Ok(found.then(|| texts.collect()))
    }

    /// Hands the reader of a column in each group of rows to `take`. Returns whether there is such a column.
    fn each_group(
        &self,
        name: &str,
        mut take: impl FnMut(ColumnReader, usize) -> Result<(), String>,
    ) -> Result<bool, String> {
        let Some(place) = self.place(name) else { return Ok(false) };
        for index in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(index).map_err(|error| foreign(&error))?;
            let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            let reader = group.get_column_reader(place).map_err(|error| foreign(&error))?;
            take(reader, rows).map_err(|reason| format!("column {name}: {reason}"))?;
        }
        Ok(true)
    }
}

/// Adds the values of a column of one group. Empty cells are refused: rows would shift.
fn extend<T: DataType>(
    mut reader: parquet::column::reader::ColumnReaderImpl<T>,
    rows: usize,
    all: &mut Vec<T::T>,
) -> Result<(), String> {
    let (before, mut levels) = (all.len(), Vec::new());
    reader.read_records(rows, Some(&mut levels), None, all).map_err(|error| foreign(&error))?;
    if all.len() - before == rows { Ok(()) } else { Err("it has empty cells; fetch the file again".to_owned()) }
}

fn missing(column: &str) -> String {
    format!("it has no column {column}; its layout is not that of aiconfigurator 0.12")
}

fn is_used(family: OperatorFamily, types: &str) -> bool {
    family.type_columns().is_empty() || types.split(' ').next().is_some_and(|name| meaning(name).is_some())
}

/// Whether a row is another operator than its family's: another collective, experts without a gate, a layer that takes over the
/// choice of the one before it, another kernel or phase of a recurrence.
fn is_other(family: OperatorFamily, kernel: Option<&str>, operator: Option<&str>, phase: Option<&str>) -> bool {
    let convolves = kernel.is_some_and(|name| name.contains("conv1d"));
    let phase_is = |wanted| phase.is_some_and(|phase| phase == wanted);
    match family {
        OperatorFamily::AllReduce => operator.is_some_and(|name| name != "all_reduce"),
        OperatorFamily::Experts => kernel.is_some_and(|name| name.contains("nongated")),
        OperatorFamily::SparsePrefill | OperatorFamily::SparseDecode => {
            operator.is_some_and(|name| name.ends_with("skip_indexer"))
        }
        OperatorFamily::ConvolutionPrefill => !convolves || !phase_is("context"),
        OperatorFamily::ConvolutionDecode => !convolves || !phase_is("generation"),
        OperatorFamily::GatedDeltaPrefill | OperatorFamily::KimiDeltaPrefill => convolves || !phase_is("context"),
        OperatorFamily::GatedDeltaDecode | OperatorFamily::KimiDeltaDecode => convolves || !phase_is("generation"),
        _ => false,
    }
}

fn place_of(known: &mut Vec<String>, types: &str) -> Result<u16, String> {
    let place = known.iter().position(|one| one == types).unwrap_or_else(|| {
        known.push(types.to_owned());
        known.len() - 1
    });
    u16::try_from(place).map_err(|_| "more than 65,536 combinations of types".to_owned())
}

fn row_sizes(columns: &[Vec<i64>], place: usize) -> Option<[u32; 7]> {
    let mut sizes = [1; 7];
    for (size, column) in sizes.iter_mut().zip(columns) {
        *size = u32::try_from(*column.get(place)?).ok().filter(|size| *size <= i32::MAX.cast_unsigned())?;
    }
    Some(sizes)
}
