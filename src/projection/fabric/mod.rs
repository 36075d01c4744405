//! The fabric at one end of its bands, and groups of chips on it.

mod collectives;

use super::uncertainty::Scenario;
use crate::specs::{Fabric, LatencyIs, Sourced};

pub use collectives::{AllToAll, all_reduce, all_to_all, send};

/// A tier with plain numbers, efficiency included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Chips inside the tier.
    pub chips: f64,
    /// Tiers with the same number share the chip's injection port.
    pub port: usize,
    /// Bytes per second, chip and direction that collectives reach.
    pub bandwidth: f64,
    /// From chip to chip, seconds.
    pub latency: f64,
    /// To issue a message, seconds.
    pub message: f64,
    /// Fixed cost of an all-reduce or send, seconds.
    pub fixed: f64,
    /// Fixed cost of a dispatch or combine, seconds.
    pub all_to_all_fixed: f64,
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

/// The tiers at one end of their bands. A tier without bandwidth of its own takes the chip's scale-up links.
pub fn links(fabric: &Fabric, scale_up: &Sourced, scenario: Scenario) -> Vec<Link> {
    let port = |name: &str| fabric.tiers.iter().position(|tier| tier.port == name).unwrap_or(0);
    fabric
        .tiers
        .iter()
        .map(|tier| {
            let bandwidth = tier.bandwidth_bytes_per_s.as_ref().unwrap_or(scale_up);
            let hops = if tier.latency_is == LatencyIs::Hop { tier.hops as f64 } else { 1.0 };
            Link {
                chips: tier.chips as f64,
                port: port(&tier.port),
                bandwidth: scenario.rate(bandwidth) * scenario.rate(&tier.link_efficiency),
                latency: hops * scenario.time(&tier.latency_s),
                message: scenario.time(&tier.message_overhead_s),
                fixed: scenario.time(&tier.collective_fixed_s),
                all_to_all_fixed: scenario.time(&tier.all_to_all_fixed_s),
            }
        })
        .collect()
}
