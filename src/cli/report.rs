//! `supernode report`: one HTML page from result documents.

use std::path::{Path, PathBuf};

use super::compare::load_all;
use super::{Error, print, project};
use crate::record::{self, Record};
use crate::report::{self, ProjectionPair};

/// Which documents, and where the page goes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Result documents
    #[arg(required = true, value_name = "RESULT")]
    files: Vec<PathBuf>,
    /// Where to write the page [default: beside the first document, with the ending .html]
    #[arg(short, long, value_name = "PAGE")]
    output: Option<PathBuf>,
}

/// Writes the page and says where.
///
/// # Errors
/// [`Error::Input`] for a document that cannot be read or a page that cannot be written.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let records: Vec<Record> = load_all(&args.files)?.into_iter().map(|(_, record)| record).collect();
    let path = output(args);
    if args.files.contains(&path) {
        let name = path.display();
        return Err(Error::Input(format!("{name}: the page would replace its own record; name another with --output")));
    }
    let mut pairs = Vec::new();
    for record in &records {
        pairs.extend(project::pairs_of(record)?);
    }
    write(&records, &pairs, &path)?;
    print(&format!("wrote {}\n", path.display()))
}

/// Writes the page of some records and projections.
pub(super) fn write(records: &[Record], pairs: &[ProjectionPair], path: &Path) -> Result<(), Error> {
    let page = report::page(records, pairs);
    record::write_atomically(path, page.as_bytes()).map_err(|error| Error::Input(error.to_string()))
}

fn output(args: &Args) -> PathBuf {
    let beside_first = || args.files.first().map_or("report.html".into(), |first| beside(first));
    args.output.clone().unwrap_or_else(beside_first)
}

/// `results/a.json` gives `results/a.html`.
fn beside(document: &Path) -> PathBuf {
    document.with_extension("html")
}
