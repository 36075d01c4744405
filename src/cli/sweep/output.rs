//! Where rows go: JSON Lines to a file or standard output, or a table (CSV, Parquet) by way of such a file.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::output::print;
use crate::cli::sweep::csv;
use crate::cli::sweep::format::SweepFormat;
use crate::cli::sweep::identity::{SweepIdentity, beside};
#[cfg(feature = "parquet")]
use crate::cli::sweep::parquet::{identity as parquet_identity, write as write_parquet};
use crate::cli::sweep::whole::cannot;
use crate::projection::sweep::SweepRow;
use crate::record::Lock;
use crate::specs::Grid;

/// An open output.
pub(super) struct Sink {
    /// Rows go here; `None`: standard output, or nowhere since all is there.
    rows: Option<(PathBuf, File)>,
    /// Points that were there before.
    done: BTreeSet<u64>,
    /// The table to make at the end.
    table: Option<(SweepIdentity, PathBuf)>,
    /// No other process writes to the output.
    _lock: Option<Lock>,
}

impl Sink {
    /// Opens an output for the points that `identity` says. With `resume`, what is there is kept if it is the same sweep's,
    /// and a torn last line is cut off.
    pub(super) fn open(
        output: Option<&Path>,
        format: Option<SweepFormat>,
        resume: bool,
        grid: &Grid,
        identity: &SweepIdentity,
    ) -> Result<Self, Error> {
        let format = format.or_else(|| SweepFormat::of_name(output?)).unwrap_or(SweepFormat::Jsonl);
        let Some(output) = output else {
            if format != SweepFormat::Jsonl {
                return Err(Error::Input(format!("{} goes into a file: give one with -o", format.name())));
            }
            return Ok(Self { rows: None, done: BTreeSet::new(), table: None, _lock: None });
        };
        #[cfg(not(feature = "parquet"))]
        if format == SweepFormat::Parquet {
            return Err(without_parquet());
        }
        let lock = Lock::take(output).map_err(|error| Error::Input(error.to_string()))?;
        let path = if format == SweepFormat::Jsonl { output.to_owned() } else { partial(output) };
        for existing in [output, &path] {
            if existing.exists() && !resume {
                let name = existing.display();
                return Err(Error::Input(format!("{name} exists: go on with --resume, or give another file with -o")));
            }
        }
        if format != SweepFormat::Jsonl && output.exists() {
            identity.in_format(format).check(output, &identity_of(format, output)?)?;
            remove_rows(&path)?;
            return Ok(Self { rows: None, done: identity.range().collect(), table: None, _lock: Some(lock) });
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| cannot(&path, &error))?;
        let length = file.metadata().map_err(|error| cannot(&path, &error))?.len();
        let done = if length == 0 {
            // Before the first row, so that there are never rows of which nobody knows what they are.
            identity.write_beside(&path)?;
            BTreeSet::new()
        } else {
            identity.check(&path, &SweepIdentity::read_beside(&path)?)?;
            read_rows(&path, &mut file, grid, &identity.range())?
        };
        let table = (format != SweepFormat::Jsonl).then(|| (identity.in_format(format), output.to_owned()));
        Ok(Self { rows: Some((path, file)), done, table, _lock: Some(lock) })
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
        file.sync_all().map_err(|error| cannot(&path, &error))?;
        let Some((identity, table)) = self.table else { return Ok(()) };
        if identity.format == SweepFormat::Csv {
            identity.write_beside(&table)?;
            csv::write(&path, &table)?;
        } else {
            write_parquet(&path, &table, &identity)?;
        }
        remove_rows(&path)
    }
}

/// Removes the file of rows of a table that is there, and the file beside it.
fn remove_rows(path: &Path) -> Result<(), Error> {
    for path in [path, &beside(path)] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot(path, &error)),
            _ => {}
        }
    }
    Ok(())
}

/// What a finished file in this format says that it is.
///
/// # Errors
/// [`Error::Input`] for a file that does not say it, or has not as many rows as it says.
pub(super) fn identity_of(format: SweepFormat, output: &Path) -> Result<SweepIdentity, Error> {
    if format == SweepFormat::Parquet {
        return parquet_identity(output);
    }
    let identity = SweepIdentity::read_beside(output)?;
    let rows = if format == SweepFormat::Csv { csv::row_count(output)? } else { line_count(output)? };
    if rows == identity.points {
        return Ok(identity);
    }
    Err(cannot(output, &format_args!("it has {rows} rows and should have {}; compute it again", identity.points)))
}

/// Whole lines of a file.
fn line_count(path: &Path) -> Result<u64, Error> {
    let mut reader = BufReader::new(File::open(path).map_err(|error| cannot(path, &error))?);
    let mut lines = 0;
    loop {
        let bytes = reader.fill_buf().map_err(|error| cannot(path, &error))?;
        if bytes.is_empty() {
            return Ok(lines);
        }
        lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = bytes.len();
        reader.consume(length);
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

#[cfg(not(feature = "parquet"))]
fn without_parquet() -> Error {
    let remedy = "give JSON Lines or CSV, or build with the feature `parquet`";
    Error::Input(format!("this `supernode` was built without Parquet: {remedy}"))
}

#[cfg(not(feature = "parquet"))]
fn parquet_identity(_: &Path) -> Result<SweepIdentity, Error> {
    Err(without_parquet())
}

#[cfg(not(feature = "parquet"))]
fn write_parquet(_: &Path, _: &Path, _: &SweepIdentity) -> Result<(), Error> {
    Err(without_parquet())
}
