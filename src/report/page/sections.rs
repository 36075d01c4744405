//! The sections of the page: the headline, one for each device, the projections, the what-ifs and the claims.
//!
//! Of each section the essence is in view; the rest opens.

use maud::{Markup, html};

use crate::kernels::Family;
use crate::projection::claims::Judged;
use crate::projection::outlook::Outlook;
use crate::projection::{Phase, Projection, ProjectionCaveat, Provenance};
use crate::record::{CeilingKind, Record};
use crate::report::cases::best;
use crate::report::ceilings::{browser, ceiling_value, tool};
use crate::report::claims;
use crate::report::numbers::{grouped_digits, low_to_high_grouped, percent};
use crate::report::page::input::Page;
use crate::report::page::{figures, tables};
use crate::report::projected::{ProjectionPair, ShownProjection};
use crate::report::served::{ServedRow, memory_text, plans};
use crate::report::text::clean;
use crate::report::words;
use crate::units::Bytes;

/// A part of a section that opens.
fn opens(title: &str, content: Markup) -> Markup {
    html! { details.part { summary { h3 { (title) } } (content) } }
}

/// What a reader wants first: how near the devices come to their rooflines, and what a chip would deliver.
pub(super) fn headline(page: &Page<'_>) -> Markup {
    let chip = page.projections.first().map(|pair| &pair.on_fabric.chip);
    let of_chip: Vec<&ProjectionPair> =
        page.projections.iter().filter(|pair| Some(&pair.on_fabric.chip) == chip).collect();
    html! {
        section #headline {
            h2 { "In short" }
            @for record in page.records { (in_short(record)) }
            @if let Some(chip) = chip {
                p.sub {
                    span.badge.projected { "projected" } " " (clean(chip))
                    ", tokens per second and chip, with the interval of 90 % of the draws of the uncertain inputs"
                }
                ul.headlines { @for pair in of_chip { li { (projected_line(pair)) } } }
            }
        }
    }
}

/// One device in a paragraph.
fn in_short(record: &Record) -> Markup {
    html! {
        p {
            span.badge.measured { "measured" } " " strong { (clean(&record.device.name)) } ", " (what_was_measured(record)) "."
        }
        (warnings(record))
    }
}

/// What kind of device it is, how many cases it has, and how near its best ones come to the roofline.
fn what_was_measured(record: &Record) -> String {
    let kind = words::device_type(record.device.device_type);
    let (done, planned) = (record.cases.len(), record.planned_count());
    let fractions = best_fractions(record).into_iter().map(|(name, fraction)| format!("{name} {}", percent(fraction)));
    let fractions = fractions.collect::<Vec<_>>().join(", ");
    let nearest = if fractions.is_empty() { fractions } else { format!(". Nearest to the roofline: {fractions}") };
    format!("a {kind}: {done} of {planned} cases verified and timed{nearest}")
}

/// A record in one line of plain text, to be sent to somebody.
pub fn headline_text(record: &Record) -> String {
    let device = &record.device;
    format!("{} ({}), {}", clean(&device.name), clean(&device.backend), what_was_measured(record))
}

/// All devices in one chart.
pub(super) fn side_by_side(records: &[Record]) -> Markup {
    html! {
        section #devices {
            h2 { "Side by side " span.badge.measured { "measured" } }
            p.sub {
                "How near each device comes to its own roofline. " code { "supernode compare" }
                " gives ratios with intervals."
            }
            (opens("All questions that two devices answered", figures::devices(records)))
        }
    }
}

/// One model's decode: what-ifs, latency against throughput, the schedule.
pub(super) fn in_depth(outlook: &Outlook) -> Markup {
    html! {
        section #outlook {
            h2 { "What if " span.badge.projected { "projected" } }
            p.sub { (clean(&outlook.model)) " decode on " (clean(&outlook.chip)) ", " (clean(&outlook.fabric)) }
            (figures::what_if(outlook))
            (opens("Latency against throughput", figures::front(outlook)))
            (opens("A few layers in time", figures::timeline(outlook)))
        }
    }
}

/// The announcement against the model.
pub(super) fn announced(judged: &[Judged]) -> Markup {
    html! {
        section #claims {
            h2 { "Claims " span.badge.projected { "projected" } }
            p.sub {
                "What was announced about the Supernode 384, against the model under every reading of it, with published "
                "figures of the chip. Nothing is fitted to a claim; the readings that fit are found."
            }
            (tables::claims(&claims::rows(judged)))
        }
    }
}

/// Everything about one record: its ceilings and its roofline in view, the rest opens.
pub(super) fn measured(record: &Record, index: usize) -> Markup {
    html! {
        section id={ "record-" (index) } {
            h2 { (clean(&record.device.name)) " " span.badge.measured { "measured" } }
            p.sub {
                (words::device_type(record.device.device_type)) ", " (clean(&record.device.backend)) ", "
                (clean(&record.device.driver)) " " (clean(&record.device.driver_info)) ", " (clean(&record.created_at))
            }
            (tiles(record))
            h3 { "Kernels under the roofline" }
            (figures::roofline(record, index))
            (opens("How near each kernel comes", figures::bars(record, index)))
            (opens("How steady it was", figures::samples(record, index)))
            (opens("All figures", all_figures(record)))
            (opens("How it was measured", circumstances(record)))
            p { button type="button" data-download=(index) { "Download the record (JSON)" } }
        }
    }
}

/// The tables of a record.
fn all_figures(record: &Record) -> Markup {
    html! {
        @if !record.cases.is_empty() { (tables::cases(record)) }
        @if record.cases.iter().any(|case| !case.caveats.is_empty()) { (tables::case_caveats(record)) }
        @if !record.left_out.is_empty() || !record.rejected.is_empty() { (tables::absent(record)) }
        @if !record.ceilings.is_empty() { (tables::ceilings(record)) }
    }
}

/// What bounds the whole record, before any figure.
fn warnings(record: &Record) -> Markup {
    if record.complete && record.caveats.is_empty() {
        return html! {};
    }
    html! {
        ul.caveats {
            @if !record.complete { li { "not complete: some planned cases are missing" } }
            @for caveat in &record.caveats { li { (caveat) } }
        }
    }
}

/// The few figures that a reader looks for first.
fn tiles(record: &Record) -> Markup {
    let kinds = [
        (CeilingKind::FmaF32, "f32 ceiling"),
        (CeilingKind::FmaF16, "f16 ceiling"),
        (CeilingKind::MemoryRead, "memory read"),
        (CeilingKind::Launch, "empty launch"),
    ];
    let ceilings = kinds.into_iter().filter_map(|(kind, name)| Some((record.ceilings.get(&kind)?, kind, name)));
    html! {
        dl.tiles {
            @for (ceiling, kind, name) in ceilings { div { dt { (name) } dd { (ceiling_value(kind, ceiling.value)) } } }
            @for (name, fraction) in best_fractions(record) {
                div { dt { (name) ", best" } dd { (percent(fraction)) small { " of roofline" } } }
            }
            div {
                dt { "verified and timed" }
                dd { (record.cases.len()) small { " of " (record.planned_count()) " cases" } }
            }
        }
    }
}

fn best_fractions(record: &Record) -> Vec<(&'static str, f64)> {
    let best = best(record);
    let of = |family| {
        let best = &best;
        let cases = record.cases.iter().filter(move |case| case.family == family && best.all.contains(&*case.id));
        cases.map(|case| case.achieved.fraction_of_roofline).reduce(f64::max)
    };
    [Family::Gating, Family::ExpertMatmul, Family::Attention]
        .into_iter()
        .filter_map(|family| Some((words::family(family), of(family)?)))
        .collect()
}

fn circumstances(record: &Record) -> Markup {
    let (protocol, device, host) = (&record.protocol, &record.device, &record.host);
    let rows = [
        ("Preset", format!("{} ({})", words::preset(protocol.preset), clean(&protocol.preset_reason))),
        ("Clock", words::clock(protocol.clock).to_owned()),
        ("Seed of inputs", protocol.seed.to_string()),
        ("Inputs rotate over", Bytes::from_count(protocol.rotation_bytes).to_string()),
        ("Stops at", format!("±{} or {}", percent(protocol.target_relative_ci), protocol.sample_budget_s)),
        ("Runtime checks", words::runtime_checks(protocol.runtime_checks).to_owned()),
        ("Vendor and ids", format!("{}, {:04x}:{:04x}", clean(&device.vendor), device.vendor_id, device.device_id)),
        ("Features", device.features.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ")),
        ("Limits", device.limits.iter().map(|(name, n)| format!("{} {n}", clean(name))).collect::<Vec<_>>().join(", ")),
        ("Host", format!("{}, {} ({} logical CPUs)", clean(&host.os), clean(&host.cpu), host.logical_cpus)),
        ("Host memory", Bytes::from_count(host.memory_bytes).to_string()),
        ("Tool", tool(record)),
    ];
    let in_browser = browser(record).map(|browser| ("Browser", browser));
    html! { dl.facts { @for (name, value) in rows.into_iter().chain(in_browser) { div { dt { (name) } dd { (value) } } } } }
}

/// What the records mean on a fabric.
pub(super) fn projected(pairs: &[ProjectionPair]) -> Markup {
    let all: Vec<ShownProjection<'_>> = pairs.iter().flat_map(ProjectionPair::shown).collect();
    html! {
        section #projections {
            h2 { "On a fabric " span.badge.projected { "projected" } }
            p.sub { "Figures for the fabric are computed from models of chip and network, never measured." }
            @for (index, phase) in [Phase::Prefill, Phase::Decode, Phase::Training].into_iter().enumerate() {
                @let of_phase: Vec<&ProjectionPair> = pairs.iter().filter(|pair| pair.on_fabric.phase == phase).collect();
                @let title = format!("{}: where a chip's time goes", words::capitalised(words::phase(phase)));
                @if !of_phase.is_empty() {
                    details.part open[phase == Phase::Decode] {
                        summary { h3 { (title) } }
                        (figures::terms(&of_phase, index, phase))
                    }
                }
            }
            (opens("All projected figures", all_projected(&all)))
            (opens("What they rest on", html! { @for group in by_inputs(&all) { (foundation(&group)) } }))
        }
    }
}

/// The tables of some projections.
fn all_projected(all: &[ShownProjection<'_>]) -> Markup {
    html! {
        (tables::projections(all))
        (tables::plans(all))
        (tables::terms(all))
    }
}

/// A deployment that serves: times of its requests, what runs where, and what the figures rest on.
pub(super) fn served(served: &ServedRow) -> Markup {
    let ServedRow { answer, intervals, .. } = served;
    let mut facts: Vec<(&str, String)> = plans(&answer.deployment);
    facts.push(("prompt tokens a step", format!("{:.0} at most", answer.chunk_tokens)));
    facts.push(("memory per chip", memory_text(&answer.memory_bytes_per_chip)));
    if let Some(apart) = &answer.apart {
        let busy = [apart.attention_busy, apart.experts_busy].map(percent);
        facts.push(("busy in a step", format!("attention {}, experts {}", busy[0], busy[1])));
        facts.push(("memory per chip with experts", memory_text(&apart.memory_bytes_per_expert_chip)));
    }
    html! {
        section #projections {
            h2 { "Deployment " span.badge.projected { "projected" } }
            (tables::served_times(answer, intervals))
            dl.facts { @for (name, value) in &facts { div { dt { (name) } dd { (value) } } } }
            ul.caveats { @for caveat in &answer.caveats { li { (clean(&caveat.to_string())) } } }
            (tables::provenance(served.sources()))
        }
    }
}

/// One question in one line.
fn projected_line(pair: &ProjectionPair) -> Markup {
    let Projection { model, phase, fabric, tokens_per_s_per_chip: rate, .. } = &pair.on_fabric;
    html! {
        strong { (clean(model)) " " (words::phase(*phase)) } ": "
        (grouped_digits(rate.median)) " tokens/s per chip on " (clean(fabric)) " (" (low_to_high_grouped(rate)) ")"
        @if let Some(baseline) = &pair.on_baseline {
            @let ratio = rate.median / baseline.tokens_per_s_per_chip.median;
            ", " @if ratio.is_finite() { (grouped_digits(ratio)) " times " (clean(&baseline.fabric)) }
            @else { "compared with " (clean(&baseline.fabric)) }
        }
        @if let Some(tokens) = &pair.costs.tokens_per_joule {
            ", " (grouped_digits(tokens.median)) " tokens per joule (" (low_to_high_grouped(tokens)) ")"
        }
    }
}

/// Projections that rest on the same inputs, in the order of the first of each.
fn by_inputs<'a>(all: &[ShownProjection<'a>]) -> Vec<Vec<ShownProjection<'a>>> {
    let mut groups: Vec<Vec<ShownProjection<'_>>> = Vec::new();
    for &(one, costs) in all {
        let same = |group: &&mut Vec<ShownProjection<'_>>| {
            let first = group.first();
            first.is_some_and(|(first, _)| {
                first.provenance == one.provenance && (&first.chip, &first.fabric) == (&one.chip, &one.fabric)
            })
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push((one, costs)),
            None => groups.push(vec![(one, costs)]),
        }
    }
    groups
}

/// Caveats and sources of projections that rest on the same inputs, folded away.
fn foundation(group: &[ShownProjection<'_>]) -> Markup {
    let Some((first, costs)) = group.first() else { return html! {} };
    let sources = || first.provenance.iter().chain(&costs.sources);
    let count = |kind| sources().filter(|cost| cost.provenance == kind).count();
    let kinds = [Provenance::Measured, Provenance::Published, Provenance::Assumed, Provenance::Derived];
    let counts: Vec<String> = kinds
        .into_iter()
        .filter(|kind| count(*kind) > 0)
        .map(|kind| format!("{} {}", count(kind), words::provenance(kind)))
        .collect();
    let question = |one: &Projection| format!("{} {}", clean(&one.model), words::phase(one.phase));
    let questions: Vec<String> = group.iter().map(|(one, _)| question(one)).collect();
    let mut caveats: Vec<(&ProjectionCaveat, Vec<String>)> = Vec::new();
    for (one, _) in group {
        for caveat in &one.caveats {
            match caveats.iter_mut().find(|(known, _)| *known == caveat) {
                Some((_, of)) => of.push(question(one)),
                None => caveats.push((caveat, vec![question(one)])),
            }
        }
    }
    html! {
        details {
            summary {
                (clean(&first.chip)) " on " (clean(&first.fabric)) ": " (questions.join(", "))
                span.sub { " " (counts.join(", ")) }
            }
            @if !caveats.is_empty() {
                ul.caveats {
                    @for (caveat, of) in &caveats {
                        li { (clean(&caveat.to_string())) @if of.len() < group.len() { " (" (of.join(", ")) ")" } }
                    }
                }
            }
            (tables::provenance(sources()))
        }
    }
}
