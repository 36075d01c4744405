//! Time of one pass of a micro-batch, or of two interleaved ones, through one pipeline stage.

use super::fabric::{AllToAll, Group, all_to_all, dispatch, issue};
use super::load::{ExpertLoad, hottest};
use super::machine::Machine;
use super::ops::{self, LayerOps, Op, Part, Pass, Scope};
use super::result::Plan;
use super::schedule::{BOOKS, Books, COMPUTE, EXPERTS, FABRIC, Node, Period, alone, best_lag, period_of};
use crate::specs::{Model, Moe};

/// How many layers of each kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Layers with a dense FFN.
    pub dense_layers: f64,
    /// Layers with experts.
    pub moe_layers: f64,
    /// Share of the LM head.
    pub head: f64,
}

/// What passes depend on beside the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Micro-batches interleaved on a rank: 1 or 2.
    pub streams: usize,
    /// Many tokens: dispatch and combine forward inside a node, and hold cores while they run.
    pub forward: bool,
    /// How tokens spread over the experts.
    pub load: ExpertLoad,
    /// Times that ops run, by class: forward alone, or forward, backward and recompute.
    pub repeats: Repeats,
}

/// How often the work of a forward pass is done in all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repeats {
    /// Matrix products.
    pub matmul: f64,
    /// Attention proper.
    pub attention: f64,
    /// Streams through the vector units, router included.
    pub vector: f64,
    /// Collectives.
    pub communication: f64,
}

impl Repeats {
    /// A forward pass.
    pub const FORWARD: Self = Self { matmul: 1.0, attention: 1.0, vector: 1.0, communication: 1.0 };
}

impl Stage {
    /// The stage that sets the pace: `ceil(layers / pp)` layers of the model's mix. Where layers do not divide, the last
    /// stage has fewer, and the LM head fills the gap as far as it fits.
    pub fn slowest(model: &Model, plan: &Plan) -> Self {
        Self::with_modules(model, plan, 0.0)
    }

    /// The same in training, where each multi-token-prediction module is one more layer with the head.
    pub fn training(model: &Model, plan: &Plan) -> Self {
        Self::with_modules(model, plan, model.mtp_layers as f64)
    }

    fn with_modules(model: &Model, plan: &Plan, modules: f64) -> Self {
        let (layers, pp) = (model.layers as f64 + modules, f64::from(plan.pp));
        let most = (layers / pp).ceil();
        let gap = most - (layers - (pp - 1.0) * most).max(0.0);
        let average_layer = (model.active_parameters() - 2.0 * model.embedding_parameters()).max(1.0) / layers;
        let head_in_layers = model.embedding_parameters() / average_layer;
        let dense_share = model.dense_layers as f64 / layers;
        Self {
            dense_layers: most * dense_share,
            moe_layers: most * (1.0 - dense_share),
            head: (1.0 + modules - gap / head_in_layers).max(0.0),
        }
    }
}

/// Index of a booking.
pub mod book {
    /// Attention.
    pub const ATTENTION: usize = 0;
    /// Routed experts.
    pub const EXPERT: usize = 1;
    /// Router.
    pub const GATING: usize = 2;
    /// Projections and elementwise work.
    pub const DENSE: usize = 3;
    /// Exposed dispatch.
    pub const DISPATCH: usize = 4;
    /// Exposed combine.
    pub const COMBINE: usize = 5;
    /// Exposed collectives of tensor and context parallelism.
    pub const OTHER: usize = 6;
    /// Launches.
    pub const LAUNCH: usize = 7;
}

/// Time of all layers of a stage for `setting.streams` micro-batches, by booking.
pub fn stage_time(scope: &Scope<'_>, stage: &Stage, setting: &Setting) -> Books {
    let mut books = [0.0; BOOKS];
    let attention = ops::attention(scope);
    if stage.moe_layers > 0.0
        && let Some(moe) = &scope.model.moe
    {
        let layer = moe_layer(scope, moe, setting, attention.clone());
        add(&mut books, &best_period(scope, &layer, setting).0.books, stage.moe_layers);
    }
    if stage.dense_layers > 0.0 {
        let ffn = ops::dense_ffn(scope);
        let layer = Layer { ops: LayerOps { attention, ffn, ..LayerOps::default() }, wire: Wire::none(scope) };
        add(&mut books, &best_period(scope, &layer, setting).0.books, stage.dense_layers);
    }
    if stage.head > 0.0 {
        let head = ops::head(scope, head_rows(scope));
        let mut once = [0.0; BOOKS];
        block(scope, &[head], 1.0, setting, &mut once);
        add(&mut books, &once, stage.head * setting.streams as f64);
    }
    books
}

/// Serving needs logits of the last position of each sequence, or of all speculated ones; training of all.
fn head_rows(scope: &Scope<'_>) -> f64 {
    match scope.pass.context {
        ops::Context::Cache(_) => scope.pass.tokens(),
        ops::Context::Causal { .. } => scope.pass.sequences * scope.pass.queries.min(scope.machine.head_positions),
    }
}

fn add(books: &mut Books, other: &Books, factor: f64) {
    for (book, part) in books.iter_mut().zip(other) {
        *book += part * factor;
    }
}

/// A layer: its ops, and the times of its collectives.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Ops by block.
    pub ops: LayerOps,
    /// Collectives.
    pub wire: Wire,
}

/// Times of a layer's collectives, seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wire {
    /// Out to the experts.
    pub dispatch: f64,
    /// The part of a dispatch in which the sender's cores quantise and issue copies.
    pub copies: f64,
    /// Back from them.
    pub combine: f64,
    /// Tensor and context parallelism around attention.
    pub attention: f64,
    /// Tensor parallelism around a dense FFN.
    pub ffn: f64,
}

impl Wire {
    /// Tensor and context parallelism alone.
    fn none(scope: &Scope<'_>) -> Self {
        let tensor = super::phases::tensor_all_reduce(scope);
        Self { attention: tensor + super::phases::context_exchange(scope), ffn: tensor, ..Self::default() }
    }
}

/// The ops and collectives of a layer with experts.
pub fn moe_layer(scope: &Scope<'_>, moe: &Moe, setting: &Setting, attention: Vec<Op>) -> Layer {
    let own = scope.own_tokens();
    let ranks = f64::from(scope.plan.ep);
    let copies = ops::copies(moe, scope.plan);
    let load = (hottest(setting.load, moe, ranks, own * copies) * scope.machine.skew).min(ranks);
    let mut layer = LayerOps { attention, ..LayerOps::default() };
    // Kernels for many tokens leave the layout of the copies and their sum to ops of their own, as does having no wire.
    let apart = setting.forward || scope.plan.ep == 1;
    ops::experts(scope, moe, load, apart, &mut layer);
    let group = Group { size: ranks, stride: 1.0 };
    let most_groups = (moe.groups > 1).then_some(moe.kept_groups as f64);
    let hidden = scope.model.hidden as f64;
    let traffic = |bytes| AllToAll { tokens: own * load, copies, bytes, forward: setting.forward, most_groups };
    let machine = scope.machine;
    let wire = Wire {
        dispatch: dispatch(&machine.links, group, &traffic(dispatch_bytes(hidden, machine))).get()
            * machine.wire_factors[0],
        copies: issue(&machine.links, group, &traffic(0.0)).get() * machine.wire_factors[0],
        combine: all_to_all(&machine.links, group, &traffic(hidden * machine.activation_bytes)).get()
            * machine.wire_factors[1],
        attention: super::phases::tensor_all_reduce(scope) + super::phases::context_exchange(scope),
        ffn: 0.0,
    };
    // Where a dispatch counts the work of the sender's cores, the layout is part of it.
    if apart && wire.copies == 0.0 {
        layer.pack.push(ops::pack(scope, moe));
    }
    Layer { ops: layer, wire }
}

/// A token on its way out: 8-bit elements carry 512 B of scales (7.5 KB for a hidden size of 7168: arXiv:2506.12708).
fn dispatch_bytes(hidden: f64, machine: &Machine) -> f64 {
    if machine.weight_bytes < 2.0 { hidden + 512.0 } else { hidden * machine.activation_bytes }
}

/// The fastest way to run a layer, and the program that does it: with two micro-batches, compute as one lane, or its
/// cores split between attention and experts.
pub fn best_period(scope: &Scope<'_>, layer: &Layer, setting: &Setting) -> (Period, Vec<Node>) {
    let whole = program(scope, layer, setting, Turns::Blocks);
    if setting.streams < 2 {
        return (alone(&whole), whole);
    }
    let (time, lag) = best_lag(&whole, f64::INFINITY).unwrap_or((f64::INFINITY, 1));
    let mut best = (time, lag, whole);
    let mut consider = |nodes: Vec<Node>| {
        if let Some((time, lag)) = best_lag(&nodes, best.0) {
            best = (time, lag, nodes);
        }
    };
    consider(program(scope, layer, setting, Turns::Kernels));
    if scope.machine.splits_cores && !setting.forward && layer.wire.dispatch > 0.0 {
        // The stream with dispatch and combine has the cores that communication holds, attention the others.
        consider(program(scope, layer, setting, Turns::Split(1.0 - held_share(scope, setting))));
    }
    let (_, lag, nodes) = best;
    (period_of(&nodes, lag), nodes)
}

/// How interleaved micro-batches share the cores.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turns {
    /// They take turns block by block.
    Blocks,
    /// They may take turns inside attention too, as in DeepSeek's decode: projections, core, and what follows.
    Kernels,
    /// Attention has this share of the cores, experts the rest.
    Split(f64),
}

/// A layer as nodes.
fn program(scope: &Scope<'_>, layer: &Layer, setting: &Setting, turns: Turns) -> Vec<Node> {
    let split = if let Turns::Split(share) = turns { Some(share) } else { None };
    let (wire, repeat) = (&layer.wire, setting.repeats.communication);
    let slow = held_cores(scope, layer, setting, split);
    let (attention_cores, expert_cores) = split.map_or((slow, slow), |share| (share, 1.0 - share));
    let expert_lane = if split.is_some() { EXPERTS } else { COMPUTE };
    // With many tokens, vector cores of their own lay out and sum the copies of one micro-batch while the other computes.
    let apart = scope.machine.splits_cores && setting.forward && setting.streams > 1;
    let vector_lane = if apart { EXPERTS } else { expert_lane };
    let mut nodes: Vec<Node> = Vec::with_capacity(9);
    let push = |nodes: &mut Vec<Node>, name, list: &[Op], cores, lane| {
        let mut books = [0.0; BOOKS];
        block(scope, list, cores, setting, &mut books);
        nodes.push(Node::new(name, lane, books));
    };
    let send = |nodes: &mut Vec<Node>, name, time: f64, index: usize| {
        if time > 0.0 {
            let mut books = [0.0; BOOKS];
            books[index] = time * repeat;
            nodes.push(Node::new(name, FABRIC, books));
        }
    };
    let attention = &layer.ops.attention;
    let core = attention.iter().position(|op| op.part == Part::Attention).unwrap_or(0);
    if turns == Turns::Kernels {
        push(&mut nodes, "projections", &attention[..core], attention_cores, COMPUTE);
        push(&mut nodes, "attention", &attention[core..=core], attention_cores, COMPUTE);
        push(&mut nodes, "output", &attention[core + 1..], attention_cores, COMPUTE);
    } else {
        push(&mut nodes, "attention", attention, attention_cores, COMPUTE);
    }
    send(&mut nodes, "tensor parallel", wire.attention, book::OTHER);
    if layer.ops.gate.is_empty() {
        push(&mut nodes, "ffn", &layer.ops.ffn, attention_cores, COMPUTE);
        send(&mut nodes, "tensor parallel", wire.ffn, book::OTHER);
        return nodes;
    }
    push(&mut nodes, "gate", &layer.ops.gate, expert_cores, expert_lane);
    if !layer.ops.pack.is_empty() {
        push(&mut nodes, "pack", &layer.ops.pack, expert_cores, vector_lane);
    }
    let gate = nodes.len();
    // Copies are made by the cores of the stream that sends them.
    let slower = if split.is_some() { wire.copies * (1.0 / expert_cores - 1.0) } else { 0.0 };
    send(&mut nodes, "dispatch", wire.dispatch + slower, book::DISPATCH);
    let dispatched = nodes.len() > gate;
    let mut back = 1;
    if !layer.ops.shared.is_empty() {
        push(&mut nodes, "shared expert", &layer.ops.shared, expert_cores, expert_lane);
        if dispatched && let Some(node) = nodes.last_mut() {
            // It waits for the gate, not for the wire; the experts wait for the wire.
            node.after = if layer.ops.pack.is_empty() { 2 } else { 3 };
            back = 2;
        }
    }
    push(&mut nodes, "experts", &layer.ops.ffn, expert_cores, expert_lane);
    if let Some(node) = nodes.last_mut() {
        node.after = back;
    }
    send(&mut nodes, "combine", wire.combine, book::COMBINE);
    if !layer.ops.after.is_empty() {
        push(&mut nodes, "sum", &layer.ops.after, expert_cores, vector_lane);
    }
    nodes
}

/// Share of the cores that communication holds while it runs.
fn held_share(scope: &Scope<'_>, setting: &Setting) -> f64 {
    let machine = scope.machine;
    if setting.forward { machine.communication_cores } else { machine.decode_communication_cores }
}

/// Share of the cores that is left to compute while communication holds some, averaged over the layer.
fn held_cores(scope: &Scope<'_>, layer: &Layer, setting: &Setting, split: Option<f64>) -> f64 {
    let held = held_share(scope, setting);
    let wire = (layer.wire.dispatch + layer.wire.combine) * setting.repeats.communication;
    if setting.streams < 2 || split.is_some() || held <= 0.0 || wire <= 0.0 {
        return 1.0;
    }
    let mut books = [0.0; BOOKS];
    let blocks = &layer.ops;
    for list in [&blocks.attention, &blocks.gate, &blocks.pack, &blocks.shared, &blocks.ffn, &blocks.after] {
        block(scope, list, 1.0, setting, &mut books);
    }
    let compute: f64 = books.iter().sum();
    1.0 - held * (wire / compute.max(1e-12)).min(1.0)
}

/// Adds the time of ops that run one after the other on a share of the cores.
fn block(scope: &Scope<'_>, list: &[Op], cores: f64, setting: &Setting, books: &mut Books) {
    let machine = scope.machine;
    for op in list {
        let time = machine.op(op);
        let repeat = match op.class {
            ops::Class::Attention | ops::Class::PrefillAttention => setting.repeats.attention,
            ops::Class::Expert | ops::Class::Dense => setting.repeats.matmul,
            ops::Class::Gating | ops::Class::Vector => setting.repeats.vector,
        };
        let index = match op.part {
            Part::Attention => book::ATTENTION,
            Part::Expert => book::EXPERT,
            Part::Gating => book::GATING,
            Part::Dense => book::DENSE,
        };
        books[index] += machine.busy(&time, cores) * repeat;
        books[book::LAUNCH] += time.launch * repeat;
    }
}

/// The layer that sets the pace, its program and its period, for a trace and a list of its ops.
pub fn typical_layer(scope: &Scope<'_>, setting: &Setting) -> (Layer, Vec<Node>, Period) {
    let attention = ops::attention(scope);
    let layer = match &scope.model.moe {
        Some(moe) => moe_layer(scope, moe, setting, attention),
        None => {
            let ffn = ops::dense_ffn(scope);
            Layer { ops: LayerOps { attention, ffn, ..LayerOps::default() }, wire: Wire::none(scope) }
        }
    };
    let (period, nodes) = best_period(scope, &layer, setting);
    (layer, nodes, period)
}

/// The pass of a micro-batch.
pub fn scope<'a>(model: &'a Model, plan: &'a Plan, machine: &'a Machine, pass: &'a Pass) -> Scope<'a> {
    Scope { model, plan, machine, pass }
}
