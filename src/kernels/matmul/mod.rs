//! Expert matmul: grouped GEMM over expert-sorted rows, the dense and the batched GEMM as special cases of it, and the
//! weighted combine, with or without a shared expert.

mod combine;
mod combine_shared;
mod extreme;
mod grouped;
mod operands;
mod variant;

pub use combine::Combine;
pub use combine_shared::CombineShared;
pub use extreme::ExtremeProduct;
pub use grouped::{Matmul, MatmulRole};
