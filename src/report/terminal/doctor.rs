//! What was found between this program and a GPU, as a list for a terminal.

use std::fmt::Write as _;

use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Keeps a GPU from being used.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How it ended.
    pub state: CheckState,
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub found: String,
}

impl Check {
    /// One thing that was looked at.
    pub fn new(state: CheckState, what: &str, found: impl Into<String>) -> Self {
        Self { state, what: what.to_owned(), found: found.into() }
    }
}

/// All that was looked at. Its JSON is what `supernode doctor --json` prints.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// Whether a GPU that is no software adapter can be used.
    pub gpu: bool,
    /// In the order in which it was looked at.
    pub checks: Vec<Check>,
    /// What to do, most likely first.
    pub advice: Vec<String>,
}

/// A line for each check, then what to do.
pub fn diagnosis(diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    let width = diagnosis.checks.iter().map(|check| check.what.chars().count()).max().unwrap_or(0);
    for check in &diagnosis.checks {
        let mark = match check.state {
            CheckState::Ok => "ok  ",
            CheckState::Note => "note",
            CheckState::Problem => "NO  ",
        };
        let _ = writeln!(out, "{mark}  {:width$}  {}", check.what, check.found);
    }
    if !diagnosis.advice.is_empty() {
        out.push_str("\nWhat to do\n");
        for (i, advice) in diagnosis.advice.iter().enumerate() {
            let mut lines = advice.lines();
            let _ = writeln!(out, "  {}. {}", i + 1, lines.next().unwrap_or_default());
            for line in lines {
                let _ = writeln!(out, "     {line}");
            }
        }
    }
    out
}
