//! Parts in JSON Lines, one after the other.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::Deserialize;

use crate::cli::error::Error;
use crate::cli::sweep::identity::SweepIdentity;
use crate::cli::sweep::merge::parts::{Expected, Part};
use crate::cli::sweep::whole::{cannot, write_whole};

/// The number of a row's point; the rest is copied unread.
#[derive(Deserialize)]
struct Numbered {
    index: u64,
}

/// Writes all rows, in their order.
pub(super) fn merge(parts: &[Part], output: &Path, whole: &SweepIdentity) -> Result<(), Error> {
    whole.write_beside(output)?;
    write_whole(output, |file| {
        let mut writer = BufWriter::new(file);
        for part in parts {
            copy(part, &mut |line| writer.write_all(line).map_err(|error| cannot(output, &error)))?;
        }
        writer.flush().map_err(|error| cannot(output, &error))
    })
}

fn copy(part: &Part, take: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let fail = |error: std::io::Error| cannot(&part.path, &error);
    let mut reader = BufReader::new(File::open(&part.path).map_err(fail)?);
    let mut expected = Expected::new(part);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(fail)?;
        // A line without its end is torn.
        if line.last() != Some(&b'\n') {
            return expected.end();
        }
        expected.take(serde_json::from_slice(&line).ok().map(|row: Numbered| row.index))?;
        take(&line)?;
    }
}
