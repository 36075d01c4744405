//! One case: verified on the very operands that are then timed, and sampled.

use std::sync::atomic::AtomicBool;

use super::sampling::{Sampled, Sampling, SamplingError, sample};
use super::time_spent::verifying;
use super::{Executor, Lap, LaunchError, Prepared, features};
use crate::kernels::cases::CaseSpec;
use crate::kernels::{Computed, KernelCase, Made, Plan, StorageType, Tensor, Tensors, Verification};
use crate::record::{Device, Timing};

/// A result that was right and was then timed.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredCase {
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

impl RunError {
    /// The comparison that failed, where the output is wrong.
    pub(super) fn verification(&self) -> Option<&Verification> {
        if let Self::Wrong(verification) = self { Some(verification) } else { None }
    }
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

/// Runs a kernel once on poisoned outputs and compares the result with its twin's. The twin may cost `effort`
/// multiply-adds.
///
/// # Errors
/// [`RunError::Launch`]; a wrong result is in the returned value.
pub fn once(executor: &dyn Executor, case: &KernelCase<'_>, seed: u64, effort: u64) -> Result<Verification, RunError> {
    let computed = computed(executor, case, seed, 1, &mut Made::default())?;
    Ok(case.verify(&computed.inputs, &computed.outputs, effort))
}

/// A result compared twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// With the twin on the quantised operands: whether the kernel is right.
    pub verification: Verification,
    /// Relative Frobenius error against the twin (in f64) on the operands before quantisation: what the type costs.
    pub error_of_type: f64,
}

/// As [`once`], and compares the result also with the twin's on the operands before quantisation. All types round the
/// same drawn numbers, so the second error is that of the type.
///
/// # Errors
/// As [`once`].
pub fn accuracy(executor: &dyn Executor, case: &KernelCase<'_>, seed: u64, effort: u64) -> Result<Accuracy, RunError> {
    let computed = computed(executor, case, seed, 1, &mut Made::default())?;
    let verification = case.verify(&computed.inputs, &computed.outputs, effort);
    if case.storage == StorageType::F32 {
        let error_of_type = verification.value;
        return Ok(Accuracy { verification, error_of_type });
    }
    let exact = case.kernel.inputs(case.variant, StorageType::F32, seed);
    let error_of_type = case.verify(&exact, &computed.outputs, effort).value;
    Ok(Accuracy { verification, error_of_type })
}

/// What became of a case of the verification suite.
#[derive(Debug, Clone, PartialEq)]
pub enum VerificationOutcome {
    /// The device lacks what it needs, in words.
    LeftOut(String),
    /// It ran, and every element was compared.
    Compared(Accuracy),
    /// It did not run.
    Failed(RunError),
}

/// Compares every element of a case of the verification suite with its twin's, where the device can run it.
pub fn verdict(executor: &dyn Executor, device: &Device, case: &CaseSpec, seed: u64) -> VerificationOutcome {
    let kernel = case.kernel.as_ref();
    if let Some(problem) = features::missing(&kernel.plan(case.variant, case.element), device) {
        return VerificationOutcome::LeftOut(problem);
    }
    let as_launched = KernelCase { kernel, variant: case.variant, storage: case.element };
    match accuracy(executor, &as_launched, seed, u64::MAX) {
        Ok(compared) => VerificationOutcome::Compared(compared),
        Err(error) => VerificationOutcome::Failed(error),
    }
}

/// How much to verify and how to sample.
#[derive(Debug, Clone, Copy)]
pub struct CaseProtocol<'a> {
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

/// What a kernel made of its operands in its first run, on outputs that were poisoned before.
pub(super) struct ComputedOnce<'a> {
    /// On the device.
    pub(super) prepared: Box<dyn Prepared + 'a>,
    /// The operands.
    pub(super) inputs: Tensors,
    /// What the kernel made of them.
    pub(super) outputs: Tensors,
    /// The first run.
    pub(super) first: Lap,
    plan: Plan,
    sets: u32,
}

/// Prepares a kernel with `sets` copies of its operands, runs it once on poisoned outputs and reads the result. `made`
/// holds operands of other variants.
///
/// # Errors
/// [`RunError::Launch`].
pub(super) fn computed<'a>(
    executor: &'a dyn Executor,
    case: &KernelCase<'_>,
    seed: u64,
    sets: u32,
    made: &mut Made,
) -> Result<ComputedOnce<'a>, RunError> {
    let plan = case.plan();
    let inputs = verifying(executor, || case.inputs(made, seed));
    let mut prepared = executor.prepare(&plan, &inputs, sets)?;
    let first = prepared.run(1)?;
    let mut outputs = Tensors::new();
    for output in case.kernel.outputs(case.variant, case.storage) {
        let bytes = prepared.read(output.name)?;
        outputs.insert(output.name, Tensor::from_bytes(&output.dims, &output.padded, output.kind, bytes));
    }
    Ok(ComputedOnce { prepared, inputs, outputs, first, plan, sets })
}

impl<'a> ComputedOnce<'a> {
    /// Compares the result with the twin's while the device goes on running the kernel, so that it keeps its clocks.
    pub(super) fn verify(&mut self, executor: &dyn Executor, case: &KernelCase<'_>, effort: u64) -> Verification {
        let Self { prepared, inputs, outputs, .. } = self;
        while_busy(executor, prepared.as_mut(), || case.verify(inputs, outputs, effort))
    }

    /// As [`ComputedOnce::verify`]; gives the comparison only where the result passed it.
    ///
    /// # Errors
    /// [`RunError::Wrong`].
    pub(super) fn right(
        &mut self,
        executor: &dyn Executor,
        case: &KernelCase<'_>,
        effort: u64,
    ) -> Result<Verification, RunError> {
        let verification = self.verify(executor, case, effort);
        if verification.passed() { Ok(verification) } else { Err(RunError::Wrong(Box::new(verification))) }
    }

    /// Compares the whole result with that of another variant on the same operands, likewise.
    pub(super) fn agreement(&mut self, executor: &dyn Executor, case: &KernelCase<'_>, theirs: &Self) -> Verification {
        let Self { prepared, inputs, outputs, .. } = self;
        let (ours, theirs) =
            (Computed { inputs, outputs }, Computed { inputs: &theirs.inputs, outputs: &theirs.outputs });
        while_busy(executor, prepared.as_mut(), || case.kernel.agreement(ours, theirs, case.storage))
    }

    /// The kernel ready to be timed, once its result was found right. Operands and results are dropped: the device has its
    /// own copies.
    pub(super) fn found_right(self, case: &KernelCase<'_>, verification: Verification) -> Verified<'a> {
        let tokens_per_expert = case.kernel.tokens_per_expert(&self.outputs);
        Verified { prepared: self.prepared, verification, tokens_per_expert, plan: self.plan, sets: self.sets }
    }
}

/// A kernel whose result was right, ready to be timed.
pub(super) struct Verified<'a> {
    /// On the device.
    pub(super) prepared: Box<dyn Prepared + 'a>,
    /// The comparison that it passed.
    verification: Verification,
    tokens_per_expert: Option<Vec<u32>>,
    plan: Plan,
    sets: u32,
}

/// Prepares a kernel, runs it once on poisoned outputs and compares the result with its twin's.
///
/// # Errors
/// [`RunError::Wrong`], [`RunError::Launch`].
fn verified<'a>(
    executor: &'a dyn Executor,
    case: &KernelCase<'_>,
    protocol: &CaseProtocol,
) -> Result<Verified<'a>, RunError> {
    let mut computed = computed(executor, case, protocol.seed, protocol.sets, &mut Made::default())?;
    let verification = computed.right(executor, case, protocol.effort)?;
    Ok(computed.found_right(case, verification))
}

/// Does a part of verification on the host while the device goes on running, so that it keeps its clocks.
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
    /// Samples the whole, then each part of a layer alone on the same buffers.
    ///
    /// # Errors
    /// [`RunError::Launch`], [`RunError::Interrupted`].
    pub(super) fn sample(&mut self, sampling: &Sampling, interrupted: &AtomicBool) -> Result<MeasuredCase, RunError> {
        self.prepared.select(None);
        let sampled = sample(self.prepared.as_mut(), self.sets, sampling, interrupted)?;
        let part_sampling = Sampling { pace: sampling.pace.at_once(), ..*sampling };
        let mut parts = Vec::new();
        for part in &self.plan.parts {
            self.prepared.select(Some(part.launches.clone()));
            parts.push(sample(self.prepared.as_mut(), self.sets, &part_sampling, interrupted)?.timing);
        }
        let (verification, tokens_per_expert) = (self.verification.clone(), self.tokens_per_expert.clone());
        Ok(MeasuredCase { verification, tokens_per_expert, sampled, parts })
    }
}

/// Verifies, then samples.
///
/// # Errors
/// [`RunError::Wrong`] before any timing; [`RunError::Launch`], [`RunError::Interrupted`].
pub fn verify_and_sample(
    executor: &dyn Executor,
    case: &KernelCase<'_>,
    protocol: &CaseProtocol,
) -> Result<MeasuredCase, RunError> {
    verified(executor, case, protocol)?.sample(&protocol.sampling, protocol.interrupted)
}
