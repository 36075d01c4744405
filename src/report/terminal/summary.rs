//! What a run comes to, on one screen: about 40 lines of 80 columns. Everything that is left out is one command away.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use comfy_table::CellAlignment::{Left, Right};
use comfy_table::Table;

use crate::kernels::{Family, StorageType};
use crate::projection::Phase;
use crate::record::{Bound, CacheState, Case, Record};
use crate::report::cases::product;
use crate::report::ceilings::{backend, ceiling_value};
use crate::report::numbers::{four_digits, percent};
use crate::report::projected::ProjectedRow;
use crate::report::terminal::layout::{BOLD, plain, title, wrapped};
use crate::report::text::{distinct, short};
use crate::report::words;

/// The widest line, unless a path is longer.
const COLUMNS: usize = 80;
/// The most caveats of a whole record that are shown.
const MOST_CAVEATS: usize = 2;
/// The most pairs of family and type that are shown.
const MOST_BEST: usize = 12;
/// Columns of a kernel with its shape.
const KERNEL: usize = 28;

/// What the screen is about.
#[derive(Debug, Clone, Copy)]
pub struct RunSummary<'a> {
    /// The measured device.
    pub record: &'a Record,
    /// The headline: models in their phases, all on one chip.
    pub projected: &'a [ProjectedRow],
    /// One projection of the measured device, where the headline is that of another chip.
    pub measured_device: Option<&'a ProjectedRow>,
    /// Where the record is.
    pub record_file: &'a Path,
    /// Where the page is.
    pub page: &'a Path,
}

/// The screen. Styled; pass it through [`print`](super::print).
pub fn summary(summary: &RunSummary<'_>) -> String {
    let mut out = String::new();
    device(&mut out, summary.record);
    ceilings(&mut out, summary.record);
    best_cases(&mut out, summary.record);
    if !summary.projected.is_empty() {
        projections(&mut out, summary);
    }
    where_to_look(&mut out, summary);
    out
}

/// Which device, how it was measured, what to keep in mind.
fn device(out: &mut String, record: &Record) {
    let (device, protocol) = (&record.device, &record.protocol);
    let _ = writeln!(out, "{BOLD}{}{BOLD:#}", short(&device.name, COLUMNS));
    let driver = short(&format!("{} {}", device.driver, device.driver_info), 44);
    let kind = words::device_type(device.device_type);
    line(out, "", &format!("{kind}, {}, {driver}", backend(record)));
    let planned = record.planned_count();
    let mut counts = format!("{} of {planned} cases verified and timed", record.cases.len());
    for (count, what) in [(record.left_out.len(), "left out"), (record.rejected.len(), "WRONG OR FAILED")] {
        if count > 0 {
            let _ = write!(counts, ", {count} {what}");
        }
    }
    let (preset, clock) = (words::preset(protocol.preset), words::clock(protocol.clock));
    line(out, "", &format!("{counts}; preset {preset}, {clock}"));
    if !record.complete {
        line(out, "! ", "not complete: some planned cases are missing; --resume goes on");
    }
    if let Some(first) = record.rejected.first() {
        line(out, "! ", &short(&format!("wrong or failed: {}", first.id), COLUMNS - 2));
    }
    for caveat in record.caveats.iter().take(MOST_CAVEATS) {
        line(out, "! ", &caveat.to_string());
    }
    let of_cases = record.cases.iter().filter(|case| !case.caveats.is_empty()).count();
    let more = record.caveats.len().saturating_sub(MOST_CAVEATS);
    let notes = [(more, "more caveats of the whole run"), (of_cases, "cases with caveats of their own")];
    let notes: Vec<String> =
        notes.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !notes.is_empty() {
        line(out, "! ", &notes.join(", "));
    }
}

/// Two per line.
fn ceilings(out: &mut String, record: &Record) {
    if record.ceilings.is_empty() {
        return;
    }
    title(out, "Ceilings, measured in the same run");
    let mut table = plain(&[Left, Right, Left, Right]);
    let cells: Vec<[String; 2]> = record
        .ceilings
        .iter()
        .map(|(kind, ceiling)| [words::ceiling(*kind).to_owned(), ceiling_value(*kind, ceiling.value)])
        .collect();
    // Column by column, so that arithmetic is at the left and memory at the right.
    let (left, right) = cells.split_at(cells.len().div_ceil(2));
    for (i, one) in left.iter().enumerate() {
        let other = right.get(i).cloned().unwrap_or_default();
        table.add_row(one.iter().cloned().chain(other));
    }
    push_all_lines(out, &table);
}

/// The cold case of each family and type that comes nearest to its roofline.
fn best_cases(out: &mut String, record: &Record) {
    let mut best: BTreeMap<(Family, StorageType), &Case> = BTreeMap::new();
    for case in record.cases.iter().filter(|case| case.cache == CacheState::Cold) {
        let entry = best.entry((case.family, case.element)).or_insert(case);
        if case.achieved.fraction_of_roofline > entry.achieved.fraction_of_roofline {
            *entry = case;
        }
    }
    if best.is_empty() {
        return;
    }
    title(out, "Nearest to the roofline, by family and type");
    let mut table = plain(&[Left, Left, Left, Right, Right, Right]);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 1));
    });
    let shown = if best.len() > MOST_BEST { MOST_BEST - 1 } else { best.len() };
    for case in best.values().take(shown) {
        let counts_bytes = case.achieved.bound_by == Bound::Memory || !case.achieved.flop_per_s.is_positive();
        let rate =
            if counts_bytes { case.achieved.bytes_per_s.to_string() } else { case.achieved.flop_per_s.to_string() };
        table.add_row([
            words::family(case.family).to_owned(),
            case.element.to_string(),
            kernel(case),
            case.timing.median_s.to_string(),
            rate,
            percent(case.achieved.fraction_of_roofline),
        ]);
    }
    push_all_lines(out, &table);
    if best.len() > shown {
        let _ = writeln!(out, "  and {} more", best.len() - shown);
    }
}

/// The kernel with the shape of its product, or with its model and phase.
fn kernel(case: &Case) -> String {
    let about = product(&case.shape).unwrap_or_else(|| format!("{} {}", case.model, case.phase));
    short(&format!("{} {about}", case.kernel), KERNEL)
}

/// Tokens per second and chip: a line for each model, a column for each phase.
fn projections(out: &mut String, summary: &RunSummary<'_>) {
    const PHASES: [Phase; 3] = [Phase::Prefill, Phase::Decode, Phase::Training];
    let rows = summary.projected;
    let Some(first) = rows.first() else { return };
    let chip = short(&first.request.chip.name, 20);
    let (fabric, baseline) = (short(&first.request.fabric.name, 20), short(&first.baseline, 16));
    title(out, &format!("Projected for {} x {chip} on {fabric}, not measured", first.request.chips));
    let mut table = plain(&[Left, Right, Right, Right]);
    table.set_header(
        ["tokens/s per chip".to_owned()].into_iter().chain(PHASES.map(|phase| words::phase(phase).to_owned())),
    );
    let names: Vec<&String> = distinct(rows.iter().map(|row| &row.request.model.name));
    for name in names {
        let cell = |phase: Phase| {
            let row = rows.iter().find(|row| &row.request.model.name == name && row.request.phase == phase);
            row.map_or_else(|| "-".to_owned(), projected_cell)
        };
        table.add_row([short(name, 24)].into_iter().chain(PHASES.map(cell)));
    }
    push_all_lines(out, &table);
    line(out, "  ", &format!("In brackets: the ratio to {baseline}, each with its best plan."));
    if let Some(row) = summary.measured_device {
        line(out, "  ", &measured_line(row));
    }
}

fn projected_cell(row: &ProjectedRow) -> String {
    let Ok(on) = &row.comparison.on else { return "does not fit".to_owned() };
    let ratio = row.comparison.speedup.map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
    format!("{}{ratio}", four_digits(on.tokens_per_s_per_chip.median))
}

/// What the measured device itself would deliver.
fn measured_line(row: &ProjectedRow) -> String {
    let (model, phase) = (&row.request.model.name, words::phase(row.request.phase));
    match &row.comparison.on {
        Ok(on) => {
            let rate = four_digits(on.tokens_per_s_per_chip.median);
            format!("{} of the measured device: {rate} tokens/s per chip in {model} {phase}.", row.request.chips)
        }
        Err(_) => format!("{} of the measured device: {model} {phase} does not fit.", row.request.chips),
    }
}

/// Where the results are, and which commands show more.
fn where_to_look(out: &mut String, summary: &RunSummary<'_>) {
    let _ = writeln!(out, "\nrecord  {}", summary.record_file.display());
    let _ = writeln!(out, "page    {}", summary.page.display());
    let commands = [
        ("report RECORD --details", "all cases, ceilings, trials, caveats"),
        ("project RECORD", "plans, intervals and sources"),
        ("compare RECORD OTHER", "another record, case by case"),
    ];
    for (i, (command, what)) in commands.iter().enumerate() {
        let head = if i == 0 { "more" } else { "" };
        let _ = writeln!(out, "{head:<7} supernode {command:<25}{what}");
    }
}

/// A line. What is longer than 80 columns goes on below, four columns further in.
fn line(out: &mut String, head: &str, text: &str) {
    let _ = writeln!(out, "{}", wrapped(head, "    ", text, COLUMNS));
}

/// The lines of a table, indented by two and cut where they are too long.
fn push_all_lines(out: &mut String, table: &Table) {
    for row in table.lines().filter(|row| !row.trim().is_empty()) {
        let _ = writeln!(out, "  {}", short(row.trim_end(), COLUMNS - 2));
    }
}
