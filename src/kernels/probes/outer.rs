//! The arithmetic of `probe_outer.wgsl`: 16 sums of products whose operands change in every step.

use crate::kernels::tensor::Tensor;

/// Sums per invocation.
pub(super) const SUMS: usize = 16;
/// Operands that change by a multiply-add in every step.
pub(super) const OPERANDS: usize = 4;
/// Steps after which the sums have their first values again.
const PERIOD: usize = 12;

/// Quarters from -1 to 1, whose products and sums are exact even in f16. The first two columns hold odd multiples of a
/// quarter and the last two even ones, so that no difference of two columns is zero.
pub(super) fn quarters(drawn: &Tensor) -> Tensor {
    let quarter = |(at, bytes): (usize, &[u8])| {
        // The lowest bits of a drawn number are random too.
        let size = if bytes[0] & 1 == 0 { 0.25 } else { 0.75 };
        let size = if at % 4 < 2 { size } else { size + 0.25 };
        if bytes[0] & 2 == 0 { size } else { -size }
    };
    let values: Vec<f32> = drawn.bytes().chunks_exact(4).enumerate().map(quarter).collect();
    Tensor::floats(drawn.dims(), &values)
}

/// The sum of all 16 sums after `steps` steps from the start `a`.
pub(super) fn finish(a: [f64; 4], steps: usize) -> f64 {
    let mut b = [a[3], a[2], a[0], a[1]];
    let mut c = [a; 4];
    for step in 0..steps % PERIOD {
        for (i, row) in c.iter_mut().enumerate() {
            row.iter_mut().zip(b).for_each(|(c, b)| *c += a[(i + step) % 4] * b);
        }
        b = [b[0] - b[2], b[1] - b[3], b[0], b[1]];
    }
    c.iter().flatten().sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::kernels::sources::wgsl;
    use crate::kernels::tensor::Random;
    use crate::kernels::types::StorageType;

    #[test]
    fn the_sums_stay_small_and_no_operand_is_ever_zero() {
        let drawn = Tensor::random(&[64, 4], &[64, 4], StorageType::F32, Random { sigma: 1.0, seed: 5 });
        let starts = quarters(&drawn);
        for invocation in 0..64 {
            let a: [f64; 4] = std::array::from_fn(|i| starts.at(&[invocation, i]));
            assert!((0..PERIOD).all(|steps| finish(a, steps).abs() < 100.0), "{a:?}");
            for [x, y] in [[a[3], a[0]], [a[2], a[1]]] {
                assert!(x != 0.0 && y != 0.0 && x != y);
            }
        }
    }

    #[test]
    fn after_a_period_operands_and_sums_have_their_first_values_again() {
        let a = [0.25, -0.75, 1.0, -0.5];
        let first = [a[3], a[2], a[0], a[1]];
        let (mut b, mut c) = (first, [a; 4]);
        for step in 0..PERIOD {
            for (i, row) in c.iter_mut().enumerate() {
                row.iter_mut().zip(b).for_each(|(c, b)| *c += a[(i + step) % 4] * b);
            }
            b = [b[0] - b[2], b[1] - b[3], b[0], b[1]];
        }
        assert_eq!((b, c), (first, [a; 4]));
    }

    /// The factor of each statement `NAME = fma(FACTOR, ...` or `NAME += dot4I8Packed(x, FACTOR)`, by name and in order.
    fn factors(shader: &str) -> BTreeMap<String, Vec<String>> {
        let text = wgsl(shader, StorageType::F32).unwrap();
        let mut factors: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for statement in text.split([';', '\n']).map(str::trim) {
            let outer = statement.split_once(" = fma(").map(|(name, rest)| (name, rest.split(',').next().unwrap()));
            let dot =
                statement.split_once(" += dot4I8Packed(x, ").map(|(name, rest)| (name, rest.trim_end_matches(')')));
            if let Some((name, factor)) = outer.or(dot) {
                factors.entry(name.to_owned()).or_default().push(factor.to_owned());
            }
        }
        factors
    }

    #[test]
    fn no_sum_of_a_probe_takes_the_same_factor_twice_in_a_row() {
        // Otherwise a compiler that splits a product could add first and multiply once.
        for (shader, sums, steps) in [("probe_outer", 4, 16), ("probe_dot", 8, 16)] {
            let mut factors = factors(shader);
            factors.retain(|name, _| !["p", "q"].contains(&&**name));
            assert_eq!(factors.len(), sums, "{shader}");
            for (name, factors) in factors {
                assert_eq!(factors.len(), steps, "{shader} {name}");
                let around = factors.iter().zip(factors.iter().cycle().skip(1));
                assert!(around.clone().all(|(one, next)| one != next), "{shader} {name}: {factors:?}");
            }
        }
    }
}
