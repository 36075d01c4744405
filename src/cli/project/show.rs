//! How projections are shown: tables and JSON. Only formatting and ratios.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::super::Error;
use crate::projection::on_network::NetworkAnswer;
use crate::projection::{
    Comparison, CostSource, Infeasible, ParallelPlan, Phase, Projection, ProjectionCaveat, Request, Search,
};
use crate::report::terminal;
use crate::specs::Provenance;

/// Column heads of the parts of a step, in the order of `Terms::named`.
const PARTS: [&str; 9] = ["attn", "expert", "gating", "dense", "disp.", "comb.", "coll.", "bubble", "launch"];

/// One line of the table: what was asked and the answers.
pub(super) struct Row {
    pub(super) request: Request,
    pub(super) baseline: String,
    pub(super) comparison: Comparison,
}

/// One answer as JSON: the projection's fields, the baseline beside them.
#[derive(Serialize)]
pub(super) struct JsonRow<'a> {
    #[serde(flatten)]
    on: Answer<'a>,
    baseline: Answer<'a>,
    speedup: Option<f64>,
    same_plan_speedup: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<&'a NetworkAnswer>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Feasible(&'a Projection),
    Infeasible { model: &'a str, phase: Phase, chip: &'a str, fabric: &'a str, infeasible: String },
}

impl Row {
    pub(super) fn title(&self) -> String {
        let request = &self.request;
        let phase = phase_name(request.phase);
        format!("{} {phase} on {} x {}, {}", request.model.name, request.chips, request.chip.name, request.fabric.name)
    }

    pub(super) fn json(&self) -> JsonRow<'_> {
        self.json_with(None)
    }

    /// The same with the plan by flows.
    pub(super) fn json_with<'a>(&'a self, flows: Option<&'a NetworkAnswer>) -> JsonRow<'a> {
        JsonRow {
            flows,
            on: self.answer(&self.comparison.on, &self.request.fabric.name),
            baseline: self.answer(&self.comparison.baseline, &self.baseline),
            speedup: self.comparison.speedup,
            same_plan_speedup: self.comparison.same_plan_speedup,
        }
    }

    fn answer<'a>(&'a self, result: &'a Result<Projection, Infeasible>, fabric: &'a str) -> Answer<'a> {
        let request = &self.request;
        match result {
            Ok(projection) => Answer::Feasible(projection),
            Err(reason) => Answer::Infeasible {
                model: &request.model.name,
                phase: request.phase,
                chip: &request.chip.name,
                fabric,
                infeasible: reason.to_string(),
            },
        }
    }
}

pub(in crate::cli) fn to_json(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Input(format!("a figure cannot be written as JSON: {error}; check the inputs")))?;
    Ok(text + "\n")
}

/// Several projections, compactly: figures, then the parts of each step, then what they rest on.
pub(super) fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    let mut text = format!(
        "Projected tokens/s/chip of {} x {} on {}, against {}\n",
        first.request.chips, first.request.chip.name, first.request.fabric.name, first.baseline
    );
    let _ = writeln!(text, "{}", figures(rows).trim_fmt());
    let _ = writeln!(text, "\nPlans (degrees count dies; m micro-batches, b sequences or prompts a chip)");
    let _ = writeln!(text, "{}", plans(rows).trim_fmt());
    let _ =
        writeln!(text, "\nParts of the step, % (first line {}, second {})", first.request.fabric.name, first.baseline);
    let _ = writeln!(text, "{}", parts(rows).trim_fmt());
    text.push_str(&infeasible_notes(rows));
    let projections: Vec<&Projection> = rows.iter().filter_map(|row| row.comparison.on.as_ref().ok()).collect();
    text.push_str(&notes(&projections));
    text
}

fn figures(rows: &[Row]) -> Table {
    let header = ["model", "phase", "tok/s/chip", "low..high", "cluster", "speed-up", "same plan", "step", "GB"];
    let mut table = new_table(&header);
    let ratio = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    for row in rows {
        let baseline = row.comparison.baseline.as_ref();
        let cluster = baseline.map_or_else(|_| "none".to_owned(), |other| rate(other.tokens_per_s_per_chip.median));
        let ratios = [ratio(row.comparison.speedup), ratio(row.comparison.same_plan_speedup)];
        let mut cells = vec![row.request.model.name.clone(), phase_name(row.request.phase).to_owned()];
        match &row.comparison.on {
            Ok(on) => {
                cells.extend([rate(on.tokens_per_s_per_chip.median), band(on), cluster]);
                cells.extend(ratios);
                cells.extend([on.step_s.to_string(), format!("{:.0}", on.memory_bytes_per_chip.used() / 1e9)]);
            }
            Err(_) => cells.extend(["none".to_owned(), String::new(), cluster]),
        }
        table.add_row(cells);
    }
    align_right(&mut table, &[2, 3, 4, 5, 6, 7, 8]);
    // The baseline at the plan of the fabric is in the answer about one model and in JSON.
    terminal::hide_where_narrow(&mut table, &[6]);
    table
}

fn plans(rows: &[Row]) -> Table {
    let mut table = new_table(&["model", "phase", "fabric", "plan", "bound by"]);
    for row in rows {
        for projection in [&row.comparison.on, &row.comparison.baseline].into_iter().flatten() {
            let resource = projection.bound_by.resource_name();
            table.add_row([
                row.request.model.name.as_str(),
                phase_name(row.request.phase),
                &projection.fabric,
                &plan_text(&projection.plan),
                resource,
            ]);
        }
    }
    table
}

fn parts(rows: &[Row]) -> Table {
    let mut header = vec!["model", "phase"];
    header.extend(PARTS);
    let mut table = new_table(&header);
    for row in rows {
        for result in [&row.comparison.on, &row.comparison.baseline] {
            let Ok(projection) = result else { continue };
            let total = projection.step_s.get();
            let mut cells = vec![row.request.model.name.clone(), phase_name(row.request.phase).to_owned()];
            cells.extend(projection.terms_s.named().map(|(_, time)| format!("{:.1}", 100.0 * time.get() / total)));
            table.add_row(cells);
        }
    }
    align_right(&mut table, &[2, 3, 4, 5, 6, 7, 8, 9, 10]);
    table
}

fn infeasible_notes(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let answers = [(&row.comparison.on, &row.request.fabric.name), (&row.comparison.baseline, &row.baseline)];
        for (result, fabric) in answers {
            if let Err(reason) = result {
                let phase = phase_name(row.request.phase);
                let _ = writeln!(text, "{} {phase} on {fabric}: {reason}", row.request.model.name);
            }
        }
    }
    text
}

/// One projection in full.
pub(super) fn single(row: &Row, on: &Projection, flows: Option<&NetworkAnswer>) -> String {
    let mut text = format!("{}, type {}\n", row.title(), on.number_type.name());
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<22}{value}");
    };
    line("tokens/s/chip", interval(on));
    line("all chips, tokens/s", rate(on.tokens_per_s_per_chip.median * f64::from(on.plan.chips)));
    line("step", on.step_s.to_string());
    if let Some(time) = on.tpot_s {
        line("time per output token", time.to_string());
    }
    if let Some(time) = on.ttft_s {
        line("time to first token", time.to_string());
    }
    line("MFU", format!("{:.1} %", on.mfu * 100.0));
    line("bound by", on.bound_by.to_string());
    line("plan", plan_text(&on.plan));
    line("memory a chip", memory_text(on));
    match (&row.comparison.baseline, row.comparison.speedup) {
        (Ok(other), Some(ratio)) => {
            line(&format!("on {}", row.baseline), format!("{}, plan {}", interval(other), plan_text(&other.plan)));
            let same = row.comparison.same_plan_speedup;
            let same = same.map_or_else(
                || "the same plan does not fit".to_owned(),
                |ratio| format!("{ratio:.2} at the same plan"),
            );
            line("speed-up", format!("{ratio:.2} ({same})"));
        }
        (Err(reason), _) => line(&format!("on {}", row.baseline), reason.to_string()),
        _ => {}
    }
    if let Some(flows) = flows {
        line("by flows", flows_text(flows));
    }
    let _ = writeln!(text, "\n{}", terms_table(row, on).trim_fmt());
    text.push_str(&tornado(on));
    text.push_str(&notes(&[on]));
    text
}

/// The same plan over the network's ports and links.
fn flows_text(flows: &NetworkAnswer) -> String {
    let ratio = flows.tokens_per_s_per_chip / flows.closed_forms_tokens_per_s_per_chip;
    let faults = if flows.faults.is_empty() { String::new() } else { format!(" with {}", flows.faults.join(", ")) };
    format!(
        "{} tokens/s/chip{faults}, {ratio:.3} of the closed forms (dispatch x {:.2}, combine x {:.2}; busiest {})",
        rate(flows.tokens_per_s_per_chip),
        flows.dispatch_over_closed_form,
        flows.combine_over_closed_form,
        flows.hottest_link
    )
}

/// What moves the throughput most.
fn tornado(on: &Projection) -> String {
    if on.tornado.is_empty() {
        return String::new();
    }
    let mut table = new_table(&["what moves it most (tokens/s/chip)", "at its low end", "at its high end"]);
    for swing in on.tornado.iter().take(8) {
        table.add_row([swing.what.clone(), rate(swing.at_low), rate(swing.at_high)]);
    }
    align_right(&mut table, &[1, 2]);
    format!("\n{}\n", table.trim_fmt())
}

/// The plans that no other beats in both latency and throughput.
pub(super) fn front(request: &Request, found: &Search) -> String {
    let latency = match request.phase {
        Phase::Decode => "ms/token",
        Phase::Prefill => "ms to first token",
        Phase::Training => "ms/step",
    };
    let phase = phase_name(request.phase);
    let mut text = format!(
        "{} {phase} on {} x {}, {}: {} plans, {} fit; of these {} are beaten by no other in both\n",
        request.model.name,
        request.chips,
        request.chip.name,
        request.fabric.name,
        found.plans,
        found.fit,
        found.front.len()
    );
    let mut table = new_table(&[latency, "tokens/s/chip", "GB a chip", "plan"]);
    for candidate in &found.front {
        table.add_row([
            format!("{:.2}", candidate.latency_s * 1e3),
            rate(candidate.tokens_per_s_per_chip),
            format!("{:.0}", candidate.memory_bytes_per_chip / 1e9),
            plan_text(&candidate.plan),
        ]);
    }
    align_right(&mut table, &[0, 1, 2]);
    let _ = writeln!(text, "{}", table.trim_fmt());
    text
}

fn terms_table(row: &Row, on: &Projection) -> Table {
    let baseline = row.comparison.baseline.as_ref().ok();
    let mut table = new_table(&["part of the step", &row.request.fabric.name, "%", &row.baseline, "%"]);
    let add = |table: &mut Table, name: &str, time: crate::units::Seconds, other: Option<crate::units::Seconds>| {
        let percent =
            |time: crate::units::Seconds, step: crate::units::Seconds| format!("{:.1}", 100.0 * (time / step));
        let (other_time, other_percent) = other.zip(baseline).map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |(time, projection)| (time.to_string(), percent(time, projection.step_s)),
        );
        table.add_row([name.to_owned(), time.to_string(), percent(time, on.step_s), other_time, other_percent]);
    };
    for (index, (name, time)) in on.terms_s.named().into_iter().enumerate() {
        add(&mut table, name, time, baseline.map(|other| other.terms_s.named()[index].1));
    }
    add(&mut table, "step", on.step_s, baseline.map(|other| other.step_s));
    align_right(&mut table, &[1, 2, 3, 4]);
    table
}

/// Caveats and where the inputs come from, each once.
fn notes(projections: &[&Projection]) -> String {
    let mut text = String::new();
    let mut caveats: Vec<&ProjectionCaveat> = Vec::new();
    let mut sources: Vec<&CostSource> = Vec::new();
    for projection in projections {
        caveats.extend(projection.caveats.iter().filter(|caveat| !caveats.contains(caveat)).collect::<Vec<_>>());
        sources.extend(projection.provenance.iter().filter(|source| !sources.contains(source)).collect::<Vec<_>>());
    }
    if !caveats.is_empty() {
        text.push_str("\nKeep in mind\n");
        for caveat in caveats {
            let _ = writeln!(text, "  - {caveat}");
        }
    }
    for (provenance, title) in [
        (Provenance::Measured, "Measured"),
        (Provenance::Published, "Published"),
        (Provenance::Derived, "Derived"),
        (Provenance::Assumed, "Assumed"),
    ] {
        let of_kind: Vec<_> = sources.iter().filter(|source| source.provenance == provenance).collect();
        if of_kind.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{title}");
        for source in of_kind {
            let _ = writeln!(text, "  {}: {}; {}", source.what, source.value, source.source);
        }
    }
    text
}

pub(in crate::cli) fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(Cell::new));
    terminal::fit(&mut table);
    table
}

pub(in crate::cli) fn align_right(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn interval(projection: &Projection) -> String {
    let interval = &projection.tokens_per_s_per_chip;
    format!("{} ({})", rate(interval.median), band(projection))
}

fn band(projection: &Projection) -> String {
    let interval = &projection.tokens_per_s_per_chip;
    format!("{}..{}", rate(interval.low), rate(interval.high))
}

pub(in crate::cli) fn rate(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}").chars().take(5).collect() }
}

pub(in crate::cli) fn plan_text(plan: &ParallelPlan) -> String {
    let ParallelPlan { tp, pp, ep, dp, cp, microbatches, batch_per_chip, .. } = plan;
    let context = if *cp > 1 { format!(" cp{cp}") } else { String::new() };
    format!(
        "tp{tp} pp{pp} ep{ep} dp{dp}{context} m{microbatches} b{}",
        rate(*batch_per_chip).trim_end_matches('0').trim_end_matches('.')
    )
}

fn memory_text(projection: &Projection) -> String {
    let memory = &projection.memory_bytes_per_chip;
    let gb = |bytes: f64| format!("{:.1}", bytes / 1e9);
    format!(
        "{} of {} GB usable: weights {}, KV cache {}, activations {}, optimizer {}",
        gb(memory.used()),
        gb(memory.capacity),
        gb(memory.weights),
        gb(memory.kv_cache),
        gb(memory.activations),
        gb(memory.optimizer)
    )
}

pub(in crate::cli) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
        Phase::Training => "training",
    }
}
