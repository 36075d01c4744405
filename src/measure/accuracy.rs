//! How far a result is from what the operands stood for before they were quantised.

use super::Executor;
use super::run::{RunError, outputs};
use crate::kernels::{Element, Kernel, Verification};

/// A result compared twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// With the twin on the quantised operands: whether the kernel is right.
    pub verification: Verification,
    /// Relative Frobenius error against the twin (in f64) on the operands before quantisation: what the type costs.
    pub error_of_type: f64,
}

/// Runs a kernel once on poisoned outputs and compares the result with its twin's on the operands as they are stored, and
/// on the same operands in f32. All types round the same drawn numbers, so the second error is that of the type.
///
/// # Errors
/// [`RunError::Launch`]; a wrong result is in the returned value.
pub fn accuracy(
    executor: &dyn Executor,
    kernel: &dyn Kernel,
    variant: &str,
    element: Element,
    seed: u64,
    effort: u64,
) -> Result<Accuracy, RunError> {
    let inputs = kernel.inputs(variant, element, seed);
    let mut prepared = executor.prepare(&kernel.plan(variant, element), &inputs, 1)?;
    prepared.run(1)?;
    let outputs = outputs(prepared.as_mut(), kernel, variant, element)?;
    let verification = kernel.verify(&inputs, &outputs, element, effort);
    let error_of_type = if element == Element::F32 {
        verification.value
    } else {
        kernel.verify(&kernel.inputs(variant, Element::F32, seed), &outputs, element, effort).value
    };
    Ok(Accuracy { verification, error_of_type })
}
