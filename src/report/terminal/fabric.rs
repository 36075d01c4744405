//! Fabrics and collectives on them as tables and a plot of characters.

use std::fmt::Write as _;

use comfy_table::CellAlignment::{Left, Right};

use crate::projection::calibration::{FittedRow, MeasuredFit, TierValue};
use crate::projection::fabric::exchange::Answer;
use crate::projection::{CostSource, Interval, PowerUnknown, SystemPower};
use crate::report::numbers::percent;
use crate::report::terminal::layout::{bar_width, paragraph, plain, push_lines, title};
use crate::report::text::{clean, short};
use crate::report::words;
use crate::specs::{Fabric, LatencyIs, Sourced, Topology};
use crate::units::{Bytes, BytesPerSecond, Seconds};

/// One line of [`collectives`].
#[derive(Debug, Clone, Copy)]
pub struct CollectiveRow<'a> {
    /// The fabric.
    pub fabric: &'a str,
    /// Ranks.
    pub ep: u32,
    /// `chip` or `die`.
    pub unit: &'a str,
    /// Latency at the fast and the slow end of the uncertain inputs.
    pub range_s: (f64, f64),
    /// The answer.
    pub answer: &'a Answer,
    /// What is broken or slow.
    pub faults: &'a [String],
}

/// All fabrics, one line per fabric.
pub fn fabrics(fabrics: &[Fabric]) -> String {
    let mut out = String::new();
    title(&mut out, "Fabrics");
    let mut table = plain(&[Left, Right, Left, Right, Left]);
    table.set_header(["name", "chips", "rank", "power", "what"]);
    for fabric in fabrics {
        let chips = fabric.max_chips().to_string();
        let power = fabric.power_over_chips.as_ref().map_or("-".to_owned(), |ratio| times(ratio.value));
        table.add_row([fabric.name.clone(), chips, fabric.rank_unit().to_owned(), power, clean(&fabric.title)]);
    }
    push_lines(&mut out, &table);
    paragraph(&mut out, "  ", "power: of the whole system at most, over that of its packages");
    out
}

/// What a chip draws on a fabric, with the source of each figure.
pub fn power(chip: &str, power: &Result<SystemPower, PowerUnknown>) -> String {
    let mut out = String::new();
    title(&mut out, &format!("power with {}", clean(chip)));
    match power {
        Err(unknown) => paragraph(&mut out, "  ", &unknown.to_string()),
        Ok(SystemPower { w_per_chip: Interval { median, low, high }, sources }) => {
            let of = "a chip in use, its share of the system included";
            paragraph(&mut out, "  ", &format!("{of}: {median:.0} W ({low:.0} to {high:.0})"));
            for CostSource { what, value, provenance, source } in sources {
                let kind = words::provenance(*provenance);
                paragraph(&mut out, "  ", &format!("{what}: {value} [{kind}: {}]", clean(source)));
            }
        }
    }
    out
}

/// One fabric: every value with its source.
pub fn fabric(fabric: &Fabric) -> String {
    let mut out = String::new();
    title(&mut out, &clean(&fabric.name));
    paragraph(&mut out, "  ", &clean(&fabric.title));
    let joined = if fabric.topology == Topology::FullMesh { "full mesh" } else { "switched" };
    let ranks =
        format!("{joined}; {} chips, {} ranks ({}s)", fabric.max_chips(), fabric.max_ranks(), fabric.rank_unit());
    paragraph(&mut out, "  ", &ranks);
    if let Some(dies) = &fabric.dies {
        title(&mut out, &format!("package: {} dies", dies.per_chip));
        value(&mut out, "bandwidth per die", &dies.bandwidth_bytes_per_s, rate);
        value(&mut out, "latency", &dies.latency_s, time);
    }
    match &fabric.power_over_chips {
        Some(ratio) => value(&mut out, "power of the system over its packages", ratio, times),
        None => {
            paragraph(&mut out, "  ", "power of the system over its packages: not known, so that energy is left out")
        }
    }
    if let Some(copy) = &fabric.dispatch_copy_s {
        value(&mut out, "sender's time per copy in a dispatch", copy, time);
    }
    for tier in &fabric.tiers {
        let planes = if tier.planes > 1 { format!(", {} planes", tier.planes) } else { String::new() };
        title(&mut out, &format!("{}: {} chips, port {}{planes}", clean(&tier.name), tier.chips, clean(&tier.port)));
        match &tier.bandwidth_bytes_per_s {
            Some(bandwidth) => value(&mut out, "bandwidth per chip", bandwidth, rate),
            None => paragraph(&mut out, "  ", "bandwidth per chip: the chip's own scale-up links"),
        }
        let latency = if tier.latency_is == LatencyIs::Hop {
            format!("latency per hop, {} hops", tier.hops)
        } else {
            "latency end to end".to_owned()
        };
        value(&mut out, "share reached", &tier.link_efficiency, percent);
        if let Some(reached) = &tier.all_to_all_efficiency {
            value(&mut out, "share reached by dispatch and combine", reached, percent);
        }
        value(&mut out, &latency, &tier.latency_s, time);
        value(&mut out, "message", &tier.message_overhead_s, time);
        value(&mut out, "fixed, collective", &tier.collective_fixed_s, time);
        value(&mut out, "fixed, dispatch or combine", &tier.all_to_all_fixed_s, time);
        if let Some(over) = &tier.oversubscription {
            value(&mut out, "oversubscription", over, |value| value.to_string());
        }
    }
    out
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2} times")
}

fn rate(value: f64) -> String {
    BytesPerSecond::new(value).to_string()
}

fn time(value: f64) -> String {
    Seconds::new(value).to_string()
}

fn value(out: &mut String, what: &str, value: &Sourced, show: impl Fn(f64) -> String) {
    let kind = words::provenance(value.provenance);
    let band = match (value.low, value.high) {
        (None, None) => String::new(),
        (low, high) => {
            format!(" ({} to {})", show(low.unwrap_or(value.value)), show(high.unwrap_or(value.value)))
        }
    };
    let source = clean(&value.source_with_mark());
    paragraph(out, "  ", &format!("{what}: {}{band} [{kind}: {source}]", show(value.value)));
}

/// Collectives as a table, and latency by ranks as a plot where there are several.
pub fn collectives(op: &str, rows: &[CollectiveRow<'_>]) -> String {
    let mut out = String::new();
    title(&mut out, op);
    let mut table = plain(&[Left, Right, Right, Left, Right, Left, Left]);
    table.set_header(["fabric", "ranks", "latency", "low to high", "bandwidth", "algorithm", "busiest"]);
    for row in rows {
        let answer = row.answer;
        table.add_row([
            short(row.fabric, 24),
            format!("{} {}s", row.ep, row.unit),
            time(answer.latency_s),
            format!("{} to {}", time(row.range_s.0), time(row.range_s.1)),
            rate(answer.bandwidth_bytes_per_s),
            answer.algorithm.to_owned(),
            short(&answer.hottest_link, 44),
        ]);
    }
    push_lines(&mut out, &table);
    for row in rows.iter().filter(|row| row.answer.slowdown != 1.0 || !row.faults.is_empty()) {
        let answer = row.answer;
        let mut notes = Vec::new();
        if answer.slowdown != 1.0 {
            notes.push(format!(
                "hottest expert {:.2}, hottest {} {} with {:.2} times the mean: {:.2} times as long as balanced",
                answer.hottest_expert_load, row.unit, answer.hottest_rank, answer.hottest_rank_load, answer.slowdown
            ));
        }
        if !row.faults.is_empty() {
            let lost = 1.0 - 1.0 / answer.fault_slowdown;
            notes.push(format!("{}: throughput falls by {}", row.faults.join(", "), percent(lost)));
        }
        paragraph(
            &mut out,
            "  ",
            &format!("{}, {} {}s: {}", short(row.fabric, 24), row.ep, row.unit, notes.join("; ")),
        );
    }
    if rows.len() > 1 {
        plot(&mut out, rows);
    }
    out
}

/// One bar per row, all on one scale.
fn plot(out: &mut String, rows: &[CollectiveRow<'_>]) {
    let width = bar_width(60, 42);
    title(out, "Latency");
    let most = rows.iter().map(|row| row.answer.latency_s).fold(0.0, f64::max);
    for row in rows {
        let share = if most > 0.0 { row.answer.latency_s / most } else { 0.0 };
        let filled = (0..width).filter(|&cell| (cell as f64) < share * width as f64 - 0.5).count();
        let label = format!("{} {}", short(row.fabric, 20), row.ep);
        let _ = writeln!(out, "  {label:<26} {}▏ {}", "█".repeat(filled), time(row.answer.latency_s));
    }
}

/// Mean of the absolute relative errors of measured rows.
pub fn mean_error(rows: &[FittedRow]) -> f64 {
    rows.iter().map(|row| (row.modelled_s / row.measured_s - 1.0).abs()).sum::<f64>() / rows.len().max(1) as f64
}

/// Fitted values of tiers, and each measured row with that of the fitted model.
pub fn measured_fit(fabric: &str, fitted: &MeasuredFit) -> String {
    let mut out = String::new();
    title(&mut out, &format!("{}: fitted on {} measured rows", clean(fabric), fitted.rows.len()));
    let mut table = plain(&[Left, Right, Right, Right]);
    table.set_header(["parameter", "in the file", "fitted", "leaving rows out"]);
    for TierValue { tier, key, in_file, fitted, band: [low, high] } in &fitted.values {
        let show = |value: f64| match *key {
            "collective_fixed_s" | "all_to_all_fixed_s" => time(value),
            "bandwidth_bytes_per_s" => rate(value),
            _ => format!("{value:.4}"),
        };
        let before = in_file.map_or("the chip's".to_owned(), show);
        table.add_row([
            format!("{}.{key}", clean(tier)),
            before,
            show(*fitted),
            format!("{} to {}", show(*low), show(*high)),
        ]);
    }
    push_lines(&mut out, &table);
    let mut table = plain(&[Left, Right, Right, Right, Right, Right, Left]);
    table.set_header(["collective", "ranks", "size", "measured", "modelled", "error", "algorithm"]);
    for row in &fitted.rows {
        table.add_row([
            row.collective.to_owned(),
            row.ranks.to_string(),
            Bytes::new(row.bytes).to_string(),
            time(row.measured_s),
            time(row.modelled_s),
            format!("{:+.1} %", (row.modelled_s / row.measured_s - 1.0) * 100.0),
            row.algorithm.to_owned(),
        ]);
    }
    push_lines(&mut out, &table);
    let _ = writeln!(out, "  mean absolute error {}", percent(mean_error(&fitted.rows)));
    out
}
