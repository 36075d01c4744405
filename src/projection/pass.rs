//! Time of one pass of a micro-batch, or of two interleaved ones, through one pipeline stage.
//!
//! A layer becomes blocks of ops ([`ops`]) and collectives ([`Wire`]). `program` turns them into nodes on the lanes
//! of a rank, and [`best_period`] schedules them.

use crate::projection::expert_load::{ExpertLoad, hottest};
use crate::projection::fabric::Mode;
use crate::projection::machine::Machine;
use crate::projection::op::{Class, Op};
use crate::projection::ops::{self, Context, CopySum, LayerOps, Pass, Scope};
use crate::projection::parallel_plan::{ExpertExchange, ParallelPlan};
use crate::projection::schedule::{self, Lane, Node, Period, alone, best_lag, period_of};
use crate::projection::terms::{Term, TermTimes};
use crate::projection::wire::{Routed, Wire};
use crate::specs::{Ffn, Layer, Model, Moe};
use crate::units::Seconds;

/// How many layers of each kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Each kind of layer, and how many of it.
    pub kinds: Vec<(Layer, f64)>,
    /// Share of the LM head.
    pub head: f64,
}

/// What passes depend on besides the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassSetting<'a> {
    /// Micro-batches interleaved on a rank: 1 or 2, or more where experts lie on other ranks.
    pub streams: usize,
    /// The kernels of dispatch and combine. Those for many tokens forward inside a node, and hold cores while they run.
    pub mode: Mode,
    /// How tokens spread over the experts.
    pub load: &'a ExpertLoad,
    /// How often ops run: forward alone, or forward, backward and recompute.
    pub repeats: Repeats,
}

/// How often the work of a forward pass is done, all passes together.
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
    /// The stage that sets the pace: `ceil(layers / pp)` layers of the model's mix. Where `pp` does not divide the
    /// layers, the last stage has fewer, and the LM head takes up to that gap.
    pub fn slowest(model: &Model, plan: &ParallelPlan) -> Self {
        Self::with_modules(model, plan, 0.0)
    }

    /// The same in training, where each multi-token-prediction module is one more layer with the head.
    pub fn training(model: &Model, plan: &ParallelPlan) -> Self {
        Self::with_modules(model, plan, model.mtp_layers as f64)
    }

    fn with_modules(model: &Model, plan: &ParallelPlan, modules: f64) -> Self {
        let (layers, pp) = (model.layers as f64 + modules, f64::from(plan.pp));
        let most = (layers / pp).ceil();
        let gap = most - (layers - (pp - 1.0) * most).max(0.0);
        let average_layer = (model.active_parameters() - 2.0 * model.embedding_parameters()).max(1.0) / layers;
        let head_in_layers = model.embedding_parameters() / average_layer;
        let share = |count: f64| most * count / layers;
        let mut kinds: Vec<_> = model.kinds.iter().map(|kind| (kind.layer, share(kind.count as f64))).collect();
        match kinds.iter_mut().find(|(layer, _)| *layer == model.mtp) {
            Some((_, count)) => *count += share(modules),
            None if modules > 0.0 => kinds.push((model.mtp, share(modules))),
            None => {}
        }
        Self { kinds, head: (1.0 + modules - gap / head_in_layers).max(0.0) }
    }
}

/// How the time of a stage is found.
pub type StageTime = fn(&Rank<'_>, &Stage, &PassSetting<'_>) -> TermTimes;

/// Time by term of all layers of a stage, for `setting.streams` micro-batches.
pub fn stage_time(rank: &Rank<'_>, stage: &Stage, setting: &PassSetting<'_>) -> TermTimes {
    stage_of_layers(rank, stage, setting, |layer| best_period(rank, &layer_work(rank, layer, setting), setting).0.times)
}

/// A time that the stage does not take less than, without a schedule. Only its total has a meaning.
///
/// Where every op takes longer with more rows, so does this.
pub fn least_stage_time(rank: &Rank<'_>, stage: &Stage, setting: &PassSetting<'_>) -> TermTimes {
    stage_of_layers(rank, stage, setting, |layer| {
        TermTimes::of(Term::Dense, least_layer_time(rank, &layer_work(rank, layer, setting), setting))
    })
}

/// The time of a stage whose layers take what `layer_time` says.
fn stage_of_layers(
    rank: &Rank<'_>,
    stage: &Stage,
    setting: &PassSetting<'_>,
    layer_time: impl Fn(&Layer) -> TermTimes,
) -> TermTimes {
    let mut times = TermTimes::default();
    for (layer, count) in stage.kinds.iter().filter(|(_, count)| *count > 0.0) {
        let mut once = layer_time(layer);
        add_framework(rank, layer, setting, &mut once);
        times.add_scaled(&once, *count);
    }
    times.add_scaled(&head_time(rank, stage, setting), 1.0);
    times
}

/// The time of a stage's share of the LM head, for `setting.streams` micro-batches.
pub fn head_time(rank: &Rank<'_>, stage: &Stage, setting: &PassSetting<'_>) -> TermTimes {
    let (mut once, mut all) = (TermTimes::default(), TermTimes::default());
    if stage.head > 0.0 {
        let (scope, rows) = (rank.scope(&rank.model.mtp), head_rows(rank));
        block(rank, &[ops::head(&scope, rows)], 1.0, setting, &mut once);
        if let Some(costs) = &rank.machine.framework {
            once[Term::Dense] += (costs.loss(&scope, rows) / rank.machine.roofs.vector.memory).get();
        }
        all.add_scaled(&once, stage.head * setting.streams as f64);
    }
    all
}

/// Adds to a layer's time what a framework does beside its kernels. Kernels run while the host issues the next ones, so that
/// it counts only where it takes longer.
fn add_framework(rank: &Rank<'_>, layer: &Layer, setting: &PassSetting<'_>, times: &mut TermTimes) {
    let Some(costs) = &rank.machine.framework else { return };
    let work = layer_work(rank, layer, setting);
    let (scope, streams) = (rank.scope(layer), setting.streams as f64);
    times[Term::Gating] += streams * (costs.routing(&scope, work.load) / rank.machine.roofs.vector.memory).get();
    let host = streams * costs.host(&work.ops, &scope, setting.repeats.matmul).get();
    times[Term::Launch] += (host - times.total()).max(0.0) + streams * costs.waits(&scope).get();
}

/// Rows of the LM head. Decode needs logits of all tokens (speculated ones too), prefill of the last position of each
/// sequence, training of all positions.
fn head_rows(rank: &Rank<'_>) -> f64 {
    let prompts = rank.pass.prompts.map_or(0.0, |prompts| prompts.count);
    match rank.pass.context {
        Context::Cache(_) => rank.pass.own_tokens() + prompts,
        Context::Causal { .. } => rank.pass.sequences * rank.pass.queries.min(rank.machine.head_positions),
    }
}

/// One rank at work on one pass: all that the time of a layer depends on.
#[derive(Debug, Clone, Copy)]
pub struct Rank<'a> {
    /// The model.
    pub model: &'a Model,
    /// The plan.
    pub plan: &'a ParallelPlan,
    /// The machine.
    pub machine: &'a Machine,
    /// The pass.
    pub pass: &'a Pass,
}

impl Rank<'_> {
    /// What the formulas of a layer's ops read of it.
    pub fn scope<'a>(&'a self, layer: &'a Layer) -> Scope<'a> {
        Scope { model: self.model, layer, plan: self.plan, widths: self.machine.widths, pass: self.pass }
    }

    /// Tokens that the rank holds between the blocks.
    pub fn own_tokens(&self) -> f64 {
        self.pass.tokens() / f64::from(self.plan.tp)
    }
}

/// A layer: its ops, and the times of its collectives.
#[derive(Debug, Clone)]
pub struct LayerWork {
    /// Ops by block.
    pub ops: LayerOps,
    /// Collectives.
    pub wire: Wire,
    /// Copies of tokens on the hottest rank over the mean; 1 without experts.
    pub load: f64,
}

/// The work of a layer.
fn layer_work(rank: &Rank<'_>, layer: &Layer, setting: &PassSetting<'_>) -> LayerWork {
    let scope = rank.scope(layer);
    let attention = ops::mixer(&scope);
    match (layer.ffn, &rank.model.moe) {
        (Ffn::Experts, Some(moe)) => experts_work(rank, &scope, moe, setting, attention),
        (Ffn::Dense(width), _) => {
            let ops = LayerOps { attention, ffn: ops::dense_ffn(&scope, width), ..LayerOps::default() };
            LayerWork { ops, wire: Wire::of_dense(&scope, rank.machine), load: 1.0 }
        }
        _ => {
            let ops = LayerOps { attention, ..LayerOps::default() };
            LayerWork { ops, wire: Wire::of_mixer(&scope, rank.machine), load: 1.0 }
        }
    }
}

/// The work of a layer with experts.
fn experts_work(
    rank: &Rank<'_>,
    scope: &Scope<'_>,
    moe: &Moe,
    setting: &PassSetting<'_>,
    attention: Vec<Op>,
) -> LayerWork {
    let plan = rank.plan;
    let (routed, ranks) = (scope.routed_tokens(), f64::from(plan.ep));
    let copies = ops::copies(moe, plan);
    let load = (hottest(setting.load, moe, ranks, routed * copies) * rank.machine.skew).min(ranks);
    let mut layer = LayerOps { attention, ..LayerOps::default() };
    // Kernels for many tokens leave the layout of the copies and their sum to ops of their own. So does having no wire.
    let no_wire = plan.ep == 1 || plan.moe_exchange == ExpertExchange::AllGather;
    let own_ops = setting.mode == Mode::Normal || no_wire;
    let sum = if own_ops { CopySum::Op } else { CopySum::Combine };
    ops::experts(scope, moe, load, sum, &mut layer);
    let wire = Wire::of_experts(scope, rank.machine, moe, Routed { load, mode: setting.mode });
    // Where a dispatch counts the work of the sender's cores, the layout is part of it.
    if own_ops && !wire.copies.is_positive() {
        layer.pack.push(ops::pack(scope, moe));
    }
    LayerWork { ops: layer, wire, load }
}

/// The fastest way to run a layer, and its program. Two micro-batches may share the cores in each way of
/// `CoreSharing`.
pub fn best_period(rank: &Rank<'_>, layer: &LayerWork, setting: &PassSetting<'_>) -> (Period, Vec<Node>) {
    let whole = program(rank, layer, setting, CoreSharing::Blocks, None);
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
    consider(program(rank, layer, setting, CoreSharing::Kernels, None));
    if let Some(split) = split_cores(rank, layer, setting) {
        consider(program(rank, layer, setting, split, None));
    }
    let (_, lag, nodes) = best;
    (period_of(&nodes, lag), nodes)
}

/// What no way to run a layer takes less than: that of cores which communication leaves free, and that of split ones.
fn least_layer_time(rank: &Rank<'_>, layer: &LayerWork, setting: &PassSetting<'_>) -> f64 {
    let least = |sharing| schedule::least_time(&program(rank, layer, setting, sharing, Some(1.0)), setting.streams);
    // Turns inside attention change neither the chain nor the work of a lane.
    let whole = least(CoreSharing::Blocks);
    let split = if setting.streams < 2 { None } else { split_cores(rank, layer, setting) };
    split.map_or(whole, |split| whole.min(least(split)))
}

/// The stream with dispatch and combine has the cores that communication holds, attention has the others: where two
/// micro-batches can run side by side.
fn split_cores(rank: &Rank<'_>, layer: &LayerWork, setting: &PassSetting<'_>) -> Option<CoreSharing> {
    let can = rank.machine.splits_cores && setting.mode == Mode::LowLatency && layer.wire.dispatch > Seconds::ZERO;
    can.then(|| CoreSharing::Split(1.0 - held_share(rank.machine, setting)))
}

/// How interleaved micro-batches share the cores.
#[derive(Debug, Clone, Copy, PartialEq)]
enum CoreSharing {
    /// They take turns block by block.
    Blocks,
    /// They take turns inside attention too, as in DeepSeek's decode: projections, core, output.
    Kernels,
    /// Attention has this share of the cores, experts have the rest.
    Split(f64),
}

/// Nodes of a layer, one after the other.
struct Program<'a> {
    rank: &'a Rank<'a>,
    setting: &'a PassSetting<'a>,
    nodes: Vec<Node>,
}

impl Program<'_> {
    /// Adds a block of ops on a share of the cores.
    fn run(&mut self, name: &'static str, list: &[Op], cores: f64, lane: Lane) -> &mut Node {
        let mut times = TermTimes::default();
        block(self.rank, list, cores, self.setting, &mut times);
        self.push(Node::new(name, lane, times))
    }

    /// Adds a collective, if it takes any time. Returns whether it does.
    fn send(&mut self, name: &'static str, time: Seconds, term: Term) -> bool {
        if time > Seconds::ZERO {
            let time = time.get() * self.setting.repeats.communication;
            self.push(Node::new(name, Lane::Fabric, TermTimes::of(term, time)));
        }
        time > Seconds::ZERO
    }

    fn push(&mut self, node: Node) -> &mut Node {
        let index = self.nodes.len();
        self.nodes.push(node);
        &mut self.nodes[index]
    }
}

/// A layer as nodes. Communication leaves `free` of the cores to compute, or what it holds of them where that is `None`.
fn program(
    rank: &Rank<'_>,
    layer: &LayerWork,
    setting: &PassSetting<'_>,
    sharing: CoreSharing,
    free: Option<f64>,
) -> Vec<Node> {
    let split = if let CoreSharing::Split(share) = sharing { Some(share) } else { None };
    let (wire, ops) = (&layer.wire, &layer.ops);
    let slow = free.unwrap_or_else(|| free_cores(rank, layer, setting, split));
    let (attention_cores, expert_cores) = split.map_or((slow, slow), |share| (share, 1.0 - share));
    let expert_lane = if split.is_some() { Lane::Experts } else { Lane::Compute };
    // With many tokens, vector cores of their own lay out and sum the copies of one micro-batch while the other
    // computes.
    let own_vector_cores = rank.machine.splits_cores && setting.mode == Mode::Normal && setting.streams > 1;
    let vector_lane = if own_vector_cores { Lane::Experts } else { expert_lane };
    let mut program = Program { rank, setting, nodes: Vec::with_capacity(9) };
    if !ops.attention.is_empty() {
        add_attention(&mut program, &ops.attention, attention_cores, sharing);
    }
    program.send("tensor parallel", wire.attention, Term::OtherCollectives);
    if ops.gate.is_empty() {
        if !ops.ffn.is_empty() {
            program.run("ffn", &ops.ffn, attention_cores, Lane::Compute);
        }
        program.send("tensor parallel", wire.ffn, Term::OtherCollectives);
        return program.nodes;
    }
    program.run("gate", &ops.gate, expert_cores, expert_lane);
    if !ops.pack.is_empty() {
        program.run("pack", &ops.pack, expert_cores, vector_lane);
    }
    // Copies are issued by the cores of the stream that sends them.
    let slower = if split.is_some() { wire.copies * (1.0 / expert_cores - 1.0) } else { Seconds::ZERO };
    let dispatched = program.send("dispatch", wire.dispatch + slower, Term::Dispatch);
    let mut back = 1;
    if !ops.shared.is_empty() {
        let node = program.run("shared expert", &ops.shared, expert_cores, expert_lane);
        if dispatched {
            // It waits for the gate and not for the wire. The experts wait for the wire.
            node.after = if ops.pack.is_empty() { 2 } else { 3 };
            back = 2;
        }
    }
    program.run("experts", &ops.ffn, expert_cores, expert_lane).after = back;
    program.send("combine", wire.combine, Term::Combine);
    if !ops.after.is_empty() {
        program.run("sum", &ops.after, expert_cores, vector_lane);
    }
    program.send("tensor parallel", wire.ffn, Term::OtherCollectives);
    program.nodes
}

/// Attention as one node, or as projections, core and output where micro-batches take turns inside it.
fn add_attention(program: &mut Program<'_>, list: &[Op], cores: f64, sharing: CoreSharing) {
    if sharing != CoreSharing::Kernels {
        program.run("attention", list, cores, Lane::Compute);
        return;
    }
    let is_core = |op: &Op| op.term == Term::Attention;
    let first = list.iter().position(is_core).unwrap_or(0);
    let last = list.iter().rposition(is_core).unwrap_or(0);
    program.run("projections", &list[..first], cores, Lane::Compute);
    program.run("attention", &list[first..=last], cores, Lane::Compute);
    program.run("output", &list[last + 1..], cores, Lane::Compute);
}

/// Share of the cores that communication holds while it runs.
pub fn held_share(machine: &Machine, setting: &PassSetting<'_>) -> f64 {
    if setting.mode == Mode::Normal { machine.held_cores.many_tokens } else { machine.held_cores.few_tokens }
}

/// Share of the cores that is left to compute, averaged over the layer: `1 - held * min(1, wire / compute)`.
fn free_cores(rank: &Rank<'_>, layer: &LayerWork, setting: &PassSetting<'_>, split: Option<f64>) -> f64 {
    let held = held_share(rank.machine, setting);
    let wire = (layer.wire.dispatch + layer.wire.combine).get() * setting.repeats.communication;
    if setting.streams < 2 || split.is_some() || held <= 0.0 || wire <= 0.0 {
        return 1.0;
    }
    let mut times = TermTimes::default();
    for list in layer.ops.blocks() {
        block(rank, list, 1.0, setting, &mut times);
    }
    let compute = times.total();
    1.0 - held * (wire / compute.max(1e-12)).min(1.0)
}

/// Adds the time of ops that run one after the other on a share of the cores.
pub fn block(rank: &Rank<'_>, list: &[Op], cores: f64, setting: &PassSetting<'_>, times: &mut TermTimes) {
    for op in list {
        let time = rank.machine.op(op);
        let repeat = match op.class {
            Class::Attention | Class::PrefillAttention => setting.repeats.attention,
            Class::Expert | Class::Dense => setting.repeats.matmul,
            Class::Gating | Class::Vector => setting.repeats.vector,
        };
        times[op.term] += rank.machine.busy(&time, cores).get() * repeat;
        if let Some(costs) = &rank.machine.framework {
            times[op.term] += (costs.casts(op, &rank.machine.widths) / rank.machine.roofs.vector.memory).get();
        }
        times[Term::Launch] += time.launch.get() * repeat;
    }
}

/// The layer that sets the pace, its program and its period: for a trace and a list of its ops. Of all kinds of layers it
/// is the one that takes most of the time.
pub fn typical_layer(rank: &Rank<'_>, setting: &PassSetting<'_>) -> (LayerWork, Vec<Node>, Period) {
    let of_layer = |layer: &Layer| {
        let work = layer_work(rank, layer, setting);
        let (period, nodes) = best_period(rank, &work, setting);
        (work, nodes, period)
    };
    let all = rank.model.kinds.iter().map(|kind| (kind.count as f64, of_layer(&kind.layer)));
    let longest = all.max_by(|(count, (.., period)), (other, (.., than))| {
        (count * period.times.total()).total_cmp(&(other * than.times.total()))
    });
    longest.map_or_else(|| of_layer(&rank.model.mtp), |(_, found)| found)
}
