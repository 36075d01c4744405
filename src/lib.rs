//! How fast is this GPU at the kernels of a mixture-of-experts LLM, and what would 384 of them on a bus fabric deliver?
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod cli;
pub mod kernels;
#[cfg(feature = "gpu")]
pub mod measure;
pub mod projection;
pub mod record;
pub mod report;
pub mod specs;
pub mod units;
