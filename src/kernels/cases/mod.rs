//! The kernels and shapes that run: the presets of `measure`, and the suite of `verify`.

mod capacity;
mod layer_suite;
mod presets;
mod sample;
mod spec;
mod suite;

pub use capacity::Capacity;
pub use presets::{Preset, preset_cases, preset_models, square_cases, square_matmuls};
pub use sample::{Alike, by_pipelines, one_set_each};
pub use spec::CaseSpec;
pub use suite::verification_cases;
