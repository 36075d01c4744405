//! Probes of the device's roofs: arithmetic in registers, streaming memory, the cost of a launch.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Multiply-adds in registers as a matrix product issues them: sums += row * column.
    Outer {
        /// Threads.
        invocations: usize,
        /// Rounds of 16 steps of 16 sums and 4 operands.
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

/// Forms of the multiply-add probe. A device may issue one of them at twice the rate of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FmaForm {
    /// [`Probe::Fma`]: x <- x * factor + addend.
    Chains,
    /// [`Probe::Outer`]: c_ij <- a_i * b_j + c_ij.
    Outer,
}

impl FmaForm {
    /// All forms.
    pub const ALL: [Self; 2] = [Self::Chains, Self::Outer];

    /// The probe of this form.
    pub const fn probe(self, invocations: usize, rounds: usize) -> Probe {
        match self {
            Self::Chains => Probe::Fma { invocations, rounds },
            Self::Outer => Probe::Outer { invocations, rounds },
        }
    }
}

/// The multiply-add probes' variants, and the invocations of a workgroup in each.
pub const FMA_WORKGROUPS: [(&str, u32); 2] = [("probe", 64), ("probe_256", 256)];

/// The recurrence x <- x * FACTOR + ADDEND swings between x and ADDEND - x: it neither grows nor settles, so the
/// operands keep changing (constant ones would draw less power and raise clocks).
const FACTOR: f32 = -1.0;
const ADDEND: f32 = 0.75;
const CHAINS: usize = 3;
const STEPS: usize = 16;
/// Sums of the outer product, and the operands that swing.
const OUTER_SUMS: usize = 16;
const OUTER_OPERANDS: usize = 4;
/// Steps after which the outer product's sums are what they were.
const OUTER_PERIOD: usize = 12;
/// Enough loads in flight for the largest device of today: 64 bytes each.
const READ_INVOCATIONS: usize = 128 * 1024;
const WORKGROUP: usize = 64;
/// Larger, so that 256 MiB stay within 65,535 workgroups along an axis, the least limit of all adapters.
const COPY_WORKGROUP: usize = 256;

impl Probe {
    fn read_vectors(bytes: usize) -> usize {
        multiples(bytes / 16, 4 * READ_INVOCATIONS)
    }

    /// Threads and rounds of [`Probe::Fma`] that does this work, or about as much where it is the work of
    /// [`Probe::Outer`]; `None` for the work of anything else.
    pub fn fma_size(work: &Work) -> Option<(usize, usize)> {
        let whole = |value: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just before")]
            (value.is_finite() && (1.0..1e12).contains(&value)).then_some(value.round() as usize)
        };
        let invocations = whole(work.bytes_written.get() / 4.0)?;
        let rounds = |form: FmaForm| {
            let one = form.probe(invocations, 1).work().flop;
            let rounds = whole(work.flop / one)?;
            (form.probe(invocations, rounds).work() == *work).then_some(rounds)
        };
        let as_chains = || {
            let flop = Self::Outer { invocations, rounds: rounds(FmaForm::Outer)? }.work().flop;
            whole((flop / Self::Fma { invocations, rounds: 1 }.work().flop).max(1.0))
        };
        Some((invocations, rounds(FmaForm::Chains).or_else(as_chains)?))
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
            Self::Outer { .. } => "probe_outer",
            Self::Read { .. } => "probe_read",
            Self::Copy { .. } => "probe_copy",
            Self::Launch => "probe_launch",
        }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        match *self {
            Self::Fma { invocations, rounds } | Self::Outer { invocations, rounds } => {
                named(&[("invocations", invocations), ("rounds", rounds)])
            }
            Self::Read { bytes } | Self::Copy { bytes } => named(&[("bytes", bytes)]),
            Self::Launch => BTreeMap::new(),
        }
    }

    fn variants(&self) -> &'static [&'static str] {
        const ARITHMETIC: [&str; 2] = [FMA_WORKGROUPS[0].0, FMA_WORKGROUPS[1].0];
        if self.is_arithmetic() { &ARITHMETIC } else { &["probe"] }
    }

    fn elements(&self) -> &'static [Element] {
        if self.is_arithmetic() { &[Element::F32, Element::F16] } else { &[Element::F32] }
    }

    fn plan(&self, variant: &str, element: Element) -> Plan {
        let overrides = BTreeMap::from([("WORKGROUP", WORKGROUP as f64)]);
        let arithmetic = arithmetic_workgroup(variant);
        let mut plan = Plan::new(self.work());
        match *self {
            Self::Fma { invocations, rounds } => {
                let bindings = vec![
                    plan.buffer("start", Role::Input, invocations * 4),
                    plan.buffer("finish", Role::Output, invocations * 4),
                ];
                let grid = [word(invocations) / arithmetic, 1, 1];
                let overrides = BTreeMap::from([("WORKGROUP", f64::from(arithmetic))]);
                plan.launch("probe_fma", element, overrides, bindings, grid).params =
                    vec![("rounds", word(rounds)), ("factor", FACTOR.to_bits()), ("addend", ADDEND.to_bits())];
            }
            Self::Outer { invocations, rounds } => {
                let bindings = vec![
                    plan.buffer("start", Role::Input, invocations * 16),
                    plan.buffer("finish", Role::Output, invocations * 4),
                ];
                let grid = [word(invocations) / arithmetic, 1, 1];
                let overrides = BTreeMap::from([("WORKGROUP", f64::from(arithmetic))]);
                plan.launch("probe_outer", element, overrides, bindings, grid).params =
                    vec![("rounds", word(rounds)), ("minus", (-1f32).to_bits()), ("plus", 1f32.to_bits())];
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
                    plan.buffer("copy", Role::Rotated, invocations * 64),
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
            Self::Outer { invocations, .. } => {
                let drawn = Tensor::random(&[invocations, 4], &[invocations, 4], Element::F32, 1.0, seed);
                Tensors::from([("start", quarters(&drawn))])
            }
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
            Self::Fma { invocations, .. } | Self::Outer { invocations, .. } => {
                vec![Output::new("finish", &[invocations], &[invocations], Element::F32)]
            }
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
            Self::Outer { invocations, rounds } => verify_outer(invocations, rounds, inputs, outputs, element),
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
    const fn is_arithmetic(&self) -> bool {
        matches!(self, Self::Fma { .. } | Self::Outer { .. })
    }

    fn work(&self) -> Work {
        let read = |bytes: usize| Work { bytes_read: Bytes::new(bytes as f64), ..Work::default() };
        match *self {
            Self::Fma { invocations, rounds } => Work {
                flop: Flop::new(2.0 * 4.0 * (invocations * rounds * STEPS * CHAINS) as f64),
                bytes_read: Bytes::new(4.0 * invocations as f64),
                bytes_written: Bytes::new(4.0 * invocations as f64),
            },
            Self::Outer { invocations, rounds } => Work {
                flop: Flop::new(2.0 * (invocations * rounds * STEPS * (OUTER_SUMS + OUTER_OPERANDS)) as f64),
                bytes_read: Bytes::new(16.0 * invocations as f64),
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

/// Quarters from -1 to 1, so that products and sums of them are exact even in f16: odd ones in the first two columns and even
/// ones in the last two, so that no difference of two is zero.
fn quarters(drawn: &Tensor) -> Tensor {
    let quarter = |(at, bytes): (usize, &[u8])| {
        // The lowest bits of a drawn number are as good as any.
        let size = if bytes[0] & 1 == 0 { 0.25 } else { 0.75 };
        let size = if at % 4 < 2 { size } else { size + 0.25 };
        if bytes[0] & 2 == 0 { size } else { -size }
    };
    let values: Vec<f32> = drawn.bytes().chunks_exact(4).enumerate().map(quarter).collect();
    Tensor::floats(drawn.dims(), &values)
}

fn arithmetic_workgroup(variant: &str) -> u32 {
    let named = FMA_WORKGROUPS.iter().find(|(name, _)| *name == variant);
    named.map_or(FMA_WORKGROUPS[0].1, |(_, invocations)| *invocations)
}

fn verify_outer(
    invocations: usize,
    rounds: usize,
    inputs: &Tensors,
    outputs: &Tensors,
    element: Element,
) -> Verification {
    let mut comparison = Comparison::of("finish");
    for invocation in 0..invocations {
        let a = std::array::from_fn(|i| inputs["start"].at(&[invocation, i]));
        let want = outer_finish(a, rounds * STEPS % OUTER_PERIOD);
        comparison.pair(&[invocation], outputs["finish"].at(&[invocation]), want);
    }
    comparison.relative(if element == Element::F32 { 1e-6 } else { 2e-3 }, invocations)
}

/// The sum of all sums after so many steps.
fn outer_finish(a: [f64; 4], steps: usize) -> f64 {
    let mut b = [a[3], a[2], a[0], a[1]];
    let mut c = [a; 4];
    for step in 0..steps {
        for (i, row) in c.iter_mut().enumerate() {
            row.iter_mut().zip(b).for_each(|(c, b)| *c += a[(i + step) % 4] * b);
        }
        b = [b[0] - b[2], b[1] - b[3], b[0], b[1]];
    }
    c.iter().flatten().sum()
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
    fn a_multiply_add_probe_is_found_by_its_work_and_the_other_form_by_as_much_of_the_first() {
        let of = |form: FmaForm, rounds| Probe::fma_size(&form.probe(4096, rounds).work());
        assert_eq!(of(FmaForm::Chains, 48), Some((4096, 48)));
        let (invocations, rounds) = of(FmaForm::Outer, 48).unwrap();
        let flop = |form: FmaForm, rounds| form.probe(4096, rounds).work().flop;
        assert_eq!(invocations, 4096);
        let ratio = flop(FmaForm::Chains, rounds) / flop(FmaForm::Outer, 48);
        assert!((ratio - 1.0).abs() < 0.02, "{ratio}");
        assert_eq!(Probe::fma_size(&Probe::Copy { bytes: 1 << 20 }.work()), None);
        assert_eq!(Probe::fma_size(&Work::default()), None);
    }

    #[test]
    fn the_outer_product_swings_between_bounds_with_a_period_and_no_operand_is_ever_zero() {
        let inputs = FmaForm::Outer.probe(64, 1).inputs("probe", Element::F32, 5);
        for invocation in 0..64 {
            let a: [f64; 4] = std::array::from_fn(|i| inputs["start"].at(&[invocation, i]));
            let finishes: Vec<f64> = (0..3 * OUTER_PERIOD).map(|steps| outer_finish(a, steps)).collect();
            assert!(finishes.iter().all(|finish| finish.abs() < 100.0), "{finishes:?}");
            assert_eq!(finishes[..OUTER_PERIOD], finishes[OUTER_PERIOD..2 * OUTER_PERIOD]);
            for [x, y] in [[a[3], a[0]], [a[2], a[1]]] {
                assert!(x != 0.0 && y != 0.0 && x != y);
            }
        }
    }

    #[test]
    fn an_outer_product_that_stops_a_round_early_is_noticed() {
        let probe = FmaForm::Outer.probe(64, 32);
        let inputs = probe.inputs("probe", Element::F32, 5);
        let ran = |rounds: usize| {
            let finish = |i: usize| outer_finish(std::array::from_fn(|j| inputs["start"].at(&[i, j])), rounds * STEPS);
            #[expect(clippy::cast_possible_truncation, reason = "exact in f32")]
            let finish: Vec<f32> = (0..64).map(|i| finish(i) as f32).collect();
            let outputs = Tensors::from([("finish", Tensor::floats(&[64], &finish))]);
            probe.verify(&inputs, &outputs, Element::F32, u64::MAX)
        };
        assert_eq!(ran(32).value, 0.0);
        assert!(!ran(31).passed() && !ran(30).passed());
    }

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
