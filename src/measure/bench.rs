//! What `cargo bench` needs of this module: prepared, verified cases that give device time for a number of runs.

use std::time::Duration;

use super::gpu::{self, Gpu, GpuError, Selection};
use super::session::SessionError;
use super::{Executor, LaunchError, Prepared, launch, planning, run};
use crate::kernels::cases::{Capacity, CaseSpec, square_cases};
use crate::kernels::{Family, Kernel, Work};
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
    /// No case.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A case is wrong on this device.
    #[error("{id}: {problem}")]
    Case {
        /// The case.
        id: String,
        /// What went wrong.
        problem: String,
    },
}

/// Runs in one submission, so that none of them nears a watchdog.
const RUNS_AT_ONCE: u64 = 64;

impl Bench {
    /// Opens the best adapter: `smoke` shapes on a software one, `quick` ones else.
    ///
    /// # Errors
    /// [`BenchError`] where there is no adapter.
    pub fn open(family: Family) -> Result<Self, BenchError> {
        let gpu = gpu::select(&Selection::default())?.open(false)?;
        let software = gpu.info.device_type == DeviceType::Software;
        let preset = if software { Preset::Smoke } else { Preset::Quick };
        let mut specs = planning::specs(preset, &Capacity::unlimited())?;
        specs.extend(square_cases());
        specs.retain(|spec| {
            spec.family == family && launch::missing(&spec.kernel.plan(spec.variant, spec.element), &gpu.info).is_none()
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
        let fail = |problem: String| BenchError::Case { id: spec.id(), problem };
        let kernel: &dyn Kernel = spec.kernel.as_ref();
        let verification = run::verify(&self.gpu, kernel, spec.variant, spec.element, 1, 1_000_000)
            .map_err(|error| fail(error.to_string()))?;
        if !verification.passed() {
            return Err(fail(run::RunError::Wrong(Box::new(verification)).to_string()));
        }
        let plan = kernel.plan(spec.variant, spec.element);
        let inputs = kernel.inputs(spec.variant, spec.element, 1);
        let sets = planning::buffer_sets(&plan, planning::rotation_bytes(&self.gpu.info, None), CacheState::Cold);
        let prepared = self.gpu.prepare(&plan, &inputs, sets).map_err(|error| fail(error.to_string()))?;
        Ok(BenchCase { work: plan.work, prepared })
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
