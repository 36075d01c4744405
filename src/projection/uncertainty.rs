//! From values with bands to plain numbers: every uncertain input at its pessimistic, central or optimistic end at once.
//!
//! The interval of a projection is therefore wide by design: it holds whatever combination of the inputs is true.

use crate::specs::Sourced;

/// Which end of every band is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Slowest.
    Pessimistic,
    /// The central value.
    Nominal,
    /// Fastest.
    Optimistic,
}

impl Scenario {
    /// A rate, size or share: more is better.
    pub fn rate(self, value: &Sourced) -> f64 {
        match self {
            Self::Pessimistic => value.low.unwrap_or(value.value),
            Self::Nominal => value.value,
            Self::Optimistic => value.high.unwrap_or(value.value),
        }
    }

    /// A time or a factor on one: less is better.
    pub fn time(self, value: &Sourced) -> f64 {
        match self {
            Self::Pessimistic => value.high.unwrap_or(value.value),
            Self::Nominal => value.value,
            Self::Optimistic => value.low.unwrap_or(value.value),
        }
    }

    /// Factor on the hottest chip's load beyond uniformly random routing. Expert replicas leave some skew; a quarter is
    /// assumed at worst, and perfect balance at best.
    pub(super) fn imbalance(self, uniform: f64) -> f64 {
        match self {
            Self::Pessimistic => uniform * 1.25,
            Self::Nominal => uniform,
            Self::Optimistic => 1.0,
        }
    }
}
