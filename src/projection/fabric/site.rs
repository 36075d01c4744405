//! A fabric at one end of its bands.

use crate::specs::{Fabric, Scenario, Sourced};

/// A fabric at one end of its bands.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The fabric.
    pub fabric: &'a Fabric,
    /// Bandwidth of tiers without one of their own: that of a chip's scale-up links.
    pub scale_up: &'a Sourced,
    /// Which end.
    pub scenario: Scenario,
}
