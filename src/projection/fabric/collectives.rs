//! Closed forms of collectives for uniform traffic among members that fill their tiers. Bytes are a member's, times are
//! seconds.
//!
//! On a switched fabric without oversubscription the most loaded port binds, not the core (an open-shop schedule attains
//! the bound of the busiest port), so each form is latency + issue + the largest of the ports' transfer times.

#[cfg(test)]
mod tests;

use super::{Group, Link};
use crate::units::Seconds;

/// One dispatch or combine: each chip sends `tokens * copies` messages to members of the group, uniformly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AllToAll {
    /// Tokens of a chip (the hottest one's, if they differ).
    pub tokens: f64,
    /// Destinations of a token.
    pub copies: f64,
    /// Bytes of one copy.
    pub bytes: f64,
    /// Kernels for many tokens (DeepEP's normal kernels), which send a token once to each chip that holds one of its
    /// experts, through buffers, and once to each outer group of chips (a node, say) to be forwarded inside it where that is
    /// faster. Those for few tokens send each copy straight to its expert.
    pub forward: bool,
    /// The most outer groups that a token may visit, where the router limits them.
    pub most_groups: Option<f64>,
}

/// Time of a combine, or of a dispatch whose sender has nothing to compute.
pub fn all_to_all(links: &[Link], group: Group, traffic: &AllToAll) -> Seconds {
    let Some(last) = group.outermost(links).filter(|_| group.size > 1.0) else {
        return Seconds::ZERO;
    };
    let latency = links.get(last).map_or(0.0, |link| link.latency);
    Seconds::new(latency + fixed(links, last, group) + staged_all_to_all(links, group, traffic).1)
}

/// Time of a dispatch: an all-to-all, and the sender's cores that quantise and issue each copy.
pub fn dispatch(links: &[Link], group: Group, traffic: &AllToAll) -> Seconds {
    all_to_all(links, group, traffic) + issue(links, group, traffic)
}

/// The part of a dispatch in which the sender's cores quantise and issue copies.
pub fn issue(links: &[Link], group: Group, traffic: &AllToAll) -> Seconds {
    if group.size <= 1.0 {
        return Seconds::ZERO;
    }
    let copies = if traffic.forward { distinct(group.size, traffic.copies) } else { traffic.copies };
    let copy = links.first().map_or(0.0, |link| link.copy);
    Seconds::new(traffic.tokens * copies * copy)
}

/// Expected number of different members among `draws` uniform draws from `members`.
pub fn distinct(members: f64, draws: f64) -> f64 {
    members * (1.0 - (1.0 - 1.0 / members).powf(draws))
}

/// Fixed cost: the mean over tiers, weighted by the members on each; a member itself counts as innermost.
pub(super) fn fixed(links: &[Link], last: usize, group: Group) -> f64 {
    shares(links, last, group, 0.0).zip(links).map(|(share, link)| share * link.all_to_all_fixed).sum()
}

/// Share of the members on each tier up to `last`; `own` of them (0 or 1) are left out of the innermost.
fn shares(links: &[Link], last: usize, group: Group, own: f64) -> impl Iterator<Item = f64> {
    let mut inside = own;
    links.iter().take(last + 1).enumerate().map(move |(tier, link)| {
        // A group larger than the fabric's outermost tier is refused earlier; its rest counts as outermost.
        let within = if tier == last { group.size } else { group.within(link) };
        let share = (within - inside) / group.size;
        inside = within;
        share
    })
}

/// The way that is faster, and its transfer time alone.
pub fn staged_all_to_all(links: &[Link], group: Group, traffic: &AllToAll) -> (Algorithm, f64) {
    let Some(last) = group.outermost(links) else { return (Algorithm::Direct, 0.0) };
    let copies = if traffic.forward { distinct(group.size, traffic.copies) } else { traffic.copies };
    let total = traffic.tokens * copies * traffic.bytes;
    let mesh = links.first().is_some_and(|link| link.fanout > 0.0);
    let bytes: Vec<f64> = shares(links, last, group, 1.0).map(|share| share * total).collect();
    let direct = if mesh { mesh_transfer(links, last, group, total) } else { transfer_time(links, &bytes) };
    let mut best = (Algorithm::Direct, direct);
    if traffic.forward {
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

/// Through its buffers a member's cores move every copy, its own too, no faster than its innermost port takes them.
pub(super) fn staging_bandwidth(links: &[Link]) -> f64 {
    links.iter().find(|link| !link.on_package).map_or(f64::INFINITY, |link| link.all_to_all_bandwidth)
}

/// Bytes by tier if one copy goes to each outer group, and is passed on inside it.
fn forwarded_bytes(links: &[Link], inner: usize, group: Group, traffic: &AllToAll, total: f64) -> Vec<f64> {
    let inside = links.get(inner).map_or(1.0, |link| group.within(link));
    let groups = group.size / inside;
    let visited = distinct(groups, traffic.copies);
    let visited = visited.min(traffic.most_groups.unwrap_or(f64::INFINITY)) * (groups - 1.0) / groups;
    let mut bytes = vec![0.0; inner + 2];
    if let [.., within, beyond] = bytes.as_mut_slice() {
        *beyond = traffic.tokens * visited * traffic.bytes;
        *within = total * (inside - 1.0) / inside;
    }
    bytes
}

/// In a full mesh every copy passes one link of each dimension in which its ends differ.
fn mesh_transfer(links: &[Link], last: usize, group: Group, total: f64) -> f64 {
    let mut inside = 1.0;
    let mut busiest: f64 = 0.0;
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

/// The busiest tier or port.
fn transfer_time(links: &[Link], bytes: &[f64]) -> f64 {
    let mut busiest: f64 = 0.0;
    for (link, own) in links.iter().zip(bytes) {
        let same_port = || links.iter().zip(bytes).filter(|(other, _)| other.port == link.port);
        let through_port: f64 = same_port().map(|(_, bytes)| bytes).sum();
        let port_rate = same_port().map(|(other, _)| other.all_to_all_bandwidth).fold(0.0, f64::max);
        busiest = busiest.max(own / link.all_to_all_bandwidth).max(through_port / port_rate);
    }
    busiest
}

/// A collective other than dispatch and combine. Bytes: a member's buffer for all-reduce and all-to-all, the gathered
/// whole for all-gather, the whole before scattering for reduce-scatter, the message for send.
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
pub fn all_reduce(links: &[Link], group: Group, bytes: f64) -> Seconds {
    best(links, group, Collective::AllReduce, bytes).map_or(Seconds::ZERO, |(_, time)| time)
}

/// The fastest algorithm and its time; `None` for a group of one.
pub fn best(links: &[Link], group: Group, collective: Collective, bytes: f64) -> Option<(Algorithm, Seconds)> {
    let list = algorithms(links, group, collective, bytes);
    list.into_iter().min_by(|a, b| a.1.get().total_cmp(&b.1.get()))
}

/// Every algorithm that applies, with its time.
pub fn algorithms(links: &[Link], group: Group, collective: Collective, bytes: f64) -> Vec<(Algorithm, Seconds)> {
    let Some(last) = group.outermost(links).filter(|_| group.size > 1.0) else { return Vec::new() };
    let Some(outer) = links.get(last) else { return Vec::new() };
    let used = links.iter().take(last + 1).filter(|link| group.within(link) > 1.0);
    let slowest = used.clone().map(neighbour_rate).fold(neighbour_rate(outer), f64::min);
    let size = group.size;
    // Rounds around the ring: scatter, gather, or both.
    let rounds = if collective == Collective::AllReduce { 2.0 } else { 1.0 };
    let mut list = Vec::new();
    match collective {
        Collective::Send => list.push((Algorithm::Direct, step(outer) + bytes / slowest)),
        Collective::AllToAll => list.push((Algorithm::Direct, step(outer) + direct_time(links, last, group, bytes))),
        Collective::AllReduce | Collective::AllGather | Collective::ReduceScatter => {
            list.push((Algorithm::Ring, rounds * pass(size, bytes, outer, slowest)));
            let inner = links.iter().take(last).filter(|link| group.within(link) > 1.0);
            let two_level = inner.map(|inner| {
                let inside = group.within(inner);
                let within = pass(inside, bytes, inner, neighbour_rate(inner));
                let between = pass(size / inside, bytes / inside, outer, neighbour_rate(outer));
                rounds * (within + between)
            });
            list.extend(two_level.min_by(f64::total_cmp).map(|time| (Algorithm::TwoLevel, time)));
            if outer.fanout > 0.0 {
                list.push((Algorithm::ByDimension, rounds * by_dimension(links, last, group, bytes)));
            }
        }
    }
    if collective == Collective::AllReduce {
        list.push((Algorithm::Tree, 2.0 * size.log2().ceil() * step(outer) + 2.0 * bytes / slowest));
        if outer.reduces {
            list.push((Algorithm::InSwitch, step(outer) + bytes / slowest));
        }
    }
    list.into_iter().map(|(algorithm, time)| (algorithm, Seconds::new(time + outer.fixed))).collect()
}

/// Latency and issue of one message.
fn step(link: &Link) -> f64 {
    link.latency + link.message
}

/// Rate between two neighbours: in a full mesh, of the one link that joins them.
fn neighbour_rate(link: &Link) -> f64 {
    link.bandwidth / link.fanout.max(1.0)
}

/// One round of a ring: `(p - 1)` steps of `1 / p` of the bytes.
fn pass(size: f64, bytes: f64, link: &Link, bandwidth: f64) -> f64 {
    if size <= 1.0 {
        return 0.0;
    }
    (size - 1.0) * step(link) + (size - 1.0) / size * bytes / bandwidth
}

/// Scatter dimension by dimension, each member to all others of its dimension at once.
fn by_dimension(links: &[Link], last: usize, group: Group, mut bytes: f64) -> f64 {
    let mut inside = 1.0;
    let mut time = 0.0;
    for (tier, link) in links.iter().enumerate().take(last + 1) {
        let within = if tier == last { group.size } else { group.within(link) };
        let members = within / inside;
        inside = within;
        if members > 1.0 {
            bytes /= members;
            time += step(link) + bytes * link.fanout / link.bandwidth;
        }
    }
    time
}

/// A uniform exchange of `bytes` a member at the rates of bulk collectives.
fn direct_time(links: &[Link], last: usize, group: Group, bytes: f64) -> f64 {
    let bulk: Vec<Link> = links.iter().map(|link| Link { all_to_all_bandwidth: link.bandwidth, ..*link }).collect();
    if bulk.first().is_some_and(|link| link.fanout > 0.0) {
        return mesh_transfer(&bulk, last, group, bytes);
    }
    let by_tier: Vec<f64> = shares(&bulk, last, group, 1.0).map(|share| share * bytes).collect();
    transfer_time(&bulk, &by_tier)
}

/// One message of `bytes` to the chip `distance` further on.
pub fn send(links: &[Link], distance: f64, bytes: f64) -> Seconds {
    let pair = Group { size: 2.0, stride: distance };
    best(links, pair, Collective::Send, bytes).map_or(Seconds::ZERO, |(_, time)| time)
}
