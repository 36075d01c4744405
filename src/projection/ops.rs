//! The operators of one layer on one rank, for one pass of a micro-batch through it.
//!
//! A rank is one die. `tokens` is what the ranks of a tensor-parallel group work on together; with sequence parallelism
//! each of them holds `tokens / tp` between the blocks, and these are what it routes to experts. Each multiply-add counts
//! two; each operand moves once, activations included: in latent attention they weigh as much as weights.

use super::machine::Machine;
use super::result::Plan;
use crate::specs::{Attention, Model, Moe};

/// What passes through a stage at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// Sequences of the tensor-parallel group.
    pub sequences: f64,
    /// Tokens of each that are computed here: with context parallelism this rank's share of them.
    pub queries: f64,
    /// What each token attends to.
    pub context: Context,
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
        self.sequences * self.queries
    }
}

/// Which roofs an op runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Attention over a cache.
    Attention,
    /// Causal attention of prefill and training.
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

/// Part of the step that an op's time is booked under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `attention`.
    Attention,
    /// `expert_matmul`.
    Expert,
    /// `gating`.
    Gating,
    /// `dense`.
    Dense,
}

/// A kernel of a record, and the sizes that tell its cases apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kernel {
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
    /// Attention: decode or prefill, grouped-query or latent.
    Attention {
        /// Its name in records.
        name: &'static str,
        /// Sequences.
        sequences: f64,
        /// Queries of each.
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
    /// Where its time is booked.
    pub part: Part,
    /// Its roofs.
    pub class: Class,
    /// Arithmetic.
    pub flop: f64,
    /// Memory traffic.
    pub bytes: f64,
    /// The record's kernel that is this op, if any.
    pub kernel: Option<Kernel>,
}

/// The ops of a layer by block; communication sits between the blocks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayerOps {
    /// Norm, projections, attention, output projection.
    pub attention: Vec<Op>,
    /// Norm before the FFN, router, top-k, sort, cast of what is sent.
    pub gate: Vec<Op>,
    /// What lays out the copies of many tokens for the wire.
    pub pack: Vec<Op>,
    /// Shared experts of the tokens at hand: nothing waits on the wire for them.
    pub shared: Vec<Op>,
    /// Routed experts, or the dense FFN.
    pub ffn: Vec<Op>,
    /// What follows the combine.
    pub after: Vec<Op>,
}

/// All that the formulas need, in one place.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The model.
    pub model: &'a Model,
    /// The plan.
    pub plan: &'a Plan,
    /// The machine.
    pub machine: &'a Machine,
    /// The pass.
    pub pass: &'a Pass,
}

impl Scope<'_> {
    fn tp(&self) -> f64 {
        f64::from(self.plan.tp)
    }

    /// Tokens that one rank holds between the blocks.
    pub fn own_tokens(&self) -> f64 {
        self.pass.tokens() / self.tp()
    }

    /// Bytes of an activation.
    fn act(&self) -> f64 {
        self.machine.activation_bytes
    }

    /// Bytes of an operand of a matrix product: 8-bit types are cast to before it.
    fn operand(&self) -> f64 {
        self.machine.weight_bytes.min(self.act())
    }

    /// A product of `rows` by weights of `k` by `n`, read once.
    fn matmul(&self, name: &'static str, rows: f64, k: f64, n: f64) -> Op {
        let bytes = k * n * self.machine.weight_bytes + rows * (k * self.operand() + n * self.act());
        let kernel = Some(Kernel::Matmul { name: "down", experts: 1.0, rows, k, n });
        Op { name, part: Part::Dense, class: Class::Dense, flop: 2.0 * rows * k * n, bytes, kernel }
    }

    /// A stream through the vector units.
    fn stream(name: &'static str, bytes: f64) -> Op {
        Op { name, part: Part::Dense, class: Class::Vector, flop: 0.0, bytes, kernel: None }
    }

    /// Residual sum, norm and cast: reads both inputs, writes the sum and the operand.
    fn norm(&self, name: &'static str) -> Op {
        let element = 3.0 * self.act() + self.operand();
        Self::stream(name, self.own_tokens() * self.model.hidden as f64 * element)
    }

    /// Cast of an 8-bit product's operand that no other op writes; nothing for 16 bits.
    fn cast(&self, list: &mut Vec<Op>, name: &'static str, elements: f64) {
        if self.operand() < self.act() {
            list.push(Self::stream(name, elements * (self.act() + self.operand())));
        }
    }
}

/// Elements of a token and layer in one rank's KV cache. Latent attention caches one latent that all heads share, so
/// tensor parallelism does not split it; grouped heads split until one is left.
pub fn cache_elements(model: &Model, tp: f64) -> f64 {
    match model.attention {
        Attention::Gqa { kv_heads, head_dim, .. } => 2.0 * (kv_heads as f64 / tp).max(1.0) * head_dim as f64,
        Attention::Mla { kv_lora_rank, rope_head_dim, .. } => kv_lora_rank as f64 + rope_head_dim as f64,
    }
}

/// FLOP of a query and key, all heads: in absorbed form (decode) scores are over latent and rotary part, values from
/// the latent (DeepSeek-V2, section 2.1).
pub fn flop_per_pair(model: &Model, absorbed: bool) -> f64 {
    match model.attention {
        Attention::Gqa { heads, head_dim, .. } => 4.0 * heads as f64 * head_dim as f64,
        Attention::Mla { heads, kv_lora_rank, rope_head_dim, nope_head_dim, v_head_dim, .. } => {
            let (heads, rank, rope) = (heads as f64, kv_lora_rank as f64, rope_head_dim as f64);
            let (nope, value) = (nope_head_dim as f64, v_head_dim as f64);
            if absorbed { 2.0 * heads * (2.0 * rank + rope) } else { 2.0 * heads * (nope + rope + value) }
        }
    }
}

/// Mean number of keys that a layer attends to, where `full` are in reach: windowed layers see less.
pub fn keys(model: &Model, full: f64) -> f64 {
    model.window.map_or(full, |window| {
        let share = 1.0 / window.every as f64;
        share * full.min(window.tokens as f64) + (1.0 - share) * full
    })
}

/// Keys and the bytes of the cache that attention reads, for each query and sequence.
fn reach(scope: &Scope<'_>) -> f64 {
    match scope.pass.context {
        Context::Cache(length) => keys(scope.model, length / f64::from(scope.plan.cp)),
        Context::Causal { tokens, before } => keys(scope.model, before + tokens / 2.0),
    }
}

/// Attention and its projections.
pub fn attention(scope: &Scope<'_>) -> Vec<Op> {
    let mut list = Vec::with_capacity(16);
    list.push(scope.norm("norm"));
    match scope.model.attention {
        Attention::Gqa { heads, kv_heads, head_dim } => {
            grouped(scope, &mut list, heads as f64, kv_heads as f64, head_dim as f64);
        }
        Attention::Mla { .. } => latent(scope, &mut list),
    }
    list
}

fn grouped(scope: &Scope<'_>, list: &mut Vec<Op>, heads: f64, kv_heads: f64, d: f64) {
    let (tokens, hidden, act) = (scope.pass.tokens(), scope.model.hidden as f64, scope.act());
    let (heads, kv) = (heads / scope.tp(), (kv_heads / scope.tp()).max(1.0));
    list.push(scope.matmul("qkv", tokens, hidden, (heads + 2.0 * kv) * d));
    list.push(Scope::stream("rope", tokens * (heads + 2.0 * kv) * d * 2.0 * act));
    let io = tokens * 2.0 * heads * d * act;
    let cache = cache_bytes(scope);
    let flop = tokens * reach(scope) * 4.0 * heads * d;
    list.push(attention_op(scope, flop, io + cache, heads));
    scope.cast(list, "cast", tokens * heads * d);
    list.push(scope.matmul("output", tokens, heads * d, hidden));
}

fn latent(scope: &Scope<'_>, list: &mut Vec<Op>) {
    let Attention::Mla { heads, q_lora_rank, kv_lora_rank, rope_head_dim, nope_head_dim, v_head_dim } =
        scope.model.attention
    else {
        return;
    };
    let (tokens, hidden, act) = (scope.pass.tokens(), scope.model.hidden as f64, scope.act());
    let (heads, q_rank, rank) = (heads as f64 / scope.tp(), q_lora_rank as f64, kv_lora_rank as f64);
    let (rope, nope, value) = (rope_head_dim as f64, nope_head_dim as f64, v_head_dim as f64);
    list.push(scope.matmul("down projection", tokens, hidden, q_rank + rank + rope));
    list.push(Scope::stream("latent norm and rope", tokens * (q_rank + rank + rope) * (act + act)));
    list.push(scope.matmul("query projection", tokens, q_rank, heads * (nope + rope)));
    list.push(Scope::stream("query rope", tokens * heads * rope * 2.0 * act));
    match scope.pass.context {
        Context::Cache(_) => {
            list.push(heads_matmul(scope, "absorb keys", heads, nope, rank));
            let io = tokens * heads * (2.0 * rank + rope) * act;
            let flop = tokens * reach(scope) * 2.0 * heads * (2.0 * rank + rope);
            list.push(attention_op(scope, flop, io + cache_bytes(scope), heads));
            list.push(heads_matmul(scope, "absorb values", heads, rank, value));
        }
        Context::Causal { .. } => {
            list.push(scope.matmul("key and value projection", tokens, rank, heads * (nope + value)));
            list.push(Scope::stream("keys", tokens * heads * (nope + rope) * 2.0 * act));
            let io = tokens * heads * 2.0 * (nope + rope + value) * act;
            let flop = tokens * reach(scope) * 2.0 * heads * (nope + rope + value);
            list.push(attention_op(scope, flop, io, heads));
        }
    }
    scope.cast(list, "cast", tokens * heads * value);
    list.push(scope.matmul("output", tokens, heads * value, hidden));
}

/// A product for each head with its own 16-bit weights.
fn heads_matmul(scope: &Scope<'_>, name: &'static str, heads: f64, k: f64, n: f64) -> Op {
    let (tokens, act) = (scope.pass.tokens(), scope.act());
    let bytes = heads * (k * n + tokens * (k + n)) * act;
    let kernel = None;
    Op { name, part: Part::Dense, class: Class::Attention, flop: 2.0 * tokens * heads * k * n, bytes, kernel }
}

/// Bytes of the cache that one pass reads in a layer.
fn cache_bytes(scope: &Scope<'_>) -> f64 {
    let element = cache_elements(scope.model, scope.tp()) * scope.machine.cache_bytes;
    match scope.pass.context {
        Context::Cache(_) => scope.pass.sequences * reach(scope) * element,
        Context::Causal { tokens, before } => scope.pass.sequences * (before + tokens) * element,
    }
}

fn attention_op(scope: &Scope<'_>, flop: f64, bytes: f64, heads: f64) -> Op {
    let pass = scope.pass;
    let latent = matches!(scope.model.attention, Attention::Mla { .. });
    let (name, kv_len) = match (pass.context, latent) {
        (Context::Cache(length), false) => ("decode", length),
        (Context::Cache(length), true) => ("mla_decode", length),
        (Context::Causal { tokens, before }, false) => ("prefill", tokens + before),
        (Context::Causal { tokens, before }, true) => ("mla_prefill", tokens + before),
    };
    let kernel = Some(Kernel::Attention { name, sequences: pass.sequences, queries: pass.queries, kv_len, heads });
    let class = if matches!(pass.context, Context::Cache(_)) { Class::Attention } else { Class::PrefillAttention };
    Op { name: "attention", part: Part::Attention, class, flop, bytes, kernel }
}

/// A dense FFN after its norm: gate and up, SwiGLU, down.
pub fn dense_ffn(scope: &Scope<'_>) -> Vec<Op> {
    let width = scope.model.dense_intermediate as f64 / scope.tp();
    let mut list = Vec::with_capacity(5);
    list.push(scope.norm("ffn norm"));
    ffn(scope, &mut list, scope.pass.tokens(), width);
    list
}

fn ffn(scope: &Scope<'_>, list: &mut Vec<Op>, rows: f64, width: f64) {
    let hidden = scope.model.hidden as f64;
    let mut up = scope.matmul("gate and up", rows, hidden, 2.0 * width);
    up.kernel = Some(Kernel::Matmul { name: "gate_up", experts: 1.0, rows, k: hidden, n: width });
    list.push(up);
    list.push(Scope::stream("swiglu", rows * width * (2.0 * scope.act() + scope.operand())));
    list.push(scope.matmul("down", rows, width, hidden));
}

/// LM head of the tokens that get logits: 16-bit weights at least, split over the tensor-parallel group.
pub fn head(scope: &Scope<'_>, rows: f64) -> Op {
    let (hidden, vocab, act) = (scope.model.hidden as f64, scope.model.vocab as f64 / scope.tp(), scope.act());
    let bytes = (hidden * vocab + rows * (hidden + 2.0 * vocab)) * act;
    let kernel = Some(Kernel::Matmul { name: "down", experts: 1.0, rows, k: hidden, n: vocab });
    Op { name: "lm head", part: Part::Dense, class: Class::Dense, flop: 2.0 * rows * hidden * vocab, bytes, kernel }
}

/// Slots for experts on one rank: whole ones, so that an uneven split leaves room for replicas of hot experts.
pub fn expert_slots(moe: &Moe, plan: &Plan) -> f64 {
    (moe.experts as f64 / f64::from(plan.ep)).ceil()
}

/// Whether ranks beyond one an expert hold the shared experts and replicas, as on CloudMatrix384 (EP 320: 256 experts,
/// 32 replicas, 32 copies of the shared one; arXiv:2506.12708). Each token is then sent to the shared expert too.
pub fn shared_elsewhere(moe: &Moe, plan: &Plan) -> bool {
    moe.shared_experts > 0 && u64::from(plan.ep) > moe.experts
}

/// Copies of a token that are dispatched.
pub fn copies(moe: &Moe, plan: &Plan) -> f64 {
    let shared = if shared_elsewhere(moe, plan) { moe.shared_experts } else { 0 };
    (moe.top_k + shared) as f64
}

/// The experts' blocks of a layer; `load` is the hottest rank's load over the mean, and `sums` says that copies are summed by an
/// op of its own, not by the combine.
pub fn experts(scope: &Scope<'_>, moe: &Moe, load: f64, sums: bool, layer: &mut LayerOps) {
    let (own, hidden, act) = (scope.own_tokens(), scope.model.hidden as f64, scope.act());
    gate(scope, moe, &mut layer.gate);
    if moe.shared_experts > 0 && !shared_elsewhere(moe, scope.plan) {
        ffn(scope, &mut layer.shared, own, (moe.shared_experts * moe.intermediate) as f64);
        // Shared experts are whole on each rank: the width is not split.
    }
    let copies = copies(moe, scope.plan);
    let rows = own * copies * load;
    let slots = expert_slots(moe, scope.plan);
    // A slot that no row visits is not read.
    let touched = slots * (1.0 - (-rows / slots).exp());
    let width = moe.intermediate as f64;
    let grouped = |name, kernel: &'static str, k: f64, n: f64, result: f64| {
        let weights = touched * k * n * scope.machine.weight_bytes;
        let kernel = Some(Kernel::Matmul { name: kernel, experts: slots, rows, k, n: result });
        let bytes = weights + rows * (k * scope.operand() + n * act);
        Op { name, part: Part::Expert, class: Class::Expert, flop: 2.0 * rows * k * n, bytes, kernel }
    };
    layer.ffn.push(grouped("expert gate and up", "gate_up", hidden, 2.0 * width, width));
    let swiglu = Scope::stream("expert swiglu", rows * width * (2.0 * act + scope.operand()));
    layer.ffn.push(Op { part: Part::Expert, ..swiglu });
    layer.ffn.push(grouped("expert down", "down", width, hidden, hidden));
    if sums {
        let sum = Scope::stream("weighted sum", own * (copies + 1.0) * hidden * act);
        layer.after.push(Op { part: Part::Expert, ..sum });
    }
}

/// The copies, cast and written where the experts, or the wire, take them from.
pub fn pack(scope: &Scope<'_>, moe: &Moe) -> Op {
    let (own, hidden) = (scope.own_tokens(), scope.model.hidden as f64);
    let bytes = own * hidden * (scope.act() + copies(moe, scope.plan) * scope.operand());
    Op { part: Part::Gating, ..Scope::stream("pack", bytes) }
}

fn gate(scope: &Scope<'_>, moe: &Moe, list: &mut Vec<Op>) {
    let (own, hidden, act) = (scope.own_tokens(), scope.model.hidden as f64, scope.act());
    let (experts, top_k) = (moe.experts as f64, moe.top_k as f64);
    list.push(scope.norm("ffn norm"));
    let gating = |name, flop, bytes, kernel: &'static str| {
        let kernel = Some(Kernel::Gating { name: kernel, tokens: own, experts });
        Op { name, part: Part::Gating, class: Class::Gating, flop, bytes, kernel }
    };
    let bytes = own * (hidden * act + 4.0 * experts) + hidden * experts * act;
    list.push(gating("router", 2.0 * own * hidden * experts, bytes, "router_logits"));
    list.push(gating("top-k", 0.0, own * (8.0 * experts + 16.0 * top_k), "topk"));
    list.push(gating("sort", 0.0, own * top_k * 24.0, "sort"));
}

/// Useful FLOP of a token: two a weight that it meets (the embedding is a look-up) plus attention over `context` keys.
pub fn model_flop_per_token(model: &Model, context: f64, absorbed: bool) -> f64 {
    let tables = if model.tied_embeddings { 0.0 } else { model.embedding_parameters() };
    2.0 * (model.active_parameters() - tables)
        + model.layers as f64 * keys(model, context) * flop_per_pair(model, absorbed)
}
