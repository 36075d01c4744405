//! Continuous batching with chunked prefill in the steady state of one engine, in closed form.
//!
//! In each step, every sequence in decode gets its next token, and beside them a chunk of prompts is computed. A prompt
//! of `U` tokens takes `k = ceil(U / chunk)` steps; its answer takes `s` more. With `x` requests per step:
//!
//! - Of the steps, a share of `x k` has prompts, as long as chunks do not share steps.
//! - `x s` sequences are in decode.
//! - More than `chunk / U` requests per step cannot be.
//!
//! Clients that ask again at once spread evenly over the steps where lengths are all the same: one of `n` clients comes
//! every `(s + k) / n` steps. What is independent comes unevenly, so that prompts wait for each other (M/G/1).

/// Rounds of the search for the steady state.
const MOST_ROUNDS: usize = 12;

/// Work of one request on an engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestWork {
    /// Tokens of its prompt that are computed.
    pub prompt: f64,
    /// Steps of decode after the first token.
    pub steps: f64,
    /// The most prompt tokens of a step.
    pub chunk: f64,
    /// Coefficient of variation of the lengths.
    pub spread: f64,
}

impl RequestWork {
    /// Steps of a prompt.
    pub fn chunks(&self) -> f64 {
        (self.prompt / self.chunk).ceil().max(1.0)
    }

    /// Tokens of each of its chunks.
    pub fn chunk_tokens(&self) -> f64 {
        self.prompt / self.chunks()
    }

    /// The most requests per step.
    fn most_per_step(&self) -> f64 {
        self.chunk / self.prompt
    }

    /// The same with so many in decode at most.
    fn limit_per_step(&self, most: f64) -> f64 {
        if self.steps > 0.0 { self.most_per_step().min(most / self.steps) } else { self.most_per_step() }
    }
}

/// An engine in its steady state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SteadyState {
    /// Requests per second.
    pub request_rate: f64,
    /// Mean time to the first token, seconds.
    pub ttft_s: f64,
    /// Mean time of a step of decode as a sequence sees it, seconds.
    pub step_s: f64,
    /// Mean sequences in decode.
    pub decoding: f64,
}

/// Time of a step in seconds, from the sequences in decode and the prompt tokens beside them.
pub type StepTime<'a> = &'a dyn Fn(f64, f64) -> f64;

/// With `clients` that ask again as soon as they are answered.
pub fn closed(step: StepTime<'_>, work: &RequestWork, clients: f64) -> SteadyState {
    let (chunks, steps) = (work.chunks(), work.steps);
    let per_step = clients / (steps + chunks);
    if per_step > work.most_per_step() {
        return saturated(step, work, clients);
    }
    // Chunks that share steps do so evenly.
    let tokens = (per_step * work.prompt).max(work.chunk_tokens());
    let with_prompts = (per_step * work.prompt / tokens).min(1.0);
    let beside = (clients - (per_step * chunks).max(1.0)).max(0.0);
    let mixed = step(beside, tokens);
    let alone = if with_prompts < 1.0 { step(clients, 0.0) } else { mixed };
    let mean = with_prompts * mixed + (1.0 - with_prompts) * alone;
    // A client's own prompt is never beside its own decode.
    let seen = if steps > 0.0 { ((with_prompts * (steps + chunks) - chunks) / steps).clamp(0.0, 1.0) } else { 0.0 };
    SteadyState {
        request_rate: per_step / mean,
        ttft_s: chunks * mixed,
        step_s: seen * mixed + (1.0 - seen) * alone,
        decoding: per_step * steps,
    }
}

/// Every step has a full chunk, and clients wait for their turn.
fn saturated(step: StepTime<'_>, work: &RequestWork, clients: f64) -> SteadyState {
    let per_step = work.most_per_step();
    let decoding = per_step * work.steps;
    let time = step(decoding, work.chunk);
    let request_rate = per_step / time;
    SteadyState { request_rate, ttft_s: (clients - decoding) / request_rate, step_s: time, decoding }
}

/// With independent requests, `rate` of them per second, of which `most` are in decode at most; `None` if there are more
/// than the engine can do.
///
/// A step's sequences are Poisson-distributed, so that a sequence sees one more in its steps than there are on average.
pub fn open(step: StepTime<'_>, work: &RequestWork, rate: f64, most: f64) -> Option<SteadyState> {
    let missing = |state: &Uneven| state.per_step - rate * state.mean_s;
    let last = Uneven::new(step, work, work.limit_per_step(most));
    if missing(&last) <= 0.0 {
        return None;
    }
    // False position with halved weights (Illinois). A step takes longer with more in it, so that one root is enough.
    let first = Uneven::new(step, work, 0.0);
    let (mut low, mut high) = ((0.0, missing(&first)), (last.per_step, missing(&last)));
    let mut state = last;
    for _ in 0..MOST_ROUNDS {
        let at = (low.0 * high.1 - high.0 * low.1) / (high.1 - low.1);
        state = Uneven::new(step, work, at);
        let value = missing(&state);
        if value.abs() < 1e-4 * state.per_step {
            break;
        }
        if value < 0.0 {
            low = (at, value);
            high.1 /= 2.0;
        } else {
            high = (at, value);
            low.1 /= 2.0;
        }
    }
    Some(state.figures(step, work, rate))
}

/// Requests per second of an engine that is never out of work, with `most` in decode at most.
pub fn capacity(step: StepTime<'_>, work: &RequestWork, most: f64) -> f64 {
    let state = Uneven::new(step, work, work.limit_per_step(most));
    state.per_step / state.mean_s
}

/// Steps of an engine whose requests come independently of each other.
#[derive(Debug, Clone, Copy)]
struct Uneven {
    per_step: f64,
    decoding: f64,
    /// Share of the steps that have prompts, and the tokens of these.
    with_prompts: f64,
    tokens: f64,
    /// Mean time of such a step, of one without, and of all.
    mixed_s: f64,
    alone_s: f64,
    mean_s: f64,
}

impl Uneven {
    fn new(step: StepTime<'_>, work: &RequestWork, per_step: f64) -> Self {
        let chunks = work.chunks();
        let decoding = per_step * work.steps;
        // Prompts that fit into a step share it by chance; chunks of longer ones follow each other.
        let share = if chunks > 1.0 { per_step * chunks } else { 1.0 - (-per_step).exp() };
        let tokens =
            (per_step * work.prompt / share.clamp(f64::MIN_POSITIVE, 1.0)).max(work.chunk_tokens()).min(work.chunk);
        let with_prompts = (per_step * work.prompt / tokens).min(1.0);
        let (mixed_s, alone_s) = (step(decoding, tokens), step(decoding.max(1.0), 0.0));
        let mean_s = with_prompts * mixed_s + (1.0 - with_prompts) * alone_s;
        Self { per_step, decoding, with_prompts, tokens, mixed_s, alone_s, mean_s }
    }

    fn figures(&self, step: StepTime<'_>, work: &RequestWork, rate: f64) -> SteadyState {
        let chunks = work.chunks();
        // Its own prompt is in a step for certain, with those that share it.
        let shared = if chunks > 1.0 { 1.0 } else { 1.0 + self.per_step };
        let own_s = step(self.decoding, (work.chunk_tokens() * shared).min(work.chunk));
        // It waits for the prompts before it (Pollaczek and Khinchine), or for the step of decode that is under way.
        let of_prompts = self.with_prompts * chunks * self.mixed_s.powi(2) * (1.0 + work.spread.powi(2));
        let in_decode = 1.0 - (-self.decoding).exp();
        let of_decode = in_decode * (1.0 - self.with_prompts) * self.alone_s.powi(2);
        let mixed_per_s = rate * work.prompt / self.tokens;
        let used = (mixed_per_s * self.mixed_s).min(1.0 - 1e-9);
        let ttft_s = (of_prompts + of_decode) / (2.0 * self.mean_s) / (1.0 - used) + chunks * own_s;
        // Its decode has the steps of prompts that came behind its own, and of those that come meanwhile.
        let seen = |tokens: f64| step(self.decoding + 1.0, tokens);
        let (mixed_s, alone_s) = (seen(self.tokens), seen(0.0));
        let behind = (mixed_per_s * ttft_s - self.with_prompts).max(0.0) / work.steps.max(1.0);
        let (longer, meanwhile) = (mixed_s - alone_s, 1.0 - mixed_per_s * (mixed_s - alone_s));
        let step_s = ((alone_s + behind * longer) / meanwhile.max(1e-9)).min(mixed_s);
        SteadyState { request_rate: rate, ttft_s, step_s, decoding: self.decoding }
    }
}
