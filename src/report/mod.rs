//! How it is shown: tables for a terminal, a comparison of documents, one HTML page.
//!
//! No arithmetic beyond formatting and ratios. Text from a document is a stranger's: it is shown through `clean`.

pub(crate) mod claims;
pub mod compare;
pub mod export;
pub mod fabric;
mod page;
mod tables;
pub mod terminal;
pub mod validation;

use std::collections::{BTreeMap, BTreeSet};

pub use page::{Page, page};

use crate::kernels::{Element, Family, KernelPhase};
use crate::printable::printable;
use crate::projection::{self, NumberType, Projection, Provenance};
use crate::record::{
    CacheState, Case, Ceiling, CeilingKind, Clock, DeviceType, FmaForm, LastLevelCache, Preset, Quantity, Record,
    Timing,
};
use crate::units::{Bytes, BytesPerSecond, FlopPerSecond, Seconds, with_prefix};

/// The style sheet of every page.
const STYLE: &str = include_str!("page/page.css");

/// The same question asked of two fabrics.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectionPair {
    /// The bus fabric.
    pub on_fabric: Projection,
    /// The conventional cluster beside it; `None` where it was not asked or has no feasible plan.
    pub on_baseline: Option<Projection>,
}

/// Text of a document, fit to be printed: no control characters, at most 300 characters.
fn clean(text: &str) -> String {
    printable(text, 300)
}

/// The same, cut to `limit` characters with an ellipsis.
fn short(text: &str, limit: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= limit {
        return text;
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// Model, phase and named sizes: what a case is about, apart from how it is computed.
fn setting(case: &Case) -> String {
    format!("{} {}{}, {}", clean(&case.model), case.phase, scale_words(case), sizes(case))
}

/// What a layer's sizes were divided by, if anything.
fn scale_words(case: &Case) -> String {
    if case.scale_divisor > 1 { format!(" (1/{} size)", case.scale_divisor) } else { String::new() }
}

/// Named sizes, e.g. `hidden 7168, tokens 4096`.
fn sizes(case: &Case) -> String {
    let pairs: Vec<String> = case.shape.iter().map(|(name, size)| format!("{} {size}", clean(name))).collect();
    pairs.join(", ")
}

/// Ids of the fastest variant of each kernel, type and setting that has more than one variant, and of all the others.
struct Best<'a> {
    /// The fastest of two or more.
    winners: BTreeSet<&'a str>,
    /// Winners, and cases without a rival.
    all: BTreeSet<&'a str>,
}

fn best(record: &Record) -> Best<'_> {
    type Question<'a> = (Family, &'a str, Element, &'a str, KernelPhase, (u32, CacheState), &'a BTreeMap<String, u64>);
    let mut groups: BTreeMap<Question<'_>, Vec<&Case>> = BTreeMap::new();
    for case in &record.cases {
        let state = (case.scale_divisor, case.cache);
        let question = (case.family, &*case.kernel, case.element, &*case.model, case.phase, state, &case.shape);
        groups.entry(question).or_default().push(case);
    }
    let mut best = Best { winners: BTreeSet::new(), all: BTreeSet::new() };
    for rivals in groups.values() {
        let fastest = rivals.iter().min_by(|a, b| a.timing.median_s.get().total_cmp(&b.timing.median_s.get()));
        let Some(fastest) = fastest else { continue };
        best.all.insert(&fastest.id);
        if rivals.len() > 1 {
            best.winners.insert(&fastest.id);
        }
    }
    best
}

/// Cases under a heading for each family, model, phase and size; in a group they keep the order of measurement.
fn groups(cases: Vec<&Case>) -> Vec<(String, Vec<&Case>)> {
    let mut cases = cases;
    cases.sort_by(|a, b| {
        let key = |case: &Case| (case.family, case.phase, case.scale_divisor);
        key(a).cmp(&key(b)).then_with(|| a.model.cmp(&b.model)).then_with(|| a.shape.cmp(&b.shape))
    });
    let mut groups: Vec<(String, Vec<&Case>)> = Vec::new();
    for case in cases {
        let heading = format!("{}: {}", family_name(case.family), setting(case));
        match groups.last_mut() {
            Some((last, group)) if *last == heading => group.push(case),
            _ => groups.push((heading, vec![case])),
        }
    }
    groups
}

/// Half the width of the median's 95 % interval, the wider side, over the median.
fn relative_interval(timing: &Timing) -> f64 {
    let [low, high] = timing.ci95_s;
    (high - timing.median_s).max(timing.median_s - low) / timing.median_s
}

/// A fraction as a percentage with two or three digits, never clamped.
fn percent(fraction: f64) -> String {
    let value = fraction * 100.0;
    if value.abs() < 9.95 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// A ceiling's value in its unit.
fn ceiling_value(kind: CeilingKind, ceiling: &Ceiling) -> String {
    match kind.quantity() {
        Quantity::FlopPerSecond => FlopPerSecond::new(ceiling.value).to_string(),
        Quantity::OperationsPerSecond => with_prefix(ceiling.value, "op/s"),
        Quantity::BytesPerSecond => BytesPerSecond::new(ceiling.value).to_string(),
        Quantity::Seconds => Seconds::new(ceiling.value).to_string(),
    }
}

/// How a ceiling was found, where there is something to say.
fn ceiling_note(ceiling: &Ceiling) -> Option<String> {
    let mut words = Vec::new();
    match ceiling.form {
        Some(FmaForm::Chains) => words.push("chains".to_owned()),
        Some(FmaForm::Outer) => words.push("outer products".to_owned()),
        None => {}
    }
    words.extend(ceiling.workgroup.map(|workgroup| format!("workgroups of {workgroup}")));
    words.extend(ceiling.working_set_bytes.map(|bytes| format!("{} MiB", mebibytes(bytes))));
    words.extend(ceiling.last_level_cache.map(|cache| match cache {
        LastLevelCache::Measured { bytes } => format!("cache ends after {} MiB", mebibytes(bytes)),
        LastLevelCache::AtLeast { bytes } => format!("cache of at least {} MiB", mebibytes(bytes)),
        LastLevelCache::NotSeen => "no cache seen".to_owned(),
    }));
    (!words.is_empty()).then(|| words.join(", "))
}

fn mebibytes(bytes: Bytes) -> String {
    format!("{:.0}", bytes.get() / f64::from(1 << 20))
}

const fn ceiling_name(kind: CeilingKind) -> &'static str {
    match kind {
        CeilingKind::FmaF32 => "f32 multiply-add",
        CeilingKind::FmaF16 => "f16 multiply-add",
        CeilingKind::DotI8 => "int8 dot product",
        CeilingKind::MatrixF16 => "f16 matrix multiply",
        CeilingKind::MemoryRead => "memory read",
        CeilingKind::MemoryWrite => "memory write",
        CeilingKind::MemoryCopy => "memory copy",
        CeilingKind::CacheRead => "cache read",
        CeilingKind::Launch => "empty launch",
        CeilingKind::Submit => "submit and wait",
    }
}

const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Gating => "MoE gating",
        Family::ExpertMatmul => "Expert matmul",
        Family::Attention => "Attention",
        Family::Layer => "Whole layer",
    }
}

const fn device_type_name(kind: DeviceType) -> &'static str {
    match kind {
        DeviceType::Discrete => "discrete GPU",
        DeviceType::Integrated => "integrated GPU",
        DeviceType::Virtual => "virtual GPU",
        DeviceType::Software => "software adapter",
        DeviceType::Unknown => "unknown kind",
    }
}

const fn preset_name(preset: Preset) -> &'static str {
    match preset {
        Preset::Smoke => "smoke",
        Preset::Quick => "quick",
        Preset::Full => "full",
    }
}

const fn clock_name(clock: Clock) -> &'static str {
    match clock {
        Clock::Device => "device timestamps",
        Clock::Wall => "wall clock",
    }
}

/// Tool with version and commit.
fn tool(record: &Record) -> String {
    let commit = record.tool.git_commit.as_deref().map_or(String::new(), |commit| format!(" ({})", clean(commit)));
    format!("{} {}{commit}", clean(&record.tool.name), clean(&record.tool.version))
}

/// A term's key as words.
fn term_name(key: &str) -> String {
    match key {
        "dispatch" => "dispatch (exposed)".to_owned(),
        "combine" => "combine (exposed)".to_owned(),
        "other_collectives" => "other collectives (exposed)".to_owned(),
        "bubble" => "pipeline bubble".to_owned(),
        _ => key.replace('_', " "),
    }
}

const fn phase_name(phase: projection::Phase) -> &'static str {
    match phase {
        projection::Phase::Prefill => "Prefill",
        projection::Phase::Decode => "Decode",
        projection::Phase::Training => "Training",
    }
}

const fn number_type_name(number_type: NumberType) -> &'static str {
    match number_type {
        NumberType::F32 => "f32",
        NumberType::F16 => "f16",
        NumberType::Bf16 => "bf16",
        NumberType::Fp8 => "fp8",
        NumberType::Int8 => "int8",
    }
}

const fn provenance_name(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Measured => "measured",
        Provenance::Published => "published",
        Provenance::Assumed => "assumed",
        Provenance::Derived => "derived",
    }
}

/// Three digits, or all before the point in groups of three: `1,923`.
fn grouped_digits(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    match value.abs() {
        v if v >= 1e15 => return format!("{value:.2e}"),
        v if v >= 99.95 => {}
        v if v >= 9.995 => return format!("{value:.1}"),
        _ => return format!("{value:.2}"),
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        let left = digits.len() - i;
        if i > 0 && left.is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_have_groups_of_three_and_small_ones_three_digits() {
        let shown = [0.0, 1.5, 12.34, 99.96, 812.0, 1943.2, 999_999.6, 1e21, f64::NAN].map(grouped_digits);
        assert_eq!(shown, ["0.00", "1.50", "12.3", "100", "812", "1,943", "1,000,000", "1.00e21", "-"]);
    }

    #[test]
    fn a_fraction_above_one_is_shown_and_not_clamped() {
        assert_eq!([0.0341, 0.62, 1.314].map(percent), ["3.4 %", "62 %", "131 %"]);
    }

    #[test]
    fn long_text_is_cut_with_an_ellipsis_and_steers_no_terminal() {
        assert_eq!(short("gate_up_and_down", 8), "gate_up…");
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c"), "a [31mb c");
    }
}
