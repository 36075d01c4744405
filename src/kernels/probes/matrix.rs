//! Cooperative-matrix multiply-adds.

use std::collections::BTreeMap;

use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Output, Plan, Role};
use crate::kernels::tensor::{Random, Tensor, TensorType, Tensors};
use crate::kernels::types::{StorageType, Work, named, word};
use crate::kernels::verification::{Deviation, Verification};
use crate::units::Flop;

/// Chains of cooperative-matrix multiply-adds: f16 operands, f32 sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixProbe {
    /// Rows and columns of a matrix: 8 or 16.
    pub size: usize,
    /// Workgroups, each of [`MATRIX_WORKGROUP`] invocations.
    pub workgroups: usize,
    /// Invocations per subgroup. The device confirms how many subgroups a workgroup has.
    pub subgroup: usize,
    /// Rounds of 8 steps of 4 chains of 2 multiply-adds.
    pub rounds: usize,
}

/// Invocations per workgroup of the matrix probe: at least two subgroups on any device that has matrices.
pub const MATRIX_WORKGROUP: usize = 128;
const CHAINS: usize = 4;
const STEPS: usize = 8;

impl MatrixProbe {
    /// Subgroups per workgroup.
    const fn subgroups(&self) -> usize {
        MATRIX_WORKGROUP.div_ceil(if self.subgroup == 0 { 1 } else { self.subgroup })
    }

    /// Dimensions of the sums: a tile per workgroup, subgroup and chain.
    const fn dims(&self) -> [usize; 5] {
        [self.workgroups, self.subgroups(), CHAINS, self.size, self.size]
    }

    fn work(&self) -> Work {
        let products = self.workgroups * self.subgroups() * CHAINS * (2 * self.rounds * STEPS + 1);
        Work { flop: Flop::new((2 * products * self.size.pow(3)) as f64), ..Work::default() }
    }
}

impl Kernel for MatrixProbe {
    fn name(&self) -> &'static str {
        "probe_matrix"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[
            ("size", self.size),
            ("workgroups", self.workgroups),
            ("subgroup", self.subgroup),
            ("rounds", self.rounds),
        ])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["probe"]
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32]
    }

    fn plan(&self, _variant: &str, _element: StorageType) -> Plan {
        let tile = self.size * self.size;
        let mut plan = Plan::new(self.work());
        let bindings = [
            plan.buffer("a", Role::Input, 2 * tile * 2),
            plan.buffer("b", Role::Input, CHAINS * tile * 2),
            plan.buffer("c", Role::Output, self.dims().iter().product::<usize>() * 4),
            plan.buffer("ran", Role::Output, self.workgroups * 4),
        ];
        plan.launch(
            // Its matrices are of f16, whatever the type of the sums that it is asked for.
            Launch::of("probe_matrix", StorageType::F16)
                .matrices(self.size)
                .overrides([("WORKGROUP", MATRIX_WORKGROUP as f64)])
                .params([("rounds", word(self.rounds)), ("subgroups", word(self.subgroups()))])
                .bindings(bindings)
                .grid([word(self.workgroups), 1, 1]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, _element: StorageType, seed: u64) -> Tensors {
        let square = [self.size, self.size];
        let a = Tensor::random(&square, &square, StorageType::F16, Random { sigma: 0.25, seed });
        // The sign bit is the highest of each little-endian half.
        let mut both = a.bytes().to_vec();
        both.extend(a.bytes().chunks(2).flat_map(|half| [half[0], half[1] ^ 0x80]));
        let dims = [2, self.size, self.size];
        let b = [CHAINS, self.size, self.size];
        Tensors::from([
            ("a", Tensor::from_bytes(&dims, &dims, StorageType::F16.into(), both)),
            ("b", Tensor::random(&b, &b, StorageType::F16, Random { sigma: 0.25, seed: seed ^ 0xB })),
        ])
    }

    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        let ran = Output::new("ran", &[self.workgroups], &[self.workgroups], TensorType::Index);
        vec![ran, Output::new("c", &self.dims(), &self.dims(), StorageType::F32)]
    }

    /// Compares every tile of every subgroup, and the number of subgroups with the one that the work counts.
    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: StorageType, _effort: u64) -> Verification {
        let [workgroups, subgroups, _, size, _] = self.dims();
        for group in 0..workgroups {
            let ran = outputs["ran"].index_at(&[group]);
            if ran != word(subgroups) {
                let mut deviation = Deviation::of("ran");
                deviation.pair(&[group], f64::from(ran), subgroups as f64);
                return deviation.exact(workgroups);
            }
        }
        let (a, b) = (&inputs["a"], &inputs["b"]);
        let places: Vec<[usize; 3]> = (0..CHAINS)
            .flat_map(|chain| (0..size).flat_map(move |row| (0..size).map(move |column| [chain, row, column])))
            .collect();
        let product = |&[chain, row, column]: &[usize; 3]| {
            (0..size).map(|i| a.at(&[0, row, i]) * b.at(&[chain, i, column])).sum::<f64>()
        };
        let wanted: Vec<f64> = places.iter().map(product).collect();
        let mut deviation = Deviation::of("c");
        for (group, subgroup) in (0..workgroups).flat_map(|group| (0..subgroups).map(move |subgroup| (group, subgroup)))
        {
            for (&[chain, row, column], want) in places.iter().zip(&wanted) {
                let at = [group, subgroup, chain, row, column];
                deviation.pair(&at, outputs["c"].at(&at), *want);
            }
        }
        // Some matrix units round sums towards zero; a probe has ten thousands of them.
        deviation.relative(0.03, workgroups * subgroups * places.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: MatrixProbe = MatrixProbe { size: 8, workgroups: 3, subgroup: 32, rounds: 1 };

    #[test]
    fn inputs_fill_the_buffers_of_their_plans() {
        for size in [8, 16] {
            let probe = MatrixProbe { size, ..PROBE };
            let (plan, inputs) = (probe.plan("probe", StorageType::F32), probe.inputs("probe", StorageType::F32, 1));
            for buffer in plan.buffers.iter().filter(|buffer| buffer.role == Role::Input) {
                assert_eq!(inputs[buffer.name].bytes().len() as u64, buffer.size_bytes, "{size} {}", buffer.name);
            }
        }
    }

    #[test]
    fn minus_a_is_a_with_every_sign_turned() {
        let inputs = PROBE.inputs("probe", StorageType::F32, 3);
        let a = &inputs["a"];
        assert!((0..8).all(|i| a.at(&[0, i, 7 - i]) == -a.at(&[1, i, 7 - i]) && a.at(&[0, i, 7 - i]) != 0.0));
    }

    /// The outputs of a device with `ran` subgroups per workgroup. Every number is right except the one at `wrong`.
    fn outputs(ran: u32, wrong: Option<usize>) -> Tensors {
        let inputs = PROBE.inputs("probe", StorageType::F32, 3);
        let dims = PROBE.dims();
        let value = |at: usize| {
            let (chain, row, column) = (at / 64 % CHAINS, at / 8 % 8, at % 8);
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
            PROBE.verify(&PROBE.inputs("probe", StorageType::F32, 3), outputs, StorageType::F32, u64::MAX).passed()
        };
        assert!(verify(&outputs(4, None)));
        let tile = CHAINS * 64;
        for at in [0, tile, 5 * tile + 77, 12 * tile - 1] {
            assert!(!verify(&outputs(4, Some(at))), "a wrong number at {at}");
        }
        for ran in [2, 8] {
            assert!(!verify(&outputs(ran, None)), "{ran} subgroups where 4 are counted");
        }
    }
}
