//! Which computer a rank is on, and which of its devices the rank takes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::communicator::Communicator;
use crate::record::{Device, FleetHost, Host};

/// What a rank tells of itself before devices are given out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Introduction {
    /// The computer's name in the network.
    pub host_name: String,
    /// The lowest rank with which this one shares memory: the same for all ranks of a computer.
    pub leader: u32,
    /// The computer.
    pub host: Host,
    /// The devices that the rank could take, the best first.
    pub devices: Vec<Device>,
}

/// Where all ranks are.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetPlacement {
    /// The computers, in the order of their first rank.
    pub hosts: Vec<FleetHost>,
    /// By rank.
    pub ranks: Vec<RankPlace>,
}

/// Where one rank is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankPlace {
    /// Index of its computer.
    pub host: u32,
    /// Its number among the ranks of the computer.
    pub local_rank: u32,
    /// Index of its device among those of its [`Introduction`].
    pub device: usize,
    /// Whether another rank has the device too.
    pub shared: bool,
}

impl FleetPlacement {
    /// Tells all others about this rank, and gives out the devices; every rank comes to the same result.
    ///
    /// # Errors
    /// As [`place`].
    pub fn of(ranks: &dyn Communicator, own: &Introduction, share_devices: bool) -> Result<Self, String> {
        let told = serde_json::to_vec(own).map_err(|error| error.to_string())?;
        let all = ranks.share(&told);
        let all: Result<Vec<Introduction>, _> = all.iter().map(|bytes| serde_json::from_slice(bytes)).collect();
        place(&all.map_err(|error| error.to_string())?, share_devices)
    }

    /// The most ranks of one computer.
    pub fn most_local(&self) -> u32 {
        self.ranks.iter().map(|place| place.local_rank + 1).max().unwrap_or(0)
    }
}

/// Gives out devices: each rank, in order, takes the first of its devices that no rank of the same computer has taken. So
/// ranks that see the same devices take one each, and ranks that the launcher lets see one device each take that one.
///
/// # Errors
/// One line: more ranks on a computer than devices, unless they may share: then ranks take the devices in turn.
pub fn place(all: &[Introduction], share_devices: bool) -> Result<FleetPlacement, String> {
    let mut hosts: Vec<(u32, FleetHost)> = Vec::new();
    let mut taken: Vec<Vec<String>> = Vec::new();
    let mut ranks = Vec::with_capacity(all.len());
    for (rank, own) in all.iter().enumerate() {
        let host = hosts.iter().position(|(leader, _)| *leader == own.leader).unwrap_or_else(|| {
            hosts.push((own.leader, FleetHost { name: own.host_name.clone(), host: own.host.clone() }));
            taken.push(Vec::new());
            hosts.len() - 1
        });
        let Some(taken) = taken.get_mut(host) else { continue };
        let keys: Vec<String> = own.devices.iter().enumerate().map(|(index, device)| key(index, device)).collect();
        let local_rank = taken.len();
        let free = keys.iter().position(|key| !taken.contains(key));
        let device = match free {
            Some(free) => free,
            None if share_devices && !keys.is_empty() => local_rank % keys.len(),
            None => return Err(too_few(rank, own, local_rank)),
        };
        taken.push(keys.get(device).cloned().unwrap_or_default());
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        ranks.push(RankPlace { host: place(host), local_rank: place(local_rank), device, shared: false });
    }
    mark_shared(&mut ranks, &taken);
    let hosts = distinct(hosts);
    Ok(FleetPlacement { hosts, ranks })
}

/// What tells two devices of a computer apart: the address on the bus, else the place in the list.
fn key(index: usize, device: &Device) -> String {
    device.pci_bus_id.clone().unwrap_or_else(|| format!("{index} {}", device.name))
}

fn too_few(rank: usize, own: &Introduction, taken: usize) -> String {
    let name = &own.host_name;
    if own.devices.is_empty() {
        return format!("rank {rank} on {name} finds no device; look with `supernode devices` there");
    }
    format!(
        "rank {rank} on {name} finds no free device: {taken} ranks before it have all {}; start fewer ranks per computer, or \
         let ranks take devices in turn with --share-devices",
        own.devices.len()
    )
}

fn mark_shared(ranks: &mut [RankPlace], taken: &[Vec<String>]) {
    let of = |place: &RankPlace| taken.get(place.host as usize).and_then(|keys| keys.get(place.local_rank as usize));
    for place in ranks.iter_mut() {
        let own = of(place);
        let keys = taken.get(place.host as usize).map_or(&[][..], Vec::as_slice);
        place.shared = own.is_some_and(|own| keys.iter().filter(|key| *key == own).count() > 1);
    }
}

/// Computers with names of their own: where several have one name (containers are all called localhost, say), the number of
/// their first rank is added.
fn distinct(hosts: Vec<(u32, FleetHost)>) -> Vec<FleetHost> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    hosts.iter().for_each(|(_, host)| *count.entry(host.name.clone()).or_default() += 1);
    let named = |(leader, host): (u32, FleetHost)| {
        let is_one = count.get(&host.name) == Some(&1);
        if is_one { host } else { FleetHost { name: format!("{} (from rank {leader})", host.name), ..host } }
    };
    hosts.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::super::in_process::on_ranks;
    use super::*;

    fn device(id: &str) -> Device {
        Device { name: "GPU".to_owned(), pci_bus_id: Some(id.to_owned()), ..Device::default() }
    }

    fn on(leader: u32, devices: &[&str]) -> Introduction {
        let host = Host { os: String::new(), cpu: String::new(), logical_cpus: 1, memory_bytes: 0, browser: None };
        let devices = devices.iter().map(|id| device(id)).collect();
        Introduction { host_name: format!("node{leader}"), leader, host, devices }
    }

    fn devices(placement: &FleetPlacement) -> Vec<usize> {
        placement.ranks.iter().map(|place| place.device).collect()
    }

    #[test]
    fn ranks_of_a_computer_take_one_device_each_in_order() {
        let all = [on(0, &["a", "b"]), on(0, &["a", "b"]), on(2, &["a", "b"]), on(2, &["a", "b"])];
        let placement = place(&all, false).unwrap();
        assert_eq!(devices(&placement), [0, 1, 0, 1]);
        assert_eq!(placement.hosts.iter().map(|host| &*host.name).collect::<Vec<_>>(), ["node0", "node2"]);
        assert_eq!(
            placement.ranks.iter().map(|p| (p.host, p.local_rank)).collect::<Vec<_>>(),
            [(0, 0), (0, 1), (1, 0), (1, 1)]
        );
        assert_eq!(placement.most_local(), 2);
    }

    #[test]
    fn ranks_that_see_one_device_each_take_that_one() {
        let placement = place(&[on(0, &["a"]), on(0, &["b"])], false).unwrap();
        assert_eq!(devices(&placement), [0, 0]);
        assert!(placement.ranks.iter().all(|place| !place.shared));
    }

    #[test]
    fn ranks_dealt_out_over_computers_in_turn_find_their_place() {
        let placement = place(&[on(0, &["a", "b"]), on(1, &["a", "b"]), on(0, &["a", "b"])], false).unwrap();
        assert_eq!(devices(&placement), [0, 0, 1]);
    }

    #[test]
    fn more_ranks_than_devices_are_refused_or_share() {
        let all = [on(0, &["a", "b"]), on(0, &["a", "b"]), on(0, &["a", "b"])];
        let line = place(&all, false).unwrap_err();
        assert!(line.starts_with("rank 2 on node0 finds no free device: 2 ranks before it have all 2;"), "{line}");
        let placement = place(&all, true).unwrap();
        assert_eq!(devices(&placement), [0, 1, 0]);
        assert_eq!(placement.ranks.iter().map(|place| place.shared).collect::<Vec<_>>(), [true, false, true]);
        assert!(place(&[on(0, &[])], true).unwrap_err().contains("finds no device"));
    }

    #[test]
    fn computers_of_one_name_are_told_apart_by_their_first_rank() {
        let named = |leader| Introduction { host_name: "localhost".to_owned(), ..on(leader, &["a"]) };
        let placement = place(&[named(0), named(1)], false).unwrap();
        let names: Vec<&str> = placement.hosts.iter().map(|host| &*host.name).collect();
        assert_eq!(names, ["localhost (from rank 0)", "localhost (from rank 1)"]);
    }

    #[test]
    fn every_rank_comes_to_the_same_placement() {
        let placements =
            on_ranks(4, |ranks| FleetPlacement::of(ranks, &on(ranks.rank() / 2 * 2, &["a", "b"]), false).unwrap());
        assert!(placements.iter().all(|placement| *placement == placements[0]));
        assert_eq!(devices(&placements[0]), [0, 1, 0, 1]);
    }
}
