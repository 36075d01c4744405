//! Whole layers: kernels of the other families as one sequence of launches. Each launch reads what the one before it wrote.
//!
//! The time of a layer minus the times of its parts shows what launch gaps cost and what caches save.

mod append;
mod attention_block;
mod mla_block;
mod moe;
mod shared_expert;

pub use attention_block::{AttentionBlock, BlockPhase};
pub use mla_block::MlaBlock;
pub use moe::MoeLayer;
pub use shared_expert::SharedExpert;
