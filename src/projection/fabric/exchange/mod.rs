//! Dispatch, combine and bulk collectives on a network of ranks, with skewed experts and faults.

mod bulk;
mod dispatch;
#[cfg(test)]
mod tests;
mod types;

pub use crate::projection::fabric::direction::Direction;
pub use crate::projection::fabric::site::Site;
pub use bulk::{Bulk, bulk};
pub use dispatch::{exchange, flows};
pub use types::{Answer, Exchange, ExchangeError, Parts, Payload};
