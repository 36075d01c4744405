//! Answers as the page takes them.

use serde::Serialize;
use supernode_bench::report::{Fragment, ShownAnswer};

/// An answer: the JSON of the command, its words, and its sections.
#[derive(Serialize)]
pub(super) struct Answer<T> {
    pub(super) answer: T,
    pub(super) title: String,
    /// Why there is no plan, where there is none.
    pub(super) infeasible: Option<String>,
    pub(super) words: Option<ShownAnswer>,
    pub(super) sections: Option<Fragment>,
}

/// As JSON.
///
/// # Errors
/// One line, which no answer of ours has.
pub(super) fn text(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}
