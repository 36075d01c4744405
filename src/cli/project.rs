//! `supernode project`: what a chip would deliver on a fabric.

pub(super) mod show;

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::expert_load::ExpertLoadFlag;
use super::{Error, print};
use crate::projection::fabric::exchange::ExchangeError;
use crate::projection::fabric::faults::FabricFault;
use crate::projection::on_network::{self, NetworkAnswer, OnNetworkError};
use crate::projection::{self, ChipModel, Comparison, Phase, Pins, PipelineSchedule, Request, Workload};
use crate::record::{self, Record};
use crate::report::ProjectionPair;
use crate::specs::grid::PIPELINES;
use crate::specs::{Chip, Fabric, Model, NumberType};

const DEFAULT_FABRIC: &str = "cloudmatrix384";
const DEFAULT_BASELINE: &str = "roce-cluster";
const DEFAULT_CHIPS: u32 = 384;
const TABLE_MODELS: [&str; 3] = ["llama-3.1-405b", "qwen3-235b-a22b", "deepseek-v3"];
const TABLE_PHASES: [Phase; 3] = [Phase::Prefill, Phase::Decode, Phase::Training];

/// Project tokens per second and chip of a model on a fabric, with the parts of the step and what binds it.
///
/// Without --model and --phase: three models in three phases. What is left out of the plan is searched.
#[derive(Debug, Args)]
pub(super) struct ProjectArgs {
    /// A record of `supernode run`: its device becomes the chip `measured`
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
    /// What is done with the model [default: all three]
    #[arg(long, value_enum)]
    pub(super) phase: Option<PhaseName>,
    /// Type of weights and matrix products [default: int8, else fp8, else 16 bits for serving; 16 bits for training]
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    number_type: Option<TypeName>,
    /// Sequences or prompts a chip and step [default: searched]
    #[arg(long, value_name = "N", value_parser = positive)]
    batch_per_chip: Option<f64>,
    /// Tokens of a prompt
    #[arg(long, value_name = "TOKENS", default_value_t = 4096.0, value_parser = tokens)]
    prompt_len: f64,
    /// Tokens in the KV cache in decode [default: the prompt and half of the output]
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    kv_len: Option<f64>,
    /// Tokens of an answer; half of them are in the KV cache on average
    #[arg(long, value_name = "TOKENS", default_value_t = 0.0, value_parser = tokens_or_none)]
    output_len: f64,
    /// The longest acceptable time per output token in decode [default: 50 where any plan keeps it, else none]
    #[arg(long, value_name = "MS", value_parser = positive)]
    tpot_limit_ms: Option<f64>,
    /// Tokens speculated a sequence and step in decode
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16))]
    mtp: u32,
    /// Chance that a speculated token is kept
    #[arg(long, value_name = "SHARE", default_value_t = 0.7, value_parser = share)]
    mtp_acceptance: f64,
    /// Tensor-parallel degree [default: searched, as are the next four]
    #[arg(long, value_name = "N")]
    tp: Option<u32>,
    /// Pipeline stages
    #[arg(long, value_name = "N")]
    pp: Option<u32>,
    /// Chips that share the routed experts of a layer
    #[arg(long, value_name = "N")]
    ep: Option<u32>,
    /// Replicas of attention and dense layers
    #[arg(long, value_name = "N")]
    dp: Option<u32>,
    /// Ranks that share a sequence (context parallel) [default: 1]
    #[arg(long, value_name = "N")]
    cp: Option<u32>,
    /// Micro-batches a step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    microbatches: Option<u32>,
    /// Tokens of a training sequence
    #[arg(long, value_name = "TOKENS", default_value_t = 4096.0, value_parser = tokens)]
    sequence_len: f64,
    /// Tokens of a training step
    #[arg(long, value_name = "TOKENS", default_value_t = 4_194_304.0, value_parser = tokens)]
    global_batch_tokens: f64,
    /// Tokens of a prefill chunk [default: whole prompts]
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    chunk_tokens: Option<f64>,
    /// How tokens spread over the experts: `replicated` (real traffic after replication of hot experts), `uniform` (perfect
    /// balance), `power:ALPHA` (expert i gets a share of i^-ALPHA), a JSON file with a list of visits by expert, or a result
    /// document, whose gating case over as many experts as the model has is taken
    #[arg(long, value_name = "LOAD", default_value = "replicated", value_parser = ExpertLoadFlag::parse)]
    expert_load: ExpertLoadFlag,
    /// Schedule of the training pipeline
    #[arg(long, value_name = "SCHEDULE", default_value = "interleaved", value_parser = pipeline_parser())]
    pipeline: PipelineSchedule,
    /// Training: hide no communication behind compute
    #[arg(long)]
    no_overlap: bool,
    /// List the plans that no other beats in both latency and throughput, instead of the best under the limit
    #[arg(long, requires_all = ["model", "phase"])]
    search: bool,
    /// Write the schedule of a few layers as a trace for Perfetto or chrome://tracing
    #[arg(long, value_name = "OUT.json", requires_all = ["model", "phase"], conflicts_with = "search")]
    trace: Option<PathBuf>,
    /// Evaluate the plan once more with dispatch and combine over the network's ports and links instead of closed forms
    #[arg(long, requires_all = ["model", "phase"], conflicts_with = "search")]
    flows: bool,
    /// Something broken or slow in the fabric, e.g. plane=3, switch=0.6, link=12.3@0.5 (may be repeated; implies --flows):
    /// the plan stays, its dispatch and combine find other ways
    #[arg(long, value_name = "FAULT", requires_all = ["model", "phase"], conflicts_with = "search")]
    fault: Vec<FabricFault>,
    /// Memory of a chip, in GB (1e9 bytes), instead of the specified or assumed one
    #[arg(long, value_name = "GB", value_parser = positive)]
    chip_memory_gb: Option<f64>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum PhaseName {
    Prefill,
    Decode,
    Training,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TypeName {
    Int8,
    Fp8,
    Bf16,
    F16,
    F32,
}

impl From<PhaseName> for Phase {
    fn from(name: PhaseName) -> Self {
        match name {
            PhaseName::Prefill => Self::Prefill,
            PhaseName::Decode => Self::Decode,
            PhaseName::Training => Self::Training,
        }
    }
}

impl From<TypeName> for NumberType {
    fn from(name: TypeName) -> Self {
        match name {
            TypeName::Int8 => Self::Int8,
            TypeName::Fp8 => Self::Fp8,
            TypeName::Bf16 => Self::Bf16,
            TypeName::F16 => Self::F16,
            TypeName::F32 => Self::F32,
        }
    }
}

pub(super) fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    // A NaN is in no range.
    if (least..=most).contains(&value) { Ok(value) } else { Err(format!("give a number from {least} to {most}")) }
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, 1e-3, 1e9)
}

fn tokens(text: &str) -> Result<f64, String> {
    number(text, 1.0, 1e12)
}

fn tokens_or_none(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1e12)
}

fn pipeline_parser() -> impl TypedValueParser<Value = PipelineSchedule> {
    PossibleValuesParser::new(PIPELINES).try_map(|name| PipelineSchedule::named(&name).ok_or("no such schedule"))
}

fn share(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1.0)
}

/// Runs `supernode project`.
///
/// # Errors
/// [`Error::Input`] for what cannot be read or does not go together; [`Error::Negative`] if the one plan that was asked
/// for does not exist.
pub(super) fn run(args: &ProjectArgs) -> Result<(), Error> {
    let chip = chip_model(args)?;
    let fabric = Fabric::load(&args.fabric).map_err(input)?;
    let baseline = Fabric::load(&args.baseline).map_err(input)?;
    let models: Vec<Model> = match &args.model {
        Some(model) => vec![Model::load(model).map_err(input)?],
        None => TABLE_MODELS.iter().map(|name| Model::load(name)).collect::<Result<_, _>>().map_err(input)?,
    };
    let phases = args.phase.map_or_else(|| TABLE_PHASES.to_vec(), |phase| vec![phase.into()]);
    let single = models.len() == 1 && phases.len() == 1;
    if let ([model], [phase]) = (models.as_slice(), phases.as_slice())
        && args.search
    {
        return search(&request(args, model.clone(), chip, fabric, *phase)?, args.json);
    }
    let mut rows = Vec::new();
    for model in &models {
        for phase in phases.iter().copied() {
            let request = request(args, model.clone(), chip.clone(), fabric.clone(), phase)?;
            let comparison = projection::compare(&request, &baseline);
            rows.push(show::Row { request, baseline: baseline.name.clone(), comparison });
        }
    }
    match rows.as_slice() {
        [row] if single => {
            if let Some(path) = &args.trace {
                write_trace(row, path)?;
            }
            let flows = (args.flows || !args.fault.is_empty()).then(|| by_flows(row, &args.fault)).transpose()?;
            print_single(row, flows.as_ref(), args.json)
        }
        rows => print_table(rows, args.json),
    }
}

/// All plans, and the front of latency against throughput.
fn search(request: &Request, json: bool) -> Result<(), Error> {
    let bar = indicatif::ProgressBar::new_spinner().with_message("plans");
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let found = projection::search(request, &|plans| bar.inc(plans as u64));
    bar.finish_and_clear();
    let found = found.map_err(|reason| Error::Negative(format!("{}: {reason}", request.model.name)))?;
    print(&if json { show::to_json(&found)? } else { show::front(request, &found) })
}

fn write_trace(row: &show::Row, path: &Path) -> Result<(), Error> {
    let on = row.comparison.on.as_ref().map_err(|reason| Error::Negative(format!("{}: {reason}", row.title())))?;
    let trace = projection::trace_of(&row.request, &on.plan).map_err(|reason| Error::Negative(reason.to_string()))?;
    record::write_atomically(path, show::to_json(&trace)?.as_bytes())
        .map_err(|error| Error::Input(format!("{}: {error}", path.display())))
}

/// The plan of a row by flows.
fn by_flows(row: &show::Row, faults: &[FabricFault]) -> Result<NetworkAnswer, Error> {
    let negative = |reason: String| Error::Negative(format!("{}: {reason}", row.title()));
    let on = row.comparison.on.as_ref().map_err(|reason| negative(reason.to_string()))?;
    on_network::evaluate(&row.request, &on.plan, faults).map_err(|error| match error {
        OnNetworkError::NoExchange { .. } => Error::Input(error.to_string()),
        // Numbers that the fabric does not have are a slip; ranks that are cut off are an answer.
        OnNetworkError::Exchange(ExchangeError::Network(_)) => Error::Input(format!("--fault: {error}")),
        other => negative(other.to_string()),
    })
}

fn print_single(row: &show::Row, flows: Option<&NetworkAnswer>, json: bool) -> Result<(), Error> {
    let Comparison { on, .. } = &row.comparison;
    let projection = on.as_ref().map_err(|reason| Error::Negative(format!("{}: {reason}", row.title())))?;
    let text = if json { show::to_json(&row.json_with(flows))? } else { show::single(row, projection, flows) };
    print(&text)
}

fn print_table(rows: &[show::Row], json: bool) -> Result<(), Error> {
    let list: Vec<_> = rows.iter().map(show::Row::json).collect();
    let text = if json { show::to_json(&list)? } else { show::table(rows) };
    print(&text)
}

/// Several models in all phases on a fabric, beside a baseline.
pub(super) struct Table {
    pub(super) models: Vec<Model>,
    pub(super) fabric: Fabric,
    pub(super) baseline: Fabric,
    pub(super) chips: u32,
}

impl Table {
    /// The models that are named, or three; the fabrics and the number of chips that are named, or the Supernode's.
    ///
    /// # Errors
    /// [`Error::Input`] for a name or file that cannot be read.
    pub(super) fn load(
        models: &[String],
        fabric: Option<&str>,
        baseline: Option<&str>,
        chips: Option<u32>,
    ) -> Result<Self, Error> {
        let named: Vec<&str> = models.iter().map(String::as_str).collect();
        let names = if named.is_empty() { TABLE_MODELS.to_vec() } else { named };
        Ok(Self {
            models: names.into_iter().map(Model::load).collect::<Result<_, _>>().map_err(input)?,
            fabric: Fabric::load(fabric.unwrap_or(DEFAULT_FABRIC)).map_err(input)?,
            baseline: Fabric::load(baseline.unwrap_or(DEFAULT_BASELINE)).map_err(input)?,
            chips: chips.unwrap_or(DEFAULT_CHIPS),
        })
    }

    /// What is asked of a chip about one model and phase.
    pub(super) fn request(&self, chip: &ChipModel, model: &Model, phase: Phase) -> Request {
        Request::new(model.clone(), chip.clone(), self.fabric.clone(), self.chips, phase)
    }

    /// What the chip would deliver.
    fn rows(&self, chip: &ChipModel) -> Vec<show::Row> {
        let questions = self.models.iter().flat_map(|model| TABLE_PHASES.map(|phase| self.request(chip, model, phase)));
        let row = |request: Request| {
            let comparison = projection::compare(&request, &self.baseline);
            show::Row { request, baseline: self.baseline.name.clone(), comparison }
        };
        questions.map(row).collect()
    }

    /// The feasible ones of what the chip would deliver, for the page.
    pub(super) fn pairs(&self, chip: &ChipModel) -> Vec<ProjectionPair> {
        let pair = |row: show::Row| {
            let on_baseline = row.comparison.baseline.ok();
            Some(ProjectionPair { on_fabric: row.comparison.on.ok()?, on_baseline })
        };
        self.rows(chip).into_iter().filter_map(pair).collect()
    }
}

/// What the device of a record would deliver, as a table.
#[cfg(feature = "gpu")]
pub(super) fn summary_of(record: &Record) -> Result<String, Error> {
    let table = Table::load(&[], None, None, None)?;
    Ok(show::table(&table.rows(&chip_of(record)?)))
}

/// The device of a record as a chip.
///
/// # Errors
/// [`Error::Input`]: the record has too little.
pub(super) fn chip_of(record: &Record) -> Result<ChipModel, Error> {
    ChipModel::from_record(record).map_err(|reason| Error::Input(reason.to_string()))
}

/// The question that the flags ask about one model and phase.
///
/// # Errors
/// [`Error::Input`] for an expert load that is not of this model.
pub(super) fn request(
    args: &ProjectArgs,
    model: Model,
    chip: ChipModel,
    fabric: Fabric,
    phase: Phase,
) -> Result<Request, Error> {
    let workload = Workload {
        prompt_len: args.prompt_len,
        kv_len: args.kv_len.unwrap_or(args.prompt_len + args.output_len / 2.0),
        tpot_limit_s: args.tpot_limit_ms.map_or(Workload::default().tpot_limit_s, |ms| ms / 1e3),
        tpot_limit_binds: args.tpot_limit_ms.is_some(),
        mtp_tokens: args.mtp,
        mtp_acceptance: args.mtp_acceptance,
        sequence_len: args.sequence_len,
        global_batch_tokens: args.global_batch_tokens,
        chunk_tokens: args.chunk_tokens.unwrap_or(f64::INFINITY),
        expert_load: args.expert_load.of(&model)?,
        skew: 1.0,
        pipeline: args.pipeline,
        overlap: !args.no_overlap,
    };
    let pins = Pins {
        tp: args.tp,
        pp: args.pp,
        // A dense model in a table of several has no experts to share.
        ep: if args.model.is_none() && model.moe.is_none() { None } else { args.ep },
        dp: args.dp,
        cp: args.cp,
        microbatches: args.microbatches,
        batch_per_chip: args.batch_per_chip,
    };
    Ok(Request {
        model,
        chip,
        fabric,
        chips: args.chips,
        phase,
        number_type: args.number_type.map(Into::into),
        workload,
        pins,
    })
}

/// The chip that the flags name.
///
/// # Errors
/// [`Error::Input`].
pub(super) fn chip_model(args: &ProjectArgs) -> Result<ChipModel, Error> {
    let record = args.record.as_deref().or(args.record_flag.as_deref());
    let name = args.chip.as_deref().unwrap_or(if record.is_some() { "measured" } else { "ascend-910c" });
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
        (other, None) => ChipModel::from_spec(&Chip::load(other).map_err(input)?),
    };
    if let Some(gb) = args.chip_memory_gb {
        chip.set_capacity(gb * 1e9);
    }
    Ok(chip)
}

pub(super) fn measured(path: &Path) -> Result<ChipModel, Error> {
    let record = record::load(path).map_err(|error| Error::Input(error.to_string()))?;
    ChipModel::from_record(&record).map_err(|reason| Error::Input(format!("{}: {reason}", path.display())))
}

pub(super) fn input(error: crate::specs::SpecError) -> Error {
    Error::Input(error.to_string())
}
