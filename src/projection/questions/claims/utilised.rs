//! Claims about training, from published shares of the arithmetic peak that training reaches (MFU).

use crate::projection::ops::{AttentionForm, model_flop_per_token};
use crate::projection::parallel_plan::Phase;
use crate::projection::questions::catalogue::Question;
use crate::projection::questions::claims::reading::Derived;
use crate::projection::request::Request;
use crate::projection::result::Interval;
use crate::specs::Point;
use crate::specs::claim::{Claim, ClaimQuantity};
use crate::units::with_prefix;

/// Half of the last digit of a share that is published in whole percent.
const ROUNDING: f64 = 0.005;

/// The values of the figures: `mfu * peak / FLOP per token`, and its ratio to the same of the baseline.
pub(super) fn values(claim: &Claim, point: &Point, question: &Question) -> Result<Derived, String> {
    let share = point.number("mfu").ok_or("the reading names no mfu")?;
    let on = rate(&question.request, point, share)?;
    let mut how = on.1;
    let mut values = Vec::new();
    for figure in &claim.figures {
        values.push(if figure.of == ClaimQuantity::Speedup {
            let baseline = question.baseline.as_ref().ok_or("the reading names no baseline")?;
            let share = point.number("baseline_mfu").ok_or("the reading names no baseline_mfu")?;
            let below = rate(baseline, point, share)?;
            how = format!("{how}; baseline {}", below.1);
            // The two shares were rounded independently.
            Interval {
                median: on.0.median / below.0.median,
                low: on.0.low / below.0.high,
                high: on.0.high / below.0.low,
            }
        } else {
            on.0
        });
    }
    Ok(Derived { values, how, circular: false })
}

/// Tokens per second and chip, and how they came about.
fn rate(request: &Request, point: &Point, share: f64) -> Result<(Interval, String), String> {
    if request.phase != Phase::Training {
        return Err("a share of the peak is a reading of training: give phase = \"training\"".to_owned());
    }
    let number_type = request.type_in_use();
    let peak = request.chip.peaks.get(&number_type);
    let peak = peak.ok_or_else(|| format!("{} does not compute in {}", request.chip.name, number_type.name()))?;
    let model = &request.model;
    let flop = if point.text("flop_are") == Some("with attention") {
        3.0 * model_flop_per_token(model, request.workload.sequence_len / 2.0, AttentionForm::Expanded)
    } else {
        6.0 * model.active_parameters()
    };
    let at = |share: f64, peak: f64| share * peak / flop;
    let rate = Interval {
        median: at(share, peak.value),
        low: at(share - ROUNDING, peak.low.unwrap_or(peak.value)),
        high: at(share + ROUNDING, peak.high.unwrap_or(peak.value)),
    };
    let how = format!(
        "{:.0} % of {} of {} / {} a token = {:.1}",
        share * 100.0,
        with_prefix(peak.value, "FLOP/s"),
        request.chip.name,
        with_prefix(flop, "FLOP"),
        rate.median
    );
    Ok((rate, how))
}
