//! What a family's sizes mean: where a shape lies in the tables, and what the roofs say of it.

use std::collections::BTreeMap;

use crate::operators::family::{OperatorFamily, TypeMeaning};
use crate::specs::NumberType;

/// A shape of a family: its sizes in the order of [`OperatorFamily::sizes`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatorShape {
    /// The family.
    pub family: OperatorFamily,
    /// Its sizes; those that the family has not are 1.
    pub sizes: [f64; 7],
}

/// The whole peaks of a rank, without the shares that kernels reach.
#[derive(Debug, Clone, PartialEq)]
pub struct RankPeaks {
    /// Arithmetic by type, FLOP per second.
    pub arithmetic: BTreeMap<NumberType, f64>,
    /// Memory, bytes per second.
    pub memory: f64,
    /// Links inside a node, bytes per second and direction.
    pub scale_up: f64,
}

impl RankPeaks {
    /// The peak of a type; that of 16 bits where the chip has no units for it.
    fn arithmetic_of(&self, kind: NumberType) -> f64 {
        let peak = |kind| self.arithmetic.get(&kind).copied();
        let wide = [NumberType::Bf16, NumberType::F16, NumberType::F32];
        peak(kind).or_else(|| wide.into_iter().find_map(peak)).unwrap_or(f64::INFINITY)
    }
}

/// How tokens visit the experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visits {
    /// One after the other, as the tables that are called balanced have it: no expert twice before all once.
    InTurn,
    /// Each token on its own, as routers send them.
    Random,
}

impl Visits {
    /// Experts of `slots` that `rows` tokens visit, on average.
    fn touched(self, slots: f64, rows: f64) -> f64 {
        match self {
            Self::InTurn => slots.min(rows),
            Self::Random => slots * (1.0 - (-rows / slots).exp()),
        }
    }
}

/// What binds a shape, and for how long at least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Roof {
    pub time_s: f64,
    pub by_arithmetic: bool,
}

impl OperatorShape {
    /// A shape of these sizes.
    pub(crate) fn new(family: OperatorFamily, sizes: &[f64]) -> Self {
        let mut all = [1.0; 7];
        all.iter_mut().zip(sizes).for_each(|(to, from)| *to = *from);
        Self { family, sizes: all }
    }

    /// The sizes that a table has apart, and those that it interpolates over, as logarithms.
    pub(super) fn coordinates(&self) -> ([f64; 4], [f64; 3]) {
        let log = |size: f64| size.max(1e-6).ln();
        let [a, b, c, d, e, f, g] = self.sizes;
        match self.family {
            OperatorFamily::Gemm => ([0.0; 4], [log(a), log(b), log(c)]),
            // Of one rank: width of an expert, experts that it has, and tokens that visit each of them.
            OperatorFamily::Experts => ([log(b), log(c / f), log(e / g), 0.0], [log(a * d / e), 0.0, 0.0]),
            OperatorFamily::PrefillAttention | OperatorFamily::DecodeAttention => {
                ([log(c), log(d), log(e), log(f.max(1.0))], [log(a), log(b), 0.0])
            }
            OperatorFamily::LatentPrefill | OperatorFamily::LatentDecode => {
                ([log(c), 0.0, 0.0, 0.0], [log(a), log(b), 0.0])
            }
            OperatorFamily::SparsePrefill | OperatorFamily::SparseDecode => {
                ([log(c), log(d), 0.0, 0.0], [log(a), log(b), 0.0])
            }
            OperatorFamily::ConvolutionPrefill | OperatorFamily::ConvolutionDecode => {
                ([log(self.channels()), 0.0, 0.0, 0.0], [log(a), log(b), 0.0])
            }
            OperatorFamily::GatedDeltaPrefill
            | OperatorFamily::GatedDeltaDecode
            | OperatorFamily::KimiDeltaPrefill
            | OperatorFamily::KimiDeltaDecode => ([log(c), log(d), log(e), log(f)], [log(a), log(b), 0.0]),
            OperatorFamily::AllReduce => ([log(a), 0.0, 0.0, 0.0], [log(b), 0.0, 0.0]),
            OperatorFamily::Dispatch | OperatorFamily::Combine => {
                ([log(a), log(b), log(d), log(e)], [log(c), 0.0, 0.0])
            }
        }
    }

    /// The shape at these coordinates.
    pub(super) fn at(family: OperatorFamily, fixed: &[f64; 4], at: [f64; 3]) -> Self {
        let [a, b, c, d] = fixed.map(f64::exp);
        let [x, y, z] = at.map(f64::exp);
        let window = if d > 1.5 { d } else { 0.0 };
        match family {
            OperatorFamily::Gemm => Self::new(family, &[x, y, z]),
            OperatorFamily::Experts => Self::new(family, &[x * c, a, b, 1.0, c]),
            OperatorFamily::PrefillAttention | OperatorFamily::DecodeAttention => {
                Self::new(family, &[x, y, a, b, c, window])
            }
            OperatorFamily::LatentPrefill | OperatorFamily::LatentDecode => Self::new(family, &[x, y, a]),
            OperatorFamily::SparsePrefill | OperatorFamily::SparseDecode => Self::new(family, &[x, y, a, b]),
            // All channels as those of values.
            OperatorFamily::ConvolutionPrefill | OperatorFamily::ConvolutionDecode => {
                Self::new(family, &[x, y, 0.0, a, 0.0, 1.0])
            }
            OperatorFamily::GatedDeltaPrefill
            | OperatorFamily::GatedDeltaDecode
            | OperatorFamily::KimiDeltaPrefill
            | OperatorFamily::KimiDeltaDecode => Self::new(family, &[x, y, a, b, c, d]),
            OperatorFamily::AllReduce => Self::new(family, &[a, x]),
            OperatorFamily::Dispatch | OperatorFamily::Combine => Self::new(family, &[a, b, x, c, d]),
        }
    }

    /// FLOP and bytes of the shape, each operand moved once.
    fn work(&self, meaning: TypeMeaning, visits: Visits) -> (f64, f64) {
        let [a, b, c, d, e, f, g] = self.sizes;
        let TypeMeaning { weight_bytes, operand_bytes, .. } = meaning;
        match self.family {
            OperatorFamily::Gemm => (2.0 * a * b * c, b * c * weight_bytes + a * (c * operand_bytes + 2.0 * b)),
            OperatorFamily::Experts => {
                let (width, slots, rows) = (c / f, e / g, a * d / g);
                let bytes = 3.0 * visits.touched(slots, rows) * b * width * weight_bytes
                    + rows * (b * (operand_bytes + 2.0) + width * (6.0 + operand_bytes));
                (6.0 * rows * b * width, bytes)
            }
            OperatorFamily::PrefillAttention => {
                let keys = if f > 0.0 && f < b { f * (b - f / 2.0) / b } else { b / 2.0 };
                (4.0 * a * b * keys * c * e, a * b * (2.0 * c + 2.0 * d) * e * 2.0)
            }
            OperatorFamily::DecodeAttention => {
                let keys = if f > 0.0 { b.min(f) } else { b };
                (4.0 * a * keys * c * e, a * (2.0 * keys * d * e * operand_bytes + 2.0 * c * e * 2.0))
            }
            // The sizes of DeepSeek-V3, of which the tables are: 128 + 64 and 128 by head, a latent of 512 + 64.
            OperatorFamily::LatentPrefill => (a * b * b * c * (192.0 + 128.0), a * b * c * 2.0 * (192.0 + 128.0) * 2.0),
            OperatorFamily::LatentDecode => {
                (2.0 * a * b * c * (2.0 * 512.0 + 64.0), a * (b * 576.0 * operand_bytes + c * (576.0 + 512.0) * 2.0))
            }
            OperatorFamily::SparsePrefill | OperatorFamily::SparseDecode => self.sparse_work(meaning),
            OperatorFamily::ConvolutionPrefill | OperatorFamily::ConvolutionDecode => {
                (0.0, a * b * self.channels() * 2.0 * operand_bytes)
            }
            OperatorFamily::GatedDeltaPrefill | OperatorFamily::KimiDeltaPrefill => {
                // Over chunks of 64 tokens, as the op of the model has it.
                let flop = a * b * d * (2.0 * 64.0 * (3.0 * e + 2.0 * f) + 6.0 * e * f);
                (flop, self.state_bytes() + a * b * (2.0 * (c * e + d * f) + 2.0 / 64.0 * d * e * f) * operand_bytes)
            }
            OperatorFamily::GatedDeltaDecode | OperatorFamily::KimiDeltaDecode => {
                (7.0 * a * b * d * e * f, self.state_bytes() + a * b * 2.0 * (c * e + d * f) * operand_bytes)
            }
            OperatorFamily::AllReduce => (0.0, 2.0 * (a - 1.0) / a * b * operand_bytes),
            OperatorFamily::Dispatch => (0.0, c * d * b),
            OperatorFamily::Combine => (0.0, c * d * b * 2.0),
        }
    }

    /// Channels of a convolution: queries, keys and values.
    fn channels(&self) -> f64 {
        let [_, _, key_heads, heads, key_dim, value_dim, _] = self.sizes;
        2.0 * key_heads * key_dim + heads * value_dim
    }

    /// Bytes of the states of a recurrence, in 32 bits, read and written once.
    fn state_bytes(&self) -> f64 {
        let [sequences, _, _, heads, key_dim, value_dim, _] = self.sizes;
        2.0 * 4.0 * sequences * heads * key_dim * value_dim
    }

    /// FLOP and bytes of latent attention over chosen tokens, with its projections and its indexer, in the sizes of the two models
    /// of which there are tables: GLM-5 (hidden size 6144) and DeepSeek-V3.2.
    fn sparse_work(&self, meaning: TypeMeaning) -> (f64, f64) {
        const ROPE: f64 = 64.0;
        const RANK: f64 = 512.0;
        const CHOSEN: f64 = 2048.0;
        const INDEX_DIM: f64 = 128.0;
        let [sequences, length, heads, hidden, ..] = self.sizes;
        let is_glm = hidden < 7000.0;
        let [q_rank, nope, value, index_heads] =
            if is_glm { [2048.0, 192.0, 256.0, 32.0] } else { [1536.0, 128.0, 128.0, 64.0] };
        let by_head = q_rank * (nope + ROPE) + (nope + value) * RANK + value * hidden;
        let index = q_rank * index_heads * INDEX_DIM + hidden * (INDEX_DIM + index_heads);
        let weights = hidden * (q_rank + RANK + ROPE) + heads * by_head + index;
        let is_prefill = self.family.is_prefill();
        let (tokens, scored) = if is_prefill { (sequences * length, length / 2.0) } else { (sequences, length) };
        let keys = scored.min(CHOSEN);
        let per_key = heads * 2.0 * (2.0 * RANK + ROPE);
        let flop = tokens * (2.0 * weights + keys * per_key + scored * 2.0 * index_heads * INDEX_DIM);
        let cache = if is_prefill {
            tokens * (RANK + ROPE)
        } else {
            sequences * (keys * (RANK + ROPE) * meaning.operand_bytes + length * INDEX_DIM)
        };
        (flop, weights * meaning.weight_bytes + tokens * hidden * 4.0 + cache)
    }

    /// The least time of the shape on a rank.
    pub(super) fn roof(&self, meaning: TypeMeaning, peaks: &RankPeaks, visits: Visits) -> Roof {
        let (flop, bytes) = self.work(meaning, visits);
        let compute = flop / peaks.arithmetic_of(meaning.product);
        let is_wire =
            matches!(self.family, OperatorFamily::AllReduce | OperatorFamily::Dispatch | OperatorFamily::Combine);
        let traffic = bytes / if is_wire { peaks.scale_up } else { peaks.memory };
        Roof { time_s: compute.max(traffic).max(1e-12), by_arithmetic: compute > traffic }
    }
}
