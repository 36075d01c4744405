//! An engine of a plan: what its steps take, how many sequences it holds, and how it does under a load.

use crate::projection::machine::Machine;
use crate::projection::ops::Prompts;
use crate::projection::parallel_plan::{ExpertWorker, ParallelPlan, Phase};
use crate::projection::phases::{
    ApartStep, Held, ServingStep, apart_memory, apart_step, room, serving_memory, serving_step, tokens_per_step,
};
use crate::projection::request::{Infeasible, Request};
use crate::projection::result::MemoryUse;
use crate::projection::serving::load::{Lengths, ServingLoad};
use crate::projection::serving::steady::{self, RequestWork, SteadyState};
use crate::specs::Scenario;

/// The most sequences that an engine schedules (assumed: the default of vLLM's `--max-num-seqs` on large GPUs).
pub const MOST_SEQUENCES: f64 = 1024.0;

/// The chip and fabric of a request in steps with prompts and in steps without: the clock may drop under long load.
#[derive(Debug, Clone)]
pub struct ServingMachines {
    /// Of steps with prompts.
    pub prompts: Machine,
    /// Of steps of decode alone.
    pub decode: Machine,
}

impl ServingMachines {
    /// The machines of a request, at its central values.
    ///
    /// # Errors
    /// Those of [`Machine::new`].
    pub fn new(request: &Request) -> Result<Self, Infeasible> {
        let in_phase = |phase| Machine::new(&Request { phase, ..request.clone() }, Scenario::Nominal);
        Ok(Self { prompts: in_phase(Phase::Prefill)?, decode: in_phase(Phase::Decode)? })
    }
}

/// One of the engines of a plan. All of them are assumed to do the same at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Engine<'a> {
    /// Model, chip, fabric and speculation; its phase is decode.
    pub request: &'a Request,
    /// The plan of all chips of the engines.
    pub plan: &'a ParallelPlan,
    /// The experts, where they lie on other chips. Such an engine computes no prompts.
    pub experts: Option<&'a ExpertWorker>,
    /// Chip and fabric.
    pub machines: &'a ServingMachines,
    /// The most prompt tokens of a step.
    pub chunk: f64,
}

impl Engine<'_> {
    /// Engines of the plan.
    pub fn count(&self) -> f64 {
        f64::from(self.plan.dp) * f64::from(self.plan.pp)
    }

    /// Time of a step in seconds.
    pub fn step(&self, sequences: f64, kv_len: f64, prompts: Option<Prompts>) -> f64 {
        if let Some(apart) = self.apart(sequences, kv_len) {
            return apart.terms.total().get();
        }
        let machine = if prompts.is_some() { &self.machines.prompts } else { &self.machines.decode };
        serving_step(self.request, self.plan, machine, &ServingStep { sequences, kv_len, prompts }).get()
    }

    /// A step of attention and experts apart; `None` where they are not.
    pub fn apart(&self, sequences: f64, kv_len: f64) -> Option<ApartStep> {
        let step = ServingStep { sequences, kv_len, prompts: None };
        Some(apart_step(self.request, self.plan, self.experts?, &self.machines.decode, &step))
    }

    /// Sequences of `length` tokens that it holds at most; below 1 where it holds none.
    pub fn most(&self, length: f64) -> f64 {
        if self.experts_memory().is_some_and(|memory| memory.used() > memory.capacity) {
            return 0.0;
        }
        room(&self.memory(1.0, length)).floor().min(MOST_SEQUENCES)
    }

    /// Memory of a chip with so many sequences of `length` tokens on each engine.
    pub fn memory(&self, sequences: f64, length: f64) -> MemoryUse {
        let (request, plan, machine) = (self.request, self.plan, &self.machines.decode);
        let held = self.held(sequences, length);
        match self.experts {
            Some(experts) => apart_memory(request, plan, experts, machine, &held).0,
            None => serving_memory(request, plan, machine, &held),
        }
    }

    /// Memory of a chip with experts alone, where there are such.
    pub fn experts_memory(&self) -> Option<MemoryUse> {
        let (request, plan, machine) = (self.request, self.plan, &self.machines.decode);
        Some(apart_memory(request, plan, self.experts?, machine, &self.held(0.0, 0.0)).1)
    }

    /// Mean sequences in decode of the plan's batch.
    pub fn sequences(&self) -> f64 {
        self.plan.batch_per_chip * f64::from(self.plan.chips) / self.count()
    }

    /// Chips of its plan, and of the experts beside it.
    pub fn chips(&self) -> u32 {
        self.plan.chips + self.experts.map_or(0, |experts| experts.chips)
    }

    fn held(&self, sequences: f64, length: f64) -> Held {
        let prompts = if self.experts.is_some() { 0.0 } else { self.chunk };
        Held { sequences, length, pass_tokens: prompts + MOST_SEQUENCES }
    }

    /// What a request is to it.
    pub fn work(&self, lengths: &Lengths) -> RequestWork {
        let steps = (lengths.output - 1.0).max(0.0) / tokens_per_step(self.request);
        RequestWork { prompt: lengths.computed(), steps, chunk: self.chunk, spread: lengths.spread }
    }

    /// The time of its steps for requests of these lengths, from sequences and prompt tokens.
    pub fn step_time(&self, lengths: &Lengths) -> impl Fn(f64, f64) -> f64 {
        let work = self.work(lengths);
        let tokens = work.chunk_tokens();
        let before = lengths.before() + (work.chunks() - 1.0) / 2.0 * tokens;
        let kv_len = lengths.in_decode();
        move |sequences: f64, in_prompts: f64| {
            let prompts = Prompts { count: in_prompts / tokens, tokens, before };
            self.step(sequences, kv_len, (in_prompts > 0.0).then_some(prompts))
        }
    }

    /// Its share of a load in the steady state; `None` if it cannot keep up, or has no memory for a request.
    ///
    /// Clients are spread as evenly as whole ones can be, and the fullest engine sets the pace.
    pub fn steady(&self, load: ServingLoad, lengths: &Lengths) -> Option<SteadyState> {
        let (work, step) = (self.work(lengths), self.step_time(lengths));
        let most = self.most(lengths.reserved());
        if most < 1.0 {
            return None;
        }
        match load {
            ServingLoad::RequestRate(rate) => steady::open(&step, &work, rate / self.count(), most),
            ServingLoad::Concurrency(clients) => {
                let (mean, fullest) = (clients / self.count(), (clients / self.count()).ceil());
                // Those for whom there is no memory wait.
                let inside = fullest.min(most);
                let state = steady::closed(&step, &work, inside);
                let waiting_s = (fullest - inside) / state.request_rate;
                let request_rate = state.request_rate * mean / fullest;
                Some(SteadyState { request_rate, ttft_s: state.ttft_s + waiting_s, ..state })
            }
        }
    }

    /// Requests per second of all engines that are never out of work; 0 where there is no memory for one.
    pub fn capacity(&self, lengths: &Lengths) -> f64 {
        let most = self.most(lengths.reserved());
        if most < 1.0 {
            return 0.0;
        }
        steady::capacity(&self.step_time(lengths), &self.work(lengths), most) * self.count()
    }
}
