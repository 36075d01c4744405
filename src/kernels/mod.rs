//! What is computed: shapes, inputs, launches and the work they must do, as plain data.
//!
//! Nothing here knows wgpu, so a [`Plan`] can be printed, checked by another WGSL compiler, or run elsewhere. Each
//! family has one file with its shapes and plans, and a CPU twin under [`twin`] that shares no helper with it.

mod plan;

use std::fmt;
use std::ops;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use plan::{Binding, Buffer, Contents, Launch, Plan, Role};

use crate::units::{Bytes, Flop};

/// The three families of kernels of a mixture-of-experts layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Router logits, scoring with top-k, and the sort of token slots by expert.
    Gating,
    /// Grouped GEMM over expert-sorted tokens, and the weighted combine.
    ExpertMatmul,
    /// Causal prefill and decode over a KV cache.
    Attention,
}

/// Storage type of a kernel's operands. Accumulation is always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
}

/// The phase of serving that a shape comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Many tokens at once: the prompt, or training.
    Prefill,
    /// One token a sequence.
    Decode,
}

/// The least that a kernel must do, apart from how fast it did it: useful arithmetic, and each operand moved once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Floating-point operations; a multiply-add counts two. Padding is not counted.
    pub flop: Flop,
    /// Bytes that must be read.
    pub bytes_read: Bytes,
    /// Bytes that must be written.
    pub bytes_written: Bytes,
}

impl Work {
    /// Bytes read plus bytes written.
    pub fn bytes(&self) -> Bytes {
        self.bytes_read + self.bytes_written
    }

    /// FLOP per byte.
    pub fn arithmetic_intensity(&self) -> f64 {
        self.flop.get() / self.bytes().get()
    }
}

impl ops::Add for Work {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            flop: self.flop + other.flop,
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_written: self.bytes_written + other.bytes_written,
        }
    }
}

impl Element {
    /// Bytes of one element.
    pub const fn size_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gating => "gating",
            Self::ExpertMatmul => "expert_matmul",
            Self::Attention => "attention",
        })
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        })
    }
}
