//! A document of what the ranks of a run left in a folder, however the run ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::document::Record;
use super::super::error::RecordError;
use super::super::io::{Kind, load, parse_versioned, read_document};
use super::document::{FLEET_SCHEMA_VERSION, FleetHost, FleetRank, FleetRecord};
use super::note::{RankFiles, RankNote};
use super::outlier::OutlierCriterion;
use super::validate;
use crate::printable::printable;

/// The most bytes of a note.
const MAX_NOTE: u64 = 1 << 20;
/// The most files in a folder of ranks.
const MAX_FILES: usize = 1_000_000;

/// Why no document could be made of a folder.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// A file of a rank cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The folder cannot be listed.
    #[error("{}: cannot be listed ({source}); give the folder FLEET.ranks of a run", shown(folder))]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No rank left a note.
    #[error("{}: no rank left a note in it; give the folder FLEET.ranks of a run", shown(folder))]
    Nothing {
        /// The folder.
        folder: PathBuf,
    },
    /// Ranks of several runs.
    #[error(
        "{}: of another run than rank {first} ({differs} differs); keep the files of one run in a folder",
        shown(note)
    )]
    Mixed {
        /// The note of the other run.
        note: PathBuf,
        /// The first rank of the folder.
        first: u32,
        /// What differs.
        differs: &'static str,
    },
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string(), 200)
}

/// Makes a document of the notes and journals in `folder`. Ranks that left no note are missing in it, and
/// [`FleetRecord::lacking`] names them.
///
/// # Errors
/// [`GatherError`]; a journal that cannot be read is one.
pub fn gather(folder: &Path) -> Result<FleetRecord, GatherError> {
    let notes = notes(folder)?;
    let Some((first, _)) = notes.first() else {
        return Err(GatherError::Nothing { folder: folder.to_path_buf() });
    };
    let mut hosts: Vec<FleetHost> = Vec::new();
    let mut by_name: BTreeMap<String, u32> = BTreeMap::new();
    let mut ranks = Vec::new();
    for (note, path) in &notes {
        if let Some(differs) = differs(first, note) {
            return Err(GatherError::Mixed { note: path.clone(), first: first.rank, differs });
        }
        let next = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        let host = *by_name.entry(note.host.name.clone()).or_insert_with(|| {
            hosts.push(note.host.clone());
            next
        });
        let files = RankFiles::of(folder, note.rank);
        let (record, alone) = (journal(&files.record)?, journal(&files.alone)?);
        let complete = record.as_ref().is_some_and(|record| record.complete);
        let problem = (!complete).then(|| "the run ended before this rank was done".to_owned());
        ranks.push(FleetRank { rank: note.rank, host, local_rank: note.local_rank, record, alone, problem });
    }
    let fleet = FleetRecord {
        fleet_schema_version: FLEET_SCHEMA_VERSION,
        complete: false,
        created_at: first.created_at.clone(),
        tool: first.tool.clone(),
        mpi_library: None,
        plan: first.plan.clone(),
        capacity: notes.iter().find_map(|(note, _)| note.capacity),
        hosts,
        ranks,
        network: None,
        criterion: OutlierCriterion::default(),
        spread: Vec::new(),
        outliers: Vec::new(),
        caveats: Vec::new(),
    };
    validate::check(&fleet).map_err(|problem| problem.found_in(folder))?;
    Ok(fleet.worked_out())
}

/// The notes in a folder, ascending by rank, each with its file.
fn notes(folder: &Path) -> Result<Vec<(RankNote, PathBuf)>, GatherError> {
    let failed = |source| GatherError::Folder { folder: folder.to_path_buf(), source };
    let mut notes = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)?.take(MAX_FILES) {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if RankFiles::is_one(&name) && name.ends_with(".note.json") {
            notes.push((load_note(&path)?, path));
        }
    }
    notes.sort_by_key(|(note, _)| note.rank);
    Ok(notes)
}

/// Reads a rank's note.
///
/// # Errors
/// Any reading variant of [`RecordError`].
pub fn load_note(path: &Path) -> Result<RankNote, RecordError> {
    let bytes = read_document(path, MAX_NOTE)?;
    let note: RankNote = parse_versioned(&bytes, path, Kind::Fleet, FLEET_SCHEMA_VERSION, MAX_NOTE)?;
    validate::check_note(&note).map_err(|problem| problem.found_in(path))?;
    Ok(note)
}

fn journal(path: &Path) -> Result<Option<Record>, RecordError> {
    path.exists().then(|| load(path)).transpose()
}

fn differs(first: &RankNote, other: &RankNote) -> Option<&'static str> {
    if first.tool != other.tool {
        Some("the tool")
    } else if first.plan != other.plan {
        Some("what was asked for")
    } else if first.created_at != other.created_at {
        Some("the time of the start")
    } else {
        None
    }
}
