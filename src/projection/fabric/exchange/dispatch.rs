//! Dispatch and combine on a network of ranks, with skewed experts and faults.

use crate::projection::expert_load::ExpertLoad;
use crate::projection::fabric::collectives::{self, Algorithm};
use crate::projection::fabric::direction::Direction;
use crate::projection::fabric::exchange::types::{Answer, Exchange, ExchangeError, Parts};
use crate::projection::fabric::faults::FabricFault;
use crate::projection::fabric::flows::Flow;
use crate::projection::fabric::link::Group;
use crate::projection::fabric::mode::Mode;
use crate::projection::fabric::network::{LinkRates, Loads, Network};
use crate::projection::fabric::placement::{RankLoad, rank_load};
use crate::projection::fabric::site::Site;

/// Time of a dispatch or combine.
///
/// # Errors
/// [`ExchangeError`].
pub fn exchange(site: &Site<'_>, exchange: &Exchange, faults: &[FabricFault]) -> Result<Answer, ExchangeError> {
    let ranks = exchange.experts.ranks;
    let load = rank_load(&exchange.experts, &exchange.load)?;
    let whole = Network::new(site, ranks, LinkRates::Exchange, &[])?;
    let mut answer = on(&whole, exchange, &load, faults)?;
    if exchange.load != ExpertLoad::Uniform {
        let even = RankLoad { copies: vec![exchange.experts.top_k as f64 / ranks as f64; ranks], hottest_expert: 1.0 };
        answer.slowdown = answer.latency_s / on(&whole, exchange, &even, faults)?.latency_s;
    }
    if faults.iter().all(|fault| fault.left >= 1.0) {
        return Ok(answer);
    }
    let faulty = Network::new(site, ranks, LinkRates::Exchange, faults)?;
    let mut worse = on(&faulty, exchange, &load, faults)?;
    // In a full mesh a detour may be wider than the direct link, and another hash may collide less. The whole fabric
    // could be routed so too, so the gain is not that of the fault.
    if worse.latency_s < answer.latency_s {
        let (latency_s, parts) = (answer.latency_s, answer.parts);
        worse = Answer { latency_s, parts, bandwidth_bytes_per_s: answer.bandwidth_bytes_per_s, ..worse };
    }
    Ok(Answer { slowdown: answer.slowdown, fault_slowdown: worse.latency_s / answer.latency_s, ..worse })
}

/// The traffic of an exchange on a network.
struct Traffic {
    /// Bytes that every rank sends to each rank.
    to: Vec<f64>,
    /// Bytes that every rank sends to its peer in each node; empty unless the ranks fill whole nodes.
    to_node: Vec<f64>,
    /// Copies that a rank issues.
    copies: f64,
}

fn traffic(network: &Network, exchange: &Exchange, load: &RankLoad) -> Traffic {
    let picks = exchange.experts.top_k as f64;
    let bytes = exchange.tokens * exchange.payload.bytes(exchange.hidden);
    if exchange.mode == Mode::LowLatency {
        let to = load.copies.iter().map(|copies| copies * bytes).collect();
        return Traffic { to, to_node: Vec::new(), copies: exchange.tokens * picks };
    }
    // A token goes once to each rank (or node) that holds at least one of its experts.
    let visits = |copies: f64| 1.0 - (1.0 - (copies / picks).min(1.0)).powf(picks);
    let each: Vec<f64> = load.copies.iter().map(|&copies| visits(copies)).collect();
    let copies = exchange.tokens * each.iter().sum::<f64>();
    let (_, node) = network.node();
    let mut nodes: Vec<f64> = load.copies.chunks(node).map(|node| visits(node.iter().sum())).collect();
    let visited: f64 = nodes.iter().sum();
    if let Some(most) = exchange.most_groups.filter(|most| *most < visited) {
        nodes.iter_mut().for_each(|visits| *visits *= most / visited);
    }
    let to_node =
        if network.has_whole_nodes() { nodes.iter().map(|visits| visits * bytes).collect() } else { Vec::new() };
    Traffic { to: each.iter().map(|visits| visits * bytes).collect(), to_node, copies }
}

fn on(
    network: &Network,
    exchange: &Exchange,
    load: &RankLoad,
    faults: &[FabricFault],
) -> Result<Answer, ExchangeError> {
    let traffic = traffic(network, exchange, load);
    let mut direct = Loads::new(network);
    direct.add_same_from_all(&traffic.to, exchange.direction)?;
    check_cut(&direct, network.ranks, faults)?;
    let time = |loads: &Loads<'_>| loads.busiest().map_or(0.0, |busiest| busiest.time_s);
    let mut chosen = (Algorithm::Direct, direct);
    if exchange.mode == Mode::Normal && !traffic.to_node.is_empty() {
        let mut staged = Loads::new(network);
        staged.add_two_level(&traffic.to_node, &traffic.to, exchange.direction)?;
        check_cut(&staged, network.ranks, faults)?;
        if time(&staged) < time(&chosen.1) {
            chosen = (Algorithm::TwoLevel, staged);
        }
    }
    let (algorithm, loads) = chosen;
    let staging = if exchange.mode == Mode::Normal { staging(network, &traffic.to) } else { 0.0 };
    let busiest = loads.busiest();
    let (hottest_rank, hottest_rank_load) = load.hottest();
    let hottest_link = match busiest {
        Some(busiest) if busiest.time_s >= staging => network.name(busiest.resource),
        Some(_) => format!("copies through the cores of {} {hottest_rank}", network.unit),
        None => "none".to_owned(),
    };
    let parts = parts(network, exchange, traffic.copies, time(&loads).max(staging));
    let counted = match algorithm {
        Algorithm::TwoLevel => traffic.to_node.iter().sum(),
        _ => traffic.to.iter().sum::<f64>(),
    };
    Ok(Answer {
        latency_s: parts.total(),
        bandwidth_bytes_per_s: if parts.total() > 0.0 { counted / parts.total() } else { 0.0 },
        algorithm: algorithm.name(),
        hottest_link,
        hottest_rank,
        hottest_rank_load,
        hottest_expert_load: load.hottest_expert,
        slowdown: 1.0,
        fault_slowdown: 1.0,
        parts,
    })
}

/// Time in which the cores of the busiest rank move through buffers all that it sends or receives, its own copies too.
fn staging(network: &Network, to: &[f64]) -> f64 {
    let received = to.iter().copied().fold(0.0, f64::max) * to.len() as f64;
    received.max(to.iter().sum()) / collectives::staging_bandwidth(&network.links).get()
}

fn parts(network: &Network, exchange: &Exchange, copies: f64, transfer_s: f64) -> Parts {
    if network.ranks <= 1 {
        return Parts::default();
    }
    let group = Group { size: network.ranks as f64, stride: 1.0 };
    let last = network.tier(0, network.ranks - 1);
    let copy = network.links.first().map_or(0.0, |link| link.copy.get());
    Parts {
        path_s: network.latency(0, network.ranks - 1).get(),
        fixed_s: collectives::fixed(&network.links, last, group).get(),
        copies_s: if exchange.direction == Direction::Dispatch { copies * copy } else { 0.0 },
        transfer_s,
    }
}

/// # Errors
/// [`ExchangeError::CutOff`]: the faults leave pairs of ranks without a way.
pub(super) fn check_cut(loads: &Loads<'_>, ranks: usize, faults: &[FabricFault]) -> Result<(), ExchangeError> {
    let Some(cut) = loads.cut_off() else { return Ok(()) };
    let of = ranks * ranks.saturating_sub(1);
    Err(ExchangeError::CutOff {
        faults: faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        pairs: cut.pairs,
        of,
        from: cut.example.0,
        to: cut.example.1,
        served: 100.0 * (1.0 - cut.pairs as f64 / of.max(1) as f64),
    })
}

/// The flows of an exchange, one per pair of ranks, for the engine and the trace.
///
/// # Errors
/// [`ExchangeError`].
pub fn flows(
    site: &Site<'_>,
    exchange: &Exchange,
    faults: &[FabricFault],
) -> Result<(Network, Vec<Flow>), ExchangeError> {
    let network = Network::new(site, exchange.experts.ranks, LinkRates::Exchange, faults)?;
    let load = rank_load(&exchange.experts, &exchange.load)?;
    let traffic = traffic(&network, exchange, &load);
    let mut list = Vec::with_capacity(network.ranks * network.ranks);
    for from in 0..network.ranks {
        for (to, &bytes) in traffic.to.iter().enumerate().filter(|(to, bytes)| *to != from && **bytes > 0.0) {
            let (from, to) = exchange.direction.ends(from, to);
            list.push(Flow { from, to, bytes, start_s: 0.0 });
        }
    }
    Ok((network, list))
}
