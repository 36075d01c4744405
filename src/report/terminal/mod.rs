//! What a terminal shows: tables, summaries and lists, at most 100 columns wide.

pub mod claims;
pub mod compile;
pub mod devices;
pub mod doctor;
pub mod explain;
pub mod explain_serving;
pub mod fabric;
pub mod fleet;
pub mod fleet_fit;
pub(in crate::report) mod layout;
#[cfg(feature = "parquet")]
pub mod operators;
pub mod projection;
mod record;
pub mod serving;
pub mod silicon;
pub mod summary;
pub mod validation;
pub mod verify;

pub use layout::{fit_to, print};
pub use record::table;
