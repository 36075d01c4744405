//! The CPU twins: scalar loops in f64 over the same operands as the device reads, written to be read.
//!
//! They share only the operands with the kernels, no helper: layout, order and formulas are spelled out again.

pub mod attention;
pub mod gating;
pub mod matmul;
