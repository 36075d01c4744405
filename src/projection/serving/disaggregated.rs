//! Prefill and decode on chips of their own, in closed form: workers for prompts, workers for answers, and the KV cache on
//! its way between them.
//!
//! An independent prompt waits for those before it (M/G/1 on each engine), is computed, and travels. Its first token counts
//! when its cache has arrived. Clients that ask again at once come evenly, and wait only where the workers are too few. Of
//! `n` clients, one meets the others alone: it sees `1 - 1/n` of the mean (Reiser and Lavenberg, Mean-Value Analysis, 1980).

use crate::projection::fabric::send;
use crate::projection::ops::sequence_bytes;
use crate::projection::parallel_plan::{ExpertWorker, ParallelPlan};
use crate::projection::serving::deployment::{Deployment, MeanTimes, ServingPoint, per_token, with_batch};
use crate::projection::serving::engine::Engine;
use crate::projection::serving::load::{Lengths, ServingLoad};
use crate::projection::serving::step_table::sequence_rows;
use crate::specs::LayerKind;
use crate::units::Bytes;

/// Halvings of an interval in which a rate or a number of sequences is sought.
const HALVINGS: usize = 40;

/// A worker that computes prompts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrefillWorker {
    /// Its plan.
    pub plan: ParallelPlan,
    /// Its engines.
    pub engines: f64,
    /// Seconds that a prompt takes alone.
    pub alone_s: f64,
    /// Seconds of an engine per prompt, where its steps are full.
    pub service_s: f64,
    /// Coefficient of variation of the prompts.
    spread: f64,
}

impl PrefillWorker {
    /// The worker of an engine's plan; `None` without memory for a prompt.
    pub fn new(engine: &Engine<'_>, lengths: &Lengths) -> Option<Self> {
        let (work, step) = (engine.work(lengths), engine.step_time(lengths));
        let enough = engine.most(lengths.prompt) >= 1.0;
        enough.then(|| Self {
            plan: *engine.plan,
            engines: engine.count(),
            alone_s: work.chunks() * step(0.0, work.chunk_tokens()),
            service_s: step(0.0, work.chunk) * work.prompt / work.chunk,
            spread: lengths.spread,
        })
    }

    /// Prompts per second and chip at most.
    pub fn most_per_chip(&self) -> f64 {
        self.engines / self.service_s / f64::from(self.plan.chips)
    }

    /// Seconds until a prompt is computed where each engine gets `rate` independent ones per second; `None` where they are
    /// too many.
    fn time(&self, rate: f64) -> Option<f64> {
        let used = rate * self.service_s;
        let uneven = (1.0 + self.spread * self.spread) / 2.0;
        (used < 1.0).then(|| self.alone_s + uneven * used / (1.0 - used) * self.service_s)
    }
}

/// A worker that computes answers.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeWorker {
    /// Its plan.
    pub plan: ParallelPlan,
    /// Its experts, where they lie on other chips.
    pub experts: Option<ExpertWorker>,
    /// Its chips, those of the experts too.
    pub chips: u32,
    /// Its engines.
    pub engines: f64,
    /// The most sequences of an engine.
    pub most: f64,
    /// Steps of an answer after its first token.
    pub steps: f64,
    /// Sequences and seconds of a step.
    times: Vec<(f64, f64)>,
}

impl DecodeWorker {
    /// The worker of an engine's plan; `None` without memory for a sequence.
    pub fn new(engine: &Engine<'_>, lengths: &Lengths) -> Option<Self> {
        Self::at_rows(engine, lengths, |most| sequence_rows(most).into_iter().skip(1).collect())
    }

    /// The same, known at few numbers of sequences alone.
    pub fn at_few(engine: &Engine<'_>, lengths: &Lengths) -> Option<Self> {
        Self::at_rows(engine, lengths, |most| [32, 8, 3, 1].map(|share| most.div_ceil(share)).to_vec())
    }

    fn at_rows(engine: &Engine<'_>, lengths: &Lengths, rows: impl Fn(usize) -> Vec<usize>) -> Option<Self> {
        let most = engine.most(lengths.reserved());
        if most < 1.0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most the sequences of an engine"
        )]
        let rows = rows(most as usize).into_iter().map(|row| row as f64);
        let times = rows.map(|row| (row, engine.step(row, lengths.in_decode(), None))).collect();
        let steps = engine.work(lengths).steps;
        let (plan, experts, chips) = (*engine.plan, engine.experts.copied(), engine.chips());
        Some(Self { plan, experts, chips, engines: engine.count(), most, steps, times })
    }

    /// Sequences of an engine, seconds of a step, and answers per second and chip, at each computed point.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let per_chip = self.engines / f64::from(self.chips) / self.steps.max(1.0);
        self.times.iter().map(move |(sequences, time)| (*sequences, *time, sequences / time * per_chip))
    }

    /// Seconds of a step.
    pub fn step_s(&self, sequences: f64) -> f64 {
        let at = self.times.partition_point(|(row, _)| *row < sequences);
        match (at.checked_sub(1).and_then(|before| self.times.get(before)), self.times.get(at)) {
            (Some((low, from)), Some((high, to))) => from + (sequences - low) / (high - low) * (to - from),
            (None, Some((_, time))) | (Some((_, time)), None) => *time,
            (None, None) => 0.0,
        }
    }

    /// Mean sequences of an engine and seconds of a step where each engine gets `rate` answers to compute per second, and
    /// a sequence meets a share of `met` of the mean; `None` where they are too many.
    fn at_rate(&self, rate: f64, met: f64) -> Option<(f64, f64)> {
        let needed = |mean: f64| rate * self.steps * self.step_s(1.0 + met * mean);
        let (mut low, mut high) = (0.0, self.most);
        if needed(high) > high {
            return None;
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if needed(middle) > middle { low = middle } else { high = middle }
        }
        Some((high, self.step_s(1.0 + met * high)))
    }
}

/// Workers of both kinds.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// Of prompts.
    pub prefill: &'a PrefillWorker,
    /// How many.
    pub prefill_workers: u32,
    /// Of answers.
    pub decode: &'a DecodeWorker,
    /// How many.
    pub decode_workers: u32,
    /// Seconds that the cache of a prompt travels.
    pub transfer_s: f64,
}

impl Pair<'_> {
    fn prefill_engines(&self) -> f64 {
        self.prefill.engines * f64::from(self.prefill_workers)
    }

    fn decode_engines(&self) -> f64 {
        self.decode.engines * f64::from(self.decode_workers)
    }

    /// Requests per second at most.
    pub fn capacity(&self) -> f64 {
        let DecodeWorker { most, steps, .. } = *self.decode;
        let answers = self.decode_engines() * most / (steps.max(1e-9) * self.decode.step_s(most));
        answers.min(self.prefill_engines() / self.prefill.service_s)
    }

    /// What it delivers under a load; `None` if that is too much.
    pub fn under(&self, engine: &Engine<'_>, load: ServingLoad, lengths: &Lengths) -> Option<ServingPoint> {
        let (rate, ttft_s, (decoding, step_s)) = match load {
            ServingLoad::RequestRate(rate) => {
                let prompt_s = self.prefill.time(rate / self.prefill_engines())?;
                (rate, prompt_s + self.transfer_s, self.decode.at_rate(rate / self.decode_engines(), 1.0)?)
            }
            ServingLoad::Concurrency(clients) => self.of_clients(clients)?,
        };
        let Self { prefill_workers, decode_workers, .. } = *self;
        let prefill = with_batch(&self.prefill.plan, self.prefill.engines);
        let decode = with_batch(&self.decode.plan, decoding * self.decode.engines);
        let deployment = match self.decode.experts {
            None => Deployment::Disaggregated { prefill_workers, prefill, decode_workers, decode },
            Some(experts) => {
                Deployment::AttentionFfn { prefill_workers, prefill, decode_workers, attention: decode, experts }
            }
        };
        let mean = MeanTimes { request_rate: rate, ttft_s, tpot_s: per_token(engine.request, lengths, step_s) };
        Some(ServingPoint::new(deployment, lengths, mean).later(engine.request.chip.request_s()))
    }

    /// Requests per second of clients that ask again as soon as they are answered, their time to the first token, and
    /// sequences and seconds of a step of decode (Little's law).
    fn of_clients(&self, clients: f64) -> Option<(f64, f64, (f64, f64))> {
        let met = 1.0 - 1.0 / clients;
        let alone_s = self.prefill.alone_s + self.transfer_s;
        let at = |rate: f64| self.decode.at_rate(rate / self.decode_engines(), met);
        let (mut low, mut high) = (0.0, self.capacity());
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            let inside =
                at(middle).map_or(f64::INFINITY, |(_, step_s)| middle * (alone_s + self.decode.steps * step_s));
            if inside < clients { low = middle } else { high = middle }
        }
        let decode = at(low)?;
        // Those for whom there is no place wait.
        let ttft_s = alone_s.max(clients / low - self.decode.steps * decode.1);
        (low > 0.0).then_some((low, ttft_s, decode))
    }
}

/// Seconds that the cache of a prompt travels from one worker to another, with the states of recurrences. The ranks of an
/// engine send side by side, each its share, of which as many arrive at once as the other engine has ranks.
pub fn transfer_s(prefill: &Engine<'_>, decode: &ParallelPlan, lengths: &Lengths) -> f64 {
    let (plan, machine, model) = (prefill.plan, &prefill.machines.decode, &prefill.request.model);
    let kept = |kind: &LayerKind| sequence_bytes(&kind.layer.mixer, lengths.prompt, [1.0, 1.0], &machine.widths);
    let bytes: f64 = model.kinds.iter().map(|kind| kind.count as f64 * kept(kind)).sum();
    let lanes = f64::from(plan.tp.min(decode.tp));
    let distance = f64::from(plan.chips) * machine.dies;
    send(&machine.links, distance, Bytes::new(bytes / lanes)).get()
}
