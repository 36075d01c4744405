//! What binds a step: the resource whose doubling helps most, and the largest term.

use super::machine::Machine;
use super::phases::{Outcome, evaluate};
use super::request::Request;
use super::result::Plan;

/// In words, e.g. `memory bandwidth; the largest part is attention, 41 % of the step`.
pub(super) fn bound_by(request: &Request, plan: &Plan, machine: &Machine, outcome: &Outcome) -> String {
    let resources = [
        ("arithmetic", faster_arithmetic(machine)),
        ("memory bandwidth", faster_memory(machine)),
        ("link bandwidth", faster_links(machine)),
        ("fixed costs and latency", smaller_fixed_costs(machine)),
    ];
    let time_with = |better: &Machine| evaluate(request, plan, better).terms.total().get();
    let resource = resources.iter().map(|(name, better)| (*name, time_with(better))).fold(
        ("nothing", outcome.terms.total().get()),
        |best, next| {
            if next.1 < best.1 { next } else { best }
        },
    );
    let total = outcome.terms.total().get();
    let (term, time) = outcome
        .terms
        .named()
        .into_iter()
        .fold(("nothing", 0.0), |best, (name, time)| if time.get() > best.1 { (name, time.get()) } else { best });
    format!("{}; the largest part is {term}, {:.0} % of the step", resource.0, 100.0 * time / total)
}

/// All roofs, each changed by `change`.
fn with_roofs(machine: &Machine, change: impl Fn(&mut super::machine::Roofs)) -> Machine {
    let mut better = machine.clone();
    let roofs = &mut better.roofs;
    for roof in [&mut roofs.attention, &mut roofs.prefill_attention, &mut roofs.expert, &mut roofs.dense] {
        change(roof);
    }
    change(&mut roofs.gating);
    change(&mut roofs.vector);
    better
}

fn faster_arithmetic(machine: &Machine) -> Machine {
    let mut better = with_roofs(machine, |roof| roof.compute *= 2.0);
    better.costs = better.costs.map(|costs| std::sync::Arc::new(costs.faster(2.0, 1.0)));
    better
}

fn faster_memory(machine: &Machine) -> Machine {
    let mut better = with_roofs(machine, |roof| roof.memory *= 2.0);
    better.streaming *= 2.0;
    better.costs = better.costs.map(|costs| std::sync::Arc::new(costs.faster(1.0, 2.0)));
    better
}

fn faster_links(machine: &Machine) -> Machine {
    let mut better = machine.clone();
    for link in &mut better.links {
        link.bandwidth *= 2.0;
        link.all_to_all_bandwidth *= 2.0;
        link.copy /= 2.0;
    }
    better
}

fn smaller_fixed_costs(machine: &Machine) -> Machine {
    let mut better = machine.clone();
    better.launch /= 2.0;
    better.step /= 2.0;
    for link in &mut better.links {
        link.latency /= 2.0;
        link.message /= 2.0;
        link.fixed /= 2.0;
        link.all_to_all_fixed /= 2.0;
    }
    better
}
