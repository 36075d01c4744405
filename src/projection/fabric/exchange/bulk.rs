//! All-reduce, all-gather, reduce-scatter, all-to-all and send among ranks, on whole and faulty fabrics.

use crate::projection::fabric::collectives::{Algorithm, Collective, algorithms};
use crate::projection::fabric::direction::Direction;
use crate::projection::fabric::exchange::dispatch::check_cut;
use crate::projection::fabric::exchange::types::{Answer, ExchangeError, Parts};
use crate::projection::fabric::faults::FabricFault;
use crate::projection::fabric::link::Group;
use crate::projection::fabric::network::{LinkRates, Loads, Network};
use crate::projection::fabric::site::Site;
use crate::units::Bytes;

/// A bulk collective; for the meaning of its bytes see [`Collective`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bulk {
    /// Which.
    pub collective: Collective,
    /// Ranks; a send goes from the first to the last of them.
    pub ranks: usize,
    /// How many.
    pub bytes: Bytes,
    /// Only this algorithm, instead of the fastest.
    pub algorithm: Option<Algorithm>,
}

/// Time of a bulk collective by its fastest algorithm.
///
/// # Errors
/// [`ExchangeError`].
pub fn bulk(site: &Site<'_>, bulk: &Bulk, faults: &[FabricFault]) -> Result<Answer, ExchangeError> {
    let whole = Network::new(site, bulk.ranks, LinkRates::Bulk, &[])?;
    let healthy = fastest(&whole, bulk);
    let mut answer = answer(&whole, bulk, healthy);
    if faults.iter().any(|fault| fault.left < 1.0) {
        let faulty = Network::new(site, bulk.ranks, LinkRates::Bulk, faults)?;
        let times = candidates(&whole, bulk).into_iter().map(|(algorithm, time)| {
            let before = busiest(&whole, bulk, algorithm, faults)?;
            let after = busiest(&faulty, bulk, algorithm, faults)?;
            // The transfer grows as its busiest step does; at least as long as on the whole fabric.
            let transfer = time - overhead(&whole, bulk, algorithm);
            Ok((algorithm, time + transfer.max(0.0) * (after / before - 1.0).max(0.0)))
        });
        let times = times.collect::<Result<Vec<_>, ExchangeError>>()?;
        let worse = times.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let before = answer.latency_s;
        answer = self::answer(&faulty, bulk, worse);
        answer.fault_slowdown = if before > 0.0 { answer.latency_s / before } else { 1.0 };
    }
    Ok(answer)
}

fn group(network: &Network, bulk: &Bulk) -> Group {
    match bulk.collective {
        Collective::Send => Group { size: 2.0, stride: network.ranks.saturating_sub(1).max(1) as f64 },
        _ => Group { size: network.ranks as f64, stride: 1.0 },
    }
}

fn candidates(network: &Network, bulk: &Bulk) -> Vec<(Algorithm, f64)> {
    if network.ranks < 2 {
        return Vec::new();
    }
    let list = algorithms(&network.links, group(network, bulk), bulk.collective, bulk.bytes);
    let wanted = list.into_iter().filter(|(algorithm, _)| bulk.algorithm.is_none_or(|wanted| wanted == *algorithm));
    wanted.map(|(algorithm, time)| (algorithm, time.get())).collect()
}

fn fastest(network: &Network, bulk: &Bulk) -> Option<(Algorithm, f64)> {
    candidates(network, bulk).into_iter().min_by(|a, b| a.1.total_cmp(&b.1))
}

/// The time that no byte takes: latencies and issue of all steps, and the fixed cost.
fn overhead(network: &Network, bulk: &Bulk, algorithm: Algorithm) -> f64 {
    let empty = Bulk { bytes: Bytes::ZERO, algorithm: Some(algorithm), ..*bulk };
    fastest(network, &empty).map_or(0.0, |(_, time)| time)
}

/// One step's bytes on each resource: neighbours around the ring, or all at once.
fn loads<'a>(network: &'a Network, bulk: &Bulk, algorithm: Algorithm) -> Result<Loads<'a>, ExchangeError> {
    let mut loads = Loads::new(network);
    let ranks = network.ranks;
    let (_, node) = network.node();
    let bytes = bulk.bytes.get().max(1.0);
    match algorithm {
        Algorithm::Direct if bulk.collective == Collective::Send => loads.add(0, ranks - 1, bytes),
        Algorithm::Direct | Algorithm::InSwitch | Algorithm::ByDimension => {
            let share = bytes / ranks as f64;
            loads.add_same_from_all(&vec![share; ranks], Direction::Dispatch)?;
        }
        Algorithm::TwoLevel if ranks > node => {
            // The rings between nodes set the pace: one per position in a node.
            (0..ranks).for_each(|rank| loads.add(rank, (rank + node) % ranks, bytes));
        }
        Algorithm::Ring | Algorithm::Tree | Algorithm::TwoLevel => {
            (0..ranks).for_each(|rank| loads.add(rank, (rank + 1) % ranks, bytes));
        }
    }
    Ok(loads)
}

fn busiest(network: &Network, bulk: &Bulk, algorithm: Algorithm, faults: &[FabricFault]) -> Result<f64, ExchangeError> {
    let loads = loads(network, bulk, algorithm)?;
    check_cut(&loads, network.ranks, faults)?;
    Ok(loads.busiest().map_or(1.0, |busiest| busiest.time_s))
}

fn answer(network: &Network, bulk: &Bulk, chosen: Option<(Algorithm, f64)>) -> Answer {
    let (algorithm, latency_s) = chosen.unwrap_or((Algorithm::Direct, 0.0));
    let hot = if network.ranks < 2 { None } else { loads(network, bulk, algorithm).ok() };
    let hot = hot.and_then(|loads| loads.busiest());
    let overhead = overhead(network, bulk, algorithm);
    Answer {
        latency_s,
        bandwidth_bytes_per_s: if latency_s > 0.0 { bulk.bytes.get() / latency_s } else { 0.0 },
        algorithm: algorithm.name(),
        hottest_link: hot.map_or_else(|| "none".to_owned(), |busiest| network.name(busiest.resource)),
        hottest_rank: hot.and_then(|busiest| network.rank_of(busiest.resource)).unwrap_or(0),
        hottest_rank_load: 1.0,
        hottest_expert_load: 1.0,
        slowdown: 1.0,
        fault_slowdown: 1.0,
        parts: Parts { fixed_s: overhead, transfer_s: latency_s - overhead, ..Parts::default() },
    }
}
