//! Plans: which exist on a number of chips, and the best of them. They are enumerated on all cores, always in the same
//! order.
//!
//! There are `chips * dies = tp * cp * pp * dp` ranks. Of the `tp * cp * dp` ranks of a stage, `ep * moe_tp` share the
//! experts, so that it divides that product.

mod decode;
mod scored;

use rayon::prelude::*;
use serde::Serialize;

pub use self::scored::ScoredPlan;

use self::decode::{Goal, Tree};
use self::scored::judge;
use crate::ordering::by_rising;
use crate::projection::machine::Machine;
use crate::projection::parallel;
use crate::projection::parallel_plan::{ExpertExchange, ParallelPlan, Phase};
use crate::projection::phases::{PlanOutcome, evaluate, over_bytes};
use crate::projection::request::{Infeasible, Pins, Request};
use crate::specs::Mixer;

const TENSOR_DEGREES: [u32; 5] = [1, 2, 4, 8, 16];
const SERVING_STAGES: [u32; 4] = [1, 2, 4, 8];
const TRAINING_STAGES: [u32; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
/// The most sequences per rank that decode is searched for.
const MOST_SEQUENCES: f64 = 1024.0;
/// Tokens per chip of a prefill batch, as published for DeepSeek on H800 and on the Supernode.
const PREFILL_TOKENS: f64 = 16384.0;
/// Plans that one task of the thread pool evaluates.
const CHUNK: usize = 256;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Search {
    /// Plans that exist.
    pub plans: usize,
    /// Plans that fit into memory.
    pub fit: usize,
    /// The Pareto front of latency against throughput, the shortest latency first.
    pub front: Vec<ScoredPlan>,
}

/// Evaluates all plans of a request, latency limit or not. `done` hears how many more are done, from any thread.
///
/// # Errors
/// [`Infeasible`]: no plan exists or fits.
pub fn search(request: &Request, machine: &Machine, done: &(dyn Fn(usize) + Sync)) -> Result<Search, Infeasible> {
    let plans = candidates(request)?;
    let judged: Vec<ScoredPlan> = plans
        .par_chunks(CHUNK)
        .flat_map_iter(|chunk| {
            let list: Vec<ScoredPlan> = chunk.iter().filter_map(|plan| judge(request, plan, machine)).collect();
            done(chunk.len());
            list
        })
        .collect();
    if judged.is_empty() {
        let nearest = nearest(request, &plans, machine);
        return Err(why_none(request, nearest, f64::INFINITY));
    }
    Ok(Search { plans: plans.len(), fit: judged.len(), front: front(judged) })
}

/// The Pareto front: those that no other beats in both latency and throughput.
fn front(all: Vec<ScoredPlan>) -> Vec<ScoredPlan> {
    let mut all = by_rising(all, |plan| [plan.latency_s, -plan.tokens_per_s_per_chip]);
    let mut best = 0.0;
    all.retain(|candidate| {
        let better = candidate.tokens_per_s_per_chip > best * (1.0 + 1e-9);
        if better {
            best = candidate.tokens_per_s_per_chip;
        }
        better
    });
    all
}

/// The feasible plan with the highest throughput at the central values, and its outcome.
///
/// # Errors
/// [`Infeasible`]: why there is none.
pub fn best(request: &Request, machine: &Machine) -> Result<(ParallelPlan, PlanOutcome), Infeasible> {
    let plans = candidates(request)?;
    let (best, fastest) = if request.phase == Phase::Decode {
        let tree = Tree::new(request, &plans, machine);
        let found = |goal| fastest(decode::promising(&tree, goal), request);
        let within = found(Goal::Throughput);
        if within.0.is_some() { within } else { found(Goal::Latency) }
    } else {
        let chunks: Vec<&[ParallelPlan]> = plans.chunks(CHUNK).collect();
        let judged = parallel::map(
            &chunks,
            || (),
            |(), chunk| chunk.iter().filter_map(|plan| judge(request, plan, machine)).collect::<Vec<_>>(),
        );
        fastest(judged.into_iter().flatten(), request)
    };
    match best {
        Some(found) => Ok((found.plan, evaluate(request, &found.plan, machine))),
        None if fastest.is_finite() => Err(why_none(request, None, fastest)),
        None => Err(why_none(request, nearest(request, &plans, machine), fastest)),
    }
}

/// The plan with the highest throughput among those that keep the latency limit, and the shortest latency among the others.
fn fastest(judged: impl IntoIterator<Item = ScoredPlan>, request: &Request) -> (Option<ScoredPlan>, f64) {
    let mut best: Option<ScoredPlan> = None;
    let mut fastest = f64::INFINITY;
    for candidate in judged {
        if request.phase == Phase::Decode && candidate.latency_s > request.workload.tpot_limit_s {
            fastest = fastest.min(candidate.latency_s);
            continue;
        }
        // Of equals, the first stays: it is split least.
        if best.is_none_or(|so_far| candidate.tokens_per_s_per_chip > so_far.tokens_per_s_per_chip * (1.0 + 1e-9)) {
            best = Some(candidate);
        }
    }
    (best, fastest)
}

/// The plan that exceeds the memory by the fewest bytes.
fn nearest(request: &Request, plans: &[ParallelPlan], machine: &Machine) -> Option<(ParallelPlan, PlanOutcome)> {
    let over = |plan: &ParallelPlan| over_bytes(request, plan, machine);
    let plan = plans.iter().min_by(|a, b| over(a).total_cmp(&over(b)))?;
    Some((*plan, evaluate(request, plan, machine)))
}

fn why_none(request: &Request, nearest: Option<(ParallelPlan, PlanOutcome)>, fastest: f64) -> Infeasible {
    if fastest.is_finite() {
        return Infeasible::Latency { limit_s: request.workload.tpot_limit_s, best_s: fastest };
    }
    match nearest {
        Some((plan, outcome)) => {
            Infeasible::Memory { plan, needed_bytes: outcome.memory.used(), over_bytes: outcome.over_bytes() }
        }
        None => split(request, "no batch fits the degrees that were given; leave some of them out".to_owned()),
    }
}

fn split(request: &Request, reason: String) -> Infeasible {
    Infeasible::Split { chips: request.chips, reason }
}

/// All plans that the pins allow and whose degrees go together.
///
/// # Errors
/// [`Infeasible::TooManyChips`], or [`Infeasible::Split`] where pins clash.
pub fn candidates(request: &Request) -> Result<Vec<ParallelPlan>, Infeasible> {
    check_chips(request)?;
    check_pins(request)?;
    let mut plans = Vec::new();
    let Pins { cp, moe_tp, moe_exchange, dcp, .. } = request.pins;
    let (cp, moe_tp, dcp) = (cp.unwrap_or(1), moe_tp.unwrap_or(1), dcp.unwrap_or(1));
    let moe_exchange = moe_exchange.unwrap_or_default();
    for tp in tensor_degrees(request).into_iter().filter(|tp| can_share_cache(request, *tp, dcp)) {
        for pp in stages(request) {
            let Some(dp) = replicas(request, tp, pp) else { continue };
            for ep in expert_degrees(request, tp * cp * dp, moe_tp) {
                let (chips, microbatches, batch_per_chip) = (request.chips, 1, 1.0);
                let split =
                    ParallelPlan { chips, tp, pp, ep, moe_tp, moe_exchange, dp, cp, dcp, microbatches, batch_per_chip };
                add_batches(request, split, &mut plans);
            }
        }
    }
    if plans.is_empty() {
        return Err(split(request, no_degrees(request)));
    }
    Ok(plans)
}

/// Whether the fabric joins so many chips.
///
/// # Errors
/// [`Infeasible::TooManyChips`].
pub fn check_chips(request: &Request) -> Result<(), Infeasible> {
    let most = request.fabric.max_chips();
    if u64::from(request.chips) > most {
        return Err(Infeasible::TooManyChips { fabric: request.fabric.name.clone(), asked: request.chips, most });
    }
    Ok(())
}

/// Pins that no enumeration can satisfy, each with its remedy.
fn check_pins(request: &Request) -> Result<(), Infeasible> {
    let (pins, ranks) = (&request.pins, ranks(request));
    let pinned = [
        ("tp", pins.tp),
        ("pp", pins.pp),
        ("ep", pins.ep),
        ("moe-tp", pins.moe_tp),
        ("dp", pins.dp),
        ("cp", pins.cp),
        ("dcp", pins.dcp),
    ];
    for (name, degree) in pinned.into_iter().filter_map(|(name, degree)| Some((name, degree?))) {
        if degree == 0 || !ranks.is_multiple_of(degree) {
            return Err(split(request, format!("{name} {degree} does not divide {}", ranks_text(request))));
        }
    }
    if let Some(tp) = pins.tp
        && !heads(request).is_multiple_of(u64::from(tp))
    {
        return Err(split(request, format!("tp {tp} does not divide the {} heads", heads(request))));
    }
    if let Some(pp) = pins.pp
        && u64::from(pp) > request.model.layers
    {
        return Err(split(request, format!("pp {pp} is more than the {} layers", request.model.layers)));
    }
    let gathers = pins.moe_exchange == Some(ExpertExchange::AllGather);
    for (name, given) in [
        ("ep", pins.ep.is_some_and(|ep| ep != 1)),
        ("moe-tp", pins.moe_tp.is_some_and(|moe_tp| moe_tp != 1)),
        ("moe-exchange", gathers),
    ] {
        if request.model.moe.is_none() && given {
            return Err(split(request, format!("{} has no experts; leave out {name}", request.model.name)));
        }
    }
    if let (Some(moe), Some(moe_tp)) = (&request.model.moe, pins.moe_tp)
        && !moe.intermediate.is_multiple_of(u64::from(moe_tp))
    {
        let width = moe.intermediate;
        return Err(split(request, format!("moe-tp {moe_tp} does not divide the {width} columns of an expert")));
    }
    if request.phase != Phase::Decode && pins.dcp.is_some_and(|dcp| dcp != 1) {
        return Err(split(request, format!("dcp is a degree of decode; leave it out of {}", request.phase.name())));
    }
    Ok(())
}

/// Whether so many ranks of a tensor-parallel group hold the same KV heads, whose tokens they could share instead.
fn can_share_cache(request: &Request, tp: u32, dcp: u32) -> bool {
    tp.is_multiple_of(dcp) && (dcp == 1 || u64::from(dcp) * key_value_heads(request) <= u64::from(tp))
}

/// KV heads that tensor parallelism can split, in the layers that have most of them; what all heads share cannot be split.
fn key_value_heads(request: &Request) -> u64 {
    let heads = request.model.kinds.iter().filter_map(|kind| match &kind.layer.mixer {
        Mixer::Attention(layer) => Some(layer.sizes.key_value_heads()),
        Mixer::Linear(_) | Mixer::None => None,
    });
    heads.max().unwrap_or(1)
}

fn no_degrees(request: &Request) -> String {
    let dcp = request.pins.dcp.unwrap_or(1);
    if !tensor_degrees(request).into_iter().any(|tp| can_share_cache(request, tp, dcp)) {
        let least = u64::from(dcp).saturating_mul(key_value_heads(request));
        format!(
            "dcp {dcp} needs a tp that is a multiple of it and at least {least}: {dcp} ranks to a KV head; give --tp"
        )
    } else if request.phase == Phase::Training {
        format!(
            "the global batch of {} tokens is too small for the replicas, or the degrees do not multiply to the chips; raise --global-batch-tokens or leave degrees out",
            request.workload.global_batch_tokens
        )
    } else {
        format!(
            "tp * cp * pp * dp must be the number of chips ({}), ep * moe-tp must divide tp * cp * dp, and each pass needs a sequence; leave some of them out",
            ranks_text(request)
        )
    }
}

/// Ranks: a package has as many as dies.
pub fn ranks(request: &Request) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small whole number, checked on load"
    )]
    let dies = request.chip.dies.value.max(1.0) as u32;
    request.chips.saturating_mul(dies)
}

fn ranks_text(request: &Request) -> String {
    let ranks = ranks(request);
    if ranks == request.chips { format!("{ranks} chips") } else { format!("{ranks} dies of {} chips", request.chips) }
}

/// What tensor-parallel degrees must divide: the heads, or the greatest divisor that all kinds of layers share.
pub fn heads(request: &Request) -> u64 {
    let heads = request.model.kinds.iter().filter_map(|kind| match &kind.layer.mixer {
        Mixer::Attention(layer) => Some(layer.sizes.heads()),
        Mixer::Linear(linear) => Some(linear.heads),
        Mixer::None => None,
    });
    heads.reduce(greatest_divisor).unwrap_or(1)
}

fn greatest_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

fn tensor_degrees(request: &Request) -> Vec<u32> {
    let fits = |tp: &u32| ranks(request).is_multiple_of(*tp) && heads(request).is_multiple_of(u64::from(*tp));
    request.pins.tp.map_or_else(|| TENSOR_DEGREES.into_iter().filter(fits).collect(), |tp| vec![tp])
}

fn stages(request: &Request) -> Vec<u32> {
    let all: &[u32] = if request.phase == Phase::Training { &TRAINING_STAGES } else { &SERVING_STAGES };
    let fits = |pp: &&u32| ranks(request).is_multiple_of(**pp) && u64::from(**pp) <= request.model.layers;
    request.pins.pp.map_or_else(|| all.iter().filter(fits).copied().collect(), |pp| vec![pp])
}

fn replicas(request: &Request, tp: u32, pp: u32) -> Option<u32> {
    let group = tp.checked_mul(pp)?.checked_mul(request.pins.cp.unwrap_or(1))?;
    let dp = ranks(request) / group.max(1);
    (dp > 0 && dp * group == ranks(request) && request.pins.dp.is_none_or(|pinned| pinned == dp)).then_some(dp)
}

/// Expert-parallel degrees: with `moe_tp` ranks to a group, divisors of the stage's ranks that fill nodes evenly, at most
/// two groups per expert. Beyond that, ranks would only hold copies.
fn expert_degrees(request: &Request, stage_ranks: u32, moe_tp: u32) -> Vec<u32> {
    let Some(moe) = &request.model.moe else { return vec![1] };
    if !stage_ranks.is_multiple_of(moe_tp) {
        return Vec::new();
    }
    let groups = stage_ranks / moe_tp.max(1);
    let all = (1..=groups).filter(|ep| groups.is_multiple_of(*ep));
    let fits = |ep: &u32| is_aligned(request, *ep * moe_tp) && u64::from(*ep) <= moe.experts.saturating_mul(2);
    match request.pins.ep {
        Some(pinned) => all.filter(|ep| *ep == pinned).collect(),
        None => all.filter(fits).collect(),
    }
}

/// Whether groups of this many neighbours fill nodes or parts of nodes evenly.
fn is_aligned(request: &Request, size: u32) -> bool {
    let dies = u64::from(ranks(request) / request.chips.max(1));
    let node = request.fabric.tiers.first().map_or(1, |tier| tier.chips.saturating_mul(dies));
    let (size, chips) = (u64::from(size), u64::from(ranks(request)));
    chips <= node || size == chips || node.is_multiple_of(size) || size.is_multiple_of(node)
}

fn add_batches(request: &Request, split: ParallelPlan, plans: &mut Vec<ParallelPlan>) {
    match request.phase {
        Phase::Decode => add_decode_batches(request, split, plans),
        Phase::Prefill => add_prefill_batches(request, split, plans),
        Phase::Training => plans.extend(training_batch(request, split)),
    }
}

fn add_decode_batches(request: &Request, split: ParallelPlan, plans: &mut Vec<ParallelPlan>) {
    // Ranks that share a sequence.
    let group = f64::from(split.tp) * f64::from(split.cp);
    let dies = f64::from(ranks(request)) / f64::from(request.chips);
    let searched = || decode_batches(group).into_iter().map(|batch| batch * dies).collect();
    let batches: Vec<f64> = request.pins.batch_per_chip.map_or_else(searched, |batch| vec![batch]);
    let microbatches = request.pins.microbatches.map_or_else(|| vec![1, 2], |count| vec![count]);
    for batch_per_chip in batches {
        for microbatches in microbatches.iter().copied() {
            // Each pass needs a sequence per group.
            if batch_per_chip / dies * group >= f64::from(microbatches) {
                plans.push(ParallelPlan { microbatches, batch_per_chip, ..split });
            }
        }
    }
}

/// Batches of a rank: whole sequences of its group, over the ranks of the group. All numbers to ten, then in steps of a
/// tenth.
fn decode_batches(group: f64) -> Vec<f64> {
    let next = |sequences: &f64| Some((sequences * 1.1).floor().max(sequences + 1.0));
    std::iter::successors(Some(1.0), next)
        .take_while(|sequences| *sequences <= MOST_SEQUENCES * group)
        .map(|sequences| sequences / group)
        .collect()
}

fn add_prefill_batches(request: &Request, split: ParallelPlan, plans: &mut Vec<ParallelPlan>) {
    let dies = f64::from(ranks(request)) / f64::from(request.chips);
    let group = f64::from(split.tp) * f64::from(split.cp) * f64::from(split.pp);
    let default = (PREFILL_TOKENS / request.workload.prompt_len).max(dies / group);
    let batch_per_chip = request.pins.batch_per_chip.unwrap_or(default);
    let counts = if split.pp == 1 { vec![1, 2] } else { vec![split.pp, 2 * split.pp, 4 * split.pp] };
    for microbatches in request.pins.microbatches.map_or(counts, |count| vec![count]) {
        plans.push(ParallelPlan { microbatches, batch_per_chip, ..split });
    }
}

/// The micro-batches that make up the global batch.
fn training_batch(request: &Request, split: ParallelPlan) -> Option<ParallelPlan> {
    let each = request.workload.microbatch_sequences;
    let sequences = request.workload.global_batch_tokens / request.workload.sequence_len / f64::from(split.dp);
    let pinned = request.pins.microbatches.or_else(|| {
        let chips = f64::from(split.chips) / f64::from(split.dp);
        request.pins.batch_per_chip.and_then(|batch| whole(batch * chips / each))
    });
    let microbatches = pinned.or_else(|| whole((sequences / each).floor()))?;
    let batch_per_chip = f64::from(microbatches) * each * f64::from(split.dp) / f64::from(split.chips);
    Some(ParallelPlan { microbatches, batch_per_chip, ..split })
}

/// The whole number that this is, if it is one from 1 to 2^32 - 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn whole(value: f64) -> Option<u32> {
    let rounded = value.round();
    ((1.0..=f64::from(u32::MAX)).contains(&rounded)).then_some(rounded as u32)
}

#[cfg(test)]
mod tests {
    use super::decode::series;
    use super::*;
    use crate::projection::chip::ChipModel;
    use crate::projection::phases::optimistic;
    use crate::specs::{Chip, Fabric, Model, Scenario};

    #[test]
    fn a_bound_is_never_above_the_step_and_grows_with_the_batch_as_memory_does() {
        for (model, chip, fabric, chips) in [
            ("deepseek-v3", "ascend-910c", "cloudmatrix384", 48),
            ("gpt-oss-120b", "h800", "h800-ib", 16),
            ("llama-3.1-70b", "ascend-910c", "roce-cluster", 16),
            ("qwen3.5-397b-a17b", "h800", "h800-ib", 16),
            ("deepseek-v3.2", "ascend-910c", "cloudmatrix384", 32),
        ] {
            let chip = ChipModel::from_spec(&Chip::load(chip).unwrap());
            let fabric = Fabric::load(fabric).unwrap();
            let request = Request::new(Model::load(model).unwrap(), chip, fabric, chips, Phase::Decode);
            let machine = Machine::new(&request, Scenario::Nominal).unwrap();
            let plans = candidates(&request).unwrap();
            let all = series(&request, &plans, &machine);
            let fit = plans.iter().filter(|plan| over_bytes(&request, plan, &machine) <= 0.0).count();
            assert_eq!(all.iter().map(Vec::len).sum::<usize>(), fit, "{model}: memory grows with the batch");
            for one in &all {
                let mut before = 0.0;
                for index in one {
                    let plan = &plans[*index];
                    let least = optimistic(&request, plan, &machine).terms.total().get();
                    let step = evaluate(&request, plan, &machine).terms.total().get();
                    assert!(least <= step * (1.0 + 1e-9), "{model} {plan:?}: {least} of {step}");
                    assert!(least >= before * (1.0 - 1e-9), "{model} {plan:?}: {before}, then {least}");
                    before = least;
                }
            }
        }
    }
}
