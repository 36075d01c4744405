//! The CPU twins: scalar loops in f64 over the operands that the device reads, written to be read.
//!
//! They share operands with the kernels, but no helper: layout, order and formulas are written out again.

pub mod attention;
pub mod gating;
pub mod matmul;
