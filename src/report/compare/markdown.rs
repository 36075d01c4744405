//! The comparison as Markdown for an issue or a README.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::report::compare::comparison::{Against, ComparedRecord, RecordComparison, Speedup};
use crate::report::compare::text::{bound, factor};
use crate::report::escape::markdown_safe;
use crate::report::numbers::percent;
use crate::report::words;

/// Tables for a page that renders Markdown as GitHub does.
pub fn markdown(comparison: &RecordComparison) -> String {
    let mut out = String::new();
    for against in &comparison.against {
        one(&mut out, &comparison.base, against);
    }
    if comparison.against.is_empty() {
        let _ = writeln!(out, "A: {}", markdown_side(&comparison.base));
    } else {
        portability(&mut out, comparison);
    }
    if let Some(theirs) = &comparison.llama_bench {
        out.push_str("\n**llama-bench next to A** (rates derived from parameters and model size)\n\n");
        for note in &theirs.notes {
            let _ = writeln!(out, "- {}", markdown_safe(note));
        }
        out.push_str("\n| model | test | tokens/s | derived rate | of A's ceiling | A's fastest kernel |\n");
        out.push_str("|---|---|--:|--:|--:|--:|\n");
        for row in &theirs.rows {
            let share = row.of_ceiling.map_or("-".to_owned(), percent);
            let cells = [&markdown_safe(&row.model), &row.test, &row.shown_rate(), &row.derived_rate(), &share];
            let cells: Vec<&str> = cells.into_iter().map(String::as_str).collect();
            let _ = writeln!(out, "| {} | {} |", cells.join(" | "), row.shown_fastest());
        }
    }
    out
}

fn markdown_side(side: &ComparedRecord) -> String {
    let software = if side.software { ", a software adapter" } else { "" };
    let partial = if side.complete { "" } else { ", **not complete**" };
    format!("{} ({}){software}{partial}", markdown_safe(&side.device), markdown_safe(&side.file))
}

fn one(out: &mut String, base: &ComparedRecord, against: &Against) {
    let _ = writeln!(out, "### {} over {}\n", markdown_safe(&against.other.device), markdown_safe(&base.device));
    let _ = writeln!(out, "- A: {}\n- B: {}", markdown_side(base), markdown_side(&against.other));
    for difference in &against.differs {
        let _ = writeln!(out, "- differs in {}", markdown_safe(difference));
    }
    out.push('\n');
    if against.best.is_empty() {
        out.push_str("No case in common.\n\n");
    } else {
        out.push_str("| family | B over A, geometric mean | 95 % interval | cases |\n|---|--:|---|--:|\n");
        for (family, mean) in &against.geometric_mean {
            let (low, high) = (factor(mean.low), bound(mean.high));
            let name = words::family(*family);
            let _ = writeln!(out, "| {name} | {} | {low} to {high} | {} |", factor(mean.mean), mean.count);
        }
        out.push_str("\nBest variants:\n\n");
        pairs(out, against.best.iter());
        let shown: BTreeSet<&str> = against.best.iter().map(|case| &*case.id).collect();
        let mut rest = against.cases.iter().filter(|case| !shown.contains(&*case.id)).peekable();
        if rest.peek().is_some() {
            out.push_str("\n<details><summary>Other variants that both have</summary>\n\n");
            pairs(out, rest);
            out.push_str("\n</details>\n");
        }
        out.push('\n');
    }
    for (name, missing) in [("A", &against.only_in_base), ("B", &against.only_in_other)] {
        if !missing.is_empty() {
            let _ = writeln!(out, "<details><summary>Only in {name}: {} cases</summary>\n", missing.len());
            for case in missing {
                let _ = writeln!(out, "- {}: {}", markdown_safe(&case.id), markdown_safe(&case.why));
            }
            out.push_str("\n</details>\n\n");
        }
    }
}

fn pairs<'a>(out: &mut String, pairs: impl Iterator<Item = &'a Speedup>) {
    out.push_str("| setting | kernel | variant A | variant B | A | B | B over A | interval | A roof | B roof | |\n");
    out.push_str("|---|---|---|---|--:|--:|--:|---|--:|--:|---|\n");
    for pair in pairs {
        let _ = writeln!(
            out,
            "| {} | {} {} | {} | {} | {} | {} | {} | {} to {} | {} | {} | {}{} |",
            markdown_safe(&pair.heading),
            markdown_safe(&pair.kernel),
            markdown_safe(&pair.element),
            markdown_safe(&pair.base_variant),
            markdown_safe(&pair.other_variant),
            pair.base_s,
            pair.other_s,
            factor(pair.ratio.speedup),
            factor(pair.ratio.low),
            bound(pair.ratio.high),
            percent(pair.base_fraction),
            percent(pair.other_fraction),
            words::ratio_verdict(pair.ratio.verdict),
            if pair.caveats.is_empty() { "" } else { " (caveat)" },
        );
    }
}

fn portability(out: &mut String, comparison: &RecordComparison) {
    let found = &comparison.portability;
    out.push_str("Share of each device's own roofline, geometric mean of what all have measured:\n\n| device |");
    for family in found.families.keys() {
        let _ = write!(out, " {} |", words::family(*family));
    }
    out.push_str("\n|---|");
    out.push_str(&"--:|".repeat(found.families.len()));
    let share = |value: Option<f64>| value.map_or("-".to_owned(), percent);
    let devices = std::iter::once(&comparison.base).chain(comparison.against.iter().map(|against| &against.other));
    for (i, side) in devices.enumerate() {
        let _ = write!(out, "\n| {} |", markdown_safe(&side.device));
        for family in found.families.values() {
            let _ = write!(out, " {} |", share(family.efficiency.get(i).copied().flatten()));
        }
    }
    out.push_str("\n| performance portability (harmonic mean) |");
    for family in found.families.values() {
        let _ = write!(out, " {} |", share(family.portability));
    }
    out.push('\n');
}
