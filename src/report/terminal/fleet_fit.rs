//! A fabric made of a fleet's network, as tables: its tiers, and what collectives cost on them.

use std::fmt::Write as _;

use comfy_table::CellAlignment::{Left, Right};

use crate::projection::calibration::tiers::{FoundTier, PairEstimate};
use crate::projection::calibration::{FleetFit, MeasuredFit};
use crate::report::numbers::percent;
use crate::report::terminal::fabric::measured_fit;
use crate::report::terminal::layout::{paragraph, plain, push_lines, title};
use crate::report::text::clean;
use crate::units::{BytesPerSecond, Seconds};

/// The most ranks of a group that are named.
const MOST_RANKS: usize = 8;

/// The fit in full.
pub fn text(fit: &FleetFit) -> String {
    let mut out = String::new();
    title(&mut out, &format!("{}: {}", clean(&fit.fabric.name), clean(&fit.fabric.title)));
    let mut table = plain(&[Left, Right, Right, Left, Right, Left, Right, Left, Right]);
    table.set_header(["tier", "ranks", "groups", "first", "latency", "pairs'", "bandwidth", "pairs'", "next tier"]);
    let seconds = |value: f64| Seconds::new(value).to_string();
    let rate = |value: f64| BytesPerSecond::new(value).to_string();
    for (tier, found) in fit.fabric.tiers.iter().zip(&fit.found.tiers) {
        table.add_row([
            clean(&tier.name),
            found.ranks().to_string(),
            found.groups.len().to_string(),
            first_group(found),
            seconds(found.latency_s.value),
            band(&found.latency_s, seconds),
            rate(found.bandwidth_bytes_per_s.value),
            band(&found.bandwidth_bytes_per_s, rate),
            found.gap.map_or(String::new(), |gap| format!("x {gap:.1}")),
        ]);
    }
    push_lines(&mut out, &table);
    let criterion = &fit.found.criterion;
    let words = format!(
        "two tiers are parted by a factor of {} in (time of the smallest message x time of the largest), or by 4 times the \
         uncertainty of {} where that is more; bands hold 90 % of the pairs",
        criterion.least_factor,
        percent(criterion.noise)
    );
    paragraph(&mut out, "  ", &words);
    if !fit.found.apart.is_empty() {
        let ranks = fit.found.apart.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        paragraph(&mut out, "  ", &format!("far from all others, and so in no node of their own: ranks {ranks}"));
    }
    if fit.passed_over > 0 {
        let words = format!("{} collectives passed over: their ranks do not fill groups in order", fit.passed_over);
        paragraph(&mut out, "  ", &words);
    }
    if !fit.rows.is_empty() {
        let (fabric, values, rows) = (fit.fabric.clone(), fit.values.clone(), fit.rows.clone());
        let _ = write!(out, "\n{}", measured_fit(&fit.fabric.name, &MeasuredFit { fabric, values, rows }));
    }
    out
}

fn first_group(tier: &FoundTier) -> String {
    let Some(group) = tier.groups.first() else { return String::new() };
    let named = group.iter().take(MOST_RANKS).map(usize::to_string).collect::<Vec<_>>().join(" ");
    if group.len() > MOST_RANKS { format!("{named} ...") } else { named }
}

fn band(estimate: &PairEstimate, show: impl Fn(f64) -> String) -> String {
    format!("{} to {}", show(estimate.band[0]), show(estimate.band[1]))
}
