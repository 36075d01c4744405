//! How fast is this GPU at the kernels of a mixture-of-experts LLM, and what would 384 of them on a bus fabric deliver?
//!
//! This is the library behind the command `supernode`. One idea holds it together: **measure a kernel once on the chip you
//! have; say honestly what that means for 384 of them.**
//!
//! ```text
//!     specs  ->  kernels  ->  measure  ->  record  ->  projection  ->  report
//!     facts      what is      how fast,    what was    what it would   how it
//!                computed     here         seen        be on a fabric  is shown
//! ```
//!
//! Data flows one way and once. [`record`] is the waist: left of it a GPU is needed, right of it everything works from
//! files, also with the feature `gpu` off.
//!
//! | module | what it holds | where to start |
//! |---|---|---|
//! | [`specs`] | facts as data: models, chips, fabrics, each value with its source | [`specs::Model`], [`specs::Fabric`] |
//! | [`kernels`] | shapes, plans and CPU references; knows no GPU library | [`kernels::Kernel`], [`kernels::Plan`] |
#![cfg_attr(
    feature = "gpu",
    doc = "| [`measure`] | adapters, launches, sampling, ceilings; the only place with wgpu | [`measure::session`] |"
)]
#![cfg_attr(
    not(feature = "gpu"),
    doc = "| `measure` | adapters, launches, sampling, ceilings; built with the feature `gpu` only | |"
)]
//! | [`fleet`] | many devices at once: ranks, placement, collectives; its `mpi` alone knows MPI | [`fleet::Communicator`] |
//! | [`operators`] | operators that others measured, in place of shares of the peaks | [`operators::OperatorTables`] |
//! | [`record`] | the result document: one struct is the schema | [`record::Record`], [`record::load`] |
//! | [`projection`] | pure functions from a question to tokens per second, with an interval | [`projection::project`] |
//! | [`report`] | terminal tables, comparison, exports, one HTML page | [`report::compare`], [`report::export`] |
//! | [`cli`] | one file a subcommand; alone sees all stages | [`cli::run`] |
//! | [`statistics`] | median, interval, quantile | [`statistics::summarise`] |
//! | [`units`] | seconds, bytes, operations and their rates as types | [`units::Seconds`] |
//!
//! Invariants: only `measure` knows wgpu; a record holds no figure without its verification; every input
//! of a projection is marked measured, published, assumed or derived; no module prints but [`report`] and [`cli`].
//!
//! # Example
//!
//! Two documents compared from code:
//!
//! ```
//! use std::path::Path;
//! use supernode_bench::{record, report::compare};
//!
//! let path = Path::new("results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json");
//! let record = record::load(path)?;
//! let comparison = compare::compare(("before", &record), &[("after", &record)]);
//! assert!(comparison.regressions(0.05).is_empty());
//! # Ok::<(), record::RecordError>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

#[cfg(not(target_arch = "wasm32"))]
pub mod cli;
mod files;
#[cfg(not(target_arch = "wasm32"))]
pub mod fleet;
pub mod kernels;
#[cfg(feature = "gpu")]
pub mod measure;
pub mod operators;
mod ordering;
mod printable;
pub mod projection;
pub mod record;
pub mod report;
pub mod specs;
pub mod statistics;
pub mod units;
