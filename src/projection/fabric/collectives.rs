//! Closed forms of collectives: uniform traffic among members that fill their tiers. Bytes count per member.
//!
//! Each form is `latency + issue + max over ports of bytes / bandwidth`. On a switched fabric without oversubscription
//! the busiest port binds and not the core: an open-shop schedule reaches the bound of the busiest port.

#[cfg(test)]
mod tests;

use crate::projection::fabric::link::{Group, Link};
use crate::projection::fabric::mode::Mode;
use crate::units::{Bytes, BytesPerSecond, Seconds};

/// One dispatch or combine: each member sends `tokens * copies` messages to members of the group, uniformly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AllToAll {
    /// Tokens per member; those of the hottest member, if they differ.
    pub tokens: f64,
    /// Destinations per token.
    pub copies: f64,
    /// Size of one copy.
    pub bytes: Bytes,
    /// The kernels. Those for many tokens send a token once to each member that holds one of its experts. If it is
    /// faster, they send it once to each outer group (a node, say), which forwards it inside.
    pub mode: Mode,
    /// The most outer groups per token, where the router limits them.
    pub most_groups: Option<f64>,
}

/// Time of a combine, or of a dispatch whose sender has nothing to compute.
pub fn all_to_all(links: &[Link], group: Group, traffic: &AllToAll) -> Seconds {
    let Some(last) = group.outermost(links).filter(|_| group.size > 1.0) else {
        return Seconds::ZERO;
    };
    let latency = links.get(last).map_or(Seconds::ZERO, |link| link.latency);
    latency + fixed(links, last, group) + staged_all_to_all(links, group, traffic).1
}

/// Time of a dispatch: an all-to-all, and the time in which the sender's cores quantise and issue each copy.
pub fn dispatch(links: &[Link], group: Group, traffic: &AllToAll) -> Seconds {
    all_to_all(links, group, traffic) + issue(links, group, traffic)
}

/// The part of a dispatch in which the sender's cores quantise and issue copies.
pub fn issue(links: &[Link], group: Group, traffic: &AllToAll) -> Seconds {
    if group.size <= 1.0 {
        return Seconds::ZERO;
    }
    let copies = if traffic.mode == Mode::Normal { distinct(group.size, traffic.copies) } else { traffic.copies };
    let copy = links.first().map_or(Seconds::ZERO, |link| link.copy);
    copy * (traffic.tokens * copies)
}

/// Expected number of different members among `draws` uniform draws: `members * (1 - (1 - 1 / members)^draws)`.
pub fn distinct(members: f64, draws: f64) -> f64 {
    members * (1.0 - (1.0 - 1.0 / members).powf(draws))
}

/// Fixed cost: the mean over the tiers, weighted by the members on each. A member itself counts as innermost.
pub(super) fn fixed(links: &[Link], last: usize, group: Group) -> Seconds {
    shares(links, last, group, 0.0).zip(links).map(|(share, link)| link.all_to_all_fixed * share).sum()
}

/// Share of the members on each tier up to `last`. The innermost leaves `own` of them out: 0, or 1 for the member
/// itself.
fn shares(links: &[Link], last: usize, group: Group, own: f64) -> impl Iterator<Item = f64> {
    let mut inside = own;
    links.iter().take(last + 1).enumerate().map(move |(tier, link)| {
        // A group larger than the fabric is refused earlier, so that the rest here is on the outermost tier.
        let within = if tier == last { group.size } else { group.within(link) };
        let share = (within - inside) / group.size;
        inside = within;
        share
    })
}

/// The faster of the direct and the two-level way, and its transfer time.
pub fn staged_all_to_all(links: &[Link], group: Group, traffic: &AllToAll) -> (Algorithm, Seconds) {
    let Some(last) = group.outermost(links) else { return (Algorithm::Direct, Seconds::ZERO) };
    let copies = if traffic.mode == Mode::Normal { distinct(group.size, traffic.copies) } else { traffic.copies };
    let total = traffic.bytes * (traffic.tokens * copies);
    let mesh = links.first().is_some_and(|link| link.fanout > 0.0);
    let bytes: Vec<Bytes> = shares(links, last, group, 1.0).map(|share| total * share).collect();
    let direct = if mesh { mesh_transfer(links, last, group, total) } else { transfer_time(links, &bytes) };
    let mut best = (Algorithm::Direct, direct);
    if traffic.mode == Mode::Normal {
        let inner = last.checked_sub(1).filter(|&inner| !mesh && links.get(inner).is_some_and(|link| !link.on_package));
        if let Some(inner) = inner {
            let time = transfer_time(links, &forwarded_bytes(links, inner, group, traffic, total));
            if time < best.1 {
                best = (Algorithm::TwoLevel, time);
            }
        }
        best.1 = best.1.max(total / staging_bandwidth(links));
    }
    best
}

/// Rate at which a member's cores move copies through its buffers, its own copies too: that of its innermost port.
pub(super) fn staging_bandwidth(links: &[Link]) -> BytesPerSecond {
    let port = links.iter().find(|link| !link.on_package);
    port.map_or(BytesPerSecond::new(f64::INFINITY), |link| link.all_to_all_bandwidth)
}

/// Bytes by tier where one copy goes to each outer group, which forwards it inside.
fn forwarded_bytes(links: &[Link], inner: usize, group: Group, traffic: &AllToAll, total: Bytes) -> Vec<Bytes> {
    let inside = links.get(inner).map_or(1.0, |link| group.within(link));
    let groups = group.size / inside;
    let visited = distinct(groups, traffic.copies);
    let visited = visited.min(traffic.most_groups.unwrap_or(f64::INFINITY)) * (groups - 1.0) / groups;
    let mut bytes = vec![Bytes::ZERO; inner + 2];
    if let [.., within, beyond] = bytes.as_mut_slice() {
        *beyond = traffic.bytes * (traffic.tokens * visited);
        *within = total * (inside - 1.0) / inside;
    }
    bytes
}

/// Transfer time in a full mesh: a copy passes one link of each dimension in which its ends differ.
fn mesh_transfer(links: &[Link], last: usize, group: Group, total: Bytes) -> Seconds {
    let mut inside = 1.0;
    let mut busiest = Seconds::ZERO;
    for (tier, link) in links.iter().enumerate().take(last + 1) {
        let within = if tier == last { group.size } else { group.within(link) };
        let members = within / inside;
        inside = within;
        if members > 1.0 {
            busiest = busiest.max(total / members * link.fanout / link.all_to_all_bandwidth);
        }
    }
    busiest
}

/// Transfer time of the busiest tier or port.
fn transfer_time(links: &[Link], bytes: &[Bytes]) -> Seconds {
    let mut busiest = Seconds::ZERO;
    for (link, &own) in links.iter().zip(bytes) {
        let same_port = || links.iter().zip(bytes).filter(|(other, _)| other.port == link.port);
        let through_port: Bytes = same_port().map(|(_, bytes)| *bytes).sum();
        let rates = same_port().map(|(other, _)| other.all_to_all_bandwidth);
        let port_rate = rates.fold(BytesPerSecond::ZERO, BytesPerSecond::max);
        busiest = busiest.max(own / link.all_to_all_bandwidth).max(through_port / port_rate);
    }
    busiest
}

/// A collective other than dispatch and combine. What its bytes count:
///
/// - all-reduce and all-to-all: a member's buffer,
/// - all-gather: the gathered whole,
/// - reduce-scatter: the whole before it is scattered,
/// - send: the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Collective {
    /// Sum over all members, everywhere.
    AllReduce,
    /// All members' shards, everywhere.
    AllGather,
    /// Sum over all members, a shard each.
    ReduceScatter,
    /// Every member's shard to every other, as sequence parallelism does between attention layouts.
    AllToAll,
    /// From one member to the next, as between pipeline stages.
    Send,
}

impl Collective {
    /// The name shown, and taken by flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllReduce => "all-reduce",
            Self::AllGather => "all-gather",
            Self::ReduceScatter => "reduce-scatter",
            Self::AllToAll => "all-to-all",
            Self::Send => "send",
        }
    }
}

/// How a collective is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// Every message straight to its destination.
    Direct,
    /// Once to each node over the outer tier, then inside.
    TwoLevel,
    /// One ring of all members (Patarasuk and Yuan, 2009).
    Ring,
    /// Two binary trees at once, pipelined (Sanders, Speck and Träff, 2009).
    Tree,
    /// The switch reduces and sends the sum back.
    InSwitch,
    /// Dimension by dimension of a full mesh, all its links at once.
    ByDimension,
}

impl Algorithm {
    /// The name shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::TwoLevel => "two-level",
            Self::Ring => "ring",
            Self::Tree => "tree",
            Self::InSwitch => "in-switch",
            Self::ByDimension => "by-dimension",
        }
    }
}

/// All-reduce of `bytes` by its best algorithm.
pub fn all_reduce(links: &[Link], group: Group, bytes: Bytes) -> Seconds {
    best(links, group, Collective::AllReduce, bytes).map_or(Seconds::ZERO, |(_, time)| time)
}

/// The fastest algorithm and its time; `None` for a group of one.
pub fn best(links: &[Link], group: Group, collective: Collective, bytes: Bytes) -> Option<(Algorithm, Seconds)> {
    let list = algorithms(links, group, collective, bytes);
    list.into_iter().min_by(|a, b| a.1.get().total_cmp(&b.1.get()))
}

/// Every algorithm that applies, with its time.
pub fn algorithms(links: &[Link], group: Group, collective: Collective, bytes: Bytes) -> Vec<(Algorithm, Seconds)> {
    let Some(last) = group.outermost(links).filter(|_| group.size > 1.0) else { return Vec::new() };
    let Some(outer) = links.get(last) else { return Vec::new() };
    let used = links.iter().take(last + 1).filter(|link| group.within(link) > 1.0);
    let slowest = used.map(neighbour_rate).fold(neighbour_rate(outer), BytesPerSecond::min);
    let size = group.size;
    // Rounds around the ring: scatter, gather, or both.
    let rounds = if collective == Collective::AllReduce { 2.0 } else { 1.0 };
    let mut list = Vec::new();
    match collective {
        Collective::Send => list.push((Algorithm::Direct, step(outer) + bytes / slowest)),
        Collective::AllToAll => list.push((Algorithm::Direct, step(outer) + direct_time(links, last, group, bytes))),
        Collective::AllReduce | Collective::AllGather | Collective::ReduceScatter => {
            list.push((Algorithm::Ring, ring(size, bytes, outer, slowest) * rounds));
            let inner = links.iter().take(last).filter(|link| group.within(link) > 1.0);
            let two_level = inner.map(|inner| {
                let inside = group.within(inner);
                let within = ring(inside, bytes, inner, neighbour_rate(inner));
                let between = ring(size / inside, bytes / inside, outer, neighbour_rate(outer));
                (within + between) * rounds
            });
            let fastest = two_level.min_by(|a, b| a.get().total_cmp(&b.get()));
            list.extend(fastest.map(|time| (Algorithm::TwoLevel, time)));
            if outer.fanout > 0.0 {
                list.push((Algorithm::ByDimension, by_dimension(links, last, group, bytes) * rounds));
            }
        }
    }
    if collective == Collective::AllReduce {
        let levels = 2.0 * size.log2().ceil();
        list.push((Algorithm::Tree, step(outer) * levels + bytes * 2.0 / slowest));
        if outer.reduces {
            list.push((Algorithm::InSwitch, step(outer) + bytes / slowest));
        }
    }
    list.into_iter().map(|(algorithm, time)| (algorithm, time + outer.fixed)).collect()
}

/// Latency and issue of one message.
fn step(link: &Link) -> Seconds {
    link.latency + link.message
}

/// Rate between two neighbours. In a full mesh it is that of the one link that joins them.
fn neighbour_rate(link: &Link) -> BytesPerSecond {
    link.bandwidth / link.fanout.max(1.0)
}

/// One round of a ring of `size` members: `size - 1` steps of `bytes / size` each.
fn ring(size: f64, bytes: Bytes, link: &Link, bandwidth: BytesPerSecond) -> Seconds {
    if size <= 1.0 {
        return Seconds::ZERO;
    }
    step(link) * (size - 1.0) + bytes * ((size - 1.0) / size) / bandwidth
}

/// Scatter dimension by dimension, each member to all others of its dimension at once.
fn by_dimension(links: &[Link], last: usize, group: Group, mut bytes: Bytes) -> Seconds {
    let mut inside = 1.0;
    let mut time = Seconds::ZERO;
    for (tier, link) in links.iter().enumerate().take(last + 1) {
        let within = if tier == last { group.size } else { group.within(link) };
        let members = within / inside;
        inside = within;
        if members > 1.0 {
            bytes = bytes / members;
            time += step(link) + bytes * link.fanout / link.bandwidth;
        }
    }
    time
}

/// A uniform exchange of `bytes` per member at the rates of bulk collectives.
fn direct_time(links: &[Link], last: usize, group: Group, bytes: Bytes) -> Seconds {
    let bulk: Vec<Link> = links.iter().map(|link| Link { all_to_all_bandwidth: link.bandwidth, ..*link }).collect();
    if bulk.first().is_some_and(|link| link.fanout > 0.0) {
        return mesh_transfer(&bulk, last, group, bytes);
    }
    let by_tier: Vec<Bytes> = shares(&bulk, last, group, 1.0).map(|share| bytes * share).collect();
    transfer_time(&bulk, &by_tier)
}

/// One message of `bytes` to the member `distance` further on.
pub fn send(links: &[Link], distance: f64, bytes: Bytes) -> Seconds {
    let pair = Group { size: 2.0, stride: distance };
    best(links, pair, Collective::Send, bytes).map_or(Seconds::ZERO, |(_, time)| time)
}
