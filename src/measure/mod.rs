//! How fast, on this device: the only place that imports wgpu.
//!
//! [`gpu`] finds and opens an adapter, [`launch`] runs a kernel plan on it, [`session`] goes through the cases of a
//! preset: verify, warm up, sample, record. Between schedule and device is the [`Executor`] trait, so that schedule,
//! statistics and journal are tested with a fake one.

#[cfg(any(target_arch = "wasm32", test))]
mod browser;
pub mod ceilings;
mod clocks;
pub mod compile;
pub mod criterion;
pub mod estimate;
mod executor;
#[cfg(test)]
mod fake;
pub mod features;
mod finals;
pub mod gpu;
pub mod host;
mod into_record;
pub mod launch;
pub mod options;
pub mod planning;
mod preset;
mod roofs;
pub mod sampling;
pub mod session;
#[cfg(test)]
mod simulated;
#[cfg(feature = "mpi")]
pub mod slowed;
mod throttling;
mod time_spent;
pub mod tuning;
pub mod tuning_cache;
pub mod verify;
pub mod waiting;

pub use executor::{Executor, Lap, LaunchError, Prepared};
