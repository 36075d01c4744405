//! The style sheet of every page.

/// Colours in light and dark, layout on screen and on paper.
pub(in crate::report) const STYLE: &str = include_str!("page.css");
