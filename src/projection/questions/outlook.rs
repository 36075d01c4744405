//! One model's decode in depth: what-ifs, the front of latency against throughput, a few layers in time.

use serde::Serialize;

use crate::projection::answer::search;
use crate::projection::caveat::ProjectionCaveat;
use crate::projection::machine::Machine;
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::plan::ScoredPlan;
use crate::projection::questions::surface::{self, Axes, Surface, anchor, surface};
use crate::projection::request::{Infeasible, Request};
use crate::projection::timeline::{Timeline, timeline};
use crate::specs::{Fabric, NumberType, Scenario};

/// The front of latency against throughput on one fabric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Front {
    /// The fabric.
    pub fabric: String,
    /// Its plans that no other beats in both, the shortest latency first.
    pub candidates: Vec<ScoredPlan>,
}

/// One model's decode on one chip, on a fabric and a baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlook {
    /// The model.
    pub model: String,
    /// The chip.
    pub chip: String,
    /// The fabric.
    pub fabric: String,
    /// What it is compared with.
    pub baseline: String,
    /// Type of weights and matrix products.
    pub number_type: NumberType,
    /// The plan that is best under the request's limit.
    pub plan: ParallelPlan,
    /// What the reader must keep in mind about the chip.
    pub caveats: Vec<ProjectionCaveat>,
    /// The what-ifs.
    pub surface: Surface,
    /// On the fabric and on the baseline, where there are plans.
    pub fronts: Vec<Front>,
    /// The schedule of a few layers of the plan.
    pub timeline: Timeline,
}

/// Evaluates all of it on all cores; `request` asks for decode.
///
/// # Errors
/// [`Infeasible`]: no plan exists or fits.
pub fn outlook(request: &Request, baseline: &Fabric) -> Result<Outlook, Infeasible> {
    let known = without_grid(request, baseline)?;
    let surface = surface(request, &known.plan, baseline, known.surface.axes.clone());
    Ok(Outlook { surface, ..known })
}

/// The same without the grid of the what-ifs, for a page in which the model answers them: a fraction of the work.
///
/// # Errors
/// Those of [`outlook`].
pub fn without_grid(request: &Request, baseline: &Fabric) -> Result<Outlook, Infeasible> {
    let plan = anchor(request)?;
    let machine = Machine::new(request, Scenario::Nominal)?;
    let front = |fabric: &Fabric| {
        let found = search(&request.on(fabric.clone()), &|_| {}).ok()?;
        Some(Front { fabric: fabric.name.clone(), candidates: found.front })
    };
    Ok(Outlook {
        model: request.model.name.clone(),
        chip: request.chip.name.clone(),
        fabric: request.fabric.name.clone(),
        baseline: baseline.name.clone(),
        number_type: machine.number_type,
        plan,
        caveats: request.chip.caveats.clone(),
        surface: surface::without_grid(request, &plan, baseline, Axes::of(request, &plan)),
        fronts: [&request.fabric, baseline].into_iter().filter_map(front).collect(),
        timeline: timeline(request, &plan, &machine),
    })
}
