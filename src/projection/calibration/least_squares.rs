//! Least squares by Levenberg and Marquardt's method, for a handful of unknowns.

/// The values from 0 to their limits whose residuals have the least sum of squares. The residuals must be smooth,
/// except where a bottleneck changes.
///
/// # Errors
/// That of `residuals`.
pub(super) fn minimise<E>(
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

/// Gaussian elimination with pivots. An unknown whose pivot vanishes is zero.
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
}
