//! What a run is asked for.

use std::path::PathBuf;

use crate::record::{Preset, Selection};

/// Multiply-adds of the twin that one verification before timing may cost.
pub(super) const EFFORT: u64 = 8_000_000;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The set of shapes; chosen from the device's speed where `None`.
    pub preset: Option<Preset>,
    /// Seed of all inputs.
    pub seed: u64,
    /// Only cases whose id contains one of these; all where empty.
    pub only: Vec<String>,
    /// Whether shaders keep wgpu's checks.
    pub runtime_checks: bool,
    /// Go on with the document that is there.
    pub resume: bool,
    /// Which variants are timed in full.
    pub selection: Selection,
    /// Where trials of earlier runs are kept; nowhere where `None`.
    pub tuning_cache: Option<PathBuf>,
    /// Make all trials again.
    pub retune: bool,
}
