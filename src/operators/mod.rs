//! Operators that others measured, one by one, on chips that they have.
//!
//! A [`OperatorFamily`] says what an operator does and which sizes its shapes have. [`OperatorTables`] holds those of one chip, and
//! says how long any shape takes. Files of them are made by `import` from the tables of NVIDIA's aiconfigurator.

mod family;
#[cfg(feature = "parquet")]
mod file;
mod grid;
#[cfg(feature = "parquet")]
mod import;
mod shape;
mod systems;
mod tables;

pub use family::OperatorFamily;
#[cfg(feature = "parquet")]
pub use file::{OperatorFile, OperatorFileError, TableFacts};
pub use grid::Coverage;
#[cfg(feature = "parquet")]
pub use import::{Imported, TableImportError, count, import};
pub use shape::{OperatorShape, RankPeaks};
pub use systems::{SYSTEMS, chip_of_system, system_of_chip};
pub use tables::{AskedType, FoundTime, MeasuredOperator, MeasuredTable, OperatorTables};
