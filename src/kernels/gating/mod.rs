//! Gating after the router's matmul: scoring with top-k, and the sort of token slots by expert.

mod judge;
mod sort;
mod topk;

pub(crate) use judge::{LogitsOf, TopkCheck, judge_topk};
pub use sort::Sort;
pub use topk::{Logits, TopK};

pub use crate::kernels::gate::Gate;
