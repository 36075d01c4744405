//! Claims against the model: every reading is evaluated, and those that fit are found.
//!
//! A reading fits if, for each figure of the claim, the model's interval and the range that the figure covers overlap.
//! Nothing is fitted to a claim: the model's inputs are those of `supernode project`.
//!
//! - `arithmetic` derives figures from the files of chips and fabrics.
//! - `projected` asks the projection, `served` for serving; `asked` keeps each answer.
//! - `utilised` takes a published share of the arithmetic peak in place of the projection.
//! - `verdict` says which readings fit.
//! - [`judge`] does all of it.

mod arithmetic;
mod asked;
mod judge;
mod projected;
mod reading;
mod served;
mod utilised;
mod verdict;

pub use judge::{Judged, JudgedFigure, judge};
pub use reading::{ClaimReading, ReadingValue};
pub use verdict::{Nearest, Verdict};
