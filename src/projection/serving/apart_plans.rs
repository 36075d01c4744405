//! Workers for answers whose attention and experts lie on different chips: which of them exist.

use crate::projection::parallel_plan::{ExpertExchange, ExpertWorker, ParallelPlan};
use crate::projection::plan::{heads, ranks};
use crate::projection::request::{Infeasible, Request};
use crate::projection::serving::load::ApartPins;
use crate::specs::Moe;

/// Tensor-parallel degrees of attention that are searched.
const TENSOR_DEGREES: [u32; 4] = [1, 2, 4, 8];
/// Ranks that split an expert, where all experts are spread already or the ranks are few.
const SPLITS: [u32; 4] = [1, 2, 4, 8];
/// So many ranks are few: those of one node.
const FEW_RANKS: u32 = 16;
/// The most attention workers around the experts that are searched, and the most micro-batches of each.
const MOST_TURNS: (u32, u32) = (4, 3);

/// All of them that fit into the chips of the request beside a chip for prompts, without a batch.
///
/// # Errors
/// [`Infeasible::Split`]: the model has no experts, or degrees do not go together.
pub fn apart_plans(request: &Request, pins: &ApartPins) -> Result<Vec<(ParallelPlan, ExpertWorker)>, Infeasible> {
    let refuse = |reason: String| Infeasible::Split { chips: request.chips, reason };
    let Some(moe) = &request.model.moe else {
        let name = &request.model.name;
        return Err(refuse(format!("{name} has no experts to put on other chips; give another --mode")));
    };
    check(request, pins, moe).map_err(refuse)?;
    let most = request.chips / pins.workers.unwrap_or(1).max(1);
    let most = most.min(request.chips.saturating_sub(1));
    let mut all = Vec::new();
    for (ep, moe_tp) in expert_degrees(moe, pins) {
        let Some(expert_chips) = chips_of(request, u64::from(ep) * u64::from(moe_tp)) else { continue };
        let rest = most.saturating_sub(expert_chips);
        for tp in tensor_degrees(request, pins) {
            for (attention_workers, microbatches) in turns(pins) {
                for dp in replicas(request, pins, tp, rest / attention_workers) {
                    let ranks = u64::from(tp) * u64::from(dp) * u64::from(attention_workers);
                    let Some(chips) = chips_of(request, ranks).filter(|chips| *chips <= rest) else { continue };
                    let experts = ExpertWorker { chips: expert_chips, ep, moe_tp, attention_workers };
                    let dp = dp.saturating_mul(attention_workers);
                    let beside = ParallelPlan { chips, tp, dp, ep: 1, moe_tp: 1, microbatches, ..experts.plan() };
                    all.push((beside, experts));
                }
            }
        }
    }
    if all.is_empty() { Err(refuse(too_many(request))) } else { Ok(all) }
}

/// Degrees that never go together.
fn check(request: &Request, pins: &ApartPins, moe: &Moe) -> Result<(), String> {
    let all = [
        ("decode-workers", pins.workers),
        ("attention-workers", pins.attention_workers),
        ("attention-tp", pins.attention_tp),
        ("attention-dp", pins.attention_dp),
        ("ffn-ep", pins.ffn_ep),
        ("ffn-tp", pins.ffn_tp),
        ("microbatches", pins.microbatches),
    ];
    if let Some((name, _)) = all.into_iter().find(|(_, degree)| *degree == Some(0)) {
        return Err(format!("{name} 0 leaves nothing; give 1 or more"));
    }
    if let Some(tp) = pins.attention_tp
        && !heads(request).is_multiple_of(u64::from(tp))
    {
        return Err(format!("attention-tp {tp} does not divide the {} heads", heads(request)));
    }
    if let Some(split) = pins.ffn_tp
        && !moe.intermediate.is_multiple_of(u64::from(split))
    {
        return Err(format!("ffn-tp {split} does not divide the {} columns of an expert", moe.intermediate));
    }
    if let Some(ep) = pins.ffn_ep
        && u64::from(ep) > moe.experts.saturating_mul(2)
    {
        return Err(format!("ffn-ep {ep} is more than twice the {} experts", moe.experts));
    }
    if let Some(dcp) = request.pins.dcp.filter(|dcp| *dcp != 1) {
        return Err(format!("dcp {dcp} is not modelled beside experts on other chips; leave it out"));
    }
    if request.pins.moe_exchange == Some(ExpertExchange::AllGather) {
        return Err("tokens are not gathered on the way to experts on other chips; leave out all-gather".to_owned());
    }
    let whole = |name: &str, ranks: Option<u64>| match ranks {
        Some(ranks) if chips_of(request, ranks).is_none() => {
            Err(format!("{name} is {ranks} dies, which do not fill chips of {:.0}", request.chip.dies.value))
        }
        _ => Ok(()),
    };
    let product =
        |degrees: &[Option<u32>]| degrees.iter().try_fold(1_u64, |all, degree| Some(all * u64::from((*degree)?)));
    whole("ffn-ep * ffn-tp", product(&[pins.ffn_ep, pins.ffn_tp.or(Some(1))]))?;
    let attention = product(&[pins.attention_workers, pins.attention_tp, pins.attention_dp]);
    whole("attention-workers * attention-tp * attention-dp", attention)
}

fn too_many(request: &Request) -> String {
    format!(
        "attention-workers * attention-tp * attention-dp and ffn-ep * ffn-tp must leave a chip of {} for prompts; use more chips or leave out degrees",
        request.chips
    )
}

/// The chips of so many ranks; `None` where they do not fill chips.
fn chips_of(request: &Request, ranks: u64) -> Option<u32> {
    let dies = dies(request);
    let whole = ranks > 0 && ranks.is_multiple_of(u64::from(dies));
    whole.then(|| u32::try_from(ranks / u64::from(dies)).ok()).flatten()
}

/// Ranks of a chip.
pub(super) fn dies(request: &Request) -> u32 {
    ranks(request) / request.chips.max(1)
}

fn tensor_degrees(request: &Request, pins: &ApartPins) -> Vec<u32> {
    let fits = |tp: &u32| heads(request).is_multiple_of(u64::from(*tp));
    pins.attention_tp.map_or_else(|| TENSOR_DEGREES.into_iter().filter(fits).collect(), |tp| vec![tp])
}

/// Numbers of attention workers, with micro-batches of each.
fn turns(pins: &ApartPins) -> Vec<(u32, u32)> {
    let of = |pinned: Option<u32>, most: u32| pinned.map_or(1..=most, |count| count..=count);
    let microbatches = of(pins.microbatches, MOST_TURNS.1);
    of(pins.attention_workers, MOST_TURNS.0)
        .flat_map(|workers| microbatches.clone().map(move |m| (workers, m)))
        .collect()
}

/// Replicas of attention in one attention worker of at most so many chips.
fn replicas(request: &Request, pins: &ApartPins, tp: u32, most: u32) -> Vec<u32> {
    if let Some(dp) = pins.attention_dp {
        return vec![dp];
    }
    let ranks = attention_sizes(most).map(|chips| chips.saturating_mul(dies(request)));
    ranks.filter(|ranks| ranks.is_multiple_of(tp)).map(|ranks| ranks / tp).collect()
}

/// Chips of attention workers that are searched: three kinds of chips are hard to balance, so that these have finer steps
/// than [`worker_sizes`].
fn attention_sizes(most: u32) -> impl Iterator<Item = u32> {
    let few = [1, 2, 4].into_iter().chain((8..=64).step_by(8));
    few.chain((80..=512).step_by(16)).chain((576..=4096).step_by(64)).filter(move |size| *size <= most)
}

/// Expert-parallel degrees, with the ranks that split an expert: divisors of the experts, or an eighth or a quarter more
/// ranks than experts, which hold replicas or shared experts.
fn expert_degrees(moe: &Moe, pins: &ApartPins) -> Vec<(u32, u32)> {
    let experts = u32::try_from(moe.experts).unwrap_or(u32::MAX / 2);
    let divisors = (1..=experts).filter(|ep| experts.is_multiple_of(*ep));
    let more = [8, 4].into_iter().filter(|part| experts.is_multiple_of(*part)).map(|part| experts + experts / part);
    let degrees: Vec<u32> = pins.ffn_ep.map_or_else(|| divisors.chain(more).collect(), |ep| vec![ep]);
    let splits = pins.ffn_tp.map_or_else(|| SPLITS.to_vec(), |split| vec![split]);
    let fits = |(ep, split): &(u32, u32)| {
        let useful = *split == 1 || *ep == experts || ep.saturating_mul(*split) <= FEW_RANKS;
        moe.intermediate.is_multiple_of(u64::from(*split)) && (pins.ffn_tp.is_some() || useful)
    };
    let pairs = degrees.into_iter().flat_map(|ep| splits.iter().map(move |split| (ep, *split)));
    pairs.filter(fits).collect()
}

/// Chips of workers that are searched: powers of two, and three and five times these from 48 on.
pub(super) fn worker_sizes(most: u32) -> Vec<u32> {
    let mut sizes: Vec<u32> = [1, 3, 5]
        .into_iter()
        .flat_map(|factor| (0..20).map(move |power| factor << power))
        .filter(|size| *size <= most && (size.is_power_of_two() || *size >= 48))
        .collect();
    sizes.sort_unstable();
    sizes
}
