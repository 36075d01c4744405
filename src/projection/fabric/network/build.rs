//! From a fabric's tiers and faults to capacities.

use std::collections::BTreeMap;

use super::super::faults::Element;
use super::super::{Link, rank_links};
use super::{Block, Fault, Network, Tier, What};
use crate::projection::uncertainty::Scenario;
use crate::specs::{Fabric, Sourced, Spread, Topology};

/// Why ranks cannot be put on a fabric.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// More than there are, or fewer than one.
    #[error("{ranks} ranks do not fit {fabric}: it has 1 to {most} {unit}s (`tiers.{tier}.chips`); ask for fewer")]
    Ranks {
        /// Asked for.
        ranks: usize,
        /// Offered.
        most: u64,
        /// `chip` or `die`.
        unit: &'static str,
        /// The fabric.
        fabric: String,
        /// Its outermost tier.
        tier: String,
    },
    /// A fault of what the fabric does not have.
    #[error("fault `{fault}`: {fabric} has {limit}")]
    Fault {
        /// The fault.
        fault: String,
        /// The fabric.
        fabric: String,
        /// What there is.
        limit: String,
    },
    /// Faults and hashed routes go pair by pair.
    #[error(
        "{ranks} ranks are too many to route pair by pair (faults, hashed planes, full meshes): ask for at most {most}"
    )]
    TooLarge {
        /// Asked for.
        ranks: usize,
        /// The most.
        most: usize,
    },
}

/// Which bandwidths hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rates {
    /// Those that dispatch and combine reach.
    Exchange,
    /// Those of bulk collectives.
    Bulk,
}

impl Network {
    /// The first `ranks` ranks of a fabric. A tier without bandwidth of its own takes `scale_up`, a chip's.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn new(
        fabric: &Fabric,
        scale_up: &Sourced,
        scenario: Scenario,
        ranks: usize,
        rates: Rates,
        faults: &[Fault],
    ) -> Result<Self, NetworkError> {
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
        if rates == Rates::Bulk {
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
            self.tiers.push(Tier {
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
    fn apply(&mut self, fabric: &Fabric, faults: &[Fault]) -> Result<(), NetworkError> {
        if !self.faulty {
            return Ok(());
        }
        let (node_tier, node) = self.node();
        let planes = self.tiers.get(node_tier).map_or(1, |tier| tier.planes);
        let nodes = self.ranks.div_ceil(node);
        let mesh = fabric.topology == Topology::FullMesh;
        self.left = vec![1.0; self.ranks * planes];
        self.dead = vec![false; self.ranks];
        self.cores_left = vec![1.0; planes];
        let wrong = |fault: &Fault, limit: String| NetworkError::Fault {
            fault: fault.to_string(),
            fabric: fabric.name.clone(),
            limit,
        };
        for fault in faults.iter().filter(|fault| fault.left < 1.0) {
            let check = |value: usize, end: usize, what: &str| {
                if value < end {
                    Ok(())
                } else {
                    Err(wrong(fault, format!("{what} 0 to {} in use", end.saturating_sub(1))))
                }
            };
            let planar = |plane: usize| {
                if mesh {
                    Err(wrong(fault, "direct links, no switches or planes".to_owned()))
                } else {
                    check(plane, planes, "planes")
                }
            };
            let node_ranks = |unit: usize| unit * node..((unit + 1) * node).min(self.ranks);
            let mut slow = Vec::new();
            match fault.element {
                Element::Link { rank, plane } => {
                    planar(plane)?;
                    check(rank, self.ranks, "ranks")?;
                    slow.push(rank * planes + plane);
                }
                Element::Switch { node: unit, plane } => {
                    planar(plane)?;
                    check(unit, nodes, "nodes")?;
                    slow.extend(node_ranks(unit).map(|rank| rank * planes + plane));
                }
                Element::Plane { plane } => {
                    planar(plane)?;
                    slow.extend((0..self.ranks).map(|rank| rank * planes + plane));
                }
                Element::Uplink { node: unit, plane } => {
                    planar(plane)?;
                    check(unit, nodes, "nodes")?;
                    *self.uplinks_left.entry((unit, plane)).or_insert(1.0) *= fault.left;
                }
                Element::CoreSwitch { plane } => {
                    planar(plane)?;
                    let switches = fabric.tiers.iter().map(|tier| tier.switches_per_plane).max().unwrap_or(1);
                    if let Some(left) = self.cores_left.get_mut(plane) {
                        *left = (*left - (1.0 - fault.left) / switches as f64).max(0.0);
                    }
                }
                Element::Node { node: unit } => {
                    check(unit, nodes, "nodes")?;
                    if fault.left == 0.0 {
                        self.dead[node_ranks(unit)].fill(true);
                    }
                    slow.extend(node_ranks(unit).flat_map(|rank| (0..planes).map(move |plane| rank * planes + plane)));
                }
                Element::Rank { rank } => {
                    check(rank, self.ranks, "ranks")?;
                    if let Some(dead) = self.dead.get_mut(rank).filter(|_| fault.left == 0.0) {
                        *dead = true;
                    }
                    slow.extend((0..planes).map(|plane| rank * planes + plane));
                }
                Element::Direct { from, to } => {
                    check(to, self.ranks, "ranks")?;
                    if !mesh || !self.are_neighbours(from, to) {
                        return Err(wrong(fault, "no direct link between these".to_owned()));
                    }
                    *self.broken_links.entry((from, to)).or_insert(1.0) *= fault.left;
                }
            }
            for place in slow {
                if let Some(left) = self.left.get_mut(place) {
                    *left *= fault.left;
                }
            }
        }
        Ok(())
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
            let port_rate = of_port.map(|other| other.all_to_all_bandwidth).fold(0.0, f64::max);
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
            let rate = link.all_to_all_bandwidth;
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

    fn rank_block(&mut self, what: What, name: &str, tier: &Tier, rate: f64) -> usize {
        let offset = self.start(what, name, tier.planes);
        let share = rate / tier.planes as f64;
        if tier.bus && self.faulty {
            self.capacities.extend(self.left.iter().map(|left| share * left));
        } else {
            self.capacities.extend(std::iter::repeat_n(share, self.ranks * tier.planes));
        }
        offset
    }

    fn unit_block(&mut self, what: What, tier: &Tier, rate: f64) -> usize {
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

    fn core_block(&mut self, tier: &Tier, rate: f64) -> usize {
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
            return Err(NetworkError::TooLarge { ranks: self.ranks, most: super::loads::MOST_PAIRED_RANKS });
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
                    self.capacities.push(rate / fanout.max(1.0) * left);
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
