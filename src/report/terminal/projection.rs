//! Projections as tables for a terminal.

use std::fmt::Write as _;

use comfy_table::Table;

use crate::projection::on_network::NetworkAnswer;
use crate::projection::{CostSource, Phase, Projection, ProjectionCaveat, Request, Search};
use crate::report::numbers::{four_digits, low_to_high, plan_text, types_text};
use crate::report::projected::ProjectedRow;
use crate::report::terminal::layout::{align_right, hide_where_narrow, new_table};
use crate::report::text::distinct;
use crate::report::token_costs::{CostQuestion, lines};
use crate::report::words;
use crate::specs::Provenance;
use crate::units::Seconds;

/// Column heads of the parts of a step, in the order of `Terms::named`.
const PARTS: [&str; 9] = ["attn", "expert", "gating", "dense", "disp.", "comb.", "coll.", "bubble", "launch"];

/// Several projections, compactly: figures, then the parts of each step, then what they rest on.
pub fn table(rows: &[ProjectedRow]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    let mut text = format!(
        "Projected tokens/s/chip of {} x {} on {}, against {}\n",
        first.request.chips, first.request.chip.name, first.request.fabric.name, first.baseline
    );
    let _ = writeln!(text, "{}", figures(rows).trim_fmt());
    let _ = writeln!(text, "\nPlans (degrees count dies; m micro-batches, b sequences or prompts per chip)");
    let _ = writeln!(text, "{}", plans(rows).trim_fmt());
    let _ =
        writeln!(text, "\nParts of the step, % (first line {}, second {})", first.request.fabric.name, first.baseline);
    let _ = writeln!(text, "{}", parts(rows).trim_fmt());
    text.push_str(&infeasible_notes(rows));
    let projections: Vec<&Projection> = rows.iter().filter_map(|row| row.comparison.on.as_ref().ok()).collect();
    let power: Vec<&CostQuestion> = rows.iter().flat_map(|row| [&row.costs, &row.baseline_costs]).collect();
    text.push_str(&notes(&projections, &power));
    text
}

fn figures(rows: &[ProjectedRow]) -> Table {
    let mut header = vec!["model", "phase", "tok/s/chip", "low..high", "cluster", "speed-up", "same plan", "step"];
    let figures = header.len();
    header.extend(rows.first().map(|row| row.costs.heads()).unwrap_or_default());
    let mut table = new_table(&header);
    let ratio = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    for row in rows {
        let baseline = row.comparison.baseline.as_ref();
        let cluster =
            baseline.map_or_else(|_| "none".to_owned(), |other| four_digits(other.tokens_per_s_per_chip.median));
        let ratios = [ratio(row.comparison.speedup), ratio(row.comparison.same_plan_speedup)];
        let mut cells = vec![row.request.model.name.clone(), words::phase(row.request.phase).to_owned()];
        match &row.comparison.on {
            Ok(on) => {
                cells.extend([
                    four_digits(on.tokens_per_s_per_chip.median),
                    low_to_high(&on.tokens_per_s_per_chip),
                    cluster,
                ]);
                cells.extend(ratios);
                cells.push(on.step_s.to_string());
                cells.extend(row.costs.cells(&row.costs.over(&on.tokens_per_s_per_chip)));
            }
            Err(_) => cells.extend(["none".to_owned(), String::new(), cluster]),
        }
        table.add_row(cells);
    }
    align_right(&mut table, &(2..header.len()).collect::<Vec<_>>());
    // What is hidden is in the answer about one model and in JSON.
    hide_where_narrow(&mut table, &[6]);
    hide_where_narrow(&mut table, &(figures..header.len()).collect::<Vec<_>>());
    table
}

fn plans(rows: &[ProjectedRow]) -> Table {
    let mut table = new_table(&["model", "phase", "fabric", "plan", "bound by"]);
    for row in rows {
        for projection in [&row.comparison.on, &row.comparison.baseline].into_iter().flatten() {
            let resource = projection.bound_by.resource_name();
            table.add_row([
                row.request.model.name.as_str(),
                words::phase(row.request.phase),
                &projection.fabric,
                &plan_text(&projection.plan),
                resource,
            ]);
        }
    }
    table
}

fn parts(rows: &[ProjectedRow]) -> Table {
    let mut header = vec!["model", "phase"];
    header.extend(PARTS);
    let mut table = new_table(&header);
    for row in rows {
        for result in [&row.comparison.on, &row.comparison.baseline] {
            let Ok(projection) = result else { continue };
            let total = projection.step_s.get();
            let mut cells = vec![row.request.model.name.clone(), words::phase(row.request.phase).to_owned()];
            cells.extend(projection.terms_s.named().map(|(_, time)| format!("{:.1}", 100.0 * time.get() / total)));
            table.add_row(cells);
        }
    }
    align_right(&mut table, &[2, 3, 4, 5, 6, 7, 8, 9, 10]);
    table
}

fn infeasible_notes(rows: &[ProjectedRow]) -> String {
    let mut text = String::new();
    for row in rows {
        let answers = [(&row.comparison.on, &row.request.fabric.name), (&row.comparison.baseline, &row.baseline)];
        for (result, fabric) in answers {
            if let Err(reason) = result {
                let phase = words::phase(row.request.phase);
                let _ = writeln!(text, "{} {phase} on {fabric}: {reason}", row.request.model.name);
            }
        }
    }
    text
}

/// One projection in full.
pub fn single(row: &ProjectedRow, on: &Projection, flows: Option<&NetworkAnswer>) -> String {
    let mut text = format!("{}, {}\n", row.title(), types_text(on.number_type, on.cache_type));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<22}{value}");
    };
    line("tokens/s/chip", interval(on));
    line("all chips, tokens/s", four_digits(on.tokens_per_s_per_chip.median * f64::from(on.plan.chips)));
    line("step", on.step_s.to_string());
    if let Some(time) = on.tpot_s {
        line("time per output token", time.to_string());
    }
    if let Some(time) = on.ttft_s {
        line("time to first token", time.to_string());
    }
    for (name, value) in lines(&row.costs.over(&on.tokens_per_s_per_chip), &row.costs.prices) {
        line(name, value);
    }
    line("MFU", format!("{:.1} %", on.mfu * 100.0));
    line("bound by", on.bound_by.to_string());
    line("plan", plan_text(&on.plan));
    line("memory per chip", memory_text(on));
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
    text.push_str(&notes(&[on], &[&row.costs]));
    text
}

/// The same plan on the ports and links of the network.
fn flows_text(flows: &NetworkAnswer) -> String {
    let ratio = flows.tokens_per_s_per_chip / flows.closed_forms_tokens_per_s_per_chip;
    let faults = if flows.faults.is_empty() { String::new() } else { format!(" with {}", flows.faults.join(", ")) };
    format!(
        "{} tokens/s/chip{faults}, {ratio:.3} of the closed forms (dispatch x {:.2}, combine x {:.2}; busiest {})",
        four_digits(flows.tokens_per_s_per_chip),
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
        table.add_row([swing.what.clone(), four_digits(swing.at_low), four_digits(swing.at_high)]);
    }
    align_right(&mut table, &[1, 2]);
    format!("\n{}\n", table.trim_fmt())
}

/// The plans that no other beats in both latency and throughput.
pub fn front(request: &Request, found: &Search, costs: &CostQuestion) -> String {
    let latency = match request.phase {
        Phase::Decode => "ms/token",
        Phase::Prefill => "ms to first token",
        Phase::Training => "ms/step",
    };
    let phase = words::phase(request.phase);
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
    let mut header = vec![latency, "tokens/s/chip", "GB per chip"];
    header.extend(costs.heads());
    let figures = header.len();
    header.push("plan");
    let mut table = new_table(&header);
    for candidate in &found.front {
        let mut cells = vec![
            format!("{:.2}", candidate.latency_s * 1e3),
            four_digits(candidate.tokens_per_s_per_chip),
            format!("{:.0}", candidate.memory_bytes_per_chip / 1e9),
        ];
        cells.extend(costs.cells(&costs.at(candidate.tokens_per_s_per_chip)));
        cells.push(plan_text(&candidate.plan));
        table.add_row(cells);
    }
    align_right(&mut table, &(0..figures).collect::<Vec<_>>());
    let _ = writeln!(text, "{}", table.trim_fmt());
    text
}

fn terms_table(row: &ProjectedRow, on: &Projection) -> Table {
    let baseline = row.comparison.baseline.as_ref().ok();
    let mut table = new_table(&["part of the step", &row.request.fabric.name, "%", &row.baseline, "%"]);
    let add = |table: &mut Table, name: &str, time: Seconds, other: Option<Seconds>| {
        let percent = |time: Seconds, step: Seconds| format!("{:.1}", 100.0 * (time / step));
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

/// Caveats and where the inputs come from, each once, those of the power last.
fn notes(projections: &[&Projection], costs: &[&CostQuestion]) -> String {
    let caveats = distinct(projections.iter().flat_map(|projection| &projection.caveats));
    let mut sources: Vec<&CostSource> = Vec::new();
    for projection in projections {
        sources.extend(projection.provenance.iter().filter(|source| !sources.contains(source)).collect::<Vec<_>>());
    }
    for costs in costs {
        sources.extend(costs.sources().iter().filter(|source| !sources.contains(source)).collect::<Vec<_>>());
    }
    notes_of(&caveats, &sources)
}

/// Caveats and sources, the latter by provenance.
pub(super) fn notes_of(caveats: &[&ProjectionCaveat], sources: &[&CostSource]) -> String {
    let mut text = String::new();
    if !caveats.is_empty() {
        text.push_str("\nKeep in mind\n");
        for caveat in caveats {
            let _ = writeln!(text, "  - {caveat}");
        }
    }
    for provenance in [Provenance::Measured, Provenance::Published, Provenance::Derived, Provenance::Assumed] {
        let of_kind: Vec<_> = sources.iter().filter(|source| source.provenance == provenance).collect();
        if of_kind.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{}", words::capitalised(words::provenance(provenance)));
        for source in of_kind {
            let _ = writeln!(text, "  {}: {}; {}", source.what, source.value, source.source);
        }
    }
    text
}

fn interval(projection: &Projection) -> String {
    let interval = &projection.tokens_per_s_per_chip;
    format!("{} ({})", four_digits(interval.median), low_to_high(interval))
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
