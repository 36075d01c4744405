//! Calibration of fabrics: their few free parameters, fitted on figures.
//!
//! - [`published`]: on published rows that the fabric's file names.
//! - [`measured`]: on a measured network, whose collectives [`import`] reads.

pub mod import;
mod least_squares;
pub mod measured;
pub mod published;

pub use measured::{FittedRow, MeasuredFit, TierValue, fit_measured};
pub use published::{FitError, Fitted, Parameter, fit};
