//! What each rank, node and plane can carry, and which of these resources a byte passes on its way.
//!
//! Switch planes are folded into one as long as all are whole and messages are spread over them, since then each
//! carries the same share. A fault or a spread by hash unfolds them.

use std::collections::BTreeMap;

use crate::projection::fabric::link::Link;
use crate::units::Seconds;

/// The most planes that a fabric may have, as its file is checked.
const MOST_PLANES: usize = 64;

/// Ranks on a fabric, with its capacities.
#[derive(Debug, Clone)]
pub struct Network {
    /// The tiers as ranks see them.
    pub links: Vec<Link>,
    /// Ranks that take part: the first so many of the fabric.
    pub ranks: usize,
    /// `chip` or `die`.
    pub unit: &'static str,
    /// Whether any element is faulty.
    pub faulty: bool,
    pub(super) tiers: Vec<NetworkTier>,
    pub(super) blocks: Vec<Block>,
    pub(super) capacities: Vec<f64>,
    /// Share left of each rank's link to each plane of the bus; empty if all are whole.
    pub(super) left: Vec<f64>,
    pub(super) dead: Vec<bool>,
    pub(super) broken_links: BTreeMap<(usize, usize), f64>,
    pub(super) uplinks_left: BTreeMap<(usize, usize), f64>,
    pub(super) cores_left: Vec<f64>,
}

/// One tier, with the indices of its resources.
#[derive(Debug, Clone)]
pub(super) struct NetworkTier {
    pub(super) name: String,
    /// Ranks of one tier of this kind.
    pub(super) size: usize,
    /// Ranks of the tier inside it.
    pub(super) inner: usize,
    pub(super) port: usize,
    pub(super) planes: usize,
    pub(super) hashed: bool,
    /// Whether faults of planes and links apply.
    pub(super) bus: bool,
    pub(super) out: usize,
    pub(super) into: usize,
    pub(super) slice: Option<(usize, usize)>,
    pub(super) uplink: Option<(usize, usize)>,
    pub(super) core: Option<usize>,
    pub(super) direct: Option<usize>,
}

/// Resources of one kind that lie side by side: `offset + item * planes + plane`.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) what: What,
    pub(super) name: String,
    pub(super) offset: usize,
    pub(super) planes: usize,
}

/// Kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Out,
    In,
    Up,
    Down,
    Core,
    Direct,
}

impl Network {
    /// Bytes per second of each resource.
    pub fn capacities(&self) -> &[f64] {
        &self.capacities
    }

    /// What a resource is, in words.
    pub fn name(&self, resource: usize) -> String {
        let place = self.blocks.partition_point(|block| block.offset <= resource);
        let Some(block) = place.checked_sub(1).and_then(|place| self.blocks.get(place)) else {
            return "nothing".to_owned();
        };
        let (item, plane) = ((resource - block.offset) / block.planes, (resource - block.offset) % block.planes);
        let (name, unit) = (&block.name, self.unit);
        let plane = if block.planes > 1 { format!(", plane {plane}") } else { String::new() };
        match block.what {
            What::Out => format!("{name} out of {unit} {item}{plane}"),
            What::In => format!("{name} into {unit} {item}{plane}"),
            What::Up => format!("uplink of unit {item} to {name}{plane}"),
            What::Down => format!("downlink of {name} to unit {item}{plane}"),
            What::Core => format!("core of {name}{plane}"),
            What::Direct => {
                let from = item / self.members(name);
                format!("{name} link of {unit} {from} to place {} of its {name}", item % self.members(name))
            }
        }
    }

    fn members(&self, tier: &str) -> usize {
        self.tiers.iter().find(|other| other.name == tier).map_or(1, |tier| tier.size / tier.inner).max(1)
    }

    /// The rank whose port a resource is, if it is one.
    pub fn rank_of(&self, resource: usize) -> Option<usize> {
        let place = self.blocks.partition_point(|block| block.offset <= resource);
        let block = self.blocks.get(place.checked_sub(1)?)?;
        matches!(block.what, What::Out | What::In).then(|| (resource - block.offset) / block.planes)
    }

    /// The innermost tier that two ranks share.
    pub fn tier(&self, from: usize, to: usize) -> usize {
        let shared = self.tiers.iter().position(|tier| from / tier.size == to / tier.size);
        shared.unwrap_or(self.tiers.len().saturating_sub(1))
    }

    /// Latency from rank to rank.
    pub fn latency(&self, from: usize, to: usize) -> Seconds {
        let link = self.links.get(self.tier(from, to)).filter(|_| from != to);
        link.map_or(Seconds::ZERO, |link| link.latency)
    }

    /// Index and size in ranks of the innermost tier that is more than a package. Two-level collectives forward inside
    /// it.
    pub fn node(&self) -> (usize, usize) {
        let tier = self.links.iter().position(|link| !link.on_package).unwrap_or(0);
        (tier, self.tiers.get(tier).map_or(1, |tier| tier.size))
    }

    /// Whether the ranks fill whole nodes, more than one, behind switches: what a two-level collective needs.
    pub fn has_whole_nodes(&self) -> bool {
        let (_, node) = self.node();
        let switched = self.tiers.iter().all(|tier| tier.direct.is_none());
        switched && self.ranks > node && self.ranks.is_multiple_of(node)
    }

    /// Calls `visit(resource, share)` for each resource on the way and the share of the bytes that passes it. `false`:
    /// there is no way.
    pub fn each_hop(&self, from: usize, to: usize, visit: &mut impl FnMut(usize, f64)) -> bool {
        if from == to {
            return true;
        }
        let is_dead = |rank: usize| self.dead.get(rank).copied().unwrap_or(false);
        if is_dead(from) || is_dead(to) {
            return false;
        }
        if self.tiers.first().is_some_and(|tier| tier.direct.is_some()) {
            return self.mesh_hops(from, to, visit);
        }
        let place = self.tier(from, to);
        let Some(tier) = self.tiers.get(place) else { return false };
        let mut weights = [0.0; MOST_PLANES];
        let weights = &mut weights[..tier.planes.min(MOST_PLANES)];
        if !self.spread(place, tier, from, to, weights) {
            return false;
        }
        let planes = tier.planes;
        for (plane, &share) in weights.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            visit(tier.out + from * planes + plane, share);
            visit(tier.into + to * planes + plane, share);
            if let Some((out, into)) = tier.slice {
                visit(out + from * planes + plane, share);
                visit(into + to * planes + plane, share);
            }
            for passed in self.tiers.iter().take(place + 1).filter(|passed| passed.port == tier.port) {
                if from / passed.inner == to / passed.inner {
                    continue;
                }
                if let Some((up, down)) = passed.uplink {
                    visit(up + from / passed.inner * planes + plane, share);
                    visit(down + to / passed.inner * planes + plane, share);
                }
                if let Some(core) = passed.core {
                    visit(core + plane, share);
                }
            }
        }
        true
    }

    /// Shares of the planes; `false` if none joins the two.
    fn spread(&self, place: usize, tier: &NetworkTier, from: usize, to: usize, weights: &mut [f64]) -> bool {
        if tier.planes == 1 && !(tier.bus && self.faulty) {
            weights.fill(1.0);
            return true;
        }
        for (plane, weight) in weights.iter_mut().enumerate() {
            *weight = if tier.bus { self.plane_left(place, from, to, plane) } else { 1.0 };
        }
        if tier.hashed {
            return keep_one(weights, hash(from, to));
        }
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        sum > 0.0
    }

    /// What is left of the way from rank to rank in one plane: its weakest part.
    fn plane_left(&self, place: usize, from: usize, to: usize, plane: usize) -> f64 {
        let planes = self.tiers.get(place).map_or(1, |tier| tier.planes);
        let of_rank = |rank: usize| self.left.get(rank * planes + plane).copied().unwrap_or(1.0);
        let mut left = of_rank(from).min(of_rank(to));
        let Some((_, node)) = Some(self.node()).filter(|(tier, _)| place > *tier) else { return left };
        for unit in [from / node, to / node] {
            left = left.min(self.uplinks_left.get(&(unit, plane)).copied().unwrap_or(1.0));
        }
        left.min(self.cores_left.get(plane).copied().unwrap_or(1.0))
    }

    /// Dimension by dimension, the innermost first; the other way round if a chip on the way is down.
    fn mesh_hops(&self, from: usize, to: usize, visit: &mut impl FnMut(usize, f64)) -> bool {
        let forwards: Vec<usize> = (0..self.tiers.len()).collect();
        let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
        for order in [forwards, backwards] {
            let mut hops = Vec::with_capacity(8);
            if self.walk(from, to, &order, &mut hops) {
                hops.into_iter().for_each(|(resource, share)| visit(resource, share));
                return true;
            }
        }
        false
    }

    fn walk(&self, from: usize, to: usize, order: &[usize], hops: &mut Vec<(usize, f64)>) -> bool {
        let mut here = from;
        for tier in order.iter().filter_map(|&place| self.tiers.get(place)) {
            let (Some(offset), members) = (tier.direct, tier.size / tier.inner) else { return false };
            let place = |rank: usize| rank / tier.inner % members;
            let (own, target) = (place(here), place(to));
            if own == target {
                continue;
            }
            let at = |other: usize| here - own * tier.inner + other * tier.inner;
            let link = |rank: usize, other: usize| offset + rank * members + other;
            let left = self.direct_left(here, at(target));
            if left > 0.0 {
                hops.push((link(here, target), left));
            }
            if left < 1.0 {
                let whole = |&other: &usize| {
                    other != own
                        && other != target
                        && self.direct_left(here, at(other)) == 1.0
                        && self.direct_left(at(other), at(target)) == 1.0
                };
                let detours: Vec<usize> = (0..members).filter(whole).collect();
                if detours.is_empty() && left == 0.0 {
                    return false;
                }
                // A link at part of its rate without detours carries all, slowly.
                let share = (1.0 - left) / detours.len().max(1) as f64;
                if detours.is_empty() {
                    hops.push((link(here, target), share));
                }
                for other in detours {
                    hops.push((link(here, other), share));
                    hops.push((link(at(other), target), share));
                }
            }
            here = at(target);
        }
        true
    }

    /// Share left of the direct link between two chips of a mesh.
    pub(super) fn direct_left(&self, from: usize, to: usize) -> f64 {
        if !self.faulty {
            return 1.0;
        }
        if [from, to].iter().any(|&rank| self.dead.get(rank).copied().unwrap_or(false)) {
            return 0.0;
        }
        self.broken_links.get(&(from.min(to), from.max(to))).copied().unwrap_or(1.0)
    }
}

/// Keeps one of the planes that are left: the one that the hash chooses.
fn keep_one(weights: &mut [f64], hash: usize) -> bool {
    let open = weights.iter().filter(|weight| **weight > 0.0).count();
    if open == 0 {
        return false;
    }
    let mut before = hash % open;
    for weight in weights {
        let chosen = *weight > 0.0 && before == 0;
        before = if *weight > 0.0 { before.wrapping_sub(1) } else { before };
        *weight = if chosen { 1.0 } else { 0.0 };
    }
    true
}

/// A fixed mix of both ends (splitmix64's finaliser): the same route in every run.
fn hash(from: usize, to: usize) -> usize {
    let mut x = (from as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (to as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    usize::try_from((x ^ (x >> 31)) >> 33).unwrap_or(0)
}
