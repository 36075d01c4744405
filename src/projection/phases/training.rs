//! One optimizer step over `dp * microbatches` sequences.

use super::{Outcome, add, stage_send};
use crate::projection::fabric::{Group, all_reduce};
use crate::projection::machine::Machine;
use crate::projection::memory;
use crate::projection::ops::{Context, Pass, model_flop_per_token};
use crate::projection::pass::{Repeats, Setting, Stage, book, scope, stage_time};
use crate::projection::request::{Pipeline, Request};
use crate::projection::result::{Plan, Recompute, Terms};
use crate::projection::schedule::Books;
use crate::units::Seconds;

/// Virtual stages a rank of the interleaved 1F1B schedule, as far as layers allow (Narayanan et al., 2021).
const MOST_VIRTUAL_STAGES: f64 = 4.0;

/// A backward pass costs two forward passes in matrix products and streams; attention's does 2.5 times the work (it
/// computes the scores again) at about 5/6 of the forward's rate, FlashAttention-3's on H100. Recomputation adds a
/// forward pass, of the streams alone if it is selective. Collectives run once each way.
fn repeats(recompute: Recompute) -> Repeats {
    let full = f64::from(u8::from(recompute == Recompute::Full));
    let streams = f64::from(u8::from(recompute != Recompute::None));
    Repeats { matmul: 3.0 + full, attention: 4.0 + full, vector: 3.0 + streams, communication: 2.0 + full }
}

/// The pass of a micro-batch of one sequence, forward and backward. Where experts are spread over ranks, the forward of one
/// micro-batch is interleaved with the backward of another (DualPipe, DeepSeek-V3 report, section 3.2).
pub(super) fn pass(request: &Request, plan: &Plan) -> (Pass, Setting) {
    let tokens = request.workload.sequence_len;
    let context = Context::Causal { tokens, before: 0.0 };
    let streams = if request.workload.overlap && plan.ep > 1 && plan.microbatches > 1 { 2 } else { 1 };
    let setting =
        Setting { streams, forward: true, load: request.workload.expert_load, repeats: repeats(Recompute::None) };
    (Pass { sequences: 1.0, queries: tokens / f64::from(plan.cp), context }, setting)
}

/// With as little recomputation as fits.
pub(super) fn step(request: &Request, plan: &Plan, machine: &Machine) -> Outcome {
    let levels = [Recompute::None, Recompute::Selective, Recompute::Full];
    let fits = |level: &Recompute| {
        let memory = memory::training(request, plan, machine, *level);
        memory.used() <= memory.capacity
    };
    let recompute = levels.into_iter().find(fits).unwrap_or(Recompute::Full);
    let memory = memory::training(request, plan, machine, recompute);
    let (model, workload) = (&request.model, &request.workload);
    let (pass, setting) = pass(request, plan);
    let setting = Setting { repeats: repeats(recompute), ..setting };
    let scope = scope(model, plan, machine, &pass);
    let passes = f64::from(plan.microbatches);
    let books = stage_time(&scope, &Stage::training(model, plan), &setting).map(|time| time / setting.streams as f64);
    let mut terms = Terms::default();
    add(&mut terms, &books, passes);
    let virtual_stages = virtual_stages(request, plan);
    terms.bubble = Seconds::new(bubble(request.workload.pipeline, plan, &books, &setting.repeats, virtual_stages));
    terms.other_collectives += stage_send(&scope) * (2.0 * virtual_stages * passes);
    let parameters = memory::local_parameters(model, plan, 0.0);
    let gradients = gradient_all_reduce(plan, machine, &parameters);
    // Gradients leave while the last micro-batch is still going backward: two thirds of its time.
    let share = if workload.overlap { 2.0 / 3.0 } else { 0.0 };
    let cover = Seconds::new(books.iter().sum::<f64>() * share);
    terms.other_collectives += (gradients - cover).max(Seconds::ZERO);
    terms.dense += optimizer_step(plan, machine, &parameters);
    terms.launch += Seconds::new(machine.step);
    let tokens = f64::from(plan.dp) * passes * workload.sequence_len;
    Outcome {
        terms,
        tokens,
        tokens_per_sequence: 1.0,
        model_flop: 3.0 * tokens * model_flop_per_token(model, workload.sequence_len / 2.0, false),
        memory,
        recompute,
    }
}

fn virtual_stages(request: &Request, plan: &Plan) -> f64 {
    match request.workload.pipeline {
        Pipeline::Interleaved => {
            (request.model.layers as f64 / f64::from(plan.pp)).floor().clamp(1.0, MOST_VIRTUAL_STAGES)
        }
        Pipeline::OneForwardOneBackward | Pipeline::ZeroBubble => 1.0,
    }
}

/// Idle time of a stage. 1F1B waits for `pp - 1` micro-batches; interleaving divides that by the virtual stages; zero
/// bubble (Qi et al., 2024, ZB-H1) fills it with weight gradients, a third of the matrix products, twice.
fn bubble(pipeline: Pipeline, plan: &Plan, books: &Books, repeats: &Repeats, virtual_stages: f64) -> f64 {
    let one: f64 = books.iter().sum();
    let waiting = match pipeline {
        Pipeline::OneForwardOneBackward | Pipeline::Interleaved => one / virtual_stages,
        Pipeline::ZeroBubble => {
            let weight_gradients = (books[book::EXPERT] + books[book::DENSE]) / repeats.matmul;
            (one - 2.0 * weight_gradients).max(0.0)
        }
    };
    waiting * (f64::from(plan.pp) - 1.0)
}

/// Reduce-scatter of 16-bit gradients and all-gather of 16-bit weights: together an all-reduce of two bytes a weight.
/// Ranks are numbered with tensor parallelism innermost, then context, data, pipeline.
fn gradient_all_reduce(plan: &Plan, machine: &Machine, parameters: &memory::LocalParameters) -> Seconds {
    let inner = f64::from(plan.tp);
    let replicas = f64::from(plan.dp) * f64::from(plan.cp);
    let ep = f64::from(plan.ep);
    let dense = Group { size: replicas, stride: inner };
    let experts = Group { size: (inner * replicas / ep).max(1.0), stride: ep };
    let width = machine.activation_bytes;
    let mut time = all_reduce(&machine.links, dense, parameters.dense * width);
    if parameters.experts > 0.0 {
        time += all_reduce(&machine.links, experts, parameters.experts * width);
    }
    time
}

/// Adam reads gradient and state and writes state and weight: about 30 bytes a weight of this rank's share.
fn optimizer_step(plan: &Plan, machine: &Machine, parameters: &memory::LocalParameters) -> Seconds {
    let replicas = f64::from(plan.dp) * f64::from(plan.cp);
    let expert_replicas = (f64::from(plan.tp) * replicas / f64::from(plan.ep)).max(1.0);
    let share = parameters.dense / replicas + parameters.experts / expert_replicas;
    Seconds::new(30.0 * share / machine.streaming)
}
