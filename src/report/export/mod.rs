//! A record's cases for other tools: CSV, JSON lines, Parquet, OpenMetrics text, and criterion's folders.
//!
//! CSV, JSON lines and Parquet have the same columns, from one list, `columns::COLUMNS`.

pub(crate) mod cell;
mod columns;
mod criterion;
mod openmetrics;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
pub(crate) mod parquet_file;
#[cfg(feature = "parquet")]
pub(crate) mod parquet_source;
mod rows;

#[cfg(feature = "parquet")]
pub use self::parquet::parquet;
pub use criterion::{CriterionFile, criterion};
pub use openmetrics::openmetrics;
pub use rows::{csv, jsonl};
