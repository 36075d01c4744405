//! The question that flags ask of the projection: model, chip, fabric, phase, workload and plan.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::error::Error;
use crate::cli::expert_load::ExpertLoadFlag;
use crate::cli::operators_flag::OperatorsFlag;
use crate::cli::parse::{self, flag_enum};
use crate::projection::catalogue::Subject;
use crate::projection::model_table::{DEFAULT_BASELINE, DEFAULT_CHIP, DEFAULT_CHIPS, DEFAULT_FABRIC, TABLE_PHASES};
use crate::projection::serving::Lengths;
use crate::projection::slowest::DeviceSpread;
use crate::projection::{ChipModel, ExpertExchange, Phase, PipelineSchedule, Request};
use crate::record::{self, Document, Record};
use crate::specs::grid::{EXCHANGES, GridValue, PIPELINES};
use crate::specs::{Chip, Fabric, Framework, Model, NumberType, Point, TrainingFramework};

/// What is done with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum PhaseFlag {
    /// Prompts in, first token out
    Prefill,
    /// A step that adds a token to each sequence
    Decode,
    /// Forward pass, backward pass and optimizer
    Training,
    /// Prefill and decode of the same requests under a load
    Serving,
}

impl PhaseFlag {
    /// The phase that is one step; serving is made of two.
    pub(in crate::cli) const fn step(self) -> Option<Phase> {
        match self {
            Self::Prefill => Some(Phase::Prefill),
            Self::Decode => Some(Phase::Decode),
            Self::Training => Some(Phase::Training),
            Self::Serving => None,
        }
    }
}

flag_enum! {
    /// Type of weights and matrix products.
    TypeFlag => NumberType { Nvfp4, Mxfp4, Int8, Fp8, Bf16, F16, F32 }
}

flag_enum! {
    /// Type of the KV cache.
    CacheTypeFlag => NumberType { Fp8, Int8, Bf16, F16 }
}

flag_enum! {
    /// How tokens reach the routed experts.
    ExchangeFlag => ExpertExchange { AllToAll, AllGather }
}

/// What `project` and `explain` ask.
#[derive(Debug, clap::Args)]
pub(super) struct QuestionArgs {
    /// A record of `supernode run`: its device becomes the chip `measured`. Of a fleet it is the middle device, and a step waits
    /// for the slowest
    #[arg(value_name = "RECORD.json", conflicts_with = "record_flag")]
    record: Option<PathBuf>,
    /// The same as a flag
    #[arg(long = "record", value_name = "RECORD.json")]
    record_flag: Option<PathBuf>,
    /// A model's name or the path of its config.json [default: three models]
    #[arg(long, value_name = "NAME|config.json")]
    pub(super) model: Option<String>,
    /// A chip's name, the path of its TOML file, or `measured` [default: measured with a record, else ascend-910c]
    #[arg(long, value_name = "NAME|FILE")]
    chip: Option<String>,
    /// A fabric's name or the path of its TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = DEFAULT_FABRIC)]
    pub(super) fabric: String,
    /// The fabric to compare with
    #[arg(long, value_name = "NAME|FILE", default_value = DEFAULT_BASELINE)]
    pub(super) baseline: String,
    /// Chips in use (packages, not dies)
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CHIPS, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chips: u32,
    /// What is done with the model [default: prefill, decode and training]
    #[arg(long, value_enum)]
    pub(super) phase: Option<PhaseFlag>,
    /// Type of weights and matrix products [default: int8, else fp8, else 16 bits for serving; 16 bits for training]
    ///
    /// A chip without units for nvfp4 or mxfp4 serves weights in them all the same: it widens them to 16 bits as it
    /// multiplies, and the answer says so.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    number_type: Option<TypeFlag>,
    /// Type of the KV cache in serving [default: the checkpoint's, 16 bits where it names none]
    ///
    /// vLLM: --kv-cache-dtype. SGLang: --kv-cache-dtype. TensorRT-LLM: dtype of kv_cache_config.
    #[arg(long, value_enum, value_name = "TYPE")]
    cache_type: Option<CacheTypeFlag>,
    /// Sequences or prompts per chip and step [default: searched]
    #[arg(long, value_name = "N", value_parser = parse::positive)]
    pub(super) batch_per_chip: Option<f64>,
    /// Tokens of a prompt
    #[arg(long, value_name = "TOKENS", default_value_t = 4096.0, value_parser = parse::tokens)]
    prompt_len: f64,
    /// Tokens in the KV cache in decode [default: the prompt and half of the output]
    #[arg(long, value_name = "TOKENS", value_parser = parse::tokens)]
    kv_len: Option<f64>,
    /// Tokens of an answer; half of them are in the KV cache on average
    #[arg(long, value_name = "TOKENS", default_value_t = 0.0, value_parser = parse::tokens_or_none)]
    output_len: f64,
    /// The longest acceptable time per output token in decode [default: 50 where any plan keeps it, else none]
    #[arg(long, value_name = "MS", value_parser = parse::positive)]
    tpot_limit_ms: Option<f64>,
    /// Tokens speculated per sequence and step in decode
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16))]
    mtp: u32,
    /// Chance that a speculated token is kept
    #[arg(long, value_name = "SHARE", default_value_t = 0.7, value_parser = parse::share)]
    mtp_acceptance: f64,
    /// Tensor-parallel degree of attention and dense layers [default: searched, as are pp, ep, dp and the batch]
    ///
    /// There are tp * cp * pp * dp chips. vLLM: --tensor-parallel-size. SGLang: --tp-size over --dp-size with
    /// --enable-dp-attention, else --tp-size. TensorRT-LLM: tensor_parallel_size, or 1 with enable_attention_dp.
    #[arg(long, value_name = "N")]
    tp: Option<u32>,
    /// Pipeline stages
    ///
    /// vLLM: --pipeline-parallel-size. SGLang: --pp-size. TensorRT-LLM: pipeline_parallel_size.
    #[arg(long, value_name = "N")]
    pp: Option<u32>,
    /// Chips that share the routed experts of a layer; groups of chips with --moe-tp
    ///
    /// vLLM: tp * dp with --enable-expert-parallel, else 1. SGLang: --ep-size. TensorRT-LLM: moe_expert_parallel_size.
    #[arg(long, value_name = "N")]
    ep: Option<u32>,
    /// Chips that split each routed expert; ep * moe-tp chips hold all experts of a layer once [default: 1; searched in
    /// serving]
    ///
    /// vLLM: tp * dp without --enable-expert-parallel, else 1. SGLang: --tp-size over --ep-size. TensorRT-LLM:
    /// moe_tensor_parallel_size.
    #[arg(long, value_name = "N")]
    moe_tp: Option<u32>,
    /// How tokens reach the routed experts: each copy sent to its expert, or all tokens gathered by all that share the experts
    /// [default: all-to-all; searched in serving]
    ///
    /// vLLM: --all2all-backend deepep_low_latency or its like, and allgather_reducescatter. SGLang: --moe-a2a-backend deepep
    /// or its like, and none. TensorRT-LLM: all-to-all with enable_attention_dp, else an all-reduce, which is all-gather here.
    #[arg(long, value_enum, value_name = "EXCHANGE")]
    moe_exchange: Option<ExchangeFlag>,
    /// Replicas of attention and dense layers
    ///
    /// Beside experts that the replicas share, this is attention data parallel. vLLM: --data-parallel-size. SGLang:
    /// --dp-size with --enable-dp-attention. TensorRT-LLM: tensor_parallel_size with enable_attention_dp.
    #[arg(long, value_name = "N")]
    dp: Option<u32>,
    /// Ranks that share a sequence (context parallel) [default: 1]
    ///
    /// vLLM: --prefill-context-parallel-size.
    #[arg(long, value_name = "N")]
    cp: Option<u32>,
    /// Decode: chips of a tensor-parallel group that share the tokens of a KV cache [default: 1; searched in serving]
    ///
    /// Without it, each of them holds the latent, or a KV head that others hold too, of all tokens. It divides --tp. vLLM:
    /// --decode-context-parallel-size. SGLang: --dcp-size. TensorRT-LLM: cp_config with cp_type HELIX.
    #[arg(long, value_name = "N")]
    dcp: Option<u32>,
    /// Micro-batches per step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    microbatches: Option<u32>,
    /// Tokens of a training sequence
    #[arg(long, value_name = "TOKENS", default_value_t = 4096.0, value_parser = parse::tokens)]
    sequence_len: f64,
    /// Tokens of a training step
    #[arg(long, value_name = "TOKENS", default_value_t = 4_194_304.0, value_parser = parse::tokens)]
    global_batch_tokens: f64,
    /// Training: sequences of a micro-batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    microbatch_sequences: u32,
    /// Training: stages of the pipeline that each chip holds in the interleaved schedule [default: up to 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    virtual_stages: Option<u32>,
    /// What a framework adds: vllm, sglang or trtllm in serving, prefill and decode; megatron or megatron-hybridep in training; the
    /// path of a TOML file, or none
    ///
    /// One that serves has a fixed time per step, per op of prompts and per request. The host of one that trains issues
    /// the ops of a layer and waits for the counts of tokens, copies of tokens are laid out for experts, and operands are cast to 8 bits.
    #[arg(long, value_name = "NAME|FILE", default_value = "none")]
    framework: String,
    /// Tokens of a prefill chunk [default: whole prompts]
    #[arg(long, value_name = "TOKENS", value_parser = parse::tokens)]
    chunk_tokens: Option<f64>,
    /// How tokens spread over the experts
    ///
    /// replicated   uneven, as in real traffic, with hot experts replicated
    /// uniform      every expert has the same share
    /// power:ALPHA  expert i has a share proportional to i^-ALPHA
    /// FILE         a JSON list of visits per expert, or a result document with a gating case over as many experts
    #[arg(long, value_name = "LOAD", default_value = "replicated", verbatim_doc_comment, value_parser = ExpertLoadFlag::parse)]
    expert_load: ExpertLoadFlag,
    /// Schedule of the training pipeline
    #[arg(long, value_name = "SCHEDULE", default_value = "interleaved", value_parser = pipeline_parser())]
    pipeline: PipelineSchedule,
    /// Training: replicas share weights and gradients too, and gather them layer by layer (ZeRO stage 3, FSDP)
    #[arg(long)]
    shard_weights: bool,
    /// Training: hide no communication behind compute
    #[arg(long)]
    no_overlap: bool,
    /// Memory per chip, in GB (1e9 bytes), instead of the specified or assumed one
    #[arg(long, value_name = "GB", value_parser = parse::positive)]
    chip_memory_gb: Option<f64>,
    /// Standard deviation of the times of devices, e.g. 3%: a step waits for the slowest of its ranks [default: the measured one
    /// with a fleet of three devices or more, else none]
    #[arg(long, value_name = "PERCENT", value_parser = parse::percent)]
    device_spread: Option<f64>,
    #[command(flatten)]
    operators: OperatorsFlag,
}

fn pipeline_parser() -> impl TypedValueParser<Value = PipelineSchedule> {
    PossibleValuesParser::new(PIPELINES).try_map(|name| PipelineSchedule::named(&name).ok_or("no such schedule"))
}

impl QuestionArgs {
    /// The fabric, and the one that it is compared with.
    ///
    /// # Errors
    /// [`Error::Input`] for one that cannot be read.
    pub(super) fn fabrics(&self) -> Result<(Fabric, Fabric), Error> {
        Ok((Fabric::load(&self.fabric)?, Fabric::load(&self.baseline)?))
    }

    /// The question that the flags ask about one model and phase.
    ///
    /// # Errors
    /// [`Error::Input`] for an expert load that is not of this model.
    pub(super) fn request(
        &self,
        model: Model,
        chip: ChipModel,
        fabric: Fabric,
        phase: Phase,
    ) -> Result<Request, Error> {
        let expert_load = self.expert_load.of(&model)?;
        let is_dense = model.moe.is_none();
        let framework = self.training_framework()?;
        let subject = Subject { model, chip, fabric, expert_load, framework };
        let mut request = subject.request(phase, &self.point(), self.chips);
        request.workload.overlap = !self.no_overlap;
        request.workload.sharded_weights = self.shard_weights;
        // A dense model in a table of several has no experts to share.
        if self.model.is_none() && is_dense {
            (request.pins.ep, request.pins.moe_tp, request.pins.moe_exchange) = (None, None, None);
        }
        // Nor has another phase in a table a cache to share.
        if self.phase.is_none() && phase != Phase::Decode {
            request.pins.dcp = None;
        }
        Ok(request)
    }

    /// What trains; `None` where the one phase that is asked for is another. A table of all phases has it in training.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown one, and for one that serves.
    fn training_framework(&self) -> Result<Option<TrainingFramework>, Error> {
        if self.serves() { Ok(None) } else { Ok(TrainingFramework::chosen(Some(&self.framework))?) }
    }

    /// Whether the phase that is asked for is part of serving.
    const fn serves(&self) -> bool {
        matches!(self.phase, Some(PhaseFlag::Serving | PhaseFlag::Prefill | PhaseFlag::Decode))
    }

    /// Gives a chip what serves on it.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown one, and for one that trains.
    pub(super) fn serve_on(&self, chip: &mut ChipModel) -> Result<(), Error> {
        if self.serves() { serve_with(chip, &self.framework) } else { Ok(()) }
    }

    /// Gives a chip the spread of devices that the flags state.
    pub(super) fn spread_devices(&self, chip: &mut ChipModel) {
        if let Some(share) = self.device_spread {
            chip.spread = Some(DeviceSpread::stated(share));
        }
    }

    /// Lengths of the requests that are served.
    ///
    /// # Errors
    /// [`Error::Input`] without an answer of two tokens.
    pub(super) fn lengths(&self, cached: f64, spread: f64) -> Result<Lengths, Error> {
        if self.output_len < 2.0 {
            return Err(Error::Input(
                "serving needs the length of an answer: give --output-len of 2 or more".to_owned(),
            ));
        }
        Ok(Lengths { prompt: self.prompt_len, output: self.output_len, cached, spread })
    }

    /// The first degree of the plan that is given.
    pub(super) fn degree(&self) -> Option<&'static str> {
        let degrees = [(self.tp, "--tp"), (self.pp, "--pp"), (self.ep, "--ep"), (self.dp, "--dp")];
        degrees.into_iter().find_map(|(degree, flag)| degree.map(|_| flag))
    }

    /// The first flag of how experts are split beside attention that is given.
    pub(super) fn expert_degree(&self) -> Option<&'static str> {
        let moe_tp = self.moe_tp.map(|_| "--moe-tp");
        moe_tp.or(self.moe_exchange.map(|_| "--moe-exchange"))
    }

    /// The phases that are asked for, each of which is one step; all three if none is named. Serving has none.
    pub(super) fn step_phases(&self) -> Vec<Phase> {
        match self.phase.map(PhaseFlag::step) {
            Some(phase) => phase.into_iter().collect(),
            None => TABLE_PHASES.to_vec(),
        }
    }

    /// The flags as the point of a grid that asks the same; what is left out of the plan is searched.
    fn point(&self) -> Point {
        let number_type = self.number_type.map(|flag| NumberType::from(flag).name().to_owned());
        let cache_type = self.cache_type.map(|flag| NumberType::from(flag).name().to_owned());
        let pipeline = PIPELINES.iter().find(|name| PipelineSchedule::named(name) == Some(self.pipeline));
        let named = |exchange: &&&str| ExpertExchange::named(exchange) == self.moe_exchange.map(ExpertExchange::from);
        let exchange = EXCHANGES.iter().find(named).map(|name| (*name).to_owned());
        let texts = [
            ("type", number_type),
            ("cache_type", cache_type),
            ("workload.pipeline", pipeline.map(|name| (*name).to_owned())),
            ("plan.moe_exchange", exchange),
        ];
        let counts = [
            ("workload.mtp", Some(self.mtp)),
            ("plan.tp", self.tp),
            ("plan.pp", self.pp),
            ("plan.ep", self.ep),
            ("plan.moe_tp", self.moe_tp),
            ("plan.dp", self.dp),
            ("plan.cp", self.cp),
            ("plan.dcp", self.dcp),
            ("plan.microbatches", self.microbatches),
            ("workload.microbatch_sequences", Some(self.microbatch_sequences)),
            ("workload.virtual_stages", self.virtual_stages),
        ];
        let numbers = [
            ("workload.prompt_len", Some(self.prompt_len)),
            ("workload.kv_len", self.kv_len),
            ("workload.output_len", Some(self.output_len)),
            ("workload.tpot_limit_ms", self.tpot_limit_ms),
            ("workload.mtp_acceptance", Some(self.mtp_acceptance)),
            ("workload.sequence_len", Some(self.sequence_len)),
            ("workload.global_batch_tokens", Some(self.global_batch_tokens)),
            ("workload.chunk_tokens", self.chunk_tokens),
            ("plan.batch_per_chip", self.batch_per_chip),
        ];
        let texts = texts.into_iter().map(|(key, value)| (key, value.map(GridValue::Text)));
        let counts = counts.into_iter().map(|(key, value)| (key, value.map(|count| GridValue::Integer(count.into()))));
        let numbers = numbers.into_iter().map(|(key, value)| (key, value.map(GridValue::Number)));
        let all = texts.chain(counts).chain(numbers);
        Point(all.filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    }

    /// The chip that the flags name.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub(super) fn chip_model(&self) -> Result<ChipModel, Error> {
        let mut chip = self.bare_chip()?;
        self.serve_on(&mut chip)?;
        Ok(chip)
    }

    /// The same without what serves on it.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub(super) fn bare_chip(&self) -> Result<ChipModel, Error> {
        let record = self.record.as_deref().or(self.record_flag.as_deref());
        let name = self.chip.as_deref().unwrap_or(if record.is_some() { "measured" } else { DEFAULT_CHIP });
        let mut chip = match (name, record) {
            ("measured", Some(path)) => measured(path)?,
            ("measured", None) => {
                return Err(Error::Input(
                    "chip `measured` needs a record: give one, e.g. --record results/x.json".to_owned(),
                ));
            }
            // A record that plays no part would mislead.
            (other, Some(path)) => {
                return Err(Error::Input(format!(
                    "{} and --chip {other} exclude each other: leave one of them out",
                    path.display()
                )));
            }
            (other, None) => ChipModel::from_spec(&Chip::load(other)?),
        };
        if let Some(gb) = self.chip_memory_gb {
            chip.set_capacity(gb * 1e9);
        }
        if self.operators.is_given() && record.is_some() {
            return Err(Error::Input("a record and --operators exclude each other: leave one of them out".to_owned()));
        }
        self.operators.apply(&mut chip, name)?;
        self.spread_devices(&mut chip);
        Ok(chip)
    }
}

/// Gives a chip the framework of this name; `none` is no framework.
///
/// # Errors
/// [`Error::Input`] for an unknown one, and for one that trains.
pub(super) fn serve_with(chip: &mut ChipModel, framework: &str) -> Result<(), Error> {
    if framework != "none" {
        chip.set_serving_framework(&Framework::load(framework)?);
    }
    Ok(())
}

/// The device of a record as a chip.
///
/// # Errors
/// [`Error::Input`]: the record has too little.
pub(super) fn chip_of(record: &Record) -> Result<ChipModel, Error> {
    ChipModel::from_record(record).map_err(|reason| Error::Input(reason.to_string()))
}

/// The device of a record file as a chip, or the middle device of a fleet's with the spread of all.
///
/// # Errors
/// [`Error::Input`]: it cannot be read, or has too little.
pub(super) fn measured(path: &Path) -> Result<ChipModel, Error> {
    let chip = match record::load_document(path).map_err(|error| Error::Input(error.to_string()))? {
        Document::Device(record) => ChipModel::from_record(&record),
        Document::Fleet(fleet) => ChipModel::from_fleet(&fleet),
    };
    chip.map_err(|reason| Error::Input(format!("{}: {reason}", path.display())))
}
