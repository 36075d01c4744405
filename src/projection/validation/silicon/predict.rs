//! Time to first token and time per token of a deployment, from its costs and a framework's profile.

use crate::projection::serving::{aggregated, first_token};
use crate::projection::validation::silicon::costs::{DeploymentCosts, StepCost};
use crate::projection::validation::silicon::row::Sharing;
use crate::specs::FrameworkTimes;

/// Share of the requests that start all at once, where no framework says it: a benchmark of ten requests per place.
const FIRST_WAVE: f64 = 0.1;

/// What the model says of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// Time to the first token, seconds.
    pub ttft_s: f64,
    /// Time per output token after the first, seconds.
    pub tpot_s: f64,
}

/// A framework's figures: those of [`FrameworkTimes`], in its order and units.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Profile {
    /// Fixed time of a step of decode, seconds.
    pub step_s: f64,
    /// Fixed time of an op when prompts are computed, seconds.
    pub prompt_op_s: f64,
    /// Time of the work on prompts over the model's.
    pub prompt_factor: f64,
    /// Fixed time of a request, seconds.
    pub request_s: f64,
    /// Share of the requests that wait as the first ones do.
    pub first_wave: f64,
}

impl Profile {
    /// No framework: a step costs what the chip's file says of steps.
    pub fn none(costs: &DeploymentCosts) -> Self {
        Self {
            step_s: costs.step_s,
            prompt_op_s: costs.launch_s,
            prompt_factor: 1.0,
            request_s: 0.0,
            first_wave: FIRST_WAVE,
        }
    }

    /// The profile of a framework's times.
    pub fn of(times: &FrameworkTimes) -> Self {
        Self {
            step_s: times.step_s.value,
            prompt_op_s: times.prompt_op_s.value,
            prompt_factor: times.prompt_factor.value,
            request_s: times.request_s.value,
            first_wave: times.first_wave.value,
        }
    }
}

/// Times of a deployment under a profile.
pub fn predict(costs: &DeploymentCosts, profile: &Profile) -> Prediction {
    let worker = &costs.worker;
    let decode_work_s = worker.decode.work_s + worker.decode.bare_kernels * costs.launch_s;
    let decode_s = (profile.step_s + decode_work_s) / worker.tokens_per_step;
    let prompt_s = |cost: &StepCost| profile.prompt_factor * cost.work_s + profile.prompt_op_s * cost.kernels;
    let prefill_s = prompt_s(&worker.prefill) + profile.step_s * worker.chunks;
    let packed_s = prompt_s(&worker.packed);
    if costs.sharing == Sharing::Aggregated {
        let load = aggregated::ClosedLoad {
            concurrency: costs.concurrency,
            capacity: worker.capacity,
            output_len: costs.output_len,
            first_wave: profile.first_wave,
        };
        let request_s = profile.request_s;
        let seen = aggregated::steady(&load, &aggregated::ClosedTimes { decode_s, prefill_s, packed_s, request_s });
        return Prediction { ttft_s: seen.ttft_s, tpot_s: seen.tpot_s };
    }
    let load = first_token::PromptLoad {
        concurrency: costs.concurrency,
        output_len: costs.output_len,
        prefill_lanes: costs.prefill_workers,
        first_wave: profile.first_wave,
    };
    // The first token goes through a step of decode's scheduler as well.
    let request_s = profile.request_s + decode_s;
    let times = first_token::PromptTimes { token_s: decode_s, prefill_s, packed_s, request_s };
    Prediction { ttft_s: first_token::first_token(&load, &times), tpot_s: decode_s }
}
