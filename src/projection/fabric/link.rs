//! The tiers of a fabric as links of a chip or of a rank, and groups of ranks on them.

use crate::specs::{Fabric, LatencyIs, Scenario, Sourced, Topology};
use crate::units::{BytesPerSecond, Seconds};

/// A tier at one end of its bands, with efficiencies included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Members inside the tier: chips for [`links`], ranks for [`rank_links`].
    pub chips: f64,
    /// Tiers with the same number share the member's injection port.
    pub port: usize,
    /// Bandwidth per member and direction that collectives reach.
    pub bandwidth: BytesPerSecond,
    /// The same for dispatch and combine.
    pub all_to_all_bandwidth: BytesPerSecond,
    /// From member to member.
    pub latency: Seconds,
    /// To issue one message of a ring, tree or send.
    pub message: Seconds,
    /// Fixed cost of an all-reduce or send.
    pub fixed: Seconds,
    /// Fixed cost of a dispatch or combine with all peers on this tier.
    pub all_to_all_fixed: Seconds,
    /// Time of the sender's cores per copy in a dispatch.
    pub copy: Seconds,
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

/// The tiers as chips see them, all ports of a chip taken together. A tier without a bandwidth of its own takes
/// `scale_up`, that of the chip's links.
pub fn links(fabric: &Fabric, scale_up: &Sourced, scenario: Scenario) -> Vec<Link> {
    tier_links(fabric, scale_up, scenario, 1.0)
}

/// The tiers as ranks see them. Where dies are ranks, each die has its share of the chip's ports. The innermost tier is
/// then the link between the dies of a package.
pub fn rank_links(fabric: &Fabric, scale_up: &Sourced, scenario: Scenario) -> Vec<Link> {
    let mut tiers = tier_links(fabric, scale_up, scenario, fabric.ranks_per_chip() as f64);
    if let (Some(dies), Some(&inner)) = (&fabric.dies, tiers.first()) {
        let bandwidth = BytesPerSecond::new(scenario.rate(&dies.bandwidth_bytes_per_s));
        let package = Link {
            chips: dies.per_chip as f64,
            port: fabric.tiers.len(),
            bandwidth,
            all_to_all_bandwidth: bandwidth,
            latency: Seconds::new(scenario.time(&dies.latency_s)),
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
    let copy = Seconds::new(fabric.dispatch_copy_s.as_ref().map_or(0.0, |copy| scenario.time(copy)) / cores);
    let time = |value: &Sourced| Seconds::new(scenario.time(value));
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
                bandwidth: BytesPerSecond::new(bandwidth * scenario.rate(&tier.link_efficiency)),
                all_to_all_bandwidth: BytesPerSecond::new(bandwidth * scenario.rate(reached)),
                latency: Seconds::new(hops * scenario.time(&tier.latency_s)),
                message: time(&tier.message_overhead_s),
                fixed: time(&tier.collective_fixed_s),
                all_to_all_fixed: time(&tier.all_to_all_fixed_s),
                copy,
                fanout: if mesh { members - 1.0 } else { 0.0 },
                reduces: tier.in_switch_reduce,
                on_package: false,
            }
        })
        .collect()
}
