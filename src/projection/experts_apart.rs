//! Decode with attention and experts on ranks of their own (attention-FFN), as xDeepServe runs it on CloudMatrix384.
//!
//! Attention ranks hold the KV cache and run attention, norms, the router, dense layers and the LM head; expert ranks run
//! the routed experts, and the shared ones. In each layer with experts a micro-batch travels to the experts and back.
//! Meanwhile its attention worker computes its other micro-batches, and the experts those of other attention workers.
//!
//! With `m` micro-batches on each of `w` attention workers, a layer takes for all of them
//!
//! `max(m a, w m e, m (t + max(d, c)), w m max(d, c), a + t + d + e + c)`
//!
//! - `a`, `e`: ops of a micro-batch on an attention rank and on an expert rank.
//! - `t`: tensor-parallel collectives of attention.
//! - `d`, `c`: dispatch and combine, which use opposite directions of the ports.
//!
//! The first four are a rank and its ports at work, the last is the way of one micro-batch: none can be beaten. Without
//! `t` the largest of them is reached, since alike micro-batches that go in a fixed order wait for nothing else. With it,
//! a schedule takes up to 15 % longer in the worst case of the test below.

use crate::projection::expert_load::hottest;
use crate::projection::op::Op;
use crate::projection::ops::{self, CopySum, LayerOps, Pass, Scope};
use crate::projection::parallel_plan::ExpertWorker;
use crate::projection::pass::{PassSetting, Rank, Stage, block, head_time, held_share};
use crate::projection::terms::{Term, TermTimes};
use crate::projection::wire::{Between, Wire};
use crate::specs::{Ffn, Layer, Moe};
use crate::units::Seconds;

/// An attention rank, and the experts beside it.
#[derive(Debug, Clone, Copy)]
pub struct ApartRanks<'a> {
    /// The attention rank, with a pass of one micro-batch.
    pub attention: Rank<'a>,
    /// The experts.
    pub experts: &'a ExpertWorker,
}

/// Times of all micro-batches, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ApartTimes {
    /// The time by term. What an attention rank does not compute itself counts as what its micro-batches wait for, in
    /// proportion to their way.
    pub terms: TermTimes,
    /// Of it, an attention rank computes.
    pub attention_s: f64,
    /// Of it, an expert rank computes.
    pub experts_s: f64,
}

impl ApartTimes {
    /// Adds other times, scaled.
    pub fn add_scaled(&mut self, other: &Self, factor: f64) {
        self.terms.add_scaled(&other.terms, factor);
        self.attention_s += other.attention_s * factor;
        self.experts_s += other.experts_s * factor;
    }
}

/// The time of all layers of a stage, for `setting.streams` micro-batches on each attention worker.
pub fn stage_apart(ranks: &ApartRanks<'_>, stage: &Stage, setting: &PassSetting<'_>) -> ApartTimes {
    let mut times = ApartTimes::default();
    for (layer, count) in stage.kinds.iter().filter(|(_, count)| *count > 0.0) {
        times.add_scaled(&layer_apart(ranks, layer, setting), *count);
    }
    let head = head_time(&ranks.attention, stage, setting);
    times.add_scaled(&ApartTimes { terms: head, attention_s: head.total(), experts_s: 0.0 }, 1.0);
    times
}

fn layer_apart(ranks: &ApartRanks<'_>, layer: &Layer, setting: &PassSetting<'_>) -> ApartTimes {
    let rank = &ranks.attention;
    let scope = rank.scope(layer);
    let mut own = ops::mixer(&scope);
    let (wire, others) = match (layer.ffn, &rank.model.moe) {
        (Ffn::Experts, Some(moe)) => with_experts(ranks, &scope, moe, setting, &mut own),
        (Ffn::Dense(width), _) => {
            own.extend(ops::dense_ffn(&scope, width));
            (Wire::of_dense(&scope, rank.machine), Vec::new())
        }
        _ => (Wire::of_mixer(&scope, rank.machine), Vec::new()),
    };
    let passes = setting.streams as f64;
    let turns = passes * f64::from(ranks.experts.attention_workers);
    let (out, back) = (wire.dispatch.get(), wire.combine.get());
    let tensor = (wire.attention + wire.ffn).get();
    let side = |list: &[Op], turns: f64| side_time(rank, list, setting, if turns > 1.0 { out + back } else { 0.0 });
    let (attention, experts) = (side(&own, passes), side(&others, turns));
    let way = Way { attention: attention.total(), tensor, out, experts: experts.total(), back };
    let (attention_s, experts_s) = (passes * way.attention, turns * way.experts);
    let (period, away) = (way.period(passes, turns), way.away());
    let mut terms = TermTimes::default();
    terms.add_scaled(&attention, passes);
    if away > 0.0 {
        let exposed = (period - attention_s) / away;
        terms.add_scaled(&experts, exposed);
        for (term, time) in [(Term::OtherCollectives, tensor), (Term::Dispatch, out), (Term::Combine, back)] {
            terms[term] += time * exposed;
        }
    }
    ApartTimes { terms, attention_s, experts_s }
}

/// The way of a micro-batch through a layer, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Way {
    attention: f64,
    tensor: f64,
    out: f64,
    experts: f64,
    back: f64,
}

impl Way {
    /// The part outside of an attention rank's cores.
    fn away(&self) -> f64 {
        self.tensor + self.out + self.experts + self.back
    }

    /// Time of a layer with `passes` micro-batches on an attention rank, and `turns` on an expert rank.
    fn period(&self, passes: f64, turns: f64) -> f64 {
        let longer = self.out.max(self.back);
        let ports = (passes * (self.tensor + longer)).max(turns * longer);
        let cores = (passes * self.attention).max(turns * self.experts);
        cores.max(ports).max(self.attention + self.away())
    }
}

/// Times of the dispatch and the combine of a micro-batch in a layer with experts; `None` where no layer has any.
pub fn exchange(ranks: &ApartRanks<'_>, setting: &PassSetting<'_>) -> Option<(Seconds, Seconds)> {
    let model = ranks.attention.model;
    let layer = model.kinds.iter().map(|kind| &kind.layer).find(|layer| layer.ffn == Ffn::Experts)?;
    let scope = ranks.attention.scope(layer);
    let (wire, _) = with_experts(ranks, &scope, model.moe.as_ref()?, setting, &mut Vec::new());
    Some((wire.dispatch, wire.combine))
}

/// The traffic of a layer with experts, and the ops of an expert rank for one micro-batch; adds those beside attention to
/// `own`.
fn with_experts(
    ranks: &ApartRanks<'_>,
    scope: &Scope<'_>,
    moe: &Moe,
    setting: &PassSetting<'_>,
    own: &mut Vec<Op>,
) -> (Wire, Vec<Op>) {
    let (rank, experts) = (&ranks.attention, ranks.experts);
    let travels = ops::shared_apart(rank.model);
    let mut beside = LayerOps::default();
    ops::experts(scope, moe, 1.0, CopySum::Combine, &mut beside);
    own.append(&mut beside.gate);
    if !travels {
        own.append(&mut beside.shared);
    }
    own.append(&mut beside.after);
    // Tokens of one attention worker in a micro-batch, spread over the expert ranks.
    let replicas = f64::from(rank.plan.dp) / f64::from(experts.attention_workers);
    let tokens = rank.pass.tokens() * replicas;
    let plan = experts.plan();
    let pass = Pass { sequences: tokens / experts.ranks(), queries: 1.0, prompts: None, ..*rank.pass };
    let of_experts = Scope { plan: &plan, pass: &pass, ..*scope };
    let (routed, groups) = (of_experts.routed_tokens(), f64::from(experts.ep));
    let copies = ops::copies(moe, &plan);
    let load = (hottest(setting.load, moe, groups, routed * copies) * rank.machine.skew).min(groups);
    let mut there = LayerOps::default();
    ops::experts(&of_experts, moe, load, CopySum::Combine, &mut there);
    let mut list = if travels { there.shared } else { Vec::new() };
    // A token goes to one rank for all shared experts, where each rank has them.
    let to_shared = if list.is_empty() { 0.0 } else { 1.0 };
    list.append(&mut there.ffn);
    let between = Between {
        ranks: replicas * f64::from(rank.plan.tp) + experts.ranks(),
        sent: scope.own_tokens() * f64::from(experts.moe_tp),
        received: routed * load,
        copies: copies + to_shared,
    };
    (Wire::between(scope, rank.machine, moe, &between), list)
}

/// Ops of a rank, of whose cores communication of `wire` seconds holds some while others of its micro-batches travel.
fn side_time(rank: &Rank<'_>, list: &[Op], setting: &PassSetting<'_>, wire: f64) -> TermTimes {
    let on = |cores: f64| {
        let mut times = TermTimes::default();
        block(rank, list, cores, setting, &mut times);
        times
    };
    let (whole, held) = (on(1.0), held_share(rank.machine, setting));
    if held <= 0.0 || wire <= 0.0 || list.is_empty() {
        return whole;
    }
    on(1.0 - held * (wire / whole.total().max(1e-12)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stages of a way, and the resources of each: cores and both directions of the ports of an attention rank, the same
    /// of an expert rank.
    const USES: [&[usize]; 5] = [&[0], &[1, 2], &[1, 4], &[3], &[2, 5]];

    /// The time of a layer in a schedule of many, where what can start soonest starts.
    fn scheduled(way: &Way, passes: usize, workers: usize) -> f64 {
        const LAYERS: usize = 120;
        let times = [way.attention, way.tensor, way.out, way.experts, way.back];
        let stages = times.len();
        let mut free = vec![0.0_f64; 6 * workers];
        let mut jobs: Vec<(f64, usize)> = vec![(0.0, 0); passes * workers];
        // All attention workers share the expert rank.
        let place = |job: usize, resource: usize| if resource < 3 { 6 * (job % workers) + resource } else { resource };
        let used = |stage: usize| if times[stage % stages] > 0.0 { USES[stage % stages] } else { &[] };
        let mut halfway = 0.0;
        loop {
            let start = |(job, (ready, stage)): (usize, &(f64, usize))| {
                let free = used(*stage).iter().map(|resource| free[place(job, *resource)]);
                (free.fold(*ready, f64::max), *stage, job)
            };
            let soonest = |a: &(f64, usize, usize), b: &(f64, usize, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            let (start, stage, job) = jobs.iter().enumerate().map(start).min_by(soonest).unwrap();
            let end = start + times[stage % stages];
            used(stage).iter().for_each(|resource| free[place(job, *resource)] = end);
            jobs[job] = (end, stage + 1);
            match (job, stage + 1) {
                (0, done) if done == LAYERS / 2 * stages => halfway = end,
                (0, done) if done == LAYERS * stages => return (end - halfway) / (LAYERS as f64 / 2.0),
                _ => {}
            }
        }
    }

    #[test]
    fn a_schedule_of_many_layers_has_the_period_of_the_closed_form() {
        for (attention, out, experts, back) in [
            (1.0, 0.2, 0.7, 0.3),
            (0.3, 0.2, 1.1, 0.2),
            (0.2, 0.9, 0.1, 0.4),
            (1.0, 1.0, 1.0, 1.0),
            (2.0, 0.0, 1.0, 0.0),
        ] {
            for (passes, workers) in [(1, 1), (2, 1), (3, 1), (1, 3), (2, 3), (4, 2)] {
                let alone = Way { attention, tensor: 0.0, out, experts, back };
                let (found, turns) = (scheduled(&alone, passes, workers), (passes * workers) as f64);
                let expected = alone.period(passes as f64, turns);
                assert!((found / expected - 1.0).abs() < 1e-3, "{alone:?} {passes} {workers}: {found} of {expected}");
                let split = Way { tensor: 0.2, ..alone };
                let (found, expected) = (scheduled(&split, passes, workers), split.period(passes as f64, turns));
                assert!(
                    (0.99..1.25).contains(&(found / expected)),
                    "{split:?} {passes} {workers}: {found} of {expected}"
                );
            }
        }
    }
}
