//! Two fleets that were measured one after the other, as one.

use std::collections::BTreeMap;

use super::document::{FleetCaveat, FleetPlan, FleetRecord};
use super::network::FleetNetwork;
use super::rank::FleetRank;
use super::validate::MAX_RANKS;

/// Why two fleets are not put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A device is in both.
    #[error(
        "they overlap: {device} of {host} is rank {first} of one and rank {second} of the other; merge fleets of different devices"
    )]
    Overlap {
        /// The computer.
        host: String,
        /// The device.
        device: String,
        /// Its rank in the first fleet.
        first: u32,
        /// Its rank in the second.
        second: u32,
    },
    /// They were not measured in the same way.
    #[error("they differ in {0}; merge fleets that were measured in the same way")]
    Differ(&'static str),
    /// More ranks than a document may have.
    #[error("together they have more than {MAX_RANKS} ranks")]
    TooMany,
}

/// Puts `second` behind `first`: its ranks are numbered on. Nothing was measured between the two, so that a network has the
/// pairs and collectives of each.
///
/// # Errors
/// [`MergeError`].
pub fn merge(first: FleetRecord, second: FleetRecord) -> Result<FleetRecord, MergeError> {
    if let Some(differs) = differs(&first, &second) {
        return Err(MergeError::Differ(differs));
    }
    overlap(&first, &second)?;
    let shift = first.plan.ranks;
    let ranks = shift.checked_add(second.plan.ranks).filter(|ranks| *ranks <= MAX_RANKS).ok_or(MergeError::TooMany)?;
    let mut merged = first;
    let hosts = joined_hosts(&mut merged, &second);
    let mut taken: BTreeMap<u32, u32> = BTreeMap::new();
    for rank in &merged.ranks {
        let next = taken.entry(rank.host).or_default();
        *next = (*next).max(rank.local_rank + 1);
    }
    let moved = second.ranks.into_iter().map(|rank| {
        let host = hosts.get(rank.host as usize).copied().unwrap_or_default();
        let local_rank = rank.local_rank + taken.get(&host).copied().unwrap_or_default();
        FleetRank { rank: rank.rank + shift, host, local_rank, ..rank }
    });
    merged.ranks.extend(moved);
    merged.plan.ranks = ranks;
    // Where the two had other limits, some cases have other sizes, and the ids say so.
    merged.capacity = merged.capacity.filter(|capacity| second.capacity == Some(*capacity));
    merged.network = joined(merged.network, second.network, shift);
    merged.caveats.extend(second.caveats.into_iter().map(|caveat| shifted(caveat, shift)));
    merged.caveats.push(FleetCaveat::Merged { first_of_second: shift });
    Ok(merged.worked_out())
}

/// Appends the second's computers that the first has not, and gives the place of each of the second's.
fn joined_hosts(merged: &mut FleetRecord, second: &FleetRecord) -> Vec<u32> {
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let mut places = Vec::with_capacity(second.hosts.len());
    for host in &second.hosts {
        let there = merged.hosts.iter().position(|one| one.name == host.name);
        places.push(place(there.unwrap_or(merged.hosts.len())));
        if there.is_none() {
            merged.hosts.push(host.clone());
        }
    }
    places
}

fn differs(first: &FleetRecord, second: &FleetRecord) -> Option<&'static str> {
    let asked = |plan: &FleetPlan| FleetPlan { ranks: 0, network: false, ..plan.clone() };
    if first.tool != second.tool {
        Some("the tool's version or commit")
    } else if asked(&first.plan) != asked(&second.plan) {
        Some("preset, seed or options")
    } else if first.criterion != second.criterion {
        Some("the criterion for outliers")
    } else {
        None
    }
}

/// Refuses two ranks of one device: of one computer, with one address on its bus, or with one number where an address is
/// not known.
fn overlap(first: &FleetRecord, second: &FleetRecord) -> Result<(), MergeError> {
    let mut there: BTreeMap<&str, Vec<&FleetRank>> = BTreeMap::new();
    for rank in &first.ranks {
        there.entry(first.host_of(rank.rank)).or_default().push(rank);
    }
    for rank in &second.ranks {
        let host = second.host_of(rank.rank);
        let same = |one: &&&FleetRank| match (address(one), address(rank)) {
            (Some(one), Some(other)) => one == other,
            _ => one.local_rank == rank.local_rank,
        };
        if let Some(one) = there.get(host).and_then(|ranks| ranks.iter().find(same)) {
            let device = address(rank).map_or(format!("device {}", rank.local_rank), str::to_owned);
            return Err(MergeError::Overlap { host: host.to_owned(), device, first: one.rank, second: rank.rank });
        }
    }
    Ok(())
}

fn address(rank: &FleetRank) -> Option<&str> {
    rank.record.as_ref()?.device.pci_bus_id.as_deref()
}

fn joined(first: Option<FleetNetwork>, second: Option<FleetNetwork>, shift: u32) -> Option<FleetNetwork> {
    let moved = second.map(|mut network| {
        for pair in &mut network.pairs {
            pair.from += shift;
            pair.to += shift;
        }
        network.collectives.iter_mut().for_each(|collective| collective.first_rank += shift);
        network.refused.iter_mut().for_each(|refused| refused.rank += shift);
        FleetNetwork { all_pairs: false, ..network }
    });
    match (first, moved) {
        (Some(mut first), Some(second)) => {
            first.all_pairs = false;
            first.pairs.extend(second.pairs);
            first.collectives.extend(second.collectives);
            first.refused.extend(second.refused);
            Some(first)
        }
        (one, other) => one.or(other).map(|network| FleetNetwork { all_pairs: false, ..network }),
    }
}

fn shifted(caveat: FleetCaveat, shift: u32) -> FleetCaveat {
    match caveat {
        FleetCaveat::InjectedSlowdown { rank, factor } => FleetCaveat::InjectedSlowdown { rank: rank + shift, factor },
        FleetCaveat::Merged { first_of_second } => FleetCaveat::Merged { first_of_second: first_of_second + shift },
        FleetCaveat::SharedDevices { ranks } => FleetCaveat::SharedDevices { ranks },
    }
}
