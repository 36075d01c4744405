//! What a fleet measured of its network, as the fits read it.

use crate::projection::calibration::import::Measured;
use crate::projection::calibration::tiers::PairPoint;

/// What a fleet measured of its network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FleetTimes {
    /// Ranks.
    pub ranks: usize,
    /// The computer of each rank, by number: only for the names of tiers, and for who shares a network card.
    pub computers: Vec<usize>,
    /// Messages between two ranks.
    pub pairs: Vec<PairPoint>,
    /// Collectives of consecutive ranks, each with its first rank.
    pub collectives: Vec<(usize, Measured)>,
    /// Dispatches and combines of consecutive ranks.
    pub exchanges: Vec<ExchangeTime>,
}

/// A dispatch or a combine of consecutive ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExchangeTime {
    /// Which.
    pub name: &'static str,
    /// The first rank.
    pub first_rank: usize,
    /// Ranks.
    pub ranks: usize,
    /// The most bytes that one rank sends to others, or receives from them.
    pub bytes: f64,
    /// Time of one.
    pub time_s: f64,
}
