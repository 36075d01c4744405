//! Expert matmul: grouped GEMM over expert-sorted rows, the weighted combine, and the dense GEMM as the one-group case.

use std::collections::BTreeMap;

use super::compare::{Comparison, Verification, sample};
use super::routing::{self, Load, NONE};
use super::tensor::{Tensor, Tensors};
use super::{Element, Family, Kernel, Output, Plan, Role, Work, named, twin, word};
use crate::units::{Bytes, Flop};

/// What a matmul is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatmulRole {
    /// Gate and up projection of the experts with SwiGLU fused; `n` is the intermediate size.
    GateUp,
    /// Down projection of the experts.
    Down,
    /// One matrix for all rows: projections, dense layers.
    Dense,
    /// Router logits: dense, in f32, part of gating.
    RouterLogits,
}

/// A grouped GEMM: `tokens * top_k` rows over `experts` matrices [k, n] (two of them side by side for gate and up).
#[derive(Debug, Clone)]
pub struct Matmul {
    /// What it is for.
    pub role: MatmulRole,
    /// Matrices; 1 for the dense roles.
    pub experts: usize,
    /// Tokens; each takes part `top_k` times.
    pub tokens: usize,
    /// Slots a token.
    pub top_k: usize,
    /// Shared dimension.
    pub k: usize,
    /// Columns of the output.
    pub n: usize,
    /// How the slots spread.
    pub load: Load,
}

/// Rows that one invocation of the blocked and streamed variants carries.
const INVOCATION_ROWS: usize = 8;

impl Matmul {
    fn rows(&self) -> usize {
        self.tokens * self.top_k
    }

    fn swiglu(&self) -> bool {
        self.role == MatmulRole::GateUp
    }

    /// Whether rows of `a` are tokens that the kernel gathers, or already in row order.
    fn gathers(&self) -> bool {
        self.role == MatmulRole::GateUp
    }

    /// Rows that must belong to one expert.
    fn row_tile(variant: &str) -> usize {
        match variant {
            "tiled" => 64,
            "streamed" => INVOCATION_ROWS,
            _ => 16,
        }
    }

    fn slots(&self, seed: u64) -> Vec<u32> {
        routing::experts_of_slots(self.tokens, self.top_k, self.experts, self.load, seed)
    }

    fn row_blocks(&self, variant: &str) -> usize {
        routing::most_row_blocks(self.rows(), self.experts, Self::row_tile(variant))
    }

    /// Columns of one matrix of `b` in memory, in vec4.
    fn b_stride4(&self) -> usize {
        self.n.div_ceil(4) * if self.swiglu() { 2 } else { 1 }
    }

    /// Expected number of experts with at least one row under the load.
    fn used_experts(&self) -> f64 {
        let experts = self.experts as f64;
        match self.load {
            Load::OneExpert => 1.0,
            Load::EvenExperts => (experts / 2.0).ceil().min(self.rows() as f64),
            Load::Uniform => {
                let share = (self.top_k as f64 / experts).min(1.0);
                experts * (1.0 - (1.0 - share).powi(i32::try_from(self.tokens).unwrap_or(i32::MAX)))
            }
        }
    }

    fn work(&self, element: Element) -> Work {
        let (rows, k) = (self.rows() as f64, self.k as f64);
        let columns = self.n as f64 * if self.swiglu() { 2.0 } else { 1.0 };
        let a_rows = if self.gathers() { self.tokens as f64 } else { rows };
        let size = element.size_bytes() as f64;
        Work {
            flop: Flop::new(2.0 * rows * k * columns),
            bytes_read: Bytes::new(size * (a_rows * k + self.used_experts() * k * columns)),
            bytes_written: Bytes::new(size * rows * self.n as f64),
        }
    }
}

impl Kernel for Matmul {
    fn family(&self) -> Family {
        if self.role == MatmulRole::RouterLogits { Family::Gating } else { Family::ExpertMatmul }
    }

    fn name(&self) -> &'static str {
        match self.role {
            MatmulRole::GateUp => "gate_up",
            MatmulRole::Down => "down",
            MatmulRole::Dense => "dense",
            MatmulRole::RouterLogits => "router_logits",
        }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[
            ("experts", self.experts),
            ("tokens", self.tokens),
            ("top_k", self.top_k),
            ("k", self.k),
            ("n", self.n),
        ])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["blocked", "subgroup", "tiled", "streamed"]
    }

    fn elements(&self) -> &'static [Element] {
        if self.role == MatmulRole::RouterLogits {
            &[Element::F32]
        } else {
            &[Element::F32, Element::F16, Element::Bf16]
        }
    }

    fn suits(&self, variant: &str) -> bool {
        // The streamed kernel reads all weights once per 8 rows: beyond a few row blocks an expert it is the wrong tool.
        variant != "streamed" || self.rows() <= 64 * self.experts
    }

    fn plan(&self, variant: &str, element: Element) -> Plan {
        let row_tile = Self::row_tile(variant);
        let row_blocks = self.row_blocks(variant);
        let rows = row_blocks * row_tile;
        let (k4, n4, b4) = (self.k.div_ceil(4), self.n.div_ceil(4), self.b_stride4());
        let vector = 4 * usize::try_from(element.size_bytes()).unwrap_or(4);
        let a_rows = if self.gathers() { self.tokens } else { rows };

        let mut plan = Plan::new(self.work(element));
        let bindings = vec![
            plan.buffer("a", Role::Input, a_rows * k4 * vector),
            plan.buffer("b", Role::Input, self.experts * k4 * 4 * b4 * vector),
            plan.buffer("block_expert", Role::Input, row_blocks * 4),
            plan.buffer("slot_of_row", Role::Input, rows * 4),
            plan.buffer("c", Role::Output, rows * n4 * vector),
        ];
        // Columns that one workgroup covers, in vec4 of the output.
        let lanes = |width: usize| if self.swiglu() { width } else { 2 * width };
        let mut overrides = BTreeMap::from([("SWIGLU", f64::from(u8::from(self.swiglu())))]);
        let (shader, grid) = match variant {
            "tiled" => ("matmul_tiled", (row_blocks, lanes(16))),
            "streamed" => ("matmul_streamed", (row_blocks, lanes(32))),
            "subgroup" => {
                overrides.insert("ROW_TILE", row_tile as f64);
                ("matmul_subgroup", (rows / 16, lanes(8)))
            }
            _ => {
                overrides.insert("ROW_TILE", row_tile as f64);
                ("matmul_blocked", (rows / INVOCATION_ROWS, lanes(8)))
            }
        };
        // Rows vary fastest: workgroups that run together share a panel of weights, which is the larger operand.
        let grid = [word(grid.0), word(n4.div_ceil(grid.1)), 1];
        plan.launch(shader, element, overrides, bindings, grid).params = vec![
            ("k4", word(k4)),
            ("n4", word(n4)),
            ("a_stride4", word(k4)),
            ("b_stride4", word(b4)),
            ("up_offset4", if self.swiglu() { word(n4) } else { 0 }),
            ("top_k", if self.gathers() { word(self.top_k) } else { 0 }),
        ];
        plan
    }

    fn inputs(&self, variant: &str, element: Element, seed: u64) -> Tensors {
        let layout = routing::layout(&self.slots(seed), self.experts, Self::row_tile(variant));
        let a_rows = if self.gathers() { self.tokens } else { layout.slot_of_row.len() };
        let k_padded = self.k.next_multiple_of(4);
        let n_padded = self.n.next_multiple_of(4);
        let sigma = 1.0 / (self.k as f64).sqrt();
        let b = if self.swiglu() {
            // Gate and up are padded apart from each other, so the pair is a dimension of its own in memory.
            Tensor::random(
                &[self.experts, self.k, 2, self.n],
                &[self.experts, k_padded, 2, n_padded],
                element,
                sigma,
                seed ^ 0xB,
            )
        } else {
            Tensor::random(
                &[self.experts, self.k, self.n],
                &[self.experts, k_padded, n_padded],
                element,
                sigma,
                seed ^ 0xB,
            )
        };
        Tensors::from([
            ("a", Tensor::random(&[a_rows, self.k], &[a_rows, k_padded], element, 1.0, seed ^ 0xA)),
            ("b", b),
            ("block_expert", Tensor::indices(&layout.block_expert)),
            ("slot_of_row", Tensor::indices(&layout.slot_of_row)),
        ])
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let (a, b) = (&inputs["a"], &inputs["b"]);
        let (block_expert, slot_of_row) = (&inputs["block_expert"], &inputs["slot_of_row"]);
        let row_tile = slot_of_row.dims()[0] / block_expert.dims()[0];
        let rows: Vec<usize> = (0..slot_of_row.dims()[0]).filter(|&row| slot_of_row.index_at(&[row]) != NONE).collect();
        let total = rows.len() * self.n;
        let mut comparison = Comparison::of("c");
        for item in sample(total, self.k * if self.swiglu() { 2 } else { 1 }, effort) {
            let (row, column) = (rows[item / self.n], item % self.n);
            let expert = block_expert.index_at(&[row / row_tile]) as usize;
            let source = if self.gathers() { slot_of_row.index_at(&[row]) as usize / self.top_k } else { row };
            let want = if self.swiglu() {
                twin::matmul::swiglu(a, b, source, expert, column)
            } else {
                twin::matmul::product(a, b, source, expert, column)
            };
            comparison.pair(&[row, column], outputs["c"].at(&[row, column]), want);
        }
        comparison.relative(tolerance(element), total)
    }

    fn outputs(&self, variant: &str, element: Element) -> Vec<Output> {
        let rows = self.row_blocks(variant) * Self::row_tile(variant);
        vec![Output::new("c", &[rows, self.n], &[rows, self.n.next_multiple_of(4)], element)]
    }
}

/// What a right kernel stays within, as a relative Frobenius error: rounding of the stored result (2^-11 in f16, 2^-8 in
/// bf16, with half as much again for the f32 accumulation), of some thousand f32 additions where it is f32.
pub(super) fn tolerance(element: Element) -> f64 {
    match element {
        Element::F32 => 1e-5,
        Element::F16 | Element::Int4 => 7.5e-4,
        Element::Bf16 | Element::Int8 => 6e-3,
    }
}

/// The weighted sum of expert outputs back in token order.
#[derive(Debug, Clone)]
pub struct Combine {
    /// Tokens.
    pub tokens: usize,
    /// Experts a token.
    pub top_k: usize,
    /// Columns.
    pub hidden: usize,
    /// Experts that the slots came from.
    pub experts: usize,
}

impl Combine {
    fn row_of_slot(&self, seed: u64) -> Vec<u32> {
        let slots = routing::experts_of_slots(self.tokens, self.top_k, self.experts, Load::Uniform, seed);
        routing::layout(&slots, self.experts, Matmul::row_tile("tiled")).row_of_slot
    }

    fn rows(&self) -> usize {
        let tile = Matmul::row_tile("tiled");
        routing::most_row_blocks(self.tokens * self.top_k, self.experts, tile) * tile
    }
}

impl Kernel for Combine {
    fn family(&self) -> Family {
        Family::ExpertMatmul
    }

    fn name(&self) -> &'static str {
        "combine"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("tokens", self.tokens), ("top_k", self.top_k), ("hidden", self.hidden), ("experts", self.experts)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["gather"]
    }

    fn elements(&self) -> &'static [Element] {
        &[Element::F32, Element::F16, Element::Bf16]
    }

    fn plan(&self, _variant: &str, element: Element) -> Plan {
        let (slots, n4) = (self.tokens * self.top_k, self.hidden.div_ceil(4));
        let size = usize::try_from(element.size_bytes()).unwrap_or(4);
        let mut plan = Plan::new(Work {
            flop: Flop::new(2.0 * (slots * self.hidden) as f64),
            bytes_read: Bytes::new((slots * (self.hidden * size + 8)) as f64),
            bytes_written: Bytes::new((self.tokens * self.hidden * size) as f64),
        });
        let bindings = vec![
            plan.buffer("y", Role::Input, self.rows() * n4 * 4 * size),
            plan.buffer("weight", Role::Input, slots * 4),
            plan.buffer("row_of_slot", Role::Input, slots * 4),
            plan.buffer("out", Role::Output, self.tokens * n4 * 4 * size),
        ];
        let grid = [word(n4.div_ceil(64)), word(self.tokens), 1];
        plan.launch("combine", element, BTreeMap::from([("WORKGROUP", 64.0)]), bindings, grid).params =
            vec![("tokens", word(self.tokens)), ("n4", word(n4)), ("top_k", word(self.top_k))];
        plan
    }

    fn inputs(&self, _variant: &str, element: Element, seed: u64) -> Tensors {
        let padded = self.hidden.next_multiple_of(4);
        Tensors::from([
            ("y", Tensor::random(&[self.rows(), self.hidden], &[self.rows(), padded], element, 1.0, seed ^ 0xA)),
            (
                "weight",
                Tensor::random(&[self.tokens, self.top_k], &[self.tokens, self.top_k], Element::F32, 0.3, seed ^ 0xB),
            ),
            ("row_of_slot", Tensor::indices(&self.row_of_slot(seed))),
        ])
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let total = self.tokens * self.hidden;
        let mut comparison = Comparison::of("out");
        for item in sample(total, self.top_k, effort) {
            let (token, column) = (item / self.hidden, item % self.hidden);
            let want = twin::matmul::combine(&inputs["y"], &inputs["weight"], &inputs["row_of_slot"], token, column);
            comparison.pair(&[token, column], outputs["out"].at(&[token, column]), want);
        }
        comparison.relative(tolerance(element), total)
    }

    fn outputs(&self, _variant: &str, element: Element) -> Vec<Output> {
        vec![Output::new("out", &[self.tokens, self.hidden], &[self.tokens, self.hidden.next_multiple_of(4)], element)]
    }
}
