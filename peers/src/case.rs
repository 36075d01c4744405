//! What is run on both sides: shapes, and the operands that both are given.

use serde::Serialize;
use supernode_bench::kernels::StorageType;

/// One operation at one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// `batch` products of [m, k] and [k, n].
    Matmul { batch: usize, m: usize, k: usize, n: usize },
    /// Causal attention of `q_len` queries, the last of `kv_len` positions; batch 1, as many key heads as query heads.
    Attention { heads: usize, q_len: usize, kv_len: usize, head_dim: usize },
    /// Softmax over the experts, then the largest `top_k` with their indices, not renormalised.
    Gate { tokens: usize, experts: usize, top_k: usize },
}

/// A named operation.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Case {
    /// Unique, and what `--only` matches.
    pub name: &'static str,
    /// What it is.
    #[serde(flatten)]
    pub op: Op,
}

const fn matmul(name: &'static str, batch: usize, m: usize, k: usize, n: usize) -> Case {
    Case { name, op: Op::Matmul { batch, m, k, n } }
}

const fn attention(name: &'static str, heads: usize, q_len: usize, kv_len: usize, head_dim: usize) -> Case {
    Case { name, op: Op::Attention { heads, q_len, kv_len, head_dim } }
}

const fn gate(name: &'static str, experts: usize, top_k: usize) -> Case {
    Case { name, op: Op::Gate { tokens: 4096, experts, top_k } }
}

/// For software adapters and small GPUs.
const SMALL: &[Case] = &[
    matmul("matmul-512", 1, 512, 512, 512),
    matmul("matmul-1024", 1, 1024, 1024, 1024),
    matmul("matmul-8x512", 8, 512, 512, 512),
    matmul("matmul-m1-k1024-n1024", 1, 1, 1024, 1024),
    matmul("matmul-m16-k1024-n1024", 1, 16, 1024, 1024),
    matmul("experts-8-m64-k512-n512", 8, 64, 512, 512),
    attention("attention-h8-s512-d64", 8, 512, 512, 64),
    attention("attention-h8-q1-kv4096-d64", 8, 1, 4096, 64),
    gate("gate-4096-top8-of-256", 256, 8),
    gate("gate-4096-top6-of-64", 64, 6),
];

/// For discrete GPUs. The expert shapes are DeepSeek-V3's (hidden 7168, intermediate 2048), 8 experts a chip.
const LARGE: &[Case] = &[
    matmul("matmul-4096", 1, 4096, 4096, 4096),
    matmul("matmul-8192", 1, 8192, 8192, 8192),
    matmul("experts-8-m512-k7168-n2048", 8, 512, 7168, 2048),
    matmul("experts-8-m512-k2048-n7168", 8, 512, 2048, 7168),
    matmul("experts-8-m16-k7168-n2048", 8, 16, 7168, 2048),
    matmul("matmul-m1-k8192-n8192", 1, 1, 8192, 8192),
    attention("attention-h32-s4096-d128", 32, 4096, 4096, 128),
    attention("attention-h32-q1-kv16384-d128", 32, 1, 16_384, 128),
    gate("gate-4096-top8-of-256", 256, 8),
];

/// Which list of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shapes {
    /// What a software adapter finishes in seconds.
    Small,
    /// What fills a discrete GPU.
    Large,
}

impl Shapes {
    /// The cases of the list.
    pub fn cases(self) -> &'static [Case] {
        match self {
            Self::Small => SMALL,
            Self::Large => LARGE,
        }
    }
}

/// The case of that name, of either list.
pub fn find(name: &str) -> Option<Case> {
    SMALL.iter().chain(LARGE).copied().find(|case| case.name == name)
}

impl Op {
    /// Useful arithmetic; `None` for the gate, whose work is comparisons.
    pub fn flop(self) -> Option<f64> {
        match self {
            Self::Matmul { batch, m, k, n } => Some(2.0 * (batch * m * k) as f64 * n as f64),
            Self::Attention { heads, q_len, kv_len, head_dim } => {
                let (q, past) = (q_len as f64, (kv_len - q_len) as f64);
                Some(4.0 * (q * past + q * (q + 1.0) / 2.0) * (heads * head_dim) as f64)
            }
            Self::Gate { .. } => None,
        }
    }
}

/// Row-major arrays: matmul a [batch m, k] and b [batch k, n]; attention q, k, v [position, head, head_dim]; logits.
pub struct Operands(pub Vec<Vec<f32>>);

impl Operands {
    /// Bytes of all of them in a storage type.
    pub fn bytes(&self, element: StorageType) -> u64 {
        self.0.iter().map(|values| values.len() as u64 * element.size_bytes()).sum()
    }
}
