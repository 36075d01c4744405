//! Fits a fabric's few free parameters on published rows, by relative least squares.

use crate::projection::calibration::least_squares::minimise;
use crate::projection::validation::PublishedRow;
use crate::projection::validation::fabric::{FabricCase, answer};
use crate::specs::Fabric;

/// A fitted parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its key, e.g. `node.all_to_all_fixed_s`.
    pub key: String,
    /// The value in the fabric's file.
    pub in_file: f64,
    /// Fitted.
    pub fitted: f64,
}

/// A fit with its residuals.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The fabric with the fitted values.
    pub fabric: Fabric,
    /// The parameters.
    pub parameters: Vec<Parameter>,
    /// The rows that were fitted on.
    pub on: Vec<PublishedRow>,
    /// All other rows of the fabric that the model answers. The fit has not seen them.
    pub unseen: Vec<PublishedRow>,
}

/// Why there is no fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// The file has no `[fit]`.
    #[error("{fabric} has no [fit]: give one with `free` and `rows`")]
    None {
        /// The fabric.
        fabric: String,
    },
    /// A key that does not exist.
    #[error("{fabric}: `fit.free`: `{key}` is not a value of this fabric")]
    Key {
        /// The fabric.
        fabric: String,
        /// The key.
        key: String,
    },
    /// A row that does not exist or is another fabric's.
    #[error("{fabric}: `fit.rows`: no validation row of this fabric is called `{row}`")]
    Row {
        /// The fabric.
        fabric: String,
        /// The row.
        row: String,
    },
    /// A row without an answer.
    #[error("{fabric}: row `{row}` has no modelled value")]
    Unanswered {
        /// The fabric.
        fabric: String,
        /// The row.
        row: String,
    },
}

/// Fits the parameters that `[fit]` names, starting from the values of the file.
///
/// # Errors
/// [`FitError`].
pub fn fit(fabric: &Fabric, cases: &[FabricCase]) -> Result<Fitted, FitError> {
    let name = || fabric.name.clone();
    let plan = fabric.fit.clone().ok_or_else(|| FitError::None { fabric: name() })?;
    let own: Vec<&FabricCase> = cases.iter().filter(|case| case.fabric == fabric.name).collect();
    let mut on = Vec::new();
    for row in &plan.rows {
        let found = own.iter().copied().find(|case| case.id == *row);
        on.push(found.ok_or_else(|| FitError::Row { fabric: name(), row: row.clone() })?);
    }
    let mut fitted = fabric.clone();
    let mut start = Vec::new();
    for key in &plan.free {
        let value = fitted.value_mut(key).ok_or_else(|| FitError::Key { fabric: name(), key: key.clone() })?;
        start.push(value.value);
    }
    let residuals = |values: &[f64]| -> Result<Vec<f64>, FitError> {
        let mut trial = fabric.clone();
        assign(&mut trial, &plan.free, values);
        on.iter()
            .map(|case| {
                let error = answer(&trial, case).and_then(|row| row.relative_error());
                error.ok_or_else(|| FitError::Unanswered { fabric: name(), row: case.id.clone() })
            })
            .collect()
    };
    let limits: Vec<f64> =
        plan.free.iter().map(|key| if key.ends_with("efficiency") { 1.0 } else { f64::INFINITY }).collect();
    let values = minimise(&residuals, &start, &limits)?;
    assign(&mut fitted, &plan.free, &values);
    let rows = |wanted: bool| {
        let chosen = own.iter().filter(|case| plan.rows.contains(&case.id) == wanted);
        chosen.filter_map(|case| answer(&fitted, case)).collect::<Vec<_>>()
    };
    let parameters = plan.free.iter().zip(start).zip(&values);
    let parameters =
        parameters.map(|((key, in_file), &fitted)| Parameter { key: key.clone(), in_file, fitted }).collect();
    Ok(Fitted { parameters, on: rows(true), unseen: rows(false), fabric: fitted })
}

fn assign(fabric: &mut Fabric, keys: &[String], values: &[f64]) {
    for (key, &value) in keys.iter().zip(values) {
        if let Some(slot) = fabric.value_mut(key) {
            slot.value = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::validation::fabric as validation;

    #[test]
    fn the_values_in_the_files_are_those_that_the_fit_finds() {
        let cases = validation::cases();
        for name in ["cloudmatrix384", "h800-ib", "h800-ib-rdma", "h100-ib"] {
            let fitted = fit(&Fabric::load(name).unwrap(), &cases).unwrap();
            for Parameter { key, in_file, fitted } in &fitted.parameters {
                assert!(
                    (in_file - fitted).abs() <= 0.005 * fitted.abs() + 1e-10,
                    "{name}: {key} is {in_file}, the fit says {fitted}"
                );
            }
        }
    }
}
