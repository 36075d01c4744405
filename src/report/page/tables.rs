//! The page's tables: every figure that the charts show, and those that they cannot.

use maud::{Markup, html};

use crate::projection::serving::ServingAnswer;
use crate::projection::serving::answer::RequestTimes;
use crate::projection::serving::band::ServingIntervals;
use crate::projection::{CostSource, Interval, ParallelPlan, Projection};
use crate::record::{Case, Metric, Record, Verification};
use crate::report::cases::{best, groups};
use crate::report::ceilings::{ceiling_note, ceiling_value};
use crate::report::claims::ClaimRow;
use crate::report::numbers::{grouped_digits, half_interval, low_to_high_grouped, percent};
use crate::report::projected::{ProjectedCosts, ShownProjection};
use crate::report::text::clean;
use crate::report::token_costs::small;
use crate::report::words;
use crate::units::{Bytes, Seconds};

/// Rows under a heading of their own; an empty heading is not shown.
type Group = (String, Vec<Vec<Markup>>);

/// A table that scrolls sideways on a narrow screen. The first `texts` columns are words, the rest figures.
fn table(caption: &str, heads: &[&str], texts: usize, groups: &[Group]) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label=(caption) {
            table {
                caption { (caption) }
                (head(heads, texts))
                @for (heading, rows) in groups {
                    tbody {
                        @if !heading.is_empty() {
                            tr.group { th scope="rowgroup" colspan=(heads.len()) { (heading) } }
                        }
                        @for row in rows { (body_row(row, texts)) }
                    }
                }
            }
        }
    }
}

/// All rows in one group without a heading.
fn flat(rows: impl Iterator<Item = Vec<Markup>>) -> [Group; 1] {
    [(String::new(), rows.collect())]
}

/// A table without groups, for other sections.
pub(super) fn figure_table(
    caption: &str,
    heads: &[&str],
    texts: usize,
    rows: impl Iterator<Item = Vec<Markup>>,
) -> Markup {
    table(caption, heads, texts, &flat(rows))
}

fn head(heads: &[&str], texts: usize) -> Markup {
    html! {
        thead { tr { @for (i, head) in heads.iter().enumerate() {
            th scope="col" class=[(i >= texts).then_some("figure")] { (head) }
        } } }
    }
}

fn body_row(row: &[Markup], texts: usize) -> Markup {
    html! {
        tr { @for (i, cell) in row.iter().enumerate() {
            @if i == 0 { th scope="row" { (cell) } }
            @else { td class=[(i >= texts).then_some("figure")] { (cell) } }
        } }
    }
}

pub(super) fn word(text: &str) -> Markup {
    html! { (clean(text)) }
}

/// The measured roofs.
pub(super) fn ceilings(record: &Record) -> Markup {
    let rows = record.ceilings.iter().map(|(kind, ceiling)| {
        vec![
            html! { (words::ceiling(*kind)) @if let Some(note) = ceiling_note(ceiling) { " (" (note) ")" } },
            word(&ceiling_value(*kind, ceiling.value)),
            word(&half_interval(&ceiling.timing)),
            word(&ceiling.timing.samples_s.len().to_string()),
        ]
    });
    table("Ceilings, measured in the same run", &["ceiling", "value", "± (95 %)", "samples"], 1, &flat(rows))
}

/// All cases with all figures, under a heading for each family and setting, the fastest of several variants marked.
pub(super) fn cases(record: &Record) -> Markup {
    let best = best(record);
    let heads = [
        "kernel",
        "variant",
        "type",
        "bound by",
        "median",
        "± (95 %)",
        "rate",
        "traffic",
        "roofline",
        "error",
        "samples",
    ];
    let caption = "Kernel cases (★ fastest of several variants)";
    let groups: Vec<Group> = groups(record.cases.iter().collect())
        .into_iter()
        .map(|(heading, cases)| {
            let rows = cases.iter().map(|case| row(case, best.winners.contains(&*case.id)));
            (heading, rows.collect())
        })
        .collect();
    table(caption, &heads, 4, &groups)
}

fn row(case: &Case, wins: bool) -> Vec<Markup> {
    vec![
        html! { span class={ "key " (case.family) } {} (clean(&case.kernel)) },
        html! { (clean(&case.variant)) @if wins { " " span title="fastest of several variants" { "★" } } },
        html! { (case.element) },
        word(words::bound(case.achieved.bound_by)),
        html! { (case.timing.median_s) },
        word(&half_interval(&case.timing)),
        html! { (case.achieved.flop_per_s) },
        html! { (case.achieved.bytes_per_s) },
        html! {
            (percent(case.achieved.fraction_of_roofline))
            @if !case.caveats.is_empty() { span.flag title=(caveats(case)) { "\u{a0}!" } }
        },
        verification(&case.verification),
        html! { (case.timing.samples_s.len()) },
    ]
}

fn caveats(case: &Case) -> String {
    case.caveats.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn verification(verification: &Verification) -> Markup {
    let metric = match verification.metric {
        Metric::RelativeFrobenius => "relative Frobenius error",
        Metric::TopkSet => "share of tokens with other experts",
        Metric::Exact => "share of elements that differ",
    };
    let Verification { value, tolerance, checked, total, .. } = verification;
    let title = format!("{metric}, at most {tolerance:.1e}; {checked} of {total} elements compared");
    html! { span title=(title) { (format!("{value:.1e}")) } }
}

/// Cases without a figure, and why.
pub(super) fn absent(record: &Record) -> Markup {
    let left_out = record.left_out.iter().map(|case| (&case.id, "left out", &case.reason));
    let rejected = record.rejected.iter().map(|case| (&case.id, "rejected", &case.reason));
    let rows = left_out.chain(rejected).map(|(id, what, reason)| vec![word(id), word(what), word(reason)]);
    table("Cases without a figure", &["case", "what", "why"], 3, &flat(rows))
}

/// Caveats of single cases, in words: folded away, since the mark of each figure shows its own on hovering.
pub(super) fn case_caveats(record: &Record) -> Markup {
    let with_caveats: Vec<&Case> = record.cases.iter().filter(|case| !case.caveats.is_empty()).collect();
    let rows = with_caveats.iter().map(|case| vec![html! { span.id { (clean(&case.id)) } }, word(&caveats(case))]);
    html! {
        details {
            summary { "Caveats of single cases (" (with_caveats.len()) " of " (record.cases.len()) ")" }
            (table("Caveats of single cases", &["case", "caveats"], 2, &flat(rows)))
        }
    }
}

/// Rows of projections under a heading for each model and phase.
fn by_question(
    projections: &[ShownProjection<'_>],
    row: impl Fn(&Projection, &ProjectedCosts) -> Vec<Markup>,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (one, costs) in projections {
        let heading = format!("{} {}", clean(&one.model), words::phase(one.phase));
        let row = row(one, costs);
        match groups.last_mut() {
            Some((last, rows)) if *last == heading => rows.push(row),
            _ => groups.push((heading, vec![row])),
        }
    }
    groups
}

/// Headline figures of projections.
pub(super) fn projections(projections: &[ShownProjection<'_>]) -> Markup {
    let mut heads =
        vec!["fabric", "bound by", "tokens/s per chip", "band", "step", "to first token", "per output token", "MFU"];
    let optional = |time: Option<Seconds>| time.map_or("-".to_owned(), |time| time.to_string());
    let with_band = |figure: Option<Interval>| {
        let shown = |one: Interval| format!("{} ({} to {})", small(one.median), small(one.low), small(one.high));
        figure.map_or("-".to_owned(), shown)
    };
    let has_energy = projections.iter().any(|(_, costs)| costs.tokens_per_joule.is_some());
    let has_cost = projections.iter().any(|(_, costs)| costs.per_million_tokens.is_some());
    heads.extend(has_energy.then_some("tokens per joule"));
    heads.extend(has_cost.then_some("cost of a million tokens"));
    let groups = by_question(projections, |one, costs| {
        let mut row = vec![
            word(&one.fabric),
            word(&one.bound_by.to_string()),
            html! { (grouped_digits(one.tokens_per_s_per_chip.median)) },
            word(&low_to_high_grouped(&one.tokens_per_s_per_chip)),
            html! { (one.step_s) },
            word(&optional(one.ttft_s)),
            word(&optional(one.tpot_s)),
            word(&percent(one.mfu)),
        ];
        row.extend(has_energy.then(|| word(&with_band(costs.tokens_per_joule))));
        row.extend(has_cost.then(|| word(&with_band(costs.per_million_tokens))));
        row
    });
    table("Projections (not measured)", &heads, 2, &groups)
}

/// How each model is split, and what it takes of a chip's memory.
pub(super) fn plans(projections: &[ShownProjection<'_>]) -> Markup {
    let heads = [
        "fabric",
        "chip",
        "type",
        "chips",
        "TP",
        "PP",
        "EP",
        "DP",
        "micro-batches",
        "batch per chip",
        "memory per chip",
    ];
    let groups = by_question(projections, |one, _| {
        let ParallelPlan { chips, tp, pp, ep, dp, microbatches, batch_per_chip, .. } = &one.plan;
        let memory = &one.memory_bytes_per_chip;
        let mut row = vec![word(&one.fabric), word(&one.chip), word(one.number_type.name())];
        row.extend([chips, tp, pp, ep, dp, microbatches].map(|degree| html! { (degree) }));
        row.push(word(&grouped_digits(*batch_per_chip)));
        row.push(html! { (Bytes::new(memory.used())) " of " (Bytes::new(memory.capacity)) });
        row
    });
    table("Plans", &heads, 3, &groups)
}

/// The parts of a step, in time.
pub(super) fn terms(projections: &[ShownProjection<'_>]) -> Markup {
    let Some((first, _)) = projections.first() else { return html! {} };
    let names = first.terms_s.named().map(|(name, _)| name.replace('_', " "));
    let mut heads = vec!["fabric"];
    heads.extend(names.iter().map(String::as_str));
    heads.push("step");
    let groups = by_question(projections, |one, _| {
        let mut row = vec![word(&one.fabric)];
        row.extend(one.terms_s.named().map(|(_, time)| html! { (time) }));
        row.push(html! { (one.terms_s.total()) });
        row
    });
    table("Parts of one step (of communication, what is exposed)", &heads, 1, &groups)
}

/// Both times of served requests: over the requests, and their means over the uncertain inputs.
pub(super) fn served_times(answer: &ServingAnswer, intervals: &ServingIntervals) -> Markup {
    let of = |seconds: f64| word(&Seconds::new(seconds).to_string());
    let row = |name: &str, times: &RequestTimes, band: &Interval, closed: f64| {
        let band = format!("{} to {}", Seconds::new(band.low), Seconds::new(band.high));
        vec![word(name), of(times.mean), word(&band), of(times.p50), of(times.p99), of(closed)]
    };
    let closed = &answer.closed_form;
    let rows = [
        row("to the first token", &answer.ttft_s, &intervals.ttft_s, closed.ttft_s),
        row("per output token", &answer.tpot_s, &intervals.tpot_s, closed.tpot_s),
    ];
    let caption = format!("Times of {} simulated requests", answer.simulated_requests);
    table(
        &caption,
        &["time", "mean", "band of the mean", "p50", "p99", "mean in closed form"],
        1,
        &flat(rows.into_iter()),
    )
}

/// Where inputs come from.
pub(super) fn provenance<'a>(sources: impl Iterator<Item = &'a CostSource>) -> Markup {
    let rows = sources.map(|cost| {
        let kind = words::provenance(cost.provenance);
        vec![
            word(&cost.what),
            word(&cost.value),
            html! { span class={ "provenance " (kind) } { (kind) } },
            word(&cost.source),
        ]
    });
    table("Where the inputs come from", &["input", "value", "kind", "source"], 4, &flat(rows))
}

/// What was announced, against the model.
pub(super) fn claims(rows: &[ClaimRow]) -> Markup {
    let cells = rows.iter().map(|row| {
        let class = match row.kind {
            "consistent" => "measured",
            "only if" => "assumed",
            _ => "published",
        };
        vec![
            word(&row.announced),
            word(&row.model),
            html! { span class={ "provenance " (class) } { (row.kind) } " " (row.count) },
            word(&row.words),
        ]
    });
    table(
        "Announced figures, and what the model gives",
        &["announced", "model, nearest reading", "verdict", "holds if"],
        4,
        &flat(cells),
    )
}
