//! Fits what dispatch and combine cost on a tier: a fixed time, and the share of the bandwidth that they reach.

use crate::projection::calibration::fleet_times::ExchangeTime;
use crate::projection::calibration::least_squares::minimise;
use crate::projection::calibration::measured::{FittedRow, TierValue};
use crate::projection::fabric::{AllToAll, Group, Mode, all_to_all, rank_links};
use crate::specs::{Fabric, Provenance, Scenario, Sourced};
use crate::units::Bytes;

/// The smallest share of a link that a trial may have.
const LEAST_SHARE: f64 = 1e-6;
/// The longest fixed cost that a fabric may have.
const LONGEST_FIXED_S: f64 = 10.0;
/// Rows beyond which the band leaves out groups of rows, not single ones.
const MOST_REFITS: usize = 40;

/// Fits the tiers that some exchange needs, and writes the values into `fabric`. Bands are the extremes over fits that leave
/// rows out.
pub(super) fn fit_exchanges(
    fabric: &mut Fabric,
    rows: &[ExchangeTime],
    source: &str,
) -> (Vec<TierValue>, Vec<FittedRow>) {
    if rows.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let mut tiers: Vec<usize> = rows.iter().filter_map(|row| needed(fabric, row.ranks)).collect();
    tiers.sort_unstable();
    tiers.dedup();
    let best = solve(fabric, rows, &tiers);
    let mut bands: Vec<[f64; 2]> = best.iter().map(|value| [*value, *value]).collect();
    let group = rows.len().div_ceil(MOST_REFITS).max(1);
    for left_out in (0..rows.len()).step_by(group).filter(|_| rows.len() > best.len()) {
        let kept: Vec<ExchangeTime> =
            rows.iter().enumerate().filter(|(i, _)| i / group != left_out / group).map(|(_, row)| *row).collect();
        for (band, value) in bands.iter_mut().zip(solve(fabric, &kept, &tiers)) {
            *band = [band[0].min(value), band[1].max(value)];
        }
    }
    let mut values = Vec::new();
    for (place, tier) in tiers.iter().enumerate() {
        let tier = &mut fabric.tiers[*tier];
        let (fixed, share) = (2 * place, 2 * place + 1);
        tier.all_to_all_fixed_s = measured(best[fixed], bands[fixed], source);
        tier.all_to_all_efficiency = Some(measured(best[share], bands[share], source));
        for (key, at, before) in [("all_to_all_fixed_s", fixed, 0.0), ("all_to_all_efficiency", share, 1.0)] {
            let (tier, in_file) = (tier.name.clone(), Some(before));
            values.push(TierValue { tier, key, in_file, fitted: best[at], band: bands[at] });
        }
    }
    let shown = rows.iter().map(|row| FittedRow {
        collective: row.name,
        ranks: row.ranks,
        bytes: row.bytes,
        measured_s: row.time_s,
        modelled_s: time(fabric, row),
        algorithm: "direct",
    });
    (values, shown.collect())
}

/// The tier that joins so many ranks.
fn needed(fabric: &Fabric, ranks: usize) -> Option<usize> {
    fabric.tiers.iter().position(|tier| tier.chips >= ranks as u64)
}

fn solve(fabric: &Fabric, rows: &[ExchangeTime], tiers: &[usize]) -> Vec<f64> {
    let start: Vec<f64> = tiers.iter().flat_map(|_| [0.0, 0.9]).collect();
    let limits: Vec<f64> = tiers.iter().flat_map(|_| [LONGEST_FIXED_S, 1.0]).collect();
    let residuals = |values: &[f64]| -> Result<Vec<f64>, std::convert::Infallible> {
        let mut trial = fabric.clone();
        for (tier, pair) in tiers.iter().zip(values.chunks(2)) {
            let exact = |value: f64| Sourced::assumed(value, value, value, "a trial");
            trial.tiers[*tier].all_to_all_fixed_s = exact(pair[0]);
            trial.tiers[*tier].all_to_all_efficiency = Some(exact(pair[1].max(LEAST_SHARE)));
        }
        Ok(rows.iter().map(|row| (time(&trial, row).max(1e-15) / row.time_s).ln()).collect())
    };
    let Ok(found) = minimise(&residuals, &start, &limits);
    found.chunks(2).flat_map(|pair| [pair[0], pair[1].max(LEAST_SHARE)]).collect()
}

/// The closed form of the projection. MPI's all-to-allv sends each rank what is for it, so there are no two levels. The rank
/// that moves most sets the pace, and the form leaves a member's share for itself out.
fn time(fabric: &Fabric, row: &ExchangeTime) -> f64 {
    let links = rank_links(fabric, &Sourced::assumed(1.0, 1.0, 1.0, "unused"), Scenario::Nominal);
    let size = row.ranks as f64;
    let with_own = row.bytes * size / (size - 1.0).max(1.0);
    let traffic =
        AllToAll { tokens: 1.0, copies: 1.0, bytes: Bytes::new(with_own), mode: Mode::LowLatency, most_groups: None };
    all_to_all(&links, Group { size, stride: 1.0 }, &traffic).get()
}

fn measured(value: f64, [low, high]: [f64; 2], source: &str) -> Sourced {
    Sourced {
        value,
        low: Some(low),
        high: Some(high),
        provenance: Provenance::Measured,
        source: source.to_owned(),
        checked: None,
        claimed: false,
    }
}
