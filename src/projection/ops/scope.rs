//! What the formulas of a layer's operators read, and the operators that all of them use.

use crate::operators::AskedType;
use crate::projection::op::{Class, MeasuredShape, Op};
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::tabled::TabledOperator;
use crate::projection::terms::Term;
use crate::specs::{Layer, Model};
use crate::units::{Bytes, Flop};

/// What passes through a stage at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// Sequences of the tensor-parallel group.
    pub sequences: f64,
    /// Tokens of each that are computed here: with context parallelism this rank's share of them.
    pub queries: f64,
    /// What each token attends to.
    pub context: Context,
    /// Prompts that are computed in the same pass, beside sequences that are in decode.
    pub prompts: Option<Prompts>,
}

/// Prompts, or chunks of prompts, beside sequences in decode: a step of continuous batching with chunked prefill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prompts {
    /// Prompts of the tensor-parallel group.
    pub count: f64,
    /// Tokens of each that are computed in the pass.
    pub tokens: f64,
    /// Tokens of each that are in the KV cache already.
    pub before: f64,
}

/// What a token attends to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Context {
    /// The KV cache: this many tokens.
    Cache(f64),
    /// The tokens before it, of a sequence of this many; `before` of them were computed in earlier chunks.
    Causal {
        /// Tokens of the chunk, over all context-parallel ranks.
        tokens: f64,
        /// Tokens of earlier chunks.
        before: f64,
    },
}

impl Pass {
    /// Tokens of the tensor-parallel group.
    pub fn tokens(&self) -> f64 {
        self.own_tokens() + self.prompts.map_or(0.0, |prompts| prompts.count * prompts.tokens)
    }

    /// The same without those of prompts beside them.
    pub fn own_tokens(&self) -> f64 {
        self.sequences * self.queries
    }

    /// Its sequences and the prompts beside them as passes of their own: they meet in all ops but those that run over a
    /// context.
    pub(super) fn parts(&self) -> impl Iterator<Item = Self> {
        let own = Self { prompts: None, ..*self };
        let beside = self.prompts.map(|Prompts { count, tokens, before }| Self {
            sequences: count,
            queries: tokens,
            context: Context::Causal { tokens, before },
            prompts: None,
        });
        [Some(own).filter(|own| own.sequences > 0.0), beside].into_iter().flatten()
    }
}

/// How the weights of a part of the model are kept and multiplied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stored {
    /// Bytes of a weight.
    pub weight: f64,
    /// Bytes of an element of the left operand. Operands of products in fewer than 16 bits are cast before them.
    pub operand: f64,
    /// Arithmetic peak of its products over that of the number type in use.
    pub peak: f64,
}

impl Stored {
    /// The types of its products as measured operators have them.
    pub(super) const fn asked(self) -> AskedType {
        AskedType { weight_bytes: self.weight, operand_bytes: self.operand }
    }
}

/// Bytes per element by what is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Widths {
    /// A part in the number type in use, whatever the checkpoint keeps.
    pub in_use: Stored,
    /// Projections around attention or a recurrence.
    pub mixer: Stored,
    /// Dense feed-forward networks.
    pub dense: Stored,
    /// Shared experts.
    pub shared: Stored,
    /// Routed experts.
    pub experts: Stored,
    /// Arithmetic peak of an indexer's products over that of attention: they have 8 bits where the type in use has.
    pub index_peak: f64,
    /// A weight of the LM head as it is read.
    pub head: f64,
    /// Arithmetic peak of the LM head over that of other products.
    pub head_peak: f64,
    /// A weight of the embedding and the LM head as it is kept.
    pub table: f64,
    /// An activation.
    pub activation: f64,
    /// An element of the KV cache.
    pub cache: f64,
}

/// The ops of a layer by block; communication sits between the blocks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayerOps {
    /// Norm, projections, attention or recurrence, output projection.
    pub attention: Vec<Op>,
    /// Norm before the FFN, router, top-k, sort.
    pub gate: Vec<Op>,
    /// Layout of the copies of many tokens for the wire.
    pub pack: Vec<Op>,
    /// Shared experts. They use tokens that the rank holds, and do not wait for the dispatch.
    pub shared: Vec<Op>,
    /// Routed experts, or the dense FFN.
    pub ffn: Vec<Op>,
    /// Sum of the copies after the combine, where the combine does not form it.
    pub after: Vec<Op>,
}

impl LayerOps {
    /// All blocks in the order in which they run.
    pub fn blocks(&self) -> [&[Op]; 6] {
        [&self.attention, &self.gate, &self.pack, &self.shared, &self.ffn, &self.after]
    }
}

/// What the formulas of a layer read.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The model.
    pub model: &'a Model,
    /// The layer.
    pub layer: &'a Layer,
    /// The plan.
    pub plan: &'a ParallelPlan,
    /// Bytes per element.
    pub widths: Widths,
    /// The pass.
    pub pass: &'a Pass,
}

/// A matrix product: `[rows, k] x [k, n]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) rows: f64,
    pub(super) k: f64,
    pub(super) n: f64,
}

impl Product {
    pub(super) fn flop(self) -> f64 {
        2.0 * self.rows * self.k * self.n
    }
}

impl Scope<'_> {
    pub(super) fn tp(&self) -> f64 {
        f64::from(self.plan.tp)
    }

    /// Tokens that one rank holds between the blocks.
    pub fn own_tokens(&self) -> f64 {
        self.pass.tokens() / self.tp()
    }

    /// Tokens whose copies one rank computes on average: those of all ranks that split experts with it.
    pub fn routed_tokens(&self) -> f64 {
        self.own_tokens() * f64::from(self.plan.moe_tp)
    }

    /// Tokens that one rank has before the experts, over those whose copies it computes.
    pub(super) fn gathered(&self) -> f64 {
        self.plan.gathering() / f64::from(self.plan.moe_tp)
    }

    /// Heads that one rank attends with, of `heads` that it projects: in decode with decode context parallelism those of
    /// its whole group, over its share of the cache.
    pub(super) fn seen(&self, heads: f64) -> f64 {
        if matches!(self.pass.context, Context::Cache(_)) { heads * f64::from(self.plan.dcp) } else { heads }
    }

    /// Bytes per activation.
    pub(super) fn act(&self) -> f64 {
        self.widths.activation
    }

    /// A product whose weights are read once.
    pub(super) fn matmul(&self, name: &'static str, part: Stored, product: Product) -> Op {
        let Product { rows, k, n } = product;
        let bytes = k * n * part.weight + rows * (k * part.operand + n * self.act());
        let kernel = Some(MeasuredShape::Matmul { name: "down", experts: 1.0, rows, k, n });
        let (flop, bytes, peak) = (Flop::new(product.flop()), Bytes::new(bytes), part.peak);
        let tabled = Some(TabledOperator::gemm(part.asked(), [rows, k, n]));
        Op { name, term: Term::Dense, class: Class::Dense, flop, bytes, peak, kernel, tabled, module: None }
    }

    /// A stream of bytes through the vector units.
    pub(super) fn stream(name: &'static str, bytes: f64) -> Op {
        let bytes = Bytes::new(bytes);
        let (term, class) = (Term::Dense, Class::Vector);
        Op { name, term, class, flop: Flop::ZERO, bytes, peak: 1.0, kernel: None, tabled: None, module: None }
    }

    /// Residual sum, norm and cast. It reads both inputs and writes the sum and the operand. Where the residual stream
    /// has several copies, it reads and writes each of them.
    pub(super) fn norm(&self, name: &'static str, part: Stored) -> Op {
        let copies = self.model.residual_streams as f64;
        let element = (2.0 * copies + 1.0) * self.act() + part.operand;
        Self::stream(name, self.own_tokens() * self.model.hidden as f64 * element)
    }

    /// Cast of an operand for a product in fewer than 16 bits, where no other op writes it so.
    pub(super) fn cast(&self, list: &mut Vec<Op>, name: &'static str, part: Stored, elements: f64) {
        if part.operand < self.act() {
            list.push(Self::stream(name, elements * (self.act() + part.operand)));
        }
    }
}
