//! A record in a few words, for a list of records.

use serde::Serialize;

use crate::record::Record;
use crate::report::text::clean;
use crate::report::words;

/// What a list of records says about one. All texts of the record are cleaned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordSummary {
    /// The device's name.
    pub device: String,
    /// Discrete, integrated, virtual, software or unknown, in words.
    pub device_type: &'static str,
    /// Graphics API.
    pub backend: String,
    /// Driver with its version.
    pub driver: String,
    /// The set of shapes.
    pub preset: &'static str,
    /// Start of the run.
    pub created_at: String,
    /// Cases that the run has or had before it.
    pub planned: usize,
    /// Verified and timed.
    pub measured: usize,
    /// What the device cannot run.
    pub left_out: usize,
    /// Wrong or failed.
    pub rejected: usize,
    /// Whether all planned cases are accounted for.
    pub complete: bool,
    /// Whether a CPU posed as the GPU.
    pub software: bool,
    /// What bounds the whole record.
    pub caveats: Vec<String>,
}

impl RecordSummary {
    /// Of a record.
    pub fn of(record: &Record) -> Self {
        let device = &record.device;
        Self {
            device: clean(&device.name),
            device_type: words::device_type(device.device_type),
            backend: clean(&device.backend),
            driver: clean(format!("{} {}", device.driver, device.driver_info).trim()),
            preset: words::preset(record.protocol.preset),
            created_at: clean(&record.created_at),
            planned: record.planned_count(),
            measured: record.cases.len(),
            left_out: record.left_out.len(),
            rejected: record.rejected.len(),
            complete: record.complete,
            software: record.is_software(),
            caveats: record.caveats.iter().map(|caveat| clean(&caveat.to_string())).collect(),
        }
    }
}
