//! Multiply-adds in registers, in two forms: chains, and sums of products as a matrix product has them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Need, Output, Plan, Role};
use crate::kernels::probes::outer;
use crate::kernels::tensor::{Random, Tensor, Tensors};
use crate::kernels::types::{StorageType, Work, named, word};
use crate::kernels::verification::{Deviation, Verification};
use crate::units::{Bytes, Flop};

/// Forms of the multiply-add probe. A device may issue one of them at twice the rate of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FmaForm {
    /// x <- x * factor + addend.
    Chains,
    /// c_ij <- a_i * b_j + c_ij.
    Outer,
}

impl FmaForm {
    /// All forms.
    pub const ALL: [Self; 2] = [Self::Chains, Self::Outer];

    /// The probe of this form.
    pub const fn probe(self, invocations: usize, rounds: usize) -> FmaProbe {
        FmaProbe { form: self, invocations, rounds }
    }

    /// Operations per invocation and round.
    const fn round_flop(self) -> usize {
        match self {
            Self::Chains => 2 * 4 * STEPS * CHAINS,
            Self::Outer => 2 * STEPS * (outer::SUMS + outer::OPERANDS),
        }
    }

    /// Numbers that an invocation starts with.
    const fn start_length(self) -> usize {
        match self {
            Self::Chains => 1,
            Self::Outer => 4,
        }
    }
}

/// Multiply-adds in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FmaProbe {
    /// The form of the multiply-adds.
    pub form: FmaForm,
    /// Invocations of the grid.
    pub invocations: usize,
    /// Rounds of 16 steps. A step has 3 chains of 4 multiply-adds, or 16 sums and 4 operands.
    pub rounds: usize,
}

/// The variants of the probe, and their invocations per workgroup.
pub const FMA_WORKGROUPS: [(&str, u32); 2] = [("probe", 64), ("probe_256", 256)];

/// The chain x <- x * FACTOR + ADDEND alternates between x and ADDEND - x. It neither grows nor converges, so the operands
/// keep changing: constant operands would draw less power and so raise clocks.
const FACTOR: f32 = -1.0;
const ADDEND: f32 = 0.75;
const CHAINS: usize = 3;
/// Steps per round.
const STEPS: usize = 16;

impl FmaProbe {
    /// Invocations and rounds of the chains that do `work`. For the work of sums of products they do about as much; `None`
    /// for any other work.
    pub fn chains_of(work: &Work) -> Option<(usize, usize)> {
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
            let flop = FmaForm::Outer.probe(invocations, rounds(FmaForm::Outer)?).work().flop;
            whole((flop / FmaForm::Chains.probe(invocations, 1).work().flop).max(1.0))
        };
        Some((invocations, rounds(FmaForm::Chains).or_else(as_chains)?))
    }

    fn work(&self) -> Work {
        Work {
            flop: Flop::new((self.invocations * self.rounds * self.form.round_flop()) as f64),
            bytes_read: Bytes::new((4 * self.invocations * self.form.start_length()) as f64),
            bytes_written: Bytes::new(4.0 * self.invocations as f64),
        }
    }

    /// The result of an invocation, whose start is `inputs["start"]` at `invocation`.
    fn finish(&self, inputs: &Tensors, invocation: usize) -> f64 {
        let start = &inputs["start"];
        match self.form {
            FmaForm::Chains => {
                // A round has an even number of steps, so a chain ends where it began.
                let start = start.at(&[invocation]);
                (0..CHAINS).map(|chain| 4.0 * (start + chain as f64 * 0.125)).sum()
            }
            FmaForm::Outer => outer::finish(std::array::from_fn(|i| start.at(&[invocation, i])), self.rounds * STEPS),
        }
    }
}

impl Kernel for FmaProbe {
    fn name(&self) -> &'static str {
        match self.form {
            FmaForm::Chains => "probe_fma",
            FmaForm::Outer => "probe_outer",
        }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("invocations", self.invocations), ("rounds", self.rounds)])
    }

    fn variants(&self) -> &'static [&'static str] {
        const { &[FMA_WORKGROUPS[0].0, FMA_WORKGROUPS[1].0] }
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32, StorageType::F16]
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        let mut plan = Plan::new(self.work());
        let bindings = [
            plan.buffer("start", Role::Input, self.invocations * self.form.start_length() * 4),
            plan.buffer("finish", Role::Output, self.invocations * 4),
        ];
        let params = match self.form {
            FmaForm::Chains => [("factor", FACTOR.to_bits()), ("addend", ADDEND.to_bits())],
            FmaForm::Outer => [("minus", (-1f32).to_bits()), ("plus", 1f32.to_bits())],
        };
        let workgroup = workgroup(variant);
        plan.launch(
            Launch::of(self.name(), element)
                .needs(if element == StorageType::F16 { &[Need::ShaderF16] } else { &[] })
                .overrides([("WORKGROUP", f64::from(workgroup))])
                .params([("rounds", word(self.rounds))])
                .params(params)
                .bindings(bindings)
                .grid([word(self.invocations) / workgroup, 1, 1]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, _element: StorageType, seed: u64) -> Tensors {
        let start = match self.form {
            FmaForm::Chains => {
                Tensor::random(&[self.invocations], &[self.invocations], StorageType::F32, Random { sigma: 0.25, seed })
            }
            FmaForm::Outer => {
                let dims = [self.invocations, 4];
                outer::quarters(&Tensor::random(&dims, &dims, StorageType::F32, Random { sigma: 1.0, seed }))
            }
        };
        Tensors::from([("start", start)])
    }

    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        vec![Output::new("finish", &[self.invocations], &[self.invocations], StorageType::F32)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, _effort: u64) -> Verification {
        let mut deviation = Deviation::of("finish");
        for invocation in 0..self.invocations {
            let got = outputs["finish"].at(&[invocation]);
            deviation.pair(&[invocation], got, self.finish(inputs, invocation));
        }
        deviation.relative(if element == StorageType::F32 { 1e-6 } else { 2e-3 }, self.invocations)
    }
}

fn workgroup(variant: &str) -> u32 {
    let named = FMA_WORKGROUPS.iter().find(|(name, _)| *name == variant);
    named.map_or(FMA_WORKGROUPS[0].1, |(_, invocations)| *invocations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::probes::stream::CopyProbe;

    #[test]
    fn chains_are_found_by_their_work_and_by_the_work_of_as_many_sums_of_products() {
        let of = |form: FmaForm, rounds| FmaProbe::chains_of(&form.probe(4096, rounds).work());
        assert_eq!(of(FmaForm::Chains, 48), Some((4096, 48)));
        let (invocations, rounds) = of(FmaForm::Outer, 48).unwrap();
        let flop = |form: FmaForm, rounds| form.probe(4096, rounds).work().flop;
        assert_eq!(invocations, 4096);
        let ratio = flop(FmaForm::Chains, rounds) / flop(FmaForm::Outer, 48);
        assert!((ratio - 1.0).abs() < 0.02, "{ratio}");
        assert_eq!(FmaProbe::chains_of(&CopyProbe { bytes: 1 << 20 }.plan("probe", StorageType::F32).work), None);
        assert_eq!(FmaProbe::chains_of(&Work::default()), None);
    }

    #[test]
    fn a_sum_of_products_that_stops_a_round_early_is_noticed() {
        let probe = FmaForm::Outer.probe(64, 32);
        let inputs = probe.inputs("probe", StorageType::F32, 5);
        let ran = |rounds: usize| {
            let probe = FmaForm::Outer.probe(64, rounds);
            #[expect(clippy::cast_possible_truncation, reason = "exact in f32")]
            let finish: Vec<f32> = (0..64).map(|i| probe.finish(&inputs, i) as f32).collect();
            Tensors::from([("finish", Tensor::floats(&[64], &finish))])
        };
        let verify = |outputs: &Tensors| probe.verify(&inputs, outputs, StorageType::F32, u64::MAX);
        assert_eq!(verify(&ran(32)).value, 0.0);
        assert!(!verify(&ran(31)).passed() && !verify(&ran(30)).passed());
    }
}
