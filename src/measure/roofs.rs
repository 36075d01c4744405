//! A timed case under the measured roofs.

use std::collections::BTreeMap;
use std::ops::Range;

use super::planning::PlannedCase;
use super::run::Run;
use crate::kernels::{Element, Operation, Plan, Role, Work};
use crate::record::{Achieved, Bound, CacheState, Case, Caveat, CeilingKind, Part, Record, Timing, Tuning};
use crate::units::{Bytes, Flop, Seconds};

/// What a kernel must do at least, by the unit that does it.
pub(super) struct Limits<'a> {
    pub(super) work: &'a Work,
    pub(super) operations: &'a BTreeMap<Operation, Flop>,
    /// Arithmetic on int8 operands, whichever unit does it.
    pub(super) int8: Flop,
    pub(super) launches: usize,
    pub(super) cache: CacheState,
    /// What a warm run finds in a cache, if it fits one.
    pub(super) input: Bytes,
}

impl<'a> Limits<'a> {
    pub(super) fn of_case(plan: &'a Plan, operations: &'a BTreeMap<Operation, Flop>, cache: CacheState) -> Self {
        let launches = plan.launches.len();
        let int8 = int8_flop(plan, 0..launches, operations);
        Self { work: &plan.work, operations, int8, launches, cache, input: Bytes::new(input_bytes(plan) as f64) }
    }

    /// The least time that the measured roofs allow, and which of them sets it. Units may work side by side, but one
    /// after the other is what launches in order do: their times add up.
    pub(super) fn roofline(&self, record: &Record) -> (Seconds, Bound) {
        let compute = self
            .operations
            .iter()
            .filter_map(|(operation, flop)| record.operation_ceiling(*operation).map(|(_, rate)| *flop / rate))
            .sum();
        let traffic = record.traffic_ceiling(self.cache, self.input);
        let memory = traffic.map_or(Seconds::ZERO, |(_, rate)| self.work.bytes() / rate);
        let launch = record.launch_cost().map_or(Seconds::ZERO, |cost| cost * self.launches as f64);
        [(compute, Bound::Compute), (memory, Bound::Memory), (launch, Bound::Launch)]
            .into_iter()
            .fold((Seconds::ZERO, Bound::Launch), |best, next| if next.0 > best.0 { next } else { best })
    }

    /// Roofs that bound this work and that the device's document lacks.
    fn missing(&self, record: &Record) -> Vec<CeilingKind> {
        let operations = self.operations.iter().filter(|(_, flop)| flop.is_positive());
        let mut missing: Vec<CeilingKind> = operations
            .filter(|(operation, _)| record.operation_ceiling(**operation).is_none())
            .map(|(operation, _)| CeilingKind::of_operation(*operation)[0])
            .collect();
        if self.work.bytes().is_positive() && record.traffic_ceiling(self.cache, self.input).is_none() {
            missing.push(CeilingKind::MemoryRead);
        }
        if record.launch_cost().is_none() {
            missing.push(CeilingKind::Launch);
        }
        missing
    }

    /// Whether an arithmetic roof is that of a unit that does some of the work.
    fn uses(&self, kind: CeilingKind, record: &Record) -> bool {
        self.operations
            .keys()
            .any(|operation| record.operation_ceiling(*operation).is_some_and(|(roof, _)| roof == kind))
    }

    /// The share of each ceiling that a run of this length reaches. The matrix unit's is told for all f16 arithmetic, and
    /// the packed dot product's for all int8, whether the kernel uses it or not; memory's is told for warm cases too.
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
        let dot = record.operation_ceiling(Operation::DotI8).filter(|(_, rate)| rate.is_positive());
        if let Some((kind, rate)) = dot.filter(|_| self.int8.is_positive()) {
            fractions.insert(kind, (self.int8 / rate) / time);
        }
        let traffic = [CacheState::Cold, self.cache].map(|cache| record.traffic_ceiling(cache, self.input));
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
    let inputs = plan.buffers.iter().filter(|buffer| buffer.role == Role::Input);
    inputs.map(|buffer| buffer.size_bytes).sum()
}

/// The arithmetic of some launches, where they take int8 operands.
fn int8_flop(plan: &Plan, launches: Range<usize>, operations: &BTreeMap<Operation, Flop>) -> Flop {
    let takes_int8 = plan.launches[launches].iter().any(|launch| launch.element == Element::Int8);
    if takes_int8 { operations.values().copied().sum() } else { Flop::ZERO }
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
    caveats.extend(limits.missing(record).into_iter().map(|ceiling| Caveat::MissingCeiling { ceiling }));
    // A warm case may beat the memory, a launch of this kernel may cost less than the empty one of the probe, and a unit that
    // the kernel does not use may be a slow one.
    let binding = achieved.fractions.iter().filter(|(kind, _)| match kind {
        CeilingKind::Launch => achieved.bound_by == Bound::Launch,
        CeilingKind::MemoryRead | CeilingKind::MemoryCopy => planned.cache == CacheState::Cold,
        CeilingKind::DotI8 | CeilingKind::MatrixF16 => limits.uses(**kind, record),
        _ => true,
    });
    caveats.extend(
        binding
            .filter(|(_, fraction)| **fraction > 1.0)
            .map(|(kind, fraction)| Caveat::AboveCeiling { ceiling: *kind, fraction: *fraction }),
    );
    Case {
        id: planned.id.clone(),
        family: spec.family,
        kernel: spec.kernel.name().to_owned(),
        variant: variant.to_owned(),
        element: spec.element,
        model: spec.label.clone(),
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
        let (work, operations) = (&part.work, &part.operations);
        let int8 = int8_flop(plan, part.launches.clone(), operations);
        let limits = Limits { work, operations, int8, launches, cache, input: work.bytes_read };
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

#[cfg(test)]
mod tests {
    use super::super::{document, fake, session};
    use super::*;
    use crate::kernels::Kernel;
    use crate::kernels::matmul::Matmul;
    use crate::record::{CachePoint, Ceiling, Clock, LastLevelCache, Metric, Preset, Selection, Verification};
    use crate::units::BytesPerSecond;

    fn ceiling(value: f64) -> Ceiling {
        let time = Seconds::new(1e-3);
        let verification = Verification {
            metric: Metric::Exact,
            value: 0.0,
            tolerance: 0.0,
            worst_error: 0.0,
            worst_tolerance: 0.0,
            checked: 1,
            total: 1,
            worst: None,
        };
        let timing = Timing {
            clock: Clock::Device,
            runs_per_sample: 1,
            buffer_sets: 1,
            warmup_runs: 1,
            samples_s: vec![time],
            median_s: time,
            mad_s: Seconds::ZERO,
            ci95_s: [time, time],
            wall_median_s: time,
            cpu_median_s: None,
        };
        Ceiling {
            value,
            work: Work::default(),
            working_set_bytes: None,
            form: None,
            workgroup: None,
            points: Vec::new(),
            last_level_cache: None,
            verification,
            timing,
        }
    }

    /// Memory of 100 GB/s, a cache of 8 MiB that gives 400 GB/s up to 4 MiB and 200 GB/s beyond, f32 of 1 TFLOP/s, dot
    /// products of 4 Top/s, launches of 1 us.
    fn record() -> Record {
        let options = session::Options {
            preset: Some(Preset::Smoke),
            seed: 1,
            only: Vec::new(),
            runtime_checks: false,
            resume: false,
            selection: Selection::Tuned,
            tuning_cache: None,
            retune: false,
        };
        let point = |mib: u32, rate: f64| CachePoint {
            working_set_bytes: Bytes::new(f64::from(mib << 20)),
            bytes_per_s: BytesPerSecond::new(rate),
            invocations: 16_384,
        };
        let points = vec![point(2, 390e9), point(4, 400e9), point(8, 200e9), point(16, 101e9)];
        let cache = Ceiling {
            working_set_bytes: Some(points[1].working_set_bytes),
            last_level_cache: Some(LastLevelCache::Measured { bytes: points[2].working_set_bytes }),
            points,
            ..ceiling(400e9)
        };
        let ceilings = BTreeMap::from([
            (CeilingKind::FmaF32, ceiling(1e12)),
            (CeilingKind::DotI8, ceiling(4e12)),
            (CeilingKind::MemoryRead, ceiling(100e9)),
            (CeilingKind::CacheRead, cache),
            (CeilingKind::Launch, ceiling(1e-6)),
        ]);
        let why = "asked for".to_owned();
        let protocol = document::protocol(Preset::Smoke, why, Clock::Device, &fake::device(), &ceilings, &options);
        let mut record = document::document(&fake::device(), protocol, None, Vec::new());
        record.ceilings = ceilings;
        record
    }

    #[test]
    fn a_warm_case_is_judged_by_the_cache_only_where_its_inputs_fit_it() {
        let record = record();
        let operations = BTreeMap::new();
        let judged = |cache: CacheState, mib: u32| {
            let input = Bytes::new(f64::from(mib << 20));
            let work = Work { bytes_read: input, ..Work::default() };
            let limits = Limits { work: &work, operations: &operations, int8: Flop::ZERO, launches: 1, cache, input };
            let time = limits.roofline(&record).0;
            let kinds: Vec<CeilingKind> = limits.fractions(time, &record).into_keys().collect();
            ((input / time).get() * 1e-9, kinds.contains(&CeilingKind::CacheRead))
        };
        let near = |(rate, by_cache): (f64, bool), want: (f64, bool)| {
            assert!((rate - want.0).abs() < 1e-6 && by_cache == want.1, "{rate} {by_cache}, wanted {want:?}");
        };
        near(judged(CacheState::Warm, 1), (400.0, true));
        near(judged(CacheState::Warm, 4), (400.0, true));
        near(judged(CacheState::Warm, 6), (200.0, true));
        near(judged(CacheState::Warm, 9), (100.0, false));
        near(judged(CacheState::Warm, 256), (100.0, false));
        near(judged(CacheState::Cold, 1), (100.0, false));
    }

    #[test]
    fn a_cache_without_points_or_without_an_end_holds_what_was_read_or_nothing() {
        let mut record = record();
        let rate = |record: &Record, mib: u32| {
            record.traffic_ceiling(CacheState::Warm, Bytes::new(f64::from(mib << 20))).unwrap().1.get() * 1e-9
        };
        let edit = |record: &mut Record, edit: fn(&mut Ceiling)| {
            edit(record.ceilings.get_mut(&CeilingKind::CacheRead).unwrap());
        };
        // As documents of before kept it: the fastest working set, here 4 MiB.
        edit(&mut record, |roof| (roof.points, roof.last_level_cache) = (Vec::new(), None));
        assert_eq!([3, 4, 5].map(|mib| rate(&record, mib)), [400.0, 400.0, 100.0]);
        edit(&mut record, |roof| roof.last_level_cache = Some(LastLevelCache::NotSeen));
        assert_eq!(rate(&record, 1), 100.0);
        record.ceilings.clear();
        assert_eq!(record.traffic_ceiling(CacheState::Warm, Bytes::new(1.0)), None);
    }

    #[test]
    fn int8_is_shown_against_the_dot_product_whichever_unit_multiplies() {
        let record = record();
        for (variant, unit) in [("blocked_64x64", CeilingKind::DotI8), ("subgroup_16x256", CeilingKind::FmaF32)] {
            let plan = Matmul::dense(64, 256, 256).plan(variant, Element::Int8);
            let operations = plan.operations();
            let limits = Limits::of_case(&plan, &operations, CacheState::Cold);
            let time = plan.work.flop / crate::units::FlopPerSecond::new(1e12);
            let fractions = limits.fractions(time, &record);
            assert!((fractions[&CeilingKind::DotI8] - 0.25).abs() < 1e-9, "{variant} {fractions:?}");
            assert!(limits.uses(unit, &record), "{variant}");
            assert_eq!(fractions.contains_key(&CeilingKind::FmaF32), unit == CeilingKind::FmaF32);
        }
        let plan = Matmul::dense(64, 256, 256).plan("blocked_64x64", Element::F32);
        let operations = plan.operations();
        let fractions = Limits::of_case(&plan, &operations, CacheState::Cold).fractions(Seconds::new(1.0), &record);
        assert!(!fractions.contains_key(&CeilingKind::DotI8));
    }

    #[test]
    fn roofs_that_a_case_needs_and_the_document_lacks_are_named() {
        let mut record = record();
        let plan = Matmul::dense(64, 256, 256).plan("blocked_64x64", Element::F32);
        let operations = plan.operations();
        let limits = Limits::of_case(&plan, &operations, CacheState::Cold);
        assert_eq!(limits.missing(&record), []);
        record.ceilings.remove(&CeilingKind::FmaF32);
        assert_eq!(limits.missing(&record), [CeilingKind::FmaF32]);
        assert_eq!(limits.roofline(&record).1, Bound::Memory);
        record.ceilings.clear();
        assert_eq!(limits.missing(&record), [CeilingKind::FmaF32, CeilingKind::MemoryRead, CeilingKind::Launch]);
        assert_eq!(limits.roofline(&record).0, Seconds::ZERO);
    }
}
