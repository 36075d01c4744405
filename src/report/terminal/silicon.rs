//! Errors over measured deployments.

use comfy_table::CellAlignment::{Left, Right};
use comfy_table::Table;

use crate::projection::validation::silicon::{ErrorFigures, FitReport, Outcome, SiliconReport, UnseenGroup};
use crate::report::terminal::layout::{paragraph, plain, push_lines, title};
use crate::report::text::clean;
use crate::units::Seconds;

/// Worst rows that are shown.
const WORST: usize = 10;

const HEADER: [&str; 11] =
    ["in %", "rows", "TPOT mean", "median", "bias", "within 20", "worst", "TTFT mean", "median", "bias", "worst"];

/// Errors over all rows and by group, coverage, and the worst rows.
pub fn report(report: &SiliconReport) -> String {
    let mut out = String::new();
    title(&mut out, &format!("{} of {} rows expressed", report.expressed, report.rows));
    let mut table = errors_table();
    table.add_row(row("all", report.expressed, &report.tpot, &report.ttft));
    for group in &report.groups {
        table.add_row(row(&group.name, group.expressed, &group.tpot, &group.ttft));
    }
    push_lines(&mut out, &table);
    unexpressed(&mut out, report);
    worst(&mut out, report);
    paragraph(
        &mut out,
        "",
        "The error is modelled / measured - 1. TTFT is the time to first token, TPOT that per output token.",
    );
    out
}

/// Fitted profiles, and the errors of rows that a fit has not seen.
pub fn fit(fit: &FitReport) -> String {
    let mut out = String::new();
    title(&mut out, "fitted profiles, with the ends of the fits without one system each");
    let mut table = plain(&[Left, Right, Right, Right, Right, Right, Right]);
    table.set_header(["", "rows", "step", "op of prompts", "prompts x", "request", "first wave"]);
    for fitted in &fit.profiles {
        for (name, profile) in [(&*fitted.framework, &fitted.profile), ("least", &fitted.low), ("most", &fitted.high)] {
            table.add_row([
                clean(name),
                fitted.rows.to_string(),
                Seconds::new(profile.step_s).to_string(),
                Seconds::new(profile.prompt_op_s).to_string(),
                format!("{:.3}", profile.prompt_factor),
                Seconds::new(profile.request_s).to_string(),
                format!("{:.3}", profile.first_wave),
            ]);
        }
    }
    push_lines(&mut out, &table);
    title(&mut out, "errors under the fit on all rows");
    unseen(&mut out, std::slice::from_ref(&fit.seen));
    title(&mut out, "errors of each system under fits without it");
    unseen(&mut out, &fit.without_system);
    title(&mut out, "errors of each model under fits without it");
    unseen(&mut out, &fit.without_model);
    out
}

fn unseen(out: &mut String, groups: &[UnseenGroup]) {
    let mut table = errors_table();
    for group in groups {
        table.add_row(row(&group.left_out, group.rows, &group.tpot, &group.ttft));
    }
    push_lines(out, &table);
}

fn errors_table() -> Table {
    let mut columns = [Right; 11];
    columns[0] = Left;
    let mut table = plain(&columns);
    table.set_header(HEADER);
    table
}

fn row(name: &str, rows: usize, tpot: &ErrorFigures, ttft: &ErrorFigures) -> [String; 11] {
    let share = |value: f64| format!("{:.1}", value * 100.0);
    let signed = |value: f64| format!("{:+.1}", value * 100.0);
    [
        // Of a path, its end tells models apart.
        clean(name.rsplit('/').next().unwrap_or(name)),
        rows.to_string(),
        share(tpot.mean_abs),
        share(tpot.median_abs),
        signed(tpot.bias_median),
        share(tpot.within_20),
        share(tpot.worst_abs),
        share(ttft.mean_abs),
        share(ttft.median_abs),
        signed(ttft.bias_median),
        share(ttft.worst_abs),
    ]
}

fn unexpressed(out: &mut String, report: &SiliconReport) {
    if report.unexpressed.is_empty() {
        return;
    }
    title(out, "rows that cannot be expressed");
    let mut table = plain(&[Right, Left]);
    table.set_header(["rows", "why"]);
    for group in &report.unexpressed {
        table.add_row([group.rows.to_string(), clean(&group.reason)]);
    }
    push_lines(out, &table);
}

fn worst(out: &mut String, report: &SiliconReport) {
    let mut all: Vec<&Outcome> = report.each.iter().collect();
    all.sort_by(|a, b| b.tpot_error().abs().total_cmp(&a.tpot_error().abs()));
    title(out, "rows with the largest errors of TPOT");
    let mut table = plain(&[Right, Left, Left, Left, Left, Right, Right, Right]);
    table.set_header(["line", "model", "system", "framework", "mode", "measured", "modelled", "error"]);
    for row in all.into_iter().take(WORST) {
        table.add_row([
            row.line.to_string(),
            clean(row.model.rsplit('/').next().unwrap_or(&row.model)),
            clean(&row.system),
            clean(&row.framework),
            row.mode.to_owned(),
            Seconds::new(row.tpot_s).to_string(),
            Seconds::new(row.modelled.tpot_s).to_string(),
            format!("{:+.1} %", row.tpot_error() * 100.0),
        ]);
    }
    push_lines(out, &table);
}
