//! `supernode run`: the main job. Verify, measure, project, report.

use crate::cli::error::Error;
use crate::cli::measure::{MeasureArgs, all_right, measure};
use crate::cli::output::print;
use crate::cli::report::{ProjectedArgs, Report};

/// Verify, measure, project and report: one result document, one screen, one page
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  supernode run\n  supernode run --details\n  supernode run --adapter nvidia --preset full -o results/mine.json\n  supernode run --resume"
)]
pub(super) struct Args {
    #[command(flatten)]
    measure: MeasureArgs,
    /// Print all tables instead of one screen: cases, ceilings, trials, caveats, projections
    #[arg(long)]
    details: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let (record, path) = measure(&args.measure)?;
    let report = Report::new(std::slice::from_ref(&record), &ProjectedArgs::default())?;
    let page = path.with_extension("html");
    report.write(&page)?;
    if args.details {
        report.print_details()?;
        print(&format!("\nrecord  {}\npage    {}\n", path.display(), page.display()))?;
    } else {
        report.print_summary(&path, &page)?;
    }
    all_right(&record)
}
