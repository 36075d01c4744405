//! `supernode run`: the main job. Verify, measure, project, report.

use super::measure::{MeasureArgs, all_right, measure};
use super::{Error, print, project, report};
use crate::report::terminal;

/// Verify, measure, project and report: one result document, one summary, one page
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  supernode run\n  supernode run --adapter nvidia --preset full -o results/mine.json\n  supernode run --resume"
)]
pub(super) struct Args {
    #[command(flatten)]
    measure: MeasureArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let (record, path) = measure(&args.measure)?;
    print(&terminal::table(&record))?;
    print("\n")?;
    print(&project::summary_of(&record)?)?;
    let page = path.with_extension("html");
    report::write(std::slice::from_ref(&record), &report::Projected::default(), &page)?;
    print(&format!("\nrecord  {}\nreport  {}\n", path.display(), page.display()))?;
    all_right(&record)
}
