//! What the measured roofs of a device allow, and which share of each a run reaches.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::kernels::{Operation, Plan, StorageType, Work};
use crate::record::{Achieved, Bound, CacheState, CeilingKind, Record};
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
        Self { work: &plan.work, operations, int8, launches, cache, input: Bytes::new(plan.input_bytes() as f64) }
    }

    /// The least time that the measured roofs allow, and which of them sets it. The times of several arithmetic units add
    /// up, because launches run one after the other.
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
    pub(super) fn missing(&self, record: &Record) -> Vec<CeilingKind> {
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
    pub(super) fn uses(&self, kind: CeilingKind, record: &Record) -> bool {
        self.operations
            .keys()
            .any(|operation| record.operation_ceiling(*operation).is_some_and(|(roof, _)| roof == kind))
    }

    /// The share of each ceiling that a run of this length reaches. f16 work is also compared with the matrix unit's roof,
    /// and int8 work with the packed dot product's, even if the kernel does not use them. Warm cases are also compared
    /// with main memory.
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

    pub(super) fn achieved(&self, median: Seconds, record: &Record) -> Achieved {
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

/// The arithmetic of some launches, where they take int8 operands.
pub(super) fn int8_flop(plan: &Plan, launches: Range<usize>, operations: &BTreeMap<Operation, Flop>) -> Flop {
    let takes_int8 = plan.launches[launches].iter().any(|launch| launch.element == StorageType::Int8);
    if takes_int8 { operations.values().copied().sum() } else { Flop::ZERO }
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::super::{fake, into_record};
    use super::*;
    use crate::kernels::Kernel;
    use crate::kernels::matmul::Matmul;
    use crate::record::{CachePoint, Ceiling, Clock, LastLevelCache, Preset, Selection, Timing, Verification};
    use crate::units::BytesPerSecond;

    fn ceiling(value: f64) -> Ceiling {
        let time = Seconds::new(1e-3);
        let verification = Verification::exact();
        let timing = Timing::of(vec![time]);
        Ceiling::of(value, Work::default(), verification, timing)
    }

    /// Memory of 100 GB/s, a cache of 8 MiB that gives 400 GB/s up to 4 MiB and 200 GB/s beyond, f32 of 1 TFLOP/s, dot
    /// products of 4 Top/s, launches of 1 us.
    fn record() -> Record {
        let options = Options {
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
        let protocol = into_record::protocol(Preset::Smoke, why, Clock::Device, &fake::device(), &ceilings, &options);
        let mut record = into_record::document(&fake::device(), protocol, None);
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
        // Documents of version 3 kept the fastest working set alone, here 4 MiB.
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
        for (variant, unit) in [("blocked_8x64", CeilingKind::DotI8), ("subgroup_16x64", CeilingKind::FmaF32)] {
            let plan = Matmul::dense(64, 256, 256).plan(variant, StorageType::Int8);
            let operations = plan.operations();
            let limits = Limits::of_case(&plan, &operations, CacheState::Cold);
            let time = plan.work.flop / crate::units::FlopPerSecond::new(1e12);
            let fractions = limits.fractions(time, &record);
            assert!((fractions[&CeilingKind::DotI8] - 0.25).abs() < 1e-9, "{variant} {fractions:?}");
            assert!(limits.uses(unit, &record), "{variant}");
            assert_eq!(fractions.contains_key(&CeilingKind::FmaF32), unit == CeilingKind::FmaF32);
        }
        let plan = Matmul::dense(64, 256, 256).plan("blocked_64x64", StorageType::F32);
        let operations = plan.operations();
        let fractions = Limits::of_case(&plan, &operations, CacheState::Cold).fractions(Seconds::new(1.0), &record);
        assert!(!fractions.contains_key(&CeilingKind::DotI8));
    }

    #[test]
    fn roofs_that_a_case_needs_and_the_document_lacks_are_named() {
        let mut record = record();
        let plan = Matmul::dense(64, 256, 256).plan("blocked_64x64", StorageType::F32);
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
