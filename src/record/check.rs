//! What one field of a document may hold, and where a document went wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::error::RecordError;
use crate::printable::{is_unprintable, printable};
use crate::units::Seconds;

/// The longest text of any field, in characters.
pub(in crate::record) const MAX_TEXT: usize = 1000;
/// How far a stored ratio may be from the same ratio recomputed, relative.
pub(in crate::record) const RATIO_SLACK: f64 = 0.01;

/// A value that cannot be, and where it is in the document.
#[derive(Debug)]
pub(in crate::record) struct Problem {
    pub(in crate::record) at: String,
    pub(in crate::record) what: String,
}

pub(in crate::record) type Sound = Result<(), Problem>;

impl Problem {
    /// The error of a document that was read.
    pub(in crate::record) fn found_in(self, path: &Path) -> RecordError {
        RecordError::Invalid { path: path.to_path_buf(), at: self.at, what: self.what }
    }

    /// The error of a document that was about to be written.
    pub(in crate::record) fn kept_from(self, path: &Path) -> RecordError {
        RecordError::Unsound { path: path.to_path_buf(), at: self.at, what: self.what }
    }

    pub(in crate::record) fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self { at: at.into(), what: what.into() }
    }

    /// The same problem, seen from the object that holds the field.
    pub(in crate::record) fn within(self, outer: &str) -> Self {
        Self { at: format!("{outer}.{}", self.at), what: self.what }
    }
}

pub(in crate::record) fn unique<'a>(
    at: &str,
    ids: impl Iterator<Item = &'a str>,
) -> Result<BTreeSet<&'a str>, Problem> {
    let mut seen = BTreeSet::new();
    for id in ids {
        named(at, id)?;
        if !seen.insert(id) {
            return Err(Problem::new(at, format!("the id {} occurs twice", printable(id, 120))));
        }
    }
    Ok(seen)
}

pub(in crate::record) fn named_numbers(at: &str, numbers: &BTreeMap<String, u64>) -> Sound {
    count(at, numbers.len(), 1000)?;
    numbers.keys().try_for_each(|name| named(at, name))
}

pub(in crate::record) fn text(at: &str, text: &str) -> Sound {
    if text.chars().any(is_unprintable) {
        return Err(Problem::new(at, "has control characters"));
    }
    count_chars(at, text)
}

pub(in crate::record) fn named(at: &str, value: &str) -> Sound {
    if value.trim().is_empty() {
        return Err(Problem::new(at, "blank"));
    }
    text(at, value)
}

pub(in crate::record) fn count_chars(at: &str, text: &str) -> Sound {
    match text.chars().nth(MAX_TEXT + 3) {
        Some(_) => Err(Problem::new(at, format!("longer than {MAX_TEXT} characters"))),
        None => Ok(()),
    }
}

pub(in crate::record) fn count(at: &str, found: usize, most: usize) -> Sound {
    if found > most {
        return Err(Problem::new(at, format!("{found} entries, where {most} are the most")));
    }
    Ok(())
}

pub(in crate::record) fn at_least_one(at: &str, value: u32) -> Sound {
    if value == 0 { Err(Problem::new(at, "zero")) } else { Ok(()) }
}

pub(in crate::record) fn finite(at: &str, value: f64) -> Sound {
    if value.is_finite() { Ok(()) } else { Err(Problem::new(at, "not a finite number")) }
}

pub(in crate::record) fn number(at: &str, value: f64) -> Sound {
    finite(at, value)?;
    if value < 0.0 { Err(Problem::new(at, format!("{value} is below zero"))) } else { Ok(()) }
}

pub(in crate::record) fn positive(at: &str, value: f64) -> Sound {
    number(at, value)?;
    if value > 0.0 { Ok(()) } else { Err(Problem::new(at, "zero")) }
}

pub(in crate::record) fn ratio(at: &str, stored: f64, recomputed: f64) -> Sound {
    number(at, stored)?;
    if (stored - recomputed).abs() <= RATIO_SLACK * stored.max(recomputed) {
        return Ok(());
    }
    Err(Problem::new(at, format!("{stored:e}, but the work and the median time give {recomputed:e}")))
}

pub(in crate::record) fn ordered(at: &str, what: &str, times: &[Seconds]) -> Sound {
    // A billionth for the rounding of a median between two samples.
    let rising = times.windows(2).all(|pair| pair[0].get() <= pair[1].get() * (1.0 + 1e-9));
    if rising { Ok(()) } else { Err(Problem::new(at, what)) }
}
