//! What is shown: one row a case.

use comfy_table::{CellAlignment, Table, presets};

use crate::child::Ended;
use crate::duel::Side;
use crate::lap::Clock;

/// A Markdown table with what it means below.
pub fn table(ended: &[Ended]) -> String {
    let clock = ended.iter().find_map(|ended| ended.progress.clock).unwrap_or(Clock::Wall);
    let (rate, time) = match clock {
        Clock::Cpu => ("GFLOP per CPU-second", "CPU time"),
        Clock::Device => ("GFLOP/s", "device time"),
        Clock::Wall => ("GFLOP/s", "wall time"),
    };
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "case".to_owned(),
        "our variant".to_owned(),
        format!("{rate}: ours"),
        "burn".to_owned(),
        format!("{time}: ours"),
        "burn".to_owned(),
        "burn / ours (least to most)".to_owned(),
        "wall: ours".to_owned(),
        "burn".to_owned(),
        "device: ours".to_owned(),
        "burn".to_owned(),
        "of the FMA roof".to_owned(),
        "first use: ours".to_owned(),
        "burn".to_owned(),
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for ended in ended {
        table.add_row(row(ended));
    }
    let mut text = table.to_string();
    text.push('\n');
    for ended in ended {
        if let Some(problem) = &ended.problem {
            text += &format!("{}: {problem}\n", ended.case.name);
        }
    }
    text
}

fn row(ended: &Ended) -> Vec<String> {
    let progress = &ended.progress;
    let (ours, theirs) = (progress.ours.as_ref(), progress.theirs.as_ref());
    let flop = ended.case.op.flop();
    let show =
        |side: Option<&Side>, what: &dyn Fn(&Side) -> Option<String>| side.and_then(what).unwrap_or("-".to_owned());
    let rate = |side: &Side| Some(format!("{:.2}", flop? / side.median_s / 1e9));
    let seconds = |side: &Side| Some(milliseconds(side.median_s));
    let wall = |side: &Side| Some(milliseconds(side.wall_s));
    let device = |side: &Side| side.device_s.map(milliseconds);
    let first = |side: &Side| Some(format!("{:.2} s", side.first_call.wall_s));
    let roof = |side: &Side| Some(format!("{:.0} %", 100.0 * flop? / side.median_s / progress.fma_flop_per_s?));
    let ratio = progress.ratio.map_or("-".to_owned(), |r| format!("{:.2} ({:.2} to {:.2})", r.median, r.least, r.most));
    let variant = |side: &Side| side.variant.clone();
    vec![
        ended.case.name.to_owned(),
        show(ours, &variant),
        show(ours, &rate),
        show(theirs, &rate),
        show(ours, &seconds),
        show(theirs, &seconds),
        ratio,
        show(ours, &wall),
        show(theirs, &wall),
        show(ours, &device),
        show(theirs, &device),
        show(ours, &roof),
        show(ours, &first),
        show(theirs, &first),
    ]
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}
