//! Ops as the measured operators of others know them.

use crate::operators::{AskedType, OperatorFamily, OperatorShape};

/// The measured operator that an op is, or is a part of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TabledOperator {
    /// Family and sizes.
    pub shape: OperatorShape,
    /// Types.
    pub types: AskedType,
    /// Share of the operator's time that the op stands for: an operator may span several ops.
    pub share: f64,
}

impl TabledOperator {
    /// A product: `[rows, k] x [k, n]`.
    pub fn gemm(types: AskedType, [rows, k, n]: [f64; 3]) -> Self {
        Self { shape: OperatorShape::new(OperatorFamily::Gemm, &[rows, n, k]), types, share: 1.0 }
    }

    /// A part of the routed experts of a rank: `rows` copies in all, over `slots` experts of this width.
    pub fn experts(types: AskedType, [rows, hidden, width, slots]: [f64; 4], share: f64) -> Self {
        Self {
            shape: OperatorShape::new(OperatorFamily::Experts, &[rows, hidden, width, 1.0, slots, 1.0, 1.0]),
            types,
            share,
        }
    }

    /// Attention over a cache, or of whole prompts, in 16 bits.
    pub fn attention(family: OperatorFamily, sizes: &[f64], cache_bytes: f64, share: f64) -> Self {
        let types = AskedType { weight_bytes: cache_bytes, operand_bytes: 2.0 };
        Self { shape: OperatorShape::new(family, sizes), types, share }
    }

    /// The convolution or the recurrence of a linear attention, whose types no table names.
    pub fn recurrence(family: OperatorFamily, sizes: [f64; 6]) -> Self {
        let types = AskedType { weight_bytes: 2.0, operand_bytes: 2.0 };
        Self { shape: OperatorShape::new(family, &sizes), types, share: 1.0 }
    }

    /// Latent attention over chosen tokens, with its projections: a share of a module of these `sizes`.
    pub fn sparse(family: OperatorFamily, sizes: [f64; 4], types: AskedType, share: f64) -> Self {
        Self { shape: OperatorShape::new(family, &sizes), types, share }
    }
}
