//! A published figure next to what the model says, and the error of several.

use serde::Serialize;

use crate::specs::Checked;

/// A published figure and the modelled one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PublishedRow {
    /// Short and unique.
    pub id: String,
    /// Which part of the model it tests.
    pub group: String,
    /// What was published, with its conditions.
    pub quantity: String,
    /// Unit of both figures.
    pub unit: String,
    /// As published.
    pub published: f64,
    /// Whether the published figure is an upper bound, so that anything below it is right.
    pub upper_bound: bool,
    /// As modelled; `None` where the model has no answer, which `note` explains.
    pub modelled: Option<f64>,
    /// Where it was published.
    pub source: String,
    /// How far the source was checked; only `yes` counts in the error of a group.
    pub checked: Checked,
    /// Whether the model was fitted on this row.
    pub fitted: bool,
    /// A remark.
    pub note: String,
}

impl PublishedRow {
    /// Modelled over published, less one; nothing below an upper bound.
    pub fn relative_error(&self) -> Option<f64> {
        let error = self.modelled.filter(|_| self.published != 0.0).map(|modelled| modelled / self.published - 1.0);
        error.map(|error| if self.upper_bound { error.max(0.0) } else { error })
    }
}

/// Errors of several rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ErrorSummary {
    /// Rows.
    pub rows: usize,
    /// Rows with a modelled figure.
    pub answered: usize,
    /// Mean of the absolute relative errors.
    pub mean_absolute: f64,
    /// The largest of them.
    pub worst: f64,
}

/// Errors of rows; a row without an answer counts in `rows` alone.
pub fn summary<'a>(rows: impl IntoIterator<Item = &'a PublishedRow>) -> ErrorSummary {
    let rows: Vec<Option<f64>> = rows.into_iter().map(PublishedRow::relative_error).collect();
    ErrorSummary { rows: rows.len(), ..of_errors(rows.into_iter().flatten()) }
}

/// The same of relative errors.
pub(super) fn of_errors(errors: impl IntoIterator<Item = f64>) -> ErrorSummary {
    let mut summary = ErrorSummary { rows: 0, answered: 0, mean_absolute: 0.0, worst: 0.0 };
    for error in errors {
        summary.answered += 1;
        summary.mean_absolute += error.abs();
        summary.worst = summary.worst.max(error.abs());
    }
    summary.rows = summary.answered;
    summary.mean_absolute /= summary.answered.max(1) as f64;
    summary
}
