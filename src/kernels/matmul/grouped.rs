//! The grouped GEMM: its shape, its plan, and its judge.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::kernels::kernel::{Kernel, Made, if_smaller};
use crate::kernels::matmul::operands::{self, Weights};
use crate::kernels::matmul::variant::{Variant, named_variants};
use crate::kernels::plan::{Output, Plan, Role};
use crate::kernels::routing::{self, Load, NONE, TokenSlots};
use crate::kernels::tensor::{Tensor, Tensors};
use crate::kernels::twin;
use crate::kernels::types::{Extent, StorageType, Work, named, word};
use crate::kernels::verification::{self, Computed, Deviation, Verification, sample, tolerance};
use crate::units::{Bytes, Flop};

/// The purpose of a matmul.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatmulRole {
    /// Gate and up projection of the experts with SwiGLU fused; `n` is the intermediate size.
    GateUp,
    /// Down projection of the experts.
    Down,
    /// One matrix for all rows: projections and dense layers.
    Dense,
    /// Router logits: dense, in f32, part of gating.
    RouterLogits,
}

/// A grouped GEMM: `tokens * top_k` rows over `experts` matrices [k, n]; gate and up are two matrices side by side.
///
/// The product of `m` rows and one matrix is `Dense` with one expert and `m` tokens. A batch of `e` such products is `Down`
/// with `e` experts, `e * m` tokens and [`Load::Even`].
#[derive(Debug, Clone)]
pub struct Matmul {
    /// Its purpose.
    pub role: MatmulRole,
    /// Matrices; 1 for the dense roles.
    pub experts: usize,
    /// Tokens. Each has `top_k` rows.
    pub tokens: usize,
    /// Slots per token.
    pub top_k: usize,
    /// Shared dimension.
    pub k: usize,
    /// Columns of the output.
    pub n: usize,
    /// How the slots spread over experts.
    pub load: Load,
}

/// The least n and the least k of a trial: the width of the widest panel.
const TRIAL_SIDE: usize = 256;
/// The least rows per expert of a trial, if the case has more.
const TRIAL_ROWS: usize = 64;

/// A plan counts the rows per expert on the slots of this seed, since plans have no seed.
const TYPICAL_SEED: u64 = 1;

impl Matmul {
    /// `[m, k] * [k, n]`.
    pub fn dense(m: usize, k: usize, n: usize) -> Self {
        Self { role: MatmulRole::Dense, experts: 1, tokens: m, top_k: 1, k, n, load: Load::Even }
    }

    /// `batch` products `[m, k] * [k, n]`.
    pub fn batched(batch: usize, m: usize, k: usize, n: usize) -> Self {
        Self { role: MatmulRole::Down, experts: batch, tokens: batch * m, top_k: 1, k, n, load: Load::Even }
    }

    fn rows(&self) -> usize {
        self.tokens * self.top_k
    }

    fn swiglu(&self) -> bool {
        self.role == MatmulRole::GateUp
    }

    fn weights(&self) -> Weights {
        let matrices = if self.swiglu() { 2 } else { 1 };
        Weights { experts: self.experts, k: self.k, n: self.n, matrices }
    }

    /// Whether the rows of `a` are tokens, which the kernel gathers. Otherwise they are in row order already.
    fn gathers(&self) -> bool {
        self.role == MatmulRole::GateUp
    }

    /// Rows of a tile of this variant, which must belong to one expert. The sort pads to this number.
    pub fn row_tile(variant: &str) -> usize {
        Variant::of(variant).row_tile
    }

    fn slots(&self, seed: u64) -> Vec<u32> {
        let Self { tokens, top_k, experts, load, .. } = *self;
        routing::experts_of_slots(&TokenSlots { tokens, top_k, experts, load }, seed)
    }

    fn row_blocks(&self, variant: &Variant) -> usize {
        routing::most_row_blocks(self.rows(), self.experts, variant.row_tile)
    }

    /// Rows of each expert that has any.
    fn typical_rows(&self) -> Vec<usize> {
        let mut rows = vec![0; self.experts];
        self.slots(TYPICAL_SEED).iter().for_each(|&expert| rows[expert as usize] += 1);
        rows.retain(|rows| *rows > 0);
        rows
    }

    /// The least work: each operand is read once and each result written once. Only experts with rows read weights.
    fn work(&self, element: StorageType, used_experts: usize) -> Work {
        let (rows, k) = (self.rows() as f64, self.k as f64);
        let matrices = if self.swiglu() { 2.0 } else { 1.0 };
        let columns = self.n as f64 * matrices;
        let a_rows = if self.gathers() { self.tokens as f64 } else { rows };
        let activation_bytes = element.activation().size_bytes() as f64 * a_rows * k;
        let weight_bytes = element.weight_bits() as f64 / 8.0 * k * columns;
        let scale_bytes = match element {
            StorageType::Int8 => [4.0 * a_rows, 4.0 * columns],
            _ => [0.0, self.weights().least_scale_bytes(element) as f64],
        };
        let experts = used_experts as f64;
        Work {
            flop: Flop::new(2.0 * rows * k * columns),
            bytes_read: Bytes::new(activation_bytes + scale_bytes[0] + experts * (weight_bytes + scale_bytes[1])),
            bytes_written: Bytes::new(element.result().size_bytes() as f64 * rows * self.n as f64),
        }
    }

    /// Adds the scales that the tensors carry, as the kernels read them.
    pub(super) fn insert_scales(&self, inputs: &mut Tensors, variant: &Variant, element: StorageType) {
        if let Some(scales) = inputs["a"].scales().cloned() {
            inputs.insert("a_scale", scales);
        }
        self.weights().insert_scales(inputs, variant, element);
    }

    /// The operations that the launch issues: whole tiles of rows, whole panels of columns, whole steps of k.
    fn issued_flop(&self, variant: &Variant, element: StorageType, rows: &[usize]) -> Flop {
        let rows: usize = rows.iter().map(|rows| rows.next_multiple_of(variant.row_tile)).sum();
        let columns = self.weights().panels(variant) * variant.panel_columns();
        Flop::new(2.0 * (rows * columns) as f64 * operands::weights_k(self.k, variant, element) as f64)
    }
}

impl Kernel for Matmul {
    fn name(&self) -> &'static str {
        match self.role {
            MatmulRole::GateUp => "gate_up",
            MatmulRole::Down => "down",
            MatmulRole::Dense => "dense",
            MatmulRole::RouterLogits => "router_logits",
        }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let mut shape = named(&[
            ("experts", self.experts),
            ("tokens", self.tokens),
            ("top_k", self.top_k),
            ("k", self.k),
            ("n", self.n),
        ]);
        // A skewed load is described by the rows of its fullest expert; a balanced one has no such entry.
        if matches!(self.load, Load::PowerLaw | Load::HotExpert) {
            let most = self.typical_rows().into_iter().max().unwrap_or(0);
            shape.insert("rows_of_fullest".to_owned(), most as u64);
        }
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        named_variants()
    }

    fn elements(&self) -> &'static [StorageType] {
        if self.role == MatmulRole::RouterLogits { &[StorageType::F32] } else { &StorageType::ALL }
    }

    fn variant_elements(&self, variant: &str) -> &'static [StorageType] {
        let all = Variant::of(variant).elements;
        match self.role {
            MatmulRole::RouterLogits if all.contains(&StorageType::F32) => &[StorageType::F32],
            MatmulRole::RouterLogits => &[],
            _ => all,
        }
    }

    fn suits(&self, variant: &str) -> bool {
        // Variants that read all weights once per few rows do not suit more than a few row blocks per expert.
        let variant = Variant::of(variant);
        self.rows() <= variant.most_rows_per_expert.saturating_mul(self.experts)
    }

    /// Fewer experts with as many rows each, then less of each matrix. So the share of padding stays.
    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        let mut small = self.clone();
        while most.is_exceeded_by(&small.work(StorageType::F32, small.experts)) {
            let rows = small.rows() / small.experts;
            if small.experts / 2 >= small.top_k {
                small.experts /= 2;
                small.tokens = small.tokens.div_ceil(2);
            } else if small.n > TRIAL_SIDE || small.k > TRIAL_SIDE {
                let side = if small.n > TRIAL_SIDE { &mut small.n } else { &mut small.k };
                *side = (*side / 2).next_multiple_of(TRIAL_SIDE);
            } else if rows > TRIAL_ROWS {
                small.tokens = small.tokens.div_ceil(2);
            } else {
                break;
            }
        }
        if_smaller(small, self)
    }

    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        (self.tokens > 1).then(|| Box::new(Self { tokens: self.tokens / 2, ..self.clone() }) as Box<dyn Kernel>)
    }

    /// The side that tensor parallelism divides: the intermediate size, which is k of the down projection.
    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        let mut half = self.clone();
        let side = if self.role == MatmulRole::Down { &mut half.k } else { &mut half.n };
        *side = (*side / 2).next_multiple_of(4);
        (self.role != MatmulRole::RouterLogits && half.k.min(half.n) >= TRIAL_SIDE)
            .then(|| Box::new(half) as Box<dyn Kernel>)
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        let variant = Variant::of(variant);
        let typical = self.typical_rows();
        let mut plan = Plan::new(self.work(element, typical.len()));
        plan.issued_flop = self.issued_flop(variant, element, &typical);
        let row_blocks = self.row_blocks(variant);
        let rows = row_blocks * variant.row_tile;
        let a_rows = if self.gathers() { self.tokens } else { rows };
        let n4 = self.n.div_ceil(4);
        let panels = self.weights().panels(variant);
        let k = operands::padded_k(self.k, element);
        let b_columns = self.experts * panels * variant.panel_columns();

        let mut bindings = vec![
            plan.buffer("a", Role::Input, a_rows * k * operands::bytes(element.activation())),
            plan.buffer(
                "b",
                Role::Input,
                operands::weight_bytes(b_columns * operands::weights_k(self.k, variant, element), element),
            ),
            plan.buffer("block_expert", Role::Input, row_blocks * 4),
            plan.buffer("slot_of_row", Role::Input, rows * 4),
        ];
        if element == StorageType::Int8 {
            bindings.push(plan.buffer("a_scale", Role::Input, a_rows * 4));
            bindings.push(plan.buffer("b_scale", Role::Input, b_columns * 4));
        }
        bindings.push(plan.buffer("c", Role::Output, rows * n4 * 4 * operands::bytes(element.result())));
        let [of_columns, of_matrices] = self.weights().scale_bytes(variant, element);
        for (name, bytes) in [("b_scale", of_columns), ("matrix_scale", of_matrices)] {
            if bytes > 0 {
                bindings.push(plan.buffer(name, Role::Input, bytes));
            }
        }

        let (k_name, k_step) = variant.k_step(element);
        plan.launch(
            variant
                .launch(element)
                .overrides([("SWIGLU", f64::from(u8::from(self.swiglu())))])
                .params([
                    (k_name, word(k / k_step)),
                    ("n4", word(n4)),
                    ("panels", word(panels)),
                    ("top_k", if self.gathers() { word(self.top_k) } else { 0 }),
                ])
                .bindings(bindings)
                // Rows vary fastest: workgroups that run together share a panel of weights, which is the larger operand.
                .grid([word(row_blocks), word(panels), 1]),
        );
        plan
    }

    fn inputs(&self, variant: &str, element: StorageType, seed: u64) -> Tensors {
        self.inputs_from(&mut Made::default(), variant, element, seed)
    }

    /// All variants with panels of one width and one order inside share the weights.
    fn inputs_from(&self, made: &mut Made, variant: &str, element: StorageType, seed: u64) -> Tensors {
        let variant = Variant::of(variant);
        let layout = routing::layout(&self.slots(seed), self.experts, variant.row_tile);
        let rows = layout.slot_of_row.len();
        let mut activations = |given, in_memory| {
            made.tensor("a", in_memory, || operands::activations(given, in_memory, self.k, element, seed ^ 0xA))
        };
        // A slot has the same numbers whatever the padding. With one expert, slots are in order already.
        let a = match (self.gathers(), self.experts) {
            (true, _) => activations(self.tokens, self.tokens),
            (false, 1) => activations(self.rows(), rows),
            (false, _) => activations(self.rows(), self.rows()).rows_in_order(&layout.slot_of_row),
        };
        let mut inputs = Tensors::from([
            ("a", a),
            ("b", made.tensor("b", variant.weights_key(), || self.weights().draw(variant, element, seed ^ 0xB))),
            ("block_expert", Tensor::indices(&layout.block_expert)),
            ("slot_of_row", Tensor::indices(&layout.slot_of_row)),
        ]);
        self.insert_scales(&mut inputs, variant, element);
        inputs
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let (a, b) = (&inputs["a"], &inputs["b"]);
        let (block_expert, slot_of_row) = (&inputs["block_expert"], &inputs["slot_of_row"]);
        let row_tile = slot_of_row.dims()[0] / block_expert.dims()[0];
        let rows: Vec<usize> = (0..slot_of_row.dims()[0]).filter(|&row| slot_of_row.index_at(&[row]) != NONE).collect();
        let total = rows.len() * self.n;
        let want = |item: usize| {
            let (row, column) = (rows[item / self.n], item % self.n);
            let expert = block_expert.index_at(&[row / row_tile]) as usize;
            let source = if self.gathers() { slot_of_row.index_at(&[row]) as usize / self.top_k } else { row };
            let want = if self.swiglu() {
                twin::matmul::swiglu(a, b, source, expert, column)
            } else {
                twin::matmul::product(a, b, source, expert, column)
            };
            ([row, column], want)
        };
        let items: Vec<usize> = sample(total, self.k * if self.swiglu() { 2 } else { 1 }, effort).collect();
        let wanted: Vec<([usize; 2], f64)> = items.into_par_iter().map(want).collect();
        let mut deviation = Deviation::of("c");
        for (at, want) in wanted {
            deviation.pair(&at, outputs["c"].at(&at), want);
        }
        deviation.relative(tolerance(element), total)
    }

    /// Compares rows of the same token slot, since each variant pads the rows of an expert to its own tile.
    fn agreement(&self, ours: Computed, theirs: Computed, element: StorageType) -> Verification {
        let rows = |of: &Computed| {
            let slots = &of.inputs["slot_of_row"];
            let filled = (0..slots.dims()[0]).map(|row| (slots.index_at(&[row]), row));
            filled.filter(|(slot, _)| *slot != NONE).collect::<BTreeMap<u32, usize>>()
        };
        let (our_rows, their_rows) = (rows(&ours), rows(&theirs));
        let pairs: Vec<(usize, usize)> =
            our_rows.iter().filter_map(|(slot, ours)| Some((*ours, *their_rows.get(slot)?))).collect();
        let (our_c, their_c) = (&ours.outputs["c"], &theirs.outputs["c"]);
        verification::whole("c", our_c.kind(), element, pairs.len(), |index| {
            let (ours, theirs) = pairs[index];
            (vec![ours], our_c.row(ours), their_c.row(theirs))
        })
    }

    fn outputs(&self, variant: &str, element: StorageType) -> Vec<Output> {
        let variant = Variant::of(variant);
        let rows = self.row_blocks(variant) * variant.row_tile;
        vec![Output::new("c", &[rows, self.n], &[rows, self.n.next_multiple_of(4)], element.result())]
    }
}
