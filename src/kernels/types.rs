//! The vocabulary of all kernels: families, storage types, units of arithmetic, and work.

use std::collections::BTreeMap;
use std::{fmt, ops};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Flop};

/// The three families of kernels of a mixture-of-experts layer, and whole layers of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Router logits, scoring with top-k, and the sort of token slots by expert.
    Gating,
    /// Grouped GEMM over expert-sorted tokens, and the weighted combine.
    ExpertMatmul,
    /// Causal prefill and decode over a KV cache.
    Attention,
    /// Whole layers: several kernels of the other families in one sequence of launches.
    Layer,
}

/// The unit that does a kernel's arithmetic. Each unit has a roof of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Multiply-adds in f32, whatever the operands are stored as.
    F32,
    /// Operands in f16, multiplied as they are or widened first.
    F16,
    /// Packed dot products of int8 with int32 accumulation; 8 operations each.
    DotI8,
    /// Cooperative-matrix multiply-adds, f16 operands and f32 accumulation.
    MatrixF16,
}

/// Storage type of a kernel's operands. Floating-point sums are always f32.
///
/// It names the type of the weights; [`StorageType::activation`] and [`StorageType::result`] follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Element")]
pub enum StorageType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16; some kernels need a feature of the adapter for it (`shader_f16`), others only store it.
    F16,
    /// bfloat16, two per word, widened to f32 by a shift: runs on any adapter.
    Bf16,
    /// W8A8: int8 weights with one scale per channel and int8 activations with one scale per token, four per word.
    /// Products are summed in int32; results are bfloat16.
    Int8,
    /// W4A16: symmetric int4 weights, eight per word, with one binary16 scale per 32 of k, as in compressed-tensors
    /// checkpoints with groups of 32. Activations and results are binary16, two per word, widened by `unpack2x16float`:
    /// runs on any adapter. So they are for the other weight-only types, which follow.
    Int4,
    /// W8A16: e4m3 weights, four per word, with one f32 scale per 128 of k and 128 of n, as DeepSeek-V3 and Qwen3 ship.
    /// GPUs with fp8 units quantise the activations as well (W8A8); others compute as here.
    Fp8,
    /// W4A16: e2m1 weights, eight per word, with one e8m0 scale per 32 of k (OCP Microscaling), as gpt-oss ships. GPUs with
    /// fp4 units quantise the activations as well, to fp8 or fp4; others compute as here.
    Mxfp4,
    /// W4A16: e2m1 weights, eight per word, with one e4m3 scale per 16 of k and one f32 scale per tensor. Where the units
    /// are, deployments quantise the activations to the same type (W4A4); elsewhere they compute as here.
    Nvfp4,
}

/// The phase of serving that a shape comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Phase")]
pub enum KernelPhase {
    /// Many tokens at once: the prompt, or training.
    Prefill,
    /// One token per sequence.
    Decode,
}

/// The least that a kernel must do: useful arithmetic, and each operand moved once.
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

/// An upper bound of the work of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// Useful operations.
    pub flop: Flop,
    /// Bytes read plus bytes written, each counted once.
    pub bytes: Bytes,
}

impl Extent {
    /// Whether `work` exceeds the bound in operations or in bytes.
    pub fn is_exceeded_by(&self, work: &Work) -> bool {
        work.flop > self.flop || work.bytes() > self.bytes
    }
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

impl StorageType {
    /// All types.
    pub const ALL: [Self; 8] =
        [Self::F32, Self::F16, Self::Bf16, Self::Int8, Self::Int4, Self::Fp8, Self::Mxfp4, Self::Nvfp4];

    /// The types that hold floating-point numbers.
    pub(super) const FLOATS: &'static [Self] = &[Self::F32, Self::F16, Self::Bf16];

    /// The neighbours along k and along n that share a scale, if only the weights are quantised.
    pub const fn weight_group(self) -> Option<[usize; 2]> {
        match self {
            Self::Int4 | Self::Mxfp4 => Some([32, 1]),
            Self::Nvfp4 => Some([16, 1]),
            Self::Fp8 => Some([128, 128]),
            Self::F32 | Self::F16 | Self::Bf16 | Self::Int8 => None,
        }
    }

    /// The k that a kernel takes in one step, in which a column has one scale, if only the weights are quantised.
    pub const fn weight_step(self) -> Option<usize> {
        match self.weight_group() {
            Some([16, _]) => Some(16),
            Some(_) => Some(32),
            None => None,
        }
    }

    /// Bytes of one activation.
    pub const fn size_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 | Self::Int4 | Self::Fp8 | Self::Mxfp4 | Self::Nvfp4 => 2,
            Self::Int8 => 1,
        }
    }

    /// Bits of one weight, without its share of a scale.
    pub const fn weight_bits(self) -> u64 {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::Int8 | Self::Fp8 => 8,
            Self::Int4 | Self::Mxfp4 | Self::Nvfp4 => 4,
        }
    }

    /// The type that activations are stored in.
    pub const fn activation(self) -> Self {
        match self {
            Self::Int4 | Self::Fp8 | Self::Mxfp4 | Self::Nvfp4 => Self::F16,
            Self::F32 | Self::F16 | Self::Bf16 | Self::Int8 => self,
        }
    }

    /// The type that results are stored in.
    pub const fn result(self) -> Self {
        match self {
            Self::Int8 => Self::Bf16,
            other => other.activation(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gating => "gating",
            Self::ExpertMatmul => "expert_matmul",
            Self::Attention => "attention",
            Self::Layer => "layer",
        })
    }
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::Fp8 => "fp8",
            Self::Mxfp4 => "mxfp4",
            Self::Nvfp4 => "nvfp4",
        })
    }
}

impl fmt::Display for KernelPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        })
    }
}

/// A size as a 32-bit word of a kernel's parameters. A size beyond 32 bits is refused before its launch, since its buffer
/// exceeds the binding limit.
pub(crate) fn word(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// The sizes of a shape by name.
pub(super) fn named(sizes: &[(&str, usize)]) -> BTreeMap<String, u64> {
    sizes.iter().map(|&(name, size)| (name.to_owned(), size as u64)).collect()
}
