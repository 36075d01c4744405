//! The cost of a launch: one workgroup that writes one word.

use std::collections::BTreeMap;

use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Output, Plan, Role};
use crate::kernels::tensor::{Tensor, TensorType, Tensors};
use crate::kernels::types::{StorageType, Work, word};
use crate::kernels::verification::{Deviation, Verification};

/// One workgroup that writes one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchProbe;

impl Kernel for LaunchProbe {
    fn name(&self) -> &'static str {
        "probe_launch"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    fn variants(&self) -> &'static [&'static str] {
        &["probe"]
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32]
    }

    fn plan(&self, _variant: &str, element: StorageType) -> Plan {
        let mut plan = Plan::new(Work::default());
        let bindings = [plan.buffer("word", Role::Input, 4), plan.buffer("echo", Role::Output, 4)];
        plan.launch(Launch::of("probe_launch", element).bindings(bindings));
        plan
    }

    fn inputs(&self, _variant: &str, _element: StorageType, seed: u64) -> Tensors {
        Tensors::from([("word", seed_word(seed))])
    }

    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        vec![Output::new("echo", &[1], &[1], TensorType::Index)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: StorageType, _effort: u64) -> Verification {
        let mut deviation = Deviation::of("echo");
        let want = f64::from(inputs["word"].index_at(&[0]));
        deviation.pair(&[0], f64::from(outputs["echo"].index_at(&[0])), want);
        deviation.exact(1)
    }
}

/// A word that depends on the lowest byte of the seed.
pub(super) fn seed_word(seed: u64) -> Tensor {
    Tensor::indices(&[0xC0FF_EE00 ^ word((seed & 0xFF) as usize)])
}
