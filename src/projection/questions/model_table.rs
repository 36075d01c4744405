//! The table that a report and `supernode project` show: several models in all phases on a fabric.

use crate::projection::chip::ChipModel;
use crate::projection::parallel_plan::Phase;
use crate::projection::request::Request;
use crate::specs::{Fabric, Model, SpecError};

/// The chip of the Supernode 384.
pub const DEFAULT_CHIP: &str = "ascend-910c";
/// Its bus.
pub const DEFAULT_FABRIC: &str = "cloudmatrix384";
/// What the bus is compared with.
pub const DEFAULT_BASELINE: &str = "roce-cluster";
/// Its chips, in packages.
pub const DEFAULT_CHIPS: u32 = 384;
/// The models where none is named.
pub const TABLE_MODELS: [&str; 3] = ["llama-3.1-405b", "qwen3-235b-a22b", "deepseek-v3"];
/// The one of them whose decode is shown in depth.
pub const IN_DEPTH: &str = "deepseek-v3";
/// The phases where none is named.
pub const TABLE_PHASES: [Phase; 3] = [Phase::Prefill, Phase::Decode, Phase::Training];

/// Several models in all phases on a fabric, each compared with a baseline.
#[derive(Debug, Clone)]
pub struct ModelTable {
    /// The models.
    pub models: Vec<Model>,
    /// The fabric.
    pub fabric: Fabric,
    /// What it is compared with.
    pub baseline: Fabric,
    /// Chips in use.
    pub chips: u32,
}

impl ModelTable {
    /// The models that are named, or three; the fabrics and the number of chips that are named, or the Supernode's.
    ///
    /// # Errors
    /// [`SpecError`] for a name or file that cannot be read.
    pub fn load(
        models: &[String],
        fabric: Option<&str>,
        baseline: Option<&str>,
        chips: Option<u32>,
    ) -> Result<Self, SpecError> {
        let named: Vec<&str> = models.iter().map(String::as_str).collect();
        let names = if named.is_empty() { TABLE_MODELS.to_vec() } else { named };
        Ok(Self {
            models: names.into_iter().map(Model::load).collect::<Result<_, _>>()?,
            fabric: Fabric::load(fabric.unwrap_or(DEFAULT_FABRIC))?,
            baseline: Fabric::load(baseline.unwrap_or(DEFAULT_BASELINE))?,
            chips: chips.unwrap_or(DEFAULT_CHIPS),
        })
    }

    /// What is asked of a chip about one model and phase.
    pub fn request(&self, chip: &ChipModel, model: &Model, phase: Phase) -> Request {
        Request::new(model.clone(), chip.clone(), self.fabric.clone(), self.chips, phase)
    }

    /// All that is asked of a chip, model by model.
    pub fn requests<'a>(&'a self, chip: &'a ChipModel) -> impl Iterator<Item = Request> + 'a {
        self.models.iter().flat_map(move |model| TABLE_PHASES.map(|phase| self.request(chip, model, phase)))
    }
}
