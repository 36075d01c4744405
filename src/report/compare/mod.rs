//! Two or more documents, case by case against one of them.
//!
//! Each pair of documents is compared twice: the best variant of each kernel, type and shape on either side (the tuned
//! winner may differ between devices), and the same variant on both. Ratios carry the 95 % interval that the noise within
//! the two runs leaves; a run repeated on another day may differ by more.

mod comparison;
mod csv;
mod differences;
mod llama_bench;
mod markdown;
mod page;
mod portability;
pub(super) mod ratio;
mod text;

pub use self::csv::csv;
pub use comparison::{Against, ComparedRecord, RecordComparison, Regression, Speedup, compare};
pub use differences::Missing;
pub use llama_bench::{LlamaBench, LlamaBenchError, LlamaRow};
pub use markdown::markdown;
pub use page::{html, html_sections};
pub use portability::{FamilyPortability, Portability, question_of};
pub use ratio::{Mean, Ratio, RatioVerdict};
pub use text::text;
