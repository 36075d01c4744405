//! What a row means: model, chips, fabric, type and plan.
//!
//! Rows are read as they are written, but for these:
//! - A cell that is empty or 0 is a degree of 1. Without a type, weights have 16 bits, or those of the model's name.
//! - Where attention has `k * k` ranks and experts `k` ranks `k` ways, one group of `k` was counted twice. The tables have
//!   the same measurement under both spellings.
//! - Where tensor parallelism does not divide the heads, attention is data-parallel over those ranks, and experts are
//!   shared by them.
//! - Where tp and dp both count the ranks of the experts, one group of them was counted twice.
//! - Rows without a version may name all of a deployment's chips as one degree.
//! - Of the benchmark that most rows are from, lengths are the longest ones, and KV caches have its servers' types.

use std::collections::BTreeMap;

#[cfg(feature = "parquet")]
use crate::operators::{OperatorFile, chip_of_system};
use crate::projection::chip::ChipModel;
#[cfg(feature = "parquet")]
use crate::projection::operator_source::{NoOperators, OperatorChoice, tables};
use crate::projection::parallel_plan::{ExpertExchange, ParallelPlan, Phase};
use crate::projection::plan::heads;
use crate::projection::request::Request;
use crate::projection::validation::silicon::reading::{
    DeploymentReading, DeploymentReadings, WorkerReading, mean_lengths,
};
use crate::projection::validation::silicon::row::{Degrees, Row, Sharing, Workers};
use crate::specs::{Chip, Fabric, Model, NumberType};

/// Models by the end of their path, in lower case.
const MODELS: [(&str, &str); 12] = [
    ("deepseek-r1", "deepseek-v3"),
    ("deepseek-v3.1", "deepseek-v3"),
    ("deepseek-v3.2", "deepseek-v3.2"),
    ("glm-5", "glm-5"),
    ("gpt-oss-120b", "gpt-oss-120b"),
    ("kimi-k2.5", "kimi-k2.5"),
    ("llama-3.1-70b", "llama-3.1-70b"),
    ("llama-3.1-8b", "llama-3.1-8b"),
    ("minimax-m2.5", "minimax-m2.5"),
    ("qwen3-235b-a22b", "qwen3-235b-a22b"),
    ("qwen3-32b", "qwen3-32b"),
    ("qwen3.5-397b-a17b", "qwen3.5-397b-a17b"),
];

/// Chip and fabric by system.
const SYSTEMS: [(&str, &str, &str); 6] = [
    ("h100_sxm", "h100", "hgx-400g"),
    ("h200_sxm", "h200", "hgx-400g"),
    ("b200_sxm", "b200", "hgx-400g"),
    ("b300_sxm", "b300", "hgx-800g"),
    ("gb200", "gb200", "nvl72"),
    ("gb300", "gb300", "nvl72-800g"),
];

/// Why a row has no answer, in words that hold for other rows too.
pub type Unexpressed = String;

/// Models, chips and fabrics, each read once.
#[derive(Debug)]
pub struct DeploymentFacts {
    models: BTreeMap<&'static str, Model>,
    systems: BTreeMap<&'static str, (ChipModel, Fabric)>,
    readings: DeploymentReadings,
    /// Chips with measured operators, the fastest of all frameworks at each shape, by system. Versions of the tables are newer
    /// than those of most deployments, and frameworks take kernels from each other.
    with_operators: BTreeMap<&'static str, ChipModel>,
}

/// A measured deployment in the model's terms.
#[derive(Debug, Clone)]
pub struct MeasuredDeployment {
    /// Model, chip, fabric and type of weights. The rest of it is of no meaning.
    pub request: Request,
    /// Those that prefill.
    pub prefill: Worker,
    /// Those that decode.
    pub decode: Worker,
    /// Whether the two are the same.
    pub sharing: Sharing,
    /// Mean tokens of a prompt.
    pub prompt_len: f64,
    /// Mean tokens of an answer.
    pub output_len: f64,
    /// Requests in flight.
    pub concurrency: f64,
    /// Speculated tokens per sequence and step.
    pub speculated: u32,
}

/// How a deployment's chips are split.
struct Split {
    prefill: Worker,
    decode: Worker,
    sharing: Sharing,
    speculated: u32,
}

/// Workers of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Worker {
    /// How many.
    pub count: f64,
    /// The plan of one. Its batch is of no meaning.
    pub plan: ParallelPlan,
}

impl DeploymentFacts {
    /// The built-in files that rows may name; those that do not exist yet are left out.
    pub fn new() -> Self {
        let models = MODELS.into_iter().filter_map(|(_, name)| Some((name, Model::load(name).ok()?))).collect();
        let systems = SYSTEMS.into_iter().filter_map(|(system, chip, fabric)| {
            Some((system, (ChipModel::from_spec(&Chip::load(chip).ok()?), Fabric::load(fabric).ok()?)))
        });
        Self {
            models,
            systems: systems.collect(),
            readings: DeploymentReadings::new(),
            with_operators: BTreeMap::new(),
        }
    }

    /// Takes measured operators for all systems and frameworks that the file has.
    ///
    /// # Errors
    /// [`NoOperators`]: a table of it is no good.
    #[cfg(feature = "parquet")]
    pub fn set_operators(&mut self, file: &OperatorFile) -> Result<(), NoOperators> {
        for (system, (chip, _)) in &self.systems {
            if !file.tables().iter().any(|table| table.system == *system) {
                continue;
            }
            let choice = OperatorChoice { system: Some(system), framework: "" };
            let name = chip_of_system(system).unwrap_or_default();
            let mut chip = chip.clone();
            chip.set_operators(tables(file, &chip, name, choice)?, None);
            self.with_operators.insert(system, chip);
        }
        Ok(())
    }

    /// Whether measured operators were given.
    pub(super) fn has_operators(&self) -> bool {
        !self.with_operators.is_empty()
    }

    /// The deployment of a row.
    ///
    /// # Errors
    /// [`Unexpressed`]: what of it the model cannot express.
    pub fn deployment(&self, row: &Row) -> Result<MeasuredDeployment, Unexpressed> {
        let model = self.model(&row.model)?;
        let (chip, fabric) =
            self.systems.get(&*row.system).ok_or_else(|| format!("the system {} is not known", row.system))?;
        let chip = self.with_operators.get(&*row.system).unwrap_or(chip);
        let mut request = Request::new(model.clone(), chip.clone(), fabric.clone(), 1, Phase::Decode);
        request.number_type = Some(number_type(row)?);
        request.cache_type = self.readings.cache_type(row);
        let Split { prefill, decode, sharing, speculated } = self.split(&request, row)?;
        let of_workers = row.decode.batch.map(|batch| batch * decode.count);
        let concurrency = row.concurrency.or(of_workers);
        let (prompt_len, output_len) = mean_lengths(row);
        Ok(MeasuredDeployment {
            request,
            prefill,
            decode,
            sharing,
            prompt_len,
            output_len,
            speculated,
            concurrency: concurrency.ok_or_else(|| "neither concurrency nor batch is given".to_owned())?,
        })
    }

    /// The workers of a row: those of a published deployment whose chips it names as one degree, or those of its degrees.
    fn split(&self, request: &Request, row: &Row) -> Result<Split, Unexpressed> {
        if let Some(whole) = self.readings.whole(row) {
            let of = |reading: WorkerReading| {
                worker(request, Some(reading.workers), of_ranks(reading.ranks, reading.replicas))
            };
            let (prefill, decode) = (of(whole.prefill)?, of(whole.decode)?);
            return Ok(Split { prefill, decode, sharing: Sharing::Disaggregated, speculated: whole.speculated });
        }
        let (degrees, reading) = self.published(request, row);
        let count = |read: fn(&DeploymentReading) -> f64, written: &Workers| {
            reading.as_ref().map(read).or(written.count.map(f64::from))
        };
        let (prompts, steps) =
            (count(|one| one.prefill_workers, &row.prefill), count(|one| one.decode_workers, &row.decode));
        let prefill = worker(request, prompts, counted_once(request, row.prefill.degrees))?;
        let decode = worker(request, steps, degrees)?;
        let by_version = || self.readings.speculated(row, decode.plan.dp > 1);
        let speculated = reading.map_or_else(by_version, |reading| reading.speculated);
        Ok(Split { prefill, decode, sharing: row.sharing, speculated })
    }

    /// The degrees of a decoding worker, and the published configuration where the row leaves out how many there are.
    fn published(&self, request: &Request, row: &Row) -> (Degrees, Option<DeploymentReading>) {
        let written = [counted_once(request, row.decode.degrees), row.decode.degrees];
        let readings = written.into_iter().filter_map(|degrees| Some((degrees, self.readings.of(row, degrees)?)));
        let nearest = readings.filter(|_| row.decode.count.is_none()).min_by(|(_, a), (_, b)| a.1.total_cmp(&b.1));
        let (degrees, reading) = nearest.map_or((written[0], None), |(degrees, (reading, _))| (degrees, Some(reading)));
        let replicas = reading.is_some_and(|reading| reading.replicas);
        let degrees = if replicas { Degrees { pp: degrees.pp, ..of_ranks(degrees.ranks(), true) } } else { degrees };
        (degrees, reading)
    }

    fn model(&self, path: &str) -> Result<&Model, Unexpressed> {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let known = MODELS.into_iter().filter(|(prefix, _)| is_named(&name, prefix));
        let model = known.max_by_key(|(prefix, _)| prefix.len()).and_then(|(_, model)| self.models.get(model));
        model.ok_or_else(|| format!("the model {path} is not built in"))
    }
}

impl Default for DeploymentFacts {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a model's name is this one, with a suffix such as `-fp8` or not.
fn is_named(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The type of a row's weights: that of the experts or products, else that of the precision, else that of the name.
fn number_type(row: &Row) -> Result<NumberType, Unexpressed> {
    let name = row.model.to_ascii_lowercase();
    let written = [&row.expert_type, &row.product_type, &row.precision].into_iter().find(|text| !text.is_empty());
    let written = written.map_or("", |text| &**text);
    Ok(match written {
        // gpt-oss is given out in MXFP4 alone; the tables call all types of four bits alike.
        "nvfp4" | "fp4" | "w4a16_mxfp4" | "mxfp4" if name.contains("gpt-oss") => NumberType::Mxfp4,
        "nvfp4" | "fp4" => NumberType::Nvfp4,
        // Four bits and a scale per group, widened as they are multiplied: the traffic of NVFP4's weights.
        "int4_wo" | "int4" => NumberType::Nvfp4,
        "w4a16_mxfp4" | "mxfp4" => NumberType::Mxfp4,
        "fp8" | "fp8_block" | "fp8_static" => NumberType::Fp8,
        "" if name.contains("fp8") => NumberType::Fp8,
        "" if name.contains("fp4") => NumberType::Nvfp4,
        "" | "bf16" | "float16" | "fp16" => NumberType::Bf16,
        other => return Err(format!("weights of type {other} are not known")),
    })
}

/// The degrees of a worker whose experts are on all of its ranks.
const fn of_ranks(ranks: u32, replicas: bool) -> Degrees {
    let (tp, dp) = if replicas { (1, ranks) } else { (ranks, 1) };
    Degrees { tp, pp: 1, dp, moe_tp: 1, moe_ep: ranks }
}

fn worker(request: &Request, workers: Option<f64>, degrees: Degrees) -> Result<Worker, Unexpressed> {
    let Degrees { tp, pp, dp, moe_tp, moe_ep } = degrees;
    let chips = u64::from(tp) * u64::from(pp) * u64::from(dp);
    let chips = u32::try_from(chips).ok().filter(|chips| u64::from(*chips) <= request.fabric.max_chips());
    let chips = chips.ok_or_else(|| "more chips than the fabric joins".to_owned())?;
    let most = heads(request);
    if !most.is_multiple_of(u64::from(tp)) {
        return Err(format!("tensor parallelism of {tp} does not divide the {most} heads"));
    }
    if u64::from(pp) > request.model.layers {
        return Err("more pipeline stages than layers".to_owned());
    }
    // Replicas send their tokens to the experts; neighbours in tensor parallelism hold them already.
    let moe_exchange =
        if request.model.moe.is_some() && dp == 1 { ExpertExchange::AllGather } else { ExpertExchange::AllToAll };
    let plan = ParallelPlan {
        chips,
        tp,
        pp,
        ep: moe_ep,
        moe_tp,
        moe_exchange,
        dp,
        cp: 1,
        dcp: 1,
        microbatches: pp,
        batch_per_chip: 1.0,
    };
    Ok(Worker { count: workers.unwrap_or(1.0), plan })
}

/// The degrees with each rank counted once: experts are on the ranks of a stage.
fn counted_once(request: &Request, written: Degrees) -> Degrees {
    let Degrees { tp, dp, moe_tp, moe_ep, .. } = written;
    let whole = Degrees { moe_tp: 1, moe_ep: 1, ..written };
    if request.model.moe.is_none() {
        return whole;
    }
    let ranks = tp.saturating_mul(dp);
    let experts = moe_tp.saturating_mul(moe_ep);
    if experts == ranks && moe_tp == moe_ep && moe_tp > 1 && (tp == 1 || dp == 1) {
        let count = |degree: u32| if degree == 1 { 1 } else { moe_ep };
        return Degrees { tp: count(tp), dp: count(dp), moe_tp: 1, moe_ep, ..written };
    }
    if tp == dp && tp > 1 && experts == ranks {
        return Degrees { tp: 1, dp, moe_tp: 1, moe_ep: dp, ..written };
    }
    if !heads(request).is_multiple_of(u64::from(tp)) {
        return Degrees { tp: 1, dp: ranks, moe_tp: 1, moe_ep: ranks, ..written };
    }
    if experts == ranks { written } else { Degrees { moe_tp: ranks, moe_ep: 1, ..written } }
}
