//! Adapters: listed once each, chosen, described, and opened with what the kernels can use.

mod describe;
mod list;
mod memory;
mod open;
mod report;
mod types;

pub use list::{list, select, short_bus_id};
pub use memory::Heap;
pub use report::{AdapterReport, MatrixShape, OpenReport};
pub use types::{AdapterChoice, Backend, Gpu, GpuError, Listed};
