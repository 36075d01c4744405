//! What happens in a simulation, in the order of time.

use std::cmp::Ordering;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    /// The request of this place comes.
    Arrival(usize),
    /// Its cache reaches an engine that decodes.
    HandOver(usize),
    /// The step of this engine ends.
    StepEnd(usize),
}

/// Something that happens. Of events at the same time, the one that was planned first comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct SimulationEvent {
    /// When, in seconds.
    pub(super) at: f64,
    /// Number in the order of planning.
    pub(super) order: u64,
    /// What.
    pub(super) what: EventKind,
}

impl PartialEq for SimulationEvent {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SimulationEvent {}

impl PartialOrd for SimulationEvent {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SimulationEvent {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.total_cmp(&other.at).then(self.order.cmp(&other.order))
    }
}
