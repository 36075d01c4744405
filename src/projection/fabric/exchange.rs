//! Dispatch, combine and bulk collectives on a network of ranks, with skewed experts and faults.

mod bulk;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::faults::Fault;
use super::load::{ExpertLoad, Experts, LoadError, RankLoad, rank_load};
use super::network::{Loads, Network, NetworkError, Rates};
use super::{Algorithm, Group, collectives};
use crate::projection::uncertainty::Scenario;
use crate::specs::{Fabric, Sourced};

pub use bulk::{Bulk, bulk};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Tokens to their experts.
    Dispatch,
    /// Results back.
    Combine,
}

/// Which kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For few tokens: each copy straight to its expert.
    LowLatency,
    /// For many: once to each rank that needs a token, through buffers; once to each node where that is faster.
    Normal,
}

/// Elements of a token on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// 8-bit floats, a 4-byte scale for each 128 and 16 bytes of metadata (DeepEP).
    Fp8,
    /// 8-bit integers and 512 bytes of scale (arXiv:2506.12708, 4.2.1: 7.5 KB for a hidden size of 7168).
    Int8,
    /// Two bytes an element.
    Bf16,
}

impl Payload {
    /// Bytes of one token of `hidden` elements.
    pub fn bytes(self, hidden: f64) -> f64 {
        match self {
            Self::Fp8 => hidden + 4.0 * (hidden / 128.0).ceil() + 16.0,
            Self::Int8 => hidden + 512.0,
            Self::Bf16 => 2.0 * hidden,
        }
    }
}

/// A dispatch or combine.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Which way.
    pub direction: Direction,
    /// Which kernels.
    pub mode: Mode,
    /// Tokens of a rank.
    pub tokens: f64,
    /// Elements of a token.
    pub hidden: f64,
    /// What travels.
    pub payload: Payload,
    /// Experts, their ranks and picks.
    pub experts: Experts,
    /// How tokens are spread.
    pub load: ExpertLoad,
    /// The most nodes that a token may visit, where the router limits them.
    pub most_groups: Option<f64>,
}

/// Time of a collective, its parts, and what sets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// From the first byte's issue to the last one's arrival.
    pub latency_s: f64,
    /// Bytes of a rank over the latency, in the published tables' count: each copy, the own ones too; for two levels, one
    /// for each node.
    pub bandwidth_bytes_per_s: f64,
    /// How it is carried out.
    pub algorithm: &'static str,
    /// The busiest resource.
    pub hottest_link: String,
    /// The rank with the most traffic through its ports.
    pub hottest_rank: usize,
    /// Its load over the mean.
    pub hottest_rank_load: f64,
    /// The most loaded expert over the mean.
    pub hottest_expert_load: f64,
    /// Latency over that with uniform load.
    pub slowdown: f64,
    /// What faults cost: latency over that of the whole fabric.
    pub fault_slowdown: f64,
    /// Parts that add up to the latency.
    pub parts: Parts,
}

/// Parts of a latency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Parts {
    /// Of the outermost tier in use.
    pub path_s: f64,
    /// Launch, counts, flags.
    pub fixed_s: f64,
    /// The sender's cores.
    pub copies_s: f64,
    /// Bytes through the busiest resource.
    pub transfer_s: f64,
}

impl Parts {
    fn total(&self) -> f64 {
        self.path_s + self.fixed_s + self.copies_s + self.transfer_s
    }
}

/// Why a collective has no time.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExchangeError {
    /// Ranks or faults that do not fit.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Experts that do not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Faults leave no way.
    #[error(
        "cut off: {faults} leaves no way for {pairs} of {of} pairs of ranks, e.g. {from} to {to}; {served:.1} % of the pairs are served"
    )]
    CutOff {
        /// Which faults.
        faults: String,
        /// Ordered pairs without a way.
        pairs: usize,
        /// All ordered pairs.
        of: usize,
        /// One of them.
        from: usize,
        /// One of them.
        to: usize,
        /// Share of the pairs that remain, in percent.
        served: f64,
    },
}

/// A fabric with its numbers at one end of their bands.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The fabric.
    pub fabric: &'a Fabric,
    /// Bandwidth of tiers without one of their own: a chip's scale-up links.
    pub scale_up: &'a Sourced,
    /// Which end.
    pub scenario: Scenario,
}

impl Site<'_> {
    fn network(&self, ranks: usize, rates: Rates, faults: &[Fault]) -> Result<Network, NetworkError> {
        Network::new(self.fabric, self.scale_up, self.scenario, ranks, rates, faults)
    }
}

/// Time of a dispatch or combine.
///
/// # Errors
/// [`ExchangeError`].
pub fn exchange(site: &Site<'_>, exchange: &Exchange, faults: &[Fault]) -> Result<Answer, ExchangeError> {
    let ranks = exchange.experts.ranks;
    let load = rank_load(&exchange.experts, &exchange.load)?;
    let whole = site.network(ranks, Rates::Exchange, &[])?;
    let mut answer = on(&whole, exchange, &load, faults)?;
    if exchange.load != ExpertLoad::Uniform {
        let even = RankLoad { copies: vec![exchange.experts.top_k as f64 / ranks as f64; ranks], hottest_expert: 1.0 };
        answer.slowdown = answer.latency_s / on(&whole, exchange, &even, faults)?.latency_s;
    }
    if faults.iter().all(|fault| fault.left >= 1.0) {
        return Ok(answer);
    }
    let faulty = site.network(ranks, Rates::Exchange, faults)?;
    let mut worse = on(&faulty, exchange, &load, faults)?;
    // In a full mesh a detour may be wider than the direct link, and other hashes may collide less; the whole fabric could
    // be routed so too, so that a fault is never credited with it.
    if worse.latency_s < answer.latency_s {
        let (latency_s, parts) = (answer.latency_s, answer.parts);
        worse = Answer { latency_s, parts, bandwidth_bytes_per_s: answer.bandwidth_bytes_per_s, ..worse };
    }
    Ok(Answer { slowdown: answer.slowdown, fault_slowdown: worse.latency_s / answer.latency_s, ..worse })
}

/// The traffic of an exchange on a network.
struct Traffic {
    /// Bytes from each rank to each.
    to: Vec<f64>,
    /// Bytes from each rank to its peer in each node, if the ranks fill whole nodes.
    to_node: Vec<f64>,
    /// Copies of a rank.
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

fn on(network: &Network, exchange: &Exchange, load: &RankLoad, faults: &[Fault]) -> Result<Answer, ExchangeError> {
    let traffic = traffic(network, exchange, load);
    let reversed = exchange.direction == Direction::Combine;
    let mut direct = Loads::new(network);
    direct.add_same_from_all(&traffic.to, reversed)?;
    check_cut(&direct, network.ranks, faults)?;
    let time = |loads: &Loads<'_>| loads.busiest().map_or(0.0, |busiest| busiest.time_s);
    let mut chosen = (Algorithm::Direct, direct);
    if exchange.mode == Mode::Normal && !traffic.to_node.is_empty() {
        let mut staged = Loads::new(network);
        staged.add_two_level(&traffic.to_node, &traffic.to, reversed)?;
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

/// Through buffers, the cores of the busiest rank move all that it sends or receives, its own copies too.
fn staging(network: &Network, to: &[f64]) -> f64 {
    let received = to.iter().copied().fold(0.0, f64::max) * to.len() as f64;
    received.max(to.iter().sum()) / collectives::staging_bandwidth(&network.links)
}

fn parts(network: &Network, exchange: &Exchange, copies: f64, transfer_s: f64) -> Parts {
    if network.ranks <= 1 {
        return Parts::default();
    }
    let group = Group { size: network.ranks as f64, stride: 1.0 };
    let last = network.tier(0, network.ranks - 1);
    let copy = network.links.first().map_or(0.0, |link| link.copy);
    Parts {
        path_s: network.latency(0, network.ranks - 1),
        fixed_s: collectives::fixed(&network.links, last, group),
        copies_s: if exchange.direction == Direction::Dispatch { copies * copy } else { 0.0 },
        transfer_s,
    }
}

fn check_cut(loads: &Loads<'_>, ranks: usize, faults: &[Fault]) -> Result<(), ExchangeError> {
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

/// The flows of an exchange, one for each pair of ranks, for the engine and the trace.
///
/// # Errors
/// [`ExchangeError`].
pub fn flows(
    site: &Site<'_>,
    exchange: &Exchange,
    faults: &[Fault],
) -> Result<(Network, Vec<super::flows::Flow>), ExchangeError> {
    let network = site.network(exchange.experts.ranks, Rates::Exchange, faults)?;
    let load = rank_load(&exchange.experts, &exchange.load)?;
    let traffic = traffic(&network, exchange, &load);
    let mut list = Vec::with_capacity(network.ranks * network.ranks);
    for from in 0..network.ranks {
        for (to, &bytes) in traffic.to.iter().enumerate().filter(|(to, bytes)| *to != from && **bytes > 0.0) {
            let (from, to) = if exchange.direction == Direction::Combine { (to, from) } else { (from, to) };
            list.push(super::flows::Flow { from, to, bytes, start_s: 0.0 });
        }
    }
    Ok((network, list))
}
