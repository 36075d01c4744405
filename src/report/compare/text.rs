//! The comparison on a terminal, in 100 columns.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use comfy_table::CellAlignment::{Left, Right};

use crate::report::compare::comparison::{Against, ComparedRecord, RecordComparison, Speedup};
use crate::report::compare::differences::Missing;
use crate::report::compare::llama_bench::LlamaBench;
use crate::report::compare::ratio::{Mean, RatioVerdict};
use crate::report::numbers::percent;
use crate::report::terminal::layout::{
    hide_where_narrow, is_narrow, paragraph, plain, push_grouped, push_lines, title,
};
use crate::report::text::short;
use crate::report::words;

/// The most missing cases that are listed; JSON and CSV have them all.
const LISTED: usize = 12;

/// The comparison as text of about 100 columns, styled; pass it through [`print`](crate::report::terminal::print).
pub fn text(comparison: &RecordComparison) -> String {
    let mut out = String::new();
    if comparison.against.len() > 1 {
        summary(&mut out, comparison);
    }
    for against in &comparison.against {
        if !out.is_empty() {
            out.push('\n');
        }
        one(&mut out, &comparison.base, against);
    }
    if !comparison.against.is_empty() {
        portability(&mut out, comparison);
    }
    if let Some(theirs) = &comparison.llama_bench {
        llama_bench(&mut out, theirs);
    }
    out
}

fn summary(out: &mut String, comparison: &RecordComparison) {
    title(out, "All against A, best variants, geometric mean with 95 % interval (above 1 is faster than A)");
    let mut table = plain(&[Left, Left, Left, Left]);
    let families: BTreeSet<_> = comparison.portability.families.keys().copied().collect();
    let mut head = vec!["device".to_owned()];
    head.extend(families.iter().map(|family| words::family(*family).to_owned()));
    table.set_header(&head);
    let mut first = vec![format!("A {}", short(&comparison.base.device, 34))];
    first.resize(head.len(), "1".to_owned());
    table.add_row(first);
    for against in &comparison.against {
        let mut row = vec![format!("  {}", short(&against.other.device, 34))];
        row.extend(families.iter().map(|f| against.geometric_mean.get(f).map_or("-".to_owned(), mean_in_short)));
        table.add_row(row);
    }
    push_lines(out, &table);
}

fn mean_in_short(mean: &Mean) -> String {
    format!("{} ({} to {})", factor(mean.mean), factor(mean.low), bound(mean.high))
}

fn one(out: &mut String, base: &ComparedRecord, against: &Against) {
    for (letter, side) in [("A", base), ("B", &against.other)] {
        let software = if side.software { ", a software adapter" } else { "" };
        let partial = if side.complete { "" } else { ", NOT COMPLETE" };
        let _ = writeln!(out, "{letter}  {} ({}){software}{partial}", short(&side.device, 50), short(&side.file, 60));
    }
    for difference in &against.differs {
        paragraph(out, "   ", &format!("differs in {difference}"));
    }
    if against.best.is_empty() {
        out.push_str("\nNo case in common.\n");
    } else {
        pairs(out, against);
        means(out, against);
    }
    missing(out, "Only in A", &against.only_in_base);
    missing(out, "Only in B", &against.only_in_other);
}

fn pairs(out: &mut String, against: &Against) {
    title(out, "B over A (above 1, B is faster), 95 % interval, share of each one's own roofline: best variants");
    table(out, against.best.iter());
    let shown: BTreeSet<&str> = against.best.iter().map(|case| &*case.id).collect();
    let rest: Vec<&Speedup> = against.cases.iter().filter(|case| !shown.contains(&*case.id)).collect();
    if !rest.is_empty() {
        title(out, "The same, for other variants that both have");
        table(out, rest.into_iter());
    }
    tally(out, &against.best);
}

fn table<'a>(out: &mut String, cases: impl Iterator<Item = &'a Speedup>) {
    let mut table = plain(&[Left, Right, Right, Right, Left, Right, Right, Left]);
    table.set_header(["  kernel", "A", "B", "B over A", "interval", "A roof", "B roof", "difference"]);
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for case in cases {
        let mark = if case.caveats.is_empty() { "" } else { " !" };
        table.add_row([
            format!("  {}", what(case)),
            case.base_s.to_string(),
            case.other_s.to_string(),
            factor(case.ratio.speedup),
            format!("{} to {}", factor(case.ratio.low), bound(case.ratio.high)),
            percent(case.base_fraction),
            percent(case.other_fraction),
            format!("{}{mark}", words::ratio_verdict(case.ratio.verdict)),
        ]);
        match groups.last_mut() {
            Some((heading, rows)) if *heading == case.heading => *rows += 1,
            _ => groups.push((&case.heading, 1)),
        }
    }
    // Both medians are in the other formats.
    hide_where_narrow(&mut table, &[1, 2]);
    push_grouped(out, table, &groups);
}

/// Kernel, variant (of A, then of B where they differ) and type in at most 32 columns, or 28 where the terminal is narrow.
fn what(case: &Speedup) -> String {
    let half = if is_narrow() { 5 } else { 7 };
    let variant = if case.base_variant == case.other_variant {
        short(&case.base_variant, 2 * half)
    } else {
        format!("{}/{}", short(&case.base_variant, half), short(&case.other_variant, half))
    };
    format!("{} {variant} {}", short(&case.kernel, 12), short(&case.element, 4))
}

/// How many of each verdict, and how many would be shown by chance.
fn tally(out: &mut String, best: &[Speedup]) {
    let count = |verdict| best.iter().filter(|case| case.ratio.verdict == verdict).count();
    let (faster, slower) = (count(RatioVerdict::Faster), count(RatioVerdict::Slower));
    let marked = best.iter().any(|case| !case.caveats.is_empty());
    out.push('\n');
    paragraph(
        out,
        "",
        &format!(
            "B is faster in {faster}, slower in {slower}, and no difference is shown in {} of {} (if nothing differed, \
             about {:.0} would be shown by chance).{}",
            best.len() - faster - slower,
            best.len(),
            (best.len() as f64 * 0.05).ceil(),
            if marked { " ! marks figures with a caveat; --format json lists them." } else { "" }
        ),
    );
}

fn means(out: &mut String, against: &Against) {
    title(out, "Geometric mean of B over A, best variants, 95 % interval (noise of these cases only)");
    let mut table = plain(&[Left, Right, Left, Right]);
    for (family, mean) in &against.geometric_mean {
        let interval = format!("{} to {}", factor(mean.low), bound(mean.high));
        let cases = if mean.count == 1 { "case" } else { "cases" };
        table.add_row([
            words::family(*family).to_owned(),
            factor(mean.mean),
            interval,
            format!("{} {cases}", mean.count),
        ]);
    }
    push_lines(out, &table);
}

fn missing(out: &mut String, name: &str, cases: &[Missing]) {
    if cases.is_empty() {
        return;
    }
    title(out, name);
    for case in cases.iter().take(LISTED) {
        paragraph(out, "  ", &format!("{}: {}", case.id, case.why));
    }
    if let Some(more) = cases.len().checked_sub(LISTED).filter(|more| *more > 0) {
        paragraph(out, "  ", &format!("... and {more} more (--format json or csv lists all)"));
    }
}

fn portability(out: &mut String, comparison: &RecordComparison) {
    let found = &comparison.portability;
    if found.families.values().all(|family| family.everywhere == 0) {
        return;
    }
    title(out, "Share of each device's own roofline, best variants, geometric mean of what all have measured");
    let mut table = plain(&[Left, Left, Left, Left]);
    let mut head = vec!["device".to_owned()];
    head.extend(found.families.keys().map(|family| words::family(*family).to_owned()));
    table.set_header(&head);
    let devices = std::iter::once(&comparison.base).chain(comparison.against.iter().map(|against| &against.other));
    let share = |value: Option<f64>| value.map_or("-".to_owned(), percent);
    for (i, side) in devices.enumerate() {
        let mut row = vec![short(&side.device, 36)];
        row.extend(found.families.values().map(|family| share(family.efficiency.get(i).copied().flatten())));
        table.add_row(row);
    }
    let mut row = vec!["portability (harmonic mean)".to_owned()];
    row.extend(found.families.values().map(|family| share(family.portability)));
    table.add_row(row);
    let mut row = vec!["kernel, type and shape".to_owned()];
    row.extend(found.families.values().map(|family| match family.not_everywhere {
        0 => family.everywhere.to_string(),
        lacking => format!("{} ({lacking} more not everywhere)", family.everywhere),
    }));
    table.add_row(row);
    push_lines(out, &table);
}

fn llama_bench(out: &mut String, theirs: &LlamaBench) {
    title(out, "llama-bench next to A (rates derived from parameters and model size; whole models, not kernels)");
    for note in &theirs.notes {
        paragraph(out, "  ", note);
    }
    let mut table = plain(&[Left, Left, Right, Right, Right, Right]);
    table.set_header(["model", "test", "tokens/s", "derived rate", "of A's ceiling", "A's fastest kernel"]);
    for row in &theirs.rows {
        table.add_row([
            short(&row.model, 26),
            row.test.clone(),
            row.shown_rate(),
            row.derived_rate(),
            row.of_ceiling.map_or("-".to_owned(), percent),
            row.shown_fastest(),
        ]);
    }
    push_lines(out, &table);
}

/// A ratio with three digits.
pub(super) fn factor(value: f64) -> String {
    match value.abs() {
        v if v >= 1e5 => format!("{value:.1e}x"),
        v if v >= 99.95 => format!("{value:.0}x"),
        v if v >= 9.995 => format!("{value:.1}x"),
        v if v >= 0.0995 || v == 0.0 => format!("{value:.2}x"),
        v if v >= 1e-3 => format!("{value:.4}x"),
        _ => format!("{value:.1e}x"),
    }
}

pub(super) fn bound(high: Option<f64>) -> String {
    high.map_or("unbounded".to_owned(), factor)
}
