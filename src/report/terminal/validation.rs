//! Published and modelled figures, row by row.

use comfy_table::CellAlignment::{Left, Right};

use crate::projection::validation::training_fit::TrainingFit;
use crate::projection::validation::{ErrorSummary, PublishedRow, summary};
use crate::report::terminal::layout::{paragraph, plain, push_lines, title};
use crate::report::text::{clean, short};
use crate::specs::Checked;
use crate::units::{BytesPerSecond, FlopPerSecond, Seconds};

/// Rows by group, each with its error; then the errors of all, and of the rows that were not fitted on.
pub fn published(rows: &[PublishedRow]) -> String {
    let mut out = String::new();
    let mut groups: Vec<&str> = Vec::new();
    for row in rows {
        if !groups.contains(&&*row.group) {
            groups.push(&row.group);
        }
    }
    for group in groups {
        let of_group: Vec<&PublishedRow> = rows.iter().filter(|row| row.group == group).collect();
        title(&mut out, &clean(group));
        table(&mut out, &of_group);
        let read = |row: &&&PublishedRow| row.checked == Checked::Yes && row.unit == "s";
        line(&mut out, "latencies read in their source", summary(of_group.iter().filter(read).copied()));
        let unseen = of_group.iter().filter(read).filter(|row| !row.fitted).copied();
        line(&mut out, "of these, not fitted on", summary(unseen));
        line(&mut out, "all rows", summary(of_group.iter().copied()));
        if of_group.iter().any(|row| row.fitted && row.unit != "s") {
            let unseen = of_group.iter().filter(|row| !row.fitted).copied();
            line(&mut out, "all rows not fitted on", summary(unseen));
        }
    }
    paragraph(&mut out, "* ", "fitted on. ~ second hand or from memory. Sources: supernode validate --json");
    out
}

fn table(out: &mut String, rows: &[&PublishedRow]) {
    let mut table = plain(&[Left, Left, Right, Right, Right]);
    table.set_header(["", "quantity", "published", "modelled", "error"]);
    for row in rows {
        let mark = match (row.fitted, row.checked) {
            (true, _) => "*",
            (false, Checked::Yes | Checked::Derived) => "",
            (false, Checked::Secondary | Checked::Memory) => "~",
        };
        let note = if row.note.is_empty() { String::new() } else { format!(" ({})", short(&row.note, 60)) };
        table.add_row([
            mark.to_owned(),
            format!("{}{note}", clean(&row.quantity)),
            figure(row.published, &row.unit),
            row.modelled.map_or_else(|| "none".to_owned(), |modelled| figure(modelled, &row.unit)),
            row.relative_error().map_or_else(String::new, |error| format!("{:+.1} %", error * 100.0)),
        ]);
    }
    push_lines(out, &table);
}

fn line(out: &mut String, what: &str, summary: ErrorSummary) {
    if summary.rows > 0 {
        let text = format!(
            "{what}: {} of {} rows answered, mean absolute error {:.1} %, worst {:.1} %",
            summary.answered,
            summary.rows,
            summary.mean_absolute * 100.0,
            summary.worst * 100.0
        );
        paragraph(out, "  ", &text);
    }
}

fn figure(value: f64, unit: &str) -> String {
    match unit {
        "s" => Seconds::new(value).to_string(),
        "byte/s" => BytesPerSecond::new(value).to_string(),
        "FLOP/s" => FlopPerSecond::new(value).to_string(),
        // Four digits: none of these is known better.
        unit if value.abs() >= 1000.0 => format!("{value:.0} {}", clean(unit)),
        unit => format!("{} {}", (value * 1e4).round() / 1e4, clean(unit)),
    }
}

/// Figures of frameworks that train, and the errors of rows that a fit has not seen.
pub fn training_fit(fit: &TrainingFit) -> String {
    let mut out = String::new();
    title(&mut out, "figures of frameworks that train, with the ends of the fits without one model each");
    let mut table = plain(&[Left, Left, Right, Right, Right]);
    table.set_header(["figure", "framework", "fitted", "least", "most"]);
    for figure in &fit.figures {
        let of = figure.framework.unwrap_or("all");
        let show = |value: f64| {
            if figure.key.ends_with("_s") { Seconds::new(value).to_string() } else { format!("{value:.4}") }
        };
        table.add_row([figure.key.to_owned(), of.to_owned(), show(figure.value), show(figure.low), show(figure.high)]);
    }
    push_lines(&mut out, &table);
    line(&mut out, "fitted on", fit.seen);
    line(&mut out, "unseen, of the same tables", fit.unseen);
    for model in &fit.without_model {
        line(&mut out, &format!("{} under a fit without it", clean(&model.model)), model.errors);
    }
    out
}

/// Parameters with the value of the file and the fitted one, and the residuals.
pub fn fit(fabric: &str, parameters: &[(&str, f64, f64)], residuals: &[PublishedRow]) -> String {
    let mut out = String::new();
    title(&mut out, &format!("{}: {} free parameters", clean(fabric), parameters.len()));
    let mut table = plain(&[Left, Right, Right]);
    table.set_header(["parameter", "in the file", "fitted"]);
    for (key, in_file, fitted) in parameters {
        let show =
            |value: f64| if key.ends_with("_s") { Seconds::new(value).to_string() } else { format!("{value:.4}") };
        table.add_row([clean(key), show(*in_file), show(*fitted)]);
    }
    push_lines(&mut out, &table);
    self::table(&mut out, &residuals.iter().collect::<Vec<_>>());
    line(&mut out, "fitted on", summary(residuals.iter().filter(|row| row.fitted)));
    line(&mut out, "unseen", summary(residuals.iter().filter(|row| !row.fitted)));
    out
}
