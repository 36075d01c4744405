//! From a fabric's tiers and faults to capacities.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::projection::fabric::faults::{Broken, FabricFault};
use crate::projection::fabric::link::{Link, rank_links};
use crate::projection::fabric::network::error::NetworkError;
use crate::projection::fabric::network::graph::{Block, Network, NetworkTier, What};
use crate::projection::fabric::network::loads::MOST_PAIRED_RANKS;
use crate::projection::fabric::site::Site;
use crate::specs::{Fabric, Scenario, Spread, Topology};

/// Which bandwidths of the links hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkRates {
    /// Those that dispatch and combine reach.
    Exchange,
    /// Those of bulk collectives.
    Bulk,
}

/// The part of a fabric that is in use, where faults apply.
struct Part<'a> {
    fabric: &'a Fabric,
    /// Ranks of a node.
    node: usize,
    /// Planes of the bus.
    planes: usize,
}

impl Part<'_> {
    /// The ranks of a node, of so many in all.
    fn ranks_of(&self, node: usize, ranks: usize) -> Range<usize> {
        node * self.node..((node + 1) * self.node).min(ranks)
    }
}

impl Network {
    /// The first `ranks` ranks of a fabric.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn new(site: &Site<'_>, ranks: usize, rates: LinkRates, faults: &[FabricFault]) -> Result<Self, NetworkError> {
        let Site { fabric, scale_up, scenario } = *site;
        let most = fabric.max_ranks();
        if ranks == 0 || ranks as u64 > most {
            let tier = fabric.tiers.last().map_or_else(String::new, |tier| tier.name.clone());
            return Err(NetworkError::Ranks {
                ranks,
                most,
                unit: fabric.rank_unit(),
                fabric: fabric.name.clone(),
                tier,
            });
        }
        let mut links = rank_links(fabric, scale_up, scenario);
        if rates == LinkRates::Bulk {
            links.iter_mut().for_each(|link| link.all_to_all_bandwidth = link.bandwidth);
        }
        let mut network = Self {
            links,
            ranks,
            unit: fabric.rank_unit(),
            faulty: faults.iter().any(|fault| fault.left < 1.0),
            tiers: Vec::new(),
            blocks: Vec::new(),
            capacities: Vec::new(),
            left: Vec::new(),
            dead: Vec::new(),
            broken_links: BTreeMap::new(),
            uplinks_left: BTreeMap::new(),
            cores_left: Vec::new(),
        };
        network.add_tiers(fabric);
        if fabric.topology == Topology::FullMesh {
            network.check_mesh_size()?;
        }
        network.apply(fabric, faults)?;
        network.add_resources(fabric, scenario);
        Ok(network)
    }

    fn add_tiers(&mut self, fabric: &Fabric) {
        let packages = usize::from(fabric.dies.is_some());
        let bus = self.links.get(packages).map_or(0, |link| link.port);
        let mut inner = 1;
        for (place, link) in self.links.iter().enumerate() {
            let spec = place.checked_sub(packages).and_then(|place| fabric.tiers.get(place));
            let on_port = fabric.tiers.iter().filter(|tier| spec.is_some_and(|spec| spec.port == tier.port));
            let hashed = on_port.clone().any(|tier| tier.spread == Spread::Hash);
            let unfolded = hashed || (self.faulty && link.port == bus);
            let planes = on_port.map(|tier| tier.planes).max().unwrap_or(1);
            let size = whole(link.chips);
            self.tiers.push(NetworkTier {
                name: spec.map_or("package", |spec| &spec.name).to_owned(),
                size,
                inner,
                port: link.port,
                planes: if unfolded { usize::try_from(planes).unwrap_or(1) } else { 1 },
                hashed,
                bus: link.port == bus,
                out: 0,
                into: 0,
                slice: None,
                uplink: None,
                core: None,
                direct: (fabric.topology == Topology::FullMesh).then_some(0),
            });
            inner = size;
        }
    }

    /// Reads the faults into shares left.
    fn apply(&mut self, fabric: &Fabric, faults: &[FabricFault]) -> Result<(), NetworkError> {
        if !self.faulty {
            return Ok(());
        }
        let (node_tier, node) = self.node();
        let planes = self.tiers.get(node_tier).map_or(1, |tier| tier.planes);
        self.left = vec![1.0; self.ranks * planes];
        self.dead = vec![false; self.ranks];
        self.cores_left = vec![1.0; planes];
        let part = Part { fabric, node, planes };
        for fault in faults.iter().filter(|fault| fault.left < 1.0) {
            self.check(&part, fault)?;
            self.slow_links(&part, fault);
            self.slow_switches(&part, fault);
        }
        Ok(())
    }

    /// Whether the part in use has what is broken.
    fn check(&self, part: &Part<'_>, fault: &FabricFault) -> Result<(), NetworkError> {
        let wrong =
            |limit: String| NetworkError::Fault { fault: fault.to_string(), fabric: part.fabric.name.clone(), limit };
        let below = |value: usize, end: usize, what: &str| {
            let last = end.saturating_sub(1);
            if value < end { Ok(()) } else { Err(wrong(format!("{what} 0 to {last} in use"))) }
        };
        let mesh = part.fabric.topology == Topology::FullMesh;
        let planar = |plane: usize| {
            if mesh {
                return Err(wrong("direct links, no switches or planes".to_owned()));
            }
            below(plane, part.planes, "planes")
        };
        let nodes = self.ranks.div_ceil(part.node);
        match fault.broken {
            Broken::Link { rank, plane } => planar(plane).and_then(|()| below(rank, self.ranks, "ranks")),
            Broken::Switch { node, plane } | Broken::Uplink { node, plane } => {
                planar(plane).and_then(|()| below(node, nodes, "nodes"))
            }
            Broken::Plane { plane } | Broken::CoreSwitch { plane } => planar(plane),
            Broken::Node { node } => below(node, nodes, "nodes"),
            Broken::Rank { rank } => below(rank, self.ranks, "ranks"),
            Broken::Direct { from, to } => {
                below(to, self.ranks, "ranks")?;
                if mesh && self.are_neighbours(from, to) {
                    return Ok(());
                }
                Err(wrong("no direct link between these".to_owned()))
            }
        }
    }

    /// Lowers what is left of ranks' links to the planes.
    fn slow_links(&mut self, part: &Part<'_>, fault: &FabricFault) {
        let (all, one) = (0..part.planes, |plane: usize| plane..plane + 1);
        let (ranks, planes) = match fault.broken {
            Broken::Link { rank, plane } => (rank..rank + 1, one(plane)),
            Broken::Switch { node, plane } => (part.ranks_of(node, self.ranks), one(plane)),
            Broken::Plane { plane } => (0..self.ranks, one(plane)),
            Broken::Node { node } => (part.ranks_of(node, self.ranks), all),
            Broken::Rank { rank } => (rank..rank + 1, all),
            Broken::Uplink { .. } | Broken::CoreSwitch { .. } | Broken::Direct { .. } => return,
        };
        for rank in ranks {
            for plane in planes.clone() {
                self.left[rank * part.planes + plane] *= fault.left;
            }
            if fault.left == 0.0 && matches!(fault.broken, Broken::Node { .. } | Broken::Rank { .. }) {
                self.dead[rank] = true;
            }
        }
    }

    /// Lowers what is left of uplinks, second-level switches and direct links.
    fn slow_switches(&mut self, part: &Part<'_>, fault: &FabricFault) {
        match fault.broken {
            Broken::Uplink { node, plane } => {
                *self.uplinks_left.entry((node, plane)).or_insert(1.0) *= fault.left;
            }
            Broken::CoreSwitch { plane } => {
                let switches = part.fabric.tiers.iter().map(|tier| tier.switches_per_plane).max().unwrap_or(1);
                let left = &mut self.cores_left[plane];
                *left = (*left - (1.0 - fault.left) / switches as f64).max(0.0);
            }
            Broken::Direct { from, to } => {
                *self.broken_links.entry((from, to)).or_insert(1.0) *= fault.left;
            }
            _ => {}
        }
    }

    fn are_neighbours(&self, from: usize, to: usize) -> bool {
        let places = self.tiers.iter().filter(|tier| from % tier.size / tier.inner != to % tier.size / tier.inner);
        places.count() == 1
    }

    fn add_resources(&mut self, fabric: &Fabric, scenario: Scenario) {
        if fabric.topology == Topology::FullMesh {
            self.add_mesh();
            return;
        }
        let packages = usize::from(fabric.dies.is_some());
        let mut ports: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for place in 0..self.tiers.len() {
            let Some((tier, &link)) = self.tiers.get(place).cloned().zip(self.links.get(place)) else { continue };
            let spec = place.checked_sub(packages).and_then(|place| fabric.tiers.get(place));
            let of_port = self.links.iter().filter(|other| other.port == link.port);
            let port_rate = of_port.map(|other| other.all_to_all_bandwidth.get()).fold(0.0, f64::max);
            let port_name = spec.map_or("package", |spec| &spec.port);
            let (out, into) = match ports.get(&link.port) {
                Some(&places) => places,
                None => {
                    let out = self.rank_block(What::Out, port_name, &tier, port_rate);
                    let into = self.rank_block(What::In, port_name, &tier, port_rate);
                    ports.insert(link.port, (out, into));
                    (out, into)
                }
            };
            let rate = link.all_to_all_bandwidth.get();
            let slice = (rate < port_rate).then(|| {
                let out = self.rank_block(What::Out, &tier.name, &tier, rate);
                (out, self.rank_block(What::In, &tier.name, &tier, rate))
            });
            let over = spec.and_then(|spec| spec.oversubscription.as_ref()).map_or(1.0, |over| scenario.time(over));
            let inner_is_unit = place > packages;
            let narrow = over > 1.0 || (self.faulty && tier.bus);
            let uplink = (inner_is_unit && narrow).then(|| {
                let up = self.unit_block(What::Up, &tier, rate / over);
                (up, self.unit_block(What::Down, &tier, rate / over))
            });
            let core = (uplink.is_some() && tier.bus && self.faulty).then(|| self.core_block(&tier, rate / over));
            if let Some(tier) = self.tiers.get_mut(place) {
                (tier.out, tier.into, tier.slice, tier.uplink, tier.core) = (out, into, slice, uplink, core);
            }
        }
    }

    fn start(&mut self, what: What, name: &str, planes: usize) -> usize {
        let offset = self.capacities.len();
        self.blocks.push(Block { what, name: name.to_owned(), offset, planes });
        offset
    }

    fn rank_block(&mut self, what: What, name: &str, tier: &NetworkTier, rate: f64) -> usize {
        let offset = self.start(what, name, tier.planes);
        let share = rate / tier.planes as f64;
        if tier.bus && self.faulty {
            self.capacities.extend(self.left.iter().map(|left| share * left));
        } else {
            self.capacities.extend(std::iter::repeat_n(share, self.ranks * tier.planes));
        }
        offset
    }

    fn unit_block(&mut self, what: What, tier: &NetworkTier, rate: f64) -> usize {
        let offset = self.start(what, &tier.name, tier.planes);
        let (_, node) = self.node();
        let share = rate * tier.inner as f64 / tier.planes as f64;
        for unit in 0..self.ranks.div_ceil(tier.inner) {
            for plane in 0..tier.planes {
                let known = (tier.bus && tier.inner == node).then(|| self.uplinks_left.get(&(unit, plane))).flatten();
                self.capacities.push(share * known.copied().unwrap_or(1.0));
            }
        }
        offset
    }

    fn core_block(&mut self, tier: &NetworkTier, rate: f64) -> usize {
        let offset = self.start(What::Core, &tier.name, tier.planes);
        let ends = self.ranks.div_ceil(tier.inner) * tier.inner;
        let share = rate * ends as f64 / tier.planes as f64;
        let left = (0..tier.planes).map(|plane| share * self.cores_left.get(plane).copied().unwrap_or(1.0));
        self.capacities.extend(left);
        offset
    }

    /// Chips that forward in a mesh: those of the smallest tier that holds all ranks, beyond the ranks too.
    fn forwarders(&self) -> usize {
        self.tiers.iter().find(|tier| tier.size >= self.ranks).map_or(self.ranks, |tier| tier.size)
    }

    fn check_mesh_size(&self) -> Result<(), NetworkError> {
        const MOST_LINKS: usize = 1 << 24;
        let members = self.tiers.iter().filter(|tier| tier.inner < self.ranks).map(|tier| tier.size / tier.inner);
        let links = members.fold(0usize, |sum, members| sum.saturating_add(members)).saturating_mul(self.forwarders());
        if links > MOST_LINKS {
            return Err(NetworkError::TooLarge { ranks: self.ranks, most: MOST_PAIRED_RANKS });
        }
        Ok(())
    }

    fn add_mesh(&mut self) {
        let outer = self.forwarders();
        let used = self.tiers.iter().take_while(|tier| tier.inner < self.ranks).count();
        self.tiers.truncate(used.max(1));
        for place in 0..self.tiers.len() {
            let Some((tier, &Link { all_to_all_bandwidth: rate, fanout, .. })) =
                self.tiers.get(place).cloned().zip(self.links.get(place))
            else {
                continue;
            };
            let offset = self.start(What::Direct, &tier.name, 1);
            let members = tier.size / tier.inner;
            for rank in 0..outer {
                for other in 0..members {
                    let own = rank / tier.inner % members;
                    let to = rank - own * tier.inner + other * tier.inner;
                    let left = self.direct_left(rank, to);
                    self.capacities.push(rate.get() / fanout.max(1.0) * left);
                }
            }
            if let Some(tier) = self.tiers.get_mut(place) {
                tier.direct = Some(offset);
            }
        }
    }
}

/// A count that was checked to be whole and at most 1.6e8 when the fabric was loaded.
fn whole(count: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked when the fabric was loaded")]
    let count = count as usize;
    count.max(1)
}
