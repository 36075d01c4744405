//! Recurrences over a state of fixed size: linear attention and state spaces.
//!
//! No record and no published share of the roofs covers them: their work is derived, and runs at attention's share. Measured
//! operators of others have delta rules and convolutions.
//!
//! - Decode reads and writes the state of each sequence once per pass.
//! - Prefill and training take chunks (arXiv:2405.21060, section 6; arXiv:2412.06464, section 3.2). Inside a chunk they
//!   multiply as attention does, over whole tiles; from chunk to chunk they carry the state, which one kernel writes and
//!   the next one reads.

use crate::operators::OperatorFamily;
use crate::projection::op::Op;
use crate::projection::ops::attention::class_of;
use crate::projection::ops::scope::{Context, Product, Scope};
use crate::projection::tabled::TabledOperator;
use crate::projection::terms::Term;
use crate::specs::{LinearAttention, Recurrence};
use crate::units::{Bytes, Flop};

/// Tokens of a chunk: that of flash-linear-attention for delta rules, of Mamba-2's kernels, of Lightning Attention's.
const fn chunk_tokens(rule: Recurrence) -> f64 {
    match rule {
        Recurrence::GatedDelta | Recurrence::KimiDelta { .. } => 64.0,
        Recurrence::StateSpace => 128.0,
        Recurrence::Lightning => 256.0,
    }
}

/// FLOP of one token, step by step: decay the state, correct it (delta rules read it first), add to it, read it.
pub(super) fn flop_per_step(linear: &LinearAttention) -> f64 {
    let per_element = match linear.rule {
        Recurrence::GatedDelta | Recurrence::KimiDelta { .. } => 7.0,
        Recurrence::StateSpace | Recurrence::Lightning => 5.0,
    };
    per_element * linear.state_elements()
}

/// FLOP of one token of a chunk.
///
/// - Delta rules: products over the chunk of keys with keys, queries with keys, and of the solved triangle with keys, with
///   values, and of scores with values; then three products with the state.
/// - Others: queries with keys, scores with values; then two products with the state. A group of a state space shares
///   the scores.
fn flop_in_chunks(linear: &LinearAttention) -> f64 {
    let (heads, groups) = (linear.heads as f64, linear.key_heads as f64);
    let (keys, values, chunk) = (linear.key_dim as f64, linear.value_dim as f64, chunk_tokens(linear.rule));
    match linear.rule {
        Recurrence::GatedDelta | Recurrence::KimiDelta { .. } => {
            heads * (2.0 * chunk * (3.0 * keys + 2.0 * values) + 6.0 * keys * values)
        }
        Recurrence::StateSpace | Recurrence::Lightning => {
            groups * 2.0 * chunk * keys + heads * (2.0 * chunk * values + 4.0 * keys * values)
        }
    }
}

/// The recurrence with its projections, after the norm.
pub(super) fn linear(scope: &Scope<'_>, linear: &LinearAttention, list: &mut Vec<Op>) {
    let (tokens, hidden, act, tp) = (scope.pass.tokens(), scope.model.hidden as f64, scope.act(), scope.tp());
    let part = scope.widths.mixer;
    let product = |k: f64, n: f64| Product { rows: tokens, k, n };
    list.push(scope.matmul("input projection", part, product(hidden, linear.columns() / tp)));
    let low_rank = linear.low_rank_columns() / tp;
    if low_rank > 0.0 {
        list.push(scope.matmul("gate projection", part, product(linear.key_dim as f64, low_rank)));
    }
    for part in scope.pass.parts() {
        let scope = &Scope { pass: &part, ..*scope };
        list.extend((linear.taps > 0).then(|| convolution(scope, linear)));
        list.push(core(scope, linear));
    }
    let values = linear.values() / tp;
    list.push(Scope::stream("output gate", tokens * values * 3.0 * act));
    scope.cast(list, "cast", part, tokens * values);
    list.push(scope.matmul("output", part, product(values, hidden)));
}

/// It reads and writes the tokens, and the last ones of each sequence.
fn convolution(scope: &Scope<'_>, linear: &LinearAttention) -> Op {
    let rows = scope.pass.tokens() + scope.pass.sequences * (linear.taps - 1) as f64;
    let families = [OperatorFamily::ConvolutionDecode, OperatorFamily::ConvolutionPrefill];
    let tabled = tabled(scope, linear, families);
    Op { tabled, ..Scope::stream("convolution", rows * linear.channels() / scope.tp() * 2.0 * scope.act()) }
}

/// The measured operator of a part, of the first family in decode and of the second for prompts. Those of decode take one
/// token per sequence.
fn tabled(scope: &Scope<'_>, linear: &LinearAttention, families: [OperatorFamily; 2]) -> Option<TabledOperator> {
    let [decode, prefill] = families;
    let (family, length) = match scope.pass.context {
        Context::Cache(_) if scope.pass.queries > 1.0 => return None,
        Context::Cache(_) => (decode, 1.0),
        Context::Causal { .. } if scope.plan.cp > 1 => return None,
        Context::Causal { tokens, .. } => (prefill, tokens),
    };
    let (key_heads, heads) = (linear.key_heads as f64 / scope.tp(), linear.heads as f64 / scope.tp());
    let (key_dim, value_dim) = (linear.key_dim as f64, linear.value_dim as f64);
    Some(TabledOperator::recurrence(family, [scope.pass.sequences, length, key_heads, heads, key_dim, value_dim]))
}

fn core(scope: &Scope<'_>, linear: &LinearAttention) -> Op {
    let (tokens, sequences, tp) = (scope.pass.tokens(), scope.pass.sequences, scope.tp());
    let state = linear.state_elements() / tp;
    let passed = 2.0 * sequences * state * linear.state_bytes as f64;
    let io = tokens * 2.0 * (linear.keys() + linear.values()) / tp * scope.act();
    let (flop, bytes) = match scope.pass.context {
        Context::Cache(_) => (flop_per_step(linear), passed + io),
        Context::Causal { .. } => {
            let between = 2.0 * tokens / chunk_tokens(linear.rule) * state * scope.act();
            (flop_in_chunks(linear), passed + io + between)
        }
    };
    let tabled = match linear.rule {
        Recurrence::GatedDelta => {
            tabled(scope, linear, [OperatorFamily::GatedDeltaDecode, OperatorFamily::GatedDeltaPrefill])
        }
        Recurrence::KimiDelta { .. } => {
            tabled(scope, linear, [OperatorFamily::KimiDeltaDecode, OperatorFamily::KimiDeltaPrefill])
        }
        // No table has their kernels.
        Recurrence::StateSpace | Recurrence::Lightning => None,
    };
    Op {
        name: "recurrence",
        term: Term::Attention,
        class: class_of(scope),
        flop: Flop::new(tokens * flop / tp),
        bytes: Bytes::new(bytes),
        peak: 1.0,
        kernel: None,
        tabled,
        module: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rule: Recurrence) -> LinearAttention {
        LinearAttention { rule, heads: 32, key_heads: 8, key_dim: 128, value_dim: 64, taps: 4, state_bytes: 4 }
    }

    #[test]
    fn a_token_of_a_chunk_costs_its_products_in_the_chunk_and_with_the_state() {
        let state = 32.0 * 128.0 * 64.0;
        let delta = flop_in_chunks(&of(Recurrence::GatedDelta));
        assert!((delta - (32.0 * 2.0 * 64.0 * (3.0 * 128.0 + 2.0 * 64.0) + 6.0 * state)).abs() < 1e-6);
        let space = flop_in_chunks(&of(Recurrence::StateSpace));
        assert!((space - (8.0 * 2.0 * 128.0 * 128.0 + 32.0 * 2.0 * 128.0 * 64.0 + 4.0 * state)).abs() < 1e-6);
        // A step reads, corrects, adds and reads again.
        assert!((flop_per_step(&of(Recurrence::GatedDelta)) - 7.0 * state).abs() < 1e-6);
    }
}
