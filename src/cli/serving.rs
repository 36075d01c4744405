//! `supernode project --phase serving`: the flags of a load, and the answer.

use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::output::{print, to_json};
use crate::cli::parse;
use crate::cli::question::QuestionArgs;
use crate::files::{read_within, write_atomically};
use crate::projection::serving::load::DEFAULT_CHUNK_TOKENS;
use crate::projection::serving::picture::Picture;
use crate::projection::serving::trace::{self, TraceRequest};
use crate::projection::serving::{
    self, ApartPins, Lengths, ServiceLimits, ServingLoad, ServingMode, ServingRefusal, ServingRequest, WorkerPins,
};
use crate::projection::{Phase, Prices, Request, SystemPower};
use crate::report::terminal::serving as tables;
use crate::report::{CostQuestion, ServedRow};
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
    /// Which chips compute what [default: aggregated; with --search every mode, unless a degree is given]
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
    /// Workers that compute answers; in attention-ffn each has attention workers around its experts
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
    /// Attention-ffn: attention workers in a worker for answers, which take turns at its experts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    attention_workers: Option<u32>,
    /// Tensor-parallel degree of attention in it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    attention_tp: Option<u32>,
    /// Replicas of attention in each of its attention workers, which have tp * dp chips (dies, where packages have several)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    attention_dp: Option<u32>,
    /// Chips in it that share the experts and have no attention; groups of chips with --ffn-tp
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    ffn_ep: Option<u32>,
    /// Chips of such a group, which split each expert
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    ffn_tp: Option<u32>,
}

/// Which chips compute what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ModeFlag {
    /// All chips compute prompts and answers
    Aggregated,
    /// Workers for prompts, and workers for answers
    Disaggregated,
    /// The same with attention and experts of the latter on different chips; --microbatches are those of an attention worker
    AttentionFfn,
}

impl ModeFlag {
    /// The mode with nothing given of its workers.
    pub(super) fn searched(self) -> ServingMode {
        let (prefill, decode) = (WorkerPins::default(), WorkerPins::default());
        match self {
            Self::Aggregated => ServingMode::Aggregated,
            Self::Disaggregated => ServingMode::Disaggregated { prefill, decode },
            Self::AttentionFfn => ServingMode::AttentionFfn { prefill, decode: ApartPins::default() },
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
        let workers = self.prefill_flags().into_iter().chain(self.decode_flags()).chain(self.apart_flags());
        flags.into_iter().chain(workers).find_map(|(given, name)| given.then_some(name))
    }

    fn prefill_flags(&self) -> [(bool, &'static str); 4] {
        [
            (self.prefill_workers.is_some(), "--prefill-workers"),
            (self.prefill_tp.is_some(), "--prefill-tp"),
            (self.prefill_dp.is_some(), "--prefill-dp"),
            (self.prefill_ep.is_some(), "--prefill-ep"),
        ]
    }

    /// Flags of workers for answers; the first is of both kinds of them.
    fn decode_flags(&self) -> [(bool, &'static str); 4] {
        [
            (self.decode_workers.is_some(), "--decode-workers"),
            (self.decode_tp.is_some(), "--decode-tp"),
            (self.decode_dp.is_some(), "--decode-dp"),
            (self.decode_ep.is_some(), "--decode-ep"),
        ]
    }

    fn apart_flags(&self) -> [(bool, &'static str); 5] {
        [
            (self.attention_workers.is_some(), "--attention-workers"),
            (self.attention_tp.is_some(), "--attention-tp"),
            (self.attention_dp.is_some(), "--attention-dp"),
            (self.ffn_ep.is_some(), "--ffn-ep"),
            (self.ffn_tp.is_some(), "--ffn-tp"),
        ]
    }

    /// The mode, with what is given of its workers.
    fn mode(&self, question: &QuestionArgs, on: &mut Request, search: bool) -> Result<ServingMode, Error> {
        let pins = |workers, tp, dp, ep| WorkerPins { workers, tp, dp, ep };
        let prefill = pins(self.prefill_workers, self.prefill_tp, self.prefill_dp, self.prefill_ep);
        if self.mode != Some(ModeFlag::AttentionFfn) {
            refuse(
                first(&self.apart_flags()),
                "is of attention and experts on different chips: add --mode attention-ffn",
            )?;
        }
        match self.mode {
            None | Some(ModeFlag::Aggregated) => {
                let given = first(&self.prefill_flags()).or(first(&self.decode_flags()));
                refuse(given, "is of a worker: add --mode disaggregated")?;
                let is_open = self.mode.is_none() && search && question.degree().is_none();
                Ok(if is_open { ServingMode::Any } else { ServingMode::Aggregated })
            }
            Some(ModeFlag::Disaggregated) => {
                let degree = question.degree().map_or("", |flag| flag.trim_start_matches("--"));
                let why = format!(
                    "says nothing of two kinds of workers: give --prefill-{degree} and --decode-{degree}, which know tp, dp and ep"
                );
                refuse(question.degree(), &why)?;
                let decode = pins(self.decode_workers, self.decode_tp, self.decode_dp, self.decode_ep);
                Ok(ServingMode::Disaggregated { prefill, decode })
            }
            Some(ModeFlag::AttentionFfn) => {
                let decode = self.apart(question, on.pins.microbatches.take())?;
                Ok(ServingMode::AttentionFfn { prefill, decode })
            }
        }
    }

    /// What is given of attention and experts on different chips.
    fn apart(&self, question: &QuestionArgs, microbatches: Option<u32>) -> Result<ApartPins, Error> {
        let give = "give --attention-tp, --attention-dp, --ffn-ep and --ffn-tp";
        refuse(
            question.degree(),
            &format!("says nothing of three kinds of chips: {give}, and --prefill-tp and its like"),
        )?;
        refuse(first(&self.decode_flags()[1..]), &format!("is of workers with both attention and experts: {give}"))?;
        refuse(question.expert_degree(), "is of chips with both attention and experts: give --ffn-ep and --ffn-tp")?;
        Ok(ApartPins {
            workers: self.decode_workers,
            attention_workers: self.attention_workers,
            attention_tp: self.attention_tp,
            attention_dp: self.attention_dp,
            ffn_ep: self.ffn_ep,
            ffn_tp: self.ffn_tp,
            microbatches,
        })
    }

    /// The question that the flags ask.
    ///
    /// # Errors
    /// [`Error::Input`] for flags that do not go together, or a file that cannot be read.
    pub(super) fn request(&self, question: &QuestionArgs, search: bool) -> Result<ServingRequest, Error> {
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
            mode: self.mode(question, &mut on, search)?,
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

/// The first flag that is given.
fn first(flags: &[(bool, &'static str)]) -> Option<&'static str> {
    flags.iter().find_map(|(given, name)| given.then_some(*name))
}

/// Refuses a flag, if there is one.
fn refuse(flag: Option<&str>, why: &str) -> Result<(), Error> {
    flag.map_or(Ok(()), |flag| Err(Error::Input(format!("{flag} {why}"))))
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
    prices: Prices,
    json: bool,
) -> Result<(), Error> {
    let asked = args.request(question, search)?;
    let model = asked.on.model.name.clone();
    let refused = |reason: ServingRefusal| Error::Negative(format!("{model}: {reason}"));
    if search {
        let costs = CostQuestion { prices, power: SystemPower::of(&asked.on.chip, &asked.on.fabric) };
        let front = serving::front(&asked).map_err(refused)?;
        let beside = || to_json(&costs.beside(&front, |point| point.tokens_per_s_per_chip));
        return print(&if json { beside()? } else { tables::front(&asked, &front, &costs) });
    }
    let mut picture = Picture::default();
    let served = match trace {
        Some(_) => ServedRow::ask(asked, prices, &mut picture),
        None => ServedRow::ask(asked, prices, &mut ()),
    };
    let served = served.map_err(refused)?;
    if let Some(path) = trace {
        write_atomically(path, picture.chrome_trace().to_string().as_bytes())
            .map_err(|error| Error::Input(format!("{}: {error}", path.display())))?;
    }
    print(&if json { to_json(&served.json())? } else { tables::single(&served) })
}
