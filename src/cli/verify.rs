//! `supernode verify`: every kernel variant against its CPU twin.

mod compile;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::device::DeviceArgs;
use super::interrupt::interrupt_flag;
use super::progress::Progress;
use super::{Error, print, print_json};
use crate::kernels::cases::{CaseSpec, verification_cases};
use crate::kernels::{Element, Family, Kernel, KernelCase, Verification};
use crate::measure::verify::{RunError, accuracy};
use crate::measure::{gpu::Gpu, launch};
use crate::record::Preset;

/// Compare every kernel variant with its CPU twin on small and odd shapes
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 1 when a variant is wrong, or with --compile-only when a pipeline is refused.\n\nExamples:\n  supernode verify\n  supernode verify --only attention --runtime-checks\n  supernode verify --compile-only --limit-s 300"
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
    /// Only compile: every pipeline of the presets and of this suite, with its time; nothing runs on the device
    #[arg(long)]
    compile_only: bool,
    /// Of this preset only
    #[arg(long, requires = "compile_only")]
    preset: Option<Preset>,
    /// Begin no pipeline after so many seconds; those left are listed
    #[arg(long, value_name = "SECONDS", requires = "compile_only")]
    limit_s: Option<u64>,
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
    /// Relative Frobenius error against f64 on the operands before they were quantised.
    error_of_type: Option<f64>,
    #[serde(skip)]
    of: (Family, Element),
}

/// Small shapes are compared element by element.
const ALL: u64 = u64::MAX;

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let interrupted = interrupt_flag()?;
    if args.compile_only {
        return compile::run(args, interrupted);
    }
    let gpu = args.device.open()?;
    let cases = chosen(verification_cases(), &args.only)?;
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

/// The cases whose ids contain one of `parts`; all where there are none.
fn chosen(mut cases: Vec<CaseSpec>, parts: &[String]) -> Result<Vec<CaseSpec>, Error> {
    cases.retain(|case| parts.is_empty() || parts.iter().any(|part| case.id().contains(part)));
    if cases.is_empty() {
        return Err(Error::Input(format!("--only {}: no case contains this", parts.join(" "))));
    }
    Ok(cases)
}

fn check(gpu: &Gpu, case: &CaseSpec, seed: u64) -> Line {
    let kernel: &dyn Kernel = case.kernel.as_ref();
    let plan = kernel.plan(case.variant, case.element);
    let mut line = Line {
        id: case.id(),
        passed: false,
        problem: launch::missing(&plan, &gpu.info),
        left_out: false,
        verification: None,
        error_of_type: None,
        of: (case.family, case.element),
    };
    if line.problem.is_some() {
        line.left_out = true;
        return line;
    }
    let as_launched = KernelCase { kernel, variant: case.variant, storage: case.element };
    match accuracy(gpu, &as_launched, seed, ALL) {
        Ok(compared) => {
            let verification = compared.verification;
            line.passed = verification.passed();
            line.problem = (!line.passed).then(|| RunError::Wrong(Box::new(verification.clone())).to_string());
            line.error_of_type = Some(compared.error_of_type);
            line.verification = Some(verification);
        }
        Err(error) => line.problem = Some(error.to_string()),
    }
    line
}

/// What each type costs: the median over the right cases of a family.
fn accuracies(lines: &[Line]) -> String {
    let mut errors: BTreeMap<(Family, Element), Vec<f64>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.passed) {
        errors.entry(line.of).or_default().extend(line.error_of_type);
    }
    let mut families: BTreeMap<Family, Vec<String>> = BTreeMap::new();
    for ((family, element), mut errors) in errors {
        errors.sort_by(f64::total_cmp);
        if let Some(median) = errors.get(errors.len() / 2) {
            families.entry(family).or_default().push(format!("{element} {median:.1e}"));
        }
    }
    families.iter().fold(String::new(), |text, (family, types)| {
        text + &format!("accuracy of {family} against f64 before quantisation (median): {}\n", types.join(", "))
    })
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
    text += &accuracies(lines);
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
