//! Why one machine is faster than another where each step waits for the slowest of many devices: that wait is one more cause.
//!
//! The other causes are those between machines of equal devices. The wait's factor is what is left of the ratio. It is below 1
//! where the faster network leaves more of a step to the slowest device.

use crate::projection::answer::project;
use crate::projection::chip::ChipModel;
use crate::projection::questions::explain::{CauseStep, Explanation, NoEnd};
use crate::projection::questions::explain_chips::explain_with_chips;
use crate::projection::request::Request;
use crate::projection::result::{Interval, Projection};
use crate::specs::{Fabric, Scenario};

/// The cause.
pub const SLOWEST_RANK: &str = "slowest rank";

/// Explains the request's throughput over that of `baseline_chip` on `baseline`, the wait for the slowest rank included where
/// the devices of either chip are apart.
///
/// # Errors
/// [`NoEnd`]: one of the two chips has no plan on one of the fabrics.
pub fn explain_with_slowest_rank(
    request: &Request,
    baseline: &Fabric,
    baseline_chip: &ChipModel,
) -> Result<Explanation, NoEnd> {
    if request.chip.spread.is_none() && baseline_chip.spread.is_none() {
        return explain_with_chips(request, baseline, baseline_chip);
    }
    let alike = |chip: &ChipModel| ChipModel { spread: None, ..chip.clone() };
    let equal = Request { chip: alike(&request.chip), ..request.clone() };
    let before = Request { chip: baseline_chip.clone(), ..request.on(baseline.clone()) };
    let end =
        |request: &Request| project(request).map_err(|reason| NoEnd { fabric: request.fabric.name.clone(), reason });
    let explained = explain_with_chips(&equal, baseline, &alike(baseline_chip))?;
    let (below, on) = rayon::join(|| end(&before), || end(request));
    let (below, on) = (below?, on?);
    let ratio = on.tokens_per_s_per_chip.paired_ratio(&below.tokens_per_s_per_chip);
    let rate = |projection: &Projection| projection.tokens_per_s_per_chip.median;
    let kept = [(&below, &explained.baseline), (&on, &explained.on)].map(|(real, equal)| rate(real) / rate(equal));
    let difference = (rate(&on) - rate(&below)) - (rate(&explained.on) - rate(&explained.baseline));
    let factor = |end: fn(&Interval) -> f64| end(&ratio) / end(&explained.ratio);
    let [median, low, high] = [factor(|ratio| ratio.median), factor(|ratio| ratio.low), factor(|ratio| ratio.high)];
    let step = CauseStep {
        cause: SLOWEST_RANK.to_owned(),
        what: what(&before, request, kept),
        factor: Interval { median, low: median.min(low).min(high), high: median.max(low).max(high) },
        factor_over_orders: [median; 2],
        tokens_per_s_per_chip: difference,
        tokens_per_s_per_chip_over_orders: [difference; 2],
        parts: Vec::new(),
    };
    let steps = explained.steps.into_iter().chain([step]).collect();
    Ok(Explanation { baseline: below, on, ratio, steps, ..explained })
}

/// For whom both machines wait, and what that costs each.
fn what(before: &Request, after: &Request, kept: [f64; 2]) -> String {
    let factor = |request: &Request| {
        let [expected, low, high] = [Scenario::Nominal, Scenario::Optimistic, Scenario::Pessimistic]
            .map(|end| request.chip.slowest(request.chips, end));
        format!("x {expected:.3} ({low:.3} to {high:.3})")
    };
    let (old, new) = (factor(before), factor(after));
    let both = if old == new { new } else { format!("{old}, then {new},") };
    let [lost, lost_after] = kept.map(|share| (1.0 - share) * 100.0);
    format!(
        "kernels of a step take {both} on the slowest of {} ranks, which costs {lost:.1} % of the tokens before, {lost_after:.1} % after",
        after.chip.ranks(after.chips)
    )
}
