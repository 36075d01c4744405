//! A framework that trains: what its host, its routing of tokens and its casts add to the times of a chip's kernels.

use serde::{Deserialize, Serialize};

use crate::specs::error::SpecError;
use crate::specs::framework::profiles::{FrameworkUse, TRAINING, find_for};
use crate::specs::sourced::Sourced;
use crate::specs::toml_file::{bad, parse};

/// The profile of a framework that trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingFramework {
    /// Short name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// What it does: train.
    pub phase: FrameworkUse,
    /// Time in which the host issues one op of a layer, once, seconds. A layer takes no less than all of its ops.
    pub op_host_s: Sourced,
    /// Time in which the host issues one launch of an expert's share of a grouped product, seconds.
    pub expert_host_s: Sourced,
    /// Time in which the device waits at an expert layer until the host knows how many tokens each expert has, seconds.
    pub sync_s: Sourced,
    /// How often all passes of a step read or write what an expert takes in, computes and gives out of a token's copy,
    /// beside the products themselves.
    pub routing_passes: Sourced,
    /// Bytes that all passes of a step move per element of an operand or gradient to cast it to 8 bits.
    pub cast_bytes: Sourced,
    /// Time of matrix products over what the chip's share of its peak says.
    pub product_factor: Sourced,
    /// Whether attention, norms and the router run in graphs, so that the host issues the experts' ops alone.
    pub graphs: bool,
}

impl TrainingFramework {
    /// The names of the embedded frameworks.
    pub fn builtin_names() -> Vec<&'static str> {
        TRAINING.iter().map(|(name, _)| *name).collect()
    }

    /// An embedded framework by name, else the TOML file at this path.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn load(name_or_path: &str) -> Result<Self, SpecError> {
        let facts = find_for(FrameworkUse::Training, name_or_path)?;
        facts.parse::<Self>()?.checked(&facts.file)
    }

    /// The framework of this name or path; `none`, and no name, are no framework.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn chosen(name_or_path: Option<&str>) -> Result<Option<Self>, SpecError> {
        name_or_path.filter(|name| *name != "none").map(Self::load).transpose()
    }

    /// A framework from TOML; `file` is named in errors.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        parse::<Self>(file, text)?.checked(file)
    }

    /// Itself if its values can be.
    fn checked(mut self, file: &str) -> Result<Self, SpecError> {
        for (field, value) in self.values_mut() {
            if let Some(remedy) = value.problem(field != "product_factor") {
                return Err(bad(file, field, value.value, remedy));
            }
        }
        Ok(self)
    }

    /// Its values by key, for checks, draws and fits.
    pub fn values_mut(&mut self) -> [(&'static str, &mut Sourced); 6] {
        [
            ("op_host_s", &mut self.op_host_s),
            ("expert_host_s", &mut self.expert_host_s),
            ("sync_s", &mut self.sync_s),
            ("routing_passes", &mut self.routing_passes),
            ("cast_bytes", &mut self.cast_bytes),
            ("product_factor", &mut self.product_factor),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specs::Framework;

    #[test]
    fn embedded_frameworks_load_and_are_called_what_their_file_is() {
        for name in TrainingFramework::builtin_names() {
            assert_eq!(TrainingFramework::load(name).unwrap().name, name);
        }
    }

    #[test]
    fn a_profile_of_the_other_phase_is_refused_in_a_line_that_says_what_is_taken() {
        let served = TrainingFramework::load("vllm").unwrap_err().to_string();
        assert!(served.contains("`phase` is serving; training takes megatron"), "{served}");
        let trained = Framework::load("megatron").unwrap_err().to_string();
        assert!(trained.contains("`phase` is training; serving takes vllm"), "{trained}");
        assert!(!served.contains('\n') && !trained.contains('\n'));
    }

    #[test]
    fn a_bad_framework_file_is_one_line_that_names_file_and_key() {
        let good = include_str!("../../../specs/frameworks/megatron.toml");
        for (from, to, expected) in [
            ("op_host_s", "op_hast_s", "op_hast_s"),
            ("sync_s = { value = ", "sync_s = { value = -", "sync_s"),
            ("graphs = false", "graphs = 3", "line"),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good, "{expected}: nothing was changed");
            let message = TrainingFramework::parse("my.toml", &text).unwrap_err().to_string();
            assert!(message.starts_with("my.toml") && message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
