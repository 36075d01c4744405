//! Bytes on each resource, and the time that the busiest one needs.

use crate::projection::fabric::direction::Direction;
use crate::projection::fabric::network::error::NetworkError;
use crate::projection::fabric::network::graph::Network;

/// The most ranks that are routed pair by pair.
pub(super) const MOST_PAIRED_RANKS: usize = 8192;

/// Bytes on each resource of a network.
#[derive(Debug, Clone)]
pub struct Loads<'a> {
    network: &'a Network,
    bytes: Vec<f64>,
    cut: Option<CutOff>,
}

/// Pairs of ranks that no way joins any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// How many ordered pairs.
    pub pairs: usize,
    /// One of them.
    pub example: (usize, usize),
}

/// The resource that takes longest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Busiest {
    /// Which.
    pub resource: usize,
    /// Seconds.
    pub time_s: f64,
}

impl<'a> Loads<'a> {
    /// No bytes yet.
    pub fn new(network: &'a Network) -> Self {
        Self { network, bytes: vec![0.0; network.capacities().len()], cut: None }
    }

    /// Bytes by resource.
    pub fn bytes(&self) -> &[f64] {
        &self.bytes
    }

    /// Pairs that cannot be served.
    pub fn cut_off(&self) -> Option<&CutOff> {
        self.cut.as_ref()
    }

    /// The busiest resource, the first of equals; `None` without traffic.
    pub fn busiest(&self) -> Option<Busiest> {
        let times = || self.bytes.iter().zip(self.network.capacities()).map(|(bytes, capacity)| bytes / capacity);
        let time_s = times().filter(|time| !time.is_nan()).fold(0.0, f64::max);
        // Sums in another order differ in their last places.
        let resource = times().position(|time| time >= time_s * (1.0 - 1e-12));
        resource.filter(|_| time_s > 0.0).map(|resource| Busiest { resource, time_s })
    }

    /// Bytes of one pair.
    pub fn add(&mut self, from: usize, to: usize, bytes: f64) {
        if bytes <= 0.0 {
            return;
        }
        let Self { network, bytes: loads, cut } = self;
        let there = network.each_hop(from, to, &mut |resource, share| {
            if let Some(load) = loads.get_mut(resource) {
                *load += bytes * share;
            }
        });
        if !there {
            cut.get_or_insert(CutOff { pairs: 0, example: (from, to) }).pairs += 1;
        }
    }

    /// In a dispatch, every rank sends `to[j]` bytes to each rank `j`. In a combine, every rank `j` sends `to[j]` bytes
    /// to each. Whole symmetric fabrics are summed by tier, which is exact, others pair by pair.
    ///
    /// # Errors
    /// [`NetworkError::TooLarge`] for too many pairs.
    pub fn add_same_from_all(&mut self, to: &[f64], direction: Direction) -> Result<(), NetworkError> {
        if self.can_sum() {
            self.sum_by_tier(to, direction, 1.0, self.network.tiers.len());
            return Ok(());
        }
        self.check_pairs()?;
        for (rank, &bytes) in to.iter().enumerate() {
            for other in 0..to.len() {
                let (from, to) = direction.ends(other, rank);
                self.add(from, to, bytes);
            }
        }
        Ok(())
    }

    /// The two-level way of a dispatch, in two steps; a combine runs them backwards. The ranks must fill whole nodes.
    ///
    /// 1. Each rank sends `to_node[x]` bytes to the rank of its own position in each other node `x`.
    /// 2. That rank forwards `to[j]` bytes to each rank `j` of its node.
    ///
    /// # Errors
    /// [`NetworkError::TooLarge`] for too many pairs.
    pub fn add_two_level(&mut self, to_node: &[f64], to: &[f64], direction: Direction) -> Result<(), NetworkError> {
        let (node_tier, node) = self.network.node();
        let nodes = to_node.len() as f64;
        if self.can_sum() {
            self.sum_by_tier(to, direction, nodes, node_tier + 1);
            self.sum_rails(to_node, direction);
            return Ok(());
        }
        self.check_pairs()?;
        let ranks = to.len();
        for (rank, &bytes) in to.iter().enumerate() {
            let first = rank / node * node;
            for rail in (first..(first + node).min(ranks)).filter(|&rail| rail != rank) {
                let (from, to) = direction.ends(rail, rank);
                self.add(from, to, bytes * nodes);
            }
            for (place, &bytes) in to_node.iter().enumerate().filter(|(place, _)| *place != rank / node) {
                let (from, to) = direction.ends(rank, place * node + rank % node);
                self.add(from, to, bytes);
            }
        }
        Ok(())
    }

    fn can_sum(&self) -> bool {
        let network = self.network;
        !network.faulty && network.tiers.iter().all(|tier| !tier.hashed && tier.direct.is_none())
    }

    fn check_pairs(&self) -> Result<(), NetworkError> {
        let ranks = self.network.ranks;
        if ranks > MOST_PAIRED_RANKS { Err(NetworkError::TooLarge { ranks, most: MOST_PAIRED_RANKS }) } else { Ok(()) }
    }

    fn put(&mut self, place: usize, bytes: f64) {
        if let Some(load) = self.bytes.get_mut(place) {
            *load += bytes;
        }
    }

    /// Loads of a whole, sprayed, switched fabric on its first `tiers` tiers, times `factor`. On a tier, a rank sends
    /// what goes to members of the tier that share no inner tier with it. It receives from as many members.
    fn sum_by_tier(&mut self, to: &[f64], direction: Direction, factor: f64, tiers: usize) {
        let ranks = to.len();
        let totals: Vec<Vec<f64>> = self
            .network
            .tiers
            .iter()
            .map(|tier| to.chunks(tier.size).map(|unit| unit.iter().sum()).collect())
            .collect();
        let total = |place: usize, size: usize, rank: usize| -> f64 {
            totals.get(place).and_then(|units| units.get(rank / size)).copied().unwrap_or(0.0)
        };
        let count = |size: usize, rank: usize| (ranks - rank / size * size).min(size) as f64;
        for place in 0..tiers.min(self.network.tiers.len()) {
            let Some(tier) = self.network.tiers.get(place).cloned() else { continue };
            if tier.inner >= ranks {
                break;
            }
            let inner_total = |rank: usize| match place.checked_sub(1) {
                Some(inner) => total(inner, tier.inner, rank),
                None => to.get(rank).copied().unwrap_or(0.0),
            };
            for (rank, &own) in to.iter().enumerate() {
                let sent = factor * (total(place, tier.size, rank) - inner_total(rank)).max(0.0);
                let received = factor * own * (count(tier.size, rank) - count(tier.inner, rank));
                let (sent, received) = direction.ends(sent, received);
                self.put(tier.out + rank, sent);
                self.put(tier.into + rank, received);
                if let Some((out, into)) = tier.slice {
                    self.put(out + rank, sent);
                    self.put(into + rank, received);
                }
            }
            let Some((up, down)) = tier.uplink else { continue };
            // An uplink carries what goes to outer tiers of the same port, too.
            let (outer, outer_size) = self.outermost_of_port(place, tiers, tier.size);
            for unit in 0..ranks.div_ceil(tier.inner) {
                let rank = unit * tier.inner;
                let inside = inner_total(rank);
                let members = count(tier.inner, rank);
                let sent = factor * members * (total(outer, outer_size, rank) - inside).max(0.0);
                let received = factor * inside * (count(outer_size, rank) - members);
                let (sent, received) = direction.ends(sent, received);
                self.put(up + unit, sent);
                self.put(down + unit, received);
            }
        }
    }

    fn outermost_of_port(&self, place: usize, tiers: usize, size: usize) -> (usize, usize) {
        let port = self.network.tiers.get(place).map(|tier| tier.port);
        let same = self.network.tiers.iter().enumerate().take(tiers).skip(place);
        same.take_while(|(_, tier)| Some(tier.port) == port)
            .last()
            .map_or((place, size), |(place, tier)| (place, tier.size))
    }

    /// Loads between nodes, where each rank sends to the ranks of its own position alone.
    fn sum_rails(&mut self, to_node: &[f64], direction: Direction) {
        let (node_tier, node) = self.network.node();
        let all = self.network.tiers.len();
        for (number, tier) in self.network.tiers.clone().iter().enumerate().skip(node_tier + 1) {
            let (size, inner) = (tier.size / node, tier.inner / node);
            if inner >= to_node.len() {
                break;
            }
            let sums = |size: usize| -> Vec<f64> { to_node.chunks(size).map(|unit| unit.iter().sum()).collect() };
            let (outer, inside) = (sums(size), sums(inner));
            let count = |size: usize, place: usize| (to_node.len() - place / size * size).min(size) as f64;
            for (place, &own) in to_node.iter().enumerate() {
                let of = |sums: &[f64], size: usize| sums.get(place / size).copied().unwrap_or(0.0);
                let sent = (of(&outer, size) - of(&inside, inner)).max(0.0);
                let received = own * (count(size, place) - count(inner, place));
                let (sent, received) = direction.ends(sent, received);
                for rank in place * node..(place + 1) * node {
                    self.put(tier.out + rank, sent);
                    self.put(tier.into + rank, received);
                    if let Some((out, into)) = tier.slice {
                        self.put(out + rank, sent);
                        self.put(into + rank, received);
                    }
                }
                if let Some((up, down)) = tier.uplink {
                    // As in `sum_by_tier`: with what goes to outer tiers of the same port.
                    let (_, beyond) = self.outermost_of_port(number, all, tier.size);
                    let sent = (of(&sums(beyond / node), beyond / node) - of(&inside, inner)).max(0.0);
                    let received = own * (count(beyond / node, place) - count(inner, place));
                    let (sent, received) = direction.ends(sent, received);
                    self.put(up + place * node / tier.inner, sent * node as f64);
                    self.put(down + place * node / tier.inner, received * node as f64);
                }
            }
        }
    }
}
