//! Figures as text: percentages, digits, throughput, intervals.

use crate::projection::{ExpertExchange, Interval, ParallelPlan};
use crate::record::Timing;
use crate::specs::NumberType;
use crate::units::Bytes;

/// Half the width of the median's 95 % interval, the wider side, over the median.
pub(super) fn relative_interval(timing: &Timing) -> f64 {
    let [low, high] = timing.ci95_s;
    (high - timing.median_s).max(timing.median_s - low) / timing.median_s
}

/// A fraction as a percentage with two or three digits, never clamped.
pub(super) fn percent(fraction: f64) -> String {
    let value = fraction * 100.0;
    if value.abs() < 9.95 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// Half the interval as a percentage with its sign, e.g. `±1.2 %`; `-` for a launch too short for the clock.
pub(super) fn half_interval(timing: &Timing) -> String {
    if timing.median_s.is_positive() { format!("±{}", percent(relative_interval(timing))) } else { "-".to_owned() }
}

/// Whole mebibytes.
pub(super) fn mebibytes(bytes: Bytes) -> String {
    format!("{:.0}", bytes.get() / f64::from(1 << 20))
}

/// Three digits, or all before the point in groups of three: `1,923`.
pub(super) fn grouped_digits(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    match value.abs() {
        v if v >= 1e15 => return format!("{value:.2e}"),
        v if v >= 99.95 => {}
        v if v >= 9.995 => return format!("{value:.1}"),
        _ => return format!("{value:.2}"),
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        let left = digits.len() - i;
        if i > 0 && left.is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Four digits: `1943`, `12.34`, `0.071`.
pub(super) fn four_digits(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}").chars().take(5).collect() }
}

/// The ends of an interval, `1540..2310`.
pub(super) fn low_to_high(interval: &Interval) -> String {
    format!("{}..{}", four_digits(interval.low), four_digits(interval.high))
}

/// The same with groups of three digits and in words, `1,540 to 2,310`.
pub(super) fn low_to_high_grouped(interval: &Interval) -> String {
    format!("{} to {}", grouped_digits(interval.low), grouped_digits(interval.high))
}

/// The degrees of a plan in one line, `tp1 pp1 ep320 dp384 m2 b96`; rare ones where they are not 1.
pub(super) fn plan_text(plan: &ParallelPlan) -> String {
    let ParallelPlan { tp, pp, ep, moe_tp, moe_exchange, dp, cp, dcp, microbatches, .. } = plan;
    let rare = [("moe-tp", moe_tp), ("cp", cp), ("dcp", dcp)];
    let gathered = if *moe_exchange == ExpertExchange::AllGather { " all-gather" } else { "" };
    let rare: String =
        rare.into_iter().filter(|(_, degree)| **degree > 1).map(|(name, degree)| format!(" {name}{degree}")).collect();
    format!("tp{tp} pp{pp} ep{ep} dp{dp}{rare}{gathered} m{microbatches} b{}", batch_text(plan))
}

/// The types of weights and, where one was asked for, of the KV cache.
pub(super) fn types_text(number_type: NumberType, cache_type: Option<NumberType>) -> String {
    let cache = cache_type.map(|kind| format!(", KV cache {}", kind.name()));
    format!("type {}{}", number_type.name(), cache.unwrap_or_default())
}

/// The batch of a chip, in four digits at most.
pub(super) fn batch_text(plan: &ParallelPlan) -> String {
    four_digits(plan.batch_per_chip).trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_have_groups_of_three_and_small_ones_three_digits() {
        let shown = [0.0, 1.5, 12.34, 99.96, 812.0, 1943.2, 999_999.6, 1e21, f64::NAN].map(grouped_digits);
        assert_eq!(shown, ["0.00", "1.50", "12.3", "100", "812", "1,943", "1,000,000", "1.00e21", "-"]);
    }

    #[test]
    fn a_fraction_above_one_is_shown_and_not_clamped() {
        assert_eq!([0.0341, 0.62, 1.314].map(percent), ["3.4 %", "62 %", "131 %"]);
    }
}
