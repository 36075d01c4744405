//! Attention with a softmax, and its projections.
//!
//! Where an indexer chooses, it scores all cached entries first, and attention reads those that it chose. Indexers and
//! compressors are whole on every rank of a tensor-parallel group, as vLLM and SGLang have them.

use crate::operators::{AskedType, OperatorFamily};
use crate::projection::op::{Class, MeasuredShape, Op};
use crate::projection::ops::reach::{cache_elements, entries_read, index_key_bytes, keys, mean_keys, mean_scored};
use crate::projection::ops::scope::{Context, Product, Scope};
use crate::projection::tabled::TabledOperator;
use crate::projection::terms::Term;
use crate::specs::{Attention, AttentionLayer, EntryChoice, Reach};
use crate::units::{Bytes, Flop};

/// The two forms of latent attention (DeepSeek-V2, section 2.1). Other attention has one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionForm {
    /// Decode: scores over the latent and the rotary part, values from the latent.
    Absorbed,
    /// Prefill and training: keys and values are expanded by head.
    Expanded,
}

/// FLOP per query and key, over all heads.
pub fn flop_per_pair(sizes: &Attention, form: AttentionForm) -> f64 {
    match *sizes {
        Attention::Gqa { heads, head_dim, v_head_dim, .. } => {
            2.0 * heads as f64 * (head_dim as f64 + v_head_dim as f64)
        }
        Attention::Mla { heads, kv_lora_rank, rope_head_dim, nope_head_dim, v_head_dim, .. } => {
            let (heads, rank, rope) = (heads as f64, kv_lora_rank as f64, rope_head_dim as f64);
            let (nope, value) = (nope_head_dim as f64, v_head_dim as f64);
            match form {
                AttentionForm::Absorbed => 2.0 * heads * (2.0 * rank + rope),
                AttentionForm::Expanded => 2.0 * heads * (nope + rope + value),
            }
        }
        Attention::Shared { heads, head_dim, .. } => 4.0 * heads as f64 * head_dim as f64,
    }
}

/// FLOP of a token over `context` tokens before it, with those of an indexer.
pub(super) fn flop_over(layer: &AttentionLayer, context: f64, form: AttentionForm) -> f64 {
    let indexer = layer.reach.choice().and_then(|top| top.indexer);
    let scored = context / layer.reach.ratio() as f64;
    let scores = indexer.map_or(0.0, |one| scored * 2.0 * one.heads as f64 * one.head_dim as f64);
    keys(&layer.reach, context) * flop_per_pair(&layer.sizes, form) + scores
}

/// Attention with its projections, after the norm.
pub(super) fn softmax(scope: &Scope<'_>, layer: &AttentionLayer, list: &mut Vec<Op>) {
    match layer.sizes {
        Attention::Gqa { .. } => grouped(scope, layer, list),
        Attention::Mla { .. } => latent(scope, layer, list),
        Attention::Shared { .. } => shared(scope, layer, list),
    }
}

fn grouped(scope: &Scope<'_>, layer: &AttentionLayer, list: &mut Vec<Op>) {
    let Attention::Gqa { heads, kv_heads, head_dim, v_head_dim, shared_projection } = layer.sizes else { return };
    let (tokens, hidden, act) = (scope.pass.tokens(), scope.model.hidden as f64, scope.act());
    let (heads, kv) = (heads as f64 / scope.tp(), (kv_heads as f64 / scope.tp()).max(1.0));
    let (keys, values) = (head_dim as f64, v_head_dim as f64);
    let part = scope.widths.mixer;
    let gate = if layer.gated { heads * values } else { 0.0 };
    let projected = heads * keys + kv * if shared_projection { keys } else { keys + values } + gate;
    list.push(scope.matmul("qkv", part, Product { rows: tokens, k: hidden, n: projected }));
    list.push(Scope::stream("rope", tokens * (heads * keys + kv * (keys + values)) * 2.0 * act));
    index(scope, layer, list);
    for part in scope.pass.parts() {
        let scope = &Scope { pass: &part, ..*scope };
        choose(scope, layer, list);
        let (tokens, seen) = (part.tokens(), scope.seen(heads));
        let io = tokens * seen * (keys + values) * act;
        let flop = tokens * mean_keys(scope, &layer.reach) * 2.0 * seen * (keys + values);
        list.push(core(scope, layer, flop, io + cache_bytes(scope, layer), seen));
    }
    gate_output(scope, layer, tokens * heads * values, list);
    scope.cast(list, "cast", part, tokens * heads * values);
    list.push(scope.matmul("output", part, Product { rows: tokens, k: heads * values, n: hidden }));
}

/// The product of attention's output with its gate, which other ops projected.
fn gate_output(scope: &Scope<'_>, layer: &AttentionLayer, elements: f64, list: &mut Vec<Op>) {
    if layer.gated {
        list.push(Scope::stream("output gate", elements * 3.0 * scope.act()));
    }
}

fn latent(scope: &Scope<'_>, layer: &AttentionLayer, list: &mut Vec<Op>) {
    let Attention::Mla { heads, q_lora_rank, kv_lora_rank, rope_head_dim, nope_head_dim, v_head_dim } = layer.sizes
    else {
        return;
    };
    let first = list.len();
    let (tokens, hidden, act) = (scope.pass.tokens(), scope.model.hidden as f64, scope.act());
    let (heads, q_rank, rank) = (heads as f64 / scope.tp(), q_lora_rank as f64, kv_lora_rank as f64);
    let (rope, nope, value) = (rope_head_dim as f64, nope_head_dim as f64, v_head_dim as f64);
    let part = scope.widths.mixer;
    let product = |k: f64, n: f64| Product { rows: tokens, k, n };
    list.push(scope.matmul("down projection", part, product(hidden, q_rank + rank + rope)));
    list.push(Scope::stream("latent norm and rope", tokens * (q_rank + rank + rope) * (act + act)));
    let query_input = if q_lora_rank == 0 { hidden } else { q_rank };
    list.push(scope.matmul("query projection", part, product(query_input, heads * (nope + rope))));
    list.push(Scope::stream("query rope", tokens * heads * rope * 2.0 * act));
    if layer.gated {
        list.push(scope.matmul("gate projection", part, product(hidden, heads * value)));
    }
    index(scope, layer, list);
    let width = Latent { heads, rank, rope, nope, value };
    for part in scope.pass.parts() {
        latent_core(&Scope { pass: &part, ..*scope }, layer, width, list);
    }
    gate_output(scope, layer, tokens * heads * value, list);
    scope.cast(list, "cast", part, tokens * heads * value);
    list.push(scope.matmul("output", part, product(heads * value, hidden)));
    if let Some(module) = sparse_module(scope, layer, heads) {
        share_out(module, &mut list[first..]);
    }
}

/// FLOP that take as long as a byte, about, where a module's time is shared out: the ridge of chips of 2022 to 2026 in 16 bits.
const FLOP_PER_BYTE: f64 = 300.0;

/// Gives each op its share of a module's time, by its work.
fn share_out(module: TabledOperator, ops: &mut [Op]) {
    let work = |op: &Op| op.bytes.get() + op.flop.get() / FLOP_PER_BYTE;
    let all: f64 = ops.iter().map(work).sum();
    for op in ops {
        op.module = Some(TabledOperator { share: module.share * work(op) / all, ..module });
    }
}

/// The measured module that latent attention over chosen tokens is, from its first projection to its last. Several queries of a
/// sequence count as so many sequences; a chunk is a share of its prompt.
fn sparse_module(scope: &Scope<'_>, layer: &AttentionLayer, heads: f64) -> Option<TabledOperator> {
    layer.reach.choice()?.indexer?;
    if layer.gated || scope.pass.prompts.is_some() || scope.plan.cp > 1 || scope.plan.dcp > 1 {
        return None;
    }
    let pass = scope.pass;
    let (family, sequences, length, share) = match pass.context {
        Context::Cache(length) => (OperatorFamily::SparseDecode, pass.own_tokens(), length, 1.0),
        Context::Causal { tokens, before } => {
            (OperatorFamily::SparsePrefill, pass.sequences, tokens + before, tokens / (tokens + before))
        }
    };
    let types = AskedType { weight_bytes: scope.widths.mixer.weight, operand_bytes: scope.widths.cache };
    let sizes = [sequences, length, heads, scope.model.hidden as f64];
    Some(TabledOperator::sparse(family, sizes, types, share))
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
fn latent_core(scope: &Scope<'_>, layer: &AttentionLayer, width: Latent, list: &mut Vec<Op>) {
    let Latent { heads, rank, rope, nope, value } = width;
    let (tokens, act, part) = (scope.pass.tokens(), scope.act(), scope.widths.mixer);
    let product = |k: f64, n: f64| Product { rows: tokens, k, n };
    choose(scope, layer, list);
    let pairs = tokens * mean_keys(scope, &layer.reach);
    if form_of(scope, layer) == AttentionForm::Absorbed {
        list.push(absorb(scope, "absorb keys", heads, product(nope, rank)));
        let seen = scope.seen(heads);
        let io = tokens * seen * (2.0 * rank + rope) * act;
        let flop = pairs * 2.0 * seen * (2.0 * rank + rope);
        list.push(core(scope, layer, flop, io + cache_bytes(scope, layer), seen));
        list.push(absorb(scope, "absorb values", heads, product(rank, value)));
    } else {
        list.push(scope.matmul("key and value projection", part, product(rank, heads * (nope + value))));
        list.push(Scope::stream("keys", tokens * heads * (nope + rope) * 2.0 * act));
        let io = tokens * heads * 2.0 * (nope + rope + value) * act;
        let flop = pairs * 2.0 * heads * (nope + rope + value);
        list.push(core(scope, layer, flop, io, heads));
    }
}

/// The form of latent attention in a pass. Chosen entries differ by token, so that expanded keys serve prefill only where
/// all tokens fit into the choice (as SGLang switches at `index_topk`).
fn form_of(scope: &Scope<'_>, layer: &AttentionLayer) -> AttentionForm {
    match (scope.pass.context, layer.reach.choice()) {
        (Context::Cache(_), _) => AttentionForm::Absorbed,
        (Context::Causal { tokens, before }, Some(top)) if before + tokens > top.entries as f64 => {
            AttentionForm::Absorbed
        }
        (Context::Causal { .. }, _) => AttentionForm::Expanded,
    }
}

/// One head of keys that are values too, low-rank queries and outputs by group (DeepSeek-V4).
fn shared(scope: &Scope<'_>, layer: &AttentionLayer, list: &mut Vec<Op>) {
    let Attention::Shared { heads, head_dim, q_lora_rank, output_groups, output_rank } = layer.sizes else { return };
    let (tokens, hidden, act) = (scope.pass.tokens(), scope.model.hidden as f64, scope.act());
    let (heads, d, q_rank) = (heads as f64 / scope.tp(), head_dim as f64, q_lora_rank as f64);
    let (groups, out_rank) = ((output_groups as f64 / scope.tp()).max(1.0), output_rank as f64);
    let part = scope.widths.mixer;
    let product = |k: f64, n: f64| Product { rows: tokens, k, n };
    list.push(scope.matmul("down projection", part, product(hidden, q_rank + d)));
    list.push(Scope::stream("latent norm and rope", tokens * (q_rank + d) * (act + act)));
    list.push(scope.matmul("query projection", part, product(q_rank, heads * d)));
    list.push(Scope::stream("query rope", tokens * heads * d * 2.0 * act));
    compress(scope, layer, d, list);
    index(scope, layer, list);
    for part in scope.pass.parts() {
        let scope = &Scope { pass: &part, ..*scope };
        choose(scope, layer, list);
        let (tokens, seen) = (part.tokens(), scope.seen(heads));
        let io = tokens * 2.0 * seen * d * act;
        let flop = tokens * mean_keys(scope, &layer.reach) * 4.0 * seen * d;
        let attention = core(scope, layer, flop, io + cache_bytes(scope, layer), seen);
        list.push(Op { kernel: None, tabled: None, ..attention });
    }
    scope.cast(list, "cast", part, tokens * heads * d);
    let by_group = scope.matmul("output by group", part, product(heads * d, out_rank));
    // Each group writes a result of its own.
    let more = tokens * (groups - 1.0) * out_rank * act;
    list.push(Op { bytes: by_group.bytes + Bytes::new(more), kernel: None, tabled: None, ..by_group });
    scope.cast(list, "cast", part, tokens * groups * out_rank);
    list.push(scope.matmul("output", part, product(groups * out_rank, hidden)));
}

/// The projections that are pooled into compressed entries.
fn compress(scope: &Scope<'_>, layer: &AttentionLayer, width: f64, list: &mut Vec<Op>) {
    if let Reach::Compressed { ratio, choice, .. } = layer.reach {
        let columns = width * if choice.is_some() { 4.0 } else { 2.0 };
        let (rows, k) = (scope.pass.tokens(), scope.model.hidden as f64);
        list.push(scope.matmul("compressor", scope.widths.mixer, Product { rows, k, n: columns }));
        list.push(Scope::stream("pool", rows * (columns + width / ratio as f64) * scope.act()));
    }
}

/// An indexer's projections.
fn index(scope: &Scope<'_>, layer: &AttentionLayer, list: &mut Vec<Op>) {
    let Some(EntryChoice { indexer: Some(indexer), .. }) = layer.reach.choice() else { return };
    let (rows, hidden, part) = (scope.pass.tokens(), scope.model.hidden as f64, scope.widths.mixer);
    let (heads, dim) = (indexer.heads as f64, indexer.head_dim as f64);
    let compressed = matches!(layer.reach, Reach::Compressed { .. });
    let key_columns = if compressed { 4.0 * dim } else { dim } + if indexer.weighted { heads } else { 0.0 };
    let product = |k: f64, n: f64| Product { rows, k, n };
    list.push(scope.matmul("index queries", part, product(indexer.query_input as f64, heads * dim)));
    list.push(scope.matmul("index keys", part, product(hidden, key_columns)));
}

/// An indexer's scores of all entries in reach, and the choice among them. Scores have 32 bits.
fn choose(scope: &Scope<'_>, layer: &AttentionLayer, list: &mut Vec<Op>) {
    let Some(EntryChoice { entries, indexer: Some(indexer) }) = layer.reach.choice() else { return };
    let (rows, heads, dim) = (scope.pass.tokens(), indexer.heads as f64, indexer.head_dim as f64);
    let scored = mean_scored(scope, &layer.reach);
    let cached = match scope.pass.context {
        Context::Cache(_) => scored,
        Context::Causal { tokens, before } => (before + tokens) / layer.reach.ratio() as f64,
    };
    let keys = scope.pass.sequences * cached * index_key_bytes(&indexer);
    let scores = Op {
        name: "indexer",
        term: Term::Attention,
        class: class_of(scope),
        flop: Flop::new(rows * scored * 2.0 * heads * dim),
        bytes: Bytes::new(keys + rows * (heads * dim + 4.0 * scored)),
        peak: scope.widths.index_peak,
        kernel: None,
        tabled: None,
        module: None,
    };
    list.push(scores);
    let chosen = Scope::stream("choose", rows * 4.0 * (scored + (entries as f64).min(scored)));
    list.push(Op { term: Term::Attention, ..chosen });
}

/// The same product for each head, with 16-bit weights of its own.
fn absorb(scope: &Scope<'_>, name: &'static str, heads: f64, product: Product) -> Op {
    let Product { rows, k, n } = product;
    let bytes = Bytes::new(heads * (k * n + rows * (k + n)) * scope.act());
    let flop = Flop::new(2.0 * rows * heads * k * n);
    Op {
        name,
        term: Term::Dense,
        class: Class::Attention,
        flop,
        bytes,
        peak: 1.0,
        kernel: None,
        tabled: None,
        module: None,
    }
}

/// Bytes of the KV cache that one pass reads in the layer.
fn cache_bytes(scope: &Scope<'_>, layer: &AttentionLayer) -> f64 {
    let element = cache_elements(&layer.sizes, scope.tp()) * scope.widths.cache;
    scope.pass.sequences * entries_read(scope, &layer.reach) * element
}

/// The roofs of what runs over a context.
pub(super) fn class_of(scope: &Scope<'_>) -> Class {
    if matches!(scope.pass.context, Context::Cache(_)) { Class::Attention } else { Class::PrefillAttention }
}

fn core(scope: &Scope<'_>, layer: &AttentionLayer, flop: f64, bytes: f64, heads: f64) -> Op {
    let pass = scope.pass;
    let latent = matches!(layer.sizes, Attention::Mla { .. });
    let class = class_of(scope);
    let (queries, kv_len) = match pass.context {
        Context::Cache(length) => (1.0, keys(&layer.reach, length) / f64::from(scope.plan.dcp)),
        Context::Causal { tokens, before } => (pass.queries, tokens + before),
    };
    let name = match (class, latent) {
        (Class::Attention, false) => "decode",
        (Class::Attention, true) => "mla_decode",
        (_, false) => "prefill",
        (_, true) => "mla_prefill",
    };
    let kernel = Some(MeasuredShape::Attention { name, sequences: pass.sequences, queries, kv_len, heads });
    // No kernel of a record attends to chosen tokens of a prompt.
    let kernel = kernel.filter(|_| class == Class::Attention || layer.reach.choice().is_none());
    let (flop, bytes) = (Flop::new(flop), Bytes::new(bytes));
    let tabled = tabled(scope, layer, heads);
    Op { name: "attention", term: Term::Attention, class, flop, bytes, peak: 1.0, kernel, tabled, module: None }
}

/// Attention as tables of measured operators know it: over all tokens or a window, latent attention in DeepSeek-V3's sizes.
/// Several queries of a sequence over a cache count as so many more heads.
fn tabled(scope: &Scope<'_>, layer: &AttentionLayer, heads: f64) -> Option<TabledOperator> {
    let pass = scope.pass;
    let window = match layer.reach {
        Reach::All => 0.0,
        Reach::Window(tokens) => tokens as f64,
        _ => return None,
    };
    let (first, length, share) = match pass.context {
        Context::Cache(length) => (pass.queries * heads, length / f64::from(scope.plan.dcp), 1.0),
        Context::Causal { .. } if scope.plan.cp > 1 => return None,
        Context::Causal { tokens, before } => {
            let all = tokens + before;
            (heads, all, tokens * (tokens + 2.0 * before) / (all * all))
        }
    };
    let decodes = class_of(scope) == Class::Attention;
    let cache = scope.widths.cache;
    match layer.sizes {
        Attention::Gqa { kv_heads, head_dim, v_head_dim, .. } if head_dim == v_head_dim => {
            let family = if decodes { OperatorFamily::DecodeAttention } else { OperatorFamily::PrefillAttention };
            let kv = (kv_heads as f64 / scope.tp()).max(1.0);
            let sizes = [pass.sequences, length, first, kv, head_dim as f64, window];
            Some(TabledOperator::attention(family, &sizes, cache, share))
        }
        Attention::Mla { kv_lora_rank: 512, rope_head_dim: 64, .. } if window == 0.0 => {
            let family = if decodes { OperatorFamily::LatentDecode } else { OperatorFamily::LatentPrefill };
            Some(TabledOperator::attention(family, &[pass.sequences, length, first], cache, share))
        }
        _ => None,
    }
}
