//! The page's tables: every figure that the charts show, and those that they cannot.

use maud::{Markup, html};

use super::terminal::bound_name;
use super::{
    best, ceiling_name, ceiling_value, clean, family_name, grouped_digits, number_type_name, percent, phase_name,
    provenance_name, relative_interval, sizes,
};
use crate::projection::{Interval, Plan, Projection};
use crate::record::{Case, Metric, Record, Timing, Verification};
use crate::units::Bytes;

/// A table that scrolls sideways on a narrow screen. The first `texts` columns are words, the rest figures.
fn table(caption: &str, heads: &[&str], texts: usize, rows: impl Iterator<Item = Vec<Markup>>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for (i, head) in heads.iter().enumerate() {
                    th scope="col" class=[(i >= texts).then_some("figure")] { (head) }
                } } }
                tbody { @for row in rows { tr { @for (i, cell) in row.iter().enumerate() {
                    @if i == 0 { th scope="row" { (cell) } }
                    @else { td class=[(i >= texts).then_some("figure")] { (cell) } }
                } } } }
            }
        }
    }
}

fn word(text: &str) -> Markup {
    html! { (clean(text)) }
}

/// The measured roofs.
pub(super) fn ceilings(record: &Record) -> Markup {
    let rows = record.ceilings.iter().map(|(kind, ceiling)| {
        vec![
            word(ceiling_name(*kind)),
            word(&ceiling_value(*kind, ceiling)),
            word(&interval(&ceiling.timing)),
            word(&ceiling.timing.samples_s.len().to_string()),
        ]
    });
    table("Ceilings, measured in the same run", &["ceiling", "value", "± (95 %)", "samples"], 1, rows)
}

fn interval(timing: &Timing) -> String {
    if timing.median_s.is_positive() { format!("±{}", percent(relative_interval(timing))) } else { "-".to_owned() }
}

/// All cases with all figures, by family, the fastest of several variants marked.
pub(super) fn cases(record: &Record) -> Markup {
    let best = best(record);
    let mut cases: Vec<&Case> = record.cases.iter().collect();
    cases.sort_by_key(|case| case.family);
    let rows = cases.iter().map(|case| row(case, best.winners.contains(&*case.id)));
    let heads = [
        "kernel",
        "variant",
        "type",
        "model, phase",
        "shape",
        "bound by",
        "median",
        "± (95 %)",
        "rate",
        "traffic",
        "roofline",
        "error",
        "samples",
    ];
    table("Kernel cases (★ fastest of several variants)", &heads, 6, rows)
}

fn row(case: &Case, wins: bool) -> Vec<Markup> {
    let scale = if case.scale_divisor > 1 { format!(" 1/{}", case.scale_divisor) } else { String::new() };
    vec![
        html! { span.family title=(family_name(case.family)) { span class={ "key " (case.family) } {} } (clean(&case.kernel)) },
        html! { (clean(&case.variant)) @if wins { " " span title="fastest of several variants" { "★" } } },
        html! { (case.element) },
        html! { (clean(&case.model)) (scale) " " (case.phase) },
        html! { (sizes(case)) },
        word(bound_name(case.achieved.bound_by)),
        html! { (case.timing.median_s) },
        word(&interval(&case.timing)),
        html! { (case.achieved.flop_per_s) },
        html! { (case.achieved.bytes_per_s) },
        html! {
            (percent(case.achieved.fraction_of_roofline))
            @for caveat in &case.caveats { " " span.flag title=(caveat) { "!" } }
        },
        verification(&case.verification),
        html! { (case.timing.samples_s.len()) },
    ]
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
    table("Cases without a figure", &["case", "what", "why"], 3, rows)
}

/// Caveats of single cases, in words.
pub(super) fn case_caveats(record: &Record) -> Markup {
    let pairs = record.cases.iter().flat_map(|case| case.caveats.iter().map(move |caveat| (case, caveat)));
    let rows = pairs.map(|(case, caveat)| vec![word(&case.id), html! { (caveat) }]);
    table("Caveats of single cases", &["case", "caveat"], 2, rows)
}

/// Headline figures of projections.
pub(super) fn projections(projections: &[&Projection]) -> Markup {
    let heads = [
        "model",
        "phase",
        "chip",
        "fabric",
        "plan",
        "bound by",
        "tokens/s a chip",
        "band",
        "step",
        "to first token",
        "per output token",
        "MFU",
        "memory a chip",
    ];
    let rows = projections.iter().map(|one| {
        let optional = |time: Option<crate::units::Seconds>| time.map_or("-".to_owned(), |time| time.to_string());
        vec![
            word(&one.model),
            word(phase_name(one.phase)),
            html! { (clean(&one.chip)) ", " (number_type_name(one.number_type)) },
            word(&one.fabric),
            word(&plan(&one.plan)),
            word(&one.bound_by),
            html! { (grouped_digits(one.tokens_per_s_per_chip.median)) },
            word(&band(&one.tokens_per_s_per_chip)),
            html! { (one.step_s) },
            word(&optional(one.ttft_s)),
            word(&optional(one.tpot_s)),
            word(&percent(one.mfu)),
            html! { (Bytes::new(one.memory_bytes_per_chip.used())) " of " (Bytes::new(one.memory_bytes_per_chip.capacity)) },
        ]
    });
    table("Projections (not measured)", &heads, 6, rows)
}

fn plan(plan: &Plan) -> String {
    let Plan { chips, tp, pp, ep, dp, microbatches, batch_per_chip } = plan;
    let batch = grouped_digits(*batch_per_chip);
    format!("{chips} chips: TP {tp}, PP {pp}, EP {ep}, DP {dp}; {microbatches} micro-batches, {batch} a chip")
}

/// A headline figure's low and high end.
pub(super) fn band(interval: &Interval) -> String {
    format!("{} to {}", grouped_digits(interval.low), grouped_digits(interval.high))
}

/// The parts of a step, in time.
pub(super) fn terms(projections: &[&Projection]) -> Markup {
    let Some(first) = projections.first() else { return html! {} };
    let names = first.terms_s.named().map(|(name, _)| super::term_name(name));
    let mut heads = vec!["model", "phase", "fabric"];
    heads.extend(names.iter().map(String::as_str));
    heads.push("step");
    let rows = projections.iter().map(|one| {
        let mut row = vec![word(&one.model), word(phase_name(one.phase)), word(&one.fabric)];
        row.extend(one.terms_s.named().map(|(_, time)| html! { (time) }));
        row.push(html! { (one.terms_s.total()) });
        row
    });
    table("Parts of one step", &heads, 3, rows)
}

/// Where each input of one projection comes from.
pub(super) fn provenance(projection: &Projection) -> Markup {
    let rows = projection.provenance.iter().map(|cost| {
        let kind = provenance_name(cost.provenance);
        vec![
            word(&cost.what),
            word(&cost.value),
            html! { span class={ "provenance " (kind) } { (kind) } },
            word(&cost.source),
        ]
    });
    table("Where the inputs come from", &["input", "value", "kind", "source"], 4, rows)
}
