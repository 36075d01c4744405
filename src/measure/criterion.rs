//! The seam to `cargo bench`: verified cases that return the device time of a number of runs.

use std::time::Duration;

use super::executor::{LaunchError, Prepared};
use super::gpu::{self, AdapterChoice, Gpu, GpuError};
use super::verify::{RunError, computed};
use super::{features, planning};
use crate::kernels::cases::{Capacity, CaseSpec, square_cases};
use crate::kernels::{Family, KernelCase, Made, Work};
use crate::record::{CacheState, DeviceType, Preset};

/// The cases of one family on the best adapter.
pub struct Bench {
    gpu: Gpu,
    specs: Vec<CaseSpec>,
}

/// Why there is nothing to bench.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No adapter.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A built-in model is broken.
    #[error(transparent)]
    Plan(#[from] planning::PlanError),
    /// A case is wrong on this device.
    #[error("{id}: {problem}")]
    Case {
        /// The case.
        id: String,
        /// What went wrong.
        problem: String,
    },
}

/// Multiply-adds of the twin that the verification of one case may cost.
const EFFORT: u64 = 1_000_000;
/// Runs in one submission, so that none of them nears a watchdog.
const RUNS_AT_ONCE: u64 = 64;

impl Bench {
    /// Opens the best adapter: `smoke` shapes on a software one, `quick` ones else.
    ///
    /// # Errors
    /// [`BenchError`] where there is no adapter.
    pub fn open(family: Family) -> Result<Self, BenchError> {
        let gpu = gpu::select(&AdapterChoice::default())?.open(false)?;
        let software = gpu.info.device_type == DeviceType::Software;
        let preset = if software { Preset::Smoke } else { Preset::Quick };
        let mut specs = planning::specs(preset, &Capacity::unlimited())?;
        specs.extend(square_cases());
        specs.retain(|spec| {
            spec.family == family
                && features::missing(&spec.kernel.plan(spec.variant, spec.element), &gpu.info).is_none()
        });
        Ok(Self { gpu, specs })
    }

    /// Name of the device.
    pub fn device_name(&self) -> &str {
        &self.gpu.info.name
    }

    /// The cases.
    pub fn specs(&self) -> &[CaseSpec] {
        &self.specs
    }

    /// Verifies a case and leaves it ready to be timed.
    ///
    /// # Errors
    /// [`BenchError::Case`] where the device refuses it or the result is wrong: no speed without a right result.
    pub fn case(&self, spec: &CaseSpec) -> Result<BenchCase<'_>, BenchError> {
        let case = KernelCase { kernel: spec.kernel.as_ref(), variant: spec.variant, storage: spec.element };
        let plan = case.plan();
        let sets = planning::buffer_sets(&plan, planning::rotation_bytes(&self.gpu.info, None), CacheState::Cold);
        let fail = |error: RunError| BenchError::Case { id: spec.id(), problem: error.to_string() };
        let mut computed = computed(&self.gpu, &case, 1, sets, &mut Made::default()).map_err(fail)?;
        computed.right(&self.gpu, &case, EFFORT).map_err(fail)?;
        Ok(BenchCase { work: plan.work, prepared: computed.prepared })
    }
}

/// A verified case.
pub struct BenchCase<'a> {
    /// What one run does.
    pub work: Work,
    prepared: Box<dyn Prepared + 'a>,
}

impl BenchCase<'_> {
    /// Device time of `runs` runs together; wall time where the device has no timestamps.
    ///
    /// # Errors
    /// [`LaunchError`] where the device fails.
    pub fn time(&mut self, runs: u64) -> Result<Duration, LaunchError> {
        let mut total = Duration::ZERO;
        let mut left = runs;
        while left > 0 {
            let now = left.min(RUNS_AT_ONCE);
            let lap = self.prepared.run(u32::try_from(now).unwrap_or(1))?;
            total += Duration::from_secs_f64(lap.device.unwrap_or(lap.wall).get());
            left -= now;
        }
        Ok(total)
    }
}
