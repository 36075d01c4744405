//! Published figures next to what the model says: one type of row, one file per group.

pub mod fabric;
pub mod operators;
mod published_row;
pub mod serving;
pub mod silicon;
pub mod training_fit;

pub use published_row::{ErrorSummary, PublishedRow, summary};
