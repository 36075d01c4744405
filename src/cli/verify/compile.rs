//! `supernode verify --compile-only`: every pipeline through the driver's compiler.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::super::progress::Progress;
use super::super::{Error, print, print_json};
use super::{Args, chosen};
use crate::kernels::Family;
use crate::measure::compile::{self, Compilation, CompileOutcome, SLOW, ShaderPipeline};
use crate::measure::gpu::Gpu;
use crate::record::Device;
use crate::units::Seconds;

/// Everything that is known after a pass, for `--json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    device: &'a Device,
    tool_version: &'static str,
    /// Whether wgpu's bounds and loop checks were in the shaders.
    runtime_checks: bool,
    /// All pipelines together.
    seconds: Seconds,
    /// What counts as slow.
    slow_s: Seconds,
    pipelines: &'a [Compilation],
}

pub(super) fn run(args: &Args, interrupted: &AtomicBool) -> Result<(), Error> {
    let cases = compile::cases(args.preset).map_err(|error| Error::Input(error.to_string()))?;
    let pipelines = compile::pipelines(&chosen(cases, &args.only)?);
    let gpu = args.device.open()?;
    let progress = Progress::new(pipelines.len(), args.json);
    let limit = args.limit_s.map(|limit| (limit, Instant::now() + Duration::from_secs(limit)));
    let stop = || {
        if interrupted.load(Ordering::Relaxed) {
            return Some("interrupted".to_owned());
        }
        limit
            .filter(|(_, end)| Instant::now() >= *end)
            .map(|(limit, _)| format!("the time limit of {limit} s was over"))
    };
    let done = compile_all(&gpu, &pipelines, &progress, stop);
    progress.finish();
    if args.json {
        print_json(&Document {
            device: &gpu.info,
            tool_version: env!("CARGO_PKG_VERSION"),
            runtime_checks: args.device.runtime_checks,
            seconds: total(&done),
            slow_s: SLOW,
            pipelines: &done,
        })?;
    } else {
        print(&report(&gpu.info, &done))?;
    }
    if interrupted.load(Ordering::Relaxed) {
        return Err(Error::Interrupted("interrupted".to_owned()));
    }
    match count(&done, CompileOutcome::Refused) {
        0 => Ok(()),
        refused => {
            Err(Error::Negative(format!("{refused} of {} pipelines are refused on {}", done.len(), gpu.info.name)))
        }
    }
}

/// Compiles one after the other, until `stop` says why not, or the device is lost.
fn compile_all(
    gpu: &Gpu,
    pipelines: &[ShaderPipeline],
    progress: &Progress,
    stop: impl Fn() -> Option<String>,
) -> Vec<Compilation> {
    let mut done = Vec::with_capacity(pipelines.len());
    let mut end = None;
    for pipeline in pipelines {
        end = end.or_else(&stop);
        let compilation = match &end {
            Some(why) => Compilation::not_tried(pipeline, why),
            None => {
                progress.begin(&pipeline.name);
                compile::compile(gpu, pipeline).unwrap_or_else(|error| {
                    end = Some(error.to_string());
                    Compilation {
                        outcome: CompileOutcome::Refused,
                        ..Compilation::not_tried(pipeline, &error.to_string())
                    }
                })
            }
        };
        done.push(compilation);
        progress.step_silently();
    }
    done
}

fn count(done: &[Compilation], outcome: CompileOutcome) -> usize {
    done.iter().filter(|compilation| compilation.outcome == outcome).count()
}

fn total<'a>(done: impl IntoIterator<Item = &'a Compilation>) -> Seconds {
    done.into_iter().filter_map(|compilation| compilation.seconds).sum()
}

/// The slowest first.
fn by_time(done: &[Compilation]) -> Vec<(f64, &Compilation)> {
    let mut timed: Vec<(f64, &Compilation)> = done.iter().filter_map(|c| Some((c.seconds?.get(), c))).collect();
    timed.sort_by(|a, b| b.0.total_cmp(&a.0));
    timed
}

/// Widest line, unless a word is longer.
const COLUMNS: usize = 80;
/// Pipelines in the list of the slowest.
const SLOWEST: usize = 10;
/// Stands beside a time above [`SLOW`].
const MARK: &str = "!";

/// What people read: families, the slowest, what was refused, what was left out or not tried and why.
fn report(device: &Device, done: &[Compilation]) -> String {
    let mut out = families(done);
    let slowest = by_time(done);
    let marked = |seconds: f64| if seconds > SLOW.get() { MARK } else { " " };
    if !slowest.is_empty() {
        let _ = writeln!(out, "\nSlowest ({MARK}: over {} s)", SLOW.get());
    }
    for (seconds, compilation) in slowest.iter().take(SLOWEST) {
        item(&mut out, &format!("{seconds:8.2} s {} ", marked(*seconds)), &compilation.pipeline.name);
    }
    let refused: Vec<&Compilation> = done.iter().filter(|c| c.outcome == CompileOutcome::Refused).collect();
    if !refused.is_empty() {
        out += "\nRefused\n";
    }
    for compilation in refused {
        let why = compilation.why.as_deref().unwrap_or_default();
        item(&mut out, "  ", &format!("{}: {why}", compilation.pipeline.name));
    }
    for (outcome, title) in [(CompileOutcome::LeftOut, "Left out"), (CompileOutcome::NotTried, "Not tried")] {
        reasons(&mut out, done, outcome, title);
    }
    out += "\n";
    let (driver, seconds) = (format!("{} {}", device.driver, device.driver_info), total(done).get());
    item(&mut out, "", &format!("{seconds:.1} s on {} ({}, {driver})", device.name, device.backend));
    let _ = writeln!(out, "{}", counts(done));
    out
}

/// One line that fits, whatever the counts.
fn counts(done: &[Compilation]) -> String {
    let slow = done.iter().filter(|compilation| compilation.is_slow()).count();
    let [compiled, refused, left_out, not_tried] =
        [CompileOutcome::Compiled, CompileOutcome::Refused, CompileOutcome::LeftOut, CompileOutcome::NotTried]
            .map(|outcome| count(done, outcome));
    let all = done.len();
    format!(
        "{all} pipelines: {compiled} compiled, {slow} slow, {refused} refused, {left_out} left out, {not_tried} not tried"
    )
}

/// One line a reason, with its pipelines where the list says which would have been next.
fn reasons(out: &mut String, done: &[Compilation], outcome: CompileOutcome, title: &str) {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for compilation in done.iter().filter(|compilation| compilation.outcome == outcome) {
        reasons.entry(compilation.why.as_deref().unwrap_or_default()).or_default().push(&compilation.pipeline.name);
    }
    if !reasons.is_empty() {
        let _ = write!(out, "\n{title}\n");
    }
    for (why, names) in reasons {
        item(out, "  ", &format!("{} pipelines: {why}", names.len()));
        if outcome == CompileOutcome::NotTried {
            names.iter().for_each(|name| item(out, "    ", name));
        }
    }
}

/// A line that begins with `head`; what does not fit goes on below its text.
fn item(out: &mut String, head: &str, text: &str) {
    let below = if head.trim().is_empty() { head.len() + 2 } else { head.len() };
    let below = " ".repeat(below);
    let options = textwrap::Options::new(COLUMNS).initial_indent(head).subsequent_indent(&below).break_words(false);
    // A version number is one word.
    let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
    out.push_str(&textwrap::fill(text, options));
    out.push('\n');
}

fn families(done: &[Compilation]) -> String {
    let mut families: BTreeMap<Family, Vec<&Compilation>> = BTreeMap::new();
    for compilation in done {
        families.entry(compilation.pipeline.family).or_default().push(compilation);
    }
    let mut table = Table::new();
    let headings = ["family", "all", "compiled", "seconds", "slowest", "refused", "left out", "not tried"];
    table.load_style(presets::NOTHING).set_header(headings);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2)).set_cell_alignment(CellAlignment::Right);
    });
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    for (family, of) in families {
        let number = |outcome| of.iter().filter(|compilation| compilation.outcome == outcome).count().to_string();
        let slowest = of.iter().filter_map(|compilation| Some(compilation.seconds?.get())).fold(0.0, f64::max);
        table.add_row([
            family.to_string(),
            of.len().to_string(),
            number(CompileOutcome::Compiled),
            format!("{:.1}", total(of.iter().copied()).get()),
            format!("{slowest:.2}"),
            number(CompileOutcome::Refused),
            number(CompileOutcome::LeftOut),
            number(CompileOutcome::NotTried),
        ]);
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Preset;

    fn device() -> Device {
        // By name, so that a field that is new and may be absent is absent.
        let device = serde_json::json!({
            "name": "A device with a name that is rather long", "vendor": "x", "vendor_id": 1, "device_id": 2,
            "driver": "driver", "driver_info": "version 1.2.3 of a driver that says much about itself",
            "backend": "vulkan", "device_type": "discrete", "features": [], "limits": {},
        });
        serde_json::from_value(device).unwrap()
    }

    /// The pipelines of a preset: the first took long, the second was refused, the third is left out, the last not tried.
    fn done() -> Vec<Compilation> {
        let pipelines = compile::pipelines(&compile::cases(Some(Preset::Smoke)).unwrap());
        let mut done: Vec<Compilation> = pipelines.iter().map(|p| Compilation::not_tried(p, "no time")).collect();
        let last = done.len() - 1;
        for (compilation, ms) in done[..last].iter_mut().zip(0u32..) {
            compilation.outcome = CompileOutcome::Compiled;
            compilation.seconds = Some(Seconds::new(f64::from(ms) * 1e-3));
            compilation.why = None;
        }
        done[0].seconds = Some(Seconds::new(31.0));
        (done[1].outcome, done[1].why) =
            (CompileOutcome::Refused, Some("the driver said no and went on about it ".repeat(3)));
        (done[2].outcome, done[2].seconds, done[2].why) =
            (CompileOutcome::LeftOut, None, Some("it lacks a feature".to_owned()));
        done
    }

    #[test]
    fn a_report_fits_80_columns_and_hides_nothing_but_quick_pipelines() {
        let done = done();
        let text = report(&device(), &done);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(one_line.contains(&format!("31.00 s ! {}", done[0].pipeline.name)), "{text}");
        assert!(one_line.contains(&format!("{}: the driver said no", done[1].pipeline.name)), "{text}");
        assert!(one_line.contains("1 pipelines: it lacks a feature"), "{text}");
        assert!(one_line.contains(&format!("1 pipelines: no time {}", done[done.len() - 1].pipeline.name)), "{text}");
        assert_eq!(one_line.matches(" s ").count(), SLOWEST + 1, "the slowest, and over how many seconds: {text}");
    }

    #[test]
    fn the_last_line_counts_every_pipeline_once() {
        let done = done();
        let (all, compiled) = (done.len(), done.len() - 3);
        let want = format!("{all} pipelines: {compiled} compiled, 1 slow, 1 refused, 1 left out, 1 not tried");
        assert_eq!(report(&device(), &done).lines().last(), Some(want.as_str()));
        let numbers = |line: &str| line.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).count();
        assert_eq!(numbers(&want), 6, "tests/current-mesa/compile.sh reads them");
    }
}
