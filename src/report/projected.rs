//! Projections that are shown together: a question with its answers on two fabrics, for tables, JSON and the page.

use serde::Serialize;

use crate::projection::model_table::ModelTable;
use crate::projection::on_network::NetworkAnswer;
use crate::projection::{
    self, ChipModel, Comparison, Infeasible, Interval, Phase, Prices, Projection, Request, SystemPower, TokenCosts,
};
use crate::report::numbers::{grouped_digits, plan_text};
use crate::report::token_costs::{CostQuestion, WithCosts};
use crate::report::words;
use crate::specs::Fabric;

/// The same question asked of two fabrics, where the first has a feasible plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectionPair {
    /// The bus fabric.
    pub on_fabric: Projection,
    /// The conventional cluster; `None` where it was not asked or has no feasible plan.
    pub on_baseline: Option<Projection>,
    /// Tokens that a joule gives on the bus fabric; `None` where nothing says what it draws.
    pub tokens_per_joule: Option<Interval>,
}

/// One question and its answers on two fabrics.
#[derive(Debug)]
pub struct ProjectedRow {
    /// What was asked of the first fabric.
    pub request: Request,
    /// The name of the fabric that it is compared with.
    pub baseline: String,
    /// The answers.
    pub comparison: Comparison,
    /// What is asked of energy and cost on the fabric.
    pub costs: CostQuestion,
    /// The same on the fabric that it is compared with.
    pub baseline_costs: CostQuestion,
}

/// The JSON of one question: the fields of the projection, and the baseline next to them.
#[derive(Debug, Serialize)]
pub struct ProjectedJson<'a> {
    #[serde(flatten)]
    on: FabricAnswer<'a>,
    baseline: FabricAnswer<'a>,
    speedup: Option<f64>,
    same_plan_speedup: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<&'a NetworkAnswer>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum FabricAnswer<'a> {
    Feasible(WithCosts<'a, Projection>),
    Infeasible { model: &'a str, phase: Phase, chip: &'a str, fabric: &'a str, infeasible: String },
}

/// The figures of an answer that a reader looks for first, as all formats show them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProjectedWords {
    /// Tokens per second and chip.
    pub rate: String,
    /// The interval of it.
    pub band: String,
    /// What the time of a step means in this phase: to the first token, per output token, or of a step.
    pub time_of: &'static str,
    /// That time.
    pub time: String,
    /// Tokens per second of all chips together.
    pub total: String,
    /// The rate over that of the baseline; `-` where the baseline has no plan.
    pub speedup: String,
    /// Tokens per joule with the band, or why there is no energy.
    pub energy: String,
    /// What to improve first.
    pub bound_by: String,
    /// The degrees of the plan.
    pub plan: String,
}

impl ProjectedRow {
    /// The answer in words; `None` where the fabric has no feasible plan.
    pub fn words(&self) -> Option<ProjectedWords> {
        let on = self.comparison.on.as_ref().ok()?;
        let (time_of, time) = match (on.ttft_s, on.tpot_s) {
            (Some(time), _) => ("time to first token", time),
            (None, Some(time)) => ("time per output token", time),
            (None, None) => ("time of a step", on.step_s),
        };
        let rate = &on.tokens_per_s_per_chip;
        Some(ProjectedWords {
            rate: grouped_digits(rate.median),
            band: format!("{} to {}", grouped_digits(rate.low), grouped_digits(rate.high)),
            time_of,
            time: time.to_string(),
            total: format!("{} tokens/s", grouped_digits(rate.median * f64::from(on.plan.chips))),
            speedup: self.comparison.speedup.map_or("-".to_owned(), |ratio| format!("{} times", grouped_digits(ratio))),
            energy: energy_words(&self.costs.over(rate)),
            bound_by: on.bound_by.to_string(),
            plan: plan_text(&on.plan),
        })
    }

    /// Asks a question on its fabric and on a baseline.
    pub fn ask(request: Request, baseline: &Fabric) -> Self {
        let comparison = projection::compare(&request, baseline);
        let of = |fabric| CostQuestion { prices: Prices::default(), power: SystemPower::of(&request.chip, fabric) };
        let (costs, baseline_costs) = (of(&request.fabric), of(baseline));
        Self { baseline: baseline.name.clone(), comparison, costs, baseline_costs, request }
    }

    /// The same with what a user pays.
    #[must_use]
    pub const fn priced(mut self, prices: Prices) -> Self {
        self.costs.prices = prices;
        self.baseline_costs.prices = prices;
        self
    }

    /// What a chip would deliver: a row for each model and phase of a table.
    pub fn table(table: &ModelTable, chip: &ChipModel) -> Vec<Self> {
        table.requests(chip).map(|request| Self::ask(request, &table.baseline)).collect()
    }

    /// Model, phase, chips and fabric in one line.
    pub fn title(&self) -> String {
        let request = &self.request;
        let phase = words::phase(request.phase);
        format!("{} {phase} on {} x {}, {}", request.model.name, request.chips, request.chip.name, request.fabric.name)
    }

    /// What `--json` prints.
    pub fn json(&self) -> ProjectedJson<'_> {
        self.json_with(None)
    }

    /// The same, with the plan on the network's ports and links.
    pub fn json_with<'a>(&'a self, flows: Option<&'a NetworkAnswer>) -> ProjectedJson<'a> {
        ProjectedJson {
            flows,
            on: self.answer(&self.comparison.on, &self.request.fabric.name, &self.costs),
            baseline: self.answer(&self.comparison.baseline, &self.baseline, &self.baseline_costs),
            speedup: self.comparison.speedup,
            same_plan_speedup: self.comparison.same_plan_speedup,
        }
    }

    fn answer<'a>(
        &'a self,
        result: &'a Result<Projection, Infeasible>,
        fabric: &'a str,
        costs: &CostQuestion,
    ) -> FabricAnswer<'a> {
        let request = &self.request;
        match result {
            Ok(projection) => {
                let costs = costs.over(&projection.tokens_per_s_per_chip);
                FabricAnswer::Feasible(WithCosts::new(projection, costs))
            }
            Err(reason) => FabricAnswer::Infeasible {
                model: &request.model.name,
                phase: request.phase,
                chip: &request.chip.name,
                fabric,
                infeasible: reason.to_string(),
            },
        }
    }

    /// Both projections for the page; `None` where the first fabric has no feasible plan.
    pub fn pair(&self) -> Option<ProjectionPair> {
        let Comparison { on, baseline, .. } = self.comparison.clone();
        let on_fabric = on.ok()?;
        let tokens_per_joule = self.costs.over(&on_fabric.tokens_per_s_per_chip).tokens_per_joule;
        Some(ProjectionPair { on_fabric, on_baseline: baseline.ok(), tokens_per_joule })
    }
}

/// Tokens per joule, or why there are none.
fn energy_words(costs: &TokenCosts) -> String {
    match (&costs.tokens_per_joule, &costs.energy_left_out) {
        (Some(tokens), _) => {
            let [median, low, high] = [tokens.median, tokens.low, tokens.high].map(grouped_digits);
            format!("{median} tokens per joule ({low} to {high})")
        }
        (None, Some(unknown)) => format!("Energy is left out: {unknown}"),
        (None, None) => "Energy is left out".to_owned(),
    }
}
