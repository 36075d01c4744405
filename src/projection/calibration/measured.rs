//! Fits the tiers of a fabric on measured collectives: the model of a network that somebody has.
//!
//! Each tier that sets the pace of a measured group has two unknowns: the fixed cost of a collective, and the share of
//! the link's bandwidth that collectives reach. Their bands are the extremes over fits that leave one row out each (the
//! jackknife).

use serde::Serialize;

use crate::projection::calibration::import::Measured;
use crate::projection::calibration::least_squares::minimise;
use crate::projection::fabric::exchange::{Bulk, ExchangeError, Site, bulk};
use crate::specs::{Checked, Fabric, Provenance, Scenario, Sourced};
use crate::units::Bytes;

/// The smallest share of a link that a trial may have.
const LEAST_SHARE: f64 = 1e-6;
/// The longest fixed cost that a fabric may have.
const LONGEST_FIXED_S: f64 = 10.0;
/// Rows beyond which the band leaves out groups of rows, not single ones.
const MOST_REFITS: usize = 40;

/// A fitted value of a tier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierValue {
    /// The tier.
    pub tier: String,
    /// The key in its file.
    pub key: &'static str,
    /// The value in the fabric's file; `None` where the chip's links serve the tier.
    #[serde(rename = "stands")]
    pub in_file: Option<f64>,
    /// Fitted.
    pub fitted: f64,
    /// The least and the greatest over fits that leave rows out.
    pub band: [f64; 2],
}

/// A measured row, and what the fitted fabric says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FittedRow {
    /// The collective.
    pub collective: &'static str,
    /// Ranks.
    pub ranks: usize,
    /// Bytes.
    pub bytes: f64,
    /// Measured.
    pub measured_s: f64,
    /// By the fitted fabric.
    pub modelled_s: f64,
    /// The algorithm that the model chose.
    pub algorithm: &'static str,
}

/// A fit on measured rows.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredFit {
    /// The fabric with the fitted values.
    pub fabric: Fabric,
    /// The values.
    pub values: Vec<TierValue>,
    /// All rows.
    pub rows: Vec<FittedRow>,
}

/// Fits `fabric` on `rows`. `source` says where they were read; `scale_up` serves tiers without a bandwidth of their
/// own.
///
/// # Errors
/// [`ExchangeError`]: a row has more ranks than the fabric joins.
pub fn fit_measured(
    fabric: &Fabric,
    scale_up: &Sourced,
    rows: &[Measured],
    source: &str,
) -> Result<MeasuredFit, ExchangeError> {
    let tiers = paced(fabric, rows);
    let best = solve(fabric, scale_up, rows, &tiers)?;
    let mut bands: Vec<[f64; 2]> = best.iter().map(|value| [*value, *value]).collect();
    let group = rows.len().div_ceil(MOST_REFITS).max(1);
    for left_out in (0..rows.len()).step_by(group).filter(|_| rows.len() > best.len()) {
        let kept: Vec<Measured> =
            rows.iter().enumerate().filter(|(i, _)| i / group != left_out / group).map(|(_, row)| *row).collect();
        if kept.is_empty() {
            continue;
        }
        for (band, value) in bands.iter_mut().zip(solve(fabric, scale_up, &kept, &tiers)?) {
            *band = [band[0].min(value), band[1].max(value)];
        }
    }
    let mut fitted = trial(fabric, &tiers, &best);
    let mut values = Vec::new();
    for (place, &tier) in tiers.iter().enumerate() {
        let pair = [(best[2 * place], bands[2 * place]), (best[2 * place + 1], bands[2 * place + 1])];
        values.extend(settle(&mut fitted, fabric, tier, scale_up, pair, source));
    }
    let shown = rows.iter().map(|row| {
        let answer = bulk(&site(&fitted, scale_up), &asked(row), &[])?;
        Ok::<_, ExchangeError>(FittedRow {
            collective: row.collective.name(),
            ranks: row.ranks,
            bytes: row.bytes,
            measured_s: row.time_s,
            modelled_s: answer.latency_s,
            algorithm: answer.algorithm,
        })
    });
    Ok(MeasuredFit { rows: shown.collect::<Result<_, ExchangeError>>()?, values, fabric: fitted })
}

/// The tiers that are the outermost of some row's group: places in the fabric's list.
fn paced(fabric: &Fabric, rows: &[Measured]) -> Vec<usize> {
    let per_chip = fabric.ranks_per_chip();
    let reach = |row: &Measured| {
        let ranks = row.ranks as u64;
        fabric.tiers.iter().position(|tier| tier.chips * per_chip >= ranks).unwrap_or(fabric.tiers.len() - 1)
    };
    let mut tiers: Vec<usize> = rows.iter().map(reach).collect();
    tiers.sort_unstable();
    tiers.dedup();
    tiers
}

/// Fixed cost and share of the bandwidth of each tier, one after the other.
fn solve(fabric: &Fabric, scale_up: &Sourced, rows: &[Measured], tiers: &[usize]) -> Result<Vec<f64>, ExchangeError> {
    let start: Vec<f64> = tiers
        .iter()
        .flat_map(|&tier| [fabric.tiers[tier].collective_fixed_s.value, fabric.tiers[tier].link_efficiency.value])
        .collect();
    let residuals = |values: &[f64]| -> Result<Vec<f64>, ExchangeError> {
        let trial = trial(fabric, tiers, values);
        let time = |row| bulk(&site(&trial, scale_up), &asked(row), &[]).map(|answer| answer.latency_s);
        // In logarithms a time ten times too long weighs as much as one ten times too short.
        rows.iter().map(|row| Ok((time(row)? / row.time_s).ln())).collect()
    };
    let limits: Vec<f64> = tiers.iter().flat_map(|_| [LONGEST_FIXED_S, f64::INFINITY]).collect();
    let found = minimise(&residuals, &start, &limits)?;
    Ok(found.chunks(2).flat_map(|pair| [pair[0], pair[1].max(LEAST_SHARE)]).collect())
}

fn trial(fabric: &Fabric, tiers: &[usize], values: &[f64]) -> Fabric {
    let mut trial = fabric.clone();
    for (&tier, pair) in tiers.iter().zip(values.chunks(2)) {
        trial.tiers[tier].collective_fixed_s.value = pair[0];
        trial.tiers[tier].link_efficiency.value = pair[1].max(LEAST_SHARE);
    }
    trial
}

fn site<'a>(fabric: &'a Fabric, scale_up: &'a Sourced) -> Site<'a> {
    Site { fabric, scale_up, scenario: Scenario::Nominal }
}

const fn asked(row: &Measured) -> Bulk {
    Bulk { collective: row.collective, ranks: row.ranks, bytes: Bytes::new(row.bytes), algorithm: None }
}

/// Writes the fitted pair into a tier as measured values. A share above 1 means that the link is faster than the file
/// says. Then the bandwidth is the one that was reached, and the share is 1.
fn settle(
    fitted: &mut Fabric,
    before: &Fabric,
    place: usize,
    scale_up: &Sourced,
    [(fixed, fixed_band), (share, share_band)]: [(f64, [f64; 2]); 2],
    source: &str,
) -> Vec<TierValue> {
    let value = |value: f64, [low, high]: [f64; 2]| Sourced {
        value,
        low: Some(low),
        high: Some(high),
        provenance: Provenance::Measured,
        source: source.to_owned(),
        checked: None::<Checked>,
        claimed: false,
    };
    let old = &before.tiers[place];
    let tier = &mut fitted.tiers[place];
    tier.collective_fixed_s = value(fixed, fixed_band);
    let value_of = |key, in_file, fitted, band| TierValue { tier: old.name.clone(), key, in_file, fitted, band };
    let mut values = vec![value_of("collective_fixed_s", Some(old.collective_fixed_s.value), fixed, fixed_band)];
    if share <= 1.0 {
        let band = share_band.map(|end| end.min(1.0));
        tier.link_efficiency = value(share, band);
        values.push(value_of("link_efficiency", Some(old.link_efficiency.value), share, band));
    } else {
        let link = old.bandwidth_bytes_per_s.as_ref().unwrap_or(scale_up).value;
        let (reached, band) = (link * share, share_band.map(|end| end * link));
        tier.bandwidth_bytes_per_s = Some(value(reached, band));
        tier.link_efficiency = value(1.0, [1.0, 1.0]);
        let in_file = old.bandwidth_bytes_per_s.as_ref().map(|bandwidth| bandwidth.value);
        values.push(value_of("bandwidth_bytes_per_s", in_file, reached, band));
        values.push(value_of("link_efficiency", Some(old.link_efficiency.value), 1.0, [1.0, 1.0]));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::fabric::Collective;

    fn scale_up() -> Sourced {
        Sourced::assumed(392e9, 392e9, 392e9, "a test")
    }

    /// Rows that a known network would measure.
    fn measured(truth: &Fabric, ranks: usize) -> Vec<Measured> {
        let scale_up = scale_up();
        let sizes = (10..31).step_by(2).map(|power| f64::from(1u32 << power));
        let both = [Collective::AllReduce, Collective::AllToAll];
        sizes
            .flat_map(|bytes| both.map(|collective| Measured { collective, ranks, bytes, time_s: 0.0 }))
            .map(|row| Measured { time_s: bulk(&site(truth, &scale_up), &asked(&row), &[]).unwrap().latency_s, ..row })
            .collect()
    }

    #[test]
    fn a_network_that_was_made_up_is_found_again() {
        let fabric = Fabric::load("h100-ib").unwrap();
        let mut truth = fabric.clone();
        truth.tiers[0].collective_fixed_s.value = 17e-6;
        truth.tiers[0].link_efficiency.value = 0.71;
        truth.tiers[1].collective_fixed_s.value = 31e-6;
        truth.tiers[1].link_efficiency.value = 0.64;
        let rows = [measured(&truth, 8), measured(&truth, 64)].concat();
        let found = fit_measured(&fabric, &scale_up(), &rows, "a test").unwrap();
        let expected = [17e-6, 0.71, 31e-6, 0.64];
        assert_eq!(found.values.len(), expected.len());
        for (value, expected) in found.values.iter().zip(expected) {
            assert!((value.fitted / expected - 1.0).abs() < 0.01, "{} {}: {}", value.tier, value.key, value.fitted);
            assert!(value.band[0] <= value.fitted && value.fitted <= value.band[1]);
        }
        assert!(found.rows.iter().all(|row| (row.modelled_s / row.measured_s - 1.0).abs() < 0.02));
        assert_eq!(found.fabric.tiers[1].link_efficiency.provenance, Provenance::Measured);
    }

    #[test]
    fn a_link_faster_than_the_file_s_becomes_the_bandwidth() {
        let fabric = Fabric::load("roce-cluster").unwrap();
        let mut truth = fabric.clone();
        let link = truth.tiers[1].bandwidth_bytes_per_s.as_mut().unwrap();
        link.value *= 4.0;
        let expected = link.value * truth.tiers[1].link_efficiency.value;
        let found = fit_measured(&fabric, &scale_up(), &measured(&truth, 64), "a test").unwrap();
        let tier = &found.fabric.tiers[1];
        assert_eq!(tier.link_efficiency.value, 1.0);
        assert!((tier.bandwidth_bytes_per_s.as_ref().unwrap().value / expected - 1.0).abs() < 0.02);
        found.fabric.validate("fitted").unwrap();
    }

    #[test]
    fn more_ranks_than_the_fabric_joins_are_refused() {
        let row = Measured { collective: Collective::AllReduce, ranks: 100_000, bytes: 1e6, time_s: 1e-3 };
        assert!(fit_measured(&Fabric::load("nvl72").unwrap(), &scale_up(), &[row], "a test").is_err());
    }
}
