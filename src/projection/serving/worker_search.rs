//! All deployments with workers: sizes of workers, their plans, and how many of each.
//!
//! Of the plans for prompts only those count that no other beats in both the time of a prompt and prompts per chip, of those
//! for answers only those that are on the front of time per token against answers per chip at some batch, for each size of
//! worker. A look at few batches leaves out those that are far from it. All pairs of the others are tried, with the chips
//! shared in several ways.

use std::collections::BTreeMap;

use crate::ordering::by_rising;
use crate::projection::parallel;
use crate::projection::parallel_plan::{ExpertWorker, ParallelPlan};
use crate::projection::plan::check_chips;
use crate::projection::request::{Infeasible, Pins, Request};
use crate::projection::serving::apart_plans::{apart_plans, dies, worker_sizes};
use crate::projection::serving::deployment::ServingPoint;
use crate::projection::serving::disaggregated::{DecodeWorker, Pair, PrefillWorker, transfer_s};
use crate::projection::serving::load::{ApartPins, ServingLoad, WorkerPins};
use crate::projection::serving::search::{SearchScope, front, splits};

/// Ways in which the chips are shared that are tried.
const SHARES: u32 = 12;

/// A worker for answers is looked at in full where it gains so much of what the best one of its size does, at one of few
/// batches, and so much of what any does.
const NEAR: f64 = 0.95;
const NOT_FAR: f64 = 0.8;

/// What is given of workers for answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnswerPins {
    /// Attention and experts on the same chips.
    Whole(WorkerPins),
    /// On different ones.
    Apart(ApartPins),
}

impl AnswerPins {
    /// How many workers.
    fn workers(&self) -> Option<u32> {
        match self {
            Self::Whole(pins) => pins.workers,
            Self::Apart(pins) => pins.workers,
        }
    }
}

/// All points under the load of the scope, or under every one.
///
/// # Errors
/// [`Infeasible`]: no worker fits into the chips or into memory.
pub fn with_workers(
    scope: &SearchScope<'_>,
    prefill: &WorkerPins,
    decode: &AnswerPins,
) -> Result<Vec<ServingPoint>, Infeasible> {
    let all = pairs(scope, prefill, decode)?;
    let points = |(pair, plan): &(OwnedPair, ParallelPlan)| {
        let engine = scope.engine(plan);
        let loads = scope.load.map_or_else(|| every_load(&pair.borrow()), |load| vec![load]);
        loads.into_iter().filter_map(|load| pair.borrow().under(&engine, load, scope.lengths)).collect::<Vec<_>>()
    };
    Ok(parallel::map(&all, || (), |(), pair| points(pair)).into_iter().flatten().collect())
}

/// The most requests per second that any of them answers.
///
/// # Errors
/// Those of [`with_workers`].
pub fn most_requests(scope: &SearchScope<'_>, prefill: &WorkerPins, decode: &AnswerPins) -> Result<f64, Infeasible> {
    let all = pairs(scope, prefill, decode)?;
    Ok(all.iter().map(|(pair, _)| pair.borrow().capacity()).fold(0.0, f64::max))
}

/// A pair that owns its workers.
struct OwnedPair {
    prefill: PrefillWorker,
    prefill_workers: u32,
    decode: DecodeWorker,
    decode_workers: u32,
    transfer_s: f64,
}

impl OwnedPair {
    fn borrow(&self) -> Pair<'_> {
        let Self { prefill, prefill_workers, decode, decode_workers, transfer_s } = self;
        Pair {
            prefill,
            prefill_workers: *prefill_workers,
            decode,
            decode_workers: *decode_workers,
            transfer_s: *transfer_s,
        }
    }
}

fn pairs(
    scope: &SearchScope<'_>,
    prefill: &WorkerPins,
    decode: &AnswerPins,
) -> Result<Vec<(OwnedPair, ParallelPlan)>, Infeasible> {
    // Workers are smaller than what joins them.
    check_chips(scope.request)?;
    let chips = scope.request.chips;
    let of_prompts = front_of_prompts(prompt_workers(scope, prefill)?);
    let of_answers = front_of_answers(answer_workers(scope, decode)?);
    let mut all = Vec::new();
    for prompts in &of_prompts {
        let engine = scope.engine(&prompts.plan);
        for answers in &of_answers {
            let transfer_s = transfer_s(&engine, &answers.plan, scope.lengths);
            for (prefill_workers, decode_workers) in
                counts(chips, (prompts.plan.chips, prefill.workers), (answers.chips, decode.workers()))
            {
                let (prefill, decode) = (*prompts, answers.clone());
                let pair = OwnedPair { prefill, prefill_workers, decode, decode_workers, transfer_s };
                all.push((pair, prompts.plan));
            }
        }
    }
    let reason = || {
        format!(
            "no workers for prompts and for answers fit side by side into {chips} chips; use more chips or leave out degrees"
        )
    };
    if all.is_empty() { Err(Infeasible::Split { chips, reason: reason() }) } else { Ok(all) }
}

/// Workers for prompts of all sizes and plans that have memory for one.
fn prompt_workers(scope: &SearchScope<'_>, pins: &WorkerPins) -> Result<Vec<PrefillWorker>, Infeasible> {
    // Decode context parallelism is none of theirs.
    let dcp = Some(scope.request.pins.dcp.unwrap_or(1));
    let plans = plans(scope, pins, dcp)?;
    let new = |plan: &ParallelPlan| PrefillWorker::new(&scope.engine(plan), scope.lengths);
    let all: Vec<PrefillWorker> = parallel::map(&plans, || (), |(), plan| new(plan)).into_iter().flatten().collect();
    if all.is_empty() {
        return Err(scope.too_large(&plans.into_iter().map(|plan| (plan, None)).collect::<Vec<_>>()));
    }
    Ok(all)
}

/// Workers for answers of all sizes and plans that have memory for one and come near the front.
fn answer_workers(scope: &SearchScope<'_>, pins: &AnswerPins) -> Result<Vec<DecodeWorker>, Infeasible> {
    let all: Vec<(ParallelPlan, Option<ExpertWorker>)> = match pins {
        AnswerPins::Whole(pins) => {
            let plans = plans(scope, pins, scope.request.pins.dcp)?;
            plans.into_iter().map(|plan| (plan, None)).collect()
        }
        AnswerPins::Apart(pins) => {
            apart_plans(scope.request, pins)?.into_iter().map(|(plan, experts)| (plan, Some(experts))).collect()
        }
    };
    let looked_at = parallel::map(
        &all,
        || (),
        |(), (plan, experts)| DecodeWorker::at_few(&scope.engine_of((plan, experts.as_ref())), scope.lengths),
    );
    if looked_at.iter().all(Option::is_none) {
        return Err(scope.too_large(&all));
    }
    let near: Vec<(ParallelPlan, Option<ExpertWorker>)> =
        all.into_iter().zip(near_front(&looked_at)).filter_map(|(one, keep)| keep.then_some(one)).collect();
    let full = parallel::map(
        &near,
        || (),
        |(), (plan, experts)| DecodeWorker::new(&scope.engine_of((plan, experts.as_ref())), scope.lengths),
    );
    Ok(full.into_iter().flatten().collect())
}

/// Which workers gain nearly as much as any of their size that is as fast, and not far less than any at all, at one of
/// their batches. A size that gains less may still share the chips better.
fn near_front(all: &[Option<DecodeWorker>]) -> Vec<bool> {
    let of = |(index, worker): (usize, &Option<DecodeWorker>)| {
        let points = worker.iter().flat_map(|worker| worker.points().map(|point| (worker.chips, point)));
        points.map(move |(chips, (_, time, gain))| (time, gain, chips, index)).collect::<Vec<_>>()
    };
    let points: Vec<(f64, f64, u32, usize)> = all.iter().enumerate().flat_map(of).collect();
    let points = by_rising(points, |(time, ..)| [*time, 0.0]);
    let (mut kept, mut best, mut best_of_size) = (vec![false; all.len()], 0.0_f64, BTreeMap::new());
    for (_, gain, chips, index) in points {
        best = best.max(gain);
        let of_size = best_of_size.entry(chips).or_insert(0.0_f64);
        *of_size = of_size.max(gain);
        kept[index] |= gain >= NEAR * *of_size && gain >= NOT_FAR * best;
    }
    kept
}

/// Plans of a worker of all sizes.
fn plans(scope: &SearchScope<'_>, pins: &WorkerPins, dcp: Option<u32>) -> Result<Vec<ParallelPlan>, Infeasible> {
    let WorkerPins { tp, dp, ep, .. } = *pins;
    let (mut plans, mut why) = (Vec::new(), None);
    for chips in sizes(scope, pins) {
        let pins = Pins { tp, dp, ep, dcp, pp: Some(1), ..scope.request.pins };
        match splits(&Request { chips, pins, ..scope.request.clone() }) {
            Ok(of_size) => plans.extend(of_size),
            Err(reason) => why = Some(reason),
        }
    }
    match why {
        Some(why) if plans.is_empty() => Err(why),
        _ => Ok(plans),
    }
}

/// Chips of a worker: what its degrees multiply to, or one, three and five times powers of two.
fn sizes(scope: &SearchScope<'_>, pins: &WorkerPins) -> Vec<u32> {
    let chips = scope.request.chips;
    if let (Some(tp), Some(dp)) = (pins.tp, pins.dp) {
        return vec![tp.saturating_mul(dp).div_ceil(dies(scope.request))];
    }
    let most = chips / pins.workers.unwrap_or(1).max(1);
    worker_sizes(most.min(chips.saturating_sub(1)))
}

/// Numbers of workers of both kinds that the chips have room for.
fn counts(chips: u32, prefill: (u32, Option<u32>), decode: (u32, Option<u32>)) -> Vec<(u32, u32)> {
    let rest = |used: u32, size: u32| chips.saturating_sub(used) / size.max(1);
    let fits = |(prompts, answers): &(u32, u32)| {
        let used = u64::from(*prompts) * u64::from(prefill.0) + u64::from(*answers) * u64::from(decode.0);
        *prompts > 0 && *answers > 0 && used <= u64::from(chips)
    };
    let most = rest(prefill.0, decode.0);
    let list: Vec<(u32, u32)> = match (prefill.1, decode.1) {
        (Some(prompts), Some(answers)) => vec![(prompts, answers)],
        (Some(prompts), None) => vec![(prompts, rest(prompts.saturating_mul(prefill.0), decode.0))],
        (None, Some(answers)) => vec![(rest(answers.saturating_mul(decode.0), prefill.0), answers)],
        (None, None) => (1..=SHARES)
            .map(|share| (most * share).div_ceil(SHARES))
            .map(|answers| (rest(answers * decode.0, prefill.0), answers))
            .collect(),
    };
    let mut list: Vec<(u32, u32)> = list.into_iter().filter(fits).collect();
    list.dedup();
    list
}

/// Those that no other beats in both the time of a prompt and prompts per chip.
fn front_of_prompts(all: Vec<PrefillWorker>) -> Vec<PrefillWorker> {
    front(all, |worker| (worker.alone_s, worker.most_per_chip()))
}

/// Those that are on the front of their size of time per step against answers per chip, at some number of sequences.
fn front_of_answers(all: Vec<DecodeWorker>) -> Vec<DecodeWorker> {
    let mut sizes: BTreeMap<u32, Vec<(f64, f64, usize)>> = BTreeMap::new();
    for (index, worker) in all.iter().enumerate() {
        let points = worker.points().map(|(_, time, rate)| (time, rate, index));
        sizes.entry(worker.chips).or_default().extend(points);
    }
    let mut kept = vec![false; all.len()];
    for points in sizes.into_values() {
        for (.., index) in front(points, |(time, rate, _)| (*time, *rate)) {
            kept[index] = true;
        }
    }
    all.into_iter().zip(kept).filter_map(|(worker, keep)| keep.then_some(worker)).collect()
}

/// Rates at which the engines of answers hold each computed number of sequences, as far as prompts keep up.
fn every_load(pair: &Pair<'_>) -> Vec<ServingLoad> {
    let chips = f64::from(pair.decode_workers) * f64::from(pair.decode.chips);
    let most = pair.capacity();
    pair.decode
        .points()
        .map(|(_, _, per_chip)| per_chip * chips)
        .chain([0.9 * most])
        .filter(|rate| *rate < most)
        .map(ServingLoad::RequestRate)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::chip::ChipModel;
    use crate::projection::parallel_plan::Phase;
    use crate::projection::serving::engine::ServingMachines;
    use crate::projection::serving::load::Lengths;
    use crate::specs::{Chip, Fabric, Model};

    #[test]
    fn a_look_at_few_batches_leaves_out_no_worker_that_is_better_by_a_fiftieth() {
        let chip = ChipModel::from_spec(&Chip::load("ascend-910c").unwrap());
        let (model, fabric) = (Model::load("deepseek-v3").unwrap(), Fabric::load("cloudmatrix384").unwrap());
        let request = Request::new(model, chip, fabric, 96, Phase::Decode);
        let machines = ServingMachines::new(&request).unwrap();
        let lengths = Lengths { prompt: 4000.0, output: 1000.0, cached: 0.0, spread: 0.0 };
        let scope =
            SearchScope { request: &request, machines: &machines, lengths: &lengths, load: None, chunk: 8192.0 };
        let plans: Vec<_> = apart_plans(&request, &ApartPins::default()).unwrap();
        let whole = plans_of_all_sizes(&scope);
        let all =
            plans.iter().map(|(plan, experts)| (plan, Some(experts))).chain(whole.iter().map(|plan| (plan, None)));
        let all: Vec<DecodeWorker> =
            all.filter_map(|answering| DecodeWorker::new(&scope.engine_of(answering), &lengths)).collect();
        let pins = [AnswerPins::Apart(ApartPins::default()), AnswerPins::Whole(WorkerPins::default())];
        let near: Vec<DecodeWorker> = pins.iter().flat_map(|pins| answer_workers(&scope, pins).unwrap()).collect();
        assert!(near.len() < all.len() / 2, "{} of {}", near.len(), all.len());
        for (_, time, gain) in all.iter().flat_map(DecodeWorker::points) {
            let most = near.iter().flat_map(DecodeWorker::points).filter(|point| point.1 <= time * 1.02);
            let most = most.map(|point| point.2).fold(0.0, f64::max);
            assert!(most >= gain / 1.02, "{time} s: {gain} and no more than {most}");
        }
    }

    fn plans_of_all_sizes(scope: &SearchScope<'_>) -> Vec<ParallelPlan> {
        plans(scope, &WorkerPins::default(), None).unwrap()
    }
}
