//! A matrix of its own for every head: the projections that latent attention folds into decode.

use std::collections::BTreeMap;

use crate::kernels::attention::operands::{TwinBudget, bytes_of, compare_rows, normal};
use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Output, Plan, Role};
use crate::kernels::tensor::{Random, Tensor, Tensors};
use crate::kernels::twin;
use crate::kernels::types::{StorageType, Work, named, word};
use crate::kernels::verification::Verification;
use crate::units::{Bytes, Flop};

/// Rows [tokens, heads, k + rest] times a matrix per head. The rest of a row is copied behind the product.
///
/// It turns a query of DeepSeek-V3 into one over the latent (128 to 512, with a rest of 64), and what decode attended to
/// into a value (512 to 128).
#[derive(Debug, Clone)]
pub struct HeadMatmul {
    /// Tokens.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Rows of a matrix, a multiple of 4.
    pub k: usize,
    /// Columns of a matrix, a multiple of 4.
    pub n: usize,
    /// Numbers of a row behind k, a multiple of 4.
    pub rest: usize,
}

/// Invocations per workgroup.
const WORKGROUP: usize = 64;
/// Tokens per invocation, as in the shader.
const ROWS: usize = 8;

impl HeadMatmul {
    fn a_dims(&self) -> [usize; 3] {
        [self.tokens, self.heads, self.k + self.rest]
    }

    fn b_dims(&self) -> [usize; 3] {
        [self.heads, self.k, self.n]
    }

    fn out_dims(&self) -> [usize; 3] {
        [self.tokens, self.heads, self.n + self.rest]
    }
}

impl Kernel for HeadMatmul {
    fn name(&self) -> &'static str {
        "head_matmul"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let Self { tokens, heads, k, n, rest } = *self;
        named(&[("tokens", tokens), ("heads", heads), ("k", k), ("n", n), ("rest", rest)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["blocked_8"]
    }

    fn elements(&self) -> &'static [StorageType] {
        StorageType::FLOATS
    }

    fn plan(&self, _variant: &str, element: StorageType) -> Plan {
        let Self { tokens, heads, k, n, rest } = *self;
        let [a_bytes, b_bytes, out_bytes] =
            [self.a_dims(), self.b_dims(), self.out_dims()].map(|dims| bytes_of(&dims, element));
        let mut plan = Plan::new(Work {
            flop: Flop::new(2.0 * (tokens * heads * k * n) as f64),
            bytes_read: Bytes::new((a_bytes + b_bytes) as f64),
            bytes_written: Bytes::new(out_bytes as f64),
        });
        let bindings = [
            plan.buffer("a", Role::Input, a_bytes),
            plan.buffer("b", Role::Input, b_bytes),
            plan.buffer("out", Role::Output, out_bytes),
        ];
        // Few columns leave room for a second group of rows.
        let columns = (n + rest) / 4;
        let width = if columns <= WORKGROUP / 2 { WORKGROUP / 2 } else { WORKGROUP };
        let groups = WORKGROUP / width;
        plan.launch(
            Launch::of("attention_head_matmul", element)
                .overrides([("WIDTH", width as f64), ("GROUPS", groups as f64)])
                .params([
                    ("tokens", word(tokens)),
                    ("heads", word(heads)),
                    ("k4", word(k / 4)),
                    ("n4", word(n / 4)),
                    ("rest4", word(rest / 4)),
                ])
                .bindings(bindings)
                .grid([word(columns.div_ceil(width)), word(tokens.div_ceil(groups * ROWS)), word(heads)]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, element: StorageType, seed: u64) -> Tensors {
        let sigma = 1.0 / (self.k as f64).sqrt();
        let random = Random { sigma, seed: seed ^ 0xB };
        Tensors::from([
            ("a", normal(&self.a_dims(), element, seed ^ 0xA)),
            ("b", Tensor::random(&self.b_dims(), &self.b_dims(), element, random)),
        ])
    }

    fn outputs(&self, _variant: &str, element: StorageType) -> Vec<Output> {
        vec![Output::new("out", &self.out_dims(), &self.out_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let budget = TwinBudget { cost: self.k * self.n + self.rest, effort };
        compare_rows(outputs, self.out_dims(), element, budget, |token, head| {
            twin::attention::head_matmul(&inputs["a"], &inputs["b"], token, head)
        })
    }
}
