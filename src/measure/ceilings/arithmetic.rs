//! Roofs of the units that multiply.

use super::bench::{Attempt, ProbeBench, ends_the_search, shortest};
use crate::kernels::probes::{DotProbe, FMA_WORKGROUPS, FmaForm, FmaProbe, MATRIX_WORKGROUP, MatrixProbe};
use crate::kernels::{Kernel, StorageType};
use crate::measure::features;
use crate::measure::verify::RunError;
use crate::measure::{LaunchError, Prepared};
use crate::record::{Ceiling, CeilingKind, Device};
use crate::units::{FlopPerSecond, Seconds};

/// The time that a probe of arithmetic should take: far above the cost of a launch, far below any watchdog.
const ARITHMETIC_TIME: Seconds = Seconds::new(10e-3);
/// Enough threads to fill any device of today.
const MAX_INVOCATIONS: usize = 1 << 19;
/// Enough subgroups to fill any device of today.
const MAX_SUBGROUPS: usize = 1 << 14;
/// The smallest subgroups that a matrix kernel is run with.
const MIN_LANES: usize = 8;
const MAX_ROUNDS: usize = 1 << 14;
/// Laps in which forms of a probe take turns, so that a clock that rises meanwhile favours none.
const PASSES: usize = 4;

/// Why the device has no such unit.
pub(super) fn lacks(kind: CeilingKind, device: &Device) -> Option<String> {
    match kind {
        CeilingKind::FmaF16 => features::missing(&FmaForm::Chains.probe(64, 1).plan("probe", StorageType::F16), device),
        CeilingKind::MatrixF16 => matrix_size(device).err(),
        _ => None,
    }
}

/// The largest f16 matrices that the adapter multiplies into f32 sums, or why there are none.
fn matrix_size(device: &Device) -> Result<usize, String> {
    let mut reason = String::new();
    for size in [16, 8] {
        let probe = MatrixProbe { size, workgroups: 1, subgroup: MIN_LANES, rounds: 1 };
        match features::missing(&probe.plan("probe", StorageType::F32), device) {
            None => return Ok(size),
            Some(missing) if reason.is_empty() => reason = missing,
            Some(_) => {}
        }
    }
    Err(reason)
}

/// One form of the multiply-add probe, in one size of workgroups.
struct Contender {
    form: FmaForm,
    probe: FmaProbe,
    variant: &'static str,
    workgroup: u32,
}

impl ProbeBench<'_> {
    /// The faster form of the multiply-add probe, in the faster size of workgroups.
    pub(super) fn fma(&self, kind: CeilingKind, element: StorageType) -> Result<Ceiling, RunError> {
        let mut problem = None;
        let mut contenders = Vec::new();
        for form in FmaForm::ALL {
            match self.sized(|threads, rounds| form.probe(threads, rounds), [4096, MAX_INVOCATIONS], 32, element) {
                Ok(probe) => contenders.extend(FMA_WORKGROUPS.map(|(variant, workgroup)| Contender {
                    form,
                    probe,
                    variant,
                    workgroup,
                })),
                Err(error) if ends_the_search(&error) => return Err(error),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        for contender in self.ranked(contenders, element, &mut problem)? {
            let Contender { form, probe, variant, workgroup } = contender;
            match self.measured(kind, Attempt::of_variant(&probe, variant, element)) {
                Ok(ceiling) => return Ok(Ceiling { form: Some(form), workgroup: Some(workgroup), ..ceiling }),
                Err(error) if ends_the_search(&error) => return Err(error),
                // A wrong result is no roof; the next fastest may be one.
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        Err(problem.unwrap_or(RunError::Interrupted))
    }

    /// Those that run, fastest first.
    fn ranked(
        &self,
        contenders: Vec<Contender>,
        element: StorageType,
        problem: &mut Option<RunError>,
    ) -> Result<Vec<Contender>, RunError> {
        let mut running: Vec<(Contender, Box<dyn Prepared + '_>, Seconds)> = Vec::new();
        for contender in contenders {
            let attempt = Attempt::of_variant(&contender.probe, contender.variant, element);
            match self.prepared(attempt) {
                Ok(prepared) => running.push((contender, prepared, Seconds::new(f64::INFINITY))),
                Err(error) if error.ends_the_device() => return Err(error.into()),
                Err(error) => *problem = problem.take().or(Some(error.into())),
            }
        }
        for _ in 0..PASSES {
            for (_, prepared, least) in &mut running {
                let lap = prepared.run(1)?;
                *least = least.min(lap.device.unwrap_or(lap.wall));
            }
        }
        let rate = |(contender, _, time): &(Contender, _, Seconds)| -> FlopPerSecond {
            contender.probe.plan(contender.variant, element).work.flop / *time
        };
        running.sort_by(|a, b| rate(b).get().total_cmp(&rate(a).get()));
        Ok(running.into_iter().map(|(contender, ..)| contender).collect())
    }

    pub(super) fn dot(&self) -> Result<Ceiling, RunError> {
        let probe = |invocations, rounds| DotProbe { invocations, rounds };
        let probe = self.sized(probe, [4096, MAX_INVOCATIONS], 32, StorageType::F32)?;
        self.measured(CeilingKind::DotI8, Attempt::of(&probe, StorageType::F32))
    }

    pub(super) fn matrix(&self) -> Result<Ceiling, RunError> {
        let size = matrix_size(self.device).map_err(LaunchError::Refused)?;
        let subgroups = self.subgroups(size)?;
        let subgroup = MATRIX_WORKGROUP / subgroups;
        let probe = |workgroups, rounds| MatrixProbe { size, workgroups, subgroup, rounds };
        let probe = self.sized(probe, [64, MAX_SUBGROUPS / subgroups], 8, StorageType::F32)?;
        self.measured(CeilingKind::MatrixF16, Attempt::of(&probe, StorageType::F32))
    }

    /// Subgroups of a workgroup of the matrix probe, as the device itself says.
    fn subgroups(&self, size: usize) -> Result<usize, RunError> {
        let most = MATRIX_WORKGROUP / MIN_LANES;
        let probe = MatrixProbe { size, workgroups: 1, subgroup: MIN_LANES, rounds: 1 };
        let mut prepared = self.prepared(Attempt::of(&probe, StorageType::F32))?;
        prepared.run(1)?;
        let bytes = prepared.read("ran")?;
        let ran = bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        let known = usize::try_from(ran).ok().filter(|ran| (1..=most).contains(ran));
        let problem = || format!("a workgroup of {MATRIX_WORKGROUP} invocations says that it has {ran} subgroups");
        Ok(known.ok_or_else(|| LaunchError::Refused(problem()))?)
    }

    /// Finds a size that takes [`ARITHMETIC_TIME`]: threads first, from the least to the most, until the device is full,
    /// then rounds.
    fn sized<P: Kernel>(
        &self,
        probe: impl Fn(usize, usize) -> P,
        [mut threads, most]: [usize; 2],
        mut rounds: usize,
        element: StorageType,
    ) -> Result<P, RunError> {
        loop {
            let candidate = probe(threads, rounds);
            let time = shortest(self.prepared(Attempt::of(&candidate, element))?.as_mut())?;
            if time >= ARITHMETIC_TIME || rounds >= MAX_ROUNDS {
                return Ok(candidate);
            }
            if threads < most {
                threads = (threads * 4).min(most);
            } else {
                rounds *= 4;
            }
        }
    }
}
