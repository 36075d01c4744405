//! A chip from a record: measured ceilings, and the share of them that the record's kernels reach.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kernels::{Family, KernelPhase, StorageType};
use crate::projection::caveat::{ProjectionCaveat, add_new};
use crate::projection::chip::{ByClass, ChipModel, ClassEfficiency, saturating_cores};
use crate::projection::costs::Costs;
use crate::record::{Bound, CacheState, Case, Caveat, CeilingKind, Record};
use crate::specs::{NumberType, Provenance, Sourced};
use crate::statistics::upper_median;

const NOT_IN_RECORD: &str = "not measured on this device";

impl ChipModel {
    /// From a record.
    ///
    /// - Peaks are the measured FMA ceilings, the bandwidth is the measured memory ceiling, and the launch is measured
    ///   too.
    /// - A class's share of a roof is the median over the record's shapes, each at its fastest variant. Low and high
    ///   are the extremes.
    /// - What a record cannot know is assumed, and a caveat says so.
    ///
    /// # Errors
    /// One line that says which ceiling the record lacks.
    pub fn from_record(record: &Record) -> Result<Self, String> {
        let bandwidth = record.memory_ceiling().filter(|rate| rate.is_positive());
        let bandwidth = bandwidth.ok_or("the record has no memory ceiling; measure the device again")?.get();
        let peaks = peaks(record)?;
        let mut caveats = general_caveats(record);
        let launch = record.launch_cost().filter(|time| time.get() >= 0.0 && time.is_finite()).map_or_else(
            || Sourced::assumed(5e-6, 1e-6, 20e-6, NOT_IN_RECORD),
            |time| measured(time.get(), None, "empty launch inside a batch"),
        );
        let costs = Costs::from_record(record);
        let efficiency = ByClass {
            attention: shares(record, Family::Attention, &mut caveats),
            prefill_attention: shares(record, Family::Attention, &mut Vec::new()),
            expert: shares(record, Family::ExpertMatmul, &mut caveats),
            dense: shares(record, Family::ExpertMatmul, &mut Vec::new()),
            gating: shares(record, Family::Gating, &mut caveats),
            vector: shares(record, Family::ExpertMatmul, &mut Vec::new()),
        };
        Ok(Self {
            name: record.device.name.clone(),
            peaks,
            bandwidth: measured(bandwidth, None, "memory ceiling: the faster of streaming read and copy"),
            capacity: Sourced::assumed(128e9, 128e9, 128e9, "as on a chip of the supernode; a record does not know it"),
            usable: Sourced::assumed(0.9, 0.9, 0.9, "the rest is left to the runtime and buffers"),
            scale_up: Sourced::assumed(392e9, 200e9, 450e9, "as on a chip of the supernode; a record does not know it"),
            launch,
            sustained_clock: Sourced::assumed(1.0, 0.85, 1.0, NOT_IN_RECORD),
            step: Sourced::assumed(1e-3, 0.3e-3, 3e-3, NOT_IN_RECORD),
            dies: Sourced::assumed(1.0, 1.0, 1.0, "a measured device is one rank"),
            power: None,
            communication_cores: Sourced::assumed(0.15, 0.0, 0.33, NOT_IN_RECORD),
            decode_communication_cores: Sourced::assumed(0.0, 0.0, 0.33, NOT_IN_RECORD),
            saturating_cores: saturating_cores(),
            splits_cores: false,
            cost_factor: measured(
                1.0,
                Some((1.0 / (1.0 + costs.spread()), 1.0 + costs.spread())),
                "noise of the samples and leave-one-out error of the interpolation",
            ),
            costs: Some(Arc::new(costs)),
            spread: None,
            operators: None,
            serving_framework: None,
            own_step: None,
            efficiency,
            caveats,
        })
    }
}

fn peaks(record: &Record) -> Result<BTreeMap<NumberType, Sourced>, String> {
    let types = [
        (NumberType::F32, StorageType::F32, CeilingKind::FmaF32),
        (NumberType::F16, StorageType::F16, CeilingKind::FmaF16),
    ];
    let has_cases = |element| record.cases.iter().any(|case| case.element == element);
    let mut peaks = BTreeMap::new();
    for (number_type, element, kind) in types {
        // Without cases in f16 the kernels ran in f32, and so does the projection.
        if element == StorageType::F16 && !has_cases(element) {
            continue;
        }
        let Some(rate) = record.fma_ceiling(element).filter(|rate| rate.is_positive()) else {
            continue;
        };
        let own = record.ceilings.contains_key(&kind);
        let source = if own { "FMA ceiling of the type" } else { "f32 FMA ceiling: f16 storage, f32 arithmetic" };
        peaks.insert(number_type, measured(rate.get(), None, source));
    }
    if peaks.is_empty() {
        return Err("the record has no arithmetic ceiling; measure the device again".to_owned());
    }
    Ok(peaks)
}

fn general_caveats(record: &Record) -> Vec<ProjectionCaveat> {
    let mut caveats = Vec::new();
    if record.is_software() {
        caveats.push(ProjectionCaveat::Record(Caveat::SoftwareAdapter));
    }
    for caveat in &record.caveats {
        add_new(&mut caveats, &[ProjectionCaveat::Record(caveat.clone())]);
    }
    if !record.complete {
        caveats.push(ProjectionCaveat::IncompleteRecord);
    }
    caveats.push(ProjectionCaveat::AssumedMemoryAndLinks);
    if record.cases.iter().any(|case| case.scale_divisor > 1) {
        caveats.push(ProjectionCaveat::ScaledLayers);
    }
    caveats.push(ProjectionCaveat::DenseAsExperts);
    caveats
}

fn shares(record: &Record, family: Family, caveats: &mut Vec<ProjectionCaveat>) -> ClassEfficiency<Sourced> {
    // The projection runs in f16 where the record has it; a family that was only measured in f32 lends that share.
    let has_f16 = record.cases.iter().any(|case| case.element == StorageType::F16);
    let element = if has_f16 { StorageType::F16 } else { StorageType::F32 };
    let share = |bound: Bound, phase: KernelPhase| {
        best_fractions(record, family, |case| case.element == element && case.achieved.bound_by == bound)
            .or_else(|| best_fractions(record, family, |case| case.element == element && case.phase == phase))
            .or_else(|| best_fractions(record, family, |case| case.achieved.bound_by == bound))
            .map(|(low, median, high)| measured(median, Some((low, high)), "share of the roofline, median over shapes"))
    };
    let compute = share(Bound::Compute, KernelPhase::Prefill);
    let memory = share(Bound::Memory, KernelPhase::Decode);
    let missing = compute.is_none() || memory.is_none();
    // One roof without cases takes the other's share; a family without any is assumed.
    let other = compute.clone().or_else(|| memory.clone());
    let fallback = other.unwrap_or_else(|| Sourced::assumed(0.5, 0.2, 0.8, "no case of this family in the record"));
    if missing {
        caveats.push(ProjectionCaveat::FewCases(family));
    }
    ClassEfficiency { compute: compute.unwrap_or_else(|| fallback.clone()), memory: memory.unwrap_or(fallback) }
}

/// Lowest, median and highest fraction of the roofline over shapes, each at its fastest variant.
fn best_fractions(record: &Record, family: Family, matches: impl Fn(&Case) -> bool) -> Option<(f64, f64, f64)> {
    let mut best = BTreeMap::new();
    // A warm case runs under the cache's roof, but inputs of a served model do not stay in a cache.
    let cold = |case: &&Case| case.family == family && case.cache == CacheState::Cold;
    for case in record.cases.iter().filter(cold).filter(|case| matches(case)) {
        let fraction = case.achieved.fraction_of_roofline;
        if case.achieved.bound_by == Bound::Launch || !fraction.is_finite() || fraction <= 0.0 {
            continue;
        }
        let key = (case.kernel.as_str(), case.model.as_str(), case.phase, &case.shape);
        let entry = best.entry(key).or_insert(fraction);
        *entry = fraction.max(*entry);
    }
    let mut fractions: Vec<f64> = best.into_values().collect();
    fractions.sort_unstable_by(f64::total_cmp);
    let median = upper_median(&fractions)?;
    Some((*fractions.first()?, median, *fractions.last()?))
}

fn measured(value: f64, band: Option<(f64, f64)>, source: &str) -> Sourced {
    Sourced {
        value,
        low: band.map(|(low, _)| low),
        high: band.map(|(_, high)| high),
        provenance: Provenance::Measured,
        source: source.to_owned(),
        checked: None,
        claimed: false,
    }
}
