//! Probes of the roofs that not every kernel meets: packed int8 arithmetic, cooperative matrices, writes, the last-level
//! cache.

mod verify;

use std::collections::BTreeMap;

use super::compare::Verification;
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
        /// Workgroups, each of [`MATRIX_WORKGROUP`] invocations.
        workgroups: usize,
        /// Invocations of a subgroup: tells how many of them a workgroup has, which the device confirms.
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
        /// Length, a power of two of at least 64 bytes for each of `invocations`.
        bytes: usize,
        /// Times that it is read.
        passes: usize,
        /// Threads, a power of two.
        invocations: usize,
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
/// What the sums begin apart by: bits in all four bytes, so that every product counts.
const DOT_SPREAD: u32 = 0x5A3C_1E79;
/// Invocations of a workgroup of the matrix probe: two subgroups or more on any device that has matrices.
pub const MATRIX_WORKGROUP: usize = 128;
const MATRIX_CHAINS: usize = 4;
const MATRIX_STEPS: usize = 8;
/// Threads of the cache probe: what a small device needs, and what a large one does to have enough loads in flight.
pub const CACHE_INVOCATIONS: [usize; 2] = [16 * 1024, 64 * 1024];
/// One pass of the fewest invocations with four loads each.
pub const MIN_CACHE_BYTES: usize = cache_step(CACHE_INVOCATIONS[0]);
/// Reads move by this many vec4 from pass to pass: to another workgroup's lines, never back within a power of two.
const CACHE_SHIFT: usize = 5 * WORKGROUP;

/// Bytes that so many invocations read with four loads each.
pub const fn cache_step(invocations: usize) -> usize {
    4 * invocations * 16
}

/// Subgroups of a workgroup of the matrix probe.
const fn subgroups(subgroup: usize) -> usize {
    MATRIX_WORKGROUP.div_ceil(if subgroup == 0 { 1 } else { subgroup })
}

impl UnitProbe {
    fn write_invocations(bytes: usize) -> usize {
        (bytes / 64 / WRITE_WORKGROUP).max(1) * WRITE_WORKGROUP
    }

    fn work(&self) -> Work {
        let flop = |flop: usize| Work { flop: Flop::new(flop as f64), ..Work::default() };
        match *self {
            Self::Dot { invocations, rounds } => flop(8 * invocations * rounds * DOT_STEPS * DOT_SUMS),
            Self::Matrix { size, workgroups, subgroup, rounds } => {
                let products = workgroups * subgroups(subgroup) * MATRIX_CHAINS * (2 * rounds * MATRIX_STEPS + 1);
                flop(2 * products * size.pow(3))
            }
            Self::Write { bytes } => {
                Work { bytes_written: Bytes::new((Self::write_invocations(bytes) * 64) as f64), ..Work::default() }
            }
            Self::Cache { bytes, passes, .. } => {
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
            Self::Cache { bytes, passes, invocations } => {
                named(&[("bytes", bytes), ("passes", passes), ("invocations", invocations)])
            }
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
                    vec![("rounds", word(rounds)), ("factor", DOT_FACTOR), ("spread", DOT_SPREAD)];
            }
            Self::Matrix { size, workgroups, subgroup, rounds } => {
                let tile = size * size;
                let bindings = vec![
                    plan.buffer("a", Role::Input, 2 * tile * 2),
                    plan.buffer("b", Role::Input, MATRIX_CHAINS * tile * 2),
                    plan.buffer("c", Role::Output, workgroups * subgroups(subgroup) * MATRIX_CHAINS * tile * 4),
                    plan.buffer("ran", Role::Output, workgroups * 4),
                ];
                let shader = if size == 8 { "probe_matrix_8" } else { "probe_matrix_16" };
                let grid = [word(workgroups), 1, 1];
                plan.launch(shader, element, overrides(MATRIX_WORKGROUP), bindings, grid).params =
                    vec![("rounds", word(rounds)), ("subgroups", word(subgroups(subgroup)))];
            }
            Self::Write { bytes } => {
                let invocations = Self::write_invocations(bytes);
                let bindings =
                    vec![plan.buffer("seed", Role::Input, 4), plan.buffer("filled", Role::Rotated, invocations * 64)];
                let grid = [word(invocations / WRITE_WORKGROUP), 1, 1];
                plan.launch("probe_write", element, overrides(WRITE_WORKGROUP), bindings, grid).params =
                    vec![("invocations", word(invocations))];
            }
            Self::Cache { bytes, passes, invocations } => {
                let bindings =
                    vec![plan.buffer("data", Role::Input, bytes), plan.buffer("sum", Role::Output, invocations * 16)];
                let grid = [word(invocations / WORKGROUP), 1, 1];
                plan.launch("probe_cache", element, overrides(WORKGROUP), bindings, grid).params = vec![
                    ("vectors", word(bytes / 16)),
                    ("invocations", word(invocations)),
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
            Self::Matrix { size, workgroups, subgroup, .. } => {
                let dims = [workgroups, subgroups(subgroup), MATRIX_CHAINS, size, size];
                let ran = Output::new("ran", &[workgroups], &[workgroups], Kind::Index);
                vec![ran, Output::new("c", &dims, &dims, Element::F32)]
            }
            Self::Write { bytes } => {
                let length = Self::write_invocations(bytes) * 16;
                vec![Output::new("filled", &[length], &[length], Kind::Index)]
            }
            Self::Cache { invocations, .. } => {
                let dims = [invocations, 4];
                vec![Output::new("sum", &dims, &dims, Element::F32)]
            }
        }
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: Element, _effort: u64) -> Verification {
        match *self {
            Self::Dot { invocations, rounds } => verify::dot(invocations, rounds, inputs, outputs),
            Self::Matrix { size, workgroups, subgroup, .. } => {
                verify::matrix([workgroups, subgroups(subgroup), size], inputs, outputs)
            }
            Self::Write { bytes } => verify::write(Self::write_invocations(bytes) * 16, inputs, outputs),
            Self::Cache { bytes, passes, invocations } => {
                verify::cache([bytes / 16, passes, invocations], inputs, outputs)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_fill_the_buffers_of_their_plans() {
        let probes = [
            UnitProbe::Dot { invocations: 128, rounds: 1 },
            UnitProbe::Matrix { size: 8, workgroups: 2, subgroup: 32, rounds: 1 },
            UnitProbe::Matrix { size: 16, workgroups: 2, subgroup: 32, rounds: 1 },
            UnitProbe::Write { bytes: 1 << 20 },
            UnitProbe::Cache { bytes: 2 << 20, passes: 3, invocations: CACHE_INVOCATIONS[0] },
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

    /// The factor of each statement `NAME = fma(FACTOR, ...` or `NAME += dot4I8Packed(x, FACTOR)`, by name and in order.
    fn factors(shader: &str) -> BTreeMap<String, Vec<String>> {
        let text = super::super::wgsl(shader, Element::F32).unwrap();
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
        // Where it does, compilers that take a product apart add first and multiply once.
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
