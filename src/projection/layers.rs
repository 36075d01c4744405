//! Work of one layer on one chip, for one pass of a micro-batch through it.
//!
//! `tokens` is what the tensor-parallel group works on together; between attention and FFN each of its chips holds
//! `tokens / tp` of them, and these are what it routes to experts. Each multiply-add counts two; each operand moves once.

use super::machine::Machine;
use super::result::Plan;
use super::roofline::Op;
use crate::specs::{Attention, Model, Moe};

/// What passes through a stage at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// Sequences of the tensor-parallel group.
    pub sequences: f64,
    /// Tokens of each that are computed.
    pub queries: f64,
    /// What each token attends to.
    pub context: Context,
}

/// What a token attends to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Context {
    /// The KV cache: this many tokens.
    Cache(f64),
    /// The tokens before it in the pass.
    Causal,
}

impl Pass {
    /// Tokens of the tensor-parallel group.
    pub fn tokens(&self) -> f64 {
        self.sequences * self.queries
    }
}

/// Sizes of attention as the formulas need them.
struct Sizes {
    /// Heads of this chip.
    heads: f64,
    /// Elements a token and layer in this chip's cache.
    cache: f64,
    /// FLOP of a query with one position of the cache, all heads of this chip.
    decode_flop: f64,
    /// The same in prefill.
    causal_flop: f64,
    /// Elements of queries, keys, values and outputs a token in prefill.
    causal_elements: f64,
}

/// Elements of a token and layer in one chip's KV cache. Latent attention caches one latent that all heads share, so
/// tensor parallelism does not split it; grouped heads split until one is left.
pub fn cache_elements(model: &Model, tp: f64) -> f64 {
    sizes(model, tp).cache
}

fn sizes(model: &Model, tp: f64) -> Sizes {
    match model.attention {
        Attention::Gqa { heads, kv_heads, head_dim } => {
            let (heads, kv, d) = (heads as f64 / tp, (kv_heads as f64 / tp).max(1.0), head_dim as f64);
            let flop = 4.0 * heads * d;
            Sizes {
                heads,
                cache: 2.0 * kv * d,
                decode_flop: flop,
                causal_flop: flop,
                causal_elements: (2.0 * heads + 2.0 * kv) * d,
            }
        }
        // Decode in absorbed form: scores over latent and rotary part, values from the latent (DeepSeek-V2, section 2.1).
        Attention::Mla { heads, kv_lora_rank, rope_head_dim, nope_head_dim, v_head_dim, .. } => {
            let (heads, rank, rope) = (heads as f64 / tp, kv_lora_rank as f64, rope_head_dim as f64);
            let (key, value) = (nope_head_dim as f64 + rope, v_head_dim as f64);
            Sizes {
                heads,
                cache: rank + rope,
                decode_flop: 2.0 * heads * (2.0 * rank + rope),
                causal_flop: 2.0 * heads * (key + value),
                causal_elements: heads * (2.0 * key + 2.0 * value),
            }
        }
    }
}

/// Attention without its projections.
pub fn attention(model: &Model, plan: &Plan, machine: &Machine, pass: &Pass) -> Op {
    let sizes = sizes(model, f64::from(plan.tp));
    let element = machine.activation_bytes;
    match pass.context {
        Context::Cache(length) => {
            let io = pass.tokens() * sizes.heads * sizes.cache.min(2048.0) * 2.0;
            Op::new(pass.tokens() * length * sizes.decode_flop, (pass.sequences * length * sizes.cache + io) * element)
        }
        Context::Causal => Op::new(
            pass.tokens() * pass.queries / 2.0 * sizes.causal_flop,
            pass.tokens() * sizes.causal_elements * element,
        ),
    }
}

/// Projections into and out of attention, and the norms, residuals, rotations and quantisation around them.
pub fn projections(model: &Model, plan: &Plan, machine: &Machine, pass: &Pass) -> [Op; 2] {
    [matmul(model.attention_parameters(), plan, machine, pass), elementwise(model, plan, machine, pass)]
}

/// A dense FFN.
pub fn dense_ffn(model: &Model, plan: &Plan, machine: &Machine, pass: &Pass) -> Op {
    matmul(model.dense_ffn_parameters(), plan, machine, pass)
}

/// LM head; the embedding is a look-up.
pub fn head(model: &Model, plan: &Plan, machine: &Machine, pass: &Pass) -> Op {
    matmul(model.embedding_parameters(), plan, machine, pass)
}

/// Products with weights that tensor parallelism splits.
fn matmul(parameters: f64, plan: &Plan, machine: &Machine, pass: &Pass) -> Op {
    let own = parameters / f64::from(plan.tp);
    Op::new(2.0 * pass.tokens() * own, own * machine.weight_bytes)
}

/// About a dozen passes over the hidden state a layer: two norms, two residual sums, reads and writes of matrix
/// products' operands. Sequence parallelism splits them over the group.
fn elementwise(model: &Model, plan: &Plan, machine: &Machine, pass: &Pass) -> Op {
    let own_tokens = pass.tokens() / f64::from(plan.tp);
    Op::new(0.0, 12.0 * own_tokens * model.hidden as f64 * machine.activation_bytes)
}

/// Tokens that one chip routes.
pub fn routed_tokens(plan: &Plan, pass: &Pass) -> f64 {
    pass.tokens() / f64::from(plan.tp)
}

/// Slots for experts on one chip: whole ones, so that an uneven split leaves room for replicas of hot experts.
pub fn expert_slots(moe: &Moe, plan: &Plan) -> f64 {
    (moe.experts as f64 / f64::from(plan.ep)).ceil()
}

/// Load of the hottest chip over the mean under uniformly random routing: `1 + sqrt(2 ln(chips) / mean)`, the largest
/// of `chips` Poisson variables (Raab and Steger, 1998), and never more than all of it.
pub fn uniform_imbalance(moe: &Moe, plan: &Plan, tokens: f64) -> f64 {
    let chips = f64::from(plan.ep);
    let mean = tokens * moe.top_k as f64;
    if mean <= 0.0 {
        return 1.0;
    }
    (1.0 + (2.0 * chips.ln() / mean).sqrt()).min(chips)
}

/// Router product, scores, top-k and the sort of slots by expert.
pub fn gating(model: &Model, moe: &Moe, plan: &Plan, machine: &Machine, pass: &Pass) -> Op {
    let (tokens, hidden, experts) = (routed_tokens(plan, pass), model.hidden as f64, moe.experts as f64);
    let logits = 3.0 * 4.0 * experts;
    let slots = 16.0 * moe.top_k as f64;
    let weights = hidden * experts * machine.activation_bytes;
    Op::new(2.0 * tokens * hidden * experts, tokens * (hidden * machine.activation_bytes + logits + slots) + weights)
}

/// Routed experts of the hottest chip: `load` is its load over the mean.
pub fn experts(model: &Model, moe: &Moe, plan: &Plan, machine: &Machine, pass: &Pass, load: f64) -> Op {
    let rows = routed_tokens(plan, pass) * moe.top_k as f64 * load;
    let slots = expert_slots(moe, plan);
    // A slot that no row visits is not read.
    let touched = slots * (1.0 - (-rows / slots).exp());
    let row_elements = 2.0 * model.hidden as f64 + 3.0 * moe.intermediate as f64;
    Op::new(
        2.0 * rows * model.expert_parameters(),
        touched * model.expert_parameters() * machine.weight_bytes + rows * row_elements * machine.activation_bytes,
    )
}

/// Shared experts, whole on every chip, for the tokens it holds.
pub fn shared_experts(model: &Model, moe: &Moe, plan: &Plan, machine: &Machine, pass: &Pass) -> Op {
    let parameters = moe.shared_experts as f64 * model.expert_parameters();
    Op::new(2.0 * routed_tokens(plan, pass) * parameters, parameters * machine.weight_bytes)
}

/// Useful FLOP of a token: two a weight that it meets (the embedding is a look-up) plus attention over `context` tokens.
pub fn model_flop_per_token(model: &Model, context: f64, absorbed: bool) -> f64 {
    let sizes = sizes(model, 1.0);
    let tables = if model.tied_embeddings { 0.0 } else { model.embedding_parameters() };
    let attention = if absorbed { sizes.decode_flop } else { sizes.causal_flop };
    2.0 * (model.active_parameters() - tables) + model.layers as f64 * context * attention
}
