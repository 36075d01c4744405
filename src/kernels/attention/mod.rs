//! Attention: prefill with online softmax, and decode with the cache split over workgroups and a reduce pass; grouped
//! queries, a paged cache, and the multi-head latent attention of DeepSeek-V3.

mod decode;
mod heads;
mod mla;
mod operands;
mod paged;
mod prefill;
mod seen;
mod split;
mod variant;

pub use decode::Decode;
pub use heads::Heads;
pub use mla::MlaDecode;
pub use paged::PagedDecode;
pub use prefill::Prefill;
