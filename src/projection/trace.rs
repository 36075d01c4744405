//! The typical layer in detail: its ops, and its schedule as a trace for Perfetto or Chrome.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::costs::Origin;
use super::machine::Machine;
use super::ops::{Class, Op, Pass};
use super::pass::{Setting, scope, typical_layer};
use super::phases::typical;
use super::request::Request;
use super::result::{Operator, Plan};
use super::schedule::{COMPUTE, EXPERTS, FABRIC, place};
use crate::units::Seconds;

/// Layers of a trace.
const TRACED_LAYERS: usize = 4;

/// The ops and collectives of the layer that sets the pace, of one micro-batch, forward.
pub(super) fn operators(request: &Request, plan: &Plan, machine: &Machine) -> Vec<Operator> {
    let (pass, setting) = typical(request, plan, machine);
    let (layer, ..) = typical_layer(&scope(&request.model, plan, machine, &pass), &setting);
    let ops = &layer.ops;
    let mut list: Vec<Operator> = [&ops.attention, &ops.gate, &ops.pack, &ops.shared, &ops.ffn, &ops.after]
        .into_iter()
        .flatten()
        .map(|op| operator(op, machine))
        .collect();
    for (name, time) in
        [("dispatch", layer.wire.dispatch), ("combine", layer.wire.combine), ("all-reduce", layer.wire.attention)]
    {
        if time > 0.0 {
            let (name, cost) = (name.to_owned(), format!("fabric {}", request.fabric.name));
            let time_s = Seconds::new(time);
            list.push(Operator { name, time_s, flop: 0.0, bytes: 0.0, bound_by: "fabric", cost });
        }
    }
    list
}

fn operator(op: &Op, machine: &Machine) -> Operator {
    let time = machine.op(op);
    let busy = machine.busy(&time, 1.0);
    let bound_by = if time.launch > busy {
        "launch"
    } else if time.compute > time.memory {
        "compute"
    } else {
        "memory"
    };
    let (flop, bytes, time_s) = (op.flop, op.bytes, Seconds::new(busy + time.launch));
    Operator { name: op.name.to_owned(), time_s, flop, bytes, bound_by, cost: cost(op, machine) }
}

fn cost(op: &Op, machine: &Machine) -> String {
    let class = match op.class {
        Class::Attention | Class::PrefillAttention => "attention",
        Class::Expert => "experts",
        Class::Dense => "products",
        Class::Gating => "gating",
        Class::Vector => "elementwise",
    };
    let Some(costs) = &machine.costs else { return format!("roofline x share of {class}") };
    match op.kernel.as_ref().and_then(|kernel| costs.origin(kernel, machine.number_type)) {
        Some(Origin::Exact) => "measured at this shape".to_owned(),
        Some(Origin::Interpolated) => "measured, interpolated".to_owned(),
        Some(Origin::Extrapolated) => EXTRAPOLATED.to_owned(),
        None => format!("no such kernel in the record: roofline x share of {class}"),
    }
}

const EXTRAPOLATED: &str = "extrapolated: roofline x nearest measured utilisation";

/// Which ops' shapes lie outside the record, in one line.
pub(super) fn extrapolated(operators: &[Operator]) -> Option<String> {
    let mut names: Vec<&str> =
        operators.iter().filter(|op| op.cost == EXTRAPOLATED).map(|op| op.name.as_str()).collect();
    names.dedup();
    let list = names.join(", ");
    (!names.is_empty())
        .then(|| format!("outside the record's shapes, so extrapolated at the nearest utilisation: {list}"))
}

/// A few layers of a plan in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// Names of the lanes that are used, by number.
    pub lanes: BTreeMap<usize, &'static str>,
    /// What runs when.
    pub spans: Vec<Span>,
}

/// One op or collective in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    /// Its name.
    pub name: &'static str,
    /// The number of its lane.
    pub lane: usize,
    /// Whether it is communication.
    pub is_fabric: bool,
    /// Counts from 0.
    pub layer: usize,
    /// Counts from 0.
    pub micro_batch: usize,
    /// From the start of the first layer.
    pub start_s: f64,
    /// From the start of the first layer.
    pub end_s: f64,
}

/// The schedule of a few layers of a plan.
pub fn timeline(request: &Request, plan: &Plan, machine: &Machine) -> Timeline {
    let (pass, setting): (Pass, Setting) = typical(request, plan, machine);
    let (_, nodes, period) = typical_layer(&scope(&request.model, plan, machine, &pass), &setting);
    let placed = place(&nodes, setting.streams, TRACED_LAYERS, period.lag);
    let names = [(COMPUTE, "compute"), (EXPERTS, "compute, other cores"), (FABRIC, "fabric")];
    let lanes = names.into_iter().filter(|(lane, _)| placed.iter().any(|node| node.lane == *lane)).collect();
    let spans = placed.iter().map(|node| Span {
        name: nodes[node.index % nodes.len()].name,
        lane: node.lane,
        is_fabric: node.lane == FABRIC,
        layer: node.index / nodes.len(),
        micro_batch: node.stream,
        start_s: node.start,
        end_s: node.end,
    });
    Timeline { lanes, spans: spans.collect() }
}

/// The schedule of a few layers of a plan as a Chrome trace (Perfetto opens it): a thread a lane.
pub fn chrome_trace(request: &Request, plan: &Plan, machine: &Machine) -> Value {
    let Timeline { lanes, spans } = timeline(request, plan, machine);
    let mut events: Vec<Value> = lanes
        .iter()
        .map(|(lane, name)| json!({"name": "thread_name", "ph": "M", "pid": 0, "tid": lane, "args": {"name": name}}))
        .collect();
    events.extend(spans.iter().map(|span| {
        json!({
            "name": span.name,
            "cat": if span.is_fabric { "fabric" } else { "compute" },
            "ph": "X",
            "pid": 0,
            "tid": span.lane,
            "ts": span.start_s * 1e6,
            "dur": (span.end_s - span.start_s) * 1e6,
            "args": {"layer": span.layer, "micro_batch": span.micro_batch},
        })
    }));
    json!({"traceEvents": events, "displayTimeUnit": "ms"})
}

#[cfg(test)]
mod tests {
    use super::super::uncertainty::Scenario;
    use super::super::{ChipModel, Phase, estimate};
    use super::*;
    use crate::specs::{Chip, Fabric, Model};

    #[test]
    fn a_layer_of_the_timeline_takes_as_long_as_was_priced() {
        for phase in [Phase::Decode, Phase::Prefill] {
            let model = Model::load("deepseek-v3").unwrap();
            let chip = ChipModel::from_spec(&Chip::load("ascend-910c").unwrap());
            let request = Request::new(model, chip, Fabric::load("cloudmatrix384").unwrap(), 384, phase);
            let machine = Machine::new(&request, Scenario::Nominal).unwrap();
            let plan = Plan { microbatches: 2, ..estimate(&request).unwrap().0 };
            let (pass, setting) = typical(&request, &plan, &machine);
            let (.., period) = typical_layer(&scope(&request.model, &plan, &machine, &pass), &setting);
            let spans = timeline(&request, &plan, &machine).spans;
            let start = |layer| spans.iter().find(|span| (span.micro_batch, span.layer) == (0, layer)).unwrap().start_s;
            let took = start(3) - start(2);
            assert!((took / period.time - 1.0).abs() < 0.01, "{phase:?}: {took} for {}", period.time);
        }
    }
}
