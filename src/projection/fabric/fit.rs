//! Fits a fabric's few free parameters on published rows: relative least squares by Levenberg and Marquardt's method.

mod measured;

pub use measured::{FittedRow, MeasuredFit, TierValue, fit_measured};

use crate::projection::validation::Row;
use crate::projection::validation::fabric::{self as validation, Case};
use crate::specs::Fabric;

/// A fitted parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its key, e.g. `node.all_to_all_fixed_s`.
    pub key: String,
    /// In the fabric's file.
    pub stands: f64,
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
    pub on: Vec<Row>,
    /// All other rows of the fabric that the model answers: what the fit has not seen.
    pub unseen: Vec<Row>,
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

/// Fits what `[fit]` names, starting from the values that stand.
///
/// # Errors
/// [`FitError`].
pub fn fit(fabric: &Fabric, cases: &[Case]) -> Result<Fitted, FitError> {
    let name = || fabric.name.clone();
    let plan = fabric.fit.clone().ok_or_else(|| FitError::None { fabric: name() })?;
    let own: Vec<&Case> = cases.iter().filter(|case| case.fabric == fabric.name).collect();
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
                let error = validation::answer(&trial, case).and_then(|row| row.relative_error());
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
        chosen.filter_map(|case| validation::answer(&fitted, case)).collect::<Vec<_>>()
    };
    let parameters = plan.free.iter().zip(start).zip(&values);
    let parameters =
        parameters.map(|((key, stands), &fitted)| Parameter { key: key.clone(), stands, fitted }).collect();
    Ok(Fitted { parameters, on: rows(true), unseen: rows(false), fabric: fitted })
}

fn assign(fabric: &mut Fabric, keys: &[String], values: &[f64]) {
    for (key, &value) in keys.iter().zip(values) {
        if let Some(slot) = fabric.value_mut(key) {
            slot.value = value;
        }
    }
}

/// Least squares within `0..=limit`; the residuals are smooth except where a bottleneck changes.
fn minimise<E>(
    residuals: &impl Fn(&[f64]) -> Result<Vec<f64>, E>,
    start: &[f64],
    limits: &[f64],
) -> Result<Vec<f64>, E> {
    let sum = |errors: &[f64]| errors.iter().map(|error| error * error).sum::<f64>();
    // Each parameter in units of its start, or of a microsecond where that is nothing.
    let scale: Vec<f64> = start.iter().map(|&value| if value > 0.0 { value } else { 1e-6 }).collect();
    let inside = |values: Vec<f64>| -> Vec<f64> {
        values.into_iter().zip(limits).map(|(value, limit)| value.clamp(0.0, *limit)).collect()
    };
    let mut values = inside(start.to_vec());
    let mut errors = residuals(&values)?;
    let mut damping = 1e-3;
    for _ in 0..200 {
        let mut columns = Vec::new();
        for place in 0..values.len() {
            let step = 1e-6 * scale[place];
            let mut moved = values.clone();
            // Away from the upper limit.
            let signed = if moved[place] + step > limits[place] { -step } else { step };
            moved[place] += signed;
            let there = residuals(&moved)?;
            let slope = there.iter().zip(&errors).map(|(there, here)| (there - here) / signed * scale[place]);
            columns.push(slope.collect::<Vec<f64>>());
        }
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut matrix: Vec<Vec<f64>> =
            columns.iter().map(|row| columns.iter().map(|column| dot(row, column)).collect()).collect();
        for (place, row) in matrix.iter_mut().enumerate() {
            row[place] = row[place] * (1.0 + damping) + 1e-15;
        }
        let right: Vec<f64> = columns.iter().map(|column| -dot(column, &errors)).collect();
        let step = solve(matrix, right);
        let moved = values.iter().zip(&step).zip(&scale).map(|((value, step), scale)| value + step * scale).collect();
        let moved = inside(moved);
        let there = residuals(&moved)?;
        let gain = sum(&errors) - sum(&there);
        if gain > 0.0 {
            (values, errors, damping) = (moved, there, damping * 0.3);
            if gain < 1e-16 {
                break;
            }
        } else {
            damping *= 4.0;
            if damping > 1e12 {
                break;
            }
        }
    }
    Ok(values)
}

/// Gaussian elimination with pivots; a vanishing pivot leaves its unknown at zero.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for column in 0..size {
        let pivot = (column..size).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()));
        let pivot = pivot.unwrap_or(column);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        if matrix[column][column].abs() < 1e-300 {
            continue;
        }
        for row in column + 1..size {
            let factor = matrix[row][column] / matrix[column][column];
            let above = matrix[column].clone();
            for (own, above) in matrix[row].iter_mut().zip(&above).skip(column) {
                *own -= factor * above;
            }
            right[row] -= factor * right[column];
        }
    }
    let mut solution = vec![0.0; size];
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|column| matrix[row][column] * solution[column]).sum();
        let pivot = matrix[row][row];
        solution[row] = if pivot.abs() < 1e-300 { 0.0 } else { (right[row] - known) / pivot };
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_limits_hold() {
        let line = |values: &[f64]| -> Result<Vec<f64>, ()> {
            Ok((1..6).map(|x| values[0] + values[1] * f64::from(x) - (3.0 + 2.0 * f64::from(x))).collect())
        };
        let found = minimise(&line, &[1.0, 1.0], &[f64::INFINITY; 2]).unwrap();
        assert!((found[0] - 3.0).abs() < 1e-6 && (found[1] - 2.0).abs() < 1e-6, "{found:?}");
        let limited = minimise(&line, &[1.0, 1.0], &[1.5, f64::INFINITY]).unwrap();
        assert!(limited[0] <= 1.5);
    }

    #[test]
    fn the_values_in_the_files_are_those_that_the_fit_finds() {
        let cases = validation::cases();
        for name in ["cloudmatrix384", "h800-ib", "h800-ib-rdma", "h100-ib"] {
            let fitted = fit(&Fabric::load(name).unwrap(), &cases).unwrap();
            for Parameter { key, stands, fitted } in &fitted.parameters {
                assert!(
                    (stands - fitted).abs() <= 0.005 * fitted.abs() + 1e-10,
                    "{name}: {key} is {stands}, the fit says {fitted}"
                );
            }
        }
    }
}
