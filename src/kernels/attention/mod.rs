//! Attention: prefill with online softmax, and decode with the cache split over workgroups and a reduce pass; grouped
//! queries, a paged cache, and the multi-head latent attention of DeepSeek-V3 with what its projections need beside matmuls.

mod decode;
mod head_matmul;
mod heads;
mod join_keys;
mod mla;
mod mla_paged;
mod operands;
mod paged;
mod pool;
mod prefill;
mod seen;
mod split;
mod variant;

pub use decode::Decode;
pub use head_matmul::HeadMatmul;
pub use heads::Heads;
pub use join_keys::JoinKeys;
pub use mla::MlaDecode;
pub use mla_paged::PagedMlaDecode;
pub use paged::PagedDecode;
pub use prefill::Prefill;
pub(in crate::kernels) use seen::{shown, sink_logits, visible};
