//! The parts of a sweep: what each says that it is, and whether they make one whole.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::sweep::format::SweepFormat;
use crate::cli::sweep::identity::{SweepIdentity, other_configuration};
use crate::cli::sweep::output::identity_of;
use crate::cli::sweep::whole::cannot;

/// The most ranges that one line names.
const MOST_RANGES: usize = 4;

/// A file of a shard.
pub(super) struct Part {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What it says that it is.
    pub(super) identity: SweepIdentity,
}

/// Reads what a file says that it is. Parquet begins with its mark, whatever the file is called.
pub(super) fn open(path: &Path) -> Result<Part, Error> {
    let mut mark = [0; 4];
    let mut file = File::open(path).map_err(|error| cannot(path, &error))?;
    let is_parquet = file.read_exact(&mut mark).is_ok() && &mark == b"PAR1";
    // The rows of the others are counted when they are copied.
    let identity = if is_parquet { identity_of(SweepFormat::Parquet, path) } else { SweepIdentity::read_beside(path) }?;
    if !is_parquet && identity.format == SweepFormat::Parquet {
        return Err(cannot(path, &"it is no Parquet; compute its shard again"));
    }
    Ok(Part { path: path.to_owned(), identity })
}

/// Sorts the parts by their points, and says what they are together.
///
/// # Errors
/// Another configuration or format, points in two files, and points in none.
pub(super) fn check(parts: &mut [Part]) -> Result<SweepIdentity, Error> {
    let [first, others @ ..] = &*parts else { return Err(Error::Input("no parts".to_owned())) };
    let first_name = first.path.display();
    for other in others {
        let name = other.path.display();
        if other.identity.configuration != first.identity.configuration {
            let reason = other_configuration(&other.identity, &first.identity);
            return Err(Error::Input(format!("{name} is not of the sweep of {first_name}: it {reason}")));
        }
        if other.identity.format != first.identity.format {
            let (own, theirs) = (other.identity.format.name(), first.identity.format.name());
            return Err(Error::Input(format!("{name} is {own}, and {first_name} {theirs}; give parts of one format")));
        }
    }
    let whole = first.identity.whole();
    parts.sort_by_key(|part| (part.identity.first_point, part.identity.points));
    let mut next = 0;
    let mut last: Option<&Part> = None;
    let mut missing: Vec<Range<u64>> = Vec::new();
    for part in parts.iter().filter(|part| part.identity.points > 0) {
        let range = part.identity.range();
        if let Some(before) = last.filter(|_| range.start < next) {
            let both = words(&(range.start..range.end.min(next)));
            let (one, other) = (before.path.display(), part.path.display());
            return Err(Error::Input(format!("{one} and {other} overlap: both have {both}; leave one out")));
        }
        if range.start > next {
            missing.push(next..range.start);
        }
        next = range.end;
        last = Some(part);
    }
    if next < whole.points {
        missing.push(next..whole.points);
    }
    if missing.is_empty() {
        return Ok(whole);
    }
    let mut named: Vec<String> = missing.iter().take(MOST_RANGES).map(words).collect();
    if missing.len() > MOST_RANGES {
        named.push(format!("{} more ranges", missing.len() - MOST_RANGES));
    }
    let named = named.join(" and ");
    let remedy = "compute them and give their files too; finished shards of a job array do nothing";
    Err(Error::Input(format!("{named} of {} are in no file: {remedy}", whole.points)))
}

/// Points from the first to the last, as people count them in files.
fn words(range: &Range<u64>) -> String {
    if range.end - range.start == 1 {
        format!("point {}", range.start)
    } else {
        format!("points {} to {}", range.start, range.end - 1)
    }
}

/// The points that a part must have, one after the other.
pub(super) struct Expected<'a> {
    part: &'a Part,
    next: u64,
}

impl<'a> Expected<'a> {
    /// From the first.
    pub(super) fn new(part: &'a Part) -> Self {
        Self { part, next: part.identity.first_point }
    }

    /// The next row is of this point.
    pub(super) fn take(&mut self, index: Option<u64>) -> Result<(), Error> {
        let expected = self.next;
        if index != Some(expected) || !self.part.identity.range().contains(&expected) {
            let found = index.map_or("no point".to_owned(), |index| format!("point {index}"));
            let reason = format!("its row {} is {found}, not", expected - self.part.identity.first_point + 1);
            return Err(cannot(&self.part.path, &format_args!("{reason} point {expected}; compute its shard again")));
        }
        self.next += 1;
        Ok(())
    }

    /// There are no more rows.
    pub(super) fn end(self) -> Result<(), Error> {
        let (found, points) = (self.next - self.part.identity.first_point, self.part.identity.points);
        if found == points {
            return Ok(());
        }
        let reason = format!("it ends after {found} of {points} points; go on with its shard by --resume");
        Err(cannot(&self.part.path, &reason))
    }
}
