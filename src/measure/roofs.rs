//! A timed case under the measured roofs.

use std::collections::BTreeMap;

use super::planning::PlannedCase;
use super::run::Run;
use crate::kernels::{Operation, Plan, Work};
use crate::record::{Achieved, Bound, CacheState, Case, Caveat, CeilingKind, Part, Record, Timing, Tuning};
use crate::units::{Flop, Seconds};

/// What a kernel must do at least, by the unit that does it.
pub(super) struct Limits<'a> {
    pub(super) work: &'a Work,
    pub(super) operations: &'a BTreeMap<Operation, Flop>,
    pub(super) launches: usize,
    pub(super) cache: CacheState,
}

impl<'a> Limits<'a> {
    pub(super) fn of_case(plan: &'a Plan, operations: &'a BTreeMap<Operation, Flop>, cache: CacheState) -> Self {
        Self { work: &plan.work, operations, launches: plan.launches.len(), cache }
    }

    /// The least time that the measured roofs allow, and which of them sets it. Units may work side by side, but one
    /// after the other is what launches in order do: their times add up.
    pub(super) fn roofline(&self, record: &Record) -> (Seconds, Bound) {
        let compute = self
            .operations
            .iter()
            .filter_map(|(operation, flop)| record.operation_ceiling(*operation).map(|(_, rate)| *flop / rate))
            .sum();
        let memory = record.traffic_ceiling(self.cache).map_or(Seconds::ZERO, |(_, rate)| self.work.bytes() / rate);
        let launch = record.launch_cost().map_or(Seconds::ZERO, |cost| cost * self.launches as f64);
        [(compute, Bound::Compute), (memory, Bound::Memory), (launch, Bound::Launch)]
            .into_iter()
            .fold((Seconds::ZERO, Bound::Launch), |best, next| if next.0 > best.0 { next } else { best })
    }

    /// The share of each ceiling that a run of this length reaches. The matrix unit's is told for all f16 arithmetic,
    /// whether the kernel uses it or not; memory's is told for warm cases too.
    pub(super) fn fractions(&self, time: Seconds, record: &Record) -> BTreeMap<CeilingKind, f64> {
        let mut fractions = BTreeMap::new();
        if !time.is_positive() {
            return fractions;
        }
        for (operation, flop) in self.operations {
            if let Some((kind, rate)) = record.operation_ceiling(*operation).filter(|(_, rate)| rate.is_positive()) {
                *fractions.entry(kind).or_insert(0.0) += (*flop / rate) / time;
            }
            let matrix = record.operation_ceiling(Operation::MatrixF16).filter(|(_, rate)| rate.is_positive());
            if let (Operation::F16, Some((kind, rate))) = (*operation, matrix) {
                *fractions.entry(kind).or_insert(0.0) += (*flop / rate) / time;
            }
        }
        let traffic = [CacheState::Cold, self.cache].map(|cache| record.traffic_ceiling(cache));
        for (kind, rate) in traffic.into_iter().flatten().filter(|(_, rate)| rate.is_positive()) {
            fractions.insert(kind, (self.work.bytes() / rate) / time);
        }
        if let Some(cost) = record.launch_cost().filter(|cost| cost.is_positive()) {
            fractions.insert(CeilingKind::Launch, cost * self.launches as f64 / time);
        }
        fractions
    }

    fn achieved(&self, median: Seconds, record: &Record) -> Achieved {
        let (roofline_s, bound_by) = self.roofline(record);
        Achieved {
            flop_per_s: self.work.flop / median,
            bytes_per_s: self.work.bytes() / median,
            roofline_s,
            fraction_of_roofline: roofline_s / median,
            bound_by,
            fractions: self.fractions(median, record),
        }
    }
}

/// Bytes of all inputs.
pub(super) fn input_bytes(plan: &Plan) -> u64 {
    let inputs = plan.buffers.iter().filter(|buffer| buffer.role == crate::kernels::Role::Input);
    inputs.map(|buffer| buffer.size_bytes).sum()
}

/// A measured case as the document holds it.
pub(super) fn case(
    planned: &PlannedCase,
    variant: &str,
    plan: &Plan,
    run: Run,
    tuning: Option<Tuning>,
    record: &Record,
) -> Case {
    let spec = &planned.spec;
    let operations = plan.operations();
    let limits = Limits::of_case(plan, &operations, planned.cache);
    let achieved = limits.achieved(run.sampled.timing.median_s, record);
    let mut caveats = run.sampled.caveats;
    let rotated = input_bytes(plan) * u64::from(run.sampled.timing.buffer_sets);
    if planned.cache == CacheState::Cold && rotated < record.protocol.rotation_bytes {
        caveats.push(Caveat::Cached { rotation_bytes: rotated });
    }
    // A warm case may beat the memory; a launch of this kernel may cost less than the empty one of the probe.
    let binding = achieved.fractions.iter().filter(|(kind, _)| match kind {
        CeilingKind::Launch => achieved.bound_by == Bound::Launch,
        CeilingKind::MemoryRead | CeilingKind::MemoryCopy => planned.cache == CacheState::Cold,
        _ => true,
    });
    caveats.extend(
        binding
            .filter(|(_, fraction)| **fraction > 1.0)
            .map(|(kind, fraction)| Caveat::AboveCeiling { ceiling: *kind, fraction: *fraction }),
    );
    Case {
        id: planned.id.clone(),
        family: spec.kernel.family(),
        kernel: spec.kernel.name().to_owned(),
        variant: variant.to_owned(),
        element: spec.element,
        model: spec.model.clone(),
        phase: spec.phase,
        scale_divisor: spec.scale_divisor,
        shape: spec.kernel.shape(),
        cache: planned.cache,
        work: plan.work,
        issued_flop: plan.work.flop.is_positive().then_some(plan.issued_flop),
        tokens_per_expert: run.tokens_per_expert.unwrap_or_default(),
        verification: run.verification,
        achieved,
        timing: run.sampled.timing,
        tuning,
        parts: parts(plan, &run.parts, planned.cache, record),
        caveats,
        operations,
    }
}

fn parts(plan: &Plan, timings: &[Timing], cache: CacheState, record: &Record) -> Vec<Part> {
    let part = |(part, timing): (&crate::kernels::PartOf, &Timing)| {
        let launches = part.launches.len();
        let limits = Limits { work: &part.work, operations: &part.operations, launches, cache };
        let (roofline_s, bound_by) = limits.roofline(record);
        Part {
            kernel: part.kernel.to_owned(),
            variant: part.variant.to_owned(),
            launches: u32::try_from(launches).unwrap_or(u32::MAX),
            work: part.work,
            median_s: timing.median_s,
            ci95_s: timing.ci95_s,
            roofline_s,
            bound_by,
        }
    };
    plan.parts.iter().zip(timings).map(part).collect()
}
