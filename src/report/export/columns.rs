//! The columns of a case, each with its name, its kind and where it comes from.

use std::collections::BTreeSet;

use crate::record::{Case, Record, RuntimeChecks};
use crate::report::cases::best;
use crate::report::ceilings::browser;
use crate::report::export::cell::{CellValue, ColumnKind};
use crate::report::text::clean;
use crate::report::words;

/// One case with what surrounds it.
pub(super) struct CaseRow<'a> {
    pub(super) file: &'a str,
    pub(super) record: &'a Record,
    pub(super) case: &'a Case,
    pub(super) fastest: bool,
}

/// One column.
pub(super) struct CaseColumn {
    pub(super) name: &'static str,
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "only Parquet needs the kind before the values"))]
    pub(super) kind: ColumnKind,
    get: fn(&CaseRow<'_>) -> CellValue,
}

impl CaseColumn {
    /// The cell of a row.
    pub(super) fn of(&self, row: &CaseRow<'_>) -> CellValue {
        (self.get)(row)
    }
}

const fn text(name: &'static str, get: fn(&CaseRow<'_>) -> CellValue) -> CaseColumn {
    CaseColumn { name, kind: ColumnKind::Text, get }
}

const fn number(name: &'static str, get: fn(&CaseRow<'_>) -> CellValue) -> CaseColumn {
    CaseColumn { name, kind: ColumnKind::Number, get }
}

const fn count(name: &'static str, get: fn(&CaseRow<'_>) -> CellValue) -> CaseColumn {
    CaseColumn { name, kind: ColumnKind::Count, get }
}

const fn flag(name: &'static str, get: fn(&CaseRow<'_>) -> CellValue) -> CaseColumn {
    CaseColumn { name, kind: ColumnKind::Flag, get }
}

fn word(text: &str) -> CellValue {
    CellValue::Text(clean(text))
}

/// All columns, in order.
pub(super) const COLUMNS: &[CaseColumn] = &[
    text("file", |row| word(row.file)),
    text("created_at", |row| word(&row.record.created_at)),
    text("tool_version", |row| word(&row.record.tool.version)),
    text("git_commit", |row| row.record.tool.git_commit.as_deref().map_or(CellValue::Missing, word)),
    text("host_cpu", |row| word(&row.record.host.cpu)),
    text("device", |row| word(&row.record.device.name)),
    text("vendor", |row| word(&row.record.device.vendor)),
    text("backend", |row| word(&row.record.device.backend)),
    text("driver", |row| word(&format!("{} {}", row.record.device.driver, row.record.device.driver_info))),
    flag("software_adapter", |row| CellValue::Flag(row.record.is_software())),
    text("preset", |row| word(words::preset(row.record.protocol.preset))),
    count("seed", |row| CellValue::Count(row.record.protocol.seed)),
    flag("runtime_checks", |row| CellValue::Flag(row.record.protocol.runtime_checks != RuntimeChecks::Off)),
    text("browser", |row| browser(row.record).map_or(CellValue::Missing, CellValue::Text)),
    text("id", |row| word(&row.case.id)),
    text("family", |row| word(&row.case.family.to_string())),
    text("kernel", |row| word(&row.case.kernel)),
    text("variant", |row| word(&row.case.variant)),
    flag("fastest_variant", |row| CellValue::Flag(row.fastest)),
    text("element", |row| word(&row.case.element.to_string())),
    text("model", |row| word(&row.case.model)),
    text("phase", |row| word(&row.case.phase.to_string())),
    count("scale_divisor", |row| CellValue::Count(row.case.scale_divisor.into())),
    text("sizes", |row| word(&sizes(row.case))),
    number("flop", |row| CellValue::Number(row.case.work.flop.get())),
    number("bytes_read", |row| CellValue::Number(row.case.work.bytes_read.get())),
    number("bytes_written", |row| CellValue::Number(row.case.work.bytes_written.get())),
    text("clock", |row| word(words::clock(row.case.timing.clock))),
    count("samples", |row| CellValue::Count(row.case.timing.samples_s.len() as u64)),
    count("runs_per_sample", |row| CellValue::Count(row.case.timing.runs_per_sample.into())),
    number("median_s", |row| CellValue::Number(row.case.timing.median_s.get())),
    number("ci95_low_s", |row| CellValue::Number(row.case.timing.ci95_s[0].get())),
    number("ci95_high_s", |row| CellValue::Number(row.case.timing.ci95_s[1].get())),
    number("mad_s", |row| CellValue::Number(row.case.timing.mad_s.get())),
    number("wall_median_s", |row| CellValue::Number(row.case.timing.wall_median_s.get())),
    number("cpu_median_s", |row| {
        row.case.timing.cpu_median_s.map_or(CellValue::Missing, |s| CellValue::Number(s.get()))
    }),
    number("flop_per_s", |row| CellValue::Number(row.case.achieved.flop_per_s.get())),
    number("bytes_per_s", |row| CellValue::Number(row.case.achieved.bytes_per_s.get())),
    number("roofline_s", |row| CellValue::Number(row.case.achieved.roofline_s.get())),
    number("fraction_of_roofline", |row| CellValue::Number(row.case.achieved.fraction_of_roofline)),
    text("bound_by", |row| word(words::bound(row.case.achieved.bound_by))),
    number("error", |row| CellValue::Number(row.case.verification.value)),
    number("error_tolerance", |row| CellValue::Number(row.case.verification.tolerance)),
    text("caveats", |row| word(&caveats(row.case))),
];

fn sizes(case: &Case) -> String {
    let pairs: Vec<String> = case.shape.iter().map(|(name, size)| format!("{name}={size}")).collect();
    pairs.join(",")
}

fn caveats(case: &Case) -> String {
    let caveats: Vec<String> = case.caveats.iter().map(ToString::to_string).collect();
    caveats.join("; ")
}

/// Every case of every record.
pub(super) fn rows(records: &[(String, Record)]) -> impl Iterator<Item = CaseRow<'_>> {
    records.iter().flat_map(|(file, record)| {
        let fastest: BTreeSet<&str> = best(record).all;
        record.cases.iter().map(move |case| CaseRow { file, record, case, fastest: fastest.contains(&*case.id) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_column_occurs_twice() {
        let names: BTreeSet<&str> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), COLUMNS.len());
    }
}
