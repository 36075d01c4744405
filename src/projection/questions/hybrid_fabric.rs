//! Fabrics with some properties of one fabric and the others of another, for explanations.

use crate::specs::{Fabric, Tier};

/// Which properties a hybrid has from the fabric; the others are the baseline's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FabricParts {
    /// Bandwidths, and the shares of them that are reached.
    pub(super) bandwidth: bool,
    /// Latencies and fixed costs.
    pub(super) latency: bool,
    /// Tiers and ports.
    pub(super) tiers: bool,
}

/// A fabric with some properties of `fabric`, and the others of `baseline`. A tier takes values from the other fabric's
/// tier that joins as many chips, of those in use.
pub(super) fn mixed(fabric: &Fabric, baseline: &Fabric, chips: u32, parts: FabricParts) -> Fabric {
    let of = |has: bool| if has { fabric } else { baseline };
    let mut mix = of(parts.tiers).clone();
    let FabricParts { bandwidth, latency, tiers } = parts;
    let names = [(bandwidth, " bandwidth"), (latency, " latency"), (tiers, " tiers")];
    let names: String = names.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
    mix.name = format!("{} with{names} of {}", baseline.name, fabric.name);
    mix.dispatch_copy_s.clone_from(&of(latency).dispatch_copy_s);
    for tier in &mut mix.tiers {
        if let Some(source) = same_reach(of(bandwidth), tier.chips, chips) {
            tier.bandwidth_bytes_per_s.clone_from(&source.bandwidth_bytes_per_s);
            tier.link_efficiency = source.link_efficiency.clone();
            tier.all_to_all_efficiency.clone_from(&source.all_to_all_efficiency);
        }
        if let Some(source) = same_reach(of(latency), tier.chips, chips) {
            tier.latency_s = source.latency_s.clone();
            tier.latency_is = source.latency_is;
            tier.hops = source.hops;
            tier.message_overhead_s = source.message_overhead_s.clone();
            tier.collective_fixed_s = source.collective_fixed_s.clone();
            tier.all_to_all_fixed_s = source.all_to_all_fixed_s.clone();
        }
    }
    mix
}

/// The innermost tier that joins `reach` chips, or as many of them as are in use.
pub(super) fn same_reach(fabric: &Fabric, reach: u64, chips: u32) -> Option<&Tier> {
    fabric.tier_joining(reach.min(u64::from(chips)))
}
