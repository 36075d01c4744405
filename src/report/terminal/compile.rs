//! Every pipeline that went through a driver's compiler, as text of 80 columns.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use crate::kernels::Family;
use crate::record::Device;
use crate::report::terminal::layout::wrapped;
use crate::units::Seconds;

/// A pipeline, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct CompiledPipeline {
    /// Shader, type, constants and overrides in one line.
    pub name: String,
    /// The family of the kernel that it is part of.
    pub family: Family,
    /// What became of it.
    pub outcome: CompileOutcome,
    /// Wall time of its compilation; `None` where nothing was compiled.
    pub seconds: Option<Seconds>,
    /// Why it was refused, left out or not tried.
    pub why: Option<String>,
}

/// What became of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompileOutcome {
    /// The driver compiled it.
    Compiled,
    /// The driver refused it.
    Refused,
    /// The device lacks what it needs.
    LeftOut,
    /// The time was over before its turn.
    NotTried,
}

fn count(done: &[CompiledPipeline], outcome: CompileOutcome) -> usize {
    done.iter().filter(|compilation| compilation.outcome == outcome).count()
}

fn total<'a>(done: impl IntoIterator<Item = &'a CompiledPipeline>) -> Seconds {
    done.into_iter().filter_map(|compilation| compilation.seconds).sum()
}

/// The slowest first.
fn by_time(done: &[CompiledPipeline]) -> Vec<(f64, &CompiledPipeline)> {
    let mut timed: Vec<(f64, &CompiledPipeline)> = done.iter().filter_map(|c| Some((c.seconds?.get(), c))).collect();
    timed.sort_by(|a, b| b.0.total_cmp(&a.0));
    timed
}

/// Widest line, unless a word is longer.
const COLUMNS: usize = 80;
/// Pipelines in the list of the slowest.
const SLOWEST: usize = 10;
/// Marks a time that is slow.
const MARK: &str = "!";

/// Families, the slowest pipelines, what was refused, what was left out or not tried and why, in 80 columns. A time above
/// `slow` is marked.
pub fn compilations(device: &Device, done: &[CompiledPipeline], slow: Seconds) -> String {
    let mut out = families(done);
    let slowest = by_time(done);
    let marked = |seconds: f64| if seconds > slow.get() { MARK } else { " " };
    if !slowest.is_empty() {
        let _ = writeln!(out, "\nSlowest ({MARK}: over {} s)", slow.get());
    }
    for (seconds, compilation) in slowest.iter().take(SLOWEST) {
        item(&mut out, &format!("{seconds:8.2} s {} ", marked(*seconds)), &compilation.name);
    }
    let refused: Vec<&CompiledPipeline> = done.iter().filter(|c| c.outcome == CompileOutcome::Refused).collect();
    if !refused.is_empty() {
        out += "\nRefused\n";
    }
    for compilation in refused {
        let why = compilation.why.as_deref().unwrap_or_default();
        item(&mut out, "  ", &format!("{}: {why}", compilation.name));
    }
    for (outcome, title) in [(CompileOutcome::LeftOut, "Left out"), (CompileOutcome::NotTried, "Not tried")] {
        reasons(&mut out, done, outcome, title);
    }
    out += "\n";
    let (driver, seconds) = (format!("{} {}", device.driver, device.driver_info), total(done).get());
    item(&mut out, "", &format!("{seconds:.1} s on {} ({}, {driver})", device.name, device.backend));
    let _ = writeln!(out, "{}", counts(done, slow));
    out
}

/// One line that fits, whatever the counts.
fn counts(done: &[CompiledPipeline], slow: Seconds) -> String {
    let slow = done.iter().filter(|compilation| compilation.seconds.is_some_and(|seconds| seconds > slow)).count();
    let [compiled, refused, left_out, not_tried] =
        [CompileOutcome::Compiled, CompileOutcome::Refused, CompileOutcome::LeftOut, CompileOutcome::NotTried]
            .map(|outcome| count(done, outcome));
    let all = done.len();
    format!(
        "{all} pipelines: {compiled} compiled, {slow} slow, {refused} refused, {left_out} left out, {not_tried} not tried"
    )
}

/// One line a reason, with its pipelines where the list says which would have been next.
fn reasons(out: &mut String, done: &[CompiledPipeline], outcome: CompileOutcome, title: &str) {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for compilation in done.iter().filter(|compilation| compilation.outcome == outcome) {
        reasons.entry(compilation.why.as_deref().unwrap_or_default()).or_default().push(&compilation.name);
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
    let _ = writeln!(out, "{}", wrapped(head, &" ".repeat(below), text, COLUMNS));
}

fn families(done: &[CompiledPipeline]) -> String {
    let mut families: BTreeMap<Family, Vec<&CompiledPipeline>> = BTreeMap::new();
    for compilation in done {
        families.entry(compilation.family).or_default().push(compilation);
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

    const SLOW: Seconds = Seconds::new(2.0);

    fn device() -> Device {
        Device {
            name: "A device with a name that is rather long".to_owned(),
            driver: "driver".to_owned(),
            driver_info: "version 1.2.3 of a driver that says much about itself".to_owned(),
            backend: "vulkan".to_owned(),
            ..Device::default()
        }
    }

    /// Thirty pipelines: the first took long, the second was refused, the third is left out, the last not tried.
    fn done() -> Vec<CompiledPipeline> {
        let pipeline = |number: u32| CompiledPipeline {
            name: format!("matmul_subgroup f16 k_step=8 columns=16 rows=4 workgroup=64x4 number={number}"),
            family: if number.is_multiple_of(2) { Family::ExpertMatmul } else { Family::Attention },
            outcome: CompileOutcome::Compiled,
            seconds: Some(Seconds::new(f64::from(number) * 1e-3)),
            why: None,
        };
        let mut done: Vec<CompiledPipeline> = (0..30).map(pipeline).collect();
        let why = |text: &str| Some(text.to_owned());
        done[0].seconds = Some(Seconds::new(31.0));
        (done[1].outcome, done[1].why) =
            (CompileOutcome::Refused, why(&"the driver said no and went on about it ".repeat(3)));
        (done[2].outcome, done[2].seconds, done[2].why) = (CompileOutcome::LeftOut, None, why("it lacks a feature"));
        (done[29].outcome, done[29].seconds, done[29].why) = (CompileOutcome::NotTried, None, why("no time"));
        done
    }

    #[test]
    fn a_report_fits_80_columns_and_hides_nothing_but_quick_pipelines() {
        let done = done();
        let text = compilations(&device(), &done, SLOW);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(one_line.contains(&format!("31.00 s ! {}", done[0].name)), "{text}");
        assert!(one_line.contains(&format!("{}: the driver said no", done[1].name)), "{text}");
        assert!(one_line.contains("1 pipelines: it lacks a feature"), "{text}");
        assert!(one_line.contains(&format!("1 pipelines: no time {}", done[29].name)), "{text}");
        assert_eq!(one_line.matches(" s ").count(), SLOWEST + 1, "the slowest, and over how many seconds: {text}");
    }

    #[test]
    fn the_last_line_counts_every_pipeline_once() {
        let want = "30 pipelines: 27 compiled, 1 slow, 1 refused, 1 left out, 1 not tried";
        assert_eq!(compilations(&device(), &done(), SLOW).lines().last(), Some(want));
        let numbers = |line: &str| line.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).count();
        assert_eq!(numbers(want), 6, "tests/current-mesa/compile.sh reads them");
    }
}
