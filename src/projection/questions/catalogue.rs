//! From a point of a grid to a request.

use std::collections::BTreeMap;

use crate::projection::chip::ChipModel;
use crate::projection::expert_load::ExpertLoad;
use crate::projection::parallel_plan::{ExpertExchange, Phase};
use crate::projection::questions::serving_point;
use crate::projection::request::{Pins, PipelineSchedule, Request, Workload};
use crate::projection::serving::ServingRequest;
use crate::specs::grid::{Grid, GridAxis, GridValue, Point, SettingTarget};
use crate::specs::{Chip, Fabric, Model, NumberType, Settings, SpecError, TrainingFramework};

/// The chip of a record, where a point names it.
pub const MEASURED: &str = "measured";

/// What the points of a grid name, loaded once.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    models: BTreeMap<String, Model>,
    chips: BTreeMap<String, ChipModel>,
    fabrics: BTreeMap<String, Fabric>,
    expert_loads: BTreeMap<String, ExpertLoad>,
    frameworks: BTreeMap<String, TrainingFramework>,
}

/// Values of keys that a point leaves out.
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

/// A point about serving as the projection takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServingQuestion {
    /// On its fabric.
    pub asked: ServingRequest,
    /// The same on the baseline, if the point names one.
    pub baseline: Option<ServingRequest>,
}

/// What a point asks about, loaded already.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The model.
    pub model: Model,
    /// The chip.
    pub chip: ChipModel,
    /// The fabric.
    pub fabric: Fabric,
    /// How tokens spread over the model's experts.
    pub expert_load: ExpertLoad,
    /// What trains it; other phases do not read it.
    pub framework: Option<TrainingFramework>,
}

impl Subject {
    /// The question that a point asks about it: lengths, limits and plan are the point's, defaults where it has none.
    /// Names in the point play no part. `chips` is the number where the point has none.
    pub fn request(self, phase: Phase, point: &Point, chips: u32) -> Request {
        let Self { model, chip, fabric, expert_load, framework } = self;
        Request {
            model,
            chip,
            fabric,
            chips: point.count("chips").unwrap_or(chips),
            phase,
            number_type: point.text("type").and_then(NumberType::named),
            cache_type: point.text("cache_type").and_then(NumberType::named),
            workload: workload(point, Workload { expert_load, ..Workload::default() }),
            pins: pins(point),
            framework: framework.filter(|_| phase == Phase::Training),
        }
    }
}

/// One part of a grid, for loading.
#[derive(Clone, Copy)]
struct Part<'a> {
    file: &'a str,
    axes: &'a [GridAxis],
}

impl<'a> Part<'a> {
    /// The names that a key lists, or the default.
    fn names(self, key: &str, default: Option<&'a str>) -> Vec<&'a str> {
        match self.axes.iter().find(|axis| axis.key == key) {
            Some(axis) => axis.values.iter().filter_map(GridValue::text).collect(),
            None => default.into_iter().collect(),
        }
    }

    fn require(self, key: &str) -> Result<(), SweepError> {
        let missing = self.names(key, None).is_empty();
        if missing { Err(self.keys(format!("`{key}` is missing; give one or a list"))) } else { Ok(()) }
    }

    fn chip(self, name: &str, measured: Option<&ChipModel>) -> Result<ChipModel, SweepError> {
        if name != MEASURED {
            return Ok(ChipModel::from_spec(&Chip::load(name).map_err(self.fail("chip"))?));
        }
        let missing = || self.keys("chip `measured` needs a record: give one with --record".to_owned());
        measured.cloned().ok_or_else(missing)
    }

    /// Tries each value of an axis of settings on each of the named files.
    fn try_settings(
        self,
        axis: &GridAxis,
        target: SettingTarget,
        path: &str,
        names: &[&str],
    ) -> Result<(), SweepError> {
        let key = &axis.key;
        if names.is_empty() {
            return Err(self.keys(format!("`{key}` is set, but no baseline is named; add `baseline`")));
        }
        if target == SettingTarget::Chip && names.contains(&MEASURED) {
            return Err(self.keys(format!("`{key}`: a measured chip has no file to set keys in; leave it out")));
        }
        for value in &axis.values {
            let setting = [(path.to_owned(), value.clone())];
            for name in names {
                let tried = match target {
                    SettingTarget::Chip => Chip::load_with(name, &setting).map(drop),
                    SettingTarget::Fabric | SettingTarget::Baseline => Fabric::load_with(name, &setting).map(drop),
                };
                tried.map_err(self.fail(key))?;
            }
        }
        Ok(())
    }

    fn keys(self, reason: String) -> SweepError {
        SweepError::Keys { file: self.file.to_owned(), reason }
    }

    fn fail(self, key: &str) -> impl FnOnce(SpecError) -> SweepError {
        let (file, key) = (self.file.to_owned(), key.to_owned());
        move |error| SweepError::Spec { file, key, error: Box::new(error) }
    }
}

impl Catalogue {
    /// Loads all that the grid names, and tries each setting on each file that it may meet. So a slip shows before the
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
            let part = Part { file, axes };
            part.require("model")?;
            part.require("phase")?;
            serving_point::check(axes).map_err(|reason| part.keys(reason))?;
            for name in part.names("model", None) {
                all.models.insert(name.to_owned(), Model::load(name).map_err(part.fail("model"))?);
            }
            let chips = part.names("chip", Some(defaults.chip));
            for name in &chips {
                all.chips.insert((*name).to_owned(), part.chip(name, measured)?);
            }
            for name in part.names("framework", None) {
                let Some(framework) = TrainingFramework::chosen(Some(name)).map_err(part.fail("framework"))? else {
                    continue;
                };
                if part.names("phase", None).iter().any(|phase| *phase != Phase::Training.name()) {
                    return Err(part.keys(format!("`framework` {name} trains: give `phase = \"training\"` alone")));
                }
                all.frameworks.insert(name.to_owned(), framework);
            }
            for name in part.names("baseline_chip", None) {
                let chip = Chip::load(name).map_err(part.fail("baseline_chip"))?;
                all.chips.insert(name.to_owned(), ChipModel::from_spec(&chip));
            }
            let fabrics = part.names("fabric", Some(defaults.fabric));
            let baselines = part.names("baseline", None);
            for (key, names) in [("fabric", &fabrics), ("baseline", &baselines)] {
                for name in names {
                    all.fabrics.insert((*name).to_owned(), Fabric::load(name).map_err(part.fail(key))?);
                }
            }
            for axis in axes {
                let Some((target, path)) = SettingTarget::split(&axis.key) else { continue };
                let names = match target {
                    SettingTarget::Chip => &chips,
                    SettingTarget::Fabric => &fabrics,
                    SettingTarget::Baseline => &baselines,
                };
                part.try_settings(axis, target, path, names)?;
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

    /// The question of a point whose phase is one step.
    ///
    /// # Errors
    /// One line: settings that only together make no valid chip or fabric.
    pub fn question(&self, point: &Point, defaults: Defaults<'_>) -> Result<Question, String> {
        let phase = point.text("phase").and_then(Phase::named).ok_or("`phase` is missing")?;
        self.in_phase(phase, point, defaults)
    }

    /// The question of a point about serving.
    ///
    /// # Errors
    /// One line: settings that make no valid chip or fabric, or keys that do not go together.
    pub fn serving_question(&self, point: &Point, defaults: Defaults<'_>) -> Result<ServingQuestion, String> {
        let Question { request, baseline } = self.in_phase(Phase::Decode, point, defaults)?;
        let ask = |request: Request| serving_point::serving_request(request, point);
        Ok(ServingQuestion { asked: ask(request)?, baseline: baseline.map(ask).transpose()? })
    }

    fn in_phase(&self, phase: Phase, point: &Point, defaults: Defaults<'_>) -> Result<Question, String> {
        let missing = |key: &str| format!("`{key}` is missing");
        let name = point.text("model").ok_or_else(|| missing("model"))?;
        let model = self.models.get(name).ok_or_else(|| missing("model"))?;
        let chip = self.chip(point.text("chip").unwrap_or(defaults.chip), &point.settings(SettingTarget::Chip))?;
        let fabric =
            self.fabric(point.text("fabric").unwrap_or(defaults.fabric), &point.settings(SettingTarget::Fabric))?;
        let expert_load = self.expert_loads.get(name).cloned().unwrap_or(Workload::default().expert_load);
        let framework = point.text("framework").and_then(|name| self.frameworks.get(name).cloned());
        let subject = Subject { model: model.clone(), chip, fabric, expert_load, framework };
        let request = subject.request(phase, point, defaults.chips);
        let baseline = match point.text("baseline") {
            Some(name) => {
                let fabric = self.fabric(name, &point.settings(SettingTarget::Baseline))?;
                let mut below = request.on(fabric);
                if let Some(name) = point.text("baseline_chip") {
                    below.chip = self.chip(name, &[])?;
                }
                Some(below)
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

fn workload(point: &Point, default: Workload) -> Workload {
    let mut workload = default;
    let set = |place: &mut f64, key: &str| *place = point.number(key).unwrap_or(*place);
    set(&mut workload.prompt_len, "workload.prompt_len");
    set(&mut workload.mtp_acceptance, "workload.mtp_acceptance");
    set(&mut workload.sequence_len, "workload.sequence_len");
    set(&mut workload.global_batch_tokens, "workload.global_batch_tokens");
    set(&mut workload.chunk_tokens, "workload.chunk_tokens");
    set(&mut workload.microbatch_sequences, "workload.microbatch_sequences");
    workload.virtual_stages = point.number("workload.virtual_stages").or(workload.virtual_stages);
    workload.pipeline = point.text("workload.pipeline").and_then(PipelineSchedule::named).unwrap_or(workload.pipeline);
    let output_len = point.number("workload.output_len").unwrap_or(0.0);
    workload.kv_len = point.number("workload.kv_len").unwrap_or(workload.prompt_len + output_len / 2.0);
    workload.mtp_tokens = point.count("workload.mtp").unwrap_or(workload.mtp_tokens);
    if let Some(ms) = point.number("workload.tpot_limit_ms") {
        workload.tpot_limit_s = ms / 1e3;
        workload.tpot_limit_binds = true;
    }
    workload
}

fn pins(point: &Point) -> Pins {
    Pins {
        tp: point.count("plan.tp"),
        pp: point.count("plan.pp"),
        ep: point.count("plan.ep"),
        moe_tp: point.count("plan.moe_tp"),
        moe_exchange: point.text("plan.moe_exchange").and_then(ExpertExchange::named),
        dp: point.count("plan.dp"),
        cp: point.count("plan.cp"),
        dcp: point.count("plan.dcp"),
        microbatches: point.count("plan.microbatches"),
        batch_per_chip: point.number("plan.batch_per_chip"),
    }
}
