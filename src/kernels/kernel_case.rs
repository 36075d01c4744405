//! A kernel in one variant and one storage type: what is planned, filled and judged together.

use crate::kernels::kernel::{Kernel, Made};
use crate::kernels::plan::{Output, Plan};
use crate::kernels::tensor::Tensors;
use crate::kernels::types::StorageType;
use crate::kernels::verification::{Computed, Verification};

/// One way to run a kernel. Its methods pass the variant and the storage type on to the [`Kernel`].
#[derive(Debug, Clone, Copy)]
pub struct KernelCase<'a> {
    /// What is computed, at which shape.
    pub kernel: &'a dyn Kernel,
    /// One of the kernel's variants.
    pub variant: &'a str,
    /// One of the storage types of that variant.
    pub storage: StorageType,
}

impl KernelCase<'_> {
    /// Buffers, launches and work.
    pub fn plan(&self) -> Plan {
        self.kernel.plan(self.variant, self.storage)
    }

    /// Seeded operands for every [`crate::kernels::Role::Input`] buffer of the plan. Operands that `made` holds of another
    /// variant with the same storage type and seed are reused, and new ones are added to it.
    pub fn inputs(&self, made: &mut Made, seed: u64) -> Tensors {
        self.kernel.inputs_from(made, self.variant, self.storage, seed)
    }

    /// Dimensions of every [`crate::kernels::Role::Output`] buffer of the plan.
    pub fn outputs(&self) -> Vec<Output> {
        self.kernel.outputs(self.variant, self.storage)
    }

    /// Compares outputs with the twin's. It checks as many elements as `effort` multiply-adds of the twin allow.
    pub fn verify(&self, inputs: &Tensors, outputs: &Tensors, effort: u64) -> Verification {
        self.kernel.verify(inputs, outputs, self.storage, effort)
    }

    /// Compares this case's whole outputs with those of another variant on operands of the same seed.
    pub fn agreement(&self, ours: Computed, theirs: Computed) -> Verification {
        self.kernel.agreement(ours, theirs, self.storage)
    }
}
