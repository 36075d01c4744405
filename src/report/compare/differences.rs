//! What differs between two documents besides the device, and which cases only one of them has.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::record::Record;
use crate::report::ceilings::{browser, tool};
use crate::report::text::clean;
use crate::report::words;
use crate::units::Bytes;

/// A case that only one side has measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Missing {
    /// The case.
    pub id: String,
    /// What the side without it says about it.
    pub why: String,
    /// Whether the result was wrong there, or the launch failed.
    pub rejected: bool,
}

/// Each circumstance that differs: what, both values, and what it does to the figures.
pub(super) fn between(base: &Record, other: &Record) -> Vec<String> {
    type Of = fn(&Record) -> String;
    let rows: [(&str, Of, &str); 12] = [
        ("schema version", |r| r.schema_version.to_string(), ""),
        ("preset", |r| words::preset(r.protocol.preset).to_owned(), "other shapes, so few cases are in common"),
        ("clock", |r| words::clock(r.protocol.clock).to_owned(), "wall times include submission and wait"),
        ("driver", |r| format!("{} {}", clean(&r.device.driver), clean(&r.device.driver_info)), ""),
        ("backend", |r| clean(&r.device.backend), ""),
        (
            "browser",
            |r| browser(r).unwrap_or_else(|| "none".to_owned()),
            "a browser adds its own checks, and time to every submission",
        ),
        (
            "runtime checks",
            |r| words::runtime_checks(r.protocol.runtime_checks).to_owned(),
            "checks slow the shaders down",
        ),
        ("seed", |r| r.protocol.seed.to_string(), "other inputs; routing depends on them"),
        (
            "rotation of inputs",
            |r| Bytes::from_count(r.protocol.rotation_bytes).to_string(),
            "the smaller one may leave inputs in a cache",
        ),
        ("tool", tool, "kernels or protocol may have changed"),
        ("operating system", |r| clean(&r.host.os), ""),
        ("adapter type", |r| words::device_type(r.device.device_type).to_owned(), ""),
    ];
    rows.into_iter()
        .map(|(what, of, effect)| (what, of(base), of(other), effect))
        .filter(|(_, here, there, _)| here != there)
        .map(|(what, here, there, effect)| {
            let effect = if effect.is_empty() { String::new() } else { format!(" ({effect})") };
            format!("{what}: {here} | {there}{effect}")
        })
        .collect()
}

/// Cases that `has` measured and `lacks` (with the ids `measured`) did not.
pub(super) fn missing(has: &Record, measured: &BTreeSet<&str>, lacks: &Record) -> Vec<Missing> {
    let left_out: Vec<(&str, &str)> = sorted(lacks.left_out.iter().map(|case| (&*case.id, &*case.reason)));
    let rejected: Vec<(&str, &str)> = sorted(lacks.rejected.iter().map(|case| (&*case.id, &*case.reason)));
    let planned: BTreeSet<&str> = lacks.planned.iter().map(String::as_str).collect();
    let absent = has.cases.iter().map(|case| &*case.id).filter(|id| !measured.contains(id));
    absent
        .map(|id| {
            let (why, is_rejected) = if let Some(reason) = find(&rejected, id) {
                (format!("rejected: {}", clean(reason)), true)
            } else if let Some(reason) = find(&left_out, id) {
                (format!("left out: {}", clean(reason)), false)
            } else if planned.contains(id) {
                ("planned, not measured yet".to_owned(), false)
            } else {
                ("not in its plan".to_owned(), false)
            };
            Missing { id: clean(id), why, rejected: is_rejected }
        })
        .collect()
}

fn sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    pairs
}

fn find<'a>(pairs: &[(&str, &'a str)], id: &str) -> Option<&'a str> {
    let at = pairs.binary_search_by(|(found, _)| (*found).cmp(id)).ok()?;
    pairs.get(at).map(|(_, reason)| *reason)
}
