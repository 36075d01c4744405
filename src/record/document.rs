//! The whole document, and what is looked up in it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::case::{CacheState, Case, LeftOut, Rejected};
use super::caveat::Caveat;
use super::ceiling::{Ceiling, CeilingKind};
use super::device::{Device, DeviceType, Host, Tool};
use super::protocol::{Protocol, Reference, TimeSpent};
use crate::kernels::{Family, Operation, StorageType};
use crate::units::{Bytes, BytesPerSecond, FlopPerSecond, Seconds};

/// The version of the document's layout. A reader refuses a newer one.
///
/// A document of an older version is read as it is: each field that came later has a default that says what its absence
/// means. When such a document is written again, it is one of the newest version.
///
/// - Version 2 added how variants were selected ([`Protocol::selection`]; before: all of them) and the reference kernel
///   ([`Record::reference`]; before: none). Of a case it added the state of the caches (before: cold), typed operations,
///   issued arithmetic, tuning, parts and the fraction of each ceiling (before: not recorded).
/// - Version 3 added the routing of the cases that make one ([`Case::tokens_per_expert`]; before: empty) and where the
///   time of the run went ([`Record::time_spent`]).
/// - Version 4 added compilation times and the duel of the two best variants (before: not recorded).
/// - Version 5 added runs in a browser ([`Host::browser`], checks that are the browser's own) and the steps of the clocks
///   ([`Protocol::clock_steps`]; before: no browser, steps not recorded).
pub const SCHEMA_VERSION: u32 = 5;

/// A result document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// False until every planned case is measured, left out or rejected.
    pub complete: bool,
    /// Start of the run, RFC 3339, UTC.
    pub created_at: String,
    /// What wrote the document.
    pub tool: Tool,
    /// The computer around the device.
    pub host: Host,
    /// The device that was measured.
    pub device: Device,
    /// How it was measured.
    pub protocol: Protocol,
    /// What bounds the whole run, for better or worse.
    pub caveats: Vec<Caveat>,
    /// Measured roofs, by kind.
    pub ceilings: BTreeMap<CeilingKind, Ceiling>,
    /// The fixed kernel that was timed between the cases, to see the device slow down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// Where the time went; absent in documents of version 1 and 2, and in those of runs that did not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_spent: Option<TimeSpent>,
    /// Ids of all cases of this preset on this device, in the order of measurement.
    pub planned: Vec<String>,
    /// Verified and timed kernel cases.
    pub cases: Vec<Case>,
    /// Cases that this device cannot run, and why.
    pub left_out: Vec<LeftOut>,
    /// Cases whose result was wrong or whose launch failed: never timed.
    pub rejected: Vec<Rejected>,
}

impl Record {
    /// The case with this id.
    pub fn case(&self, id: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.id == id)
    }

    /// How many cases the run was to have; those that it has, where the document names no plan.
    pub fn planned_count(&self) -> usize {
        self.planned.len().max(self.cases.len())
    }

    /// Whether a CPU posed as the GPU.
    pub fn is_software(&self) -> bool {
        self.device.device_type == DeviceType::Software
    }

    /// The case whose routing represents this document, among those over `experts` experts (any number where `None`).
    ///
    /// A gate comes before a whole layer, and that before a sort, whose routing was drawn. Among equals the case with the
    /// most token slots is taken, and the first of them. `None` where no such case holds a routing.
    pub fn routing(&self, experts: Option<usize>) -> Option<&Case> {
        let rank = |case: &Case| match case.family {
            Family::Gating if case.kernel != "sort" => 2,
            Family::Layer => 1,
            _ => 0,
        };
        let slots = |case: &Case| case.tokens_per_expert.iter().copied().map(u64::from).sum::<u64>();
        let fits = |case: &&Case| experts.is_none_or(|experts| case.tokens_per_expert.len() == experts);
        let routed = self.cases.iter().filter(|case| !case.tokens_per_expert.is_empty());
        routed.filter(fits).rev().max_by_key(|case| (rank(case), slots(case)))
    }

    /// The measured arithmetic roof for operands of this type. Operands in f16 are widened and accumulated in f32, or may
    /// be multiplied as they are: the faster of the two is the roof. Other narrow types are widened.
    pub fn fma_ceiling(&self, element: StorageType) -> Option<FlopPerSecond> {
        let kinds: &[CeilingKind] = match element {
            StorageType::F32 | StorageType::Bf16 | StorageType::Int8 => &[CeilingKind::FmaF32],
            StorageType::F16 | StorageType::Int4 | StorageType::Fp8 | StorageType::Mxfp4 | StorageType::Nvfp4 => {
                &[CeilingKind::FmaF32, CeilingKind::FmaF16]
            }
        };
        self.fastest(kinds).map(|(_, value)| FlopPerSecond::new(value))
    }

    /// The measured roof of a typed operation, and which it is; `None` where the device has none. Operands in f16 may be
    /// multiplied as they are or widened first: the faster of the two is the roof.
    pub fn operation_ceiling(&self, operation: Operation) -> Option<(CeilingKind, FlopPerSecond)> {
        let found = self.fastest(CeilingKind::of_operation(operation));
        found.map(|(kind, value)| (kind, FlopPerSecond::new(value)))
    }

    /// The measured roof of memory, and which it is: streaming read or copy, whichever is faster.
    fn memory_roof(&self) -> Option<(CeilingKind, BytesPerSecond)> {
        let found = self.fastest(&[CeilingKind::MemoryRead, CeilingKind::MemoryCopy]);
        found.map(|(kind, value)| (kind, BytesPerSecond::new(value)))
    }

    /// The measured memory roof: the faster of streaming read and copy.
    pub fn memory_ceiling(&self) -> Option<BytesPerSecond> {
        self.memory_roof().map(|(_, rate)| rate)
    }

    /// The measured roof of traffic, and which it is: that of memory, or the cache's for a warm case that reads `input`
    /// bytes, no more than the cache holds.
    pub fn traffic_ceiling(&self, cache: CacheState, input: Bytes) -> Option<(CeilingKind, BytesPerSecond)> {
        let memory = self.memory_roof();
        let roof = self.ceilings.get(&CeilingKind::CacheRead).filter(|_| cache == CacheState::Warm);
        let rate = roof.and_then(|roof| roof.rate_of_working_set(input));
        // A cache that is slower than memory is no roof.
        let rate = rate.filter(|rate| memory.is_none_or(|(_, memory)| *rate > memory));
        rate.map(|rate| (CeilingKind::CacheRead, rate)).or(memory)
    }

    /// The measured device time of an empty launch.
    pub fn launch_cost(&self) -> Option<Seconds> {
        self.ceilings.get(&CeilingKind::Launch).map(|ceiling| Seconds::new(ceiling.value))
    }

    fn fastest(&self, kinds: &[CeilingKind]) -> Option<(CeilingKind, f64)> {
        kinds
            .iter()
            .filter_map(|kind| self.ceilings.get(kind).map(|ceiling| (*kind, ceiling.value)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
    }
}
