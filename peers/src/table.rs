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
        format!("{rate}: ours / burn"),
        format!("{time}: ours / burn, ms"),
        "burn over ours (least to most)".to_owned(),
        "wall, ms".to_owned(),
        "device, ms".to_owned(),
        "our share of the FMA roof".to_owned(),
        "first use, s".to_owned(),
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
    let flop = ended.case.op.flop();
    let both = |what: &dyn Fn(&Side) -> Option<String>| {
        let show = |side: Option<&Side>| side.and_then(what).unwrap_or("-".to_owned());
        format!("{} / {}", show(progress.ours.as_ref()), show(progress.theirs.as_ref()))
    };
    let ours = |what: &dyn Fn(&Side) -> Option<String>| progress.ours.as_ref().and_then(what).unwrap_or("-".to_owned());
    let milliseconds = |seconds: f64| format!("{:.3}", seconds * 1e3);
    vec![
        ended.case.name.to_owned(),
        ours(&|side| side.variant.clone()),
        if flop.is_some() { both(&|side| Some(format!("{:.2}", flop? / side.median_s / 1e9))) } else { "-".to_owned() },
        both(&|side| Some(milliseconds(side.median_s))),
        progress.ratio.map_or("-".to_owned(), |r| format!("{:.2} ({:.2} to {:.2})", r.median, r.least, r.most)),
        both(&|side| Some(milliseconds(side.wall_s))),
        both(&|side| side.device_s.map(milliseconds)),
        ours(&|side| Some(format!("{:.0} %", 100.0 * flop? / side.median_s / progress.fma_flop_per_s?))),
        both(&|side| Some(format!("{:.2}", side.first_call.wall_s))),
    ]
}
