//! What the probes must have computed.

use super::super::compare::{Comparison, Verification};
use super::super::tensor::Tensors;
use super::super::word;
use super::{CACHE_SHIFT, DOT_DIFFERENCE, DOT_FACTOR, DOT_SPREAD, DOT_STEPS, DOT_SUMS, MATRIX_CHAINS};

/// Steps of the twin that one verification may cost.
const EFFORT: usize = 4_000_000;

pub(super) fn dot(invocations: usize, rounds: usize, inputs: &Tensors, outputs: &Tensors) -> Verification {
    let cost = rounds * DOT_STEPS * DOT_SUMS;
    let stride = invocations.div_ceil((EFFORT / cost).max(2)) | 1;
    let mut comparison = Comparison::of("finish");
    for i in (0..invocations).step_by(stride) {
        // The operand's bits are those of an f32; to this kernel they are an integer.
        let want = dot_finish(inputs["start"].index_at(&[i]), rounds);
        comparison.pair(&[i], f64::from(outputs["finish"].index_at(&[i])), f64::from(want));
    }
    comparison.exact(invocations)
}

/// Step after step one sum, as four int8, is multiplied by a factor for each sum and added to it, to itself last.
fn dot_finish(first: u32, rounds: usize) -> u32 {
    let mut sums: [u32; DOT_SUMS] = std::array::from_fn(|k| first.wrapping_add(DOT_SPREAD.wrapping_mul(word(k))));
    for step in 0..rounds * DOT_STEPS {
        let x = sums[step % DOT_SUMS];
        for (k, sum) in sums.iter_mut().enumerate() {
            let factor = DOT_FACTOR ^ DOT_DIFFERENCE.wrapping_mul(word((k + step) % DOT_SUMS));
            let product = packed_dot(x, factor);
            *sum = sum.wrapping_add(product.cast_unsigned());
        }
    }
    sums.into_iter().fold(0, |mixed, sum| mixed ^ sum)
}

/// What WGSL's `dot4I8Packed` is defined to be.
fn packed_dot(a: u32, b: u32) -> i32 {
    let bytes = |x: u32| x.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
    bytes(a).into_iter().zip(bytes(b)).map(|(a, b)| a * b).sum()
}

/// Every tile of every subgroup, and that there were as many subgroups as the work counts.
pub(super) fn matrix([workgroups, subgroups, size]: [usize; 3], inputs: &Tensors, outputs: &Tensors) -> Verification {
    for group in 0..workgroups {
        let ran = outputs["ran"].index_at(&[group]);
        if ran != word(subgroups) {
            let mut comparison = Comparison::of("ran");
            comparison.pair(&[group], f64::from(ran), subgroups as f64);
            return comparison.exact(workgroups);
        }
    }
    let (a, b) = (&inputs["a"], &inputs["b"]);
    let places: Vec<[usize; 3]> = (0..MATRIX_CHAINS)
        .flat_map(|chain| (0..size).flat_map(move |row| (0..size).map(move |column| [chain, row, column])))
        .collect();
    let product = |&[chain, row, column]: &[usize; 3]| {
        (0..size).map(|i| a.at(&[0, row, i]) * b.at(&[chain, i, column])).sum::<f64>()
    };
    let wanted: Vec<f64> = places.iter().map(product).collect();
    let mut comparison = Comparison::of("c");
    for (group, subgroup) in (0..workgroups).flat_map(|group| (0..subgroups).map(move |subgroup| (group, subgroup))) {
        for (&[chain, row, column], want) in places.iter().zip(&wanted) {
            let at = [group, subgroup, chain, row, column];
            comparison.pair(&at, outputs["c"].at(&at), *want);
        }
    }
    // Some matrix units round sums towards zero; over the ten thousands of a probe that adds up.
    comparison.relative(0.03, workgroups * subgroups * places.len())
}

pub(super) fn write(length: usize, inputs: &Tensors, outputs: &Tensors) -> Verification {
    let seed = inputs["seed"].index_at(&[0]);
    let mut comparison = Comparison::of("filled");
    for i in (0..length).step_by((length / 65_536) | 1) {
        comparison.pair(&[i], f64::from(outputs["filled"].index_at(&[i])), f64::from(word(i).wrapping_add(seed)));
    }
    comparison.exact(length)
}

pub(super) fn cache([vectors, passes, invocations]: [usize; 3], inputs: &Tensors, outputs: &Tensors) -> Verification {
    let cost = vectors / invocations * passes * 4;
    let stride = invocations.div_ceil((EFFORT / cost).max(4)) | 1;
    let mut comparison = Comparison::of("sum");
    for invocation in (0..invocations).step_by(stride) {
        for lane in 0..4 {
            let mut sum = 0.0;
            for pass in 0..passes {
                let start = invocation + pass * CACHE_SHIFT;
                sum += (start..start + vectors)
                    .step_by(invocations)
                    .map(|vector| inputs["data"].at(&[0, vector % vectors * 4 + lane]))
                    .sum::<f64>();
            }
            comparison.pair(&[invocation, lane], outputs["sum"].at(&[invocation, lane]), sum);
        }
    }
    comparison.relative(1e-4, invocations * 4)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Element, Kernel, Tensor};
    use super::super::UnitProbe;
    use super::*;

    #[test]
    fn a_packed_dot_product_is_signed() {
        assert_eq!(packed_dot(0x0102_03FF, DOT_FACTOR), -3 + 3 * -5 + 2 * 7 - 2);
    }

    #[test]
    fn each_round_of_dot_products_changes_the_result() {
        let finishes: Vec<u32> = (0..8).map(|rounds| dot_finish(0x3F12_8455, rounds)).collect();
        assert!((1..8).all(|rounds| !finishes[..rounds].contains(&finishes[rounds])), "{finishes:08x?}");
    }

    const PROBE: UnitProbe = UnitProbe::Matrix { size: 8, workgroups: 3, subgroup: 32, rounds: 1 };

    /// What a device with so many subgroups in a workgroup gives, where every tile is right but for one number.
    fn matrix_outputs(ran: u32, wrong: Option<usize>) -> Tensors {
        let inputs = PROBE.inputs("probe", Element::F32, 3);
        let dims = [3, 4, MATRIX_CHAINS, 8, 8];
        let value = |at: usize| {
            let (chain, row, column) = (at / 64 % MATRIX_CHAINS, at / 8 % 8, at % 8);
            (0..8).map(|i| inputs["a"].at(&[0, row, i]) * inputs["b"].at(&[chain, i, column])).sum::<f64>()
        };
        #[expect(clippy::cast_possible_truncation, reason = "what the device stores")]
        let mut values: Vec<f32> = (0..dims.iter().product()).map(|at| value(at) as f32).collect();
        if let Some(at) = wrong {
            values[at] = 9.0;
        }
        Tensors::from([("c", Tensor::floats(&dims, &values)), ("ran", Tensor::indices(&[ran; 3]))])
    }

    #[test]
    fn every_tile_of_every_subgroup_is_compared_and_as_many_subgroups_as_were_counted() {
        let verify = |outputs: &Tensors| {
            PROBE.verify(&PROBE.inputs("probe", Element::F32, 3), outputs, Element::F32, u64::MAX).passed()
        };
        assert!(verify(&matrix_outputs(4, None)));
        let tile = MATRIX_CHAINS * 64;
        for at in [0, tile, 5 * tile + 77, 12 * tile - 1] {
            assert!(!verify(&matrix_outputs(4, Some(at))), "a wrong number at {at}");
        }
        for ran in [2, 8] {
            assert!(!verify(&matrix_outputs(ran, None)), "{ran} subgroups where 4 are counted");
        }
    }
}
