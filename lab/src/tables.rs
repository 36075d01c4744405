//! The tables of docs/KERNELS.md: what each compiler makes of the pipelines, ours beside ggml's.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::row::{Document, Row};

/// Where the tables begin and end in the document.
pub const BEGIN: &str = "<!-- lab: begin -->";
/// See [`BEGIN`].
pub const END: &str = "<!-- lab: end -->";

/// Pipelines of ours that compute what a pair of `ggml.json` does.
#[derive(Debug, Deserialize)]
struct Pair {
    pair: String,
    /// Names of pipelines.
    ours: Vec<String>,
}

/// The document with its tables made anew.
pub fn replaced(text: &str, ours: &[Named], ggml: &[Named], hash: &str) -> Result<String> {
    let (before, rest) = text.split_once(BEGIN).context("no place for the tables")?;
    let (_, after) = rest.split_once(END).context("the place for the tables has no end")?;
    Ok(format!(
        "{before}{BEGIN}\n<!-- made by `make lab` from lab/results: {hash} -->\n\n{}{END}{after}",
        tables(ours, ggml)?
    ))
}

fn tables(ours: &[Named], ggml: &[Named]) -> Result<String> {
    let mut text = devices(ours)?;
    let pairs: Vec<Pair> = serde_json::from_str(include_str!("../pairs.json"))?;
    for (name, document) in ours {
        let peers = ggml.iter().find(|(peer, _)| peer.strip_prefix("ggml-") == Some(name));
        writeln!(text, "\n### {name} ({}, {})\n", document.device.driver, document.device.driver_version)?;
        writeln!(
            text,
            "| pair | kernel | lanes | registers | workgroup memory | occupancy | multiply-adds | instructions each | cycles each | LDS bytes each | math share |"
        )?;
        writeln!(text, "|---|---|---|---|---|---|---|---|---|---|---|")?;
        for pair in &pairs {
            let theirs = peers.iter().flat_map(|(_, peer)| &peer.pipelines);
            for row in theirs.filter(|row| row.name.starts_with(&format!("{}: ", pair.pair))) {
                let name = row.name.rsplit_once(": ").map_or("", |(_, name)| name);
                text += &line(&pair.pair, &format!("ggml {name}"), row)?;
            }
            for row in pair.ours.iter().flat_map(|name| document.pipelines.iter().filter(move |row| row.name == *name))
            {
                text += &line(&pair.pair, &format!("`{}`", row.name), row)?;
            }
        }
    }
    Ok(text)
}

/// The results of a device, with its name in `run.sh`.
pub type Named = (String, Document);

/// A line for each device: how many pipelines compile, spill, and how long.
fn devices(ours: &[Named]) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "| device | compiler | pipelines | compiled | with spills or scratch | over 2 s | slowest (s) |")?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for (name, Document { device, pipelines }) in ours {
        let figures: Vec<_> = pipelines.iter().filter_map(|row| row.figures.as_ref()).collect();
        let spill = figures.iter().filter(|f| f.spills > 0.0 || f.scratch_bytes > 0.0).count();
        let slow = figures.iter().filter(|f| f.seconds > 2.0).count();
        let slowest = figures.iter().map(|f| f.seconds).fold(0.0, f64::max);
        let (all, done) = (pipelines.len(), figures.len());
        writeln!(
            text,
            "| {name} | {}, {} | {all} | {done} | {spill} | {slow} | {slowest:.1} |",
            device.driver, device.driver_version
        )?;
    }
    Ok(text)
}

fn line(pair: &str, name: &str, row: &Row) -> Result<String> {
    let mut text = String::new();
    let Some(figures) = &row.figures else {
        if row.why.as_deref().is_some_and(|why| why.starts_with("the device has no")) {
            return Ok(text);
        }
        writeln!(text, "| {pair} | {name} | {} ||||||||", row.why.as_deref().unwrap_or_default())?;
        return Ok(text);
    };
    let hot = figures.hot.unwrap_or_default();
    let each = |x: f64| {
        if hot.multiply_adds > 0.0 && x > 0.0 { format!("{:.2}", x / hot.multiply_adds) } else { String::new() }
    };
    let spill = if figures.spills > 0.0 { format!(" ({} spilled)", figures.spills) } else { String::new() };
    let unknown = if hot.has_unknown_loop { "*" } else { "" };
    writeln!(
        text,
        "| {pair} | {name} | {} | {}{spill} | {} | {} | {}{unknown} | {} | {} | {} | {:.2} |",
        figures.lanes,
        figures.registers,
        figures.workgroup_bytes,
        figures.occupancy.map_or(String::new(), |o| o.to_string()),
        hot.multiply_adds,
        each(hot.instructions),
        each(hot.cycles),
        each(hot.lds_load_bytes),
        (hot.fma + hot.dot + hot.matrix) / hot.vector.max(1.0)
    )?;
    Ok(text)
}
