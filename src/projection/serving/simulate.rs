//! Requests through engines, step by step: discrete events, the same for the same seed.
//!
//! An engine begins a step when the one before it ends. Prompts are computed in the order in which they came, up to a
//! chunk of tokens per step; a prompt starts when there is memory for it and its whole answer. Engines that only prefill
//! hand a prompt over to one that decodes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::projection::serving::event::{EventKind, SimulationEvent};
use crate::projection::serving::step_table::{MetStep, StepTable};
use crate::projection::serving::watch::{SeenStep, SimulationWatch, Turn, WatchedEngines};

/// Seed of the arrivals.
pub const SEED: u64 = 384;

/// A request, in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedRequest {
    /// When it comes, in seconds; clients that ask again come when they are answered.
    pub arrival_s: f64,
    /// Tokens of the prompt that are cached already.
    pub cached: f64,
    /// Tokens of the prompt that are computed.
    pub computed: f64,
    /// Tokens of the answer.
    pub output: f64,
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals<'a> {
    /// From so many clients, each of which asks again as soon as it is answered.
    Clients(usize),
    /// So many per second, independent of each other.
    Rate(f64),
    /// As a trace has them.
    Trace(&'a [SimulatedRequest]),
}

/// Engines of one kind.
#[derive(Debug, Clone, Copy)]
pub struct EngineKind<'a> {
    /// How many.
    pub count: usize,
    /// Times of their steps.
    pub steps: &'a StepTable,
    /// The most prompt tokens of a step.
    pub chunk: f64,
    /// The most sequences.
    pub most: usize,
    /// Tokens that the KV cache holds.
    pub cache_tokens: f64,
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Fleet<'a> {
    /// Engines that compute prompts, and answers too if there is no `decode`.
    pub prompts: EngineKind<'a>,
    /// Engines that compute answers alone.
    pub decode: Option<EngineKind<'a>>,
    /// Seconds that a KV cache travels from the ones to the others, per token.
    pub transfer_s_per_token: f64,
    /// Output tokens of a sequence per step.
    pub tokens_per_step: f64,
}

/// Which requests, and how many of them count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run<'a> {
    /// How they come.
    pub arrivals: Arrivals<'a>,
    /// The request of clients and of a rate, on average.
    pub like: SimulatedRequest,
    /// Coefficient of variation of its prompt and of its answer, each log-normal.
    pub spread: f64,
    /// Requests that are answered first and not counted.
    pub warm_up: usize,
    /// Requests that are counted; a trace counts all.
    pub counted: usize,
}

/// What was seen of each counted request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenTimes {
    /// Time to the first token, seconds.
    pub ttft_s: Vec<f64>,
    /// Time per output token after the first, seconds; 0 where there is no second token.
    pub tpot_s: Vec<f64>,
    /// Tokens of all answers.
    pub output_tokens: f64,
    /// Seconds from the first arrival, or the end of the warm-up, to the last answer.
    pub span_s: f64,
}

/// Simulates a run. `watch` hears what happens in it.
pub fn simulate(fleet: &Fleet<'_>, run: &Run<'_>, watch: &mut impl SimulationWatch) -> SeenTimes {
    let all_count = matches!(run.arrivals, Arrivals::Trace(_));
    let decode = fleet.decode.map_or(0, |decode| decode.count);
    watch.begins(WatchedEngines { prompts: fleet.prompts.count, decode, all_count });
    let mut simulation = Simulation::new(fleet, run, watch);
    simulation.start();
    while !simulation.is_done() {
        let Some(Reverse(event)) = simulation.events.pop() else { break };
        simulation.now = event.at;
        match event.what {
            EventKind::Arrival(job) => simulation.arrive(job),
            EventKind::HandOver(job) => simulation.hand_over(job),
            EventKind::StepEnd(engine) => simulation.end_step(engine),
        }
    }
    simulation.seen
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
struct Job {
    request: SimulatedRequest,
    /// Prompt tokens that are still to be computed.
    left: f64,
    first_token_s: f64,
    /// The engine of its client.
    client: usize,
}

impl Job {
    fn prompt(&self) -> f64 {
        self.request.cached + self.request.computed
    }

    fn reserved(&self) -> f64 {
        self.prompt() + self.request.output
    }
}

/// An engine at work.
#[derive(Debug, Default)]
struct EngineState {
    waiting: VecDeque<usize>,
    /// Of those that wait, the first so many have memory.
    admitted: usize,
    /// Sequences in decode, by the step that is their last.
    running: BinaryHeap<Reverse<(u64, usize)>>,
    /// Prompt tokens of the step under way, by request.
    chunk: Vec<(usize, f64)>,
    context: f64,
    reserved: f64,
    steps: u64,
    busy: bool,
}

struct Simulation<'a, W> {
    fleet: &'a Fleet<'a>,
    run: &'a Run<'a>,
    watch: &'a mut W,
    engines: Vec<EngineState>,
    jobs: Vec<Job>,
    /// Places of jobs that are done.
    free: Vec<usize>,
    events: BinaryHeap<Reverse<SimulationEvent>>,
    random: ChaCha8Rng,
    now: f64,
    order: u64,
    next_engine: usize,
    next_decode: usize,
    next_of_trace: usize,
    answered: usize,
    began_s: f64,
    seen: SeenTimes,
}

impl<'a, W: SimulationWatch> Simulation<'a, W> {
    fn new(fleet: &'a Fleet<'a>, run: &'a Run<'a>, watch: &'a mut W) -> Self {
        let count = fleet.prompts.count + fleet.decode.map_or(0, |decode| decode.count);
        Self {
            fleet,
            run,
            watch,
            engines: (0..count).map(|_| EngineState::default()).collect(),
            jobs: Vec::new(),
            free: Vec::new(),
            events: BinaryHeap::new(),
            random: ChaCha8Rng::seed_from_u64(SEED),
            now: 0.0,
            order: 0,
            next_engine: 0,
            next_decode: 0,
            next_of_trace: 0,
            answered: 0,
            began_s: 0.0,
            seen: SeenTimes::default(),
        }
    }

    fn is_done(&self) -> bool {
        match self.run.arrivals {
            Arrivals::Trace(trace) => self.answered >= trace.len(),
            _ => self.answered >= self.run.warm_up + self.run.counted,
        }
    }

    fn start(&mut self) {
        match self.run.arrivals {
            Arrivals::Clients(clients) => {
                // First answers of different lengths spread the clients over the steps.
                let engines = self.fleet.prompts.count;
                let of_one = clients.div_ceil(engines) as f64;
                for client in 0..clients {
                    let place = (client / engines + 1) as f64;
                    let like = self.drawn();
                    let output = (like.output * place / of_one).ceil().max(1.0);
                    let request = SimulatedRequest { output, arrival_s: 0.0, ..like };
                    self.plan_arrival(request, client % engines);
                }
            }
            Arrivals::Rate(_) => self.plan_independent(),
            Arrivals::Trace(trace) => {
                self.began_s = trace.first().map_or(0.0, |request| request.arrival_s);
                self.plan_of_trace(trace);
            }
        }
    }

    fn plan(&mut self, at: f64, what: EventKind) {
        self.order += 1;
        self.events.push(Reverse(SimulationEvent { at, order: self.order, what }));
    }

    fn plan_arrival(&mut self, request: SimulatedRequest, client: usize) {
        let job = Job { request, left: request.computed, first_token_s: 0.0, client };
        let place = match self.free.pop() {
            Some(place) => {
                self.jobs[place] = job;
                place
            }
            None => {
                self.jobs.push(job);
                self.jobs.len() - 1
            }
        };
        self.plan(request.arrival_s, EventKind::Arrival(place));
    }

    fn plan_independent(&mut self) {
        let Arrivals::Rate(rate) = self.run.arrivals else { return };
        let gap = -(1.0 - self.random.random::<f64>()).ln() / rate;
        let engine = self.random.random_range(0..self.fleet.prompts.count);
        let like = self.drawn();
        self.plan_arrival(SimulatedRequest { arrival_s: self.now + gap, ..like }, engine);
    }

    /// A request of clients or of a rate.
    fn drawn(&mut self) -> SimulatedRequest {
        let (like, spread) = (self.run.like, self.run.spread);
        if spread <= 0.0 {
            return like;
        }
        let variance = (1.0 + spread * spread).ln();
        let mut factor = || {
            // A normal variable from a point in the unit circle (the polar method: Marsaglia and Bray, 1964).
            let normal = loop {
                let (a, b) = (2.0 * self.random.random::<f64>() - 1.0, 2.0 * self.random.random::<f64>() - 1.0);
                let square = a * a + b * b;
                if square > 0.0 && square < 1.0 {
                    break a * (-2.0 * square.ln() / square).sqrt();
                }
            };
            (normal * variance.sqrt() - variance / 2.0).exp()
        };
        let (prompt, output) = (factor(), factor());
        SimulatedRequest {
            cached: (like.cached * prompt).round(),
            computed: (like.computed * prompt).round().max(1.0),
            output: (like.output * output).round().max(1.0),
            ..like
        }
    }

    fn plan_of_trace(&mut self, trace: &[SimulatedRequest]) {
        let Some(request) = trace.get(self.next_of_trace) else { return };
        self.next_of_trace += 1;
        let engine = self.next_engine;
        self.next_engine = (engine + 1) % self.fleet.prompts.count;
        self.plan_arrival(*request, engine);
    }

    fn arrive(&mut self, job: usize) {
        match self.run.arrivals {
            Arrivals::Clients(_) => {}
            Arrivals::Rate(_) => self.plan_independent(),
            Arrivals::Trace(trace) => self.plan_of_trace(trace),
        }
        let engine = self.jobs[job].client;
        self.watch.turns(self.now, job, Turn::Waits { engine });
        self.enqueue(engine, job);
    }

    /// A prompt reaches an engine that decodes.
    fn hand_over(&mut self, job: usize) {
        let Some(decode) = self.fleet.decode else { return };
        self.jobs[job].first_token_s = self.now;
        if steps_of(&self.jobs[job], self.fleet.tokens_per_step) <= 0.0 {
            self.answer(job);
            return;
        }
        let engine = self.fleet.prompts.count + self.next_decode;
        self.next_decode = (self.next_decode + 1) % decode.count;
        self.watch.turns(self.now, job, Turn::Waits { engine });
        self.enqueue(engine, job);
    }

    fn enqueue(&mut self, engine: usize, job: usize) {
        self.engines[engine].waiting.push_back(job);
        if !self.engines[engine].busy {
            self.begin_step(engine);
        }
    }

    fn kind(&self, engine: usize) -> EngineKind<'a> {
        match self.fleet.decode {
            Some(decode) if engine >= self.fleet.prompts.count => decode,
            _ => self.fleet.prompts,
        }
    }

    fn begin_step(&mut self, engine: usize) {
        let kind = self.kind(engine);
        let tokens_per_step = self.fleet.tokens_per_step;
        let state = &mut self.engines[engine];
        let (mut budget, mut at, mut pairs) = (kind.chunk, 0, 0.0);
        while let Some(&index) = state.waiting.get(at) {
            let job = &self.jobs[index];
            if budget <= 0.0 && job.left > 0.0 {
                break;
            }
            if at >= state.admitted {
                let alone = state.running.is_empty() && state.admitted == 0;
                let fits = state.running.len() + state.admitted < kind.most
                    && state.reserved + job.reserved() <= kind.cache_tokens;
                if !fits && !alone {
                    break;
                }
                state.admitted += 1;
                state.reserved += job.reserved();
            }
            if job.left <= 0.0 {
                // Its cache has come from another engine.
                state.waiting.remove(at);
                state.admitted -= 1;
                state.context += job.prompt();
                state.running.push(Reverse((last_step(state.steps, job, tokens_per_step), index)));
                self.watch.turns(self.now, index, Turn::Decodes);
                continue;
            }
            let tokens = job.left.min(budget);
            let before = job.prompt() - job.left;
            pairs += tokens * (before + tokens / 2.0);
            budget -= tokens;
            state.chunk.push((index, tokens));
            at += 1;
        }
        state.busy = !(state.chunk.is_empty() && state.running.is_empty());
        if !state.busy {
            return;
        }
        let step = MetStep {
            sequences: state.running.len(),
            context: state.context,
            prompt_tokens: kind.chunk - budget,
            pairs,
        };
        let end = self.now + kind.steps.time(&step);
        let (chunk, waiting) = (&state.chunk, state.waiting.len() - state.chunk.len());
        self.watch.step(&SeenStep { engine, from_s: self.now, to_s: end, step, chunk, waiting });
        self.plan(end, EventKind::StepEnd(engine));
    }

    fn end_step(&mut self, engine: usize) {
        let tokens_per_step = self.fleet.tokens_per_step;
        let state = &mut self.engines[engine];
        state.steps += 1;
        state.context += state.running.len() as f64 * tokens_per_step;
        let mut done = Vec::new();
        while let Some(Reverse((last, job))) = state.running.peek().copied() {
            if last > state.steps {
                break;
            }
            state.running.pop();
            let (prompt, steps) = (self.jobs[job].prompt(), steps_of(&self.jobs[job], tokens_per_step));
            state.context -= prompt + steps * tokens_per_step;
            state.reserved -= self.jobs[job].reserved();
            done.push(job);
        }
        let mut handed = Vec::new();
        for (index, tokens) in std::mem::take(&mut state.chunk) {
            let job = &mut self.jobs[index];
            job.left -= tokens;
            if job.left > 0.0 {
                continue;
            }
            state.waiting.pop_front();
            state.admitted -= 1;
            job.first_token_s = self.now;
            if self.fleet.decode.is_some() {
                state.reserved -= job.reserved();
                handed.push(index);
                self.watch.turns(self.now, index, Turn::Travels);
            } else if steps_of(job, tokens_per_step) > 0.0 {
                self.watch.turns(self.now, index, Turn::Decodes);
                state.context += job.prompt();
                state.running.push(Reverse((last_step(state.steps, job, tokens_per_step), index)));
            } else {
                state.reserved -= job.reserved();
                done.push(index);
            }
        }
        for job in handed {
            let travels = self.fleet.transfer_s_per_token * self.jobs[job].prompt();
            self.plan(self.now + travels, EventKind::HandOver(job));
        }
        for job in done {
            self.answer(job);
        }
        // Clients that ask again are heard before the next step begins.
        self.engines[engine].busy = true;
        self.hear_now();
        self.begin_step(engine);
    }

    /// Takes in what arrives at this very moment.
    fn hear_now(&mut self) {
        while let Some(Reverse(SimulationEvent { at, what: EventKind::Arrival(job), .. })) = self.events.peek().copied()
        {
            if at > self.now {
                break;
            }
            self.events.pop();
            self.arrive(job);
        }
    }

    fn answer(&mut self, index: usize) {
        let Job { request, first_token_s, client, .. } = self.jobs[index];
        self.answered += 1;
        self.watch.turns(self.now, index, Turn::Answered);
        self.free.push(index);
        let is_trace = matches!(self.run.arrivals, Arrivals::Trace(_));
        if is_trace || self.answered > self.run.warm_up {
            self.seen.ttft_s.push(first_token_s - request.arrival_s);
            let after = (request.output - 1.0).max(1.0);
            self.seen.tpot_s.push((self.now - first_token_s) / after);
            self.seen.output_tokens += request.output;
            self.seen.span_s = self.now - self.began_s;
        } else if self.answered == self.run.warm_up {
            self.began_s = self.now;
            self.watch.counts(self.now);
        }
        if let Arrivals::Clients(_) = self.run.arrivals {
            let like = self.drawn();
            self.plan_arrival(SimulatedRequest { arrival_s: self.now, ..like }, client);
        }
    }
}

/// Steps after the first token.
fn steps_of(job: &Job, tokens_per_step: f64) -> f64 {
    ((job.request.output - 1.0).max(0.0) / tokens_per_step).ceil()
}

/// The step that is a job's last, if the next one is its first.
fn last_step(steps: u64, job: &Job, tokens_per_step: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few million at most")]
    let more = steps_of(job, tokens_per_step) as u64;
    steps + more
}
