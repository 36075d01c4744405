//! Plans: which exist on this many chips, and the best of them by a small deterministic enumeration.
//!
//! `chips = tp * pp * dp`. Experts are shared by `ep` of the `tp * dp` chips of a stage, so `ep` divides that product.
//! Degrees count chips, not dies.

use super::machine::Machine;
use super::phases::{Outcome, evaluate};
use super::request::{Infeasible, Request};
use super::result::{Phase, Plan};
use crate::specs::Attention;

const TENSOR_DEGREES: [u32; 5] = [1, 2, 4, 8, 16];
const SERVING_STAGES: [u32; 4] = [1, 2, 4, 8];
const TRAINING_STAGES: [u32; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
/// The most sequences a chip that decode is searched for.
const MOST_SEQUENCES: f64 = 1024.0;
/// Tokens a chip of a prefill batch, as published for DeepSeek on H800 and on the Supernode.
const PREFILL_TOKENS: f64 = 16384.0;

/// The feasible plan with the highest throughput at the central values, and its outcome.
///
/// # Errors
/// [`Infeasible`]: why there is none.
pub fn best(request: &Request, machine: &Machine) -> Result<(Plan, Outcome), Infeasible> {
    let mut best: Option<(Plan, Outcome)> = None;
    let mut nearest: Option<(Plan, Outcome)> = None;
    let mut fastest = f64::INFINITY;
    for plan in candidates(request)? {
        let outcome = evaluate(request, &plan, machine);
        if outcome.over_bytes() > 0.0 {
            if nearest.as_ref().is_none_or(|(_, other)| outcome.over_bytes() < other.over_bytes()) {
                nearest = Some((plan, outcome));
            }
            continue;
        }
        let per_token = outcome.terms.total().get() / outcome.tokens_per_sequence;
        if request.phase == Phase::Decode && per_token > request.workload.tpot_limit_s {
            fastest = fastest.min(per_token);
            continue;
        }
        // The first of equals stays, so the least split one.
        let better = |(plan_so_far, so_far): &(Plan, Outcome)| {
            outcome.throughput(&plan) > so_far.throughput(plan_so_far) * (1.0 + 1e-9)
        };
        if best.as_ref().is_none_or(better) {
            best = Some((plan, outcome));
        }
    }
    best.ok_or_else(|| why_none(request, nearest, fastest))
}

fn why_none(request: &Request, nearest: Option<(Plan, Outcome)>, fastest: f64) -> Infeasible {
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
pub fn candidates(request: &Request) -> Result<Vec<Plan>, Infeasible> {
    let most = request.fabric.max_chips();
    if u64::from(request.chips) > most {
        return Err(Infeasible::TooManyChips { fabric: request.fabric.name.clone(), asked: request.chips, most });
    }
    check_pins(request)?;
    let mut plans = Vec::new();
    for tp in tensor_degrees(request) {
        for pp in stages(request) {
            let Some(dp) = replicas(request, tp, pp) else { continue };
            for ep in expert_degrees(request, tp * dp) {
                let split = Plan { chips: request.chips, tp, pp, ep, dp, microbatches: 1, batch_per_chip: 1.0 };
                add_batches(request, split, &mut plans);
            }
        }
    }
    if plans.is_empty() {
        return Err(split(request, no_degrees(request)));
    }
    Ok(plans)
}

/// Pins that no enumeration can satisfy, each with its remedy.
fn check_pins(request: &Request) -> Result<(), Infeasible> {
    let (pins, chips) = (&request.pins, request.chips);
    let pinned = [("tp", pins.tp), ("pp", pins.pp), ("ep", pins.ep), ("dp", pins.dp)];
    for (name, degree) in pinned.into_iter().filter_map(|(name, degree)| Some((name, degree?))) {
        if degree == 0 || !chips.is_multiple_of(degree) {
            return Err(split(request, format!("{name} {degree} does not divide {chips} chips")));
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
    if request.model.moe.is_none() && pins.ep.is_some_and(|ep| ep != 1) {
        return Err(split(request, format!("{} has no experts; leave out ep", request.model.name)));
    }
    Ok(())
}

fn no_degrees(request: &Request) -> String {
    if request.phase == Phase::Training {
        format!(
            "the global batch of {} tokens is too small for the replicas, or the degrees do not multiply to the chips; raise --global-batch-tokens or leave degrees out",
            request.workload.global_batch_tokens
        )
    } else {
        "tp * pp * dp must be the number of chips, ep must divide tp * dp, and each pass needs a sequence; leave some of them out".to_owned()
    }
}

fn heads(request: &Request) -> u64 {
    match request.model.attention {
        Attention::Gqa { heads, .. } | Attention::Mla { heads, .. } => heads,
    }
}

fn tensor_degrees(request: &Request) -> Vec<u32> {
    let fits = |tp: &u32| request.chips.is_multiple_of(*tp) && heads(request).is_multiple_of(u64::from(*tp));
    request.pins.tp.map_or_else(|| TENSOR_DEGREES.into_iter().filter(fits).collect(), |tp| vec![tp])
}

fn stages(request: &Request) -> Vec<u32> {
    let all: &[u32] = if request.phase == Phase::Training { &TRAINING_STAGES } else { &SERVING_STAGES };
    let fits = |pp: &&u32| request.chips.is_multiple_of(**pp) && u64::from(**pp) <= request.model.layers;
    request.pins.pp.map_or_else(|| all.iter().filter(fits).copied().collect(), |pp| vec![pp])
}

fn replicas(request: &Request, tp: u32, pp: u32) -> Option<u32> {
    let group = tp.checked_mul(pp)?;
    let dp = request.chips / group.max(1);
    (dp > 0 && dp * group == request.chips && request.pins.dp.is_none_or(|pinned| pinned == dp)).then_some(dp)
}

/// Divisors of a stage's chips that fill nodes evenly; of more than two chips an expert, all would hold mere copies.
fn expert_degrees(request: &Request, stage_chips: u32) -> Vec<u32> {
    let Some(moe) = &request.model.moe else { return vec![1] };
    let all = (1..=stage_chips).filter(|ep| stage_chips.is_multiple_of(*ep));
    match request.pins.ep {
        Some(pinned) => all.filter(|ep| *ep == pinned).collect(),
        None => all.filter(|ep| is_aligned(request, *ep) && u64::from(*ep) <= moe.experts.saturating_mul(2)).collect(),
    }
}

/// Whether groups of this many neighbours fill nodes or parts of nodes evenly.
fn is_aligned(request: &Request, size: u32) -> bool {
    let node = request.fabric.tiers.first().map_or(1, |tier| tier.chips);
    let (size, chips) = (u64::from(size), u64::from(request.chips));
    chips <= node || size == chips || node.is_multiple_of(size) || size.is_multiple_of(node)
}

fn add_batches(request: &Request, split: Plan, plans: &mut Vec<Plan>) {
    match request.phase {
        Phase::Decode => add_decode_batches(request, split, plans),
        Phase::Prefill => add_prefill_batches(request, split, plans),
        Phase::Training => plans.extend(training_batch(request, split)),
    }
}

fn add_decode_batches(request: &Request, split: Plan, plans: &mut Vec<Plan>) {
    let batches = request.pins.batch_per_chip.map_or_else(|| decode_batches(split.tp), |batch| vec![batch]);
    let microbatches = request.pins.microbatches.map_or_else(|| vec![1, 2], |count| vec![count]);
    for batch_per_chip in batches {
        for microbatches in microbatches.iter().copied() {
            // Each pass needs a sequence a group.
            if batch_per_chip * f64::from(split.tp) >= f64::from(microbatches) {
                plans.push(Plan { microbatches, batch_per_chip, ..split });
            }
        }
    }
}

/// Whole sequences of a tensor-parallel group: each up to ten, then in steps of a tenth.
fn decode_batches(tp: u32) -> Vec<f64> {
    let tp = f64::from(tp);
    let next = |sequences: &f64| Some((sequences * 1.1).floor().max(sequences + 1.0));
    std::iter::successors(Some(1.0), next)
        .take_while(|sequences| *sequences <= MOST_SEQUENCES * tp)
        .map(|sequences| sequences / tp)
        .collect()
}

fn add_prefill_batches(request: &Request, split: Plan, plans: &mut Vec<Plan>) {
    let group = f64::from(split.tp) * f64::from(split.pp);
    let default = (PREFILL_TOKENS / request.workload.prompt_len).max(1.0 / group);
    let batch_per_chip = request.pins.batch_per_chip.unwrap_or(default);
    let counts = if split.pp == 1 { vec![1, 2] } else { vec![split.pp, 2 * split.pp, 4 * split.pp] };
    for microbatches in request.pins.microbatches.map_or(counts, |count| vec![count]) {
        plans.push(Plan { microbatches, batch_per_chip, ..split });
    }
}

/// The micro-batches of one sequence that make up the global batch.
fn training_batch(request: &Request, split: Plan) -> Option<Plan> {
    let sequences = request.workload.global_batch_tokens / request.workload.sequence_len / f64::from(split.dp);
    let pinned = request.pins.microbatches.or_else(|| {
        let group = f64::from(split.tp) * f64::from(split.pp);
        request.pins.batch_per_chip.and_then(|batch| whole(batch * group))
    });
    let microbatches = pinned.or_else(|| whole(sequences.floor()))?;
    let batch_per_chip = f64::from(microbatches) * f64::from(split.dp) / f64::from(split.chips);
    Some(Plan { microbatches, batch_per_chip, ..split })
}

/// The whole number that this is, if it is one from 1 to 2^32 - 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn whole(value: f64) -> Option<u32> {
    let rounded = value.round();
    ((1.0..=f64::from(u32::MAX)).contains(&rounded)).then_some(rounded as u32)
}
