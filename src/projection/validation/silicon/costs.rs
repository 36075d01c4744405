//! The times of a deployment's steps, without a framework.

use crate::projection::machine::Machine;
use crate::projection::parallel_plan::{ParallelPlan, Phase};
use crate::projection::phases::{evaluate, over_bytes};
use crate::projection::request::{Request, Workload};
use crate::projection::serving::load::DEFAULT_CHUNK_TOKENS as CHUNK_TOKENS;
use crate::projection::validation::silicon::deployment::{MeasuredDeployment, Unexpressed, Worker};
use crate::projection::validation::silicon::row::Sharing;
use crate::specs::Scenario;

/// What one step takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct StepCost {
    /// Work of cores, memory and wires, seconds.
    pub work_s: f64,
    /// Kernels that are launched.
    pub kernels: f64,
    /// Those whose launch is not in the work: a measured operator's is.
    pub bare_kernels: f64,
}

/// The costs of one worker of each kind.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct WorkerCosts {
    /// Sequences that fit into the memory of one decoding worker.
    pub capacity: f64,
    /// A step of decode with the sequences that run.
    pub decode: StepCost,
    /// Sequences that run in it, of one worker.
    pub running: f64,
    /// Output tokens of a sequence per step: more than one with speculation.
    pub tokens_per_step: f64,
    /// All passes over one prompt per replica of attention.
    pub prefill: StepCost,
    /// A pass over as many prompts as a chunk holds, for each prompt.
    pub packed: StepCost,
    /// Passes over one prompt.
    pub chunks: f64,
    /// Prompts that a worker computes at once: one per replica of attention.
    pub replicas: f64,
}

/// The costs of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct DeploymentCosts {
    /// How prefill and decode share chips.
    pub sharing: Sharing,
    /// Requests in flight.
    pub concurrency: f64,
    /// Tokens of an answer.
    pub output_len: f64,
    /// Of one worker of each kind.
    pub worker: WorkerCosts,
    /// Workers that prefill.
    pub prefill_workers: f64,
    /// Workers that decode.
    pub decode_workers: f64,
    /// A launch on this chip, seconds.
    pub launch_s: f64,
    /// A step's fixed time on this chip, seconds.
    pub step_s: f64,
}

impl DeploymentCosts {
    /// The costs of a deployment.
    ///
    /// # Errors
    /// [`Unexpressed`]: the chip has no such type, or the weights do not fit.
    pub fn of(deployment: &MeasuredDeployment) -> Result<Self, Unexpressed> {
        let decode = Pool::new(deployment, &deployment.decode, Phase::Decode)?;
        let prefill = Pool::new(deployment, &deployment.prefill, Phase::Prefill)?;
        if !decode.holds_the_weights() || !prefill.holds_the_weights() {
            return Err("the weights do not fit into the memory of a worker's chips".to_owned());
        }
        let share = deployment.concurrency / deployment.decode.count;
        let capacity = decode.capacity();
        let running = share.min(capacity).max(1.0);
        let replicas = f64::from(prefill.plan.dp);
        let together = (CHUNK_TOKENS / deployment.prompt_len).floor().max(1.0);
        let packed = prefill.step(together * replicas).0;
        let share_of = |cost: StepCost, count: f64| StepCost {
            work_s: cost.work_s / count,
            kernels: cost.kernels / count,
            bare_kernels: cost.bare_kernels / count,
        };
        let (decode_step, tokens_per_step) = decode.step(running);
        Ok(Self {
            sharing: deployment.sharing,
            concurrency: deployment.concurrency,
            output_len: deployment.output_len,
            worker: WorkerCosts {
                capacity,
                decode: decode_step,
                running,
                tokens_per_step,
                prefill: prefill.step(replicas).0,
                packed: share_of(packed, together * replicas),
                chunks: (deployment.prompt_len / CHUNK_TOKENS).ceil().max(1.0),
                replicas,
            },
            prefill_workers: deployment.prefill.count,
            decode_workers: deployment.decode.count,
            launch_s: deployment.request.chip.launch.value,
            step_s: deployment.request.chip.step.value,
        })
    }
}

/// Workers of one kind in one phase.
struct Pool {
    request: Request,
    machine: Machine,
    /// The same without measured operators, to count kernels.
    plain: Machine,
    plan: ParallelPlan,
}

impl Pool {
    fn new(deployment: &MeasuredDeployment, worker: &Worker, phase: Phase) -> Result<Self, Unexpressed> {
        let MeasuredDeployment { prompt_len, output_len, .. } = deployment;
        let mut request = Request { chips: worker.plan.chips, phase, ..deployment.request.clone() };
        request.workload = Workload {
            prompt_len: *prompt_len,
            kv_len: prompt_len + output_len / 2.0,
            chunk_tokens: CHUNK_TOKENS,
            mtp_tokens: if phase == Phase::Decode { deployment.speculated } else { 0 },
            ..Workload::default()
        };
        let machine = Machine::new(&request, Scenario::Nominal).map_err(|reason| reason.to_string())?;
        let plain = Machine { operators: None, ..machine.clone() };
        Ok(Self { request, machine, plain, plan: worker.plan })
    }

    fn with(&self, sequences: f64) -> ParallelPlan {
        ParallelPlan { batch_per_chip: sequences / f64::from(self.plan.chips), ..self.plan }
    }

    /// A step, and the tokens of a sequence in it.
    fn step(&self, sequences: f64) -> (StepCost, f64) {
        let plan = self.with(sequences);
        let on = |machine: &Machine| {
            let outcome = evaluate(&self.request, &plan, machine);
            let (total, launch) = (outcome.terms.total().get(), outcome.terms.launch.get());
            let kernels = (launch - machine.step.get()).max(0.0) / machine.launch.get().max(1e-9);
            (total - launch, kernels, outcome.tokens_per_sequence)
        };
        let (work_s, bare_kernels, tokens) = on(&self.machine);
        let kernels = if self.machine.operators.is_some() { on(&self.plain).1 } else { bare_kernels };
        (StepCost { work_s, kernels, bare_kernels }, tokens)
    }

    /// Whether the weights fit into the whole memory, with nothing left for others.
    fn holds_the_weights(&self) -> bool {
        let of_chips = self.request.chip.capacity.value;
        let usable = self.machine.capacity.get() * self.machine.dies;
        over_bytes(&self.request, &self.with(1e-3), &self.machine) + usable <= of_chips
    }

    /// Sequences that fit, at least one: the memory grows with them along a line.
    fn capacity(&self) -> f64 {
        let over = |sequences: f64| over_bytes(&self.request, &self.with(sequences), &self.machine);
        let (none, some) = (over(1.0), over(1025.0));
        let each = (some - none) / 1024.0;
        (1.0 - none / each.max(1.0)).floor().max(1.0)
    }
}
