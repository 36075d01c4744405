//! Probes of the roofs that not every kernel meets: packed int8 arithmetic, cooperative matrices, writes, the last-level
//! cache.

use std::collections::BTreeMap;

use super::compare::{Comparison, Verification};
use super::tensor::{Kind, Tensor, Tensors};
use super::{Element, Family, Kernel, Output, Plan, Role, Work, named, word};
use crate::units::{Bytes, Flop};

/// A probe. Its figures are ceilings, not cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitProbe {
    /// Sums of packed int8 dot products in registers.
    Dot {
        /// Threads.
        invocations: usize,
        /// Rounds of 16 steps of 8 sums.
        rounds: usize,
    },
    /// Chains of cooperative-matrix multiply-adds, f16 operands and f32 sums.
    Matrix {
        /// Rows and columns of a matrix: 8 or 16.
        size: usize,
        /// Workgroups, each of one subgroup.
        workgroups: usize,
        /// Invocations of a subgroup.
        subgroup: usize,
        /// Rounds of 8 steps of 4 chains of 2 multiply-adds.
        rounds: usize,
    },
    /// Streaming write of a buffer.
    Write {
        /// Length; rounded down to what the grid divides.
        bytes: usize,
    },
    /// Reads of a working set, again and again.
    Cache {
        /// Length, a power of two of at least [`MIN_CACHE_BYTES`].
        bytes: usize,
        /// Times that it is read.
        passes: usize,
    },
}

const WORKGROUP: usize = 64;
const WRITE_WORKGROUP: usize = 256;
const DOT_SUMS: usize = 8;
const DOT_STEPS: usize = 16;
/// Four int8: 3, -5, 7, -2.
const DOT_FACTOR: u32 = 0xFE07_FB03;
/// What the factors of the other sums differ in.
const DOT_DIFFERENCE: u32 = 0x0905_0301;
/// Bits in all four bytes, so that every product counts.
const DOT_STEP: u32 = 0x5A3C_1E79;
const MATRIX_CHAINS: usize = 4;
const MATRIX_STEPS: usize = 8;
const CACHE_INVOCATIONS: usize = 16 * 1024;
/// One pass of all invocations with four loads each.
pub const MIN_CACHE_BYTES: usize = 4 * CACHE_INVOCATIONS * 16;
/// Reads move by this many vec4 from pass to pass: to another workgroup's lines, never back within a power of two.
const CACHE_SHIFT: usize = 5 * WORKGROUP;

impl UnitProbe {
    fn write_invocations(bytes: usize) -> usize {
        (bytes / 64 / WRITE_WORKGROUP).max(1) * WRITE_WORKGROUP
    }

    fn work(&self) -> Work {
        let flop = |flop: usize| Work { flop: Flop::new(flop as f64), ..Work::default() };
        match *self {
            Self::Dot { invocations, rounds } => flop(8 * invocations * rounds * DOT_STEPS * DOT_SUMS),
            Self::Matrix { size, workgroups, rounds, .. } => {
                let products = workgroups * MATRIX_CHAINS * (2 * rounds * MATRIX_STEPS + 1);
                flop(2 * products * size.pow(3))
            }
            Self::Write { bytes } => {
                Work { bytes_written: Bytes::new((Self::write_invocations(bytes) * 64) as f64), ..Work::default() }
            }
            Self::Cache { bytes, passes } => {
                Work { bytes_read: Bytes::new((bytes * passes) as f64), ..Work::default() }
            }
        }
    }
}

impl Kernel for UnitProbe {
    fn family(&self) -> Family {
        Family::Gating // never read: probes are not cases
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Dot { .. } => "probe_dot",
            Self::Matrix { .. } => "probe_matrix",
            Self::Write { .. } => "probe_write",
            Self::Cache { .. } => "probe_cache",
        }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        match *self {
            Self::Dot { invocations, rounds } => named(&[("invocations", invocations), ("rounds", rounds)]),
            Self::Matrix { size, workgroups, subgroup, rounds } => {
                named(&[("size", size), ("workgroups", workgroups), ("subgroup", subgroup), ("rounds", rounds)])
            }
            Self::Write { bytes } => named(&[("bytes", bytes)]),
            Self::Cache { bytes, passes } => named(&[("bytes", bytes), ("passes", passes)]),
        }
    }

    fn variants(&self) -> &'static [&'static str] {
        &["probe"]
    }

    fn elements(&self) -> &'static [Element] {
        &[Element::F32]
    }

    fn plan(&self, _variant: &str, element: Element) -> Plan {
        let overrides = |workgroup: usize| BTreeMap::from([("WORKGROUP", workgroup as f64)]);
        let mut plan = Plan::new(self.work());
        match *self {
            Self::Dot { invocations, rounds } => {
                let bindings = vec![
                    plan.buffer("start", Role::Input, invocations * 4),
                    plan.buffer("finish", Role::Output, invocations * 4),
                ];
                let grid = [word(invocations / WORKGROUP), 1, 1];
                plan.launch("probe_dot", element, overrides(WORKGROUP), bindings, grid).params =
                    vec![("rounds", word(rounds)), ("factor", DOT_FACTOR), ("step", DOT_STEP)];
            }
            Self::Matrix { size, workgroups, subgroup, rounds } => {
                let tile = size * size;
                let bindings = vec![
                    plan.buffer("a", Role::Input, 2 * tile * 2),
                    plan.buffer("b", Role::Input, MATRIX_CHAINS * tile * 2),
                    plan.buffer("c", Role::Output, workgroups * MATRIX_CHAINS * tile * 4),
                ];
                let shader = if size == 8 { "probe_matrix_8" } else { "probe_matrix_16" };
                plan.launch(shader, element, overrides(subgroup), bindings, [word(workgroups), 1, 1]).params =
                    vec![("rounds", word(rounds))];
            }
            Self::Write { bytes } => {
                let invocations = Self::write_invocations(bytes);
                let bindings =
                    vec![plan.buffer("seed", Role::Input, 4), plan.buffer("filled", Role::Output, invocations * 64)];
                let grid = [word(invocations / WRITE_WORKGROUP), 1, 1];
                plan.launch("probe_write", element, overrides(WRITE_WORKGROUP), bindings, grid).params =
                    vec![("invocations", word(invocations))];
            }
            Self::Cache { bytes, passes } => {
                let bindings = vec![
                    plan.buffer("data", Role::Input, bytes),
                    plan.buffer("sum", Role::Output, CACHE_INVOCATIONS * 16),
                ];
                let grid = [word(CACHE_INVOCATIONS / WORKGROUP), 1, 1];
                plan.launch("probe_cache", element, overrides(WORKGROUP), bindings, grid).params = vec![
                    ("vectors", word(bytes / 16)),
                    ("invocations", word(CACHE_INVOCATIONS)),
                    ("passes", word(passes)),
                    ("shift", word(CACHE_SHIFT)),
                ];
            }
        }
        plan
    }

    fn inputs(&self, _variant: &str, _element: Element, seed: u64) -> Tensors {
        let random = |dims: &[usize], element| Tensor::random(dims, dims, element, 0.25, seed);
        match *self {
            Self::Dot { invocations, .. } => Tensors::from([("start", random(&[invocations], Element::F32))]),
            Self::Matrix { size, .. } => {
                let a = random(&[size, size], Element::F16);
                // The sign bit is the highest of each little-endian half.
                let mut both = a.bytes().to_vec();
                both.extend(a.bytes().chunks(2).flat_map(|half| [half[0], half[1] ^ 0x80]));
                let dims = [2, size, size];
                let b = [MATRIX_CHAINS, size, size];
                Tensors::from([
                    ("a", Tensor::from_bytes(&dims, &dims, Element::F16.into(), both)),
                    ("b", Tensor::random(&b, &b, Element::F16, 0.25, seed ^ 0xB)),
                ])
            }
            Self::Write { .. } => {
                Tensors::from([("seed", Tensor::indices(&[0xC0FF_EE00 ^ word((seed & 0xFF) as usize)]))])
            }
            Self::Cache { bytes, .. } => {
                Tensors::from([("data", random(&[bytes / MIN_CACHE_BYTES, MIN_CACHE_BYTES / 4], Element::F32))])
            }
        }
    }

    fn outputs(&self, _variant: &str, _element: Element) -> Vec<Output> {
        match *self {
            Self::Dot { invocations, .. } => vec![Output::new("finish", &[invocations], &[invocations], Kind::Index)],
            Self::Matrix { size, workgroups, .. } => {
                let dims = [workgroups, MATRIX_CHAINS, size, size];
                vec![Output::new("c", &dims, &dims, Element::F32)]
            }
            Self::Write { bytes } => {
                let length = Self::write_invocations(bytes) * 16;
                vec![Output::new("filled", &[length], &[length], Kind::Index)]
            }
            Self::Cache { .. } => {
                let dims = [CACHE_INVOCATIONS, 4];
                vec![Output::new("sum", &dims, &dims, Element::F32)]
            }
        }
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: Element, _effort: u64) -> Verification {
        match *self {
            Self::Dot { invocations, rounds } => verify_dot(invocations, rounds, inputs, outputs),
            Self::Matrix { size, workgroups, .. } => verify_matrix(size, workgroups, inputs, outputs),
            Self::Write { bytes } => verify_write(Self::write_invocations(bytes) * 16, inputs, outputs),
            Self::Cache { bytes, passes } => verify_cache(bytes / 16, passes, inputs, outputs),
        }
    }
}

/// Steps of the twin that one verification may cost.
const EFFORT: usize = 4_000_000;

fn verify_dot(invocations: usize, rounds: usize, inputs: &Tensors, outputs: &Tensors) -> Verification {
    let cost = rounds * DOT_STEPS * DOT_SUMS;
    let stride = invocations.div_ceil((EFFORT / cost).max(2)) | 1;
    let mut comparison = Comparison::of("finish");
    for i in (0..invocations).step_by(stride) {
        // The operand's bits are those of an f32; to this kernel they are an integer.
        let (mut x, mut sums) = (inputs["start"].index_at(&[i]), [0i32; DOT_SUMS]);
        for _ in 0..rounds * DOT_STEPS {
            x = x.wrapping_add(DOT_STEP);
            for (index, sum) in (0..).zip(&mut sums) {
                *sum = sum.wrapping_add(dot(x, DOT_FACTOR ^ DOT_DIFFERENCE.wrapping_mul(index)));
            }
        }
        let mixed = sums.into_iter().fold(0, |mixed, sum| mixed ^ sum);
        let got = outputs["finish"].index_at(&[i]);
        comparison.pair(&[i], f64::from(got), f64::from(mixed.cast_unsigned()));
    }
    comparison.exact(invocations)
}

/// What WGSL's `dot4I8Packed` is defined to be.
fn dot(a: u32, b: u32) -> i32 {
    let bytes = |x: u32| x.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
    bytes(a).into_iter().zip(bytes(b)).map(|(a, b)| a * b).sum()
}

fn verify_matrix(size: usize, workgroups: usize, inputs: &Tensors, outputs: &Tensors) -> Verification {
    let (a, b) = (&inputs["a"], &inputs["b"]);
    let mut comparison = Comparison::of("c");
    for group in (0..workgroups).step_by((workgroups / 64) | 1) {
        for chain in 0..MATRIX_CHAINS {
            for (row, column) in (0..size).flat_map(|row| (0..size).map(move |column| (row, column))) {
                let want = (0..size).map(|i| a.at(&[0, row, i]) * b.at(&[chain, i, column])).sum();
                let got = outputs["c"].at(&[group, chain, row, column]);
                comparison.pair(&[group, chain, row, column], got, want);
            }
        }
    }
    // Some matrix units round sums towards zero; over the ten thousands of a probe that adds up.
    comparison.relative(0.03, workgroups * MATRIX_CHAINS * size * size)
}

fn verify_write(length: usize, inputs: &Tensors, outputs: &Tensors) -> Verification {
    let seed = inputs["seed"].index_at(&[0]);
    let mut comparison = Comparison::of("filled");
    for i in (0..length).step_by((length / 65_536) | 1) {
        comparison.pair(&[i], f64::from(outputs["filled"].index_at(&[i])), f64::from(word(i).wrapping_add(seed)));
    }
    comparison.exact(length)
}

fn verify_cache(vectors: usize, passes: usize, inputs: &Tensors, outputs: &Tensors) -> Verification {
    let cost = vectors / CACHE_INVOCATIONS * passes * 4;
    let stride = CACHE_INVOCATIONS.div_ceil((EFFORT / cost).max(4)) | 1;
    let mut comparison = Comparison::of("sum");
    for invocation in (0..CACHE_INVOCATIONS).step_by(stride) {
        for lane in 0..4 {
            let mut sum = 0.0;
            for pass in 0..passes {
                let start = invocation + pass * CACHE_SHIFT;
                sum += (start..start + vectors)
                    .step_by(CACHE_INVOCATIONS)
                    .map(|vector| inputs["data"].at(&[0, vector % vectors * 4 + lane]))
                    .sum::<f64>();
            }
            comparison.pair(&[invocation, lane], outputs["sum"].at(&[invocation, lane]), sum);
        }
    }
    comparison.relative(1e-4, CACHE_INVOCATIONS * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_dot_product_is_signed() {
        assert_eq!(dot(0x0102_03FF, DOT_FACTOR), -3 + 3 * -5 + 2 * 7 - 2);
    }

    #[test]
    fn inputs_fill_the_buffers_of_their_plans() {
        let probes = [
            UnitProbe::Dot { invocations: 128, rounds: 1 },
            UnitProbe::Matrix { size: 8, workgroups: 2, subgroup: 32, rounds: 1 },
            UnitProbe::Matrix { size: 16, workgroups: 2, subgroup: 32, rounds: 1 },
            UnitProbe::Write { bytes: 1 << 20 },
            UnitProbe::Cache { bytes: 2 << 20, passes: 3 },
        ];
        for probe in probes {
            let plan = probe.plan("probe", Element::F32);
            let inputs = probe.inputs("probe", Element::F32, 1);
            for buffer in plan.buffers.iter().filter(|buffer| buffer.role == Role::Input) {
                let bytes = inputs[buffer.name].bytes().len() as u64;
                assert!(bytes <= buffer.size_bytes && bytes + 16 > buffer.size_bytes, "{probe:?} {}", buffer.name);
            }
        }
    }

    #[test]
    fn minus_a_is_a_with_every_sign_turned() {
        let inputs = UnitProbe::Matrix { size: 8, workgroups: 1, subgroup: 32, rounds: 1 }.inputs("", Element::F32, 3);
        let a = &inputs["a"];
        assert!((0..8).all(|i| a.at(&[0, i, 7 - i]) == -a.at(&[1, i, 7 - i]) && a.at(&[0, i, 7 - i]) != 0.0));
    }
}
