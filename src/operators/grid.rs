//! Values at the crossings of a grid of up to three sizes, interpolated over the sizes' logarithms.

/// How well a shape is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coverage {
    /// This very shape was measured.
    Measured,
    /// Shapes around it were measured.
    Interpolated,
    /// It lies outside of the measured shapes: the value at their border holds.
    Extrapolated,
}

/// A grid of values. A crossing that was not measured has the value of its nearest neighbour along an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SizeGrid {
    /// Logarithms of the sizes along each axis, ascending.
    axes: [Vec<f64>; 3],
    values: Vec<f32>,
    /// Which values were measured.
    measured: Vec<bool>,
    /// The largest of all values.
    largest: f64,
}

/// A value as tables keep it: seven digits are more than a measurement has.
#[expect(clippy::cast_possible_truncation, reason = "digits are cut on purpose")]
pub(super) fn single(value: f64) -> f32 {
    value as f32
}

/// Sizes are the same whose logarithms differ by less.
const SAME: f64 = 1e-9;

impl SizeGrid {
    /// A grid of these points: logarithms of sizes (0 for an axis that is not in use), and values. Of several values at one
    /// point the largest is kept.
    pub(super) fn new(points: &[([f64; 3], f32)]) -> Self {
        let axes = [0, 1, 2].map(|axis| {
            let mut sizes: Vec<f64> = points.iter().map(|(at, _)| at[axis]).collect();
            sizes.sort_unstable_by(f64::total_cmp);
            sizes.dedup_by(|one, other| (*one - *other).abs() < SAME);
            sizes
        });
        let count = axes.iter().map(Vec::len).product();
        let mut grid =
            Self { axes, values: vec![f32::NAN; count], measured: vec![false; count], largest: f64::NEG_INFINITY };
        for (at, value) in points {
            let index = grid.index([0, 1, 2].map(|axis| grid.place(axis, at[axis]).0));
            let kept = grid.values[index];
            grid.values[index] = if kept > *value { kept } else { *value };
            grid.measured[index] = true;
            grid.largest = grid.largest.max(f64::from(*value));
        }
        grid.fill();
        grid
    }

    fn index(&self, [one, two, three]: [usize; 3]) -> usize {
        (one * self.axes[1].len() + two) * self.axes[2].len() + three
    }

    /// The crossing at or below a size, and the share of the way to the next one; both are cut at the ends.
    fn place(&self, axis: usize, size: f64) -> (usize, f64) {
        let sizes = &self.axes[axis];
        let above = sizes.partition_point(|other| *other <= size + SAME);
        if above == 0 {
            return (0, 0.0);
        }
        let (low, below) = (above - 1, sizes[above - 1]);
        match sizes.get(above) {
            Some(next) if size > below + SAME => (low, (size - below) / (next - below)),
            _ => (low, 0.0),
        }
    }

    /// Gives crossings without a value that of the nearest one along the first axis, then the second, then the third.
    fn fill(&mut self) {
        for axis in 0..3 {
            let lengths = [0, 1, 2].map(|one| self.axes[one].len());
            let others: [usize; 2] = [[1, 2], [0, 2], [0, 1]][axis];
            for one in 0..lengths[others[0]] {
                for two in 0..lengths[others[1]] {
                    let line: Vec<usize> = (0..lengths[axis])
                        .map(|along| {
                            let mut at = [0; 3];
                            (at[axis], at[others[0]], at[others[1]]) = (along, one, two);
                            self.index(at)
                        })
                        .collect();
                    self.fill_line(&line);
                }
            }
        }
    }

    fn fill_line(&mut self, line: &[usize]) {
        let known: Vec<usize> = (0..line.len()).filter(|along| !self.values[line[*along]].is_nan()).collect();
        if known.is_empty() || known.len() == line.len() {
            return;
        }
        let nearest = |along: usize| known.iter().copied().min_by_key(|other| other.abs_diff(along));
        let values: Vec<f32> =
            (0..line.len()).map(|along| nearest(along).map_or(f32::NAN, |other| self.values[line[other]])).collect();
        line.iter().zip(values).for_each(|(index, value)| self.values[*index] = value);
    }

    /// The largest value.
    pub(super) const fn largest(&self) -> f64 {
        self.largest
    }

    /// The nearest sizes inside the grid.
    pub(super) fn inside(&self, sizes: [f64; 3]) -> [f64; 3] {
        [0, 1, 2].map(|axis| match (self.axes[axis].first(), self.axes[axis].last()) {
            (Some(least), Some(most)) => sizes[axis].clamp(*least, *most),
            _ => sizes[axis],
        })
    }

    /// The value at these logarithms of sizes.
    pub(super) fn at(&self, sizes: [f64; 3]) -> (f64, Coverage) {
        let places = [0, 1, 2].map(|axis| self.place(axis, sizes[axis]));
        let outside = (0..3).any(|axis| {
            let ends = (self.axes[axis].first(), self.axes[axis].last());
            ends.0.is_some_and(|least| sizes[axis] < least - SAME)
                || ends.1.is_some_and(|most| sizes[axis] > most + SAME)
        });
        let mut value = 0.0;
        let mut all_measured = true;
        for corner in 0..8_usize {
            let upper = [0, 1, 2].map(|axis| corner >> axis & 1 == 1);
            let weight: f64 =
                (0..3).map(|axis| if upper[axis] { places[axis].1 } else { 1.0 - places[axis].1 }).product();
            if weight > 0.0 {
                let index = self.index([0, 1, 2].map(|axis| places[axis].0 + usize::from(upper[axis])));
                value += weight * f64::from(self.values[index]);
                all_measured &= self.measured[index];
            }
        }
        let on_point = places.iter().all(|(_, share)| *share <= 0.0);
        let coverage = match (outside || !all_measured, on_point) {
            (true, _) => Coverage::Extrapolated,
            (false, true) => Coverage::Measured,
            (false, false) => Coverage::Interpolated,
        };
        (value, coverage)
    }
}

impl SizeGrid {
    /// How far the measured values are from those of another grid at the same sizes.
    pub(super) fn apart(&self, other: &Self) -> Vec<f64> {
        let mut apart = Vec::new();
        for (one, first) in self.axes[0].iter().enumerate() {
            for (two, second) in self.axes[1].iter().enumerate() {
                for (three, third) in self.axes[2].iter().enumerate() {
                    let index = self.index([one, two, three]);
                    let (value, coverage) = other.at([*first, *second, *third]);
                    if self.measured[index] && coverage != Coverage::Extrapolated {
                        apart.push((f64::from(self.values[index]) - value).abs());
                    }
                }
            }
        }
        apart
    }

    /// How far each measured crossing is from the line through its measured neighbours along the first axis.
    pub(super) fn errors_along_the_first_axis(&self) -> Vec<f64> {
        let stride = self.axes[1].len() * self.axes[2].len();
        let mut errors = Vec::new();
        for (along, sizes) in self.axes[0].windows(3).enumerate() {
            let share = (sizes[1] - sizes[0]) / (sizes[2] - sizes[0]);
            for other in 0..stride {
                let places = [0, 1, 2].map(|step| (along + step) * stride + other);
                if places.iter().all(|place| self.measured[*place]) {
                    let [low, here, high] = places.map(|place| f64::from(self.values[place]));
                    errors.push((low + share * (high - low) - here).abs());
                }
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> SizeGrid {
        let mut points = Vec::new();
        for x in [0.0, 1.0, 4.0] {
            for y in [0.0, 2.0] {
                points.push(([x, y, 0.0], single(x + 10.0 * y)));
            }
        }
        SizeGrid::new(&points)
    }

    #[test]
    fn a_measured_point_is_itself_and_a_point_between_lies_on_the_plane() {
        let grid = grid();
        assert_eq!(grid.at([1.0, 2.0, 0.0]), (21.0, Coverage::Measured));
        let (value, coverage) = grid.at([2.5, 0.5, 0.0]);
        assert!((value - 7.5).abs() < 1e-6 && coverage == Coverage::Interpolated);
    }

    #[test]
    fn outside_the_border_s_value_holds() {
        assert_eq!(grid().at([9.0, -1.0, 0.0]), (4.0, Coverage::Extrapolated));
    }

    #[test]
    fn a_hole_has_its_nearest_neighbour_s_value_and_is_told() {
        let points = [([0.0, 0.0, 0.0], 1.0), ([1.0, 0.0, 0.0], 2.0), ([0.0, 1.0, 0.0], 3.0)];
        assert_eq!(SizeGrid::new(&points).at([1.0, 1.0, 0.0]), (3.0, Coverage::Extrapolated));
    }

    #[test]
    fn of_two_values_at_one_point_the_larger_is_kept() {
        assert_eq!(SizeGrid::new(&[([0.0; 3], 1.0), ([0.0; 3], 2.0)]).at([0.0; 3]).0, 2.0);
    }
}
