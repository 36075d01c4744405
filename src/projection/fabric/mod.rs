//! The network, as three models. Each is tested against the next.
//!
//! - Closed forms ([`collectives`](all_to_all)): uniform traffic on whole tiers. Plans are searched with them.
//! - Port loads ([`exchange`], on a [`network`]): skewed traffic, faults, any number of ranks.
//! - Flows ([`flows`]): a flow-level engine with max-min fair sharing, for traces and as a check of the port loads.
//!
//! [`link`] reads tiers from a fabric's file, [`placement`] puts experts on ranks, [`faults`] names what is broken.
//!
//! # What a dispatch or combine costs
//!
//! `T = latency + sum over tiers of share * fixed + copies * copy + max over ports of bytes / bandwidth`
//!
//! - `share` is the share of the peers on a tier.
//! - `copy` is the time of the sender's cores per copy; a combine has none.
//! - The ports are each rank's way out and in by switch plane, the uplinks of its node, and the planes themselves.
//!
//! The slowest port sets the time. Where a rank holds a hot expert, that is the rank's way in.
//!
//! # Sharing, and what is monotone
//!
//! Sharing is max-min fair over copies of tokens. Flows share a port in proportion to their bytes, as they do where
//! senders work through their tokens in order. Then every flow through the busiest port ends with that port, and no
//! port takes longer. The makespan is the busiest port's bytes over its bandwidth. Hence, for given routes, a larger
//! capacity or a lower latency is never slower.
//!
//! Routes depend on faults alone, not on capacities. With fewer planes, a rank still sends as many bytes. So a faulty
//! fabric is never faster than a whole one.
//!
//! Two things have no such guarantee: fairness by flow ([`flows::Fairness::PerFlow`]), and one more fault on top of
//! several.

mod collectives;
mod direction;
pub mod exchange;
pub mod faults;
pub mod flows;
pub mod link;
mod mode;
pub mod network;
pub mod placement;
mod site;
pub mod trace;

pub use collectives::{
    Algorithm, AllToAll, Collective, algorithms, all_reduce, all_to_all, best, dispatch, distinct, issue, send,
    staged_all_to_all,
};
pub use direction::Direction;
pub use link::{Group, Link, links, rank_links};
pub use mode::Mode;
pub use site::Site;
