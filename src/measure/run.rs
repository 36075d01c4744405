//! One case: verify on the very operands that are then timed, then sample.

use std::sync::atomic::AtomicBool;

use super::accounting::verifying;
use super::sampling::{Sampled, Sampling, SamplingError, sample};
use super::{Executor, Lap, LaunchError, Prepared};
use crate::kernels::{Element, Kernel, Made, Metric, Plan, Tensor, Tensors, Verification};
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

/// A kernel in one of its variants and types.
#[derive(Debug, Clone, Copy)]
pub struct KernelCase<'a> {
    /// What is computed, at which shape.
    pub kernel: &'a dyn Kernel,
    /// How.
    pub variant: &'a str,
    /// The storage type.
    pub element: Element,
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

/// A kernel whose result on these operands was right, ready to be timed.
pub struct Verified<'a> {
    /// On the device.
    pub prepared: Box<dyn Prepared + 'a>,
    /// The comparison that it passed.
    pub verification: Verification,
    /// Operands; dropped by [`Verified::forget_operands`].
    pub inputs: Tensors,
    /// What the kernel made of them; dropped likewise.
    pub outputs: Tensors,
    /// The first run.
    pub(super) first: Lap,
    plan: Plan,
    tokens_per_expert: Option<Vec<u32>>,
    sets: u32,
}

/// Prepares a kernel, runs it once on poisoned outputs and compares the result with its twin's, while the device goes on.
/// `made` holds operands of other variants.
///
/// # Errors
/// [`RunError::Wrong`], [`RunError::Launch`].
pub fn verified<'a>(
    executor: &'a dyn Executor,
    case: &KernelCase<'_>,
    protocol: &Protocol,
    made: &mut Made,
) -> Result<Verified<'a>, RunError> {
    let mut computed = computed(executor, case, protocol, made)?;
    let verification = {
        let Verified { prepared, inputs, outputs, .. } = &mut computed;
        while_busy(executor, prepared.as_mut(), || case.kernel.verify(inputs, outputs, case.element, protocol.effort))
    };
    if !verification.passed() {
        return Err(RunError::Wrong(Box::new(verification)));
    }
    Ok(Verified { verification, ..computed })
}

/// As [`verified`], but nothing is compared yet.
pub(super) fn computed<'a>(
    executor: &'a dyn Executor,
    case: &KernelCase<'_>,
    protocol: &Protocol,
    made: &mut Made,
) -> Result<Verified<'a>, RunError> {
    let KernelCase { kernel, variant, element } = *case;
    let plan = kernel.plan(variant, element);
    let inputs = verifying(executor, || kernel.inputs_from(made, variant, element, protocol.seed));
    let mut prepared = executor.prepare(&plan, &inputs, protocol.sets)?;
    let first = prepared.run(1)?;
    let outputs = outputs(prepared.as_mut(), kernel, variant, element)?;
    let tokens_per_expert = kernel.tokens_per_expert(&outputs);
    let verification = nothing_compared();
    let sets = protocol.sets;
    Ok(Verified { prepared, verification, inputs, outputs, first, plan, tokens_per_expert, sets })
}

/// What stands for a comparison until one was made: it passes nothing.
fn nothing_compared() -> Verification {
    Verification {
        metric: Metric::Exact,
        value: 1.0,
        tolerance: 0.0,
        worst_error: 1.0,
        worst_tolerance: 0.0,
        checked: 0,
        total: 0,
        worst: None,
    }
}

/// Something of verification, done while the device keeps its clocks.
pub(super) fn while_busy<T: Send>(
    executor: &dyn Executor,
    prepared: &mut dyn Prepared,
    work: impl FnOnce() -> T + Send,
) -> T {
    let (mut work, mut done) = (Some(work), None);
    verifying(executor, || {
        prepared.meanwhile(&mut || {
            if let Some(work) = work.take() {
                done = Some(work());
            }
        });
    });
    match (done, work) {
        (Some(done), _) => done,
        // An executor that did not call it.
        (None, Some(work)) => work(),
        (None, None) => unreachable!("the work was taken and gave nothing"),
    }
}

impl Verified<'_> {
    /// Drops what only the host needs; the device has its own copies.
    pub fn forget_operands(&mut self) {
        self.inputs = Tensors::new();
        self.outputs = Tensors::new();
    }

    /// Samples the whole, then each part of a layer alone on the same buffers.
    ///
    /// # Errors
    /// [`RunError::Launch`], [`RunError::Interrupted`].
    pub fn sample(&mut self, sampling: &Sampling, interrupted: &AtomicBool) -> Result<Run, RunError> {
        self.prepared.select(None);
        let sampled = sample(self.prepared.as_mut(), self.sets, sampling, interrupted)?;
        let part_sampling = Sampling { pace: sampling.pace.at_once(), ..*sampling };
        let mut parts = Vec::new();
        for part in &self.plan.parts {
            self.prepared.select(Some(part.launches.clone()));
            parts.push(sample(self.prepared.as_mut(), self.sets, &part_sampling, interrupted)?.timing);
        }
        let (verification, tokens_per_expert) = (self.verification.clone(), self.tokens_per_expert.clone());
        Ok(Run { verification, tokens_per_expert, sampled, parts })
    }
}

/// Verifies, then samples.
///
/// # Errors
/// [`RunError::Wrong`] before any timing; [`RunError::Launch`], [`RunError::Interrupted`].
pub fn verify_and_sample(executor: &dyn Executor, case: &KernelCase<'_>, protocol: &Protocol) -> Result<Run, RunError> {
    let mut verified = verified(executor, case, protocol, &mut Made::default())?;
    verified.forget_operands();
    verified.sample(&protocol.sampling, protocol.interrupted)
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
