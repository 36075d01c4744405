//! Calibration of fabrics: their few free parameters, fitted on figures.
//!
//! - [`published`]: on published rows that the fabric's file names.
//! - [`measured`]: on a measured network, whose collectives [`import`] reads.
//! - [`fleet`]: a fabric made of what a fleet measured, whose tiers [`tiers`] finds.

mod exchanges;
pub mod fleet;
mod fleet_times;
pub mod import;
mod least_squares;
pub mod measured;
pub mod published;
pub mod tiers;

pub use fleet::{FleetFit, FleetFitError, fit_fleet};
pub use fleet_times::{ExchangeTime, FleetTimes};
pub use measured::{FittedRow, MeasuredFit, TierValue, fit_measured};
pub use published::{FitError, Fitted, Parameter, fit};
