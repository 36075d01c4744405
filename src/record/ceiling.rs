//! A measured roof: its kind, its value, and how it was found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::timing::Timing;
use crate::kernels::probes::FmaForm;
use crate::kernels::{Operation, Verification, Work};
use crate::units::{Bytes, BytesPerSecond};

/// The kinds of measured roof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CeilingKind {
    /// Independent fused multiply-adds in registers, f32; FLOP/s.
    FmaF32,
    /// The same in f16; FLOP/s.
    FmaF16,
    /// Packed dot products of four int8 with int32 accumulation; integer operations per second, 8 per dot product.
    DotI8,
    /// Cooperative-matrix multiply-adds, f16 operands and f32 accumulation; FLOP/s.
    MatrixF16,
    /// Streaming reads; byte/s.
    MemoryRead,
    /// Streaming writes; byte/s.
    MemoryWrite,
    /// Streaming copy, bytes read plus bytes written; byte/s.
    MemoryCopy,
    /// Repeated reads of a working set that fits the last-level cache; byte/s.
    CacheRead,
    /// Device time of one empty launch inside a batch; seconds.
    Launch,
    /// Wall time from submission to completion of one empty launch; seconds.
    Submit,
}

/// What the value of a ceiling counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Floating-point operations per second.
    FlopPerSecond,
    /// Integer operations per second.
    OperationsPerSecond,
    /// Bytes per second.
    BytesPerSecond,
    /// Seconds.
    Seconds,
}

/// One measured roof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ceiling {
    /// FLOP/s, byte/s or seconds, by its kind.
    pub value: f64,
    /// What one launch did.
    pub work: Work,
    /// The memory that was read again and again, for a cache's roof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_set_bytes: Option<Bytes>,
    /// The form of the probe that was fastest. Absent where there is one form, and in documents of versions 1 to 3, which
    /// used [`FmaForm::Chains`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<FmaForm>,
    /// Invocations of a workgroup, where the fastest of several sizes was taken; absent where there was no choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workgroup: Option<u32>,
    /// Every working set that was read for a cache's roof, smallest first; empty for other roofs, and in documents that
    /// kept the fastest alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<CachePoint>,
    /// Where the last-level cache ends, for a cache's roof; absent where it was not looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_level_cache: Option<LastLevelCache>,
    /// That the probe computed what it should.
    pub verification: Verification,
    /// The samples behind the value.
    pub timing: Timing,
}

/// A working set that was read again and again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CachePoint {
    /// Its size.
    pub working_set_bytes: Bytes,
    /// How fast it was read.
    pub bytes_per_s: BytesPerSecond,
    /// Threads that read it: of two counts the faster one.
    pub invocations: u32,
}

/// The size of the last-level cache, as rates over working sets show it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "provenance", deny_unknown_fields)]
pub enum LastLevelCache {
    /// Larger working sets are read no faster than memory.
    Measured {
        /// The largest working set that was read clearly faster.
        bytes: Bytes,
    },
    /// Even the largest working set that was read is faster than memory: the cache may be larger.
    AtLeast {
        /// That working set.
        bytes: Bytes,
    },
    /// No working set was read clearly faster than memory.
    NotSeen,
}

impl LastLevelCache {
    /// The largest working set that was read clearly faster than memory; `None` where none was.
    pub fn bytes(self) -> Option<Bytes> {
        match self {
            Self::Measured { bytes } | Self::AtLeast { bytes } => Some(bytes),
            Self::NotSeen => None,
        }
    }
}

impl Ceiling {
    /// A roof that was found in one way: no form, size or working set was chosen from several.
    pub fn of(value: f64, work: Work, verification: Verification, timing: Timing) -> Self {
        let (form, workgroup, working_set_bytes, last_level_cache) = (None, None, None, None);
        let points = Vec::new();
        Self { value, work, working_set_bytes, form, workgroup, points, last_level_cache, verification, timing }
    }

    /// The rate at which a cache can deliver so many bytes that are read again and again: that of the fastest working set
    /// that was measured and is at least as large. `None` where they do not fit the cache.
    pub fn rate_of_working_set(&self, bytes: Bytes) -> Option<BytesPerSecond> {
        let largest = match self.last_level_cache {
            Some(cache) => cache.bytes()?,
            None => self.working_set_bytes?,
        };
        if bytes > largest {
            return None;
        }
        let as_large = |size: Bytes| bytes <= size && size <= largest;
        let points = self.points.iter().filter(|point| as_large(point.working_set_bytes));
        let fastest = points.map(|point| point.bytes_per_s).reduce(BytesPerSecond::max);
        Some(fastest.unwrap_or(BytesPerSecond::new(self.value)))
    }
}

impl CeilingKind {
    /// The roofs that a typed operation may run under; the first is that of the unit it is named after.
    pub const fn of_operation(operation: Operation) -> &'static [Self] {
        match operation {
            Operation::F32 => &[Self::FmaF32],
            Operation::F16 => &[Self::FmaF32, Self::FmaF16],
            Operation::DotI8 => &[Self::DotI8],
            Operation::MatrixF16 => &[Self::MatrixF16],
        }
    }

    /// Its name for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::FmaF32 => "FMA f32",
            Self::FmaF16 => "FMA f16",
            Self::DotI8 => "int8 dot",
            Self::MatrixF16 => "matrix f16",
            Self::MemoryRead => "memory read",
            Self::MemoryWrite => "memory write",
            Self::MemoryCopy => "memory copy",
            Self::CacheRead => "cache read",
            Self::Launch => "launch",
            Self::Submit => "submit and wait",
        }
    }

    /// What its value counts.
    pub const fn quantity(self) -> Quantity {
        match self {
            Self::FmaF32 | Self::FmaF16 | Self::MatrixF16 => Quantity::FlopPerSecond,
            Self::DotI8 => Quantity::OperationsPerSecond,
            Self::MemoryRead | Self::MemoryWrite | Self::MemoryCopy | Self::CacheRead => Quantity::BytesPerSecond,
            Self::Launch | Self::Submit => Quantity::Seconds,
        }
    }
}
