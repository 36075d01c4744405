//! The network: closed forms for uniform traffic on whole tiers, port loads for skewed traffic and faults, and a
//! flow-level engine with max-min fair sharing for everything else. Each is tested against the next.
//!
//! # What a dispatch or combine costs
//!
//! `T = latency + sum over tiers of share * fixed + copies * copy + max over ports of bytes / bandwidth`
//!
//! where `share` is the share of the peers on a tier, `copy` the time of the sender's cores for one copy (dispatch only), and
//! the ports are each rank's way out and in, by switch plane, the uplinks of its node, and the planes themselves. A rank that
//! holds a hot expert is one port: what it receives is counted once, and the slowest port sets the time.
//!
//! # Sharing, and what is monotone
//!
//! All copies of a token are treated alike: max-min fairness over copies, so that flows share a port in proportion to
//! their bytes, as they do where senders work through their tokens in order. Then every flow through the busiest port ends
//! with it, and no port takes longer, so that the makespan *is* the bound of the busiest port. That makes it monotone: for given routes
//! a larger capacity or a lower latency is never slower. Routes depend on faults alone, not on capacities; a rank's total
//! through its remaining planes is what it was through all, so that a faulty fabric is never faster than a whole one.
//! Fairness by flow ([`flows::Fairness::PerFlow`]) has no such guarantee, nor has one fault more on top of several others.

mod collectives;
pub mod exchange;
pub mod faults;
pub mod fit;
pub mod flows;
pub mod import;
pub mod load;
pub mod network;
pub mod trace;

use super::uncertainty::Scenario;
use crate::specs::{Fabric, LatencyIs, Sourced, Topology};

pub use collectives::{
    Algorithm, AllToAll, Collective, algorithms, all_reduce, all_to_all, best, dispatch, distinct, issue, send,
    staged_all_to_all,
};

/// A tier with plain numbers, efficiency included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Members inside the tier: chips for [`links`], ranks for [`rank_links`].
    pub chips: f64,
    /// Tiers with the same number share the member's injection port.
    pub port: usize,
    /// Bytes per second, member and direction that collectives reach.
    pub bandwidth: f64,
    /// The same for dispatch and combine.
    pub all_to_all_bandwidth: f64,
    /// From member to member, seconds.
    pub latency: f64,
    /// To issue a message of a ring, tree or send, seconds.
    pub message: f64,
    /// Fixed cost of an all-reduce or send, seconds.
    pub fixed: f64,
    /// Fixed cost of a dispatch or combine with all peers on this tier, seconds.
    pub all_to_all_fixed: f64,
    /// Seconds of the sender's cores a copy in a dispatch.
    pub copy: f64,
    /// In a full mesh, the direct links that share the bandwidth; 0 for a switched tier.
    pub fanout: f64,
    /// Whether the switches reduce.
    pub reduces: bool,
    /// The link between the dies of a package.
    pub on_package: bool,
}

/// Chips that talk to each other: `size` of them, every `stride`-th chip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Members.
    pub size: f64,
    /// Distance between neighbours.
    pub stride: f64,
}

impl Group {
    /// Members that share one tier with a member: at least itself, at most all.
    pub fn within(self, link: &Link) -> f64 {
        (link.chips / self.stride).floor().clamp(1.0, self.size)
    }

    /// The innermost tier that holds all members; the outermost if none does.
    pub fn outermost(self, links: &[Link]) -> Option<usize> {
        links.iter().position(|link| self.within(link) >= self.size).or(links.len().checked_sub(1))
    }
}

/// The tiers at one end of their bands, a chip's ports taken together. A tier without bandwidth of its own takes the chip's scale-up
/// links.
pub fn links(fabric: &Fabric, scale_up: &Sourced, scenario: Scenario) -> Vec<Link> {
    tier_links(fabric, scale_up, scenario, 1.0)
}

/// The tiers as ranks see them: where dies are ranks, each has its share of the chip's ports, and the link between the dies
/// of a package is the innermost tier.
pub fn rank_links(fabric: &Fabric, scale_up: &Sourced, scenario: Scenario) -> Vec<Link> {
    let mut tiers = tier_links(fabric, scale_up, scenario, fabric.ranks_per_chip() as f64);
    if let (Some(dies), Some(&inner)) = (&fabric.dies, tiers.first()) {
        let bandwidth = scenario.rate(&dies.bandwidth_bytes_per_s);
        let package = Link {
            chips: dies.per_chip as f64,
            port: fabric.tiers.len(),
            bandwidth,
            all_to_all_bandwidth: bandwidth,
            latency: scenario.time(&dies.latency_s),
            reduces: false,
            on_package: true,
            ..inner
        };
        tiers.insert(0, package);
    }
    tiers
}

fn tier_links(fabric: &Fabric, scale_up: &Sourced, scenario: Scenario, ranks_per_chip: f64) -> Vec<Link> {
    let port = |name: &str| fabric.tiers.iter().position(|tier| tier.port == name).unwrap_or(0);
    let mesh = fabric.topology == Topology::FullMesh;
    // The cores of a chip's dies work side by side.
    let cores = fabric.ranks_per_chip() as f64 / ranks_per_chip;
    let copy = fabric.dispatch_copy_s.as_ref().map_or(0.0, |copy| scenario.time(copy)) / cores;
    let mut inner = 1.0;
    fabric
        .tiers
        .iter()
        .map(|tier| {
            let bandwidth = scenario.rate(tier.bandwidth_bytes_per_s.as_ref().unwrap_or(scale_up)) / ranks_per_chip;
            let reached = tier.all_to_all_efficiency.as_ref().unwrap_or(&tier.link_efficiency);
            let hops = if tier.latency_is == LatencyIs::Hop { tier.hops as f64 } else { 1.0 };
            let members = tier.chips as f64 / inner;
            inner = tier.chips as f64;
            Link {
                chips: tier.chips as f64 * ranks_per_chip,
                port: port(&tier.port),
                bandwidth: bandwidth * scenario.rate(&tier.link_efficiency),
                all_to_all_bandwidth: bandwidth * scenario.rate(reached),
                latency: hops * scenario.time(&tier.latency_s),
                message: scenario.time(&tier.message_overhead_s),
                fixed: scenario.time(&tier.collective_fixed_s),
                all_to_all_fixed: scenario.time(&tier.all_to_all_fixed_s),
                copy,
                fanout: if mesh { members - 1.0 } else { 0.0 },
                reduces: tier.in_switch_reduce,
                on_package: false,
            }
        })
        .collect()
}
