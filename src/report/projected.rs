//! Projections that are shown together: a question with its answers on two fabrics, for tables, JSON and the page.

use serde::Serialize;

use crate::projection::model_table::ModelTable;
use crate::projection::on_network::NetworkAnswer;
use crate::projection::{
    self, ChipModel, Comparison, CostSource, Infeasible, Interval, Phase, Prices, Projection, Request, SystemPower,
};
use crate::report::numbers::{grouped_digits, low_to_high_grouped, plan_text};
use crate::report::shown::{ShownAnswer, ShownFigure};
use crate::report::token_costs::{self, CostQuestion, WithCosts, priced_text};
use crate::report::words;
use crate::specs::Fabric;

/// What the notes of figures are.
pub(super) const INTERVALS: &str = "Ranges hold 90 % of the draws of the uncertain inputs.";

/// The same question asked of two fabrics, where the first has a feasible plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectionPair {
    /// The bus fabric.
    pub on_fabric: Projection,
    /// The conventional cluster; `None` where it was not asked or has no feasible plan.
    pub on_baseline: Option<Projection>,
    /// Energy and cost on the bus fabric.
    pub costs: ProjectedCosts,
    /// The same on the conventional cluster.
    pub baseline_costs: ProjectedCosts,
}

/// A projection, and what its tokens draw and cost.
pub(super) type ShownProjection<'a> = (&'a Projection, &'a ProjectedCosts);

impl ProjectionPair {
    /// Those that there are, that on the bus fabric first.
    pub(super) fn shown(&self) -> impl Iterator<Item = ShownProjection<'_>> {
        let baseline = self.on_baseline.as_ref().map(|other| (other, &self.baseline_costs));
        std::iter::once((&self.on_fabric, &self.costs)).chain(baseline)
    }
}

/// What the tokens of a projection draw and cost, and what that rests on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProjectedCosts {
    /// Tokens that a joule gives; `None` where nothing says what the system draws.
    pub tokens_per_joule: Option<Interval>,
    /// Cost of a million tokens in the currency of the prices; `None` without a price.
    pub per_million_tokens: Option<Interval>,
    /// The figures of the power.
    pub sources: Vec<CostSource>,
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

impl ProjectedRow {
    /// The answer in words; `None` where the fabric has no feasible plan.
    pub fn words(&self) -> Option<ShownAnswer> {
        let on = self.comparison.on.as_ref().ok()?;
        let (time_of, time) = match (on.ttft_s, on.tpot_s) {
            (Some(time), _) => ("time to first token", time),
            (None, Some(time)) => ("time per output token", time),
            (None, None) => ("time of a step", on.step_s),
        };
        let rate = &on.tokens_per_s_per_chip;
        let speedup =
            self.comparison.speedup.map_or("-".to_owned(), |ratio| format!("{} times", grouped_digits(ratio)));
        let total = format!("{} tokens/s", grouped_digits(rate.median * f64::from(on.plan.chips)));
        let mut figures = vec![
            ShownFigure::new("rate", "tokens/s per chip", grouped_digits(rate.median), low_to_high_grouped(rate)),
            ShownFigure::new("time", time_of, time.to_string(), String::new()),
            ShownFigure::new("speedup", "over the baseline", speedup, self.baseline.clone()),
            ShownFigure::new("total", "all chips together", total, String::new()),
        ];
        figures.extend(token_costs::figures(&self.costs.over(rate), &self.costs.prices));
        let (plan, bound_by) = (plan_text(&on.plan), &on.bound_by);
        let priced = priced_text(&self.costs.prices);
        Some(ShownAnswer { figures, text: format!("{INTERVALS} Plan: {plan}. Bound by {bound_by}.{priced}") })
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
        let (on_fabric, on_baseline) = (on.ok()?, baseline.ok());
        let costs = ProjectedCosts::of(&self.costs, Some(&on_fabric));
        let baseline_costs = ProjectedCosts::of(&self.baseline_costs, on_baseline.as_ref());
        Some(ProjectionPair { on_fabric, on_baseline, costs, baseline_costs })
    }
}

impl ProjectedCosts {
    /// Of a projection, where there is one.
    fn of(asked: &CostQuestion, projection: Option<&Projection>) -> Self {
        let costs = projection.map(|one| asked.over(&one.tokens_per_s_per_chip));
        Self {
            tokens_per_joule: costs.as_ref().and_then(|costs| costs.tokens_per_joule),
            per_million_tokens: costs.and_then(|costs| costs.cost_per_million_tokens),
            sources: asked.sources().to_vec(),
        }
    }
}
