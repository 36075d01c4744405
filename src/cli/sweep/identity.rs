//! What a file of rows says of itself: which points of which sweep it has, and a hash over all that its figures follow from.
//! Parquet carries it in its metadata; JSON Lines and CSV have no place for it, so it lies in a file beside them.

use std::fmt::Debug;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cli::error::Error;
use crate::cli::sweep::format::SweepFormat;
use crate::cli::sweep::shard::Shard;
use crate::files::{read_within, write_atomically};
use crate::projection::catalogue::{Catalogue, Defaults};
use crate::record::Tool;
use crate::specs::Grid;

/// The key of the metadata of a Parquet file.
#[cfg(feature = "parquet")]
pub(super) const METADATA_KEY: &str = "supernode.sweep";

/// The most bytes of the file beside an output.
const MOST_BYTES: u64 = 64 * 1024;

/// What a file of rows is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SweepIdentity {
    /// SHA-256 over the grid, every model, chip, fabric and expert load that it names, and the program, in hexadecimal.
    pub(super) configuration: String,
    /// Version and commit of the program.
    pub(super) program: String,
    /// The shard, as `--shard` takes it.
    pub(super) shard: String,
    /// Number of the first point.
    pub(super) first_point: u64,
    /// How many points.
    pub(super) points: u64,
    /// Points of the whole sweep.
    pub(super) of_points: u64,
    /// The format of the file.
    pub(super) format: SweepFormat,
}

impl SweepIdentity {
    /// Of a shard of a sweep. `catalogue` has the facts that the grid names, the chip of a record among them.
    pub(super) fn new(
        grid: &Grid,
        catalogue: &Catalogue,
        defaults: Defaults<'_>,
        shard: Shard,
        range: &Range<u64>,
    ) -> Self {
        let program = program();
        Self {
            configuration: hash(&(&program, grid, catalogue, defaults)),
            program,
            shard: shard.to_string(),
            first_point: range.start,
            points: range.end - range.start,
            of_points: grid.len(),
            format: SweepFormat::Jsonl,
        }
    }

    /// The same of a file in this format.
    pub(super) fn in_format(&self, format: SweepFormat) -> Self {
        Self { format, ..self.clone() }
    }

    /// Of the file of all points.
    pub(super) fn whole(&self) -> Self {
        Self { shard: Shard::WHOLE.to_string(), first_point: 0, points: self.of_points, ..self.clone() }
    }

    /// The points.
    pub(super) fn range(&self) -> Range<u64> {
        self.first_point..self.first_point.saturating_add(self.points)
    }

    /// Whether the file `name`, which says that it is `found`, is this one.
    ///
    /// # Errors
    /// One line that names the first difference.
    pub(super) fn check(&self, name: &Path, found: &Self) -> Result<(), Error> {
        let name = name.display();
        let remedy = "give another file with -o";
        if found.configuration != self.configuration {
            return Err(Error::Input(format!("{name} {}; {remedy}", other_configuration(found, self))));
        }
        if found.range() != self.range() {
            let (found, own) = (found.words(), self.words());
            return Err(Error::Input(format!("{name} has {found}, this sweep {own}; {remedy}")));
        }
        if found.format != self.format {
            let (found, own) = (found.format.name(), self.format.name());
            return Err(Error::Input(format!("{name} is {found}, this sweep writes {own}; {remedy}")));
        }
        Ok(())
    }

    /// The points in words.
    fn words(&self) -> String {
        format!("shard {} with {} of {} points", self.shard, self.points, self.of_points)
    }

    /// As the metadata of a Parquet file has it.
    pub(super) fn to_json(&self) -> String {
        // A struct of texts and integers is always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From the metadata of a Parquet file, or from the file beside.
    ///
    /// # Errors
    /// What is wrong, without the file's name.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let found: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let end = found.first_point.checked_add(found.points);
        if end.is_none_or(|end| end > found.of_points) {
            return Err(format!("points beyond the {} of the sweep", found.of_points));
        }
        Ok(found)
    }

    /// Writes the file beside `rows`.
    ///
    /// # Errors
    /// [`Error::Input`] where it cannot be written.
    pub(super) fn write_beside(&self, rows: &Path) -> Result<(), Error> {
        let path = beside(rows);
        write_atomically(&path, format!("{}\n", self.to_json()).as_bytes())
            .map_err(|error| Error::Input(format!("{}: {error}", path.display())))
    }

    /// Reads the file beside `rows`.
    ///
    /// # Errors
    /// [`Error::Input`] where there is none, or it is none.
    pub(super) fn read_beside(rows: &Path) -> Result<Self, Error> {
        let (name, path) = (rows.display(), beside(rows));
        let beside = path.display();
        if !path.exists() {
            let reason = format!("{name}: without {beside} nobody knows what sweep its rows are of");
            return Err(Error::Input(format!("{reason}; give another file")));
        }
        let bytes = read_within(&path, MOST_BYTES).map_err(|error| Error::Input(format!("{beside}: {error}")))?;
        Self::from_json(&bytes).map_err(|error| Error::Input(format!("{beside}: {error}; give another file")))
    }
}

/// How the configuration of one file differs from that of another, after the name of the one.
pub(super) fn other_configuration(found: &SweepIdentity, other: &SweepIdentity) -> String {
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let (hash, other_hash) = (short(&found.configuration), short(&other.configuration));
    let why = if found.program == other.program {
        "the grid, a model, a chip, a fabric, the record or the expert load differ".to_owned()
    } else {
        format!("{} wrote it, and {} the other", found.program, other.program)
    };
    format!("has configuration {hash}, not {other_hash}: {why}")
}

/// The file beside an output.
pub(super) fn beside(rows: &Path) -> PathBuf {
    let mut name = rows.as_os_str().to_owned();
    name.push(".sweep.json");
    name.into()
}

/// Version and commit.
fn program() -> String {
    let tool = Tool::this();
    let commit = tool.git_commit.map_or(String::new(), |commit| format!(" ({commit})"));
    format!("{} {}{commit}", tool.name, tool.version)
}

/// The debug form has every field of every fact, each number to its last bit.
fn hash(facts: &impl Debug) -> String {
    Sha256::digest(format!("{facts:?}")).iter().map(|byte| format!("{byte:02x}")).collect()
}
