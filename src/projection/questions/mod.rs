//! Questions that ask many projections.
//!
//! - [`catalogue`]: from a point of a grid to a request. [`sweep`] answers grids, [`scaling`] series of machines.
//! - [`explain`]: why one fabric is faster than another.
//! - [`claims`]: announced figures against the model.
//! - [`surface`]: what-ifs over bandwidth, latency, chips and batch. [`outlook`]: one model's decode in depth.

pub mod catalogue;
pub mod claims;
pub mod explain;
pub mod outlook;
pub mod scaling;
pub mod surface;
pub mod sweep;
