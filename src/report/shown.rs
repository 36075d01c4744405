//! An answer as a page shows it: a title, the figures that a reader looks for first, and a few sentences.

use serde::Serialize;

/// A figure in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownFigure {
    /// A short name for programs, the same whatever the figure says.
    pub key: &'static str,
    /// What it is.
    pub name: &'static str,
    /// The figure with its unit.
    pub value: String,
    /// What stands below it: its interval, or what it counts.
    pub note: String,
}

/// An answer in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownAnswer {
    /// The figures, the most important first.
    pub figures: Vec<ShownFigure>,
    /// What they rest on.
    pub text: String,
}

impl ShownFigure {
    /// A figure with a note.
    pub(super) const fn new(key: &'static str, name: &'static str, value: String, note: String) -> Self {
        Self { key, name, value, note }
    }
}
