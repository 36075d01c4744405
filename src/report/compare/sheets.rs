//! The comparison as Markdown for an issue or a README, and as CSV.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::escape::{markdown_safe, spreadsheet_safe};
use super::text::{bound, factor, verdict};
use super::{Against, Comparison, Side, Speedup};
use crate::report::{family_name, percent};

const COLUMNS: [&str; 20] = [
    "comparison",
    "base_file",
    "base_device",
    "other_file",
    "other_device",
    "id",
    "family",
    "kernel",
    "element",
    "setting",
    "base_variant",
    "other_variant",
    "base_s",
    "other_s",
    "speedup",
    "low",
    "high",
    "verdict",
    "base_fraction_of_roofline",
    "other_fraction_of_roofline",
];

/// All pairs and all missing cases, one a line (RFC 4180). The column `comparison` is `best_variant`, `same_variant`,
/// `only_in_base` or `only_in_other`; an unbounded end is empty.
///
/// # Errors
/// None in practice: the text is built in memory.
pub fn csv(comparison: &Comparison) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for against in &comparison.against {
        for (kind, pairs) in [("best_variant", &against.best), ("same_variant", &against.cases)] {
            for pair in pairs {
                writer.write_record(pair_row(kind, &comparison.base, &against.other, pair))?;
            }
        }
        for (kind, missing) in [("only_in_base", &against.only_in_base), ("only_in_other", &against.only_in_other)] {
            for case in missing {
                let mut row = sides(kind, &comparison.base, &against.other);
                row.push(spreadsheet_safe(&case.id));
                row.resize(COLUMNS.len(), String::new());
                // The reason stands where a pair has its verdict.
                row[17] = spreadsheet_safe(&case.why);
                writer.write_record(row)?;
            }
        }
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn sides(kind: &str, base: &Side, other: &Side) -> Vec<String> {
    let texts = [kind, &base.file, &base.device, &other.file, &other.device];
    texts.into_iter().map(spreadsheet_safe).collect()
}

fn pair_row(kind: &str, base: &Side, other: &Side, pair: &Speedup) -> Vec<String> {
    let mut row = sides(kind, base, other);
    let family = pair.family.to_string();
    let texts =
        [&pair.id, &family, &pair.kernel, &pair.element, &pair.setting, &pair.base_variant, &pair.other_variant];
    row.extend(texts.into_iter().map(|text| spreadsheet_safe(text)));
    let verdict = match pair.ratio.verdict {
        super::Verdict::Faster => "faster",
        super::Verdict::Slower => "slower",
        super::Verdict::NoDifferenceShown => "no_difference_shown",
    };
    row.extend([
        pair.base_s.get().to_string(),
        pair.other_s.get().to_string(),
        pair.ratio.speedup.to_string(),
        pair.ratio.low.to_string(),
        pair.ratio.high.map_or(String::new(), |high| high.to_string()),
        verdict.to_owned(),
        pair.base_fraction.to_string(),
        pair.other_fraction.to_string(),
    ]);
    row
}

/// Tables for a page that renders Markdown as GitHub does.
pub fn markdown(comparison: &Comparison) -> String {
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
        out.push_str("\n**llama-bench beside A** (rates derived from parameters and model size)\n\n");
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

fn markdown_side(side: &Side) -> String {
    let software = if side.software { ", a software adapter" } else { "" };
    let partial = if side.complete { "" } else { ", **not complete**" };
    format!("{} ({}){software}{partial}", markdown_safe(&side.device), markdown_safe(&side.file))
}

fn one(out: &mut String, base: &Side, against: &Against) {
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
            let name = family_name(*family);
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
            markdown_safe(&pair.setting),
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
            verdict(pair.ratio.verdict),
            if pair.caveats.is_empty() { "" } else { " (caveat)" },
        );
    }
}

fn portability(out: &mut String, comparison: &Comparison) {
    let found = &comparison.portability;
    out.push_str("Share of each device's own roofline, geometric mean of what all have measured:\n\n| device |");
    for family in found.families.keys() {
        let _ = write!(out, " {} |", family_name(*family));
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
