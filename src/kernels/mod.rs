//! What is computed: shapes, inputs, launches and the work they must do, as plain data.
//!
//! Nothing here knows wgpu, so a [`Plan`] can be printed, checked by another WGSL compiler, or run elsewhere. Each
//! family has one file with its shapes and plans, and a CPU twin under [`twin`] that shares no helper with it.

pub mod attention;
pub mod cases;
mod compare;
pub mod gating;
mod kernel_case;
pub mod layer;
pub mod matmul;
mod plan;
pub mod probes;
pub mod routing;
mod sources;
pub mod subgroup_probe;
mod target;
mod tensor;
pub mod twin;
pub mod unit_probes;

use std::collections::BTreeMap;
use std::{fmt, ops};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use compare::{Metric, Verification, Worst};
pub use kernel_case::KernelCase;
pub use plan::{Buffer, Launch, POISON_WORD, PartOf, Plan, Role};
pub use sources::{SHADERS, STORAGE, wgsl};
pub use target::{DeviceClass, Target, is_narrow};
pub use tensor::{Axis, Kind, Scaling, Tensor, Tensors};

use crate::units::{Bytes, Flop};

/// A kernel at one shape: what to launch, on what, and how to judge the result.
///
/// Implementations are plain shape structs. A variant is one way to compute the same thing; all variants of a kernel
/// take the same seed to operands with the same meaning (their layout may differ).
pub trait Kernel: fmt::Debug + Send + Sync {
    /// The family that it belongs to.
    fn family(&self) -> Family;
    /// What is computed.
    fn name(&self) -> &'static str;
    /// The sizes, by name.
    fn shape(&self) -> BTreeMap<String, u64>;
    /// The ways to compute it.
    fn variants(&self) -> &'static [&'static str];
    /// The storage types it exists for.
    fn elements(&self) -> &'static [Element];
    /// The variant that is taken without a trial on such a device.
    fn default_variant(&self, target: &Target) -> &'static str {
        target.candidates(self, self.variants()).first().copied().unwrap_or_default()
    }
    /// The storage types that a variant exists for: all of [`Kernel::elements`], unless some need other ways.
    fn variant_elements(&self, _variant: &str) -> &'static [Element] {
        self.elements()
    }
    /// Whether a variant makes sense at this shape; those that do not are silently not planned.
    fn suits(&self, _variant: &str) -> bool {
        true
    }
    /// The same at a smaller size that stays within `most`, or near it, on which the variants rank much as on this one:
    /// for trials where a single run would take long. `None` where this one is within.
    fn smaller(&self, _most: Extent) -> Option<Box<dyn Kernel>> {
        None
    }
    /// The same with half as many tokens, queries or sequences; `None` where there is one, or no such size.
    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        None
    }
    /// The same on half of the weights or heads, as one more doubling of tensor parallelism leaves them to a chip; `None`
    /// where nothing is to be halved.
    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        None
    }
    /// The same layer with other kernels inside: `best` names the variant of a part, where it knows one. `None` for a
    /// single kernel.
    fn with_parts(&self, _element: Element, _best: &BestVariant) -> Option<Box<dyn Kernel>> {
        None
    }
    /// Buffers, launches and work.
    fn plan(&self, variant: &str, element: Element) -> Plan;
    /// Seeded operands for every [`Role::Input`] buffer of the plan.
    fn inputs(&self, variant: &str, element: Element, seed: u64) -> Tensors;
    /// Variants of one layout take the very same operands; the number means nothing else.
    fn layout(&self, variant: &str) -> usize {
        self.variants().iter().position(|known| *known == variant).unwrap_or_default()
    }
    /// As [`Kernel::inputs`], with what `made` holds of another variant with the same type and seed taken from there.
    fn inputs_from(&self, made: &mut Made, variant: &str, element: Element, seed: u64) -> Tensors {
        made.operands(self.layout(variant), || self.inputs(variant, element, seed))
    }
    /// Dimensions of every [`Role::Output`] buffer of the plan.
    fn outputs(&self, variant: &str, element: Element) -> Vec<Output>;
    /// Token slots by expert that a run routed; `None` for kernels that do not route, or where an output is no expert.
    fn tokens_per_expert(&self, _outputs: &Tensors) -> Option<Vec<u32>> {
        None
    }
    /// Compares outputs with the twin's, checking as many elements as `effort` multiply-adds of the twin allow.
    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification;
    /// Compares the whole outputs of two variants on operands of the same seed, element by element: what a sample of the
    /// twin's elements may miss, a race say, hardly happens to both in the same way.
    fn agreement(&self, ours: Computed, theirs: Computed, element: Element) -> Verification {
        compare::agreement(&ours, &theirs, element)
    }
}

/// Names the variant of a kernel in a layer for a type.
pub type BestVariant<'a> = dyn Fn(&dyn Kernel, Element) -> Option<&'static str> + 'a;

/// What a variant was given and what it made of it.
#[derive(Debug, Clone, Copy)]
pub struct Computed<'a> {
    /// Operands by buffer.
    pub inputs: &'a Tensors,
    /// Results by buffer.
    pub outputs: &'a Tensors,
}

/// The most that one run may do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// Useful operations.
    pub flop: Flop,
    /// Bytes read and written, each once.
    pub bytes: Bytes,
}

impl Extent {
    /// Whether some work exceeds it.
    pub fn is_exceeded_by(&self, work: &Work) -> bool {
        work.flop > self.flop || work.bytes() > self.bytes
    }
}

/// Operands that were made already, of one kernel, type and seed.
#[derive(Debug, Default)]
pub struct Made {
    operands: BTreeMap<usize, Tensors>,
    tensors: BTreeMap<(&'static str, usize), Tensor>,
}

impl Made {
    /// All operands of a layout.
    fn operands(&mut self, layout: usize, make: impl FnOnce() -> Tensors) -> Tensors {
        self.operands.entry(layout).or_insert_with(make).clone()
    }

    /// One operand of a layout, where only that is shared.
    fn tensor(&mut self, name: &'static str, layout: usize, make: impl FnOnce() -> Tensor) -> Tensor {
        self.tensors.entry((name, layout)).or_insert_with(make).clone()
    }
}

/// What [`Kernel::smaller`] answers with a kernel that was shrunk, or was not.
fn if_smaller<K: Kernel + 'static>(shrunk: K, whole: &K) -> Option<Box<dyn Kernel>> {
    (shrunk.shape() != whole.shape()).then(|| Box::new(shrunk) as Box<dyn Kernel>)
}

/// How to read an output buffer.
#[derive(Debug, Clone)]
pub struct Output {
    /// The buffer's name.
    pub name: &'static str,
    /// Dimensions.
    pub dims: Vec<usize>,
    /// Dimensions in memory.
    pub padded: Vec<usize>,
    /// Type.
    pub kind: Kind,
}

impl Output {
    fn new(name: &'static str, dims: &[usize], padded: &[usize], kind: impl Into<Kind>) -> Self {
        Self { name, dims: dims.to_vec(), padded: padded.to_vec(), kind: kind.into() }
    }
}

/// A size as a 32-bit word of a kernel's parameters; sizes beyond are refused before a launch, by the binding limit.
pub(crate) fn word(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn named(sizes: &[(&str, usize)]) -> BTreeMap<String, u64> {
    sizes.iter().map(|&(name, size)| (name.to_owned(), size as u64)).collect()
}

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

/// The unit that does a kernel's arithmetic, each with a roof of its own.
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
/// The name is that of the weights; what the activations and the result are stored in follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Element {
    /// IEEE binary32.
    F32,
    /// IEEE binary16; some kernels need a feature of the adapter for it (`shader_f16`), others only store it.
    F16,
    /// bfloat16, two in a word, widened to f32 by a shift: runs on any adapter.
    Bf16,
    /// W8A8: int8 weights with a scale a channel and int8 activations with a scale a token, four in a word, products
    /// summed in int32; results are bfloat16.
    Int8,
    /// W4A16: symmetric int4 weights with a binary16 scale for every [`INT4_GROUP`] of k, eight in a word; activations
    /// and results are binary16, two in a word, widened by `unpack2x16float`: runs on any adapter.
    Int4,
}

/// Values of k that share a scale in [`Element::Int4`], as in the compressed-tensors checkpoints with groups of 32.
pub const INT4_GROUP: usize = 32;

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
    /// All types.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Bf16, Self::Int8, Self::Int4];

    /// Bytes of one activation.
    pub const fn size_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 | Self::Int4 => 2,
            Self::Int8 => 1,
        }
    }

    /// Bits of one weight, without its share of a scale.
    pub const fn weight_bits(self) -> u64 {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::Int8 => 8,
            Self::Int4 => 4,
        }
    }

    /// What activations are stored in.
    pub const fn activation(self) -> Self {
        match self {
            Self::Int4 => Self::F16,
            other => other,
        }
    }

    /// What results are stored in.
    pub const fn result(self) -> Self {
        match self {
            Self::Int4 => Self::F16,
            Self::Int8 => Self::Bf16,
            other => other,
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

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
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
