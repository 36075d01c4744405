//! Facts from files: models, chips and fabrics, each value with its source.
//!
//! The files under `specs/` are embedded in the program; a path to a file of one's own works wherever a name does.
//! Parsing is strict: an unknown key, a missing value or one out of range is one line that names file, field and
//! remedy.

mod chip;
pub mod claim;
mod edit;
mod error;
mod fabric;
mod framework;
pub mod grid;
mod model;
#[cfg(all(test, feature = "gpu"))]
mod profile;
mod sourced;
mod toml_file;

pub use chip::{Chip, ChipMemory, Efficiency, Links, Overhead, Peaks};
pub use claim::Claim;
pub use edit::Settings;
pub use error::SpecError;
pub use fabric::{Dies, Fabric, Fit, LatencyIs, Spread, Tier, Topology};
pub use framework::{Framework, FrameworkTimes, FrameworkUse, TrainingFramework};
pub use grid::{Grid, Point};
pub use model::{
    Attention, AttentionLayer, Checkpoint, CheckpointType, EntryChoice, Ffn, Indexer, Layer, LayerKind,
    LinearAttention, Mixer, MixerParameters, Model, Moe, Reach, Recurrence, Scoring,
};
#[cfg(all(test, feature = "gpu"))]
pub(crate) use profile::DeviceProfile;
pub use sourced::{Checked, NumberType, Provenance, Scenario, Sourced};
