//! One optimizer step over `dp * microbatches` micro-batches.

use crate::projection::fabric::Mode;
use crate::projection::fabric::{Group, all_reduce};
use crate::projection::machine::Machine;
use crate::projection::memory;
use crate::projection::ops::{AttentionForm, Context, Pass, model_flop_per_token};
use crate::projection::parallel_plan::{ParallelPlan, Recompute};
use crate::projection::pass::{PassSetting, Rank, Repeats, Stage, stage_time};
use crate::projection::phases::outcome::PlanOutcome;
use crate::projection::request::{PipelineSchedule, Request};
use crate::projection::terms::{Term, TermTimes, Terms};
use crate::projection::wire::stage_send;
use crate::units::{Bytes, Seconds};

/// The most virtual stages per rank of the interleaved 1F1B schedule (Narayanan et al., 2021). Few layers allow fewer.
const MOST_VIRTUAL_STAGES: f64 = 4.0;

/// How often a forward pass's work is done.
///
/// - A backward pass costs two forward passes in matrix products and streams.
/// - In attention it costs three: 2.5 times the work, since it computes the scores again, at 5/6 of the forward's rate
///   (FlashAttention-3 on H100).
/// - Recomputation adds a forward pass; if it is selective, one of the streams alone.
/// - Collectives run once each way.
fn repeats(recompute: Recompute) -> Repeats {
    let full = f64::from(u8::from(recompute == Recompute::Full));
    let streams = f64::from(u8::from(recompute != Recompute::None));
    Repeats { matmul: 3.0 + full, attention: 4.0 + full, vector: 3.0 + streams, communication: 2.0 + full }
}

/// The pass of a micro-batch, forward and backward. Where experts are spread over ranks, the forward pass of one
/// micro-batch is interleaved with the backward pass of another (DualPipe, DeepSeek-V3 report, section 3.2), unless a
/// framework does not.
pub(super) fn pass<'a>(request: &'a Request, plan: &ParallelPlan) -> (Pass, PassSetting<'a>) {
    let tokens = request.workload.sequence_len;
    let context = Context::Causal { tokens, before: 0.0 };
    let interleaved = request.workload.overlap && request.framework.is_none();
    let streams = if interleaved && plan.ep > 1 && plan.microbatches > 1 { 2 } else { 1 };
    let setting = PassSetting {
        streams,
        mode: Mode::Normal,
        load: &request.workload.expert_load,
        repeats: repeats(Recompute::None),
    };
    let sequences = request.workload.microbatch_sequences;
    (Pass { sequences, queries: tokens / f64::from(plan.cp), context, prompts: None }, setting)
}

/// The step, with as little recomputation as fits.
pub(super) fn step(request: &Request, plan: &ParallelPlan, machine: &Machine) -> PlanOutcome {
    let levels = [Recompute::None, Recompute::Selective, Recompute::Full];
    let fits = |level: &Recompute| {
        let memory = memory::training(request, plan, machine, *level);
        memory.used() <= memory.capacity
    };
    let recompute = levels.into_iter().find(fits).unwrap_or(Recompute::Full);
    let memory = memory::training(request, plan, machine, recompute);
    let (model, workload) = (&request.model, &request.workload);
    let (pass, setting) = pass(request, plan);
    let setting = PassSetting { repeats: repeats(recompute), ..setting };
    let rank = Rank { model, plan, machine, pass: &pass };
    let passes = f64::from(plan.microbatches);
    let stage = stage_time(&rank, &Stage::training(model, plan), &setting).divided_by(setting.streams as f64);
    let mut terms = Terms::default();
    terms.add(&stage, passes);
    let virtual_stages = virtual_stages(request, plan);
    terms.bubble = bubble(request, plan, &stage, setting.repeats.matmul);
    terms.other_collectives += stage_send(model, plan, &pass, machine) * (2.0 * virtual_stages * passes);
    let parameters = memory::local_parameters(model, plan, 0.0);
    let gradients = gradient_all_reduce(plan, machine, &parameters);
    let share = |of_pass: f64| Seconds::new(if workload.overlap { stage.total() * of_pass } else { 0.0 });
    terms.other_collectives += if workload.sharded_weights {
        // Each pass gathers the weights twice and scatters the gradients: three halves of an all-reduce. What hides holds
        // its share of the cores.
        let (moved, cover) = (gradients * 1.5, share(1.0));
        let held = moved.min(cover) * machine.held_cores.many_tokens;
        ((moved - cover).max(Seconds::ZERO) + held) * passes
    } else {
        // Gradients travel during the backward pass of the last micro-batch: two thirds of its time.
        (gradients - share(2.0 / 3.0)).max(Seconds::ZERO)
    };
    terms.dense += optimizer_step(plan, machine, &parameters);
    terms.launch += machine.step;
    let tokens = f64::from(plan.dp) * passes * workload.microbatch_sequences * workload.sequence_len;
    PlanOutcome {
        terms,
        tokens,
        tokens_per_sequence: 1.0,
        model_flop: 3.0 * tokens * model_flop_per_token(model, workload.sequence_len / 2.0, AttentionForm::Expanded),
        memory,
        recompute,
    }
}

fn virtual_stages(request: &Request, plan: &ParallelPlan) -> f64 {
    match request.workload.pipeline {
        PipelineSchedule::Interleaved => {
            let most = request.workload.virtual_stages.unwrap_or(MOST_VIRTUAL_STAGES).max(1.0);
            (request.model.layers as f64 / f64::from(plan.pp)).floor().clamp(1.0, most)
        }
        PipelineSchedule::OneForwardOneBackward | PipelineSchedule::ZeroBubble => 1.0,
    }
}

/// Idle time of a stage: `(pp - 1) * waiting`.
///
/// - 1F1B: `waiting` is the time of a micro-batch.
/// - Interleaved: that over the virtual stages.
/// - Zero bubble (Qi et al., 2024, ZB-H1): that less twice the weight gradients, which fill the bubble. They are one of
///   the `matmuls` passes of matrix products.
fn bubble(request: &Request, plan: &ParallelPlan, stage: &TermTimes, matmuls: f64) -> Seconds {
    let one = stage.total();
    let waiting = match request.workload.pipeline {
        PipelineSchedule::OneForwardOneBackward | PipelineSchedule::Interleaved => one / virtual_stages(request, plan),
        PipelineSchedule::ZeroBubble => {
            let weight_gradients = (stage[Term::ExpertMatmul] + stage[Term::Dense]) / matmuls;
            (one - 2.0 * weight_gradients).max(0.0)
        }
    };
    Seconds::new(waiting * (f64::from(plan.pp) - 1.0))
}

/// Reduce-scatter of 16-bit gradients and all-gather of 16-bit weights: together an all-reduce of two bytes per weight.
/// Ranks are numbered with tensor parallelism innermost, then context, data, pipeline.
fn gradient_all_reduce(plan: &ParallelPlan, machine: &Machine, parameters: &memory::LocalParameters) -> Seconds {
    let inner = f64::from(plan.tp);
    let replicas = f64::from(plan.dp) * f64::from(plan.cp);
    let ep = f64::from(plan.ep) * f64::from(plan.moe_tp);
    let dense = Group { size: replicas, stride: inner };
    let experts = Group { size: (inner * replicas / ep).max(1.0), stride: ep };
    let width = machine.widths.activation;
    let mut time = all_reduce(&machine.links, dense, Bytes::new(parameters.dense() * width));
    if parameters.experts > 0.0 {
        time += all_reduce(&machine.links, experts, Bytes::new(parameters.experts * width));
    }
    time
}

/// Adam reads gradient and state and writes state and weight: about 30 bytes per weight of this rank's share.
fn optimizer_step(plan: &ParallelPlan, machine: &Machine, parameters: &memory::LocalParameters) -> Seconds {
    let replicas = f64::from(plan.dp) * f64::from(plan.cp);
    let expert_replicas = (f64::from(plan.tp) * replicas / f64::from(plan.ep) / f64::from(plan.moe_tp)).max(1.0);
    let share = parameters.dense() / replicas + parameters.experts / expert_replicas;
    Bytes::new(30.0 * share) / machine.streaming
}
