//! One case: verify on the very operands that are then timed, then sample.

use std::sync::atomic::AtomicBool;

use super::accounting::verifying;
use super::sampling::{Sampled, Sampling, SamplingError, sample};
use super::{Executor, LaunchError, Prepared};
use crate::kernels::{Element, Kernel, Tensor, Tensors, Verification};
use crate::record::Timing;

/// A right and timed result.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The comparison that it passed.
    pub verification: Verification,
    /// Token slots by expert, where the kernel routes.
    pub tokens_per_expert: Option<Vec<u32>>,
    /// Samples and their caveats.
    pub sampled: Sampled,
    /// Each part of a layer alone, in order; empty for a single kernel.
    pub parts: Vec<Timing>,
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

/// How much to verify and how to sample.
#[derive(Debug, Clone, Copy)]
pub struct Protocol<'a> {
    /// Seed of the inputs.
    pub seed: u64,
    /// Sets of inputs that the runs rotate over.
    pub sets: u32,
    /// Multiply-adds of the twin that the verification may cost.
    pub effort: u64,
    /// When to stop.
    pub sampling: Sampling,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

/// Verifies, then samples the whole, then each part of a layer alone on the same buffers.
///
/// # Errors
/// [`RunError::Wrong`] before any timing; [`RunError::Launch`], [`RunError::Interrupted`].
pub fn verify_and_sample(
    executor: &dyn Executor,
    kernel: &dyn Kernel,
    variant: &str,
    element: Element,
    protocol: &Protocol,
) -> Result<Run, RunError> {
    let plan = kernel.plan(variant, element);
    let inputs = verifying(executor, || kernel.inputs(variant, element, protocol.seed));
    let mut prepared = executor.prepare(&plan, &inputs, protocol.sets)?;
    prepared.run(1)?;
    let found = outputs(prepared.as_mut(), kernel, variant, element)?;
    let verification = verifying(executor, || kernel.verify(&inputs, &found, element, protocol.effort));
    if !verification.passed() {
        return Err(RunError::Wrong(Box::new(verification)));
    }
    let tokens_per_expert = kernel.tokens_per_expert(&found);
    drop(found);
    let Protocol { sets, sampling, interrupted, .. } = *protocol;
    let sampled = sample(prepared.as_mut(), sets, &sampling, interrupted)?;
    let mut parts = Vec::new();
    for part in &plan.parts {
        prepared.select(Some(part.launches.clone()));
        parts.push(sample(prepared.as_mut(), sets, &sampling, interrupted)?.timing);
    }
    Ok(Run { verification, tokens_per_expert, sampled, parts })
}

pub(super) fn check(
    prepared: &mut dyn Prepared,
    kernel: &dyn Kernel,
    variant: &str,
    element: Element,
    inputs: &Tensors,
    effort: u64,
) -> Result<Verification, RunError> {
    let outputs = outputs(prepared, kernel, variant, element)?;
    Ok(kernel.verify(inputs, &outputs, element, effort))
}

/// The outputs of the last run, read back.
pub(super) fn outputs(
    prepared: &mut dyn Prepared,
    kernel: &dyn Kernel,
    variant: &str,
    element: Element,
) -> Result<Tensors, RunError> {
    let mut outputs = Tensors::new();
    for output in kernel.outputs(variant, element) {
        let bytes = prepared.read(output.name)?;
        outputs.insert(output.name, Tensor::from_bytes(&output.dims, &output.padded, output.kind, bytes));
    }
    Ok(outputs)
}
