//! Time to first token and time per token of a deployment, from its costs.

use crate::projection::serving::aggregated::{Load, Times, steady};
use crate::projection::serving::disaggregated;
use crate::projection::validation::silicon::costs::Costs;
use crate::projection::validation::silicon::deployment::Deployment;
use crate::projection::validation::silicon::row::Sharing;

/// What the model says of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// Time to the first token, seconds.
    pub ttft_s: f64,
    /// Time per output token after the first, seconds.
    pub tpot_s: f64,
}

/// Times of a deployment without a framework: a step costs what the chip's file says of steps and launches.
pub fn predict(deployment: &Deployment<'_>, costs: &Costs) -> Prediction {
    let worker = &costs.worker;
    let step_s = worker.decode.work_s + worker.decode.kernels * costs.launch_s + costs.step_s;
    let decode_s = step_s / worker.tokens_per_step;
    let prefill_s = worker.prefill.work_s + worker.prefill.kernels * costs.launch_s + costs.step_s;
    let packed_s = worker.packed.work_s + worker.packed.kernels * costs.launch_s;
    if deployment.sharing == Sharing::Aggregated {
        let load = Load {
            concurrency: deployment.concurrency,
            capacity: worker.capacity,
            output_len: deployment.output_len,
            first_wave: 0.1,
        };
        let times = steady(&load, &Times { decode_s, prefill_s, packed_s, request_s: 0.0 });
        return Prediction { ttft_s: times.ttft_s, tpot_s: times.tpot_s };
    }
    let load = disaggregated::Load {
        concurrency: deployment.concurrency,
        output_len: deployment.output_len,
        prefill_lanes: costs.prefill_workers,
        first_wave: 0.1,
    };
    let times = disaggregated::Times { token_s: decode_s, prefill_s, packed_s, request_s: 0.0 };
    Prediction { ttft_s: disaggregated::first_token(&load, &times), tpot_s: decode_s }
}
