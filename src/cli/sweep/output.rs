//! Where rows go: JSON Lines to a file or standard output, or a table (CSV, Parquet) by way of such a file.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::output::print;
use crate::cli::sweep::csv;
#[cfg(feature = "parquet")]
use crate::cli::sweep::parquet;
use crate::projection::sweep::SweepRow;
use crate::specs::Grid;

/// Format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SweepFormat {
    /// One JSON object per line.
    Jsonl,
    /// One CSV file, written when all points are there; until then the rows are in FILE.partial.jsonl.
    Csv,
    /// One Parquet file, written as CSV is.
    Parquet,
}

impl SweepFormat {
    /// The format that a file's name says.
    fn of_name(output: Option<&Path>) -> Self {
        match output.and_then(Path::extension).and_then(|extension| extension.to_str()) {
            Some("csv") => Self::Csv,
            Some("parquet") => Self::Parquet,
            _ => Self::Jsonl,
        }
    }

    /// As the format is called.
    const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "JSON Lines",
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
        }
    }

    /// How many rows a finished file has.
    fn row_count(self, output: &Path) -> Result<u64, Error> {
        if self == Self::Csv { csv::row_count(output) } else { row_count(output) }
    }
}

/// An open output.
pub(super) struct Sink {
    /// Rows go here; `None`: standard output.
    rows: Option<(PathBuf, File)>,
    /// Points that were there before.
    done: BTreeSet<u64>,
    /// The table to make at the end.
    table: Option<(SweepFormat, PathBuf)>,
}

impl Sink {
    /// Opens an output. With `resume`, the rows that it has are checked against the grid, and a torn last line is cut off.
    pub(super) fn open(
        output: Option<&Path>,
        format: Option<SweepFormat>,
        resume: bool,
        grid: &Grid,
        range: &Range<u64>,
    ) -> Result<Self, Error> {
        let format = format.unwrap_or_else(|| SweepFormat::of_name(output));
        let Some(output) = output else {
            if format != SweepFormat::Jsonl {
                return Err(Error::Input(format!("{} goes into a file: give one with -o", format.name())));
            }
            return Ok(Self { rows: None, done: BTreeSet::new(), table: None });
        };
        let table = (format != SweepFormat::Jsonl).then(|| (format, output.to_owned()));
        if format == SweepFormat::Parquet {
            parquet_available()?;
        }
        let path = if table.is_some() { partial(output) } else { output.to_owned() };
        for existing in [output, &path] {
            if existing.exists() && !resume {
                let name = existing.display();
                return Err(Error::Input(format!("{name} exists: go on with --resume, or give another file with -o")));
            }
        }
        if table.is_some() && output.exists() {
            let (rows, points) = (format.row_count(output)?, range.end - range.start);
            if rows != points {
                let name = output.display();
                let reason = format!("{name} has {rows} rows, this sweep {points} points; give another file with -o");
                return Err(Error::Input(reason));
            }
            let done = range.clone().collect();
            return Ok(Self { rows: None, done, table: None });
        }
        let fail = |error: std::io::Error| Error::Input(format!("{}: {error}", path.display()));
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        let done = if resume { read_rows(&path, &mut file, grid, range)? } else { BTreeSet::new() };
        Ok(Self { rows: Some((path, file)), done, table })
    }

    /// Whether the point was there before.
    pub(super) fn has(&self, index: u64) -> bool {
        self.done.contains(&index)
    }

    /// Appends a row, whole: one write per line.
    pub(super) fn write(&mut self, row: &SweepRow) -> Result<(), Error> {
        let mut line = serde_json::to_string(row)
            .map_err(|error| Error::Input(format!("point {}: a figure is not finite ({error})", row.index)))?;
        line.push('\n');
        match &mut self.rows {
            None => print(&line),
            Some((path, file)) => file.write_all(line.as_bytes()).map_err(|error| {
                Error::Input(format!("{}: {error}; make room and go on with --resume", path.display()))
            }),
        }
    }

    /// What to do after an interruption.
    pub(super) fn advice(&self) -> &'static str {
        if self.rows.is_some() { ": go on with --resume" } else { ", which were printed" }
    }

    /// All rows are there.
    pub(super) fn finish(self) -> Result<(), Error> {
        let Some((path, file)) = self.rows else { return Ok(()) };
        file.sync_all().map_err(|error| Error::Input(format!("{}: {error}", path.display())))?;
        let Some((format, table)) = self.table else { return Ok(()) };
        if format == SweepFormat::Csv {
            csv::write(&path, &table)?;
        } else {
            write_parquet(&path, &table)?;
        }
        std::fs::remove_file(&path).map_err(|error| Error::Input(format!("{}: {error}", path.display())))
    }
}

/// The file of rows that a table is made of at the end.
fn partial(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".partial.jsonl");
    name.into()
}

/// The points that the file has. Leaves the file without a torn last line, at its end.
fn read_rows(path: &Path, file: &mut File, grid: &Grid, range: &Range<u64>) -> Result<BTreeSet<u64>, Error> {
    let name = path.display();
    let fail = |error: std::io::Error| Error::Input(format!("{name}: {error}"));
    let mut reader = BufReader::new(&mut *file);
    let mut done = BTreeSet::new();
    let mut whole = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(fail)?;
        // A line without its end is torn, even where it reads as JSON.
        if length == 0 || line.last() != Some(&b'\n') {
            break;
        }
        let index = index_of(&line, grid).filter(|index| range.contains(index)).ok_or_else(|| {
            Error::Input(format!(
                "{name}: line {number} is no point of this sweep and shard; give another file with -o"
            ))
        })?;
        if !done.insert(index) {
            return Err(Error::Input(format!(
                "{name}: line {number} repeats point {index}; give another file with -o"
            )));
        }
        whole += length as u64;
    }
    drop(reader);
    file.set_len(whole).map_err(fail)?;
    file.seek(SeekFrom::End(0)).map_err(fail)?;
    Ok(done)
}

/// The number of a row's point, if the grid has the same point at that number.
fn index_of(line: &[u8], grid: &Grid) -> Option<u64> {
    let row: serde_json::Value = serde_json::from_slice(line).ok()?;
    let index = row.get("index")?.as_u64()?;
    let expected = serde_json::to_value(grid.point(index)?).ok()?;
    (row.get("point")? == &expected).then_some(index)
}

#[cfg(feature = "parquet")]
const fn parquet_available() -> Result<(), Error> {
    Ok(())
}

#[cfg(feature = "parquet")]
fn row_count(output: &Path) -> Result<u64, Error> {
    parquet::row_count(output)
}

#[cfg(not(feature = "parquet"))]
fn row_count(_output: &Path) -> Result<u64, Error> {
    parquet_available().map(|()| 0)
}

#[cfg(feature = "parquet")]
fn write_parquet(rows: &Path, output: &Path) -> Result<(), Error> {
    parquet::write(rows, output)
}

#[cfg(not(feature = "parquet"))]
fn parquet_available() -> Result<(), Error> {
    let remedy = "give --format jsonl, or build with the feature `parquet`";
    Err(Error::Input(format!("this `supernode` was built without Parquet: {remedy}")))
}

#[cfg(not(feature = "parquet"))]
fn write_parquet(_rows: &Path, _output: &Path) -> Result<(), Error> {
    parquet_available()
}
