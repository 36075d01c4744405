//! A small record, built in code.

use std::collections::BTreeMap;

use supernode_bench::kernels::{Family, KernelPhase, StorageType, Work};
use supernode_bench::record::{
    Achieved, Bound, CacheState, Case, Ceiling, CeilingKind, Clock, Device, DeviceType, Host, Preset, Protocol, Record,
    SCHEMA_VERSION, Selection, Timing, Tool, Verification,
};
use supernode_bench::units::{Bytes, BytesPerSecond, Flop, FlopPerSecond, Seconds};

/// Its f32 ceiling, FLOP/s.
pub(crate) const PEAK: f64 = 20e12;
/// Its memory ceiling, bytes per second.
pub(crate) const BANDWIDTH: f64 = 500e9;

fn verification() -> Verification {
    Verification::exact()
}

fn timing(seconds: f64) -> Timing {
    let time = Seconds::new(seconds);
    Timing::of(vec![time])
}

fn case(family: Family, phase: KernelPhase, bound_by: Bound, fraction: f64) -> Case {
    let work = Work { flop: Flop::new(1e9), bytes_read: Bytes::new(1e6), bytes_written: Bytes::new(1e6) };
    Case {
        id: format!("{family}/k/v/f32/m/{phase}/{fraction}"),
        family,
        kernel: "k".to_owned(),
        variant: "v".to_owned(),
        element: StorageType::F32,
        model: "m".to_owned(),
        phase,
        scale_divisor: 1,
        shape: BTreeMap::new(),
        cache: CacheState::Cold,
        work,
        operations: BTreeMap::new(),
        issued_flop: None,
        tokens_per_expert: Vec::new(),
        verification: verification(),
        timing: timing(1e-3),
        achieved: Achieved {
            flop_per_s: FlopPerSecond::new(1e12),
            bytes_per_s: BytesPerSecond::new(2e9),
            roofline_s: Seconds::new(1e-3 * fraction),
            fraction_of_roofline: fraction,
            bound_by,
            fractions: BTreeMap::new(),
        },
        tuning: None,
        parts: Vec::new(),
        caveats: Vec::new(),
    }
}

/// A device whose kernels reach half of the arithmetic and 0.8 of the memory ceiling.
pub(crate) fn record() -> Record {
    let ceiling = |value| Ceiling::of(value, Work::default(), verification(), timing(1e-3));
    let families = [Family::Gating, Family::ExpertMatmul, Family::Attention];
    let cases = families.into_iter().flat_map(|family| {
        [case(family, KernelPhase::Prefill, Bound::Compute, 0.5), case(family, KernelPhase::Decode, Bound::Memory, 0.8)]
    });
    Record {
        schema_version: SCHEMA_VERSION,
        complete: true,
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        tool: Tool { name: "supernode-bench".to_owned(), version: "0.1.0".to_owned(), git_commit: None },
        host: Host { os: "os".to_owned(), cpu: "cpu".to_owned(), logical_cpus: 1, memory_bytes: 1 },
        device: Device {
            name: "test device".to_owned(),
            vendor: "nobody".to_owned(),
            vendor_id: 0,
            device_id: 0,
            driver: String::new(),
            driver_info: String::new(),
            backend: "vulkan".to_owned(),
            device_type: DeviceType::Discrete,
            features: Vec::new(),
            limits: BTreeMap::new(),
            ..Device::default()
        },
        protocol: Protocol {
            preset: Preset::Quick,
            preset_reason: "asked for".to_owned(),
            selection: Selection::AllVariants,
            seed: 1,
            clock: Clock::Device,
            runtime_checks: true,
            rotation_bytes: 1 << 30,
            target_relative_ci: 0.02,
            sample_budget_s: Seconds::new(1.0),
        },
        caveats: Vec::new(),
        ceilings: BTreeMap::from([
            (CeilingKind::FmaF32, ceiling(PEAK)),
            (CeilingKind::MemoryRead, ceiling(BANDWIDTH)),
            (CeilingKind::Launch, ceiling(0.0)),
        ]),
        planned: Vec::new(),
        cases: cases.collect(),
        reference: None,
        time_spent: None,
        left_out: Vec::new(),
        rejected: Vec::new(),
    }
}
