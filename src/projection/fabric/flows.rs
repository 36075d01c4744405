//! Flows that share capacities max-min fairly, from their start to their end.
//!
//! A solve is progressive filling. All active flows' rates grow together, each in proportion to its weight, until a
//! resource is full. The flows through it are frozen; the others grow on. Resources wait in a heap by the level at
//! which they fill. That level only rises when others freeze, so an entry is checked when it comes up. Each flow is
//! frozen once, so a solve costs `O(hops log resources)`.
//!
//! Rates are solved again when flows end or start. Ends within a sixteenth of the longest remaining time form a batch;
//! a flow is late by that at most. The last end is exact under [`Fairness::PerCopy`], since no flow that ends earlier
//! passes its bottleneck.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::projection::fabric::network::{CutOff, Network};

/// Bytes from one rank to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// Sender.
    pub from: usize,
    /// Receiver.
    pub to: usize,
    /// Bytes.
    pub bytes: f64,
    /// When its first byte is issued.
    pub start_s: f64,
}

/// What is treated alike on a shared resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fairness {
    /// Every copy of a token: flows share in proportion to their bytes.
    PerCopy,
    /// Every flow, whatever its size.
    PerFlow,
}

/// Where and when flows ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// End of each flow, latency included, in the order given.
    pub end_s: Vec<f64>,
    /// The last end.
    pub makespan_s: f64,
    /// Times that rates were solved.
    pub solves: usize,
    /// Bytes that arrived at each rank, and that left it: what conservation is checked with.
    pub received: Vec<f64>,
    /// Bytes that left each rank.
    pub sent: Vec<f64>,
}

/// Ends within this share of the longest remaining time are taken together.
const BATCH: f64 = 1.0 / 16.0;

/// Which resources each flow passes, and with what share; one row a flow.
struct Routes {
    first: Vec<u32>,
    resource: Vec<u32>,
    share: Vec<f64>,
}

impl Routes {
    fn new(network: &Network, flows: &[Flow]) -> Result<Self, CutOff> {
        let mut routes = Self { first: vec![0], resource: Vec::with_capacity(4 * flows.len()), share: Vec::new() };
        let mut cut: Option<CutOff> = None;
        for flow in flows {
            let Self { resource: resources, share: shares, .. } = &mut routes;
            let there = network.each_hop(flow.from, flow.to, &mut |resource, share| {
                resources.push(index(resource));
                shares.push(share);
            });
            if !there {
                cut.get_or_insert(CutOff { pairs: 0, example: (flow.from, flow.to) }).pairs += 1;
            }
            routes.first.push(index(routes.resource.len()));
        }
        cut.map_or(Ok(routes), Err)
    }

    fn of(&self, flow: usize) -> impl Iterator<Item = (usize, f64)> {
        let at = |place: usize| self.first.get(place).copied().unwrap_or(0) as usize;
        let range = at(flow)..at(flow + 1).max(at(flow));
        let pairs = self.resource.get(range.clone()).unwrap_or(&[]).iter().zip(self.share.get(range).unwrap_or(&[]));
        pairs.map(|(&resource, &share)| (resource as usize, share))
    }
}

/// A network has fewer than 2^32 resources, and a schedule fewer hops: [`run`] would not fit memory before.
fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Runs flows to their end.
///
/// # Errors
/// [`CutOff`]: some have no way.
pub fn run(network: &Network, flows: &[Flow], fairness: Fairness) -> Result<Schedule, CutOff> {
    let routes = Routes::new(network, flows)?;
    let users = users(&routes, flows.len(), network.capacities().len());
    let mut engine = Engine::new(network, flows, &routes, &users, fairness);
    engine.run();
    Ok(engine.finish())
}

/// The flows through each resource, one row a resource.
struct Users {
    first: Vec<u32>,
    flow: Vec<u32>,
}

fn users(routes: &Routes, flows: usize, resources: usize) -> Users {
    let mut first = vec![0u32; resources + 1];
    for &resource in &routes.resource {
        if let Some(count) = first.get_mut(resource as usize + 1) {
            *count += 1;
        }
    }
    for place in 1..first.len() {
        first[place] += first[place - 1];
    }
    let mut next = first.clone();
    let mut flow = vec![0u32; routes.resource.len()];
    for number in 0..flows {
        for (resource, _) in routes.of(number) {
            flow[next[resource] as usize] = index(number);
            next[resource] += 1;
        }
    }
    Users { first, flow }
}

struct Engine<'a> {
    network: &'a Network,
    flows: &'a [Flow],
    routes: &'a Routes,
    users: &'a Users,
    fairness: Fairness,
    now: f64,
    left: Vec<f64>,
    rate: Vec<f64>,
    end: Vec<f64>,
    active: Vec<u32>,
    waiting: Vec<u32>,
    solves: usize,
    received: Vec<f64>,
    sent: Vec<f64>,
}

/// A level as an ordered key: levels are not negative, so that their bits are ordered as they are.
type Level = (u64, u32);

impl<'a> Engine<'a> {
    fn new(network: &'a Network, flows: &'a [Flow], routes: &'a Routes, users: &'a Users, fairness: Fairness) -> Self {
        let mut waiting: Vec<u32> = (0..flows.len()).map(index).collect();
        // The latest first, so that the next to start is at the end.
        waiting
            .sort_unstable_by(|&a, &b| flows[b as usize].start_s.total_cmp(&flows[a as usize].start_s).then(b.cmp(&a)));
        Self {
            network,
            flows,
            routes,
            users,
            fairness,
            now: 0.0,
            left: flows.iter().map(|flow| flow.bytes).collect(),
            rate: vec![0.0; flows.len()],
            end: vec![0.0; flows.len()],
            active: Vec::with_capacity(flows.len()),
            waiting,
            solves: 0,
            received: vec![0.0; network.ranks],
            sent: vec![0.0; network.ranks],
        }
    }

    fn run(&mut self) {
        while !(self.active.is_empty() && self.waiting.is_empty()) {
            if self.active.is_empty()
                && let Some(&next) = self.waiting.last()
            {
                self.now = self.now.max(self.flows[next as usize].start_s);
            }
            self.start_due();
            if !self.active.is_empty() {
                self.solve();
                self.advance();
            }
        }
    }

    fn start_due(&mut self) {
        while let Some(&next) = self.waiting.last() {
            let flow = &self.flows[next as usize];
            if flow.start_s > self.now {
                break;
            }
            self.waiting.pop();
            if flow.bytes > 0.0 && flow.from != flow.to {
                self.active.push(next);
            } else {
                self.end[next as usize] = flow.start_s;
            }
        }
    }

    fn weight(&self, flow: u32) -> f64 {
        match self.fairness {
            Fairness::PerCopy => self.left[flow as usize],
            Fairness::PerFlow => 1.0,
        }
    }

    /// Max-min fair rates of the active flows.
    fn solve(&mut self) {
        self.solves += 1;
        let capacities = self.network.capacities();
        let mut free = capacities.to_vec();
        let mut weight = vec![0.0; capacities.len()];
        let mut count = vec![0u32; capacities.len()];
        for &flow in &self.active {
            self.rate[flow as usize] = f64::NAN;
            let own = self.weight(flow);
            for (resource, share) in self.routes.of(flow as usize) {
                weight[resource] += own * share;
                count[resource] += 1;
            }
        }
        let level = |free: f64, weight: f64| (free.max(0.0) / weight.max(f64::MIN_POSITIVE)).to_bits();
        let entries = (0..capacities.len()).filter(|&place| count[place] > 0);
        let mut heap: BinaryHeap<Reverse<Level>> =
            entries.map(|place| Reverse((level(free[place], weight[place]), index(place)))).collect();
        while let Some(Reverse((key, place))) = heap.pop() {
            let place = place as usize;
            if count[place] == 0 {
                continue;
            }
            let current = level(free[place], weight[place]);
            // Rounding may lower a level by a few units in the last place; a raised one waits its turn.
            if current > key {
                heap.push(Reverse((current, index(place))));
                continue;
            }
            self.freeze(place, f64::from_bits(current), &mut free, &mut weight, &mut count);
        }
    }

    fn freeze(&mut self, place: usize, level: f64, free: &mut [f64], weight: &mut [f64], count: &mut [u32]) {
        let (first, last) = (self.users.first[place] as usize, self.users.first[place + 1] as usize);
        for user in first..last {
            let flow = self.users.flow[user];
            // Not active, or frozen already.
            if !self.rate[flow as usize].is_nan() {
                continue;
            }
            let own = self.weight(flow);
            self.rate[flow as usize] = own * level;
            for (resource, share) in self.routes.of(flow as usize) {
                free[resource] -= own * share * level;
                weight[resource] -= own * share;
                count[resource] -= 1;
            }
        }
    }

    /// To the next batch of ends, or the next start.
    fn advance(&mut self) {
        let time = |flow: u32| self.left[flow as usize] / self.rate[flow as usize];
        let (mut soonest, mut longest) = (f64::INFINITY, 0.0f64);
        for &flow in &self.active {
            let time = time(flow);
            soonest = soonest.min(time);
            longest = longest.max(time);
        }
        let start = self.waiting.last().map_or(f64::INFINITY, |&next| self.flows[next as usize].start_s - self.now);
        let until = soonest.max(longest * BATCH).min(start);
        // All that end within rounding of the batch's end.
        let ends = until * (1.0 + 1e-12);
        let active = std::mem::take(&mut self.active);
        for flow in active {
            let place = flow as usize;
            let needed = self.left[place] / self.rate[place];
            // What arrives is integrated from the rates, not copied from the flows: a lost byte shows.
            let moved = self.rate[place] * needed.min(until);
            self.sent[self.flows[place].from] += moved;
            self.received[self.flows[place].to] += moved;
            if needed <= ends {
                self.complete(place, needed);
            } else {
                self.left[place] -= self.rate[place] * until;
                self.active.push(flow);
            }
        }
        self.now += until;
    }

    fn complete(&mut self, place: usize, needed: f64) {
        let flow = &self.flows[place];
        self.end[place] = self.now + needed + self.network.latency(flow.from, flow.to).get();
        self.left[place] = 0.0;
        self.rate[place] = 0.0;
    }

    fn finish(self) -> Schedule {
        let makespan_s = self.end.iter().copied().fold(0.0, f64::max);
        Schedule { end_s: self.end, makespan_s, solves: self.solves, received: self.received, sent: self.sent }
    }
}
