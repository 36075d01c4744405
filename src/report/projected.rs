//! Projections that are shown together: a question with its answers on two fabrics, for tables, JSON and the page.

use serde::Serialize;

use crate::projection::on_network::NetworkAnswer;
use crate::projection::{Comparison, Infeasible, Phase, Projection, Request};
use crate::report::words;

/// The same question asked of two fabrics, where the first has a feasible plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectionPair {
    /// The bus fabric.
    pub on_fabric: Projection,
    /// The conventional cluster; `None` where it was not asked or has no feasible plan.
    pub on_baseline: Option<Projection>,
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
    Feasible(&'a Projection),
    Infeasible { model: &'a str, phase: Phase, chip: &'a str, fabric: &'a str, infeasible: String },
}

impl ProjectedRow {
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
            on: self.answer(&self.comparison.on, &self.request.fabric.name),
            baseline: self.answer(&self.comparison.baseline, &self.baseline),
            speedup: self.comparison.speedup,
            same_plan_speedup: self.comparison.same_plan_speedup,
        }
    }

    fn answer<'a>(&'a self, result: &'a Result<Projection, Infeasible>, fabric: &'a str) -> FabricAnswer<'a> {
        let request = &self.request;
        match result {
            Ok(projection) => FabricAnswer::Feasible(projection),
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
        Some(ProjectionPair { on_fabric: on.ok()?, on_baseline: baseline.ok() })
    }
}
