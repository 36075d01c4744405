//! A kernel in one of its variants and types.

use crate::kernels::{Element, Kernel, Made, Plan, Tensors, Verification};

/// A kernel at one shape, in one of its variants and types: what is verified and timed.
#[derive(Debug, Clone, Copy)]
pub struct KernelCase<'a> {
    /// What is computed, at which shape.
    pub kernel: &'a dyn Kernel,
    /// How.
    pub variant: &'a str,
    /// The type that the operands are stored in.
    pub storage: Element,
}

impl KernelCase<'_> {
    /// The launches and buffers.
    pub fn plan(&self) -> Plan {
        self.kernel.plan(self.variant, self.storage)
    }

    /// The operands, drawn from `seed`; `made` holds those of other variants and is added to.
    pub fn inputs(&self, made: &mut Made, seed: u64) -> Tensors {
        self.kernel.inputs_from(made, self.variant, self.storage, seed)
    }

    /// Compares outputs with those of the twin, which may cost `effort` multiply-adds.
    pub fn verify(&self, inputs: &Tensors, outputs: &Tensors, effort: u64) -> Verification {
        self.kernel.verify(inputs, outputs, self.storage, effort)
    }
}
