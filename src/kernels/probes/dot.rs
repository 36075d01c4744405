//! Packed int8 dot products in registers.

use std::collections::BTreeMap;

use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Need, Output, Plan, Role};
use crate::kernels::tensor::{Random, Tensor, TensorType, Tensors};
use crate::kernels::types::{StorageType, Work, named, word};
use crate::kernels::verification::{Deviation, Verification};
use crate::units::Flop;

/// Sums of packed int8 dot products in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DotProbe {
    /// Invocations of the grid.
    pub invocations: usize,
    /// Rounds of 16 steps of 8 sums.
    pub rounds: usize,
}

const WORKGROUP: usize = 64;
const SUMS: usize = 8;
const STEPS: usize = 16;
/// Four int8: 3, -5, 7, -2.
const FACTOR: u32 = 0xFE07_FB03;
/// The factor of sum k differs from the first by k times this.
const DIFFERENCE: u32 = 0x0905_0301;
/// Sum k starts at k times this from the first. It has bits in all four bytes, so that every product changes the result.
const SPREAD: u32 = 0x5A3C_1E79;
/// Dot products of the twin that one verification may cost.
const EFFORT: usize = 4_000_000;

impl Kernel for DotProbe {
    fn name(&self) -> &'static str {
        "probe_dot"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("invocations", self.invocations), ("rounds", self.rounds)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["probe"]
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32]
    }

    fn plan(&self, _variant: &str, element: StorageType) -> Plan {
        let Self { invocations, rounds } = *self;
        let flop = Flop::new((8 * invocations * rounds * STEPS * SUMS) as f64);
        let mut plan = Plan::new(Work { flop, ..Work::default() });
        let bindings =
            [plan.buffer("start", Role::Input, invocations * 4), plan.buffer("finish", Role::Output, invocations * 4)];
        plan.launch(
            Launch::of("probe_dot", element)
                .needs(&[Need::PackedDot])
                .overrides([("WORKGROUP", WORKGROUP as f64)])
                .params([("rounds", word(rounds)), ("factor", FACTOR), ("spread", SPREAD)])
                .bindings(bindings)
                .grid([word(invocations / WORKGROUP), 1, 1]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, _element: StorageType, seed: u64) -> Tensors {
        let dims = [self.invocations];
        Tensors::from([("start", Tensor::random(&dims, &dims, StorageType::F32, Random { sigma: 0.25, seed }))])
    }

    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        vec![Output::new("finish", &[self.invocations], &[self.invocations], TensorType::Index)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: StorageType, _effort: u64) -> Verification {
        let cost = self.rounds * STEPS * SUMS;
        let stride = self.invocations.div_ceil((EFFORT / cost).max(2)) | 1;
        let mut deviation = Deviation::of("finish");
        for i in (0..self.invocations).step_by(stride) {
            // The operand was drawn as an f32. The kernel reads its bits as an integer.
            let want = finish(inputs["start"].index_at(&[i]), self.rounds);
            deviation.pair(&[i], f64::from(outputs["finish"].index_at(&[i])), f64::from(want));
        }
        deviation.exact(self.invocations)
    }
}

/// The result of an invocation that starts with `first`. In each step one sum is read as four int8; every sum adds the dot
/// product of these with its own factor.
fn finish(first: u32, rounds: usize) -> u32 {
    let mut sums: [u32; SUMS] = std::array::from_fn(|k| first.wrapping_add(SPREAD.wrapping_mul(word(k))));
    for step in 0..rounds * STEPS {
        let x = sums[step % SUMS];
        for (k, sum) in sums.iter_mut().enumerate() {
            let factor = FACTOR ^ DIFFERENCE.wrapping_mul(word((k + step) % SUMS));
            *sum = sum.wrapping_add(packed_dot(x, factor).cast_unsigned());
        }
    }
    sums.into_iter().fold(0, |mixed, sum| mixed ^ sum)
}

/// WGSL's `dot4I8Packed`.
fn packed_dot(a: u32, b: u32) -> i32 {
    let bytes = |x: u32| x.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
    bytes(a).into_iter().zip(bytes(b)).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_dot_product_is_signed() {
        assert_eq!(packed_dot(0x0102_03FF, FACTOR), -3 + 3 * -5 + 2 * 7 - 2);
    }

    #[test]
    fn each_round_of_dot_products_changes_the_result() {
        let finishes: Vec<u32> = (0..8).map(|rounds| finish(0x3F12_8455, rounds)).collect();
        assert!((1..8).all(|rounds| !finishes[..rounds].contains(&finishes[rounds])), "{finishes:08x?}");
    }
}
