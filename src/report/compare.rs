//! Two or more documents, case by case against the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use comfy_table::CellAlignment::{Left, Right};
use serde::Serialize;

use super::terminal::{paragraph, plain, push_grouped, push_lines, title};
use super::{clean, clock_name, family_name, percent, preset_name, setting, short, tool};
use crate::kernels::Family;
use crate::record::{Case, Record};
use crate::units::Seconds;

/// What `supernode compare --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The document that all others are held against.
    pub base: Side,
    /// The others, in the order given.
    pub against: Vec<Against>,
}

/// One document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Where it was read from.
    pub file: String,
    /// The device's name.
    pub device: String,
    /// Whether a CPU posed as the GPU.
    pub software: bool,
    /// Whether all planned cases are accounted for.
    pub complete: bool,
}

/// One document against the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// The document.
    pub other: Side,
    /// Circumstances that differ, in words.
    pub differs: Vec<String>,
    /// Cases that both have, in the order of the first.
    pub cases: Vec<Speedup>,
    /// Geometric mean of the speedups of a family's common cases.
    pub geometric_mean: BTreeMap<Family, f64>,
    /// Ids of cases that only the first has.
    pub only_in_base: Vec<String>,
    /// Ids of cases that only this one has.
    pub only_in_other: Vec<String>,
}

/// One case on two devices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speedup {
    /// The case.
    pub id: String,
    /// Kernel family.
    pub family: Family,
    /// Kernel, variant and type.
    pub what: String,
    /// Family, model, phase and sizes.
    pub setting: String,
    /// Median time in the first document.
    pub base_s: Seconds,
    /// Median time in the other.
    pub other_s: Seconds,
    /// `base_s / other_s`: above 1 the other is faster.
    pub speedup: f64,
    /// The smallest speedup that both 95 % intervals allow.
    pub low: f64,
    /// The largest; `None` where the other's interval begins at zero.
    pub high: Option<f64>,
    /// What the intervals say.
    pub verdict: Verdict,
    /// Fraction of its own roofline in the first document.
    pub base_fraction: f64,
    /// Fraction of its own roofline in the other.
    pub other_fraction: f64,
}

/// What two intervals of the median say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The other's interval lies below the first's.
    Faster,
    /// The other's interval lies above the first's.
    Slower,
    /// The intervals overlap.
    NoDifferenceShown,
}

/// Holds each of `others` against `base`. Each record comes with the name of its file.
pub fn compare(base: (&str, &Record), others: &[(&str, &Record)]) -> Comparison {
    let against = others.iter().map(|(file, other)| hold(base.1, file, other)).collect();
    Comparison { base: side(base.0, base.1), against }
}

fn side(file: &str, record: &Record) -> Side {
    Side {
        file: clean(file),
        device: clean(&record.device.name),
        software: record.is_software(),
        complete: record.complete,
    }
}

fn hold(base: &Record, file: &str, other: &Record) -> Against {
    let by_id: BTreeMap<&str, &Case> = other.cases.iter().map(|case| (&*case.id, case)).collect();
    let base_ids: BTreeSet<&str> = base.cases.iter().map(|case| &*case.id).collect();
    let pairs = base.cases.iter().filter_map(|case| Some((case, *by_id.get(&*case.id)?)));
    let cases: Vec<Speedup> = pairs.map(|(a, b)| speedup(a, b)).collect();
    let only = |ids: Vec<&str>| ids.into_iter().map(clean).collect();
    Against {
        other: side(file, other),
        differs: differences(base, other),
        geometric_mean: geometric_means(&cases),
        only_in_base: only(base.cases.iter().map(|c| &*c.id).filter(|id| !by_id.contains_key(id)).collect()),
        only_in_other: only(other.cases.iter().map(|c| &*c.id).filter(|id| !base_ids.contains(id)).collect()),
        cases,
    }
}

fn speedup(base: &Case, other: &Case) -> Speedup {
    let ([base_low, base_high], [low, high]) = (base.timing.ci95_s, other.timing.ci95_s);
    let verdict = if high < base_low {
        Verdict::Faster
    } else if low > base_high {
        Verdict::Slower
    } else {
        Verdict::NoDifferenceShown
    };
    Speedup {
        id: clean(&base.id),
        family: base.family,
        what: format!("{} {} {}", short(&base.kernel, 16), short(&base.variant, 14), base.element),
        setting: format!("{}: {}", family_name(base.family), setting(base)),
        base_s: base.timing.median_s,
        other_s: other.timing.median_s,
        speedup: base.timing.median_s / other.timing.median_s,
        low: base_low / high,
        high: low.is_positive().then(|| base_high / low),
        verdict,
        base_fraction: base.achieved.fraction_of_roofline,
        other_fraction: other.achieved.fraction_of_roofline,
    }
}

fn geometric_means(cases: &[Speedup]) -> BTreeMap<Family, f64> {
    let mut logarithms: BTreeMap<Family, Vec<f64>> = BTreeMap::new();
    for case in cases {
        logarithms.entry(case.family).or_default().push(case.speedup.ln());
    }
    logarithms
        .into_iter()
        .map(|(family, logs)| {
            let count = logs.len() as f64;
            (family, (logs.into_iter().sum::<f64>() / count).exp())
        })
        .collect()
}

/// What else than the device is not the same on both sides.
fn differences(base: &Record, other: &Record) -> Vec<String> {
    let clock = |record: &Record| clock_name(record.protocol.clock).to_owned();
    let preset = |record: &Record| preset_name(record.protocol.preset).to_owned();
    let driver = |record: &Record| format!("{} {}", clean(&record.device.driver), clean(&record.device.driver_info));
    let checks = |record: &Record| if record.protocol.runtime_checks { "on" } else { "off" }.to_owned();
    let seed = |record: &Record| record.protocol.seed.to_string();
    let rotation = |record: &Record| crate::units::Bytes::from_count(record.protocol.rotation_bytes).to_string();
    let backend = |record: &Record| clean(&record.device.backend);
    let rows = [
        ("preset", preset(base), preset(other)),
        ("clock", clock(base), clock(other)),
        ("driver", driver(base), driver(other)),
        ("backend", backend(base), backend(other)),
        ("runtime checks", checks(base), checks(other)),
        ("seed", seed(base), seed(other)),
        ("rotation of inputs", rotation(base), rotation(other)),
        ("tool", tool(base), tool(other)),
    ];
    let differing = rows.into_iter().filter(|(_, here, there)| here != there);
    differing.map(|(what, here, there)| format!("{what}: {here} | {there}")).collect()
}

/// The comparison as text of about 100 columns, styled; pass it through [`super::terminal::print`].
pub fn text(comparison: &Comparison) -> String {
    let mut out = String::new();
    for against in &comparison.against {
        if !out.is_empty() {
            out.push('\n');
        }
        one(&mut out, &comparison.base, against);
    }
    out
}

fn one(out: &mut String, base: &Side, against: &Against) {
    for (letter, side) in [("A", base), ("B", &against.other)] {
        let software = if side.software { ", a software adapter" } else { "" };
        let partial = if side.complete { "" } else { ", NOT COMPLETE" };
        let _ = writeln!(out, "{letter}  {} ({}){software}{partial}", short(&side.device, 50), short(&side.file, 60));
    }
    for difference in &against.differs {
        paragraph(out, "   ", &format!("differs in {difference}"));
    }
    if against.cases.is_empty() {
        out.push_str("\nNo case in common.\n");
    } else {
        cases(out, &against.cases);
        means(out, &against.geometric_mean);
    }
    missing(out, "Only in A", &against.only_in_base);
    missing(out, "Only in B", &against.only_in_other);
}

fn cases(out: &mut String, cases: &[Speedup]) {
    title(out, "Speedup of B over A (above 1, B is faster), 95 % interval, fraction of each one's own roofline");
    let mut table = plain(&[Left, Right, Right, Right, Left, Right, Right, Left]);
    table.set_header(["  kernel", "A", "B", "B over A", "interval", "A roof", "B roof", "difference"]);
    for case in cases {
        let high = case.high.map_or("unbounded".to_owned(), factor);
        table.add_row([
            format!("  {}", case.what),
            case.base_s.to_string(),
            case.other_s.to_string(),
            factor(case.speedup),
            format!("{} to {high}", factor(case.low)),
            percent(case.base_fraction),
            percent(case.other_fraction),
            verdict(case.verdict).to_owned(),
        ]);
    }
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for case in cases {
        match groups.last_mut() {
            Some((setting, rows)) if *setting == case.setting => *rows += 1,
            _ => groups.push((&case.setting, 1)),
        }
    }
    push_grouped(out, &table, &groups);
}

fn means(out: &mut String, means: &BTreeMap<Family, f64>) {
    title(out, "Geometric mean of B over A");
    let mut table = plain(&[Left, Right]);
    for (family, mean) in means {
        table.add_row([family_name(*family).to_owned(), factor(*mean)]);
    }
    push_lines(out, &table);
}

fn missing(out: &mut String, name: &str, ids: &[String]) {
    if ids.is_empty() {
        return;
    }
    title(out, name);
    for id in ids {
        paragraph(out, "  ", id);
    }
}

/// A ratio with three digits.
fn factor(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}x"),
        v if v >= 9.995 => format!("{value:.1}x"),
        v if v >= 0.0995 => format!("{value:.2}x"),
        v if v >= 1e-4 => format!("{value:.5}x"),
        _ => format!("{value:.2e}x"),
    }
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Faster => "B faster",
        Verdict::Slower => "B slower",
        Verdict::NoDifferenceShown => "none shown",
    }
}
