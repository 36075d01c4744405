//! `supernode verify`: every kernel variant against its CPU twin.

mod compile;

use std::sync::atomic::Ordering;

use crate::cli::device::DeviceArgs;
use crate::cli::error::Error;
use crate::cli::interrupt::interrupt_flag;
use crate::cli::output::{print, print_json};
use crate::cli::progress::{Progress, Shown};
use crate::kernels::cases::{CaseSpec, by_pipelines, one_set_each, verification_cases};
use crate::measure::gpu::Gpu;
use crate::measure::verify::{RunError, VerificationOutcome, verdict};
use crate::record::Preset;
use crate::report::terminal::verify::{VerifiedCase, verified};

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
    /// Of each kernel, variant and type only the cases of one set of pipelines: for a device in software, which takes longest
    /// to compile
    #[arg(long, conflicts_with = "compile_only")]
    sample: bool,
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

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let interrupted = interrupt_flag()?;
    if args.compile_only {
        let cases = chosen(crate::measure::compile::cases(args.preset)?, &args.only)?;
        let asked = compile::Asked { device: &args.device, limit_s: args.limit_s, json: args.json };
        return compile::run(&asked, &cases, interrupted);
    }
    let gpu = args.device.open()?;
    let mut cases = chosen(verification_cases(), &args.only)?;
    if args.sample {
        cases = one_set_each(by_pipelines(cases)).concat();
    }
    let progress = Progress::new(cases.len(), if args.json { Shown::Never } else { Shown::UnlessQuiet });
    let mut lines = Vec::new();
    for case in &cases {
        if interrupted.load(Ordering::Relaxed) {
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
        print(&verified(&gpu.info, &lines))?;
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

fn check(gpu: &Gpu, case: &CaseSpec, seed: u64) -> VerifiedCase {
    let mut line = VerifiedCase {
        id: case.id(),
        passed: false,
        problem: None,
        left_out: false,
        verification: None,
        error_of_type: None,
        family: case.family,
        element: case.element,
    };
    match verdict(gpu, &gpu.info, case, seed) {
        VerificationOutcome::LeftOut(problem) => (line.problem, line.left_out) = (Some(problem), true),
        VerificationOutcome::Compared(compared) => {
            let verification = compared.verification;
            line.passed = verification.passed();
            line.problem = (!line.passed).then(|| RunError::Wrong(Box::new(verification.clone())).to_string());
            line.error_of_type = Some(compared.error_of_type);
            line.verification = Some(verification);
        }
        VerificationOutcome::Failed(error) => line.problem = Some(error.to_string()),
    }
    line
}
