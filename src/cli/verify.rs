//! `supernode verify`: every kernel variant against its CPU twin.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::device::{DeviceArgs, interrupt_flag};
use super::progress::Progress;
use super::{Error, print, print_json};
use crate::kernels::cases::{CaseSpec, verification_cases};
use crate::kernels::{Kernel, Verification};
use crate::measure::run::{self, RunError};
use crate::measure::{gpu::Gpu, launch};

/// Compare every kernel variant with its CPU twin on small and odd shapes
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 1 when a variant is wrong.\n\nExamples:\n  supernode verify\n  supernode verify --only attention --runtime-checks"
)]
pub(super) struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    /// Only cases whose id contains this (may be repeated)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Seed of the inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One compared case.
#[derive(Debug, Serialize)]
struct Line {
    id: String,
    passed: bool,
    /// Why there is no comparison.
    problem: Option<String>,
    /// The device lacks what the case needs: neither right nor wrong.
    left_out: bool,
    verification: Option<Verification>,
}

/// Small shapes are compared element by element.
const ALL: u64 = u64::MAX;

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let interrupted = interrupt_flag()?;
    let gpu = args.device.open()?;
    let mut cases = verification_cases();
    cases.retain(|case| args.only.is_empty() || args.only.iter().any(|part| case.id().contains(part)));
    if cases.is_empty() {
        return Err(Error::Input(format!("--only {}: no case contains this", args.only.join(" "))));
    }
    let progress = Progress::new(cases.len(), args.json);
    let mut lines = Vec::new();
    for case in &cases {
        if interrupted.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Interrupted("interrupted".to_owned()));
        }
        progress.now(&case.id());
        lines.push(check(&gpu, case, args.seed));
        progress.step_silently();
    }
    progress.finish();
    if args.json {
        print_json(&lines)?;
    } else {
        print(&table(&gpu, &lines))?;
    }
    let failed = lines.iter().filter(|line| !line.passed && !line.left_out).count();
    if failed > 0 {
        return Err(Error::Negative(format!("{failed} of {} cases are wrong on {}", lines.len(), gpu.info.name)));
    }
    Ok(())
}

fn check(gpu: &Gpu, case: &CaseSpec, seed: u64) -> Line {
    let kernel: &dyn Kernel = case.kernel.as_ref();
    let plan = kernel.plan(case.variant, case.element);
    let id = case.id();
    if let Some(reason) = launch::missing(&plan, &gpu.info) {
        let problem = Some(reason);
        return Line { id, passed: false, problem, left_out: true, verification: None };
    }
    match run::verify(gpu, kernel, case.variant, case.element, seed, ALL) {
        Ok(verification) => {
            let problem = (!verification.passed()).then(|| RunError::Wrong(Box::new(verification.clone())).to_string());
            Line { id, passed: verification.passed(), problem, left_out: false, verification: Some(verification) }
        }
        Err(error) => Line { id, passed: false, problem: Some(error.to_string()), left_out: false, verification: None },
    }
}

fn table(gpu: &Gpu, lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "case", "error", "tolerance", "checked"]);
    for index in 2..5 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in lines {
        let mark = if line.left_out {
            "-"
        } else if line.passed {
            "ok"
        } else {
            "WRONG"
        };
        let (error, tolerance, checked) = line.verification.as_ref().map_or_else(Default::default, |v| {
            (format!("{:.1e}", v.value), format!("{:.1e}", v.tolerance), v.checked.to_string())
        });
        table.add_row([mark.to_owned(), line.id.clone(), error, tolerance, checked]);
    }
    let mut text = format!("{table}\n");
    for line in lines.iter().filter(|line| !line.left_out) {
        if let Some(problem) = &line.problem {
            let _ = writeln!(text, "{}: {problem}", line.id);
        }
    }
    let passed = lines.iter().filter(|line| line.passed).count();
    let left_out = lines.iter().filter(|line| line.left_out).count();
    let _ = writeln!(
        text,
        "{passed} of {} cases right on {} ({}), {left_out} left out",
        lines.len(),
        gpu.info.name,
        gpu.info.driver_info
    );
    text
}
