//! The operators of one layer on one rank, for one pass of a micro-batch through it.
//!
//! - A rank is one die.
//! - `tokens` counts the tokens that a tensor-parallel group works on together. With sequence parallelism each rank of
//!   the group holds `tokens / tp` of them between the blocks, and routes these to experts.
//! - A multiply-add counts as two FLOP.
//! - Each operand moves once, activations included: in latent attention they weigh as much as weights.

use crate::projection::op::{Class, MeasuredShape, Op};
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::terms::Term;
use crate::specs::{Attention, Model, Moe};
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

    /// Its sequences and the prompts beside them as passes of their own: they meet in all ops but attention.
    fn parts(&self) -> impl Iterator<Item = Self> {
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

/// Bytes per element by what is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Widths {
    /// A weight.
    pub weight: f64,
    /// What a product multiplies the weights with.
    pub operand: f64,
    /// An activation.
    pub activation: f64,
    /// An element of the KV cache.
    pub cache: f64,
}

/// The ops of a layer by block; communication sits between the blocks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayerOps {
    /// Norm, projections, attention, output projection.
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
    /// The plan.
    pub plan: &'a ParallelPlan,
    /// Bytes per element.
    pub widths: Widths,
    /// The pass.
    pub pass: &'a Pass,
}

/// A matrix product: `[rows, k] x [k, n]`.
#[derive(Debug, Clone, Copy)]
struct Product {
    rows: f64,
    k: f64,
    n: f64,
}

impl Product {
    fn flop(self) -> f64 {
        2.0 * self.rows * self.k * self.n
    }
}

impl Scope<'_> {
    fn tp(&self) -> f64 {
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
    fn gathered(&self) -> f64 {
        self.plan.gathering() / f64::from(self.plan.moe_tp)
    }

    /// Bytes per activation.
    fn act(&self) -> f64 {
        self.widths.activation
    }

    /// Bytes per element of a product's left operand. Operands of products in fewer than 16 bits are cast before them.
    fn operand(&self) -> f64 {
        self.widths.operand
    }

    /// A product whose weights are read once.
    fn matmul(&self, name: &'static str, product: Product) -> Op {
        let Product { rows, k, n } = product;
        let bytes = k * n * self.widths.weight + rows * (k * self.operand() + n * self.act());
        let kernel = Some(MeasuredShape::Matmul { name: "down", experts: 1.0, rows, k, n });
        let flop = Flop::new(product.flop());
        Op { name, term: Term::Dense, class: Class::Dense, flop, bytes: Bytes::new(bytes), kernel }
    }

    /// A stream of bytes through the vector units.
    fn stream(name: &'static str, bytes: f64) -> Op {
        let bytes = Bytes::new(bytes);
        Op { name, term: Term::Dense, class: Class::Vector, flop: Flop::ZERO, bytes, kernel: None }
    }

    /// Residual sum, norm and cast. It reads both inputs and writes the sum and the operand.
    fn norm(&self, name: &'static str) -> Op {
        let element = 3.0 * self.act() + self.operand();
        Self::stream(name, self.own_tokens() * self.model.hidden as f64 * element)
    }

    /// Cast of an operand for a product in fewer than 16 bits, where no other op writes it so.
    fn cast(&self, list: &mut Vec<Op>, name: &'static str, elements: f64) {
        if self.operand() < self.act() {
            list.push(Self::stream(name, elements * (self.act() + self.operand())));
        }
    }
}

/// Elements per token and layer in one rank's KV cache. Latent attention caches one latent that all heads share: tensor
/// parallelism does not split it. Grouped heads split until one is left.
pub fn cache_elements(model: &Model, tp: f64) -> f64 {
    match model.attention {
        Attention::Gqa { kv_heads, head_dim, .. } => 2.0 * (kv_heads as f64 / tp).max(1.0) * head_dim as f64,
        Attention::Mla { kv_lora_rank, rope_head_dim, .. } => kv_lora_rank as f64 + rope_head_dim as f64,
    }
}

/// The two forms of latent attention (DeepSeek-V2, section 2.1). Grouped-query attention has one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionForm {
    /// Decode: scores over the latent and the rotary part, values from the latent.
    Absorbed,
    /// Prefill and training: keys and values are expanded by head.
    Expanded,
}

/// FLOP per query and key, over all heads.
pub fn flop_per_pair(model: &Model, form: AttentionForm) -> f64 {
    match model.attention {
        Attention::Gqa { heads, head_dim, .. } => 4.0 * heads as f64 * head_dim as f64,
        Attention::Mla { heads, kv_lora_rank, rope_head_dim, nope_head_dim, v_head_dim, .. } => {
            let (heads, rank, rope) = (heads as f64, kv_lora_rank as f64, rope_head_dim as f64);
            let (nope, value) = (nope_head_dim as f64, v_head_dim as f64);
            match form {
                AttentionForm::Absorbed => 2.0 * heads * (2.0 * rank + rope),
                AttentionForm::Expanded => 2.0 * heads * (nope + rope + value),
            }
        }
    }
}

/// Mean number of keys that a layer attends to, of `full` keys in reach. Layers with a window see fewer.
pub fn keys(model: &Model, full: f64) -> f64 {
    model.window.map_or(full, |window| {
        let share = 1.0 / window.every as f64;
        share * full.min(window.tokens as f64) + (1.0 - share) * full
    })
}

/// Mean number of keys per query.
fn reach(scope: &Scope<'_>) -> f64 {
    match scope.pass.context {
        Context::Cache(length) => keys(scope.model, length / f64::from(scope.plan.cp)) / f64::from(scope.plan.dcp),
        Context::Causal { tokens, before } => keys(scope.model, before + tokens / 2.0),
    }
}

/// Attention and its projections.
pub fn attention(scope: &Scope<'_>) -> Vec<Op> {
    let mut list = Vec::with_capacity(16);
    list.push(scope.norm("norm"));
    match scope.model.attention {
        Attention::Gqa { heads, kv_heads, head_dim } => {
            let heads = Heads { query: heads as f64, key_value: kv_heads as f64, width: head_dim as f64 };
            grouped(scope, heads, &mut list);
        }
        Attention::Mla { .. } => latent(scope, &mut list),
    }
    list
}

/// Heads of grouped-query attention.
#[derive(Debug, Clone, Copy)]
struct Heads {
    query: f64,
    key_value: f64,
    width: f64,
}

fn grouped(scope: &Scope<'_>, all: Heads, list: &mut Vec<Op>) {
    let (tokens, hidden, act) = (scope.pass.tokens(), scope.model.hidden as f64, scope.act());
    let (heads, kv, d) = (all.query / scope.tp(), (all.key_value / scope.tp()).max(1.0), all.width);
    list.push(scope.matmul("qkv", Product { rows: tokens, k: hidden, n: (heads + 2.0 * kv) * d }));
    list.push(Scope::stream("rope", tokens * (heads + 2.0 * kv) * d * 2.0 * act));
    for part in scope.pass.parts() {
        let scope = &Scope { pass: &part, ..*scope };
        let (tokens, seen) = (part.tokens(), heads * heads_seen(scope));
        let io = tokens * 2.0 * seen * d * act;
        let flop = tokens * reach(scope) * 4.0 * seen * d;
        list.push(attention_op(scope, flop, io + cache_bytes(scope), seen));
    }
    scope.cast(list, "cast", tokens * heads * d);
    list.push(scope.matmul("output", Product { rows: tokens, k: heads * d, n: hidden }));
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
    let product = |k: f64, n: f64| Product { rows: tokens, k, n };
    let width = Latent { heads, rank, rope, nope, value };
    list.push(scope.matmul("down projection", product(hidden, q_rank + rank + rope)));
    list.push(Scope::stream("latent norm and rope", tokens * (q_rank + rank + rope) * (act + act)));
    list.push(scope.matmul("query projection", product(q_rank, heads * (nope + rope))));
    list.push(Scope::stream("query rope", tokens * heads * rope * 2.0 * act));
    for part in scope.pass.parts() {
        latent_core(&Scope { pass: &part, ..*scope }, width, list);
    }
    scope.cast(list, "cast", tokens * heads * value);
    list.push(scope.matmul("output", product(heads * value, hidden)));
}

/// Sizes of latent attention on one rank.
#[derive(Debug, Clone, Copy)]
struct Latent {
    heads: f64,
    rank: f64,
    rope: f64,
    nope: f64,
    value: f64,
}

/// Latent attention proper, with what expands the latent.
fn latent_core(scope: &Scope<'_>, width: Latent, list: &mut Vec<Op>) {
    let Latent { heads, rank, rope, nope, value } = width;
    let (tokens, act) = (scope.pass.tokens(), scope.act());
    let product = |k: f64, n: f64| Product { rows: tokens, k, n };
    match scope.pass.context {
        Context::Cache(_) => {
            list.push(absorb(scope, "absorb keys", heads, product(nope, rank)));
            let seen = heads * heads_seen(scope);
            let io = tokens * seen * (2.0 * rank + rope) * act;
            let flop = tokens * reach(scope) * 2.0 * seen * (2.0 * rank + rope);
            list.push(attention_op(scope, flop, io + cache_bytes(scope), seen));
            list.push(absorb(scope, "absorb values", heads, product(rank, value)));
        }
        Context::Causal { .. } => {
            list.push(scope.matmul("key and value projection", product(rank, heads * (nope + value))));
            list.push(Scope::stream("keys", tokens * heads * (nope + rope) * 2.0 * act));
            let io = tokens * heads * 2.0 * (nope + rope + value) * act;
            let flop = tokens * reach(scope) * 2.0 * heads * (nope + rope + value);
            list.push(attention_op(scope, flop, io, heads));
        }
    }
}

/// With decode context parallelism, a rank attends with the heads of its whole group, to its share of the cache.
fn heads_seen(scope: &Scope<'_>) -> f64 {
    if matches!(scope.pass.context, Context::Cache(_)) { f64::from(scope.plan.dcp) } else { 1.0 }
}

/// The same product for each head, with 16-bit weights of its own.
fn absorb(scope: &Scope<'_>, name: &'static str, heads: f64, product: Product) -> Op {
    let Product { rows, k, n } = product;
    let bytes = Bytes::new(heads * (k * n + rows * (k + n)) * scope.act());
    let flop = Flop::new(2.0 * rows * heads * k * n);
    Op { name, term: Term::Dense, class: Class::Attention, flop, bytes, kernel: None }
}

/// Bytes of the KV cache that one pass reads in a layer.
fn cache_bytes(scope: &Scope<'_>) -> f64 {
    let element = cache_elements(scope.model, scope.tp()) * scope.widths.cache;
    match scope.pass.context {
        Context::Cache(_) => scope.pass.sequences * reach(scope) * element,
        Context::Causal { tokens, before } => scope.pass.sequences * (before + tokens) * element,
    }
}

fn attention_op(scope: &Scope<'_>, flop: f64, bytes: f64, heads: f64) -> Op {
    let pass = scope.pass;
    let latent = matches!(scope.model.attention, Attention::Mla { .. });
    let (class, queries, kv_len) = match pass.context {
        Context::Cache(length) => (Class::Attention, 1.0, length / f64::from(scope.plan.dcp)),
        Context::Causal { tokens, before } => (Class::PrefillAttention, pass.queries, tokens + before),
    };
    let name = match (class, latent) {
        (Class::Attention, false) => "decode",
        (Class::Attention, true) => "mla_decode",
        (_, false) => "prefill",
        (_, true) => "mla_prefill",
    };
    let kernel = Some(MeasuredShape::Attention { name, sequences: pass.sequences, queries, kv_len, heads });
    let (flop, bytes) = (Flop::new(flop), Bytes::new(bytes));
    Op { name: "attention", term: Term::Attention, class, flop, bytes, kernel }
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
    let mut up = scope.matmul("gate and up", Product { rows, k: hidden, n: 2.0 * width });
    up.kernel = Some(MeasuredShape::Matmul { name: "gate_up", experts: 1.0, rows, k: hidden, n: width });
    list.push(up);
    list.push(Scope::stream("swiglu", rows * width * (2.0 * scope.act() + scope.operand())));
    list.push(scope.matmul("down", Product { rows, k: width, n: hidden }));
}

/// LM head of `rows` tokens that get logits. Its weights have 16 bits at least and are split over the tensor-parallel
/// group.
pub fn head(scope: &Scope<'_>, rows: f64) -> Op {
    let (hidden, vocab, act) = (scope.model.hidden as f64, scope.model.vocab as f64 / scope.tp(), scope.act());
    let bytes = (hidden * vocab + rows * (hidden + 2.0 * vocab)) * act;
    let kernel = Some(MeasuredShape::Matmul { name: "down", experts: 1.0, rows, k: hidden, n: vocab });
    let (flop, bytes) = (Flop::new(2.0 * rows * hidden * vocab), Bytes::new(bytes));
    Op { name: "lm head", term: Term::Dense, class: Class::Dense, flop, bytes, kernel }
}

/// Expert slots per rank: `ceil(experts / ep)`. An uneven split leaves slots for replicas of hot experts.
pub fn expert_slots(moe: &Moe, plan: &ParallelPlan) -> f64 {
    (moe.experts as f64 / f64::from(plan.ep)).ceil()
}

/// Whether shared experts lie on ranks of their own, since there are more ranks than routed experts. CloudMatrix384
/// does so at EP 320: 256 experts, 32 replicas, 32 copies of the shared expert (arXiv:2506.12708). Tokens then travel
/// to the shared expert too.
pub fn shared_elsewhere(moe: &Moe, plan: &ParallelPlan) -> bool {
    moe.shared_experts > 0 && u64::from(plan.ep) > moe.experts
}

/// Copies of a token that are dispatched.
pub fn copies(moe: &Moe, plan: &ParallelPlan) -> f64 {
    let shared = if shared_elsewhere(moe, plan) { moe.shared_experts } else { 0 };
    (moe.top_k + shared) as f64
}

/// What sums the copies of a token that come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopySum {
    /// The combine does, as it receives them.
    Combine,
    /// An op of its own does, after the combine.
    Op,
}

/// Adds the experts' blocks to a layer. `load` is that of the hottest rank over the mean.
pub fn experts(scope: &Scope<'_>, moe: &Moe, load: f64, sum: CopySum, layer: &mut LayerOps) {
    let (routed, gathered) = (scope.routed_tokens(), scope.gathered());
    let (hidden, act) = (scope.model.hidden as f64, scope.act());
    gate(scope, moe, &mut layer.gate);
    if moe.shared_experts > 0 && !shared_elsewhere(moe, scope.plan) {
        // Ranks hold the shared experts whole, but those that gather tokens split them.
        let width = (moe.shared_experts * moe.intermediate) as f64 / scope.plan.gathering();
        ffn(scope, &mut layer.shared, routed * gathered, width);
    }
    let copies = copies(moe, scope.plan);
    let rows = routed * copies * load;
    let slots = expert_slots(moe, scope.plan);
    // The weights of a slot that no row visits are not read.
    let touched = slots * (1.0 - (-rows / slots).exp());
    let width = moe.intermediate as f64 / f64::from(scope.plan.moe_tp);
    let grouped = |name, product: Product, kernel: MeasuredShape| {
        let Product { rows, k, n } = product;
        let weights = touched * k * n * scope.widths.weight;
        let bytes = Bytes::new(weights + rows * (k * scope.operand() + n * act));
        let flop = Flop::new(product.flop());
        Op { name, term: Term::ExpertMatmul, class: Class::Expert, flop, bytes, kernel: Some(kernel) }
    };
    let shape = |name, k, n| MeasuredShape::Matmul { name, experts: slots, rows, k, n };
    let up = Product { rows, k: hidden, n: 2.0 * width };
    layer.ffn.push(grouped("expert gate and up", up, shape("gate_up", hidden, width)));
    let swiglu = Scope::stream("expert swiglu", rows * width * (2.0 * act + scope.operand()));
    layer.ffn.push(Op { term: Term::ExpertMatmul, ..swiglu });
    let down = Product { rows, k: width, n: hidden };
    layer.ffn.push(grouped("expert down", down, shape("down", width, hidden)));
    if sum == CopySum::Op {
        let sum = Scope::stream("weighted sum", routed * (copies + gathered) * hidden * act);
        layer.after.push(Op { term: Term::ExpertMatmul, ..sum });
    }
}

/// Layout of the copies: casts them and writes them where the wire, or the experts, read them.
pub fn pack(scope: &Scope<'_>, moe: &Moe) -> Op {
    let (routed, hidden) = (scope.routed_tokens(), scope.model.hidden as f64);
    let bytes = routed * hidden * (scope.gathered() * scope.act() + copies(moe, scope.plan) * scope.operand());
    Op { term: Term::Gating, ..Scope::stream("pack", bytes) }
}

fn gate(scope: &Scope<'_>, moe: &Moe, list: &mut Vec<Op>) {
    let (own, hidden, act) = (scope.own_tokens(), scope.model.hidden as f64, scope.act());
    let (experts, top_k) = (moe.experts as f64, moe.top_k as f64);
    list.push(scope.norm("ffn norm"));
    let gating = |name, flop, bytes, kernel: &'static str| {
        let kernel = Some(MeasuredShape::Gating { name: kernel, tokens: own, experts });
        let (flop, bytes) = (Flop::new(flop), Bytes::new(bytes));
        Op { name, term: Term::Gating, class: Class::Gating, flop, bytes, kernel }
    };
    let bytes = own * (hidden * act + 4.0 * experts) + hidden * experts * act;
    list.push(gating("router", 2.0 * own * hidden * experts, bytes, "router_logits"));
    list.push(gating("top-k", 0.0, own * (8.0 * experts + 16.0 * top_k), "topk"));
    list.push(gating("sort", 0.0, own * top_k * 24.0, "sort"));
}

/// Useful FLOP per token: two per weight that it meets (the embedding is a look-up), plus attention over `context`
/// keys.
pub fn model_flop_per_token(model: &Model, context: f64, form: AttentionForm) -> f64 {
    let tables = if model.tied_embeddings { 0.0 } else { model.embedding_parameters() };
    2.0 * (model.active_parameters() - tables) + model.layers as f64 * keys(model, context) * flop_per_pair(model, form)
}
