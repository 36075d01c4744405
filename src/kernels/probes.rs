//! Probes of the device's roofs: arithmetic in registers, streaming memory, the cost of a launch.

use std::collections::BTreeMap;

use super::compare::{Comparison, Verification};
use super::tensor::{Kind, Tensor, Tensors};
use super::{Element, Family, Kernel, Output, Plan, Role, Work, named, word};
use crate::units::{Bytes, Flop};

/// A probe. Its figures are ceilings, not cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Chains of multiply-adds in registers.
    Fma {
        /// Threads.
        invocations: usize,
        /// Rounds of 16 steps of 3 chains of 4 multiply-adds.
        rounds: usize,
    },
    /// Streaming read of a buffer.
    Read {
        /// Length; rounded down to what the grid divides.
        bytes: usize,
    },
    /// Streaming copy of a buffer.
    Copy {
        /// Length; rounded down likewise.
        bytes: usize,
    },
    /// One workgroup that writes one word.
    Launch,
}

/// The recurrence x <- x * FACTOR + ADDEND swings between x and ADDEND - x: it neither grows nor settles, so the
/// operands keep changing (constant ones would draw less power and raise clocks).
const FACTOR: f32 = -1.0;
const ADDEND: f32 = 0.75;
const CHAINS: usize = 3;
const STEPS: usize = 16;
/// Enough loads in flight for the largest device of today: 64 bytes each.
const READ_INVOCATIONS: usize = 128 * 1024;
const WORKGROUP: usize = 64;
/// Larger, so that 256 MiB stay within 65,535 workgroups along an axis, the least limit of all adapters.
const COPY_WORKGROUP: usize = 256;

impl Probe {
    fn read_vectors(bytes: usize) -> usize {
        multiples(bytes / 16, 4 * READ_INVOCATIONS)
    }

    /// Threads and rounds of the multiply-add probe that does this work.
    pub fn fma_size(work: &Work) -> Option<(usize, usize)> {
        let whole = |value: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just before")]
            (value.is_finite() && (1.0..1e12).contains(&value)).then_some(value.round() as usize)
        };
        let invocations = whole(work.bytes_read.get() / 4.0)?;
        let rounds = whole(work.flop.get() / (8 * STEPS * CHAINS) as f64 / invocations as f64)?;
        (Self::Fma { invocations, rounds }.work() == *work).then_some((invocations, rounds))
    }

    fn copy_invocations(bytes: usize) -> usize {
        multiples(bytes / 16 / 4, COPY_WORKGROUP)
    }
}

/// The largest multiple of `step` up to `most`, at least one: a buffer must not outgrow the binding limit.
fn multiples(most: usize, step: usize) -> usize {
    (most / step).max(1) * step
}

impl Kernel for Probe {
    fn family(&self) -> Family {
        Family::Gating // never read: probes are not cases
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Fma { .. } => "probe_fma",
            Self::Read { .. } => "probe_read",
            Self::Copy { .. } => "probe_copy",
            Self::Launch => "probe_launch",
        }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        match *self {
            Self::Fma { invocations, rounds } => named(&[("invocations", invocations), ("rounds", rounds)]),
            Self::Read { bytes } | Self::Copy { bytes } => named(&[("bytes", bytes)]),
            Self::Launch => BTreeMap::new(),
        }
    }

    fn variants(&self) -> &'static [&'static str] {
        &["probe"]
    }

    fn elements(&self) -> &'static [Element] {
        if matches!(self, Self::Fma { .. }) { &[Element::F32, Element::F16] } else { &[Element::F32] }
    }

    fn plan(&self, _variant: &str, element: Element) -> Plan {
        let overrides = BTreeMap::from([("WORKGROUP", WORKGROUP as f64)]);
        let mut plan = Plan::new(self.work());
        match *self {
            Self::Fma { invocations, rounds } => {
                let bindings = vec![
                    plan.buffer("start", Role::Input, invocations * 4),
                    plan.buffer("finish", Role::Output, invocations * 4),
                ];
                let grid = [word(invocations / WORKGROUP), 1, 1];
                plan.launch("probe_fma", element, overrides, bindings, grid).params =
                    vec![("rounds", word(rounds)), ("factor", FACTOR.to_bits()), ("addend", ADDEND.to_bits())];
            }
            Self::Read { bytes } => {
                let vectors = Self::read_vectors(bytes);
                let bindings = vec![
                    plan.buffer("data", Role::Input, vectors * 16),
                    plan.buffer("sum", Role::Output, READ_INVOCATIONS * 16),
                ];
                let grid = [word(READ_INVOCATIONS / WORKGROUP), 1, 1];
                plan.launch("probe_read", element, overrides, bindings, grid).params =
                    vec![("vectors", word(vectors)), ("invocations", word(READ_INVOCATIONS))];
            }
            Self::Copy { bytes } => {
                let invocations = Self::copy_invocations(bytes);
                let bindings = vec![
                    plan.buffer("data", Role::Input, invocations * 64),
                    plan.buffer("copy", Role::Output, invocations * 64),
                ];
                let grid = [word(invocations / COPY_WORKGROUP), 1, 1];
                let overrides = BTreeMap::from([("WORKGROUP", COPY_WORKGROUP as f64)]);
                plan.launch("probe_copy", element, overrides, bindings, grid).params =
                    vec![("invocations", word(invocations))];
            }
            Self::Launch => {
                let bindings = vec![plan.buffer("word", Role::Input, 4), plan.buffer("echo", Role::Output, 4)];
                plan.launch("probe_launch", element, BTreeMap::new(), bindings, [1, 1, 1]);
            }
        }
        plan
    }

    fn inputs(&self, _variant: &str, _element: Element, seed: u64) -> Tensors {
        let floats = |length: usize| Tensor::random(&[length], &[length], Element::F32, 0.25, seed);
        match *self {
            Self::Fma { invocations, .. } => Tensors::from([("start", floats(invocations))]),
            Self::Read { bytes } => {
                let rows = Self::read_vectors(bytes) / 1024;
                Tensors::from([("data", Tensor::random(&[rows, 4096], &[rows, 4096], Element::F32, 0.25, seed))])
            }
            Self::Copy { bytes } => {
                let rows = Self::copy_invocations(bytes) / WORKGROUP;
                let dims = [rows, WORKGROUP * 16];
                Tensors::from([("data", Tensor::random(&dims, &dims, Element::F32, 0.25, seed))])
            }
            Self::Launch => Tensors::from([("word", Tensor::indices(&[0xC0FF_EE00 ^ word((seed & 0xFF) as usize)]))]),
        }
    }

    fn outputs(&self, _variant: &str, _element: Element) -> Vec<Output> {
        match *self {
            Self::Fma { invocations, .. } => vec![Output::new("finish", &[invocations], &[invocations], Element::F32)],
            Self::Read { .. } => {
                let dims = [READ_INVOCATIONS, 4];
                vec![Output::new("sum", &dims, &dims, Element::F32)]
            }
            Self::Copy { bytes } => {
                let dims = [Self::copy_invocations(bytes) / WORKGROUP, WORKGROUP * 16];
                vec![Output::new("copy", &dims, &dims, Element::F32)]
            }
            Self::Launch => vec![Output::new("echo", &[1], &[1], Kind::Index)],
        }
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, _effort: u64) -> Verification {
        match *self {
            Self::Fma { invocations, .. } => verify_fma(invocations, inputs, outputs, element),
            Self::Read { bytes } => verify_read(bytes, inputs, outputs),
            Self::Copy { bytes } => verify_copy(bytes, inputs, outputs),
            Self::Launch => {
                let mut comparison = Comparison::of("echo");
                let want = f64::from(inputs["word"].index_at(&[0]));
                comparison.pair(&[0], f64::from(outputs["echo"].index_at(&[0])), want);
                comparison.exact(1)
            }
        }
    }
}

impl Probe {
    fn work(&self) -> Work {
        let read = |bytes: usize| Work { bytes_read: Bytes::new(bytes as f64), ..Work::default() };
        match *self {
            Self::Fma { invocations, rounds } => Work {
                flop: Flop::new(2.0 * 4.0 * (invocations * rounds * STEPS * CHAINS) as f64),
                bytes_read: Bytes::new(4.0 * invocations as f64),
                bytes_written: Bytes::new(4.0 * invocations as f64),
            },
            Self::Read { bytes } => read(Self::read_vectors(bytes) * 16),
            Self::Copy { bytes } => {
                let length = Self::copy_invocations(bytes) * 64;
                Work { bytes_written: Bytes::new(length as f64), ..read(length) }
            }
            Self::Launch => Work::default(),
        }
    }
}

fn verify_fma(invocations: usize, inputs: &Tensors, outputs: &Tensors, element: Element) -> Verification {
    let mut comparison = Comparison::of("finish");
    for i in 0..invocations {
        let start = inputs["start"].at(&[i]);
        // An even number of swings ends where it began, whatever `rounds` is.
        let sum: f64 = (0..CHAINS).map(|chain| 4.0 * (start + chain as f64 * 0.125)).sum();
        comparison.pair(&[i], outputs["finish"].at(&[i]), sum);
    }
    comparison.relative(if element == Element::F32 { 1e-6 } else { 2e-3 }, invocations)
}

fn verify_read(bytes: usize, inputs: &Tensors, outputs: &Tensors) -> Verification {
    let mut comparison = Comparison::of("sum");
    let vectors = Probe::read_vectors(bytes);
    for invocation in (0..READ_INVOCATIONS).step_by(61) {
        for lane in 0..4 {
            let sum: f64 = (invocation..vectors)
                .step_by(READ_INVOCATIONS)
                .map(|vector| inputs["data"].at(&[0, vector * 4 + lane]))
                .sum();
            comparison.pair(&[invocation, lane], outputs["sum"].at(&[invocation, lane]), sum);
        }
    }
    comparison.relative(1e-5, READ_INVOCATIONS * 4)
}

fn verify_copy(bytes: usize, inputs: &Tensors, outputs: &Tensors) -> Verification {
    let mut comparison = Comparison::of("copy");
    let length = Probe::copy_invocations(bytes) * 16;
    for i in (0..length).step_by((length / 65_536) | 1) {
        comparison.pair(&[0, i], outputs["copy"].at(&[0, i]), inputs["data"].at(&[0, i]));
    }
    comparison.exact(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_stay_within_their_length_and_the_least_grid_limit_of_all_adapters() {
        for bytes in [(128 << 20) - 4, 128 << 20, 256 << 20] {
            for probe in [Probe::Read { bytes }, Probe::Copy { bytes }] {
                let plan = probe.plan("probe", Element::F32);
                assert!(plan.largest_grid_axis() <= 65_535, "{probe:?}: {}", plan.largest_grid_axis());
                assert!(plan.largest_buffer_bytes() <= bytes as u64, "{probe:?}");
            }
        }
    }
}
