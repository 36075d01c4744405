//! A fabric made of what a fleet measured of its own network: tiers from the pairs of ranks, then the costs of collectives on
//! them.

use serde::Serialize;

use crate::projection::calibration::exchanges::fit_exchanges;
use crate::projection::calibration::fleet_times::{ExchangeTime, FleetTimes};
use crate::projection::calibration::import::Measured;
use crate::projection::calibration::measured::{FittedRow, TierValue, fit_measured};
use crate::projection::calibration::tiers::{FoundTiers, PairEstimate, TierError, find_tiers};
use crate::projection::fabric::exchange::ExchangeError;
use crate::specs::{Fabric, LatencyIs, Provenance, Sourced, Spread, Tier, Topology};

/// A fabric with what it was made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FleetFit {
    /// The fabric.
    pub fabric: Fabric,
    /// Tiers as the pairs show them.
    pub found: FoundTiers,
    /// What was fitted on collectives.
    pub values: Vec<TierValue>,
    /// Collectives, and what the fabric says of them.
    pub rows: Vec<FittedRow>,
    /// Collectives that no tier can be fitted on: their ranks do not fill groups in order.
    pub passed_over: usize,
}

/// Why no fabric was made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FleetFitError {
    /// No tiers.
    #[error(transparent)]
    Tiers(#[from] TierError),
    /// Collectives that do not fit.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// More ranks asked for than tiers can have.
    #[error("{chips} chips are fewer than the {ranks} ranks that were measured; give at least as many")]
    Chips {
        /// Asked for.
        chips: u64,
        /// Measured.
        ranks: usize,
    },
}

/// Makes a fabric called `name`. `source` says what was read. With `chips`, the outermost tier joins so many, as if there
/// were more of what was measured.
///
/// # Errors
/// [`FleetFitError`].
pub fn fit_fleet(times: &FleetTimes, name: &str, source: &str, chips: Option<u64>) -> Result<FleetFit, FleetFitError> {
    let found = find_tiers(times.ranks, &times.pairs)?;
    if let Some(chips) = chips.filter(|chips| *chips < times.ranks as u64) {
        return Err(FleetFitError::Chips { chips, ranks: times.ranks });
    }
    let base = fabric(&found, &times.computers, name, source, chips);
    let in_order = |first: usize, ranks: usize| fills_in_order(&found, &base, first, ranks);
    let collectives: Vec<Measured> =
        times.collectives.iter().filter(|(first, row)| in_order(*first, row.ranks)).map(|(_, row)| *row).collect();
    let exchanges: Vec<ExchangeTime> =
        times.exchanges.iter().filter(|row| in_order(row.first_rank, row.ranks)).copied().collect();
    let all = times.collectives.len() + times.exchanges.len();
    let passed_over = all - collectives.len() - exchanges.len();
    // Each tier has a bandwidth of its own, so that no chip's links are asked for.
    let no_links = Sourced::assumed(1.0, 1.0, 1.0, "unused");
    let mut fit = FleetFit { fabric: base, found, values: Vec::new(), rows: Vec::new(), passed_over };
    if !collectives.is_empty() {
        let fitted = fit_measured(&fit.fabric, &no_links, &collectives, source)?;
        fit = FleetFit { fabric: fitted.fabric, values: fitted.values, rows: fitted.rows, ..fit };
    }
    let (values, rows) = fit_exchanges(&mut fit.fabric, &exchanges, source);
    fit.values.extend(values);
    fit.rows.extend(rows);
    Ok(fit)
}

/// Whether consecutive ranks lie on the tiers as the model takes it: the innermost group that holds all of them is of the
/// tier that so many ranks need.
fn fills_in_order(found: &FoundTiers, fabric: &Fabric, first: usize, ranks: usize) -> bool {
    let members = first..first.saturating_add(ranks);
    let holds = |group: &Vec<usize>| members.clone().all(|rank| group.binary_search(&rank).is_ok());
    let actual = found.tiers.iter().position(|tier| tier.groups.iter().any(holds));
    let needed = fabric.tiers.iter().position(|tier| tier.chips >= ranks as u64);
    actual.is_some() && actual == needed
}

/// The fabric of the pairs alone. The latency of a message is that of its software too, so that messages cost nothing else.
fn fabric(found: &FoundTiers, computers: &[usize], name: &str, source: &str, chips: Option<u64>) -> Fabric {
    let mut tiers: Vec<Tier> = Vec::new();
    let last = found.tiers.len().saturating_sub(1);
    for (place, tier) in found.tiers.iter().enumerate() {
        let inner = tiers.last().map_or(1, |tier: &Tier| tier.chips);
        let own = if place == last { chips.unwrap_or(0).max(tier.ranks() as u64) } else { tier.ranks() as u64 };
        let is_node = tier.groups.iter().all(|group| one_computer(group, computers));
        tiers.push(Tier {
            name: if is_node { "node".to_owned() } else { format!("tier{}", place + 1) },
            // A tier is made of whole inner ones, the last of which may be half empty here.
            chips: own.max(2).next_multiple_of(inner),
            port: if is_node { "node".to_owned() } else { "network".to_owned() },
            bandwidth_bytes_per_s: Some(measured(&tier.bandwidth_bytes_per_s, source)),
            link_efficiency: derived(1.0, "the bandwidth is what one message reaches; no collective was measured"),
            all_to_all_efficiency: None,
            latency_s: measured(&tier.latency_s, source),
            latency_is: LatencyIs::EndToEnd,
            hops: 1,
            message_overhead_s: derived(0.0, "in the latency, which is that of a message with its software"),
            collective_fixed_s: derived(0.0, "in the latency; no collective was measured on this tier"),
            all_to_all_fixed_s: derived(0.0, "in the latency; no dispatch was measured on this tier"),
            planes: 1,
            spread: Spread::Spray,
            switches_per_plane: 1,
            oversubscription: None,
            in_switch_reduce: false,
        });
    }
    // Two tiers of one computer: sockets, say.
    for place in 1..tiers.len() {
        if tiers[place].name == "node" {
            tiers[place - 1].name = format!("tier{place}");
        }
    }
    let ranks = found.tiers.last().map_or(0, |tier| tier.groups.iter().map(Vec::len).sum::<usize>());
    let more =
        chips.map_or(String::new(), |chips| format!(", taken to go on in the same way to {chips} chips (assumed)"));
    Fabric {
        name: name.to_owned(),
        title: format!("A network measured between {ranks} ranks, messages in main memory{more}"),
        power_over_chips: None,
        topology: Topology::Switched,
        dies: None,
        tiers,
        dispatch_copy_s: None,
        fit: None,
    }
}

fn one_computer(group: &[usize], computers: &[usize]) -> bool {
    let of = |rank: &usize| computers.get(*rank);
    group.first().and_then(of).is_some_and(|first| group.iter().all(|rank| of(rank) == Some(first)))
}

fn measured(estimate: &PairEstimate, source: &str) -> Sourced {
    Sourced {
        value: estimate.value,
        low: Some(estimate.band[0]),
        high: Some(estimate.band[1]),
        provenance: Provenance::Measured,
        source: source.to_owned(),
        checked: None,
        claimed: false,
    }
}

fn derived(value: f64, source: &str) -> Sourced {
    Sourced {
        value,
        low: None,
        high: None,
        provenance: Provenance::Derived,
        source: source.to_owned(),
        checked: None,
        claimed: false,
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::projection::calibration::tiers::PairPoint;
    use crate::projection::fabric::Site;
    use crate::projection::fabric::exchange::{Bulk, bulk};
    use crate::projection::fabric::{AllToAll, Collective, Group, Mode, all_to_all, rank_links};
    use crate::specs::Scenario;
    use crate::units::Bytes;

    /// A tier of the truth: ranks, latency and bandwidth.
    type True = (usize, f64, f64);

    const SIZES: [f64; 4] = [8.0, 65_536.0, 1_048_576.0, 8_388_608.0];
    /// Two ranks of a computer, and two computers, as the shaped network of the fleet test.
    const SHAPED: [True; 2] = [(2, 20e-6, 1.25e9), (4, 200e-6, 125e6)];
    const THREE: [True; 3] = [(4, 1e-6, 100e9), (16, 3e-6, 25e9), (48, 9e-6, 12.5e9)];

    /// The pairs of a network. `place` says where a rank lies; `noise` is the relative deviation of each pair's times.
    fn pairs(tiers: &[True], place: impl Fn(usize) -> usize, noise: f64, seed: u64) -> FleetTimes {
        let ranks = tiers.last().unwrap().0;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut pairs = Vec::new();
        for a in 0..ranks {
            for b in a + 1..ranks {
                let of = |size: usize| place(a) / size == place(b) / size;
                let (_, latency, bandwidth) = tiers.iter().find(|(size, ..)| of(*size)).unwrap();
                for bytes in SIZES {
                    // The sum of twelve uniform draws is nearly normal.
                    let normal: f64 = (0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0;
                    let time_s = (latency + bytes / bandwidth) * (noise * normal).exp();
                    let ci_s = [time_s * (1.0 - noise), time_s * (1.0 + noise)];
                    pairs.push(PairPoint { ranks: [a, b], bytes, time_s, ci_s });
                }
            }
        }
        let computers = (0..ranks).map(|rank| place(rank) / tiers[0].0).collect();
        FleetTimes { ranks, computers, pairs, ..FleetTimes::default() }
    }

    /// What is found must be what was made up, within 10 %.
    fn assert_found(fit: &FleetFit, tiers: &[True]) {
        assert_eq!(fit.fabric.tiers.len(), tiers.len(), "{:?}", fit.found);
        for (tier, (ranks, latency, bandwidth)) in fit.fabric.tiers.iter().zip(tiers) {
            assert_eq!(tier.chips, *ranks as u64);
            let found = tier.bandwidth_bytes_per_s.as_ref().unwrap();
            assert!((found.value / bandwidth - 1.0).abs() < 0.1, "{}: {}", tier.name, found.value);
            assert!((tier.latency_s.value / latency - 1.0).abs() < 0.1, "{}: {}", tier.name, tier.latency_s.value);
            for value in [found, &tier.latency_s] {
                assert!(value.low.unwrap() <= value.value && value.value <= value.high.unwrap());
                assert_eq!(value.provenance, Provenance::Measured);
            }
        }
        fit.fabric.validate("fitted").unwrap();
    }

    fn fitted(times: &FleetTimes) -> FleetFit {
        fit_fleet(times, "a-test", "a test", None).unwrap()
    }

    #[test]
    fn one_two_and_three_tiers_are_found_without_being_told() {
        let one: [True; 1] = [(8, 5e-6, 40e9)];
        for noise in [0.0, 0.05] {
            for seed in 0..5 {
                for tiers in [&one[..], &SHAPED, &THREE] {
                    assert_found(&fitted(&pairs(tiers, |rank| rank, noise, seed)), tiers);
                }
            }
        }
    }

    #[test]
    fn ranks_that_go_round_the_nodes_are_found_in_their_nodes() {
        let round = |rank: usize| (rank % 3) * 4 + rank / 3;
        let times = pairs(&[(4, 2e-6, 50e9), (12, 8e-6, 10e9)], round, 0.03, 1);
        let fit = fitted(&times);
        assert_found(&fit, &[(4, 2e-6, 50e9), (12, 8e-6, 10e9)]);
        assert_eq!(fit.found.tiers[0].groups[0], [0, 3, 6, 9]);
        assert_eq!((&*fit.fabric.tiers[0].name, &*fit.fabric.tiers[1].port), ("node", "network"));
        // Their collectives are not those of ranks in order.
        let row = Measured { collective: Collective::AllReduce, ranks: 4, bytes: 1e6, time_s: 1e-3 };
        let with = FleetTimes { collectives: vec![(0, row)], ..times };
        assert_eq!(fitted(&with).passed_over, 1);
    }

    #[test]
    fn tiers_that_differ_in_latency_or_in_bandwidth_alone_are_two() {
        for tiers in [[(4, 2e-6, 20e9), (16, 6e-6, 20e9)], [(4, 4e-6, 40e9), (16, 4e-6, 10e9)]] {
            assert_found(&fitted(&pairs(&tiers, |rank| rank, 0.03, 3)), &tiers);
        }
    }

    #[test]
    fn noise_alone_makes_no_tiers() {
        for seed in 0..20 {
            let times = pairs(&[(12, 5e-6, 10e9)], |rank| rank, 0.15, seed);
            assert_eq!(fitted(&times).fabric.tiers.len(), 1, "seed {seed}");
        }
    }

    #[test]
    fn times_that_do_not_grow_with_the_size_leave_a_bandwidth_that_can_be() {
        let mut times = pairs(&[(4, 2e-6, 50e9)], |rank| rank, 0.0, 0);
        for pair in &mut times.pairs {
            (pair.time_s, pair.ci_s) = (50e-6, [40e-6, 60e-6]);
        }
        let fit = fitted(&times);
        let bandwidth = fit.fabric.tiers[0].bandwidth_bytes_per_s.as_ref().unwrap();
        assert!(bandwidth.high.unwrap() <= 100.0 * SIZES[3] / 40e-6 * 1.001, "{bandwidth:?}");
        fit.fabric.validate("fitted").unwrap();
    }

    #[test]
    fn a_slow_rank_is_no_node_and_the_last_node_may_be_half_empty() {
        let mut times = pairs(&[(4, 2e-6, 50e9), (12, 8e-6, 10e9)], |rank| rank, 0.02, 1);
        times.ranks = 10;
        times.pairs.retain(|pair| pair.ranks[1] < 10);
        let fit = fitted(&times);
        assert_eq!(fit.fabric.tiers.iter().map(|tier| tier.chips).collect::<Vec<_>>(), [4, 12]);
        let mut slow = pairs(&[(8, 2e-6, 50e9)], |rank| rank, 0.02, 1);
        for pair in slow.pairs.iter_mut().filter(|pair| pair.ranks[1] == 7) {
            pair.time_s *= 4.0;
            pair.ci_s = pair.ci_s.map(|end| end * 4.0);
        }
        let fit = fitted(&slow);
        assert_eq!((fit.fabric.tiers.len(), fit.found.apart.as_slice()), (1, &[7][..]));
    }

    #[test]
    fn what_collectives_cost_on_the_tiers_is_found_again() {
        let mut times = pairs(&SHAPED, |rank| rank, 0.0, 0);
        let mut truth = fitted(&times).fabric;
        for (place, (fixed, share, exchange, reached)) in
            [(4e-6, 0.8, 9e-6, 0.7), (30e-6, 0.6, 50e-6, 0.5)].iter().enumerate()
        {
            truth.tiers[place].collective_fixed_s.value = *fixed;
            truth.tiers[place].link_efficiency.value = *share;
            truth.tiers[place].all_to_all_fixed_s.value = *exchange;
            truth.tiers[place].all_to_all_efficiency = Some(Sourced::assumed(*reached, *reached, *reached, "a test"));
        }
        let none = Sourced::assumed(1.0, 1.0, 1.0, "unused");
        let site = Site { fabric: &truth, scale_up: &none, scenario: Scenario::Nominal };
        let links = rank_links(&truth, &none, Scenario::Nominal);
        for ranks in [2, 4] {
            for bytes in SIZES {
                for collective in [Collective::AllReduce, Collective::AllGather] {
                    let asked = Bulk { collective, ranks, bytes: Bytes::new(bytes), algorithm: None };
                    let time_s = bulk(&site, &asked, &[]).unwrap().latency_s;
                    times.collectives.push((0, Measured { collective, ranks, bytes, time_s }));
                }
                let size = ranks as f64;
                let with_own = Bytes::new(bytes * size / (size - 1.0));
                let traffic =
                    AllToAll { tokens: 1.0, copies: 1.0, bytes: with_own, mode: Mode::LowLatency, most_groups: None };
                let time_s = all_to_all(&links, Group { size, stride: 1.0 }, &traffic).get();
                times.exchanges.push(ExchangeTime { name: "dispatch", first_rank: 0, ranks, bytes, time_s });
            }
        }
        let fit = fitted(&times);
        assert_eq!(fit.passed_over, 0);
        for (tier, truth) in fit.fabric.tiers.iter().zip(&truth.tiers) {
            let close = |a: &Sourced, b: &Sourced| (a.value / b.value - 1.0).abs() < 0.05;
            assert!(close(&tier.collective_fixed_s, &truth.collective_fixed_s), "{tier:?}");
            assert!(close(&tier.link_efficiency, &truth.link_efficiency), "{tier:?}");
            assert!(close(&tier.all_to_all_fixed_s, &truth.all_to_all_fixed_s), "{tier:?}");
            let reached = [tier, truth].map(|tier| tier.all_to_all_efficiency.clone().unwrap());
            assert!(close(&reached[0], &reached[1]), "{tier:?}");
        }
        assert!(fit.rows.iter().all(|row| (row.modelled_s / row.measured_s - 1.0).abs() < 0.05));
        fit.fabric.validate("fitted").unwrap();
    }

    #[test]
    fn pairs_that_make_no_network_are_refused() {
        let times = pairs(&SHAPED, |rank| rank, 0.0, 0);
        let with = |change: &dyn Fn(&mut FleetTimes)| {
            let mut changed = times.clone();
            change(&mut changed);
            fit_fleet(&changed, "a-test", "a test", None).unwrap_err().to_string()
        };
        assert!(with(&|times| times.pairs.clear()).contains("at least two ranks"));
        assert!(with(&|times| times.pairs.retain(|pair| pair.bytes < 10.0)).contains("at least two sizes"));
        assert!(with(&|times| times.pairs.retain(|pair| pair.ranks[1] != 3)).contains("rank 0 to rank 3"));
        assert!(with(&|times| times.pairs[5].time_s = f64::NAN).contains("cannot be"));
        assert!(with(&|times| times.pairs[5].ranks = [1, 9]).contains("cannot be"));
        let few = fit_fleet(&times, "a-test", "a test", Some(3)).unwrap_err().to_string();
        assert!(few.contains("3 chips are fewer than the 4 ranks"), "{few}");
        let more = fit_fleet(&times, "a-test", "a test", Some(383)).unwrap();
        assert_eq!(more.fabric.max_chips(), 384);
    }
}
