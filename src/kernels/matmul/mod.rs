//! Expert matmul: grouped GEMM over expert-sorted rows, the dense and the batched GEMM as special cases of it, and the
//! weighted combine.

mod combine;
mod extreme;
mod grouped;
mod operands;
mod variant;

pub use combine::Combine;
pub use extreme::ExtremeProduct;
pub use grouped::{Matmul, MatmulRole};
