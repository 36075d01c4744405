//! The operators of one layer on one rank, for one pass of a micro-batch through it.
//!
//! - A rank is one die.
//! - `tokens` counts the tokens that a tensor-parallel group works on together. With sequence parallelism each rank of
//!   the group holds `tokens / tp` of them between the blocks, and routes these to experts.
//! - A multiply-add counts as two FLOP.
//! - Each operand moves once, activations included: in latent attention they weigh as much as weights.

mod attention;
mod experts;
mod reach;
mod recurrence;
mod scope;

use crate::projection::op::{Class, MeasuredShape, Op};
use crate::projection::tabled::TabledOperator;
use crate::projection::terms::Term;
use crate::specs::{Mixer, Model};
use crate::units::{Bytes, Flop};

pub use attention::{AttentionForm, flop_per_pair};
pub use experts::{CopySum, copies, dense_ffn, expert_slots, experts, pack, shared_apart, shared_elsewhere};
pub use reach::{cache_elements, cached_entries, sequence_bytes};
pub use scope::{Context, LayerOps, Pass, Prompts, Scope, Stored, Widths};

/// What mixes tokens in the layer, with its projections; nothing where the layer has no such block.
pub fn mixer(scope: &Scope<'_>) -> Vec<Op> {
    let mut list = Vec::with_capacity(16);
    if scope.layer.mixer != Mixer::None {
        list.push(scope.norm("norm", scope.widths.mixer));
    }
    match &scope.layer.mixer {
        Mixer::Attention(layer) => attention::softmax(scope, layer, &mut list),
        Mixer::Linear(linear) => recurrence::linear(scope, linear, &mut list),
        Mixer::None => {}
    }
    list
}

/// LM head of `rows` tokens that get logits. Its weights have 16 bits unless the checkpoint has fewer, and are split over
/// the tensor-parallel group.
pub fn head(scope: &Scope<'_>, rows: f64) -> Op {
    let (hidden, vocab, act) = (scope.model.hidden as f64, scope.model.vocab as f64 / scope.tp(), scope.act());
    let bytes = hidden * vocab * scope.widths.head + rows * (hidden + 2.0 * vocab) * act;
    let kernel = Some(MeasuredShape::Matmul { name: "down", experts: 1.0, rows, k: hidden, n: vocab });
    let (flop, bytes) = (Flop::new(2.0 * rows * hidden * vocab), Bytes::new(bytes));
    let stored = Stored { weight: scope.widths.head, operand: act, peak: 1.0 };
    let tabled = Some(TabledOperator::gemm(stored.asked(), [rows, hidden, vocab]));
    let peak = scope.widths.head_peak;
    Op { name: "lm head", term: Term::Dense, class: Class::Dense, flop, bytes, peak, kernel, tabled, module: None }
}

/// Useful FLOP per token: two per weight that it meets (the embedding is a look-up), plus attention over `context` keys
/// and the recurrences.
pub fn model_flop_per_token(model: &Model, context: f64, form: AttentionForm) -> f64 {
    let tables = if model.tied_embeddings { 0.0 } else { model.embedding_parameters() };
    let mixers: f64 = model
        .kinds
        .iter()
        .map(|kind| {
            kind.count as f64
                * match &kind.layer.mixer {
                    Mixer::Attention(layer) => attention::flop_over(layer, context, form),
                    Mixer::Linear(linear) => recurrence::flop_per_step(linear),
                    Mixer::None => 0.0,
                }
        })
        .sum();
    2.0 * (model.active_parameters() - tables) + mixers
}
