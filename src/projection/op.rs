//! One operator on one rank: its work, its roofs, and the key of its measured cost.

use crate::projection::tabled::TabledOperator;
use crate::projection::terms::Term;
use crate::units::{Bytes, Flop, Seconds};

/// Which roofs an op runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Attention over a cache, or a recurrence step by step.
    Attention,
    /// Causal attention of prefill and training, or a recurrence in chunks.
    PrefillAttention,
    /// Routed experts: grouped products.
    Expert,
    /// Other matrix products.
    Dense,
    /// Router, top-k, sort.
    Gating,
    /// Norms, rotations, activations, casts: streams through the vector units.
    Vector,
}

impl Class {
    /// The name of its efficiency.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attention | Self::PrefillAttention => "attention",
            Self::Expert => "experts",
            Self::Dense => "products",
            Self::Gating => "gating",
            Self::Vector => "elementwise",
        }
    }
}

/// A key into a record: a kernel, and the sizes that distinguish its cases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MeasuredShape {
    /// Grouped product: `gate_up` (with SwiGLU) or `down`.
    Matmul {
        /// Its name in records.
        name: &'static str,
        /// Groups.
        experts: f64,
        /// Rows of all groups.
        rows: f64,
        /// Depth.
        k: f64,
        /// Columns (of the result).
        n: f64,
    },
    /// Attention, grouped-query or latent.
    Attention {
        /// Its name in records.
        name: &'static str,
        /// Sequences.
        sequences: f64,
        /// Queries of each that a record's case has: 1 in decode.
        queries: f64,
        /// Keys of each.
        kv_len: f64,
        /// Query heads.
        heads: f64,
    },
    /// Router product, top-k and sort by token count and experts.
    Gating {
        /// Its name in records.
        name: &'static str,
        /// Tokens.
        tokens: f64,
        /// Experts.
        experts: f64,
    },
}

/// What an op does on one rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Op {
    /// Its name.
    pub name: &'static str,
    /// The term of the step that its time belongs to.
    pub term: Term,
    /// Its roofs.
    pub class: Class,
    /// Arithmetic.
    pub flop: Flop,
    /// Memory traffic.
    pub bytes: Bytes,
    /// Arithmetic peak over that of the class: 1, except for weights that the checkpoint keeps wider, and for indexers.
    pub peak: f64,
    /// The record's kernel that is this op, if any.
    pub kernel: Option<MeasuredShape>,
    /// The measured operator of others that is this op, or has it as a part.
    pub tabled: Option<TabledOperator>,
    /// The same of a whole block of ops, which counts first.
    pub module: Option<TabledOperator>,
}

/// Time of an op: what the cores need, what the memory needs, and what it costs besides both.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OpTime {
    /// Arithmetic.
    pub compute: Seconds,
    /// Memory traffic.
    pub memory: Seconds,
    /// Launch.
    pub launch: Seconds,
}
