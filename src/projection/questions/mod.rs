//! Questions that ask many projections.
//!
//! - [`catalogue`], [`serving_point`]: from a point of a grid to a request. [`sweep`] answers grids, [`scaling`] series of machines.
//! - [`model_table`]: what a report asks where nothing is named. [`served_systems`]: what is compared at the same service.
//! - [`explain`], [`explain_serving`]: why one fabric, or one deployment, is faster than another; [`explain_chips`]: the same where
//!   the chips differ too; [`explain_slowest`]: where a step waits for the slowest of many devices.
//! - [`claims`]: announced figures against the model.
//! - [`surface`]: what-ifs over bandwidth, latency, chips and batch. [`outlook`]: one model's decode in depth.

pub mod catalogue;
pub mod claims;
pub mod explain;
pub mod explain_chips;
pub mod explain_serving;
pub mod explain_slowest;
mod hybrid_fabric;
pub mod model_table;
pub mod outlook;
pub mod scaling;
pub mod served_systems;
pub mod serving_point;
mod shapley;
pub mod surface;
pub mod sweep;
