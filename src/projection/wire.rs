//! The collectives of a layer.

use crate::operators::{Coverage, OperatorFamily};
use crate::projection::fabric::Mode;
use crate::projection::fabric::{AllToAll, Group, all_reduce, all_to_all, dispatch, issue, send};
use crate::projection::machine::Machine;
use crate::projection::ops::{
    self, AttentionForm, Context, Pass, Scope, cache_elements, cached_entries, flop_per_pair,
};
use crate::projection::parallel_plan::{ExpertExchange, ParallelPlan};
use crate::specs::{Mixer, Model, Moe};
use crate::units::{Bytes, Seconds};

/// Bytes of the scales that travel with a token in 8 bits: 7.5 KB for a hidden size of 7168 (arXiv:2506.12708). Products in 4
/// bits send tokens in 8 too, as DeepEP does.
const SCALE_BYTES: f64 = 512.0;

/// Times of a layer's collectives.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wire {
    /// Out to the experts.
    pub dispatch: Seconds,
    /// The part of a dispatch in which the sender's cores quantise and issue copies.
    pub copies: Seconds,
    /// Back from them.
    pub combine: Seconds,
    /// Tensor and context parallelism around attention.
    pub attention: Seconds,
    /// Tensor parallelism around a dense FFN, or around experts that are split.
    pub ffn: Seconds,
    /// Which of them measured operators know.
    pub tabled: TabledWire,
}

/// How well measured operators cover the collectives of a layer; `None` where the fabric's model has them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TabledWire {
    /// Of the dispatch.
    pub dispatch: Option<Coverage>,
    /// Of the combine.
    pub combine: Option<Coverage>,
    /// Of the all-reduce around attention.
    pub attention: Option<Coverage>,
    /// Of the all-reduce around a dense FFN, or around experts that are split.
    pub ffn: Option<Coverage>,
}

/// How tokens travel to experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Routed {
    /// Load of the hottest rank over the mean.
    pub load: f64,
    /// The kernels that move them.
    pub mode: Mode,
}

impl Wire {
    /// The collectives of a layer with a dense FFN.
    pub fn of_dense(scope: &Scope<'_>, machine: &Machine) -> Self {
        Self::of_mixer(scope, machine).with_ffn(tensor_all_reduce(scope, machine))
    }

    /// The collectives around attention or a recurrence; none where the layer has no such block.
    pub fn of_mixer(scope: &Scope<'_>, machine: &Machine) -> Self {
        if scope.layer.mixer == Mixer::None {
            return Self::default();
        }
        let (reduced, coverage) = tensor_all_reduce(scope, machine);
        let tabled = TabledWire { attention: coverage, ..TabledWire::default() };
        Self { attention: reduced + context_exchange(scope, machine), tabled, ..Self::default() }
    }

    fn with_ffn(self, (ffn, coverage): (Seconds, Option<Coverage>)) -> Self {
        Self { ffn, tabled: TabledWire { ffn: coverage, ..self.tabled }, ..self }
    }

    /// The collectives of a layer with experts.
    pub fn of_experts(scope: &Scope<'_>, machine: &Machine, moe: &Moe, routed: Routed) -> Self {
        let plan = scope.plan;
        // They gather their tokens before the experts and scatter the sums after them.
        let gathered = group_all_reduce(plan.gathering(), scope.own_tokens() * plan.gathering(), scope, machine);
        let tensor = Self::of_mixer(scope, machine).with_ffn(gathered);
        if plan.moe_exchange == ExpertExchange::AllGather {
            return tensor;
        }
        let group = Group { size: f64::from(plan.ep), stride: f64::from(plan.moe_tp) };
        let (links, factors) = (&machine.links, machine.wire_factors);
        let hidden = scope.model.expert_width(moe);
        let traffic = |bytes| AllToAll {
            tokens: scope.routed_tokens() * routed.load,
            copies: ops::copies(moe, plan),
            bytes,
            mode: routed.mode,
            most_groups: (moe.groups > 1).then_some(moe.kept_groups as f64),
        };
        let (sent, returned) = (dispatch_bytes(hidden, machine), Bytes::new(hidden * machine.widths.activation));
        let (out, back) = (traffic(sent), traffic(returned));
        let exchange = |family, bytes| {
            let few = routed.mode == Mode::LowLatency && plan.moe_tp == 1;
            let sizes = [hidden, out.tokens, moe.top_k as f64, moe.experts as f64];
            few.then(|| machine.tabled_exchange(family, group.size, bytes, sizes)).flatten()
        };
        let found = exchange(OperatorFamily::Dispatch, sent).zip(exchange(OperatorFamily::Combine, returned));
        let modelled = (dispatch(links, group, &out), all_to_all(links, group, &back));
        let (to, from) = found.map_or(modelled, |((to, _), (from, _))| (to, from));
        let tabled = TabledWire {
            dispatch: found.map(|((_, coverage), _)| coverage),
            combine: found.map(|(_, (_, coverage))| coverage),
            ..tensor.tabled
        };
        Self {
            dispatch: to * factors.dispatch,
            copies: issue(links, group, &out).min(to) * factors.dispatch,
            combine: from * factors.combine,
            tabled,
            ..tensor
        }
    }
}

/// Tokens on their way from ranks with attention to ranks with experts, and back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Between {
    /// Ranks of both kinds.
    pub ranks: f64,
    /// Tokens that an attention rank sends, once for each rank that splits an expert.
    pub sent: f64,
    /// Tokens whose copies the hottest expert rank receives.
    pub received: f64,
    /// Destinations per token.
    pub copies: f64,
}

impl Wire {
    /// The collectives of a layer whose experts lie on ranks of their own.
    ///
    /// The busiest port sets the time: that of a sender or that of a receiver, both ways. Ranks of both kinds are mixed
    /// evenly over the tiers (assumed).
    pub fn between(scope: &Scope<'_>, machine: &Machine, moe: &Moe, between: &Between) -> Self {
        let group = Group { size: between.ranks, stride: 1.0 };
        let (links, factors) = (&machine.links, machine.wire_factors);
        let hidden = scope.model.expert_width(moe);
        let traffic = |tokens, bytes| AllToAll {
            tokens,
            copies: between.copies,
            bytes,
            mode: Mode::LowLatency,
            most_groups: None,
        };
        let busiest = between.sent.max(between.received);
        let out = dispatch_bytes(hidden, machine);
        let copies = issue(links, group, &traffic(between.sent, out)) * factors.dispatch;
        let back = traffic(busiest, Bytes::new(hidden * machine.widths.activation));
        Self {
            dispatch: all_to_all(links, group, &traffic(busiest, out)) * factors.dispatch + copies,
            copies,
            combine: all_to_all(links, group, &back) * factors.combine,
            ..Self::of_mixer(scope, machine)
        }
    }
}

/// Bytes of a token of this width on its way to an expert, in 8 bits with its scales.
pub fn dispatch_token_bytes(width: f64) -> f64 {
    width + SCALE_BYTES
}

/// Size of a token on its way out.
fn dispatch_bytes(hidden: f64, machine: &Machine) -> Bytes {
    let widths = machine.widths;
    // Frameworks that train cast tokens after they have arrived.
    let narrow = widths.experts.operand < 2.0 && machine.framework.is_none();
    Bytes::new(if narrow { dispatch_token_bytes(hidden) } else { hidden * widths.activation })
}

/// All-reduce of a block's output over the tensor-parallel group. With sequence parallelism it is a reduce-scatter and
/// an all-gather, which move as many bytes.
fn tensor_all_reduce(scope: &Scope<'_>, machine: &Machine) -> (Seconds, Option<Coverage>) {
    group_all_reduce(f64::from(scope.plan.tp), scope.pass.tokens(), scope, machine)
}

/// All-reduce of a hidden state per token over this many neighbours, and how well measured operators cover it.
fn group_all_reduce(size: f64, tokens: f64, scope: &Scope<'_>, machine: &Machine) -> (Seconds, Option<Coverage>) {
    if size <= 1.0 {
        return (Seconds::ZERO, None);
    }
    let bytes = Bytes::new(tokens * scope.model.hidden as f64 * machine.widths.activation);
    match machine.tabled_all_reduce(size, bytes) {
        Some((time, coverage)) => (time, Some(coverage)),
        None => (all_reduce(&machine.links, Group { size, stride: 1.0 }, bytes), None),
    }
}

/// What context parallelism moves around attention. Prefill and training gather keys and values of the whole sequence:
/// an all-gather is half an all-reduce. Decode reduces the outputs over parts of the cache. A recurrence hands its state
/// on in prefill; in decode each rank has all of it.
fn context_exchange(scope: &Scope<'_>, machine: &Machine) -> Seconds {
    let plan = scope.plan;
    if plan.cp <= 1 {
        return decode_context_exchange(scope, machine);
    }
    let group = Group { size: f64::from(plan.cp), stride: f64::from(plan.tp) };
    let tp = f64::from(plan.tp);
    let gathered = |bytes: f64| all_reduce(&machine.links, group, Bytes::new(scope.pass.sequences * bytes)) / 2.0;
    match (&scope.layer.mixer, scope.pass.context) {
        (Mixer::None, _) | (Mixer::Linear(_), Context::Cache(_)) => Seconds::ZERO,
        (Mixer::Linear(linear), Context::Causal { .. }) => {
            gathered(linear.state_elements() * linear.state_bytes as f64 / tp)
        }
        (Mixer::Attention(layer), Context::Causal { tokens, .. }) => {
            let entries = cached_entries(&layer.reach, tokens);
            gathered(entries * cache_elements(&layer.sizes, tp) * machine.widths.activation)
        }
        (Mixer::Attention(layer), Context::Cache(_)) => {
            // An output element per query and head: half of a pair's FLOP are products with the values, two per
            // element.
            let elements = flop_per_pair(&layer.sizes, AttentionForm::Absorbed) / 4.0 / tp;
            let tokens = scope.pass.tokens() * f64::from(plan.cp);
            let own = all_reduce(&machine.links, group, Bytes::new(tokens * elements * machine.widths.activation));
            own + decode_context_exchange(scope, machine)
        }
    }
}

/// What decode context parallelism moves: an all-gather of the queries of the group's heads, and a reduce-scatter of their
/// outputs. Both together move as much as an all-reduce of their mean. Recurrences do not share their state.
fn decode_context_exchange(scope: &Scope<'_>, machine: &Machine) -> Seconds {
    let size = f64::from(scope.plan.dcp);
    let Mixer::Attention(layer) = &scope.layer.mixer else { return Seconds::ZERO };
    if size <= 1.0 {
        return Seconds::ZERO;
    }
    let elements = flop_per_pair(&layer.sizes, AttentionForm::Absorbed) / 4.0 / f64::from(scope.plan.tp) * size;
    let bytes = Bytes::new(scope.pass.own_tokens() * elements * machine.widths.activation);
    all_reduce(&machine.links, Group { size, stride: 1.0 }, bytes)
}

/// A stage's output on its way to the next stage. Each rank of the tensor-parallel group sends its slice of the residual
/// stream, all copies of it.
pub fn stage_send(model: &Model, plan: &ParallelPlan, pass: &Pass, machine: &Machine) -> Seconds {
    if plan.pp <= 1 {
        return Seconds::ZERO;
    }
    let width = model.hidden as f64 * model.residual_streams as f64;
    let bytes = pass.tokens() / f64::from(plan.tp) * width * machine.widths.activation;
    let distance = f64::from(plan.tp) * f64::from(plan.cp) * f64::from(plan.dp);
    send(&machine.links, distance, Bytes::new(bytes))
}
