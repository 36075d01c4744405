//! Published decode, prefill and training figures next to the model's.

use serde::Deserialize;

use crate::projection::answer::estimate;
use crate::projection::chip::ChipModel;
use crate::projection::expert_load::ExpertLoad;
use crate::projection::machine::Machine;
use crate::projection::parallel_plan::{ExpertWorker, ParallelPlan, Phase};
use crate::projection::phases::{ServingStep, apart_exchange, apart_step, tokens_per_step};
use crate::projection::plan::ranks;
use crate::projection::request::{Pins, PipelineSchedule, Request, Workload};
use crate::projection::validation::published_row::PublishedRow;
use crate::specs::{Checked, Chip, Fabric, Model, NumberType, Scenario, SpecError, TrainingFramework};

const CASES: [&str; 2] =
    [include_str!("../../../specs/validation/serving.toml"), include_str!("../../../specs/validation/training.toml")];

/// One published row and what to ask the model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    group: String,
    quantity: String,
    unit: String,
    published: f64,
    measure: Measure,
    source: String,
    checked: Checked,
    #[serde(default)]
    fitted: bool,
    #[serde(default)]
    note: String,
    /// Absent where the model cannot express the row; `note` says why.
    ask: Option<Ask>,
}

/// Which figure of the answer is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Measure {
    /// Tokens per second and chip.
    Throughput,
    /// Time per output token, seconds.
    Tpot,
    /// Useful TFLOP per second and chip.
    ModelFlop,
    /// Throughput over that with one micro-batch, less 1.
    MicrobatchGain,
    /// Throughput over that without speculation, less 1.
    SpeculationGain,
    /// Time of a dispatch to experts on other ranks, microseconds.
    Dispatch,
    /// Time of the combine from them, microseconds.
    Combine,
    /// None.
    None,
}

/// Experts on ranks of their own; the chips of the row are those of both kinds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskExperts {
    ep: u32,
    attention_workers: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    model: String,
    chip: String,
    fabric: String,
    chips: u32,
    phase: Phase,
    #[serde(rename = "type")]
    number_type: Option<NumberType>,
    batch_per_chip: Option<f64>,
    microbatches: Option<u32>,
    tp: Option<u32>,
    pp: Option<u32>,
    ep: Option<u32>,
    dp: Option<u32>,
    cp: Option<u32>,
    kv_len: Option<f64>,
    prompt_len: Option<f64>,
    mtp_tokens: Option<u32>,
    mtp_acceptance: Option<f64>,
    sequence_len: Option<f64>,
    global_batch_tokens: Option<f64>,
    microbatch_sequences: Option<f64>,
    virtual_stages: Option<f64>,
    framework: Option<String>,
    #[serde(default)]
    balanced_experts: bool,
    #[serde(default)]
    zero_bubble: bool,
    experts: Option<AskExperts>,
    #[serde(default)]
    sharded_weights: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rows: Vec<Case>,
}

/// All rows, in the order of the files.
pub fn rows() -> Vec<PublishedRow> {
    cases().iter().map(row).collect()
}

fn cases() -> Vec<Case> {
    // The files are part of the program, and a test loads them.
    let of = |text: &str| toml::from_str::<File>(text).map_or_else(|_| Vec::new(), |file| file.rows);
    CASES.into_iter().flat_map(of).collect()
}

/// A published row of training under a framework.
pub(super) struct TrainingCase {
    /// The model.
    pub(super) model: String,
    /// Tokens per second and chip.
    pub(super) published: f64,
    /// Whether frameworks are fitted on it.
    pub(super) fitted: bool,
    /// The question.
    pub(super) request: Request,
}

/// The rows that name a framework.
pub(super) fn training_cases() -> Vec<TrainingCase> {
    let case = |case: Case| {
        let ask = case.ask.filter(|ask| ask.framework.is_some())?;
        let request = ask.request().ok()?;
        Some(TrainingCase { model: ask.model, published: case.published, fitted: case.fitted, request })
    };
    cases().into_iter().filter_map(case).collect()
}

fn row(case: &Case) -> PublishedRow {
    let answer = case.ask.as_ref().map(|ask| ask.modelled(case.measure));
    let (modelled, reason) = match answer {
        Some(Ok(value)) => (Some(value), None),
        Some(Err(reason)) => (None, Some(reason)),
        None => (None, None),
    };
    PublishedRow {
        id: case.id.clone(),
        group: case.group.clone(),
        quantity: case.quantity.clone(),
        unit: case.unit.clone(),
        published: case.published,
        upper_bound: false,
        modelled,
        source: case.source.clone(),
        checked: case.checked,
        fitted: case.fitted,
        note: reason.unwrap_or_else(|| case.note.clone()),
    }
}

impl Ask {
    fn modelled(&self, measure: Measure) -> Result<f64, String> {
        let request = self.request()?;
        if let Some(experts) = &self.experts {
            return apart(&request, experts, measure);
        }
        let (throughput, per_token, flop) = figures(&request)?;
        Ok(match measure {
            Measure::Throughput => throughput,
            Measure::Tpot => per_token,
            Measure::ModelFlop => flop / 1e12,
            Measure::MicrobatchGain => {
                let pins = Pins { microbatches: Some(1), ..request.pins };
                throughput / figures(&Request { pins, ..request })?.0 - 1.0
            }
            Measure::SpeculationGain => {
                let workload = Workload { mtp_tokens: 0, ..request.workload.clone() };
                throughput / figures(&Request { workload, ..request })?.0 - 1.0
            }
            Measure::Dispatch | Measure::Combine | Measure::None => return Err("not expressed".to_owned()),
        })
    }

    fn request(&self) -> Result<Request, String> {
        let text = |error: SpecError| error.to_string();
        let fallback = Workload::default();
        let prompt_len = self.prompt_len.unwrap_or(fallback.prompt_len);
        Ok(Request {
            model: Model::load(&self.model).map_err(text)?,
            chip: ChipModel::from_spec(&Chip::load(&self.chip).map_err(text)?),
            fabric: Fabric::load(&self.fabric).map_err(text)?,
            chips: self.chips,
            phase: self.phase,
            number_type: self.number_type,
            cache_type: None,
            workload: Workload {
                prompt_len,
                kv_len: self.kv_len.unwrap_or(prompt_len),
                tpot_limit_s: f64::INFINITY,
                mtp_tokens: self.mtp_tokens.unwrap_or(0),
                mtp_acceptance: self.mtp_acceptance.unwrap_or(fallback.mtp_acceptance),
                sequence_len: self.sequence_len.unwrap_or(fallback.sequence_len),
                global_batch_tokens: self.global_batch_tokens.unwrap_or(fallback.global_batch_tokens),
                expert_load: if self.balanced_experts { ExpertLoad::Uniform } else { fallback.expert_load },
                microbatch_sequences: self.microbatch_sequences.unwrap_or(fallback.microbatch_sequences),
                virtual_stages: self.virtual_stages,
                sharded_weights: self.sharded_weights,
                pipeline: if self.zero_bubble { PipelineSchedule::ZeroBubble } else { fallback.pipeline },
                ..fallback
            },
            pins: Pins {
                tp: self.tp,
                pp: self.pp,
                ep: self.ep,
                dp: self.dp,
                cp: self.cp,
                microbatches: self.microbatches,
                batch_per_chip: self.batch_per_chip,
                ..Pins::default()
            },
            framework: self.framework.as_deref().map(TrainingFramework::load).transpose().map_err(text)?,
        })
    }
}

/// A figure of attention and experts apart; the batch is that of a chip with attention.
fn apart(request: &Request, asked: &AskExperts, measure: Measure) -> Result<f64, String> {
    let machine = Machine::new(request, Scenario::Nominal).map_err(|reason| reason.to_string())?;
    let Pins { tp, dp, microbatches, batch_per_chip, .. } = request.pins;
    let (Some(tp), Some(dp), Some(microbatches), Some(batch)) = (tp, dp, microbatches, batch_per_chip) else {
        return Err("tp, dp, microbatches and batch_per_chip are needed beside experts".to_owned());
    };
    let AskExperts { ep, attention_workers } = *asked;
    let dies = ranks(request) / request.chips.max(1);
    let (attention_chips, expert_chips) = (tp * dp / dies, ep / dies);
    if attention_chips + expert_chips != request.chips {
        return Err(format!("{attention_chips} chips with attention and {expert_chips} with experts are not all"));
    }
    let experts = ExpertWorker { chips: expert_chips, ep, moe_tp: 1, attention_workers };
    let plan = ParallelPlan { chips: attention_chips, tp, dp, ep: 1, microbatches, ..experts.plan() };
    let kv_len = request.workload.kv_len;
    let step = ServingStep { sequences: batch * f64::from(tp) / machine.dies, kv_len, prompts: None };
    let step_s = apart_step(request, &plan, &experts, &machine, &step).terms.total().get();
    let kept = tokens_per_step(request);
    let exchange = apart_exchange(request, &plan, &experts, &machine, &step);
    match (measure, exchange) {
        (Measure::Throughput, _) => Ok(step.sequences * f64::from(dp) * kept / step_s / f64::from(request.chips)),
        (Measure::Tpot, _) => Ok(step_s / kept),
        (Measure::Dispatch, Some((out, _))) => Ok(out.get() * 1e6),
        (Measure::Combine, Some((_, back))) => Ok(back.get() * 1e6),
        _ => Err("not expressed".to_owned()),
    }
}

/// Tokens per second and chip, seconds per token, and useful FLOP per second and chip.
fn figures(request: &Request) -> Result<(f64, f64, f64), String> {
    let (plan, outcome) = estimate(request).map_err(|reason| reason.to_string())?;
    let flop = outcome.model_flop / outcome.terms.total().get() / f64::from(plan.chips);
    Ok((outcome.throughput(&plan), outcome.per_token(), flop))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(id: &str) -> f64 {
        let row = rows().into_iter().find(|row| row.id == id).unwrap();
        row.relative_error().unwrap()
    }

    #[test]
    fn the_file_is_read_and_every_row_is_answered_or_says_why_not() {
        let all: usize = CASES.iter().map(|text| toml::from_str::<File>(text).unwrap().rows.len()).sum();
        let rows = rows();
        assert_eq!(rows.len(), all);
        assert!(rows.len() >= 25);
        for row in rows {
            assert!(row.modelled.is_some() || !row.note.is_empty(), "{}", row.id);
        }
    }

    #[test]
    fn cloudmatrix_decode_and_prefill_come_out_within_15_percent() {
        for id in ["cm.decode.50ms.4096", "cm.decode.15ms", "cm.prefill.balanced"] {
            assert!(error(id).abs() < 0.15, "{id}: {}", error(id));
        }
    }

    #[test]
    fn attention_and_experts_apart_come_out_within_10_percent_and_their_exchange_within_30() {
        for (id, most) in [("xds.apart", 0.10), ("xds.apart.dispatch", 0.30), ("xds.apart.combine", 0.30)] {
            assert!(error(id).abs() < most, "{id}: {}", error(id));
        }
    }

    #[test]
    fn h800_decode_and_prefill_come_out_within_20_percent() {
        for id in ["h800.decode", "h800.prefill"] {
            assert!(error(id).abs() < 0.20, "{id}: {}", error(id));
        }
    }

    #[test]
    fn llama_training_comes_out_within_15_percent_and_deepseek_training_within_20() {
        for (id, most) in [("train.llama405b.8k", 0.15), ("train.llama405b.16k", 0.15), ("train.dsv3", 0.20)] {
            assert!(error(id).abs() < most, "{id}: {}", error(id));
        }
    }

    #[test]
    fn given_training_comes_out_within_15_percent_if_dense_and_30_percent_if_mixed() {
        for case in training_cases().into_iter().filter(|case| case.fitted) {
            let (rate, ..) = figures(&case.request).unwrap();
            let error = rate / case.published - 1.0;
            let most = if case.request.model.moe.is_some() { 0.3 } else { 0.15 };
            let chip = &case.request.chip.name;
            assert!(error.abs() < most, "{} on {chip}: {error}", case.model);
        }
    }

    #[test]
    fn gains_of_micro_batches_and_speculation_are_within_a_factor_of_one_and_a_half() {
        let gains: Vec<PublishedRow> = rows().into_iter().filter(|row| row.unit == "gain").collect();
        assert_eq!(gains.len(), 6);
        for row in gains {
            let ratio = row.relative_error().unwrap() + 1.0;
            assert!((1.0 / 1.5..1.5).contains(&ratio), "{}: {ratio}", row.id);
        }
    }
}
