//! Probes of the device's roofs: arithmetic in registers, streaming memory, the last-level cache, the cost of a launch, and
//! the sizes of subgroups. The results of probes are ceilings, not cases.

mod cache;
mod dot;
mod fma;
mod launch;
mod matrix;
mod outer;
mod stream;
pub mod subgroup;

pub use cache::{CACHE_INVOCATIONS, CacheProbe, MIN_CACHE_BYTES, cache_step};
pub use dot::DotProbe;
pub use fma::{FMA_WORKGROUPS, FmaForm, FmaProbe};
pub use launch::LaunchProbe;
pub use matrix::{MATRIX_WORKGROUP, MatrixProbe};
pub use stream::{CopyProbe, ReadProbe, WriteProbe};
