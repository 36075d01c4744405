//! Claims in words, for a terminal, Markdown and the page.

use crate::projection::Interval;
use crate::projection::claims::{Judged, JudgedFigure, Nearest, Verdict};
use crate::report::numbers::grouped_digits;
use crate::specs::claim::{ClaimQuantity, Figure};
use crate::units::with_prefix;

/// The most readings in words that a table shows; JSON has all.
pub(super) const MOST_WORDS: usize = 4;
/// Said where nothing can be compared.
pub(super) const NO_VALUE: &str =
    "not reproduced: no reading has a value that does not come from the announcement itself";

/// A figure of a claim, or all figures of one together, with the verdict.
pub(super) struct ClaimRow {
    /// As announced.
    pub(super) announced: String,
    /// What the nearest reading gives, with its band and how far off it is; empty for several figures together.
    pub(super) model: String,
    /// `consistent`, `only if` or `not reproduced`.
    pub(super) kind: &'static str,
    /// How many readings fit.
    pub(super) count: String,
    /// Those that fit, or the nearest.
    pub(super) words: String,
}

/// All figures of some claims.
pub(super) fn rows(judged: &[Judged]) -> Vec<ClaimRow> {
    let mut list = Vec::new();
    for claim in judged {
        list.extend(claim.figures.iter().map(figure_row));
        if claim.figures.len() > 1 {
            let (kind, count) = kind_and_count(&claim.verdict);
            let said: Vec<&str> = claim.figures.iter().map(|figure| figure.figure.said.as_str()).collect();
            let announced = format!("both: {}", said.join(", "));
            list.push(ClaimRow {
                announced,
                model: String::new(),
                kind,
                count,
                words: fitting_words(&claim.verdict, None),
            });
        }
    }
    list
}

fn figure_row(figure: &JudgedFigure) -> ClaimRow {
    let [value, band, off] = nearest_cells(figure);
    let band = if band.is_empty() { String::new() } else { format!(" ({band})") };
    let off = if off == "-" { String::new() } else { format!(", {off}") };
    let (kind, count) = kind_and_count(&figure.verdict);
    let words = fitting_words(&figure.verdict, figure.nearest.as_ref());
    ClaimRow { announced: figure.figure.said.clone(), model: format!("{value}{band}{off}"), kind, count, words }
}

/// Value, band and distance of the nearest reading.
pub(super) fn nearest_cells(figure: &JudgedFigure) -> [String; 3] {
    let Some((value, nearest)) =
        figure.nearest.as_ref().and_then(|nearest| Some((value_of(figure, nearest)?, nearest)))
    else {
        return ["none".to_owned(), String::new(), "-".to_owned()];
    };
    let show = |value: f64| quantity(&figure.figure, value);
    let band =
        if value.low < value.high { format!("{}..{}", show(value.low), show(value.high)) } else { String::new() };
    let off = if nearest.off_by == 1.0 { "-".to_owned() } else { times(nearest.off_by) };
    [show(value.median), band, off]
}

fn times(factor: f64) -> String {
    if factor < 0.01 { format!("x {factor:.1e}") } else { format!("x {factor:.2}") }
}

fn value_of(figure: &JudgedFigure, nearest: &Nearest) -> Option<Interval> {
    // A claim has at most one figure of a quantity; its values come in the order of the figures.
    let index = usize::from(figure.figure.of == ClaimQuantity::Speedup && nearest.values.len() > 1);
    nearest.values.get(index).copied()
}

/// A value in the unit of its figure.
pub(super) fn quantity(figure: &Figure, value: f64) -> String {
    match figure.of {
        ClaimQuantity::Speedup | ClaimQuantity::BandwidthRatio => format!("{value:.2}"),
        ClaimQuantity::TokensPerSPerChip => grouped_digits(value),
        ClaimQuantity::Chips | ClaimQuantity::ChipsAtScale => format!("{value:.0}"),
        ClaimQuantity::PeakFlopPerS
        | ClaimQuantity::MemoryBytes
        | ClaimQuantity::LatencyS
        | ClaimQuantity::BaselineLatencyS => with_prefix(value, &figure.unit),
    }
}

/// The verdict in a word, and how many readings fit.
pub(super) fn kind_and_count(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Consistent { readings } => ("consistent", format!("{readings} of {readings}")),
        Verdict::OnlyIf { fitting, readings, .. } => ("only if", format!("{fitting} of {readings}")),
        Verdict::NotReproduced { readings, .. } => ("not reproduced", format!("0 of {readings}")),
    }
}

fn fitting_words(verdict: &Verdict, nearest: Option<&Nearest>) -> String {
    match verdict {
        Verdict::Consistent { .. } => nearest.map_or_else(|| "all".to_owned(), |nearest| nearest.how.clone()),
        Verdict::OnlyIf { any_of, .. } => {
            let more = any_of.len().saturating_sub(MOST_WORDS);
            let shown = any_of.iter().take(MOST_WORDS).cloned().collect::<Vec<_>>().join("; ");
            if more > 0 { format!("{shown}; and {more} more") } else { shown }
        }
        Verdict::NotReproduced { nearest: Some(nearest), .. } => format!("nearest: {}", nearest.reading),
        Verdict::NotReproduced { nearest: None, .. } => NO_VALUE.to_owned(),
    }
}
