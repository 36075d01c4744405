//! One self-contained page: no network, no script, light and dark, narrow and wide, screen and paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    ProjectionPair, STYLE, best, ceiling_value, charts, clean, clock_name, device_type_name, grouped_digits, percent,
    phase_name, preset_name, provenance_name, tables, tool,
};
use crate::kernels::Family;
use crate::projection::{Phase, Projection, Provenance};
use crate::record::{CeilingKind, Record};
use crate::units::Bytes;

/// The page of these records, and of what they mean on a fabric. Every text of a record is escaped.
pub fn page(records: &[Record], projections: &[ProjectionPair]) -> String {
    let names: Vec<String> = records.iter().map(|record| clean(&record.device.name)).collect();
    let title = format!("supernode-bench: {}", names.join(", "));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header.top { p.brand { "supernode-bench" } h1 { (names.join(" · ")) } (contents(records, projections)) }
                main {
                    @for (i, record) in records.iter().enumerate() { (measured(record, i)) }
                    @if !projections.is_empty() { (projected(projections)) }
                }
                footer { p { (footer(records)) } }
            }
        }
    }
    .into_string()
}

/// Links to the sections, where there are several.
fn contents(records: &[Record], projections: &[ProjectionPair]) -> Markup {
    if records.len() + usize::from(!projections.is_empty()) < 2 {
        return html! {};
    }
    html! {
        nav aria-label="Sections" {
            @for (i, record) in records.iter().enumerate() { a href={ "#record-" (i) } { (clean(&record.device.name)) } }
            @if !projections.is_empty() { a href="#projections" { "Projections" } }
        }
    }
}

fn footer(records: &[Record]) -> String {
    let mut tools: Vec<String> = records.iter().map(tool).collect();
    tools.sort();
    tools.dedup();
    format!("Written by {}. Medians with 95 % intervals; GB = 1e9 bytes.", tools.join(", "))
}

/// Everything about one record.
fn measured(record: &Record, index: usize) -> Markup {
    let with_caveats = record.cases.iter().any(|case| !case.caveats.is_empty());
    html! {
        section id={ "record-" (index) } {
            h2 { (clean(&record.device.name)) " " span.badge.measured { "measured" } }
            p.sub {
                (device_type_name(record.device.device_type)) ", " (clean(&record.device.backend)) ", "
                (clean(&record.device.driver)) " " (clean(&record.device.driver_info)) ", " (clean(&record.created_at))
            }
            (warnings(record))
            (tiles(record))
            h3 { "Kernels under the roofline" }
            (charts::roofline(record))
            h3 { "How near each kernel comes" }
            (charts::bars(record))
            h3 { "All figures" }
            @if !record.cases.is_empty() { (tables::cases(record)) }
            @if with_caveats { (tables::case_caveats(record)) }
            @if !record.left_out.is_empty() || !record.rejected.is_empty() { (tables::absent(record)) }
            @if !record.ceilings.is_empty() { (tables::ceilings(record)) }
            h3 { "How it was measured" }
            (circumstances(record))
        }
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
            @for (ceiling, kind, name) in ceilings { div { dt { (name) } dd { (ceiling_value(kind, ceiling)) } } }
            @for (name, fraction) in best_fractions(record) {
                div { dt { (name) ", best" } dd { (percent(fraction)) small { " of roofline" } } }
            }
            div {
                dt { "verified and timed" }
                dd { (record.cases.len()) small { " of " (record.planned.len().max(record.cases.len())) " cases" } }
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
        .filter_map(|family| Some((super::family_name(family), of(family)?)))
        .collect()
}

fn circumstances(record: &Record) -> Markup {
    let (protocol, device, host) = (&record.protocol, &record.device, &record.host);
    let rows = [
        ("Preset", format!("{} ({})", preset_name(protocol.preset), clean(&protocol.preset_reason))),
        ("Clock", clock_name(protocol.clock).to_owned()),
        ("Seed of inputs", protocol.seed.to_string()),
        ("Inputs rotate over", Bytes::from_count(protocol.rotation_bytes).to_string()),
        ("Stops at", format!("±{} or {}", percent(protocol.target_relative_ci), protocol.sample_budget_s)),
        ("Runtime checks", if protocol.runtime_checks { "on" } else { "off" }.to_owned()),
        ("Vendor and ids", format!("{}, {:04x}:{:04x}", clean(&device.vendor), device.vendor_id, device.device_id)),
        ("Features", device.features.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ")),
        ("Limits", device.limits.iter().map(|(name, n)| format!("{} {n}", clean(name))).collect::<Vec<_>>().join(", ")),
        ("Host", format!("{}, {} ({} logical CPUs)", clean(&host.os), clean(&host.cpu), host.logical_cpus)),
        ("Host memory", Bytes::from_count(host.memory_bytes).to_string()),
        ("Tool", tool(record)),
    ];
    html! { dl.facts { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } } }
}

/// What the records mean on a fabric.
fn projected(pairs: &[ProjectionPair]) -> Markup {
    let all: Vec<&Projection> =
        pairs.iter().flat_map(|pair| std::iter::once(&pair.on_fabric).chain(&pair.on_baseline)).collect();
    html! {
        section #projections {
            h2 { "On a fabric " span.badge.projected { "projected" } }
            p.sub { "Figures for the fabric are computed from models of chip and network, never measured." }
            ul.headlines { @for pair in pairs { li { (headline(pair)) } } }
            @for phase in [Phase::Prefill, Phase::Decode, Phase::Training] {
                @let of_phase: Vec<&ProjectionPair> = pairs.iter().filter(|pair| pair.on_fabric.phase == phase).collect();
                @if !of_phase.is_empty() {
                    h3 { (phase_name(phase)) ": where a chip's time goes" }
                    (charts::terms(&of_phase, phase))
                }
            }
            h3 { "All projected figures" }
            (tables::projections(&all))
            (tables::plans(&all))
            (tables::terms(&all))
            h3 { "What they rest on" }
            @for one in &all { (foundation(one)) }
        }
    }
}

fn headline(pair: &ProjectionPair) -> Markup {
    let Projection { model, phase, fabric, tokens_per_s_per_chip: rate, .. } = &pair.on_fabric;
    html! {
        strong { (clean(model)) " " (phase_name(*phase).to_lowercase()) } ": "
        (grouped_digits(rate.median)) " tokens/s a chip on " (clean(fabric)) " (" (tables::band(rate)) ")"
        @if let Some(baseline) = &pair.on_baseline {
            @let ratio = rate.median / baseline.tokens_per_s_per_chip.median;
            ", " @if ratio.is_finite() { (grouped_digits(ratio)) " times " (clean(&baseline.fabric)) }
            @else { "beside " (clean(&baseline.fabric)) }
        }
    }
}

/// Caveats and sources of one projection, folded away.
fn foundation(projection: &Projection) -> Markup {
    let count = |kind| projection.provenance.iter().filter(|cost| cost.provenance == kind).count();
    let kinds = [Provenance::Measured, Provenance::Published, Provenance::Assumed, Provenance::Derived];
    let counts: Vec<String> = kinds
        .into_iter()
        .filter(|kind| count(*kind) > 0)
        .map(|kind| format!("{} {}", count(kind), provenance_name(kind)))
        .collect();
    html! {
        details {
            summary {
                (clean(&projection.model)) " " (phase_name(projection.phase).to_lowercase()) " on " (clean(&projection.fabric))
                span.sub { " " (counts.join(", ")) }
            }
            @if !projection.caveats.is_empty() {
                ul.caveats { @for caveat in &projection.caveats { li { (clean(caveat)) } } }
            }
            (tables::provenance(projection))
        }
    }
}
