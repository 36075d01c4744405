//! All that a record says, as tables for a terminal.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ColumnConstraint};

use crate::record::{CacheState, Case, Record, Second, Timing, Tuning};
use crate::report::cases::{best, groups};
use crate::report::ceilings::{backend, ceiling_note, ceiling_value, tool};
use crate::report::numbers::{grouped_digits, percent, relative_interval};
use crate::report::terminal::layout::{BOLD, hide_where_narrow, paragraph, plain, push_grouped, push_lines, title};
use crate::report::text::{clean, short};
use crate::report::words;
use crate::statistics::upper_median;
use crate::units::Seconds;

/// All of a record that is worth reading at once. Styled; pass it through [`print`](super::print).
pub fn table(record: &Record) -> String {
    let mut out = heading(record);
    ceilings(&mut out, record);
    measurements(&mut out, record);
    trials(&mut out, record);
    layers(&mut out, record);
    caveats(&mut out, record);
    section(&mut out, "Left out", record.left_out.iter().map(|case| (&*case.id, &*case.reason)));
    section(&mut out, "Rejected", record.rejected.iter().map(|case| (&*case.id, &*case.reason)));
    out
}

fn heading(record: &Record) -> String {
    let device = &record.device;
    let mut out = format!(
        "{BOLD}{}{BOLD:#} ({}, {}, {} {})\n",
        short(&device.name, 50),
        words::device_type(device.device_type),
        backend(record),
        clean(&device.driver),
        short(&device.driver_info, 40)
    );
    let state = if record.complete { "" } else { ", NOT COMPLETE" };
    let _ = writeln!(
        out,
        "preset {}, {}, seed {}, {}, {}{state}",
        words::preset(record.protocol.preset),
        words::clock(record.protocol.clock),
        record.protocol.seed,
        clean(&record.created_at),
        tool(record)
    );
    if let Some(time) = &record.time_spent {
        let share = |part: Seconds| percent(part / time.wall_s.max(Seconds::new(1e-9)));
        paragraph(
            &mut out,
            "",
            &format!(
                "took {}: {} in kernels, {} verifying, {} compiling and uploading; {} of the time but verification is not \
                 in kernels",
                time.wall_s,
                share(time.kernels_s),
                share(time.verification_s),
                share(time.preparation_s),
                percent(time.overhead())
            ),
        );
    }
    out
}

fn ceilings(out: &mut String, record: &Record) {
    if record.ceilings.is_empty() {
        return;
    }
    title(out, "Ceilings, measured in the same run");
    let (left, right) = (CellAlignment::Left, CellAlignment::Right);
    let mut table = plain(&[left, right, right, left]);
    for (kind, ceiling) in &record.ceilings {
        let interval = format!("±{}", percent(relative_or_zero(ceiling.value, &ceiling.timing)));
        let note = ceiling_note(ceiling).unwrap_or_default();
        table.add_row([words::ceiling(*kind).to_owned(), ceiling_value(*kind, ceiling.value), interval, note]);
    }
    push_lines(out, &table);
}

/// A launch too short for the clock has a median of zero, and no relative interval.
fn relative_or_zero(value: f64, timing: &Timing) -> f64 {
    if value > 0.0 && timing.median_s.is_positive() { relative_interval(timing) } else { 0.0 }
}

fn measurements(out: &mut String, record: &Record) {
    use CellAlignment::{Left, Right};
    if record.cases.is_empty() {
        return;
    }
    title(out, "Kernels (* marks the fastest of several variants)");
    let best = best(record);
    let mut table = plain(&[Left, Left, Left, Right, Right, Right, Right, Right, Right, Left]);
    // On a software adapter other programs disturb the time, and the CPU time of this process is the steady figure.
    let per_cpu = record.is_software();
    let cpu = if per_cpu { "per CPU s" } else { "" };
    table.set_header(["  kernel", "variant", "type", "median", "±", "GFLOP/s", cpu, "GB/s", "roofline", "bound by"]);
    if let Some(column) = table.column_mut(6).filter(|_| !per_cpu) {
        column.set_constraint(ColumnConstraint::Hidden);
    }
    let groups = groups(record.cases.iter().collect());
    for case in groups.iter().flat_map(|(_, cases)| cases) {
        table.add_row(row(case, best.winners.contains(&*case.id), per_cpu));
    }
    // The record and a page have both.
    hide_where_narrow(&mut table, &[4, 6]);
    let groups: Vec<(&str, usize)> = groups.iter().map(|(heading, cases)| (&**heading, cases.len())).collect();
    push_grouped(out, table, &groups);
}

fn row(case: &Case, wins: bool, per_cpu: bool) -> [String; 10] {
    let mark = if wins { "* " } else { "  " };
    let caveat = if case.caveats.is_empty() { "" } else { " !" };
    [
        format!("{mark}{}{}", short(&case.kernel, 16), if case.cache == CacheState::Warm { " warm" } else { "" }),
        short(&case.variant, 14),
        case.element.to_string(),
        case.timing.median_s.to_string(),
        format!("±{}", percent(relative_interval(&case.timing))),
        grouped_digits(case.achieved.flop_per_s.get() / 1e9),
        case.flop_per_cpu_s().filter(|_| per_cpu).map_or(String::new(), |rate| grouped_digits(rate.get() / 1e9)),
        grouped_digits(case.achieved.bytes_per_s.get() / 1e9),
        percent(case.achieved.fraction_of_roofline),
        format!("{}{caveat}", words::bound(case.achieved.bound_by)),
    ]
}

/// Rivals of a chosen variant that are named; the others are counted.
const RIVALS: usize = 3;

/// Each choice by a trial with its rivals, and the cost of the trials.
fn trials(out: &mut String, record: &Record) {
    let tuned: Vec<(&Case, &Tuning)> =
        record.cases.iter().filter_map(|case| Some((case, case.tuning.as_ref()?))).collect();
    if tuned.is_empty() {
        return;
    }
    title(out, "Variants, chosen by a brief trial of all");
    for (case, tuning) in tuned.iter().filter(|(case, _)| case.cache == CacheState::Cold) {
        let mut timed: Vec<_> = tuning.candidates.iter().filter_map(|c| Some((c.time_s?, &*c.variant))).collect();
        timed.sort_by(|a, b| a.0.get().total_cmp(&b.0.get()));
        let rest = tuning.candidates.len() - timed.len().min(RIVALS + 1);
        let mut variants: Vec<String> =
            timed.iter().take(RIVALS + 1).map(|(time, variant)| format!("{} {time}", short(variant, 24))).collect();
        variants.extend((rest > 0).then(|| format!("{rest} more")));
        let about = format!("{} {} {} {}", short(&case.kernel, 24), case.element, short(&case.model, 24), case.phase);
        paragraph(out, "  ", &format!("{about}: {}", variants.join(", ")));
    }
    let fresh = tuned.iter().filter(|(_, tuning)| !tuning.cached);
    let cost: Seconds = fresh.clone().map(|(_, tuning)| tuning.cost_s).sum();
    let mut regrets: Vec<f64> = tuned.iter().filter_map(|(_, tuning)| tuning.regret).collect();
    regrets.sort_unstable_by(f64::total_cmp);
    let mut summary = format!("{} trials took {cost}; {} came from the cache", fresh.count(), {
        tuned.iter().filter(|(_, tuning)| tuning.cached).count()
    });
    if let (Some(median), Some(most)) = (upper_median(&regrets), regrets.last()) {
        let _ = write!(
            summary,
            ". Without a trial a kernel would take {} longer at the median and {} at most",
            percent(median),
            percent(*most)
        );
    }
    paragraph(out, "  ", &summary);
    duels(out, &tuned);
}

/// How the two best of each trial compared when they ran in turn, at the sizes of the case.
fn duels(out: &mut String, tuned: &[(&Case, &Tuning)]) {
    let fought = tuned.iter().filter_map(|(_, tuning)| Some((*tuning, tuning.second.as_ref()?)));
    let first = |tuning: &Tuning| {
        let timed = tuning.candidates.iter().filter_map(|c| Some((c.time_s?, c.variant.clone())));
        timed.min_by(|a, b| a.0.get().total_cmp(&b.0.get())).map(|(_, variant)| variant)
    };
    let lost = |(tuning, second): &(&Tuning, &Second)| first(tuning).as_deref() == Some(&*second.variant);
    let (fought, lost): (Vec<_>, Vec<_>) = (fought.clone().collect(), fought.filter(lost).collect());
    if fought.is_empty() {
        return;
    }
    let most = lost.iter().map(|(_, second)| second.time_ratio - 1.0).fold(0.0, f64::max);
    let mut text = format!("In turn at full size, the best of the trial won {} of {}", fought.len() - lost.len(), {
        fought.len()
    });
    if !lost.is_empty() {
        let _ = write!(text, "; where it lost, by {} at most, the other was measured", percent(most));
    }
    paragraph(out, "  ", &format!("{text}. The whole outputs of both agree in every case."));
}

/// Whole layers, each compared with the sum of its parts.
fn layers(out: &mut String, record: &Record) {
    let layers: Vec<(&Case, Seconds)> =
        record.cases.iter().filter_map(|case| Some((case, case.parts_sum_s()?))).collect();
    if layers.is_empty() {
        return;
    }
    title(out, "Whole layers, and their parts timed alone in the same run");
    for (case, sum) in layers {
        let whole = case.timing.median_s;
        let about = format!("{} {} {} {}", short(&case.kernel, 24), case.element, short(&case.model, 24), case.phase);
        let parts: Vec<String> =
            case.parts.iter().map(|part| format!("{} {}", short(&part.kernel, 24), part.median_s)).collect();
        let share = percent(whole / sum);
        paragraph(out, "  ", &format!("{about}: {whole}, {share} of its parts' {sum} ({})", parts.join(", ")));
    }
}

fn caveats(out: &mut String, record: &Record) {
    let of_cases = record.cases.iter().filter(|case| !case.caveats.is_empty());
    if record.caveats.is_empty() && of_cases.clone().next().is_none() {
        return;
    }
    title(out, "Caveats");
    for caveat in &record.caveats {
        paragraph(out, "  ", &caveat.to_string());
    }
    for case in of_cases {
        let caveats: Vec<String> = case.caveats.iter().map(ToString::to_string).collect();
        paragraph(out, "! ", &format!("{}: {}", clean(&case.id), caveats.join("; ")));
    }
}

fn section<'a>(out: &mut String, name: &str, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut rows = rows.peekable();
    if rows.peek().is_some() {
        title(out, name);
    }
    for (id, reason) in rows {
        paragraph(out, "  ", &format!("{}: {}", clean(id), clean(reason)));
    }
}
