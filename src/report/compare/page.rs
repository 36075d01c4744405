//! The comparison as one self-contained HTML page.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::compare::comparison::{Against, ComparedRecord, RecordComparison, Speedup};
use crate::report::compare::llama_bench::LlamaBench;
use crate::report::compare::text::{bound, factor};
use crate::report::numbers::percent;
use crate::report::page::style::STYLE;
use crate::report::words;

/// A longer table is folded: several records on one page would hide each other's means.
const FEW_PAIRS: usize = 16;

/// The page: no network, no script, every text escaped.
pub fn html(comparison: &RecordComparison) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "supernode-bench: comparison with " (comparison.base.device) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header.top { p.brand { "supernode-bench" } h1 { "Compared with " (comparison.base.device) } }
                main { (sections(comparison)) }
                footer { p { "Medians with 95 % intervals of the noise within the runs; above 1, B is faster." } }
            }
        }
    }
    .into_string()
}

fn sections(comparison: &RecordComparison) -> Markup {
    html! {
        @if !comparison.against.is_empty() { (portability(comparison)) }
        @for against in &comparison.against { (one(&comparison.base, against)) }
        @if let Some(theirs) = &comparison.llama_bench { (llama_bench(theirs)) }
    }
}

/// The sections alone, for a document that brings the style; every text is escaped.
pub fn html_sections(comparison: &RecordComparison) -> String {
    sections(comparison).into_string()
}

fn one(base: &ComparedRecord, against: &Against) -> Markup {
    html! {
        section {
            h2 { (against.other.device) " over " (base.device) }
            @for (letter, side) in [("A", base), ("B", &against.other)] {
                p.sub {
                    (letter) ": " (side.device) " (" (side.file) ")"
                    @if side.software { ", a software adapter" }
                    @if !side.complete { ", not complete" }
                }
            }
            @if !against.differs.is_empty() {
                ul.caveats { @for difference in &against.differs { li { "differs in " (difference) } } }
            }
            @if against.best.is_empty() { p { "No case in common." } } @else {
                h3 { "Geometric means" }
                (means(against))
                details open[against.best.len() <= FEW_PAIRS] {
                    summary { "Best variants: " (against.best.len()) " in common" }
                    (pairs("Best variant of each kernel, type and shape", &against.best))
                }
                details { summary { "The same variant on both sides" } (pairs("Same variants", &against.cases)) }
            }
            @for (name, missing) in [("A", &against.only_in_base), ("B", &against.only_in_other)] {
                @if !missing.is_empty() {
                    details {
                        summary { "Only in " (name) ": " (missing.len()) }
                        ul { @for case in missing { li { (case.id) ": " (case.why) } } }
                    }
                }
            }
        }
    }
}

fn head(words: &[&str], texts: usize) -> Markup {
    html! { thead { tr { @for (i, word) in words.iter().enumerate() {
        th scope="col" class=[(i >= texts).then_some("figure")] { (word) }
    } } } }
}

fn means(against: &Against) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Geometric means" { table {
            (head(&["family", "B over A", "95 % interval", "cases"], 1))
            tbody { @for (family, mean) in &against.geometric_mean { tr {
                th scope="row" { (words::family(*family)) }
                td.figure { (factor(mean.mean)) }
                td.figure { (factor(mean.low)) " to " (bound(mean.high)) }
                td.figure { (mean.count) }
            } } }
        } }
    }
}

fn pairs(caption: &str, pairs: &[Speedup]) -> Markup {
    let heads = ["kernel", "variants", "verdict", "A", "B", "B over A", "95 % interval", "A roof", "B roof"];
    html! {
        div.scroll tabindex="0" role="group" aria-label=(caption) { table {
            caption { (caption) }
            (head(&heads, 3))
            @for group in pairs.chunk_by(|a, b| a.heading == b.heading) {
                tbody {
                    tr.group { th scope="rowgroup" colspan=(heads.len()) {
                        @if let Some(first) = group.first() { (first.heading) }
                    } }
                    @for pair in group { (row(pair)) }
                }
            }
        } }
    }
}

fn row(pair: &Speedup) -> Markup {
    html! { tr {
        th scope="row" { (pair.kernel) " " (pair.element) }
        td {
            (pair.base_variant)
            @if pair.base_variant != pair.other_variant { " / " (pair.other_variant) }
        }
        td {
            (words::ratio_verdict(pair.ratio.verdict))
            @if !pair.caveats.is_empty() { span.flag title=(pair.caveats.join("; ")) { "\u{a0}!" } }
        }
        td.figure { (pair.base_s) }
        td.figure { (pair.other_s) }
        td.figure { (factor(pair.ratio.speedup)) }
        td.figure { (factor(pair.ratio.low)) " to " (bound(pair.ratio.high)) }
        td.figure { (percent(pair.base_fraction)) }
        td.figure { (percent(pair.other_fraction)) }
    } }
}

fn portability(comparison: &RecordComparison) -> Markup {
    let families = &comparison.portability.families;
    let share = |value: Option<f64>| value.map_or("-".to_owned(), percent);
    let devices = std::iter::once(&comparison.base).chain(comparison.against.iter().map(|against| &against.other));
    html! {
        section {
            h2 { "How near each comes to its own roofline" }
            p.sub { "Geometric mean of the best variants that all have measured; portability is the harmonic mean." }
            div.scroll tabindex="0" role="group" aria-label="Efficiency" { table {
                thead { tr { th scope="col" { "device" } @for family in families.keys() {
                    th.figure scope="col" { (words::family(*family)) }
                } } }
                tbody {
                    @for (i, side) in devices.enumerate() { tr {
                        th scope="row" { (side.device) }
                        @for family in families.values() {
                            td.figure { (share(family.efficiency.get(i).copied().flatten())) }
                        }
                    } }
                    tr {
                        th scope="row" { "performance portability" }
                        @for family in families.values() { td.figure { (share(family.portability)) } }
                    }
                }
            } }
        }
    }
}

fn llama_bench(theirs: &LlamaBench) -> Markup {
    html! {
        section {
            h2 { "llama-bench next to A" }
            p.sub { (theirs.file) ": rates derived from parameters and model size" }
            @if !theirs.notes.is_empty() { ul.caveats { @for note in &theirs.notes { li { (note) } } } }
            div.scroll tabindex="0" role="group" aria-label="llama-bench" { table {
                (head(&["model", "test", "tokens/s", "derived rate", "of A's ceiling", "A's fastest kernel"], 2))
                tbody { @for row in &theirs.rows { tr {
                    th scope="row" { (row.model) }
                    td { (row.test) }
                    td.figure { (row.shown_rate()) }
                    td.figure { (row.derived_rate()) }
                    td.figure { (row.of_ceiling.map_or("-".to_owned(), percent)) }
                    td.figure { (row.shown_fastest()) }
                } } }
            } }
        }
    }
}
