//! What becomes of a run in the record: the document before its first case, and each case as it is measured.

use std::collections::BTreeMap;

use super::host;
use super::options::Options;
use super::planning::{PlannedCase, rotation_bytes, within};
use super::roofs::{Limits, int8_flop};
use super::verify::MeasuredCase;
use crate::kernels::{PartOf, Plan};
use crate::record::{
    Bound, CacheState, Case, Caveat, Ceiling, CeilingKind, Clock, Device, DeviceType, LayerPart, Preset, Protocol,
    Record, Reference, RuntimeChecks, SCHEMA_VERSION, Selection, Timing, Tool, Tuning,
};
use crate::units::Seconds;

/// How a run is made; `rotation_bytes` follows the measured last-level cache.
pub(super) fn protocol(
    preset: Preset,
    preset_reason: String,
    clock: Clock,
    device: &Device,
    ceilings: &BTreeMap<CeilingKind, Ceiling>,
    options: &Options,
) -> Protocol {
    let cache = ceilings.get(&CeilingKind::CacheRead).and_then(|roof| roof.last_level_cache?.bytes());
    let software = device.device_type == DeviceType::Software;
    Protocol {
        preset,
        preset_reason,
        selection: options.selection.clone(),
        seed: options.seed,
        clock,
        clock_steps: None,
        runtime_checks: RuntimeChecks::native(options.runtime_checks),
        rotation_bytes: rotation_bytes(&within(Some(preset), device), cache),
        target_relative_ci: if software { 0.05 } else { 0.01 },
        sample_budget_s: Seconds::new(match preset {
            // Many times as many cases in the same minutes.
            Preset::Smoke if options.selection == Selection::AllVariants => 0.12,
            Preset::Smoke | Preset::Phone | Preset::Laptop => 0.4,
            Preset::Quick | Preset::Desktop => 0.5,
            Preset::Full => 1.0,
        }),
    }
}

/// A document without cases, plan and ceilings.
pub(super) fn document(device: &Device, protocol: Protocol, reference: Option<Reference>) -> Record {
    let (host, mut protocol, mut caveats) = (host::describe(), protocol, Vec::new());
    if device.device_type == DeviceType::Software {
        caveats.push(Caveat::SoftwareAdapter);
    }
    if host.browser.is_some() {
        // It takes no wish about checks.
        protocol.runtime_checks = RuntimeChecks::Browser;
        caveats.push(Caveat::Browser);
    }
    if protocol.clock == Clock::Wall {
        caveats.push(Caveat::WallClock);
    }
    Record {
        schema_version: SCHEMA_VERSION,
        complete: false,
        created_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        tool: Tool::this(),
        host,
        device: device.clone(),
        protocol,
        caveats,
        ceilings: BTreeMap::new(),
        reference,
        time_spent: None,
        planned: Vec::new(),
        cases: Vec::new(),
        left_out: Vec::new(),
        rejected: Vec::new(),
    }
}

/// A measured case as the document holds it.
pub(super) fn case(
    planned: &PlannedCase,
    variant: &str,
    plan: &Plan,
    measured: MeasuredCase,
    tuning: Option<Tuning>,
    record: &Record,
) -> Case {
    let spec = &planned.spec;
    let operations = plan.operations();
    let limits = Limits::of_case(plan, &operations, planned.cache);
    let achieved = limits.achieved(measured.sampled.timing.median_s, record);
    let mut caveats = measured.sampled.caveats;
    let rotated = plan.input_bytes() * u64::from(measured.sampled.timing.buffer_sets);
    if planned.cache == CacheState::Cold && rotated < record.protocol.rotation_bytes {
        caveats.push(Caveat::Cached { rotation_bytes: rotated });
    }
    caveats.extend(limits.missing(record).into_iter().map(|ceiling| Caveat::MissingCeiling { ceiling }));
    // A warm case may beat the memory. A launch of this kernel may cost less than the probe's empty one. A unit that the
    // kernel does not use may be a slow one.
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
        tokens_per_expert: measured.tokens_per_expert.unwrap_or_default(),
        verification: measured.verification,
        achieved,
        timing: measured.sampled.timing,
        tuning,
        parts: parts(plan, &measured.parts, planned.cache, record),
        caveats,
        operations,
    }
}

fn parts(plan: &Plan, timings: &[Timing], cache: CacheState, record: &Record) -> Vec<LayerPart> {
    let part = |(part, timing): (&PartOf, &Timing)| {
        let launches = part.launches.len();
        let (work, operations) = (&part.work, &part.operations);
        let int8 = int8_flop(plan, part.launches.clone(), operations);
        let limits = Limits { work, operations, int8, launches, cache, input: work.bytes_read };
        let (roofline_s, bound_by) = limits.roofline(record);
        LayerPart {
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
