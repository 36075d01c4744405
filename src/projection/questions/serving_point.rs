//! From a point of a grid to a question about serving.

use crate::projection::request::Request;
use crate::projection::serving::load::DEFAULT_CHUNK_TOKENS;
use crate::projection::serving::{
    ApartPins, Lengths, ServiceLimits, ServingLoad, ServingMode, ServingRequest, WorkerPins,
};
use crate::specs::Point;
use crate::specs::grid::{GridAxis, GridValue, SERVING};

/// Keys that only serving has.
const ONLY_SERVING: [&str; 6] = [
    "workload.concurrency",
    "workload.request_rate",
    "workload.ttft_limit_ms",
    "workload.length_spread",
    "workload.prefix_cache",
    "plan.mode",
];

/// Keys of one kind of workers.
const OF_WORKERS: [&str; 8] = [
    "plan.prefill_workers",
    "plan.prefill_tp",
    "plan.prefill_dp",
    "plan.prefill_ep",
    "plan.decode_workers",
    "plan.decode_tp",
    "plan.decode_dp",
    "plan.decode_ep",
];

/// Keys that follow from others in serving, each with what to do.
const FOLLOWS: [(&str, &str); 2] = [
    ("plan.batch_per_chip", "the batch follows from the load: give `workload.concurrency` instead"),
    ("workload.kv_len", "it follows from `workload.prompt_len` and `workload.output_len`: leave it out"),
];

/// Degrees of a plan that has one kind of workers.
const DEGREES: [&str; 4] = ["plan.tp", "plan.pp", "plan.ep", "plan.dp"];

/// Said where there is no length of an answer.
const NO_ANSWER: &str = "serving needs the length of an answer: give `workload.output_len` of 2 or more";

/// Whether a point is about serving, and not about one step.
pub fn is_serving(point: &Point) -> bool {
    point.text("phase") == Some(SERVING)
}

/// Refuses keys that do not go together with the phases of a part of a grid.
///
/// # Errors
/// One line: the key, and what to do.
pub(super) fn check(axes: &[GridAxis]) -> Result<(), String> {
    let has = |key: &str| axes.iter().any(|axis| axis.key == key);
    let names = |key: &str, word: &str| {
        axes.iter().any(|axis| axis.key == key && axis.values.contains(&GridValue::Text(word.to_owned())))
    };
    let given = |keys: &[&'static str]| keys.iter().copied().find(|key| has(key));
    if !names("phase", SERVING) {
        let of_serving = given(&ONLY_SERVING).or_else(|| given(&OF_WORKERS));
        return of_serving.map_or(Ok(()), |key| {
            Err(format!("`{key}` is a question about serving: add phase = \"serving\", or leave it out"))
        });
    }
    if let Some((key, remedy)) = FOLLOWS.into_iter().find(|(key, _)| has(key)) {
        return Err(format!("`{key}` in serving: {remedy}"));
    }
    if has("workload.concurrency") && has("workload.request_rate") {
        return Err(
            "`workload.concurrency` and `workload.request_rate` exclude each other: give one, or a [[grid]] for each"
                .to_owned(),
        );
    }
    if !has("workload.output_len") {
        return Err(NO_ANSWER.to_owned());
    }
    let has_workers = names("plan.mode", "disaggregated") || names("plan.mode", "attention-ffn");
    match given(&OF_WORKERS).filter(|_| !has_workers) {
        Some(key) => Err(format!("`{key}` is of a worker: add plan.mode = \"disaggregated\"")),
        None => Ok(()),
    }
}

/// The question of a point about serving. `on` has its model, chip, fabric, chips and plan; its phase is decode.
///
/// # Errors
/// One line: answers too short, or degrees of other workers than the mode has.
pub fn serving_request(mut on: Request, point: &Point) -> Result<ServingRequest, String> {
    let number = |key: &str| point.number(key);
    let output = number("workload.output_len").unwrap_or(0.0);
    if output < 2.0 {
        return Err(NO_ANSWER.to_owned());
    }
    let share = |key: &str| number(key).unwrap_or(0.0);
    let lengths = Lengths {
        prompt: on.workload.prompt_len,
        output,
        cached: share("workload.prefix_cache"),
        spread: share("workload.length_spread"),
    };
    on.workload.kv_len = lengths.in_decode();
    let clients = number("workload.concurrency").map(ServingLoad::Concurrency);
    let ttft_s = number("workload.ttft_limit_ms").map(|limit| limit / 1e3);
    let chunk = on.workload.chunk_tokens;
    Ok(ServingRequest {
        load: clients.or_else(|| number("workload.request_rate").map(ServingLoad::RequestRate)),
        lengths,
        trace: Vec::new(),
        caches_repeats: false,
        limits: ServiceLimits { ttft_s: ttft_s.unwrap_or(f64::INFINITY), tpot_s: on.workload.tpot_limit_s },
        limits_bind: on.workload.tpot_limit_binds || ttft_s.is_some(),
        chunk: if chunk.is_finite() { chunk } else { DEFAULT_CHUNK_TOKENS },
        mode: mode(point)?,
        on,
    })
}

fn mode(point: &Point) -> Result<ServingMode, String> {
    let given = |keys: &[&'static str]| keys.iter().copied().find(|key| point.get(key).is_some());
    let mode = point.text("plan.mode").filter(|mode| *mode != "aggregated");
    let Some(mode) = mode else {
        return match given(&OF_WORKERS) {
            Some(key) => Err(format!("`{key}` is of a worker, which the mode aggregated has not")),
            None => Ok(ServingMode::Aggregated),
        };
    };
    if let Some(key) = given(&DEGREES) {
        return Err(format!(
            "`{key}` says nothing of two kinds of workers: give `plan.prefill_*` and `plan.decode_*`, which know tp, dp and ep"
        ));
    }
    let workers = |kind: &str| {
        let count = |what: &str| point.count(&format!("plan.{kind}_{what}"));
        WorkerPins { workers: count("workers"), tp: count("tp"), dp: count("dp"), ep: count("ep") }
    };
    let (prefill, decode) = (workers("prefill"), workers("decode"));
    if mode != "attention-ffn" {
        return Ok(ServingMode::Disaggregated { prefill, decode });
    }
    match given(&["plan.decode_tp", "plan.decode_dp", "plan.decode_ep"]) {
        Some(key) => {
            Err(format!("`{key}` is of workers with both attention and experts; in attention-ffn these are searched"))
        }
        None => Ok(ServingMode::AttentionFfn {
            prefill,
            decode: ApartPins { workers: decode.workers, ..ApartPins::default() },
        }),
    }
}
