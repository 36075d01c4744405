//! Grids of questions: from a point of a grid to a request, and its answer as one row.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use super::{
    ChipModel, ExpertLoad, Interval, Memory, Phase, Pins, Pipeline, Plan, Projection, Request, Terms, Workload, project,
};
use crate::specs::grid::{Grid, Point, SETS};
use crate::specs::{Chip, Fabric, Model, NumberType, Settings, SpecError};
use crate::units::Seconds;

/// The chip of a record, where a point names it.
pub const MEASURED: &str = "measured";

/// What the points of a grid name, loaded once.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    models: BTreeMap<String, Model>,
    chips: BTreeMap<String, ChipModel>,
    fabrics: BTreeMap<String, Fabric>,
    expert_loads: BTreeMap<String, ExpertLoad>,
}

/// Names that stand for keys a point leaves out.
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    /// Chip.
    pub chip: &'a str,
    /// Fabric.
    pub fabric: &'a str,
    /// Chips in use.
    pub chips: u32,
}

/// Why a grid cannot be asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SweepError {
    /// A file that a key names, or a key that is set in it.
    #[error("{file}: `{key}`: {error}")]
    Spec {
        /// The grid's file.
        file: String,
        /// Its key.
        key: String,
        /// What is wrong.
        error: Box<SpecError>,
    },
    /// Keys that do not go together.
    #[error("{file}: {reason}")]
    Keys {
        /// The grid's file.
        file: String,
        /// Which, and the remedy.
        reason: String,
    },
}

/// A point as the projection takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// On its fabric.
    pub request: Request,
    /// The same on the baseline, if the point names one.
    pub baseline: Option<Request>,
}

impl Catalogue {
    /// Loads all that the grid names, and tries each setting on each file it may meet, so that a slip shows before the
    /// first point is computed. `measured` is the chip of a record.
    ///
    /// # Errors
    /// [`SweepError`], one line.
    pub fn load(
        file: &str,
        grid: &Grid,
        defaults: Defaults<'_>,
        measured: Option<&ChipModel>,
    ) -> Result<Self, SweepError> {
        let mut all = Self::default();
        for axes in grid.parts() {
            let names = |key: &str, default: Option<&str>| -> Vec<String> {
                let axis = axes.iter().find(|axis| axis.key == key);
                let listed = axis.map(|axis| axis.values.iter().filter_map(|value| value.text()).map(str::to_owned));
                listed.map_or_else(|| default.into_iter().map(str::to_owned).collect(), Iterator::collect)
            };
            for key in ["model", "phase"] {
                if names(key, None).is_empty() {
                    let reason = format!("`{key}` is missing; give one or a list");
                    return Err(SweepError::Keys { file: file.to_owned(), reason });
                }
            }
            let fail = |key: &str| {
                let (file, key) = (file.to_owned(), key.to_owned());
                move |error| SweepError::Spec { file, key, error: Box::new(error) }
            };
            for name in names("model", None) {
                let model = Model::load(&name).map_err(fail("model"))?;
                all.models.insert(name, model);
            }
            let chips = names("chip", Some(defaults.chip));
            for name in &chips {
                let chip = match measured {
                    Some(chip) if name == MEASURED => chip.clone(),
                    None if name == MEASURED => {
                        let reason = "chip `measured` needs a record: give one with --record".to_owned();
                        return Err(SweepError::Keys { file: file.to_owned(), reason });
                    }
                    _ => ChipModel::from_spec(&Chip::load(name).map_err(fail("chip"))?),
                };
                all.chips.insert(name.clone(), chip);
            }
            let fabrics = names("fabric", Some(defaults.fabric));
            let baselines = names("baseline", None);
            for (key, name) in
                fabrics.iter().map(|name| ("fabric", name)).chain(baselines.iter().map(|name| ("baseline", name)))
            {
                let fabric = Fabric::load(name).map_err(fail(key))?;
                all.fabrics.insert(name.clone(), fabric);
            }
            for axis in axes {
                let Some((kind, path)) = axis.key.strip_prefix("set.").and_then(|rest| rest.split_once('.')) else {
                    continue;
                };
                for value in &axis.values {
                    let setting = [(path.to_owned(), value.clone())];
                    let try_on = |name: &String| match kind {
                        "chip" => Chip::load_with(name, &setting).map(drop),
                        _ => Fabric::load_with(name, &setting).map(drop),
                    };
                    let named = match kind {
                        "chip" => &chips,
                        "fabric" => &fabrics,
                        _ => &baselines,
                    };
                    if named.is_empty() {
                        let reason = format!("`{}` is set, but no baseline is named; add `baseline`", axis.key);
                        return Err(SweepError::Keys { file: file.to_owned(), reason });
                    }
                    if kind == "chip" && named.iter().any(|name| name == MEASURED) {
                        let reason =
                            format!("`{}`: a measured chip has no file to set keys in; leave it out", axis.key);
                        return Err(SweepError::Keys { file: file.to_owned(), reason });
                    }
                    named.iter().try_for_each(try_on).map_err(fail(&axis.key))?;
                }
            }
        }
        Ok(all)
    }

    /// Sets how tokens spread over the experts, model by model.
    ///
    /// # Errors
    /// The first of `of`.
    pub fn set_expert_load<E>(&mut self, of: impl Fn(&Model) -> Result<ExpertLoad, E>) -> Result<(), E> {
        for (name, model) in &self.models {
            self.expert_loads.insert(name.clone(), of(model)?);
        }
        Ok(())
    }

    /// The question of a point.
    ///
    /// # Errors
    /// One line: settings that only together make no valid chip or fabric.
    pub fn question(&self, point: &Point, defaults: Defaults<'_>) -> Result<Question, String> {
        let missing = |key: &str| format!("`{key}` is missing");
        let name = point.text("model").ok_or_else(|| missing("model"))?;
        let model = self.models.get(name).ok_or_else(|| missing("model"))?;
        let phase = point.text("phase").and_then(phase).ok_or_else(|| missing("phase"))?;
        let chip = self.chip(point.text("chip").unwrap_or(defaults.chip), &point.settings(SETS[0]))?;
        let fabric = self.fabric(point.text("fabric").unwrap_or(defaults.fabric), &point.settings(SETS[1]))?;
        let mut default = Workload::default();
        default.expert_load = self.expert_loads.get(name).copied().unwrap_or(default.expert_load);
        let request = Request {
            model: model.clone(),
            chip,
            fabric,
            chips: point.count("chips").unwrap_or(defaults.chips),
            phase,
            number_type: point.text("type").and_then(number_type),
            workload: workload(point, default),
            pins: pins(point, Pins::default()),
        };
        let baseline = match point.text("baseline") {
            Some(name) => {
                let fabric = self.fabric(name, &point.settings(SETS[2]))?;
                Some(Request { fabric, ..request.clone() })
            }
            None => None,
        };
        Ok(Question { request, baseline })
    }

    fn chip(&self, name: &str, settings: &Settings) -> Result<ChipModel, String> {
        if settings.is_empty() {
            return self.chips.get(name).cloned().ok_or_else(|| format!("chip `{name}` was not loaded"));
        }
        Chip::load_with(name, settings).map(|chip| ChipModel::from_spec(&chip)).map_err(|error| error.to_string())
    }

    fn fabric(&self, name: &str, settings: &Settings) -> Result<Fabric, String> {
        if settings.is_empty() {
            return self.fabrics.get(name).cloned().ok_or_else(|| format!("fabric `{name}` was not loaded"));
        }
        Fabric::load_with(name, settings).map_err(|error| error.to_string())
    }
}

/// The phase of this name.
pub fn phase(name: &str) -> Option<Phase> {
    match name {
        "prefill" => Some(Phase::Prefill),
        "decode" => Some(Phase::Decode),
        "training" => Some(Phase::Training),
        _ => None,
    }
}

/// The schedule of a training pipeline of this name, one of [`PIPELINES`](crate::specs::grid::PIPELINES).
pub fn pipeline(name: &str) -> Option<Pipeline> {
    match name {
        "1f1b" => Some(Pipeline::OneForwardOneBackward),
        "interleaved" => Some(Pipeline::Interleaved),
        "zero-bubble" => Some(Pipeline::ZeroBubble),
        _ => None,
    }
}

fn number_type(name: &str) -> Option<NumberType> {
    use NumberType::{Bf16, F16, F32, Fp8, Int8};
    [F32, F16, Bf16, Fp8, Int8].into_iter().find(|number_type| number_type.name() == name)
}

fn workload(point: &Point, default: Workload) -> Workload {
    let mut workload = default;
    let set = |place: &mut f64, key: &str| *place = point.number(key).unwrap_or(*place);
    set(&mut workload.prompt_len, "workload.prompt_len");
    set(&mut workload.mtp_acceptance, "workload.mtp_acceptance");
    set(&mut workload.sequence_len, "workload.sequence_len");
    set(&mut workload.global_batch_tokens, "workload.global_batch_tokens");
    set(&mut workload.chunk_tokens, "workload.chunk_tokens");
    workload.pipeline = point.text("workload.pipeline").and_then(pipeline).unwrap_or(workload.pipeline);
    let output_len = point.number("workload.output_len").unwrap_or(0.0);
    workload.kv_len = point.number("workload.kv_len").unwrap_or(workload.prompt_len + output_len / 2.0);
    workload.mtp_tokens = point.count("workload.mtp").unwrap_or(workload.mtp_tokens);
    if let Some(ms) = point.number("workload.tpot_limit_ms") {
        workload.tpot_limit_s = ms / 1e3;
        workload.tpot_limit_binds = true;
    }
    workload
}

fn pins(point: &Point, none: Pins) -> Pins {
    let mut pins = none;
    pins.tp = point.count("plan.tp");
    pins.pp = point.count("plan.pp");
    pins.ep = point.count("plan.ep");
    pins.dp = point.count("plan.dp");
    pins.cp = point.count("plan.cp");
    pins.microbatches = point.count("plan.microbatches");
    pins.batch_per_chip = point.number("plan.batch_per_chip");
    pins
}

/// The part of a projection that a sweep keeps: figures, plan and caveats, without the source of each input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Type of weights and matrix products.
    #[serde(rename = "type")]
    pub number_type: NumberType,
    /// Throughput of one chip.
    pub tokens_per_s_per_chip: Interval,
    /// Time of one step.
    pub step_s: Seconds,
    /// Decode: time per output token.
    pub tpot_s: Option<Seconds>,
    /// Prefill: time to the first token.
    pub ttft_s: Option<Seconds>,
    /// Model FLOP over peak FLOP of the step.
    pub mfu: f64,
    /// The split.
    pub plan: Plan,
    /// The step by its parts.
    pub terms_s: Terms,
    /// What binds.
    pub bound_by: String,
    /// Memory of one chip, bytes.
    pub memory_bytes_per_chip: Memory,
    /// What the reader must keep in mind.
    pub caveats: Vec<String>,
}

/// One line of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The point's number in the whole grid, from 0.
    pub index: u64,
    /// What was asked.
    pub point: Point,
    /// The answer; absent where there is no plan.
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// Why there is no plan.
    pub infeasible: Option<String>,
    /// The answer on the baseline, where one is named and has a plan.
    pub baseline: Option<Figures>,
    /// Why the baseline has no plan.
    pub baseline_infeasible: Option<String>,
    /// Tokens per second and chip over the baseline's, each at its own best plan.
    pub speedup: Option<f64>,
}

impl From<Projection> for Figures {
    fn from(projection: Projection) -> Self {
        Self {
            number_type: projection.number_type,
            tokens_per_s_per_chip: projection.tokens_per_s_per_chip,
            step_s: projection.step_s,
            tpot_s: projection.tpot_s,
            ttft_s: projection.ttft_s,
            mfu: projection.mfu,
            plan: projection.plan,
            terms_s: projection.terms_s,
            bound_by: projection.bound_by,
            memory_bytes_per_chip: projection.memory_bytes_per_chip,
            caveats: projection.caveats,
        }
    }
}

/// Answers the point of this number.
pub fn row(catalogue: &Catalogue, index: u64, point: Point, defaults: Defaults<'_>) -> Row {
    let (answer, baseline) = match catalogue.question(&point, defaults) {
        Ok(Question { request, baseline }) => (
            project(&request).map(Figures::from).map_err(|reason| reason.to_string()),
            baseline.map(|other| project(&other).map(Figures::from).map_err(|reason| reason.to_string())),
        ),
        Err(reason) => (Err(reason), None),
    };
    let (figures, infeasible) = split(answer);
    let (baseline, baseline_infeasible) = baseline.map_or((None, None), split);
    let rate = |figures: &Figures| figures.tokens_per_s_per_chip.median;
    let speedup = figures.as_ref().zip(baseline.as_ref()).map(|(on, other)| rate(on) / rate(other));
    Row { index, point, figures, infeasible, baseline, baseline_infeasible, speedup }
}

fn split<T, E>(result: Result<T, E>) -> (Option<T>, Option<E>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(reason) => (None, Some(reason)),
    }
}

/// The points of shard `number` of `count` (counted from 1): blocks in order, whose lengths differ by one at most, so
/// that the shards' files one after another are the file of the whole sweep.
pub fn shard(points: u64, number: u32, count: u32) -> Range<u64> {
    let count = u128::from(count.max(1));
    let cut = |number: u128| u64::try_from(u128::from(points) * number.min(count) / count).unwrap_or(points);
    let number = u128::from(number);
    cut(number.saturating_sub(1))..cut(number)
}

/// Throughput of a job on a machine of one size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScalePoint {
    /// Chips in use.
    pub chips: u32,
    /// Tokens of a training step.
    pub global_batch_tokens: f64,
    /// The answer; absent where there is no plan.
    pub figures: Option<Figures>,
    /// Why there is no plan.
    pub infeasible: Option<String>,
    /// Throughput of a chip over that at the smallest size, paired at the ends of the bands.
    pub efficiency: Option<Interval>,
}

/// The request at each number of chips; the global batch `grows` in proportion (weak scaling) or stays (strong scaling).
/// Efficiency is relative to the first number that has a plan.
pub fn scaling(request: &Request, chips: &[u32], grows: bool) -> Vec<ScalePoint> {
    use rayon::prelude::*;
    let first = chips.first().copied().unwrap_or(request.chips).max(1);
    let per_chip = request.workload.global_batch_tokens / f64::from(first);
    let mut points: Vec<ScalePoint> = chips
        .par_iter()
        .map(|&chips| {
            let batch = request.workload.global_batch_tokens;
            let global_batch_tokens = if grows { per_chip * f64::from(chips) } else { batch };
            let workload = Workload { global_batch_tokens, ..request.workload };
            let answer = project(&Request { chips, workload, ..request.clone() });
            let (figures, infeasible) = split(answer.map(Figures::from).map_err(|reason| reason.to_string()));
            ScalePoint { chips, global_batch_tokens, figures, infeasible, efficiency: None }
        })
        .collect();
    let base = points.iter().find_map(|point| point.figures.as_ref()).map(|figures| figures.tokens_per_s_per_chip);
    for point in &mut points {
        point.efficiency =
            base.and_then(|base| Some(paired_ratio(&point.figures.as_ref()?.tokens_per_s_per_chip, &base)));
    }
    points
}

/// A ratio of two rates with its band: what is uncertain about the chip is uncertain in both, so equal ends are paired.
pub fn paired_ratio(above: &Interval, below: &Interval) -> Interval {
    let (ends, median) = ([above.low / below.low, above.high / below.high], above.median / below.median);
    Interval { median, low: ends.into_iter().fold(median, f64::min), high: ends.into_iter().fold(median, f64::max) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_follow_each_other_without_gap() {
        assert_eq!(shard(10, 1, 3), 0..3);
        assert_eq!(shard(10, 2, 3), 3..6);
        assert_eq!(shard(10, 3, 3), 6..10);
        assert_eq!(shard(2, 1, 5), 0..0);
        assert_eq!(shard(u64::MAX, 7, 7).end, u64::MAX);
    }

    #[test]
    fn a_ratio_pairs_the_ends() {
        let interval = |low, median, high| Interval { low, median, high };
        let ratio = paired_ratio(&interval(8.0, 20.0, 33.0), &interval(4.0, 8.0, 11.0));
        assert_eq!((ratio.low, ratio.median, ratio.high), (2.0, 2.5, 3.0));
    }
}
