//! What was announced against what the model gives, as text for a terminal and as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::Table;

use crate::projection::claims::{ClaimReading, Judged, Verdict};
use crate::report::claims::{ClaimRow, MOST_WORDS, NO_VALUE, kind_and_count, nearest_cells, quantity, rows};
use crate::report::terminal::layout::{align_right, new_table};
use crate::report::text::distinct;

/// Which readings of a claim are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readings {
    /// Those that fit, or the nearest.
    Fitting,
    /// Every one, with its value.
    All,
}

/// Every claim with its verdict. `device` is the measured device that replaces the chip, if any.
pub fn text(judged: &[Judged], device: Option<&str>, readings: Readings) -> String {
    let mut text = match device {
        Some(device) => format!(
            "The announcement against the model, with {device} in place of the chip where the projection is asked\n\n"
        ),
        None => "The announcement against the model\n\n".to_owned(),
    };
    let _ = writeln!(text, "{}", table(judged).trim_fmt());
    for claim in judged {
        let _ = writeln!(text, "\n{} ({})", claim.title, claim.name);
        for figure in &claim.figures {
            let _ = writeln!(text, "  {}: {}", figure.figure.said, verdict_words(&figure.verdict, "\n      "));
            if let Some(nearest) = &figure.nearest {
                let _ = writeln!(text, "    nearest: {}: {}", nearest.reading, nearest.how);
            }
        }
        if claim.figures.len() > 1 {
            let _ = writeln!(text, "  together: {}", verdict_words(&claim.verdict, "\n      "));
        }
        if readings == Readings::All {
            let _ = writeln!(text, "{}", all_readings(claim).trim_fmt());
        }
    }
    text.push_str("\nKeep in mind\n");
    for caveat in distinct(judged.iter().flat_map(|claim| &claim.caveats)) {
        let _ = writeln!(text, "  - {caveat}");
    }
    text
}

fn table(judged: &[Judged]) -> Table {
    let mut table = new_table(&["announced", "model, nearest reading", "low..high", "off by", "verdict", "readings"]);
    for claim in judged {
        for figure in &claim.figures {
            let [value, band, off] = nearest_cells(figure);
            let (kind, count) = kind_and_count(&figure.verdict);
            table.add_row([figure.figure.said.clone(), value, band, off, kind.to_owned(), count]);
        }
        if claim.figures.len() > 1 {
            let (kind, count) = kind_and_count(&claim.verdict);
            let blank = String::new;
            table.add_row(["  together".to_owned(), blank(), blank(), blank(), kind.to_owned(), count]);
        }
    }
    align_right(&mut table, &[1, 2, 3, 5]);
    table
}

/// The verdict, and the readings that fit on lines of their own.
fn verdict_words(verdict: &Verdict, between: &str) -> String {
    match verdict {
        Verdict::Consistent { readings: 1 } => "consistent, in the one reading that there is".to_owned(),
        Verdict::Consistent { readings } => format!("consistent, in all {readings} readings"),
        Verdict::OnlyIf { any_of, fitting, readings } => {
            let shown = any_of.iter().take(MOST_WORDS).map(|words| format!("{between}{words}")).collect::<String>();
            let more = any_of.len().saturating_sub(MOST_WORDS);
            let more = if more > 0 { format!("{between}and {more} more") } else { String::new() };
            format!("only if ({fitting} of {readings} readings){shown}{more}")
        }
        Verdict::NotReproduced { nearest: None, .. } => NO_VALUE.to_owned(),
        Verdict::NotReproduced { nearest: Some(nearest), readings } => {
            let factor = nearest.off_by;
            let side = if factor == 1.0 {
                "whose central value lies in the announced range, although the reading does not fit".to_owned()
            } else if factor < 1.0 {
                format!("{:.2} times too little", 1.0 / factor)
            } else {
                format!("{factor:.2} times too much")
            };
            format!("not reproduced in {readings} readings; nearest, {side}: {}", nearest.reading)
        }
    }
}

fn all_readings(claim: &Judged) -> Table {
    let mut table = new_table(&["", "reading", "model", "low..high", "how"]);
    for reading in &claim.readings {
        let mark = if reading.fits { "fits" } else { "" };
        let point = point_text(claim, reading);
        let shown = claim.figures.iter().zip(&reading.values);
        let (mut values, mut bands) = (Vec::new(), Vec::new());
        for (figure, value) in shown {
            let show = |value: f64| quantity(&figure.figure, value);
            values.push(show(value.value.median));
            bands.push(format!("{}..{}", show(value.value.low), show(value.value.high)));
        }
        let how = reading.impossible.clone().unwrap_or_else(|| reading.how.clone());
        table.add_row([mark.to_owned(), point, values.join(", "), bands.join(", "), how]);
    }
    table
}

/// The keys that differ between readings.
fn point_text(claim: &Judged, reading: &ClaimReading) -> String {
    let mut seen: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for (key, value) in claim.readings.iter().flat_map(|reading| &reading.point.0) {
        let text = value.to_string();
        let entry = seen.entry(key).or_insert_with(|| Some(text.clone()));
        if entry.as_ref() != Some(&text) {
            *entry = None;
        }
    }
    let varies = |key: &str| seen.get(key).is_some_and(Option::is_none) || claim.readings.len() == 1;
    let words = reading.point.0.iter().filter(|(key, _)| varies(key));
    words.map(|(key, value)| format!("{}={value}", key.rsplit('.').next().unwrap_or(key))).collect::<Vec<_>>().join(" ")
}

/// The same as a Markdown table.
pub fn markdown(judged: &[Judged], device: Option<&str>) -> String {
    let mut text = String::from("| announced | model, nearest reading | verdict | holds if |\n|---|--:|---|---|\n");
    for row in rows(judged) {
        let ClaimRow { announced, model, kind, count, words } = row;
        let between = if model.is_empty() { "" } else { " " };
        let _ = writeln!(text, "| {announced} |{between}{model} | {kind} ({count}) | {words} |");
    }
    if let Some(device) = device {
        let _ = writeln!(text, "\nWith {device} in place of the chip where the projection is asked.");
    }
    text
}
