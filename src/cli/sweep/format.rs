//! The formats that a sweep writes.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum SweepFormat {
    /// One JSON object per line.
    Jsonl,
    /// One CSV file, written when all points are there; until then the rows are in FILE.partial.jsonl.
    Csv,
    /// One Parquet file, written as CSV is.
    Parquet,
}

impl SweepFormat {
    /// The format that a file's name says, if it says one.
    pub(super) fn of_name(output: &Path) -> Option<Self> {
        match output.extension()?.to_str()? {
            "jsonl" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// As the format is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "JSON Lines",
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
        }
    }
}
