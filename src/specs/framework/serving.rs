//! A framework that serves: what it adds to the times of a chip's kernels.

use serde::{Deserialize, Serialize};

use crate::specs::error::SpecError;
use crate::specs::framework::profiles::{FrameworkUse, SERVING, find_for};
use crate::specs::sourced::Sourced;
use crate::specs::toml_file::{bad, parse};

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
    /// Fixed time of a step of decode, seconds: scheduling, sampling, the start of a graph. It stands for the chip's own.
    pub step_s: Sourced,
    /// Fixed time of one of the model's ops when prompts are computed, seconds. It stands for the chip's launch: outside
    /// of graphs, the host launches each of an op's kernels.
    pub prompt_op_s: Sourced,
    /// Time of the work on prompts over what the chip's shares of its peaks say.
    pub prompt_factor: Sourced,
    /// Fixed time of a request before its first token, seconds: network, tokens from text, queues between processes.
    pub request_s: Sourced,
    /// Share of a benchmark's requests that wait as the first ones do, which start all at once.
    pub first_wave: Sourced,
    /// The same beside measured operators, in place of shares of the roofs.
    pub with_operators: FrameworkTimes,
}

/// What a framework adds to measured operators: the values of [`Framework`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameworkTimes {
    /// Fixed time of a step of decode, seconds.
    pub step_s: Sourced,
    /// Fixed time of an op when prompts are computed, seconds.
    pub prompt_op_s: Sourced,
    /// Time of the work on prompts over that of the operators.
    pub prompt_factor: Sourced,
    /// Fixed time of a request before its first token, seconds.
    pub request_s: Sourced,
    /// Share of a benchmark's requests that wait as the first ones do.
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

    /// A framework from TOML; `file` is named in errors.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        parse::<Self>(file, text)?.checked(file)
    }

    /// Itself if its values can be.
    fn checked(self, file: &str) -> Result<Self, SpecError> {
        for (field, value) in self.values() {
            if let Some(remedy) = value.problem(!field.ends_with("factor")) {
                return Err(bad(file, field, value.value, remedy));
            }
        }
        for wave in [&self.first_wave, &self.with_operators.first_wave] {
            if wave.value > 1.0 {
                return Err(bad(file, "first_wave", wave.value, "a share is at most 1"));
            }
        }
        Ok(self)
    }

    /// What it adds to shares of the roofs, or to measured operators.
    pub fn times(&self, with_operators: bool) -> FrameworkTimes {
        if with_operators {
            return self.with_operators.clone();
        }
        FrameworkTimes {
            step_s: self.step_s.clone(),
            prompt_op_s: self.prompt_op_s.clone(),
            prompt_factor: self.prompt_factor.clone(),
            request_s: self.request_s.clone(),
            first_wave: self.first_wave.clone(),
        }
    }

    fn values(&self) -> [(&'static str, &Sourced); 10] {
        let with = &self.with_operators;
        [
            ("with_operators.step_s", &with.step_s),
            ("with_operators.prompt_op_s", &with.prompt_op_s),
            ("with_operators.prompt_factor", &with.prompt_factor),
            ("with_operators.request_s", &with.request_s),
            ("with_operators.first_wave", &with.first_wave),
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
        for (from, to, expected) in [
            ("step_s", "stop_s", "stop_s"),
            ("prompt_factor = { value = ", "prompt_factor = { value = -", "prompt_factor"),
            ("first_wave = { value = 0", "first_wave = { value = 7", "first_wave"),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good, "{expected}: nothing was changed");
            let message = Framework::parse("my.toml", &text).unwrap_err().to_string();
            assert!(message.starts_with("my.toml") && message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
