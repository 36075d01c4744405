//! `supernode project --phase serving`: the flags of a load, and the answer.

use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::output::{print, to_json};
use crate::cli::parse;
use crate::cli::question::QuestionArgs;
use crate::files::{read_within, write_atomically};
use crate::projection::Phase;
use crate::projection::serving::load::DEFAULT_CHUNK_TOKENS;
use crate::projection::serving::picture::Picture;
use crate::projection::serving::trace::{self, TraceRequest};
use crate::projection::serving::{
    self, Lengths, ServiceLimits, ServingLoad, ServingMode, ServingRefusal, ServingRequest, WorkerPins,
};
use crate::report::terminal::serving as tables;
use crate::specs::Model;

/// The most bytes of a trace.
const TRACE_BYTES: u64 = 4 << 30;

/// How a model is served: a load, and what users accept.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Serving (with --phase serving)")]
pub(super) struct ServingArgs {
    /// Clients at once over all chips, each of which asks again as soon as it is answered [default: searched]
    #[arg(long, value_name = "N", value_parser = parse::count, conflicts_with_all = ["request_rate", "requests"])]
    concurrency: Option<f64>,
    /// Requests per second over all chips, independent of each other
    #[arg(long, value_name = "R", value_parser = parse::positive, conflicts_with = "requests")]
    request_rate: Option<f64>,
    /// Requests as they were seen: Mooncake's JSON lines (timestamp in ms, `input_length`, `output_length`, `hash_ids`) or Azure's
    /// CSV (TIMESTAMP,ContextTokens,GeneratedTokens)
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// The longest acceptable time to the first token [default: none]
    #[arg(long, value_name = "MS", value_parser = parse::positive)]
    ttft_limit_ms: Option<f64>,
    /// How much prompts and answers vary: the coefficient of variation of log-normal lengths [default: 0, all the same]
    #[arg(long, value_name = "CV", value_parser = parse_spread, conflicts_with = "requests")]
    length_spread: Option<f64>,
    /// Share of each prompt that is in a prefix cache, or `trace`: the beginnings that the trace's prompts share
    #[arg(long, value_name = "SHARE|trace", value_parser = PrefixCache::parse)]
    prefix_cache: Option<PrefixCache>,
    /// Which chips compute what: all of them prompts and answers, or some of them one and some the other
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<ModeFlag>,
    /// Workers that compute prompts; what is left out of both kinds of workers is searched
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    prefill_workers: Option<u32>,
    /// Tensor-parallel degree of such a worker, which has tp * dp chips (dies, where packages have several)
    #[arg(long, value_name = "N")]
    prefill_tp: Option<u32>,
    /// Replicas of attention in it
    #[arg(long, value_name = "N")]
    prefill_dp: Option<u32>,
    /// Chips in it that share the experts of a layer
    #[arg(long, value_name = "N")]
    prefill_ep: Option<u32>,
    /// Workers that compute answers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    decode_workers: Option<u32>,
    /// Tensor-parallel degree of such a worker
    #[arg(long, value_name = "N")]
    decode_tp: Option<u32>,
    /// Replicas of attention in it
    #[arg(long, value_name = "N")]
    decode_dp: Option<u32>,
    /// Chips in it that share the experts of a layer
    #[arg(long, value_name = "N")]
    decode_ep: Option<u32>,
}

/// Which chips compute what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ModeFlag {
    /// All chips compute prompts and answers
    Aggregated,
    /// Workers for prompts, and workers for answers
    Disaggregated,
}

impl ModeFlag {
    /// The mode with nothing given of its workers.
    pub(super) fn searched(self) -> ServingMode {
        let (prefill, decode) = (WorkerPins::default(), WorkerPins::default());
        match self {
            Self::Aggregated => ServingMode::Aggregated,
            Self::Disaggregated => ServingMode::Disaggregated { prefill, decode },
        }
    }
}

/// What of a prompt is cached.
#[derive(Debug, Clone, Copy, PartialEq)]
enum PrefixCache {
    Share(f64),
    Trace,
}

impl PrefixCache {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "trace" { Ok(Self::Trace) } else { parse::number(text, 0.0, 0.999).map(Self::Share) }
    }
}

impl ServingArgs {
    /// The first flag of serving that is given, for other phases, which have no use for one.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            (self.concurrency.is_some(), "--concurrency"),
            (self.request_rate.is_some(), "--request-rate"),
            (self.requests.is_some(), "--requests"),
            (self.ttft_limit_ms.is_some(), "--ttft-limit-ms"),
            (self.length_spread.is_some(), "--length-spread"),
            (self.prefix_cache.is_some(), "--prefix-cache"),
            (self.mode.is_some(), "--mode"),
        ];
        let flags = flags.into_iter().chain(self.worker_flags());
        flags.into_iter().find_map(|(given, name)| given.then_some(name))
    }

    fn worker_flags(&self) -> [(bool, &'static str); 8] {
        [
            (self.prefill_workers.is_some(), "--prefill-workers"),
            (self.prefill_tp.is_some(), "--prefill-tp"),
            (self.prefill_dp.is_some(), "--prefill-dp"),
            (self.prefill_ep.is_some(), "--prefill-ep"),
            (self.decode_workers.is_some(), "--decode-workers"),
            (self.decode_tp.is_some(), "--decode-tp"),
            (self.decode_dp.is_some(), "--decode-dp"),
            (self.decode_ep.is_some(), "--decode-ep"),
        ]
    }

    /// The mode, with what is given of its workers.
    fn mode(&self, question: &QuestionArgs) -> Result<ServingMode, Error> {
        if self.mode != Some(ModeFlag::Disaggregated) {
            return match self.worker_flags().into_iter().find(|(given, _)| *given) {
                Some((_, flag)) => Err(Error::Input(format!("{flag} is of a worker: add --mode disaggregated"))),
                None => Ok(ServingMode::Aggregated),
            };
        }
        if let Some(flag) = question.degree() {
            return Err(Error::Input(format!(
                "{flag} says nothing of two kinds of workers: give --prefill-{0} and --decode-{0}, which know tp, dp and ep",
                flag.trim_start_matches("--")
            )));
        }
        let workers = |workers, tp, dp, ep| WorkerPins { workers, tp, dp, ep };
        Ok(ServingMode::Disaggregated {
            prefill: workers(self.prefill_workers, self.prefill_tp, self.prefill_dp, self.prefill_ep),
            decode: workers(self.decode_workers, self.decode_tp, self.decode_dp, self.decode_ep),
        })
    }

    /// The question that the flags ask.
    ///
    /// # Errors
    /// [`Error::Input`] for flags that do not go together, or a file that cannot be read.
    pub(super) fn request(&self, question: &QuestionArgs) -> Result<ServingRequest, Error> {
        let Some(model) = &question.model else {
            return Err(Error::Input("serving is asked of one model: give --model".to_owned()));
        };
        let trace = self.trace()?;
        let cached = if let Some(PrefixCache::Share(share)) = self.prefix_cache { share } else { 0.0 };
        let caches_repeats = self.prefix_cache == Some(PrefixCache::Trace);
        if caches_repeats && trace.is_empty() {
            return Err(Error::Input("--prefix-cache trace needs a trace: give --requests FILE".to_owned()));
        }
        let lengths = if trace.is_empty() {
            question.lengths(cached, self.length_spread.unwrap_or(0.0))?
        } else {
            means(&trace, cached, caches_repeats)
        };
        let (fabric, _) = question.fabrics()?;
        let mut on = question.request(Model::load(model)?, question.chip_model()?, fabric, Phase::Decode)?;
        on.workload.kv_len = lengths.in_decode();
        let load = match (self.concurrency, self.request_rate, trace.last()) {
            (_, _, Some(last)) => Some(ServingLoad::RequestRate(trace.len() as f64 / last.arrival_s.max(1.0))),
            (Some(clients), ..) => Some(ServingLoad::Concurrency(clients)),
            (None, rate, None) => rate.map(ServingLoad::RequestRate),
        };
        let ttft_s = self.ttft_limit_ms.map_or(f64::INFINITY, |limit| limit / 1e3);
        Ok(ServingRequest {
            load,
            lengths,
            trace,
            caches_repeats,
            limits: ServiceLimits { ttft_s, tpot_s: on.workload.tpot_limit_s },
            limits_bind: on.workload.tpot_limit_binds || self.ttft_limit_ms.is_some(),
            chunk: if on.workload.chunk_tokens.is_finite() { on.workload.chunk_tokens } else { DEFAULT_CHUNK_TOKENS },
            mode: self.mode(question)?,
            on,
        })
    }

    fn trace(&self) -> Result<Vec<TraceRequest>, Error> {
        let Some(path) = &self.requests else { return Ok(Vec::new()) };
        let fail = |reason: String| Error::Input(format!("{}: {reason}", path.display()));
        let bytes = read_within(path, TRACE_BYTES).map_err(|error| fail(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| fail("not a text".to_owned()))?;
        trace::parse(&text).map_err(|error| fail(error.to_string()))
    }
}

/// A coefficient of variation.
fn parse_spread(text: &str) -> Result<f64, String> {
    parse::number(text, 0.0, 10.0)
}

/// Mean lengths of a trace, for the choice of a plan.
fn means(trace: &[TraceRequest], cached: f64, caches_repeats: bool) -> Lengths {
    let count = trace.len() as f64;
    let mean = |of: fn(&TraceRequest) -> f64| trace.iter().map(of).sum::<f64>() / count;
    let prompt = mean(|request| request.prompt);
    let cached = if caches_repeats { mean(|request| request.repeated) / prompt } else { cached };
    Lengths { prompt, output: mean(|request| request.output), cached, spread: 0.0 }
}

/// Answers a question about serving. The picture of its simulation goes into `trace`.
///
/// # Errors
/// [`Error::Input`] for what cannot be read or written; [`Error::Negative`] where no deployment answers.
pub(super) fn run(
    args: &ServingArgs,
    question: &QuestionArgs,
    search: bool,
    trace: Option<&Path>,
    json: bool,
) -> Result<(), Error> {
    let asked = args.request(question)?;
    let refused = |reason: ServingRefusal| Error::Negative(format!("{}: {reason}", asked.on.model.name));
    let text = if search {
        let front = serving::front(&asked).map_err(refused)?;
        if json { to_json(&front)? } else { tables::front(&asked, &front) }
    } else {
        let mut picture = Picture::default();
        let answer = match trace {
            Some(_) => serving::watched(&asked, &mut picture),
            None => serving::answer(&asked),
        };
        let answer = answer.map_err(refused)?;
        if let Some(path) = trace {
            write_atomically(path, picture.chrome_trace().to_string().as_bytes())
                .map_err(|error| Error::Input(format!("{}: {error}", path.display())))?;
        }
        if json { to_json(&answer)? } else { tables::single(&asked, &answer) }
    };
    print(&text)
}
