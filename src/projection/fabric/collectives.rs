//! Closed forms of collectives for uniform traffic. Bytes are a chip's, times are seconds.
//!
//! On a switched fabric without oversubscription the most loaded port binds, not the core (an open-shop schedule attains
//! the bound of the busiest port), so each form is latency + issue + the largest of the ports' transfer times.

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
    /// Send one copy to each outer group of chips (a node, say) and forward inside it, where that is faster. Kernels for many tokens do
    /// so (DeepEP's normal kernels); those for few tokens do not.
    pub forward: bool,
    /// The most outer groups that a token may visit, where the router limits them.
    pub most_groups: Option<f64>,
}

/// Time of a dispatch or combine.
pub fn all_to_all(links: &[Link], group: Group, traffic: &AllToAll) -> Seconds {
    let Some(last) = group.outermost(links).filter(|_| group.size > 1.0) else {
        return Seconds::ZERO;
    };
    let mut transfer = transfer_time(links, &direct_bytes(links, last, group, traffic));
    if traffic.forward && last > 0 {
        transfer = transfer.min(transfer_time(links, &forwarded_bytes(links, last, group, traffic)));
    }
    let link = &links[last];
    Seconds::new(link.latency + link.all_to_all_fixed + (group.size - 1.0) * link.message + transfer)
}

/// Bytes by tier if each copy goes straight to its chip; copies for the own chip stay.
fn direct_bytes(links: &[Link], last: usize, group: Group, traffic: &AllToAll) -> Vec<f64> {
    let total = traffic.tokens * traffic.copies * traffic.bytes;
    let mut inside = 1.0;
    links[..=last]
        .iter()
        .enumerate()
        .map(|(tier, link)| {
            // A group larger than the fabric's outermost tier is refused earlier; its rest counts as outermost.
            let within = if tier == last { group.size } else { group.within(link) };
            let share = (within - inside) / group.size;
            inside = within;
            total * share
        })
        .collect()
}

/// Bytes by tier if one copy goes to each outer group, and is passed on inside it.
fn forwarded_bytes(links: &[Link], last: usize, group: Group, traffic: &AllToAll) -> Vec<f64> {
    let inside = group.within(&links[last - 1]);
    let groups = group.size / inside;
    // Expected number of other groups among `copies` uniform draws.
    let visited = groups * (1.0 - (1.0 - 1.0 / groups).powf(traffic.copies));
    let visited = visited.min(traffic.most_groups.unwrap_or(f64::INFINITY)) * (groups - 1.0) / groups;
    let mut bytes = vec![0.0; last + 1];
    bytes[last] = traffic.tokens * visited * traffic.bytes;
    bytes[last - 1] = traffic.tokens * traffic.copies * traffic.bytes * (inside - 1.0) / inside;
    bytes
}

/// The busiest tier or port.
fn transfer_time(links: &[Link], bytes: &[f64]) -> f64 {
    let mut busiest: f64 = 0.0;
    for (tier, link) in links.iter().enumerate().take(bytes.len()) {
        let same_port = || links.iter().zip(bytes).filter(|(other, _)| other.port == link.port);
        let through_port: f64 = same_port().map(|(_, bytes)| bytes).sum();
        let port_rate = same_port().map(|(other, _)| other.bandwidth).fold(0.0, f64::max);
        busiest = busiest.max(bytes[tier] / link.bandwidth).max(through_port / port_rate);
    }
    busiest
}

/// All-reduce of `bytes`: the faster of one ring and two levels (reduce-scatter inside, ring between, all-gather
/// inside). A ring of p takes `2 (p - 1) latency + 2 (p - 1) / p * bytes / bandwidth` (Patarasuk and Yuan, 2009).
pub fn all_reduce(links: &[Link], group: Group, bytes: f64) -> Seconds {
    let Some(last) = group.outermost(links).filter(|_| group.size > 1.0) else {
        return Seconds::ZERO;
    };
    let outer = &links[last];
    let used = links[..=last].iter().filter(|link| group.within(link) > 1.0);
    let slowest = used.map(|link| link.bandwidth).fold(outer.bandwidth, f64::min);
    let mut time = ring(group.size, bytes, outer, slowest);
    let inner = links[..last].iter().find(|link| group.within(link) > 1.0);
    if let Some(inner) = inner {
        let inside = group.within(inner);
        let two_level = ring(inside, bytes, inner, inner.bandwidth)
            + ring(group.size / inside, bytes / inside, outer, outer.bandwidth);
        time = time.min(two_level);
    }
    Seconds::new(time + outer.fixed)
}

fn ring(size: f64, bytes: f64, link: &Link, bandwidth: f64) -> f64 {
    if size <= 1.0 {
        return 0.0;
    }
    2.0 * (size - 1.0) * (link.latency + link.message) + 2.0 * (size - 1.0) / size * bytes / bandwidth
}

/// One message of `bytes` to the chip `distance` further on.
pub fn send(links: &[Link], distance: f64, bytes: f64) -> Seconds {
    let pair = Group { size: 2.0, stride: distance };
    pair.outermost(links).map_or(Seconds::ZERO, |tier| {
        let link = &links[tier];
        Seconds::new(link.fixed + link.latency + link.message + bytes / link.bandwidth)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(chips: f64, port: usize, bandwidth: f64) -> Link {
        Link { chips, port, bandwidth, latency: 1e-6, message: 1e-7, fixed: 1e-5, all_to_all_fixed: 2e-5 }
    }

    fn traffic(tokens: f64, copies: f64, bytes: f64, forward: bool) -> AllToAll {
        AllToAll { tokens, copies, bytes, forward, most_groups: None }
    }

    fn close(time: Seconds, expected: f64) {
        assert!((time.get() / expected - 1.0).abs() < 1e-12, "{} against {expected}", time.get());
    }

    const PAIR: Group = Group { size: 2.0, stride: 1.0 };

    #[test]
    fn an_all_to_all_of_two_chips_matches_hand_arithmetic() {
        // Half of 100 tokens x 2 copies x 1000 B leave the chip: 100 kB at 1 GB/s, one message, one latency.
        let time = all_to_all(&[link(8.0, 0, 1e9)], PAIR, &traffic(100.0, 2.0, 1000.0, false));
        close(time, 1e-6 + 2e-5 + 1e-7 + 1e-4);
    }

    #[test]
    fn an_all_reduce_of_two_chips_matches_hand_arithmetic() {
        // Two steps of half the bytes each.
        close(all_reduce(&[link(8.0, 0, 1e9)], PAIR, 1e6), 2.0 * (1.1e-6 + 0.5e6 / 1e9) + 1e-5);
    }

    #[test]
    fn a_group_of_one_needs_no_time() {
        let alone = Group { size: 1.0, stride: 1.0 };
        let links = [link(8.0, 0, 1e9)];
        assert_eq!(all_reduce(&links, alone, 1e6), Seconds::ZERO);
        assert_eq!(all_to_all(&links, alone, &traffic(1.0, 1.0, 1.0, true)), Seconds::ZERO);
    }

    #[test]
    fn tiers_of_one_port_share_it_and_tiers_of_two_ports_do_not() {
        let group = Group { size: 16.0, stride: 1.0 };
        let shared = [link(8.0, 0, 1e9), link(16.0, 0, 1e9)];
        let apart = [link(8.0, 0, 1e9), link(16.0, 1, 1e9)];
        let fixed = 1e-6 + 2e-5 + 15.0 * 1e-7;
        close(all_to_all(&shared, group, &traffic(16.0, 1.0, 1e6, false)), fixed + 15e6 / 1e9);
        close(all_to_all(&apart, group, &traffic(16.0, 1.0, 1e6, false)), fixed + 8e6 / 1e9);
    }

    #[test]
    fn forwarding_helps_where_the_outer_tier_is_slow() {
        let links = [link(8.0, 0, 1e11), link(64.0, 1, 1e9)];
        let group = Group { size: 64.0, stride: 1.0 };
        let direct = all_to_all(&links, group, &traffic(1000.0, 8.0, 1e4, false));
        let forwarded = all_to_all(&links, group, &traffic(1000.0, 8.0, 1e4, true));
        assert!(forwarded < direct);
        let limited = AllToAll { most_groups: Some(2.0), ..traffic(1000.0, 8.0, 1e4, true) };
        assert!(all_to_all(&links, group, &limited) < forwarded);
    }

    #[test]
    fn two_levels_beat_one_ring_over_a_slow_outer_tier() {
        let links = [link(8.0, 0, 1e11), link(64.0, 1, 1e9)];
        let group = Group { size: 64.0, stride: 1.0 };
        let expected = 14.0 * 1.1e-6 + 1.75 * 1e9 / 1e11 + 14.0 * 1.1e-6 + 1.75 * 1.25e8 / 1e9 + 1e-5;
        close(all_reduce(&links, group, 1e9), expected);
    }
}
