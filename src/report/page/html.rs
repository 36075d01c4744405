//! The page as HTML: the headline first, then a section for each device, the projections, the what-ifs and the claims.
//!
//! Tables and words are written in Rust. `page.js` draws the charts and the what-ifs with Observable Plot, from figures that
//! lie in the page. The content policy names both scripts by their hashes, so that nothing else runs and nothing is
//! fetched or sent. Without a script the tables still have every figure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::record::Record;
use crate::report::ceilings::tool;
use crate::report::page::data;
use crate::report::page::fleet::fleet;
use crate::report::page::input::Page;
use crate::report::page::sections::{announced, headline, in_depth, measured, projected, served, side_by_side};
use crate::report::page::style::STYLE;
use crate::report::projected::ProjectionPair;
use crate::report::served::ServedRow;
use crate::report::text::clean;

/// Observable Plot, as `vendor/build.sh` bundles it.
const PLOT: &str = include_str!("vendor/plot.js");
/// Draws the charts and answers the sliders.
const SCRIPT: &str = include_str!("page.js");

/// Sections of a page, and the figures of their charts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fragment {
    /// HTML: one `section` after another.
    pub html: String,
    /// JSON for `page.js`.
    pub figures: String,
}

/// The page as HTML. Every text of a record is escaped.
pub fn page(page: &Page<'_>) -> String {
    page_with(page, PLOT)
}

/// The same with the text of Observable Plot from elsewhere: a program that has it at hand need not carry it twice.
pub fn page_with(page: &Page<'_>, plot: &str) -> String {
    let names: Vec<String> = page.records.iter().map(|record| clean(&record.device.name)).collect();
    let heading = if names.is_empty() { "Projections".to_owned() } else { names.join(" · ") };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy(page, plot));
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "supernode-bench: " (heading) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header.top { p.brand { "supernode-bench" } h1 { (heading) } }
                (contents(page))
                main { (sections(page)) }
                footer { p { (footer(page.records)) } }
                (json("data", &data::data(page)))
                @for (i, record) in page.records.iter().enumerate() { (json(&format!("record-{i}-json"), record)) }
                script { (PreEscaped(plot)) }
                script { (PreEscaped(SCRIPT)) }
                @if let Some(model) = page.model { (model.elements()) }
            }
        }
    }
    .into_string()
}

/// All sections that have something to show.
fn sections(page: &Page<'_>) -> Markup {
    html! {
        (headline(page))
        @for (i, found) in page.fleets.iter().enumerate() { (fleet(found, i)) }
        @if page.records.len() > 1 { (side_by_side(page.records)) }
        @for (i, record) in page.records.iter().enumerate() { (measured(record, i)) }
        @if !page.projections.is_empty() { (projected(page.projections)) }
        @if let Some(outlook) = page.outlook { (in_depth(outlook)) }
        @if !page.claims.is_empty() { (announced(page.claims)) }
    }
}

/// The sections alone, for a document that brings the style and the scripts. Every text of a record is escaped.
pub fn fragment(page: &Page<'_>) -> Fragment {
    Fragment { html: sections(page).into_string(), figures: chart_figures(page) }
}

/// The section of some projections alone, as [`fragment`] has it.
pub fn projected_fragment(projections: &[ProjectionPair]) -> Fragment {
    Fragment { html: projected(projections).into_string(), figures: to_json(&data::projected_data(projections)) }
}

/// The section of a deployment that serves, alone. It has no charts.
pub fn served_fragment(answered: &ServedRow) -> Fragment {
    Fragment { html: served(answered).into_string(), figures: to_json(&data::projected_data(&[])) }
}

/// The figures of the charts alone, as JSON for `page.js`.
pub fn chart_figures(page: &Page<'_>) -> String {
    to_json(&data::data(page))
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// Nothing is loaded from anywhere, and no script but ours runs, whatever a record says.
fn policy(page: &Page<'_>, plot: &str) -> String {
    let hash = |script: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script)));
    let mut scripts = vec![hash(plot), hash(SCRIPT)];
    if let Some(model) = page.model {
        scripts.extend([hash(model.script()), "'wasm-unsafe-eval'".to_owned()]);
    }
    let scripts = scripts.join(" ");
    format!("default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'")
}

/// Figures for the script. No text can close the element or open a comment in it.
fn json(id: &str, value: &impl Serialize) -> Markup {
    let text = to_json(value).replace('<', "\\u003c");
    html! { script type="application/json" id=(id) { (PreEscaped(text)) } }
}

/// Links to the sections, which stay in view.
fn contents(page: &Page<'_>) -> Markup {
    let mut links = vec![("#headline".to_owned(), "In short".to_owned())];
    links.extend((0..page.fleets.len()).map(|i| (format!("#fleet-{i}"), "Fleet".to_owned())));
    if page.records.len() > 1 {
        links.push(("#devices".to_owned(), "Side by side".to_owned()));
    }
    let names = page.records.iter().enumerate();
    links.extend(names.map(|(i, record)| (format!("#record-{i}"), clean(&record.device.name))));
    let sections = [
        (!page.projections.is_empty(), "#projections", "On a fabric"),
        (page.outlook.is_some(), "#outlook", "What if"),
        (!page.claims.is_empty(), "#claims", "Claims"),
    ];
    let there = sections.into_iter().filter(|(is_there, ..)| *is_there);
    links.extend(there.map(|(_, target, name)| (target.to_owned(), name.to_owned())));
    html! { nav.contents aria-label="Sections" { div { @for (target, name) in links { a href=(target) { (name) } } } } }
}

fn footer(records: &[Record]) -> String {
    let mut tools: Vec<String> = records.iter().map(tool).collect();
    if tools.is_empty() {
        tools.push(format!("supernode-bench {}", env!("CARGO_PKG_VERSION")));
    }
    tools.sort();
    tools.dedup();
    format!(
        "Written by {}. Medians with 95 % intervals; GB = 1e9 bytes. Charts: Observable Plot and D3, ISC license.",
        tools.join(", ")
    )
}
