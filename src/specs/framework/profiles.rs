//! Which profiles of frameworks there are, and for which use each is.

use serde::{Deserialize, Serialize};

use crate::specs::error::SpecError;
use crate::specs::toml_file::{Builtin, SpecFacts, bad, embedded};

/// Profiles of frameworks that serve.
pub(super) const SERVING: &Builtin = embedded!("frameworks", ["vllm", "sglang", "trtllm"]);
/// Profiles of frameworks that train.
pub(super) const TRAINING: &Builtin = embedded!("frameworks", ["megatron", "megatron-hybridep"]);

/// What a framework does with a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameworkUse {
    /// It serves requests.
    #[default]
    Serving,
    /// It trains.
    Training,
}

/// A profile for this use.
///
/// # Errors
/// [`SpecError`]: there is none, or it is of the other use.
pub(super) fn find_for(wanted: FrameworkUse, name_or_path: &str) -> Result<SpecFacts, SpecError> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        phase: FrameworkUse,
    }
    let (own, other, remedy) = match wanted {
        FrameworkUse::Serving => (SERVING, TRAINING, "serving takes vllm, sglang, trtllm or a file of its own"),
        FrameworkUse::Training => {
            (TRAINING, SERVING, "training takes megatron, megatron-hybridep or a file of its own")
        }
    };
    let is_other = other.iter().any(|(name, _)| name.eq_ignore_ascii_case(name_or_path));
    let facts = SpecFacts::find("framework", if is_other { other } else { own }, name_or_path)?;
    let found = facts.parse::<Head>()?.phase;
    if found == wanted {
        return Ok(facts);
    }
    Err(bad(&facts.file, "phase", if found == FrameworkUse::Serving { "serving" } else { "training" }, remedy))
}
