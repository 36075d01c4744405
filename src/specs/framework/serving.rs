//! A framework that serves: what it adds to the times of a chip's kernels.

use serde::{Deserialize, Serialize};

use crate::specs::error::SpecError;
use crate::specs::framework::profiles::{FrameworkUse, SERVING, find_for};
use crate::specs::sourced::Sourced;
use crate::specs::toml_file::bad;

/// The profile of a framework that serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    /// What it does: serve.
    #[serde(default)]
    pub phase: FrameworkUse,
    /// Short name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// What it adds to shares of the roofs.
    pub with_shares: FrameworkTimes,
    /// What it adds to measured operators, in place of shares of the roofs.
    pub with_operators: FrameworkTimes,
}

/// What a framework adds to the times of kernels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameworkTimes {
    /// Fixed time of a step of decode, seconds: scheduling, sampling, the start of a graph. It stands for the chip's own.
    pub step_s: Sourced,
    /// Fixed time of one of the model's ops when prompts are computed, seconds. It stands for the chip's launch: outside
    /// of graphs, the host launches each of an op's kernels.
    pub prompt_op_s: Sourced,
    /// Time of the work on prompts over that of the kernels.
    pub prompt_factor: Sourced,
    /// Fixed time of a request before its first token, seconds: network, tokens from text, queues between processes.
    pub request_s: Sourced,
    /// Share of a benchmark's requests that wait as the first ones do, which start all at once.
    pub first_wave: Sourced,
}

impl Framework {
    /// The names of the embedded frameworks.
    pub fn builtin_names() -> Vec<&'static str> {
        SERVING.iter().map(|(name, _)| *name).collect()
    }

    /// An embedded framework by name, else the TOML file at this path.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn load(name_or_path: &str) -> Result<Self, SpecError> {
        let facts = find_for(FrameworkUse::Serving, name_or_path)?;
        facts.parse::<Self>()?.checked(&facts.file)
    }

    fn checked(self, file: &str) -> Result<Self, SpecError> {
        for (table, times) in [("with_shares", &self.with_shares), ("with_operators", &self.with_operators)] {
            for (key, value) in times.values() {
                if let Some(remedy) = value.problem(key != "prompt_factor") {
                    return Err(bad(file, &format!("{table}.{key}"), value.value, remedy));
                }
            }
            if times.first_wave.value > 1.0 {
                return Err(bad(file, &format!("{table}.first_wave"), times.first_wave.value, "a share is at most 1"));
            }
        }
        Ok(self)
    }

    /// What it adds to shares of the roofs, or to measured operators.
    pub fn times(&self, with_operators: bool) -> &FrameworkTimes {
        if with_operators { &self.with_operators } else { &self.with_shares }
    }
}

impl FrameworkTimes {
    fn values(&self) -> [(&'static str, &Sourced); 5] {
        [
            ("step_s", &self.step_s),
            ("prompt_op_s", &self.prompt_op_s),
            ("prompt_factor", &self.prompt_factor),
            ("request_s", &self.request_s),
            ("first_wave", &self.first_wave),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_frameworks_load_and_are_called_what_their_file_is() {
        for name in Framework::builtin_names() {
            assert_eq!(Framework::load(name).unwrap().name, name);
        }
    }

    #[test]
    fn a_bad_framework_file_is_one_line_that_names_file_and_key() {
        let good = include_str!("../../../specs/frameworks/vllm.toml");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.toml");
        for (from, to, expected) in [
            ("step_s", "stop_s", "stop_s"),
            ("prompt_factor = { value = ", "prompt_factor = { value = -", "prompt_factor"),
            ("first_wave = { value = 0", "first_wave = { value = 7", "first_wave"),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good, "{expected}: nothing was changed");
            std::fs::write(&path, text).unwrap();
            let message = Framework::load(&path.to_string_lossy()).unwrap_err().to_string();
            assert!(message.contains("my.toml") && message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
