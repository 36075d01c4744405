//! A fabric as capacities, and the bytes on them.
//!
//! - [`graph`](Network): what each rank, node and plane can carry, and which of them a byte passes on its way.
//! - `build`: from a fabric's tiers and faults to such a network.
//! - [`loads`](Loads): the bytes on each resource, and the time that the busiest one needs.

mod build;
mod error;
mod graph;
mod loads;
#[cfg(test)]
mod tests;

pub use build::LinkRates;
pub use error::NetworkError;
pub use graph::Network;
pub use loads::{CutOff, Loads};
