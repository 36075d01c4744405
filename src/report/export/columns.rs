//! The columns of a case, each with its name, its kind and where it comes from.

use std::collections::BTreeSet;

use crate::record::{Case, Record};
use crate::report::terminal::bound_name;
use crate::report::{best, clean, clock_name, preset_name};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Count,
    Flag,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(f64),
    Count(u64),
    Flag(bool),
    Missing,
}

/// One case with what surrounds it.
pub(super) struct Row<'a> {
    pub(super) file: &'a str,
    pub(super) record: &'a Record,
    pub(super) case: &'a Case,
    pub(super) fastest: bool,
}

/// One column.
pub(super) struct Column {
    pub(super) name: &'static str,
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "only Parquet needs the kind before the values"))]
    pub(super) kind: Kind,
    get: fn(&Row<'_>) -> Value,
}

impl Column {
    /// The cell of a row.
    pub(super) fn of(&self, row: &Row<'_>) -> Value {
        (self.get)(row)
    }
}

const fn text(name: &'static str, get: fn(&Row<'_>) -> Value) -> Column {
    Column { name, kind: Kind::Text, get }
}

const fn number(name: &'static str, get: fn(&Row<'_>) -> Value) -> Column {
    Column { name, kind: Kind::Number, get }
}

const fn count(name: &'static str, get: fn(&Row<'_>) -> Value) -> Column {
    Column { name, kind: Kind::Count, get }
}

const fn flag(name: &'static str, get: fn(&Row<'_>) -> Value) -> Column {
    Column { name, kind: Kind::Flag, get }
}

fn word(text: &str) -> Value {
    Value::Text(clean(text))
}

/// All columns, in order.
pub(super) const COLUMNS: &[Column] = &[
    text("file", |row| word(row.file)),
    text("created_at", |row| word(&row.record.created_at)),
    text("tool_version", |row| word(&row.record.tool.version)),
    text("git_commit", |row| row.record.tool.git_commit.as_deref().map_or(Value::Missing, word)),
    text("host_cpu", |row| word(&row.record.host.cpu)),
    text("device", |row| word(&row.record.device.name)),
    text("vendor", |row| word(&row.record.device.vendor)),
    text("backend", |row| word(&row.record.device.backend)),
    text("driver", |row| word(&format!("{} {}", row.record.device.driver, row.record.device.driver_info))),
    flag("software_adapter", |row| Value::Flag(row.record.is_software())),
    text("preset", |row| word(preset_name(row.record.protocol.preset))),
    count("seed", |row| Value::Count(row.record.protocol.seed)),
    flag("runtime_checks", |row| Value::Flag(row.record.protocol.runtime_checks)),
    text("id", |row| word(&row.case.id)),
    text("family", |row| word(&row.case.family.to_string())),
    text("kernel", |row| word(&row.case.kernel)),
    text("variant", |row| word(&row.case.variant)),
    flag("fastest_variant", |row| Value::Flag(row.fastest)),
    text("element", |row| word(&row.case.element.to_string())),
    text("model", |row| word(&row.case.model)),
    text("phase", |row| word(&row.case.phase.to_string())),
    count("scale_divisor", |row| Value::Count(row.case.scale_divisor.into())),
    text("sizes", |row| word(&sizes(row.case))),
    number("flop", |row| Value::Number(row.case.work.flop.get())),
    number("bytes_read", |row| Value::Number(row.case.work.bytes_read.get())),
    number("bytes_written", |row| Value::Number(row.case.work.bytes_written.get())),
    text("clock", |row| word(clock_name(row.case.timing.clock))),
    count("samples", |row| Value::Count(row.case.timing.samples_s.len() as u64)),
    count("runs_per_sample", |row| Value::Count(row.case.timing.runs_per_sample.into())),
    number("median_s", |row| Value::Number(row.case.timing.median_s.get())),
    number("ci95_low_s", |row| Value::Number(row.case.timing.ci95_s[0].get())),
    number("ci95_high_s", |row| Value::Number(row.case.timing.ci95_s[1].get())),
    number("mad_s", |row| Value::Number(row.case.timing.mad_s.get())),
    number("wall_median_s", |row| Value::Number(row.case.timing.wall_median_s.get())),
    number("cpu_median_s", |row| row.case.timing.cpu_median_s.map_or(Value::Missing, |s| Value::Number(s.get()))),
    number("flop_per_s", |row| Value::Number(row.case.achieved.flop_per_s.get())),
    number("bytes_per_s", |row| Value::Number(row.case.achieved.bytes_per_s.get())),
    number("roofline_s", |row| Value::Number(row.case.achieved.roofline_s.get())),
    number("fraction_of_roofline", |row| Value::Number(row.case.achieved.fraction_of_roofline)),
    text("bound_by", |row| word(bound_name(row.case.achieved.bound_by))),
    number("error", |row| Value::Number(row.case.verification.value)),
    number("error_tolerance", |row| Value::Number(row.case.verification.tolerance)),
    text("caveats", |row| word(&caveats(row.case))),
];

fn sizes(case: &Case) -> String {
    let pairs: Vec<String> = case.shape.iter().map(|(name, size)| format!("{name}={size}")).collect();
    pairs.join(",")
}

fn caveats(case: &Case) -> String {
    let told: Vec<String> = case.caveats.iter().map(ToString::to_string).collect();
    told.join("; ")
}

/// Every case of every record.
pub(super) fn rows(records: &[(String, Record)]) -> impl Iterator<Item = Row<'_>> {
    records.iter().flat_map(|(file, record)| {
        let fastest: BTreeSet<&str> = best(record).all;
        record.cases.iter().map(move |case| Row { file, record, case, fastest: fastest.contains(&*case.id) })
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
