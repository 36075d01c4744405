//! What binds a step: the resource whose doubling helps most, and the largest term.

use std::sync::Arc;

use crate::projection::machine::{Machine, Roofs};
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::phases::{PlanOutcome, evaluate};
use crate::projection::request::Request;
use crate::projection::result::{BoundBy, Resource};
use crate::projection::terms::Term;
use crate::units::Seconds;

/// What binds the step of a plan.
pub(super) fn bound_by(request: &Request, plan: &ParallelPlan, machine: &Machine, outcome: &PlanOutcome) -> BoundBy {
    let total = outcome.terms.total();
    let resources = [
        (Resource::Arithmetic, faster_arithmetic(machine)),
        (Resource::MemoryBandwidth, faster_memory(machine)),
        (Resource::LinkBandwidth, faster_links(machine)),
        (Resource::FixedCosts, smaller_fixed_costs(machine)),
    ];
    let (mut resource, mut least) = (None, total);
    for (name, better) in &resources {
        let time = evaluate(request, plan, better).terms.total();
        if time < least {
            (resource, least) = (Some(*name), time);
        }
    }
    let (mut term, mut most) = (None, Seconds::ZERO);
    for candidate in Term::ALL {
        let time = outcome.terms.of(candidate);
        if time > most {
            (term, most) = (Some(candidate), time);
        }
    }
    BoundBy { resource, term, share: most / total }
}

/// The machine with its roofs changed.
fn with_roofs(machine: &Machine, change: impl Fn(&mut Roofs)) -> Machine {
    let mut better = machine.clone();
    let roofs = &mut better.roofs;
    for roof in [
        &mut roofs.attention,
        &mut roofs.prefill_attention,
        &mut roofs.expert,
        &mut roofs.dense,
        &mut roofs.gating,
        &mut roofs.vector,
    ] {
        change(roof);
    }
    better
}

fn faster_arithmetic(machine: &Machine) -> Machine {
    let mut better = with_roofs(machine, |roof| roof.compute = roof.compute * 2.0);
    better.costs = better.costs.map(|costs| Arc::new(costs.faster(2.0, 1.0)));
    better
}

fn faster_memory(machine: &Machine) -> Machine {
    let mut better = with_roofs(machine, |roof| roof.memory = roof.memory * 2.0);
    better.streaming = better.streaming * 2.0;
    better.costs = better.costs.map(|costs| Arc::new(costs.faster(1.0, 2.0)));
    better
}

fn faster_links(machine: &Machine) -> Machine {
    let mut better = machine.clone();
    for link in &mut better.links {
        link.bandwidth = link.bandwidth * 2.0;
        link.all_to_all_bandwidth = link.all_to_all_bandwidth * 2.0;
        link.copy = link.copy / 2.0;
    }
    better
}

fn smaller_fixed_costs(machine: &Machine) -> Machine {
    let mut better = machine.clone();
    better.launch = better.launch / 2.0;
    better.step = better.step / 2.0;
    for link in &mut better.links {
        link.latency = link.latency / 2.0;
        link.message = link.message / 2.0;
        link.fixed = link.fixed / 2.0;
        link.all_to_all_fixed = link.all_to_all_fixed / 2.0;
    }
    better
}
