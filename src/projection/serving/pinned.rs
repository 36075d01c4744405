//! A question about one deployment alone.

use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::serving::deployment::{Deployment, ServingPoint};
use crate::projection::serving::load::{ApartPins, ServiceLimits, ServingLoad, ServingMode, WorkerPins};
use crate::projection::serving::question::ServingRequest;

/// The question with the deployment of a point alone, under its load and whatever its times.
///
/// A load that was searched becomes its clients: a rate would stay the same whatever the chip and the fabric. Clients come
/// evenly, so that they wait less than the independent requests of a disaggregated point. Hold such an answer against
/// another one of this kind.
#[must_use]
pub fn pinned(asked: &ServingRequest, point: &ServingPoint) -> ServingRequest {
    let mut pinned = ServingRequest {
        load: Some(asked.load.unwrap_or_else(|| clients(point))),
        limits: ServiceLimits::NONE,
        limits_bind: false,
        ..asked.clone()
    };
    match &point.deployment {
        Deployment::Aggregated { plan } => pinned.on = pinned.on.with_plan(plan),
        Deployment::Disaggregated { prefill_workers, prefill, decode_workers, decode } => {
            let (prefill, decode) = (workers(*prefill_workers, prefill), workers(*decode_workers, decode));
            pinned.mode = ServingMode::Disaggregated { prefill, decode };
        }
        Deployment::AttentionFfn { prefill_workers, prefill, decode_workers, attention, experts } => {
            let decode = ApartPins {
                workers: Some(*decode_workers),
                attention_workers: Some(experts.attention_workers),
                attention_tp: Some(attention.tp),
                attention_dp: Some(attention.dp / experts.attention_workers.max(1)),
                ffn_ep: Some(experts.ep),
                ffn_tp: Some(experts.moe_tp),
                microbatches: Some(attention.microbatches),
            };
            pinned.mode = ServingMode::AttentionFfn { prefill: workers(*prefill_workers, prefill), decode };
        }
    }
    pinned
}

/// The clients of a point. An aggregated deployment has whole ones.
fn clients(point: &ServingPoint) -> ServingLoad {
    match point.load() {
        load @ ServingLoad::Concurrency(_) => load,
        ServingLoad::RequestRate(_) => ServingLoad::Concurrency(point.concurrency),
    }
}

fn workers(count: u32, plan: &ParallelPlan) -> WorkerPins {
    WorkerPins { workers: Some(count), tp: Some(plan.tp), dp: Some(plan.dp), ep: Some(plan.ep) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::parallel_plan::{ExpertExchange, Phase};
    use crate::projection::request::Request;
    use crate::projection::serving::answer::chosen;
    use crate::projection::serving::load::Lengths;
    use crate::projection::{ChipModel, Pins};
    use crate::specs::{Chip, Fabric, Model};

    #[test]
    fn the_deployment_is_chosen_again_with_the_same_figures() {
        let lengths = Lengths { prompt: 3000.0, output: 300.0, cached: 0.0, spread: 0.0 };
        let chip = ChipModel::from_spec(&Chip::load("ascend-910c").unwrap());
        let (model, fabric) = (Model::load("qwen3-235b-a22b").unwrap(), Fabric::load("cloudmatrix384").unwrap());
        let mut on = Request::new(model, chip, fabric, 48, Phase::Decode);
        on.workload.kv_len = lengths.in_decode();
        on.pins = Pins::default();
        let pins = WorkerPins::default();
        let modes = [
            ServingMode::Aggregated,
            ServingMode::Disaggregated { prefill: pins, decode: pins },
            ServingMode::AttentionFfn { prefill: pins, decode: ApartPins::default() },
        ];
        for mode in modes {
            let asked = ServingRequest {
                on: on.clone(),
                load: None,
                lengths,
                trace: Vec::new(),
                caches_repeats: false,
                limits: ServiceLimits { ttft_s: 5.0, tpot_s: 0.06 },
                limits_bind: true,
                chunk: 8192.0,
                mode,
            };
            let point = chosen(&asked).unwrap().0;
            let again = chosen(&pinned(&asked, &point)).unwrap().0;
            let plan = |point: &ServingPoint| {
                let mut plan = *point.deployment.answering().0;
                plan.batch_per_chip = 0.0;
                // How tokens reach the experts is no pin of a worker.
                plan.moe_exchange = ExpertExchange::default();
                plan
            };
            assert_eq!(plan(&again), plan(&point));
            let (rate, before) = (again.tokens_per_s_per_chip, point.tokens_per_s_per_chip);
            if asked.mode == ServingMode::Aggregated {
                assert!((rate / before - 1.0).abs() < 1e-9, "{again:?} {point:?}");
            } else {
                assert!(rate >= before && rate < 1.25 * before && again.ttft_s <= point.ttft_s, "{again:?} {point:?}");
            }
        }
    }
}
