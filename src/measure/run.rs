//! One case: verify on the very operands that are then timed, then sample.

use std::sync::atomic::AtomicBool;

use super::sampling::{Sampled, Sampling, SamplingError, sample};
use super::{Executor, LaunchError, Prepared};
use crate::kernels::{Element, Kernel, Tensor, Tensors, Verification};

/// A right and timed result.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The comparison that it passed.
    pub verification: Verification,
    /// Samples and their caveats.
    pub sampled: Sampled,
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// The device refused or failed.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The output is wrong.
    #[error("{}", describe(.0))]
    Wrong(Box<Verification>),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl From<SamplingError> for RunError {
    fn from(error: SamplingError) -> Self {
        match error {
            SamplingError::Launch(error) => Self::Launch(error),
            SamplingError::Interrupted => Self::Interrupted,
        }
    }
}

fn describe(verification: &Verification) -> String {
    let mut text = format!("wrong result: error {:.2e}, tolerance {:.2e}", verification.value, verification.tolerance);
    if let Some(worst) = &verification.worst {
        let got = worst.got.map_or("not a number".to_owned(), |got| format!("{got:.6}"));
        text += &format!("; worst at {}{:?}: {got} instead of {:.6}", worst.output, worst.at, worst.want);
    }
    text
}

/// Runs a kernel once on poisoned outputs and compares the result with its twin's.
///
/// # Errors
/// [`RunError::Launch`]; a wrong result is in the returned value.
pub fn verify(
    executor: &dyn Executor,
    kernel: &dyn Kernel,
    variant: &str,
    element: Element,
    seed: u64,
    effort: u64,
) -> Result<Verification, RunError> {
    let inputs = kernel.inputs(variant, element, seed);
    let mut prepared = executor.prepare(&kernel.plan(variant, element), &inputs, 1)?;
    prepared.run(1)?;
    check(prepared.as_mut(), kernel, variant, element, &inputs, effort)
}

/// Verifies, then samples with `sets` sets of inputs.
///
/// # Errors
/// [`RunError::Wrong`] before any timing; [`RunError::Launch`], [`RunError::Interrupted`].
#[expect(clippy::too_many_arguments, reason = "each is a different thing, and there are two callers")]
pub fn verify_and_sample(
    executor: &dyn Executor,
    kernel: &dyn Kernel,
    variant: &str,
    element: Element,
    seed: u64,
    sets: u32,
    effort: u64,
    sampling: &Sampling,
    interrupted: &AtomicBool,
) -> Result<Run, RunError> {
    let inputs = kernel.inputs(variant, element, seed);
    let mut prepared = executor.prepare(&kernel.plan(variant, element), &inputs, sets)?;
    prepared.run(1)?;
    let verification = check(prepared.as_mut(), kernel, variant, element, &inputs, effort)?;
    if !verification.passed() {
        return Err(RunError::Wrong(Box::new(verification)));
    }
    let sampled = sample(prepared.as_mut(), sets, sampling, interrupted)?;
    Ok(Run { verification, sampled })
}

fn check(
    prepared: &mut dyn Prepared,
    kernel: &dyn Kernel,
    variant: &str,
    element: Element,
    inputs: &Tensors,
    effort: u64,
) -> Result<Verification, RunError> {
    let mut outputs = Tensors::new();
    for output in kernel.outputs(variant, element) {
        let bytes = prepared.read(output.name)?;
        outputs.insert(output.name, Tensor::from_bytes(&output.dims, &output.padded, output.kind, bytes));
    }
    Ok(kernel.verify(inputs, &outputs, element, effort))
}
